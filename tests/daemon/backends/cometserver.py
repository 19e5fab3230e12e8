"""As much of Comet's server as its SDK asks for, on 127.0.0.1: it keeps what it is sent, and fails as it is told."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

KEY = "k" * 25
"""The API key that it takes."""


@dataclass
class Answer:
    """What is answered instead, once: a status, or None to hang up."""

    status: int | None
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)


@dataclass
class Upload:
    type: str
    params: dict[str, str]
    data: bytes
    metadata: dict[str, Any] | None


@dataclass
class Comet:
    """What was sent, in order; what is answered next to a path that ends so; metrics that are
    refused; of which requests with metrics one is throttled; whether the key is known.
    """

    metrics: list[dict[str, Any]] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)
    graphs: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    experiments: list[dict[str, Any]] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    told: list[tuple[str, Any]] = field(default_factory=list)
    scripted: dict[str, list[Answer]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    throttle: int = 0
    known: bool = True
    requests: int = 0
    url: str = ""

    def script(self, path: str, *answers: Answer) -> None:
        self.scripted.setdefault(path, []).extend(answers)

    def take(self, path: str, query: dict[str, str], body: Any) -> dict[str, Any]:
        """Keep a request and answer it."""
        if path.endswith("logger/add/run"):
            self.experiments.append(body)
        elif path.endswith("batch/logger/experiment/metric"):
            self.metrics.extend(body["values"])
        elif path.endswith("batch/logger/experiment/parameter"):
            self.params.update({each["parameterName"]: each["parameterValue"] for each in body["values"]})
        elif path.endswith("log-other"):
            self.others[body["key"]] = body["value"]
        elif path.endswith("write/experiment/graph"):
            self.graphs.append(body["graph"])
        elif path.endswith("add-tags-to-experiment"):
            self.tags.extend(body["addedTags"])
        elif path.endswith(("update-status", "status-report/update")):
            self.states.append(body)
        elif path.endswith("/upload"):
            kind = "visualization" if "visualizations" in path else query.get("type", "asset")
            self.uploads.append(Upload(kind, query, body["file"], body.get("metadata")))
        else:
            self.told.append((path, body))
        return {
            "runId": "run", "project_id": "project", "is_alive_beat_duration_millis": 10_000,
            "gpu_monitor_interval_millis": 60_000, "version": "9.9.9",
        }  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    comet: Comet

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlparse(self.path)
        scripted = next((ours for path, ours in self.comet.scripted.items() if ours and url.path.endswith(path)), None)
        if scripted:
            answer = scripted.pop(0)
            if answer.status is None:
                self.close_connection = True
                return
            self._answer(answer.status, answer.body, answer.headers)
            return
        body = self._body(data)
        if not self.comet.known or KEY not in (self.headers.get("Authorization"), (body or {}).get("apiKey")):
            self._answer(400, {"sdk_error_code": 90212, "msg": "no such key"}, {})
            return
        if any(value.get("metricName") in self.comet.refused for value in (body or {}).get("values", [])):
            self._answer(400, {"msg": "a metric that is refused"}, {})
            return
        self.comet.requests += url.path.endswith("experiment/metric")
        if self.comet.throttle and url.path.endswith("metric") and self.comet.requests % self.comet.throttle == 0:
            self._answer(429, {}, {"Retry-After": "0"})
            return
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self._answer(200, self.comet.take(url.path, query, body), {})

    do_GET = do_POST  # noqa: N815 - the name that http.server calls

    def _body(self, data: bytes) -> Any:
        from requests_toolbelt import MultipartDecoder  # comes with Comet's SDK

        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/"):
            parts = [
                (part.headers[b"Content-Disposition"], part.content) for part in MultipartDecoder(data, kind).parts
            ]
            found: dict[str, Any] = {"file" if b'"file"' in name else "metadata": content for name, content in parts}
            return {**found, "metadata": json.loads(found["metadata"])} if "metadata" in found else found
        if self.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        return json.loads(data) if data else None

    def _answer(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@contextlib.contextmanager
def running() -> Iterator[Comet]:
    """A server of its own for a test."""
    comet = Comet()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"comet": comet}))
    server.daemon_threads = True
    comet.url = f"http://127.0.0.1:{server.server_port}/clientlib/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield comet
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
