"""What `swanlab sync` asks of a SwanLab server, on 127.0.0.1: it takes everything, and keeps it."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """What came, by what it is."""

    address: str = ""
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    columns: list[dict[str, Any]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    experiment: dict[str, Any] = field(default_factory=dict)
    state: str = ""
    paths: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, data: bytes) -> tuple[int, Any]:
        """Status and body for a request."""
        self.paths.append(f"{method} {path}")
        if path.startswith("/files/"):
            self.files[path.removeprefix("/files/")] = data
            return 200, {}
        body = json.loads(data) if data else {}
        parts = path.removeprefix("/api/").split("/")
        if parts == ["login", "api_key"]:
            user = {"username": "me"}
            return 200, {"sid": "1", "expiredAt": "2999-01-01T00:00:00.000Z", "userInfo": user}
        if method == "GET" and parts[0] == "project":
            name = parts[2]
            facts = {"cuid": "p1", "name": name, "group": {"username": "me"}, "path": f"/me/{name}"}
            return 200, {**facts, "version": 1, "_count": {"experiments": 0}}
        return self._take(method, parts, body)

    def _take(self, method: str, parts: list[str], body: dict[str, Any]) -> tuple[int, Any]:
        answer: Any = {}
        if parts[-1] == "experiment":
            self.experiment = body
            return 201, {"cuid": body["cuid"], "name": body["name"], "slug": "e1"}
        if parts[-1] == "series":
            self.columns += body["series"]
        elif parts == ["house", "metrics"]:
            self.metrics.setdefault(body["type"], []).extend(body["metrics"])
        elif parts[-1] == "profile":
            self.config |= body["config"]
        elif parts[-1] == "state":
            self.state = body["state"]
        elif parts == ["resources", "presigned", "put"]:
            answer = {"urls": [f"{self.address}/files/{path}" for path in body["paths"]]}
        elif parts[-2:] == ["files", "prepare"]:
            answer = {"urls": [f"{self.address}/files/{each['path']}" for each in body["files"]]}
        elif parts[-2:] != ["files", "complete"]:
            return 404, {"code": "none", "message": f"{method} {'/'.join(parts)}"}
        return 200, answer


@contextmanager
def serving() -> Iterator[Received]:
    """A server, until the block ends."""
    received, lock = Received(), threading.Lock()

    class Requests(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                data = gzip.decompress(data)
            with lock:
                status, answer = received.answer(self.command, self.path.partition("?")[0], data)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_args: object) -> None:
            """Nothing on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Requests) as server:
        received.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()
