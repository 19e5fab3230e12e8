from __future__ import annotations

import json

from asynclogd.backends.base import RunInfo
from asynclogd.backends.jsonl import JsonlBackend, JsonlConfig
from asynclogd.testing import BackendContract, Content


class TestJsonl(BackendContract):
    def make(self) -> JsonlBackend:
        return JsonlBackend(JsonlConfig())

    def read(self, run: RunInfo) -> Content:
        found: Content = []
        for line in (run.own_dir / "points.jsonl").read_text().splitlines():
            entry = json.loads(line)
            if "rewind" in entry:
                found = [point for point in found if point[1] < entry["rewind"]]
            found.extend((name, entry["step"], float(value)) for name, value in entry.get("metrics", {}).items())
        return found
