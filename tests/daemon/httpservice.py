"""A service over real HTTP that does as it is told, and a small backend that sends to one."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

from asynclogd.backends.base import Backend, Item, Points, Position, RunInfo, ThrottledError


@dataclass(frozen=True)
class Answer:
    """One answer; `closes` breaks the connection instead."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    closes: bool = False


Script = Callable[[str, str, bytes], Answer]
"""(method, path with query, body) to an answer; it may wait as long as it likes."""


@contextmanager
def serving(script: Script, port: int = 0) -> Iterator[str]:
    """A server on 127.0.0.1 that answers by `script`; its URL."""

    class Asked(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = script(self.command, self.path, body)
            if answer.closes:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - http.server's names

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that went away is part of the script."""

    with Server(("127.0.0.1", port), Asked) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def forwarded(upstream: str, method: str, path: str, body: bytes) -> Answer:
    """What another server answers to the same."""
    connection = http.client.HTTPConnection(urlsplit(upstream).netloc, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return Answer(response.status, {"Content-Type": "application/json"}, response.read())
    finally:
        connection.close()


class HttpBackend(Backend):
    """Sends [name, step, value] of each point, a write a request; the service keeps each one once."""

    local: ClassVar[bool] = False

    def __init__(self, url: str) -> None:
        super().__init__()
        self._place = urlsplit(url).netloc

    def open(self, run: RunInfo, position: Position | None) -> None:
        del run, position
        self._connection = http.client.HTTPConnection(self._place, timeout=10)

    def write(self, batch: Sequence[Item]) -> None:
        points = [[point.name, point.step, point.value] for item in batch if isinstance(item, Points) for point in item]
        self._connection.request("POST", "/points", json.dumps(points))
        response = self._connection.getresponse()
        response.read()
        if response.status in (429, 503):
            asked = response.headers.get("Retry-After")
            raise ThrottledError(f"HTTP {response.status}", float(asked) if asked is not None else None)
        if response.status != 200:
            raise OSError(f"HTTP {response.status}")

    def flush(self) -> Position:
        return {}

    def close(self, status: str) -> None:
        del status
        if hasattr(self, "_connection"):
            self._connection.close()
