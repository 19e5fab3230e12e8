"""The files that a Parquet table consists of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclogd.backends import _parquetparts
from asynclogd.backends._parquetparts import FAN_IN, LARGEST, Parts, due
from asynclogd.backends.base import Item, Rewind, RunEnd, StartOverError
from asynclogd.backends.parquet import ParquetBackend
from asynclogd.samples import content, exactly, table
from tests.daemon.backends.parquetruns import files, info, read, written


def test_parts_are_merged_as_they_become_many_and_at_the_end(tmp_path: Path):
    run = info(tmp_path)
    batches: list[list[Item]] = [[table(["a", "b"], range(5 * at, 5 * at + 5), at)] for at in range(100)]
    position = written(run, *batches)
    assert position == {"points": 1000, "references": 0, "kept": {"points": 1000, "references": 0}}
    assert len(files(run)) <= 2 * FAN_IN
    assert read(run) == sorted(exactly(*point) for items in batches for point in content(items))
    written(run, [RunEnd("success")], position=position)
    assert files(run) == ["part-000000000000000.parquet"]
    assert read(run) == sorted(exactly(*point) for items in batches for point in content(items))


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


def test_a_part_of_which_every_row_is_superseded_is_removed(tmp_path: Path):
    run = info(tmp_path)
    position = written(run, [table(["a"], range(5))], [table(["a"], range(5, 10))])
    written(run, [Rewind(5, 1)], position=position)
    assert files(run) == ["part-000000000000000.parquet"]
    written(run, [table(["a"], [5])], position=position)
    assert [step for _, step, _ in read(run)] == list(range(6))


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
    assert backend.flush() == {"points": 6, "references": 0, "kept": {"points": 5, "references": 0}}
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
