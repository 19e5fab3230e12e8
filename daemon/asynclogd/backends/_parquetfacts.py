"""params.parquet and summary.parquet: a row for each name, the file replaced whole when one is new or has changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from asynclog_proto.records import Scalar
from asynclogd.backends._files import replace
from asynclogd.backends._parquetrows import column, texts
from asynclogd.backends.base import StartOverError


class Facts:
    """Names with the text of their value, and with the number where it is one (a bool is none)."""

    def __init__(self, path: Path, *, fresh: bool, fsync: bool) -> None:
        """Go on from what is there, or from nothing when `fresh`. Raises StartOverError where that is spoiled."""
        self._path, self._fsync = path, fsync
        self._values: dict[str, tuple[str | None, float | None]] = {}
        self._saved = True
        if fresh:
            path.unlink(missing_ok=True)
        elif path.is_file():
            self._values = _read(path)

    def update(self, values: Mapping[str, Scalar]) -> None:
        """Take new and changed values; they reach the file with `save`."""
        for name, value in values.items():
            number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
            self._values[name] = (None if value is None else str(value), number)
            self._saved = False

    def save(self) -> None:
        """Write the file if anything is new. Raises OSError."""
        if self._saved:
            return
        values, numbers = zip(*self._values.values(), strict=True)
        known = [number is not None for number in numbers]
        columns = {
            "name": texts(list(self._values)),
            "value": texts(values),
            "number": column(np.array(numbers, np.float64), pa.float64(), valid=known),
        }
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), buffer)
        replace(self._path, [buffer.getvalue()], fsync=self._fsync)
        self._saved = True


def _read(path: Path) -> dict[str, tuple[str | None, float | None]]:
    try:
        with pq.ParquetFile(path) as file:
            rows = file.read().to_pylist()
    except pa.ArrowInvalid as error:
        raise StartOverError(f"{path} is spoiled: {error}") from error
    return {row["name"]: (row["value"], row["number"]) for row in rows}
