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
from asynclogd.scrape import Picture, Scrape

REPORT = {
    "daemon": {
        "version": "1", "uptime_s": 1, "rss_bytes": 1, "cpu_s": 1, "messages": 1, "received_bytes": 1, "malformed": 0,
        "unroutable": 0,
        "connections": 1,
        "connections_accepted": 2,
        "connections_refused": 0,
        "connections_failed": 0,
        "connections_cut": 0,
        "connections_sent_away": 0,
    },
    "runs": [],
}  # fmt: skip


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
        assert b"asynclog_runs 0.0" in await asyncio.to_thread(get, scrape.url)
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
        assert b"asynclog_runs 0.0" in await asyncio.to_thread(get, scrape.url)
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
