"""As much of W&B's server as its uploader asks for, on 127.0.0.1: GraphQL, file streams, uploads.

It believes as W&B's does: a row whose `_step` it has is no news.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Mapping[str, str], Any]
"""Status, headers, and what becomes JSON."""

KEY = "k" * 40


@dataclass
class Server:
    """What it was told, and how it answers. `trouble`, given a path and how many requests there were, may answer."""

    url: str = ""
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None
    asked: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    trouble: Callable[[str, int], Reply | None] = lambda _path, _count: None

    def config(self, run_id: str) -> dict[str, Any]:
        """Name to value, W&B's own left out."""
        config = json.loads(self.runs[run_id]["config"])
        return {name: entry["value"] for name, entry in config.items() if name != "_wandb"}

    def answer(self, path: str, body: bytes) -> Reply:
        self.asked.append(path)
        trouble = self.trouble(path, len(self.asked))
        if trouble is not None:
            return trouble
        if path.endswith("/graphql"):
            return 200, {}, {"data": self._graphql(json.loads(body))}
        if path.endswith("/file_stream"):
            self._stream(json.loads(body))
        elif path.startswith("/upload/"):
            self.files[path.removeprefix("/upload/")] = body
        return 200, {}, {}

    def _graphql(self, query: dict[str, Any]) -> dict[str, Any]:
        given = query.get("variables") or {}
        if query["operationName"] == "UpsertBucket":
            kept = self.runs.setdefault(given["name"], {})
            kept.update({key: value for key, value in given.items() if value is not None})
            project = {"id": "p", "name": given["project"], "entity": {"id": "e", "name": "me"}}
            bucket = {"id": "s", "name": given["name"], "displayName": kept.get("displayName"), "project": project}
            return {"upsertBucket": {"bucket": {**bucket, "historyLineCount": len(self.rows)}, "inserted": True}}
        if query["operationName"] == "RunResumeStatus":
            return {"model": {"bucket": self._resumed() if self.rows else None}}
        if query["operationName"] == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in given["files"]]
            return {"createRunFiles": {"runID": "s", "uploadHeaders": [], "files": files}}
        return {"serverInfo": {"features": []}}

    def _resumed(self) -> dict[str, Any]:
        """A run that is there, as one that goes on with it is told of it."""
        last = max(self.rows)
        known = {
            "id": "s",
            "name": "abc",
            "displayName": "there",
            "config": "{}",
            "wandbConfig": '{"t": 1}',
            "tags": [],
        }
        counts = {"historyLineCount": len(self.rows), "eventsLineCount": 0, "logLineCount": 0}
        tails = {"historyTail": json.dumps([json.dumps(self.rows[last])]), "eventsTail": "[]"}
        return {**known, **counts, **tails, "summaryMetrics": json.dumps({"_step": last})}

    def _stream(self, told: dict[str, Any]) -> None:
        files = told.get("files") or {}
        for line in files.get("wandb-history.jsonl", {}).get("content", []):
            row = json.loads(line)
            self.lines.append(row)
            self.rows.setdefault(row["_step"], row)
        for line in files.get("wandb-summary.json", {}).get("content", []):
            self.summary = json.loads(line)
        if told.get("complete"):
            self.exit_code = told["exitcode"]


@contextmanager
def serving(port: int = 0) -> Iterator[Server]:
    """A server that answers, until the block ends."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the base class
            del format, args

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            server.keys.add(self.headers.get("Authorization", ""))
            status, headers, content = server.answer(self.path, body)
            data = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json", "Content-Length": len(data)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(data)

        do_PUT = do_POST  # noqa: N815 - the name by which it is called

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that was killed in the middle."""

    http = Quiet(("127.0.0.1", port), Handler)
    server.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
