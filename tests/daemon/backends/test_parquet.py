"""Parquet, as pandas and DuckDB read it, each in one line."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from asynclogd.backends.base import Item, Params, Rewind, RunEnd, RunInfo, Summary
from asynclogd.contractbase import MediaContent
from asynclogd.samples import content, exactly, table
from asynclogd.testing import Content
from tests.daemon.backends.mediastore import Store
from tests.daemon.backends.parquetruns import files, info, read, rows, written
from tests.daemon.backends.references import referred
from tests.daemon.backends.sigkill import SigkillContract


class TestParquetInPandas(SigkillContract):
    where = "asynclogd.backends.parquet:ParquetBackend"

    def read(self, run: RunInfo) -> Content:
        frame = pd.read_parquet(run.own_dir / "points")
        return list(zip(frame["name"], frame["step"], frame["value"], strict=True))

    def read_media(self, run: RunInfo) -> MediaContent:
        frame = pd.read_parquet(run.own_dir / "references")
        return [referred(run, row) for row in frame.to_dict("records")]


class TestParquetInDuckDB(SigkillContract):
    where = "asynclogd.backends.parquet:ParquetBackend"

    def read(self, run: RunInfo) -> Content:
        return rows(run, "SELECT name, step, value FROM 'points/*.parquet' ORDER BY row")


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


def test_a_run_goes_on_after_its_end(tmp_path: Path):
    run = info(tmp_path)
    position = written(run, [table(["a"], range(9)), RunEnd("killed")])
    written(run, [Rewind(6, 1), table(["a"], range(6, 12), 1, generation=1), RunEnd("success")], position=position)
    assert files(run) == ["part-000000000000000.parquet"]
    query = "SELECT step, generation FROM 'points/*.parquet' ORDER BY row"
    assert rows(run, query) == [(step, int(step >= 6)) for step in range(12)]


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
