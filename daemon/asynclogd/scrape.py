"""`/metrics` for Prometheus: what prometheus_client answers, on threads of its own (httpdoor.py).

A scrape asks the event loop for one picture and waits for it; formatting and the socket are the thread's
business. So a slow scraper delays nobody, and a busy loop delays the scraper.
"""

from __future__ import annotations

import asyncio
import importlib.util
import ipaddress
import logging
from collections.abc import Callable, Iterator, Mapping
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from asynclogd import exposition
from asynclogd.config import Prometheus
from asynclogd.incidents import about

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from asynclogd.httpdoor import HttpDoor

log = logging.getLogger(__name__)

PICTURE_SECONDS = 10.0
"""A loop that takes longer for a picture fails the scrape."""


class Picture(NamedTuple):
    """The state at one moment: report.py's report, and by a run's directory the last values of its series."""

    report: Mapping[str, Any]
    values: Mapping[str, Mapping[str, float]]


class Scrape:
    """Serves between `open` and `close`. `picture` is called on the event loop."""

    def __init__(self, settings: Prometheus, picture: Callable[[], Picture]) -> None:
        self.url = self.error = ""
        """where it serves, or why it does not"""
        self._settings, self._picture = settings, picture
        self._server: HttpDoor | None = None
        self._thread: Thread

    async def open(self) -> None:
        """Begin to serve. What keeps it from that is told, and the daemon works without: training waits for it."""
        if not self._settings.enabled:
            return
        self._loop = asyncio.get_running_loop()
        try:
            await asyncio.to_thread(self._serve)  # which looks up the host's name
        except (ImportError, OSError) as error:
            self.error = str(error)
            log.error("no /metrics for Prometheus: %s", error, extra=about("no-metrics", cause=error))

    def _serve(self) -> None:
        if importlib.util.find_spec("prometheus_client") is None:
            raise ImportError('prometheus_client is not installed: pip install "asynclogd[prometheus]"')
        from prometheus_client import CollectorRegistry, make_wsgi_app

        from asynclogd.httpdoor import HttpDoor

        registry = CollectorRegistry()
        registry.register(self)
        host = self._settings.host
        self._server = HttpDoor(host, self._settings.port, make_wsgi_app(registry))
        self._thread = Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        self.url = f"http://{host}:{self._server.server_port}/metrics"
        log.info("Prometheus finds metrics at %s", self.url)
        if not ipaddress.ip_address(self._server.server_name).is_loopback:
            text = (
                "whoever reaches %s over the network reads the values of all runs, without a password: "
                "with prometheus.host = 127.0.0.1 only this machine does"
            )
            log.warning(text, self.url, extra=about("metrics-open"))

    async def close(self) -> None:
        """Serve no more."""
        if self._server is not None:
            await asyncio.to_thread(self._server.shutdown)
            self._server.server_close()
            await asyncio.to_thread(self._thread.join)
            self._server = None

    def describe(self) -> list[Metric]:
        """Nothing: else the registry would scrape to find out which names there are."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families by now; called by prometheus_client, on the scrape's thread."""
        asked = asyncio.run_coroutine_threadsafe(self._look(), self._loop)
        picture = asked.result(PICTURE_SECONDS)
        yield from exposition.families(picture.report, picture.values)

    async def _look(self) -> Picture:
        return self._picture()
