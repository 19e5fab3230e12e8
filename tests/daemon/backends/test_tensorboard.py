from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.context import RequestContext
from tensorboard.data import server_ingester
from tensorboard.util import grpc_util

from asynclogd.backends.base import Params, Points, Rewind, RunEnd, RunInfo, Summary
from asynclogd.backends.tensorboard import TensorBoardBackend, TensorBoardConfig
from asynclogd.testing import filled, table
from tests.hparamstab import hparams_tab


def info(directory: Path, name: str = "run-1") -> RunInfo:
    own = directory / name / "tensorboard"
    own.mkdir(parents=True, exist_ok=True)
    return RunInfo("digits", name, own.parent, own)


def opened(run: RunInfo, position=None) -> TensorBoardBackend:
    backend = TensorBoardBackend(TensorBoardConfig())
    backend.open(run, position)
    return backend


def written(run: RunInfo, *items, position=None):
    backend = opened(run, position)
    backend.write(items)
    position = backend.flush()
    backend.close("")
    return position


def accumulated(run: RunInfo) -> EventAccumulator:
    return EventAccumulator(str(run.own_dir), size_guidance={"scalars": 0, "tensors": 0}).Reload()


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_same_content_as_summary_writer(tmp_path: Path):
    from torch.utils.tensorboard import SummaryWriter

    run, points = info(tmp_path), table(["loss", "train/ünï code", "a b"], [*range(300), 2**40])
    values = points.values * np.logspace(-50, 37, 3)
    points = filled(points.names, points.steps.tolist(), values)
    written(run, points)
    writer = SummaryWriter(str(tmp_path / "peer"))
    for point in points:
        writer.add_scalar(point.name, point.value, point.step, walltime=point.time)
    writer.close()
    ours, theirs = accumulated(run), EventAccumulator(str(tmp_path / "peer"), size_guidance={"scalars": 0}).Reload()
    assert ours.Tags()["scalars"] == theirs.Tags()["scalars"]
    for tag in points.names:
        assert ours.Scalars(tag) == theirs.Scalars(tag)


# TensorBoard starts its server and never waits for it.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_data_server_that_tensorboard_uses_shows_every_point(tmp_path: Path):
    run, points = info(tmp_path), table(["loss", "lr"], range(500))
    position = written(run, Params({"lr": 0.1}), points)
    written(run, Rewind(400, 1), table(["loss", "lr"], range(400, 450), 1), RunEnd("success"), position=position)
    ingester = server_ingester.SubprocessServerDataIngester(
        server_binary=server_ingester.get_server_binary(),
        logdir=str(tmp_path),
        reload_interval=0,
        channel_creds_type=grpc_util.ChannelCredsType.LOCAL,
    )
    ingester.start()
    try:
        deadline = time.monotonic() + 30
        found: list[int] = []
        while len(found) != 450 and time.monotonic() < deadline:
            runs = ingester.data_provider.read_scalars(
                RequestContext(), experiment_id="", plugin_name="scalars", downsample=10_000
            )
            found = [datum.step for datum in runs.get("run-1/tensorboard", {}).get("loss", ())]
        assert found == list(range(450))
        tags = ingester.data_provider.list_tensors(RequestContext(), experiment_id="", plugin_name="hparams")
        assert set(tags["run-1/tensorboard"]) == {"_hparams_/session_start_info", "_hparams_/session_end_info"}
    finally:
        ingester._stdin_handle.close()


def session_groups(directory: Path) -> dict[str, tuple[dict[str, Any], str, dict[str, float]]]:
    """What the HParams tab lists: run -> (hyperparameters, status, metrics)."""
    return {
        run: (hparams, status, {tag: round(value, 4) for (_, tag), (_, value) in metrics.items()})
        for run, (hparams, status, metrics) in hparams_tab(directory).items()
    }


def test_the_hparams_tab_shows_params_status_and_summary(tmp_path: Path):
    written(info(tmp_path, "one"), Params({"lr": 0.1, "opt": "sgd"}), Summary({"best": 0.9}), RunEnd("success"))
    written(info(tmp_path, "two"), Params({"lr": 0.2, "nesterov": True}), table(["loss"], [1]), RunEnd("killed"))
    found = session_groups(tmp_path)
    one, two = found["one/tensorboard"], found["two/tensorboard"]
    assert one == ({"lr": 0.1, "opt": "sgd"}, "STATUS_SUCCESS", {"summary/best": 0.9})
    assert two[:2] == ({"lr": 0.2, "nesterov": True}, "STATUS_FAILURE")
    assert set(two[2]) == {"loss"}


def test_params_that_come_or_change_later_are_shown_too(tmp_path: Path):
    run = info(tmp_path)
    position = written(run, Params({"lr": 0.1, "epochs": 3}))
    written(run, table(["loss"], range(5)), Params({"lr": 0.5, "seed": 1}), position=position)
    (found,) = session_groups(tmp_path).values()
    assert found[:2] == ({"lr": 0.5, "epochs": 3.0, "seed": 1.0}, "STATUS_UNKNOWN")


def test_a_resumed_run_ends_with_its_last_status(tmp_path: Path):
    run = info(tmp_path)
    position = written(run, Params({"lr": 0.1}), table(["loss"], range(9)), RunEnd("failed"))
    position = written(run, Rewind(0, 1), table(["loss"], range(9)), position=position)
    assert [status for _, status, _ in session_groups(tmp_path).values()] == ["STATUS_RUNNING"]
    written(run, RunEnd("success"), position=position)
    assert [status for _, status, _ in session_groups(tmp_path).values()] == ["STATUS_SUCCESS"]


def test_summary_numbers_are_scalars_and_the_rest_texts(tmp_path: Path):
    run = info(tmp_path)
    written(run, Summary({"acc": 0.5, "n": 3, "huge": 10**400, "note": "fine", "ok": True}))
    found = accumulated(run)
    scalars = {tag: found.Scalars(tag)[0].value for tag in found.Tags()["scalars"]}
    assert scalars == {"summary/acc": 0.5, "summary/n": 3.0, "summary/huge": float("inf")}
    assert found.Tensors("summary/note/text_summary")[0].tensor_proto.string_val == [b"fine"]
    assert found.Tensors("summary/ok/text_summary")[0].tensor_proto.string_val == [b"True"]


def test_values_beyond_float32_become_infinite(tmp_path: Path):
    run = info(tmp_path)
    written(run, filled(["v"], [0, 1, 2], np.array([[1e300], [-1e300], [1e-300]])))
    assert [event.value for event in accumulated(run).Scalars("v")] == [float("inf"), float("-inf"), 0.0]


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_a_damaged_file_is_followed_by_a_new_one(tmp_path: Path, caplog, damage: str):
    run = info(tmp_path)
    position = written(run, table(["a"], range(10)))
    path = run.own_dir / str(position["file"])
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-7])
    with caplog.at_level(logging.WARNING):
        again = written(run, table(["a"], range(10, 20)), position=position)
    assert "a new file goes on from here" in caplog.text
    assert again["file"] > position["file"]
    first = 10 if damage == "gone" else 0
    expected = [step for step in range(first, 20) if step != 9]
    assert [event.step for event in accumulated(run).Scalars("a")] == expected


def test_a_file_begun_after_damage_and_not_committed_is_set_aside(tmp_path: Path):
    run = info(tmp_path)
    position = written(run, table(["a"], range(10)))
    (run.own_dir / str(position["file"])).unlink()
    for _ in range(2):
        written(run, table(["a"], range(10, 20)), position=position)
    assert [event.step for event in accumulated(run).Scalars("a")] == list(range(10, 20))


def test_another_writers_files_are_left_alone(tmp_path: Path):
    run = info(tmp_path)
    other = run.own_dir / "events.out.tfevents.9999999999.host.1.0"
    other.write_bytes(b"theirs")
    written(run, table(["a"], [1]))
    assert other.read_bytes() == b"theirs"


def test_many_layouts_do_not_grow_without_bound(tmp_path: Path):
    backend = opened(info(tmp_path))
    for layout in range(100):
        backend.write([table([f"n{layout}"], [layout])])
    assert len(backend._templates) <= 32
    backend.close("")


def test_tables_of_different_series_keep_their_order(tmp_path: Path):
    run = info(tmp_path)
    items: list[Points] = [table([name], [step]) for step in range(5) for name in ("a", "b", "b")]
    written(run, *items)
    assert [event.step for event in accumulated(run).Scalars("b")] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_final_values_have_the_prefix_that_is_asked_for(tmp_path: Path):
    run = info(tmp_path)
    backend = TensorBoardBackend(TensorBoardConfig(summary_prefix=""))
    backend.open(run, None)
    backend.write([Summary({"hp_metric": -1.0})])
    backend.flush()
    backend.close("")
    assert [(event.step, event.value) for event in accumulated(run).Scalars("hp_metric")] == [(0, -1.0)]
