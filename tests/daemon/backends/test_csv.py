from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from asynclogd.backends.base import Params, Rewind, RunInfo, Summary
from asynclogd.backends.csv import CsvBackend, CsvConfig
from asynclogd.testing import filled, table
from tests.filesize import files_of_at_most

pandas = pytest.importorskip("pandas")


def info(directory: Path) -> RunInfo:
    own = directory / "run-1" / "csv"
    own.mkdir(parents=True, exist_ok=True)
    return RunInfo("digits", "run-1", own.parent, own)


def opened(run: RunInfo, position=None) -> CsvBackend:
    backend = CsvBackend(CsvConfig())
    backend.open(run, position)
    return backend


def written(run: RunInfo, *items, position=None):
    backend = opened(run, position)
    backend.write(items)
    position = backend.flush()
    backend.close("")
    return position


def text(run: RunInfo) -> str:
    return (run.own_dir / "metrics.csv").read_bytes().decode()


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")
def test_byte_for_byte_what_lightnings_logger_writes(tmp_path: Path):
    loggers = pytest.importorskip("lightning.pytorch.loggers")
    peer = loggers.CSVLogger(str(tmp_path), name="peer", version=0)
    peer.log_hyperparams({"lr": 0.001, "model": {"depth": 3, "act": "relu"}, "seed": None, "aug": True})
    extreme = [2e-5, -2.5e-6, 1e-7, 1e-30, 5e-324, 1e-4, 0.0, -0.0, 1e15, 1e16, -1.5e17, 1e22, 1e300]
    tables = [
        table(["loss", "acc", 'odd,"name'], range(20)),
        table(["val/loss", "loss"], [20, 21]),
        filled(["lr"], range(22, 22 + len(extreme)), np.array(extreme)[:, None]),
    ]
    for points in tables:
        for step, _, values in points.rows():
            peer.log_metrics(dict(zip(points.names, values, strict=True)), step)
            peer.save()
    params = Params({"lr": 0.001, "model/depth": 3, "model/act": "relu", "seed": None, "aug": True})
    run = info(tmp_path)
    written(run, params, *tables)
    assert text(run) == (Path(peer.log_dir) / "metrics.csv").read_bytes().decode()
    theirs = yaml.safe_load((Path(peer.log_dir) / "hparams.yaml").read_text())
    assert yaml.safe_load((run.own_dir / "hparams.yaml").read_text()) == theirs


def test_numbers_and_blanks(tmp_path: Path):
    run = info(tmp_path)
    values = np.array([[float("nan"), 1.0], [float("-inf"), 1e22], [float("inf"), -0.0]])
    written(run, filled(["b", "a"], [0, 1, 2], values), filled(["c"], [3], np.array([[0.1]])))
    assert text(run).split("\r\n") == [
        "a,b,c,step",
        "1.0,nan,,0",
        "1e+22,-inf,,1",
        "-0.0,inf,,2",
        ",,0.1,3",
        "",
    ]


def test_pandas_reads_it_exactly(tmp_path: Path):
    run, points = info(tmp_path), table(["loss", "n/a", "z"], range(100))
    written(run, points)
    frame = pandas.read_csv(run.own_dir / "metrics.csv", dtype=dict.fromkeys(points.names, str))
    assert list(frame.columns) == ["loss", "n/a", "step", "z"]
    assert frame["step"].tolist() == points.steps.tolist()
    assert (frame[["loss", "n/a", "z"]].astype(float).to_numpy() == points.values).all()


def test_a_series_named_step_has_a_column_of_its_own(tmp_path: Path):
    run = info(tmp_path)
    written(run, filled(["step", "_step"], [7], np.array([[1.0, 2.0]])))
    assert text(run).splitlines() == ["__step,_step,step", "2.0,1.0,7"]


def test_new_series_in_one_flush_replace_the_file_once(tmp_path: Path, monkeypatch):
    run, backend = info(tmp_path), opened(info(tmp_path))
    backend.write([table(["a"], [0])])
    backend.flush()
    before = (run.own_dir / "metrics.csv").stat().st_ino
    backend.write([table(["a"], [1])])
    backend.flush()
    assert (run.own_dir / "metrics.csv").stat().st_ino == before
    backend.write([table([f"n{i}"], [i]) for i in range(2, 50)])
    assert (run.own_dir / "metrics.csv").stat().st_ino == before
    backend.flush()
    backend.close("")
    assert len(text(run).splitlines()) == 51
    assert len(text(run).splitlines()[0].split(",")) == 50


def test_a_revision_changes_the_cell_and_adds_no_row(tmp_path: Path):
    run = info(tmp_path)
    one = np.ones((1, 1))
    position = written(run, filled(["a", "b"], [0, 1, 2], np.zeros((3, 2))))
    written(
        run,
        filled(["a"], [1], one * 5, revision=True),
        filled(["a"], [3], one * 6),
        filled(["a"], [3], one * 7, revision=True),
        filled(["c"], [1], one * 8, revision=True),
        position=position,
    )
    assert text(run).splitlines() == ["a,b,c,step", "0.0,0.0,,0", "5.0,0.0,,1", "0.0,0.0,,2", "7.0,,,3", ",,8.0,1"]


def test_a_revision_is_written_as_any_other_value(tmp_path: Path):
    run, whole = info(tmp_path), CsvConfig(whole=("epoch",))
    backend = CsvBackend(whole)
    backend.open(run, None)
    backend.write([filled(["epoch", "lr"], [0, 1], np.zeros((2, 2)))])
    backend.flush()
    backend.write([
        filled(["epoch"], [1], np.array([[2.0]]), revision=True),
        filled(["lr"], [1], np.array([[2e-5]]), revision=True),
        filled(["epoch"], [3], np.array([[4.0]]), revision=True),
    ])  # fmt: skip
    backend.flush()
    backend.close("")
    assert text(run) == "epoch,lr,step\r\n0,0.0,0\r\n2,2e-05,1\r\n4,,3\r\n"


def test_a_revision_leaves_one_value_where_a_step_came_twice(tmp_path: Path):
    run = info(tmp_path)
    position = written(run, table(["a"], [1]), table(["a", "b"], [1]))
    written(run, filled(["a"], [1], np.array([[9.0]]), revision=True), position=position)
    assert [line.split(",")[0] for line in text(run).splitlines()] == ["a", "9.0", ""]


def test_a_rewind_that_was_not_committed_is_undone(tmp_path: Path):
    """Also when rows of earlier steps came after it, which the number of rows alone could not tell apart."""
    run = info(tmp_path)
    position = written(run, table(["a"], range(10)))
    before = text(run)
    written(run, Rewind(5, 1), table(["a"], [0, 1, 2, 3, 4, 5, 6, 7, 8]), position=position)
    assert text(run) != before
    opened(run, position).close("")
    assert text(run) == before


def test_a_crash_between_keeping_the_version_and_replacing_it(tmp_path: Path):
    run = info(tmp_path)
    position = written(run, table(["a"], range(10)))
    os.link(run.own_dir / "metrics.csv", run.own_dir / ".metrics.csv.v0")
    (run.own_dir / ".metrics.csv.draft").write_bytes(b"half a fi")
    written(run, Rewind(5, 1), table(["a"], range(5, 9)), position=position)
    assert [line.split(",")[1] for line in text(run).splitlines()[1:]] == [str(step) for step in range(9)]


def test_kept_versions_are_few(tmp_path: Path):
    run, backend = info(tmp_path), opened(info(tmp_path))
    for generation in range(1, 10):
        backend.write([Rewind(2, generation), table(["a"], range(generation, generation + 3))])
        backend.flush()
    backend.close("")
    assert len(list(run.own_dir.glob(".metrics.csv.v*"))) <= 2


def test_params_and_summary_merge_over_restarts(tmp_path: Path):
    run = info(tmp_path)
    position = written(run, Params({"lr": 0.1, "net/depth": 3}), Summary({"best": float("nan"), "note": 'ü: "ö"'}))
    written(run, Params({"lr": 0.2, "net/width": 8}), Summary({"best": 0.5}), position=position)
    hparams = yaml.safe_load((run.own_dir / "hparams.yaml").read_text())
    assert hparams == {"lr": 0.2, "net": {"depth": 3, "width": 8}}
    summary = yaml.safe_load((run.own_dir / "summary.yaml").read_text())
    assert summary == {"best": 0.5, "note": 'ü: "ö"'}


def test_a_full_disk_is_retried_without_loss(tmp_path: Path):
    run, backend = info(tmp_path), opened(info(tmp_path))
    backend.write([table(["a"], range(10))])
    backend.flush()
    backend.write([Rewind(5, 1), table(["a", "b"], range(5, 200))])
    with files_of_at_most(1000), pytest.raises(OSError, match="File too large"):
        backend.flush()
    backend.flush()
    backend.close("")
    assert [line.split(",")[-1] for line in text(run).splitlines()[1:]] == [str(step) for step in range(200)]


def test_options_leave_hparams_to_others_and_write_whole_numbers(tmp_path: Path):
    run = info(tmp_path)
    (run.own_dir / "hparams.yaml").write_text("theirs: 1\n")
    backend = CsvBackend(CsvConfig(hparams=False, whole=("epoch",)))
    backend.open(run, None)
    backend.write([filled(["epoch", "a"], [0, 1, 2], np.array([[0.0, 1.0], [0.5, 2.0], [float("nan"), 3.0]]))])
    backend.write([Params({"lr": 0.1}), Summary({"best": 1.0})])
    backend.flush()
    backend.close("")
    assert text(run) == "a,epoch,step\r\n1.0,0,0\r\n2.0,0.5,1\r\n3.0,nan,2\r\n"
    assert (run.own_dir / "hparams.yaml").read_text() == "theirs: 1\n"
    assert not (run.own_dir / "summary.yaml").exists()
