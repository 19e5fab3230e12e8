"""As much of Neptune's server as neptune-scale asks for, on 127.0.0.1: it keeps what it is sent by Neptune's rules, by
which steps of a series rise, and fails as it is told.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlparse


@dataclass
class Answer:
    """What is answered instead, once: a status, or None to hang up."""

    status: int | None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Run:
    """A run as the server has it."""

    created: list[Any] = field(default_factory=list)
    series: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    single: dict[str, Any] = field(default_factory=dict)


@dataclass
class Neptune:
    """What was sent, what is answered next to a path that ends so, and the codes of what is refused by its path."""

    runs: dict[str, Run] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    scripted: dict[str, list[Answer]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    codes: dict[str, list[str]] = field(default_factory=dict)
    unready: int = 0
    url: str = ""
    known: bool = True

    @property
    def token(self) -> str:
        return base64.b64encode(json.dumps({"api_address": self.url, "api_url": self.url}).encode()).decode()

    def script(self, path: str, *answers: Answer) -> None:
        self.scripted.setdefault(path, []).extend(answers)

    def take(self, data: bytes) -> bytes:
        """Keep a RunOperation, and answer with its id."""
        from neptune_api.proto.neptune_pb.ingest.v1.pub.client_pb2 import SubmitResponse
        from neptune_api.proto.neptune_pb.ingest.v1.pub.ingest_pb2 import RunOperation

        request = RunOperation.FromString(data)
        run = self.runs.setdefault(request.run_id, Run())
        told: list[str] = []
        if request.HasField("create"):
            run.created.append(request.create)
        for update in request.update_batch.snapshots:
            self._update(run, update, told)
        number = str(len(self.codes))
        self.codes[number] = told
        return bytes(SubmitResponse(request_id=number, request_ids=[number]).SerializeToString())

    def _update(self, run: Run, update: Any, told: list[str]) -> None:
        step = update.step.whole
        for path, value in update.append.items():
            points = run.series.setdefault(path, [])
            if path in self.refused:
                told.append(self.refused[path])
            elif points and points[-1][0] >= step:
                same = any(each == step for each, _ in points)
                told.append("SERIES_POINT_DUPLICATE" if same else "SERIES_STEP_NON_INCREASING")
            else:
                points.append((step, getattr(value, value.WhichOneof("value"))))
        for path, value in update.assign.items():
            run.single[path] = getattr(value, value.WhichOneof("value"))

    def check(self, data: bytes) -> bytes:
        """Say what became of requests."""
        from neptune_api.proto.google_rpc.code_pb2 import Code
        from neptune_api.proto.neptune_pb.ingest.v1.ingest_pb2 import IngestCode
        from neptune_api.proto.neptune_pb.ingest.v1.pub.client_pb2 import BulkRequestStatus, RequestIdList
        from neptune_api.proto.neptune_pb.ingest.v1.pub.request_status_pb2 import RequestStatus

        statuses = []
        for each in RequestIdList.FromString(data).ids:
            found = self.codes[each.value]
            counts = [
                RequestStatus.CodeByCount(count=1, code=Code.INVALID_ARGUMENT, detail=IngestCode.Value(name))
                for name in found
            ]
            if self.unready:
                counts = [RequestStatus.CodeByCount(count=1, code=Code.UNAVAILABLE)]
            statuses.append(RequestStatus(code_by_count=counts or [RequestStatus.CodeByCount(count=1, code=Code.OK)]))
        self.unready = max(0, self.unready - 1)
        return bytes(BulkRequestStatus(statuses=statuses).SerializeToString())

    def signed(self, data: bytes) -> bytes:
        """Where files are to be put."""
        files = json.loads(data)["files"]
        places = [
            {
                "path": each["path"],
                "project_identifier": each["project_identifier"],
                "provider": "aws",
                "url": f"{self.url}/put/{each['path']}",
            }
            for each in files
        ]
        return json.dumps({"files": places}).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    neptune: Neptune

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlparse(self.path).path
        scripted = next(
            (ours for ending, ours in self.neptune.scripted.items() if ours and path.endswith(ending)), None
        )
        if scripted:
            answer = scripted.pop(0)
            if answer.status is None:
                self.close_connection = True
                return
            self._answer(b"{}", answer.status, answer.headers)
            return
        self._route(path, data)

    do_GET = do_PUT = do_POST  # noqa: N815 - the names that http.server calls

    def _route(self, path: str, data: bytes) -> None:
        import jwt  # comes with neptune-api

        neptune = self.neptune
        if path.endswith("clients/config"):
            security = {"clientId": "us", "openIdDiscovery": f"{neptune.url}/discovery"}
            self._answer(json.dumps({"apiUrl": neptune.url, "pyLibVersions": {}, "security": security}).encode())
        elif path.endswith("discovery"):
            ends = {"authorization_endpoint": f"{neptune.url}/auth", "token_endpoint": f"{neptune.url}/token"}
            self._answer(json.dumps(ends).encode())
        elif path.endswith("oauth-token"):
            access = jwt.encode({"exp": 2_000_000_000}, "k" * 32)
            told = {"accessToken": access, "refreshToken": access, "username": "me"}
            self._answer(json.dumps(told if neptune.known else {}).encode(), 200 if neptune.known else 401)
        elif path.endswith("ingest"):
            self._answer(neptune.take(data), kind="application/x-protobuf")
        elif path.endswith("ingest/check"):
            self._answer(neptune.check(data), kind="application/x-protobuf")
        elif path.endswith("signedUrl"):
            self._answer(neptune.signed(data))
        elif "/put/" in path:
            neptune.files[path.partition("/put/")[2]] = data
            self._answer(b"", headers={"ETag": '"1"'})
        else:
            self._answer(b"{}", 404)

    def _answer(
        self, data: bytes, status: int = 200, headers: dict[str, str] | None = None, kind: str = "application/json"
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": kind, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@contextlib.contextmanager
def running() -> Iterator[Neptune]:
    """A server of its own for a test."""
    neptune = Neptune()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"neptune": neptune}))
    server.daemon_threads = True
    neptune.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield neptune
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
