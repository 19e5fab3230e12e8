from __future__ import annotations

import csv

from asynclogd.backends.base import RunInfo
from asynclogd.backends.csv import CsvBackend, CsvConfig
from asynclogd.testing import BackendContract, Content


class TestCsv(BackendContract):
    def make(self) -> CsvBackend:
        return CsvBackend(CsvConfig())

    def read(self, run: RunInfo) -> Content:
        path = run.own_dir / "metrics.csv"
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        names = {"_step": "step", "__step": "_step"}
        return [
            (names.get(name, name), int(row["step"]), float(cell))
            for row in rows
            for name, cell in row.items()
            if name != "step" and cell
        ]
