"""Parquet, as pandas and DuckDB read it, each in one line."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclogd.backends import _parquetparts
from asynclogd.backends._parquetparts import FAN_IN, LARGEST, Parts, due
from asynclogd.backends.base import Item, Params, Position, Rewind, RunEnd, RunInfo, StartOverError, Summary
from asynclogd.backends.parquet import ParquetBackend
from asynclogd.contractbase import MediaContent
from asynclogd.samples import content, exactly, table
from asynclogd.testing import Content
from tests.daemon.backends.filecontract import FileContract, referred
from tests.daemon.backends.mediastore import Store


class TestParquetInPandas(FileContract):
    backend = ParquetBackend

    def read(self, run: RunInfo) -> Content:
        frame = pd.read_parquet(run.own_dir / "points")
        return list(zip(frame["name"], frame["step"], frame["value"], strict=True))

    def read_media(self, run: RunInfo) -> MediaContent:
        frame = pd.read_parquet(run.own_dir / "references")
        return [referred(run, row) for row in frame.to_dict("records")]


class TestParquetInDuckDB(FileContract):
    backend = ParquetBackend

    def read(self, run: RunInfo) -> Content:
        return rows(run, "SELECT name, step, value FROM 'points/*.parquet' ORDER BY row")


def rows(run: RunInfo, query: str) -> list[Any]:
    """What DuckDB gives that is started in the backend's directory."""
    with duckdb.connect(config={"file_search_path": str(run.own_dir)}) as database:
        return database.execute(query).fetchall()


def info(directory: Path) -> RunInfo:
    own = directory / "run-1" / "parquet"
    own.mkdir(parents=True, exist_ok=True)
    return RunInfo("digits", "run-1", own.parent, own, world=2)


def written(run: RunInfo, *batches: list[Item], position: Position | None = None) -> Position:
    """Open, write and flush each batch, close."""
    backend = ParquetBackend()
    backend.open(run, position)
    for items in batches:
        backend.write(items)
        position = backend.flush()
    backend.close("")
    assert position is not None
    return position


def files(run: RunInfo) -> list[str]:
    return sorted(path.name for path in (run.own_dir / "points").iterdir())


def read(run: RunInfo) -> list[tuple[str, int, bytes]]:
    return sorted(exactly(*row) for row in rows(run, "SELECT name, step, value FROM 'points/*.parquet'"))


def test_columns_and_their_types(tmp_path: Path):
    run = info(tmp_path)
    items = replace(table(["a", "b"], [7], generation=3), times=np.array([1.7e9 + 0.1234567]))
    written(run, [items])
    schema = pq.read_schema(run.own_dir / "points" / "part-000000000000000.parquet")
    assert {field.name: str(field.type) for field in schema} == {
        "name": "dictionary<values=string, indices=int32, ordered=0>",
        "step": "int64",
        "time": "timestamp[us, tz=UTC]",
        "value": "double",
        "ranks": "int32",
        "world": "int32",
        "generation": "int32",
        "revision": "bool",
        "row": "int64",
    }
    (first, second) = pd.read_parquet(run.own_dir / "points").to_dict("records")
    assert first | {"value": 0} == {
        "name": "a", "step": 7, "time": pd.Timestamp(1_700_000_000_123_457, unit="us", tz="UTC"), "value": 0,
        "ranks": 2, "world": 2, "generation": 3, "revision": False, "row": 0,
    }  # fmt: skip
    assert (second["name"], second["row"]) == ("b", 1)


def test_the_docs_queries_give_a_wide_table(tmp_path: Path):
    run = info(tmp_path)
    written(run, [table(["a"], range(3)), table(["b"], [2])], [table(["a"], [1], 9, revision=True)])
    (revised,) = content([table(["a"], [1], 9)])
    frame = pd.read_parquet(run.own_dir / "points").pivot_table("value", "step", "name", aggfunc="last", observed=True)
    assert frame.loc[1, "a"] == revised[2]
    assert math.isnan(frame.loc[1, "b"])
    wide = rows(run, "PIVOT 'points/*.parquet' ON name USING last(value) GROUP BY step ORDER BY step")
    assert [row[0] for row in wide] == [0, 1, 2]
    assert wide[1][1:] == (revised[2], None)


def test_nan_and_infinities_are_numbers_in_both(tmp_path: Path):
    run = info(tmp_path)
    values = np.array([[float("nan"), float("inf"), float("-inf")]])
    written(run, [replace(table(["x", "y", "z"], [0]), values=values)])
    assert rows(run, "SELECT isnan(value), isinf(value) FROM 'points/*.parquet' ORDER BY row") == [
        (True, False), (False, True), (False, True),
    ]  # fmt: skip
    assert np.array_equal(pd.read_parquet(run.own_dir / "points")["value"], values[0], equal_nan=True)


def test_late_steps_stay_in_the_order_in_which_they_came(tmp_path: Path):
    run = info(tmp_path)
    written(run, [table(["a"], [5, 6])], [table(["a"], [2])])
    assert rows(run, "SELECT step FROM 'points/*.parquet' ORDER BY row") == [(5,), (6,), (2,)]


def test_parts_are_merged_as_they_become_many_and_at_the_end(tmp_path: Path):
    run = info(tmp_path)
    batches: list[list[Item]] = [[table(["a", "b"], range(5 * at, 5 * at + 5), at)] for at in range(100)]
    position = written(run, *batches)
    assert position == {"points": 1000, "references": 0}
    assert len(files(run)) <= 2 * FAN_IN
    assert read(run) == sorted(exactly(*point) for items in batches for point in content(items))
    written(run, [RunEnd("success")], position=position)
    assert files(run) == ["part-000000000000000.parquet"]
    assert read(run) == sorted(exactly(*point) for items in batches for point in content(items))


def test_a_run_goes_on_after_its_end(tmp_path: Path):
    run = info(tmp_path)
    position = written(run, [table(["a"], range(9)), RunEnd("killed")])
    written(run, [Rewind(6, 1), table(["a"], range(6, 12), 1, generation=1), RunEnd("success")], position=position)
    assert files(run) == ["part-000000000000000.parquet"]
    query = "SELECT step, generation FROM 'points/*.parquet' ORDER BY row"
    assert rows(run, query) == [(step, int(step >= 6)) for step in range(12)]


def test_a_crash_while_parts_are_merged_leaves_no_row_twice(tmp_path: Path):
    """The whole is in the place of the first part, the others are not removed yet."""
    run = info(tmp_path)
    position = written(run, [table(["a"], range(9))], [table(["a"], range(9, 12))], [table(["a"], range(12, 14))])
    points = run.own_dir / "points"
    parts = [points / name for name in files(run)]
    last = [path.read_bytes() for path in parts[1:]]
    written(run, [RunEnd("success")], position=position)
    for path, data in zip(parts[1:], last, strict=True):
        path.write_bytes(data)
    (points / ".part-000000000000099.parquet.draft").write_bytes(b"PAR1")
    written(run, [], position=position)
    assert files(run) == [parts[0].name]
    assert [step for _, step, _ in read(run)] == list(range(14))


def test_a_revision_and_a_rewind_reach_rows_of_any_part(tmp_path: Path):
    run = info(tmp_path)
    first: list[list[Item]] = [[table(["a", "b"], range(10 * at, 10 * at + 10), at)] for at in range(12)]
    late: list[Item] = [table(["b"], [3, 119], 7, revision=True), Rewind(100, 1), table(["a"], [100])]
    written(run, *first, [*late, table(["b"], [4], 8, revision=True)])
    last = {(name, step): value for items in first for name, step, value in content(items) if step < 100}
    last |= {(name, step): value for name, step, value in content(late[:1]) if step < 100}
    last |= {(name, step): value for name, step, value in content([late[2], table(["b"], [4], 8)])}
    assert read(run) == sorted(exactly(*key, value) for key, value in last.items())
    assert rows(run, "SELECT step FROM 'points/*.parquet' WHERE revision ORDER BY step") == [(3,), (4,)]


def test_a_part_of_which_every_row_is_superseded_is_removed(tmp_path: Path):
    run = info(tmp_path)
    position = written(run, [table(["a"], range(5))], [table(["a"], range(5, 10))])
    written(run, [Rewind(5, 1)], position=position)
    assert files(run) == ["part-000000000000000.parquet"]
    written(run, [table(["a"], [5])], position=position)
    assert [step for _, step, _ in read(run)] == list(range(6))


def test_params_and_summary_are_tables_too(tmp_path: Path):
    run = info(tmp_path)
    params = Params({"lr": 0.1, "name": "x: y", "on": True, "none": None, "nan": math.nan, "n": 3})
    position = written(run, [params, Summary({"best": 0.5})])
    written(run, [Params({"lr": 0.2, "new": "1"})], position=position)
    table_of = "SELECT name, value, number FROM 'params.parquet'"
    found = {name: (value, number) for name, value, number in rows(run, table_of)}
    assert found.pop("nan")[0] == "nan"
    assert found == {
        "lr": ("0.2", 0.2), "name": ("x: y", None), "on": ("True", None), "none": (None, None), "n": ("3", 3.0),
        "new": ("1", None),
    }  # fmt: skip
    assert rows(run, "SELECT number FROM 'summary.parquet'") == [(0.5,)]
    written(run, [Params({"other": 1})])
    assert rows(run, "SELECT name FROM 'params.parquet'") == [("other",)]
    assert not (run.own_dir / "summary.parquet").exists()


def test_references_say_which_bytes(tmp_path: Path):
    run, store = info(tmp_path), Store()
    item = store.item("samples", "text", {"caption": "ü"}, step=3, text="# hello")
    position = written(run, [item, store.item("samples", "text", step=4, text="other")])
    written(run, [Rewind(4, 1)], position=position)
    (row,) = pd.read_parquet(run.own_dir / "references").to_dict("records")
    assert (row["name"], row["step"], row["form"], row["file"]) == ("samples", 3, "text/markdown", "media/1.seg")
    assert row["digest"] == item.blob.digest
    assert json.loads(row["options"])["caption"] == "ü"


def test_what_no_position_knows_of_is_set_aside(tmp_path: Path):
    run = info(tmp_path)
    for _ in range(2):
        written(run, [table(["a"], range(5))])
    assert sorted(path.name for path in run.own_dir.iterdir()) == ["points", "set-aside.points"]
    assert len(read(run)) == 5


def test_a_spoiled_part_starts_over(tmp_path: Path):
    """What a loss of power may leave without fsync."""
    run = info(tmp_path)
    position = written(run, [table(["a"], range(9))], [table(["a"], range(9, 12))])
    path = run.own_dir / "points" / files(run)[1]
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(StartOverError, match="is spoiled"):
        written(run, [table(["a"], [12])], position=position)
    written(run, [table(["a"], range(13))])
    assert [step for _, step, _ in read(run)] == list(range(13))


def test_many_rows_do_not_wait_for_the_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_parquetparts, "LARGEST", 100)
    run = info(tmp_path)
    backend = ParquetBackend()
    backend.open(run, None)
    backend.write([table(["a"], range(60))])
    assert not (run.own_dir / "points").exists()
    backend.write([table(["a"], range(60, 120))])
    assert files(run) == ["part-000000000000000.parquet"]
    backend.close("")
    backend.open(run, {"points": 0, "references": 0})
    assert files(run) == []


def test_a_full_disk_loses_nothing_and_flush_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_args: object, **_named: object) -> None:
        raise OSError(28, "No space left on device")

    run = info(tmp_path)
    backend = ParquetBackend()
    backend.open(run, None)
    backend.write([table(["a"], range(5)), table(["a"], [3], 1, revision=True)])
    with monkeypatch.context() as disk:
        disk.setattr(_parquetparts, "replace", full)
        with pytest.raises(OSError, match="No space"):
            backend.flush()
    assert backend.flush() == {"points": 6, "references": 0}
    assert [step for _, step, _ in read(run)] == list(range(5))


@given(st.lists(st.integers(1, LARGEST), min_size=1, max_size=400))
def test_parts_stay_few_whatever_the_flushes(flushes: list[int]):
    parts: list[int] = []
    for flush in flushes:
        parts.append(flush)
        while count := due(parts):
            assert count > 1
            parts[-count:] = [sum(parts[-count:])]
    assert sum(parts) == sum(flushes)
    assert max(parts) <= LARGEST
    small = [part for part in parts if part < LARGEST // FAN_IN]
    assert len(small) <= 7 * FAN_IN


def test_names_of_parts_are_kept_by_one_dictionary_each(tmp_path: Path):
    """Tables of other series have other dictionaries; a reader of one file wants one."""
    parts = Parts(tmp_path / "points", 0, fsync=True)
    parts.append_points(table(["a", "b"], range(3)))
    parts.append_points(table(["c", "a"], range(3)))
    assert parts.flush() == 12
    (path,) = (tmp_path / "points").iterdir()
    names = pq.read_table(path)["name"]
    assert isinstance(names.type, pa.DictionaryType)
    assert names.to_pylist() == ["a", "b"] * 3 + ["c", "a"] * 3


def test_it_does_not_import_pandas(tmp_path: Path):
    """Which much of pyarrow does when it is there: a third of a second, and 40 MB of the daemon."""
    code = """
import sys
from pathlib import Path
from asynclogd.backends.base import Blob, Media, Params, Rewind, RunEnd, RunInfo, StartOverError, Summary
from asynclogd.backends.parquet import ParquetBackend
from asynclogd.samples import table
own = Path(sys.argv[1])
media = Media("x", 1, 1.7e9, "text", "text/markdown", {}, Blob("", 1, 0, 0))
backend, position = ParquetBackend(), None
for _ in range(2):
    backend.open(RunInfo("digits", "run-1", own.parent, own), position)
    backend.write([Params({"a": 1}), Summary({"b": None}), table(["a"], range(3)), media])
    backend.flush()
    backend.write([table(["a"], [1], revision=True), Rewind(2, 1), RunEnd("success")])
    position = backend.flush()
    backend.write([table(["a"], [5])])
    backend.flush()
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
