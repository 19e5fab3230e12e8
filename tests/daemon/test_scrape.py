"""The HTTP server for Prometheus, on a loop of its own."""

from __future__ import annotations

import asyncio
import socket
import sys
import urllib.error
import urllib.request

import pytest

from asynclogd import httpdoor
from asynclogd.config import Prometheus
from asynclogd.measures import GROUPS
from asynclogd.scrape import Picture, Scrape

DAEMON = {measure.key: 1 for group in GROUPS if group.name == "daemon" for measure in group.measures}
REPORT = {"busy": False, "daemon": {**DAEMON, "version": "1", "stages": {}}, "runs": []}


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own server
        return bytes(answer.read())


def test_the_picture_is_taken_on_the_loop_and_told_on_another_thread() -> None:
    async def main() -> None:
        loop, pictures = asyncio.get_running_loop(), []

        def picture() -> Picture:
            pictures.append(asyncio.get_running_loop() is loop)
            return Picture(REPORT, {})

        scrape = Scrape(Prometheus(enabled=True, port=0), picture)
        await scrape.open()
        assert b"asynclog_busy 0.0" in await asyncio.to_thread(get, scrape.url)
        assert pictures == [True], "once a scrape, and not when it opens"
        await scrape.close()
        with pytest.raises(urllib.error.URLError):
            await asyncio.to_thread(get, scrape.url)

    asyncio.run(main())


def test_a_request_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpdoor, "REQUEST_SECONDS", 0.1)

    def half_a_request(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\n")
            return connection.recv(1000)

    async def main() -> None:
        scrape = Scrape(Prometheus(enabled=True, port=0), lambda: Picture(REPORT, {}))
        await scrape.open()
        port = int(scrape.url.rpartition(":")[2].partition("/")[0])
        answer = await asyncio.to_thread(half_a_request, port)
        assert not answer.startswith(b"HTTP/1.0 200")
        assert b"asynclog_daemon_info" in await asyncio.to_thread(get, scrape.url)
        await scrape.close()

    asyncio.run(main())


def test_without_the_sdk_it_tells_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    async def main() -> None:
        scrape = Scrape(Prometheus(enabled=True, port=0), lambda: Picture(REPORT, {}))
        await scrape.open()
        assert scrape.url == ""
        assert 'pip install "asynclogd[prometheus]"' in scrape.error
        await scrape.close()

    asyncio.run(main())
