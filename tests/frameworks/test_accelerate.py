"""AsyncLogTracker in a real Accelerator, in this process and on two of gloo's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from asynclog_proto.errors import ConfigError
from tests.frameworks.conftest import HERE, ends, lines, only, series

pytest.importorskip("accelerate")

pytestmark = [pytest.mark.torch, pytest.mark.timeout(180)]

ALL = ["tensorboard", "csv", "jsonl"]
LOOP = HERE / "accelerate_script.py"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
STEPS = 20


@pytest.fixture
def accelerator() -> Any:
    """`accelerator(...)`: an Accelerator on the CPU that knows of no earlier test's."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState, PartialState

    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
    return lambda *given, **options: Accelerator(*given, cpu=True, **options)


def test_an_instance_logs_numbers_tensors_mappings_and_texts(accelerator, tmp_path: Path):
    import torch

    from asynclog.accelerate import AsyncLogTracker

    one = accelerator(log_with=AsyncLogTracker("x", tmp_path, backends=ALL))
    one.init_trackers("ignored", config={"lr": 3e-4, "model": {"layers": 2}})
    for step in range(3):
        one.log({"loss": torch.tensor(1.0 / (step + 1)), "nested": {"a": 1}, "note": f"step {step}"}, step=step)
    one.log({"late": 1.0})
    one.end_training()
    run_dir = only(tmp_path / "x")
    assert series(run_dir, "loss") == [(0, 1.0), (1, 0.5), (2, pytest.approx(1 / 3))]
    assert series(run_dir, "nested/a") == [(0, 1.0), (1, 1.0), (2, 1.0)]
    assert series(run_dir, "late") == [(3, 1.0)]
    assert lines(run_dir)[-1] == {"end": "success"}
    assert {"summary": {"note": "step 2"}} in lines(run_dir)
    params = yaml.safe_load((run_dir / "csv" / "hparams.yaml").read_text())
    assert params == {"lr": 3e-4, "model": {"layers": 2}}


def test_hyperparameters_begin_a_run_that_nobody_started(accelerator, tmp_path: Path):
    """As under Accelerate before 1.8, which has no `start`."""
    from asynclog.accelerate import AsyncLogTracker

    accelerator()
    tracker = AsyncLogTracker("x", tmp_path, backends=["jsonl"])
    tracker.store_init_configuration({"lr": 3e-4})
    tracker.finish()
    assert lines(only(tmp_path / "x")) == [{"params": {"lr": 3e-4}}, {"end": "success"}]


def test_by_name_once_registered_with_options_from_init_trackers(accelerator, tmp_path: Path, monkeypatch):
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, register_tracker_class

    from asynclog.accelerate import AsyncLogTracker

    monkeypatch.setattr("accelerate.tracking.LOGGER_TYPE_TO_CLASS", LOGGER_TYPE_TO_CLASS)
    monkeypatch.delitem(LOGGER_TYPE_TO_CLASS, "asynclog", raising=False)
    register_tracker_class(AsyncLogTracker)
    with pytest.raises(ValueError, match="requires a `logging_dir`"):
        accelerator(log_with="asynclog")
    one = accelerator(log_with="asynclog", project_dir=tmp_path)
    one.init_trackers("x", init_kwargs={"asynclog": {"name": "named", "backends": ["jsonl"]}})
    one.log({"accuracy": 0.5}, step=7, log_kwargs={"asynclog": {"weight": 3.0}})
    assert one.get_tracker("asynclog", unwrap=True).name == "named"
    one.end_training()
    assert series(tmp_path / "x" / "named", "accuracy") == [(7, 0.5)]


def test_a_given_run_is_used_and_stays_the_callers(accelerator, tmp_path: Path):
    import asynclog
    from asynclog.accelerate import AsyncLogTracker

    with asynclog.init("mine", "given", dir=tmp_path, backends=ALL) as run:
        one = accelerator(log_with=AsyncLogTracker("ignored", run=run))
        one.init_trackers("ignored")
        one.log({"loss": 0.5}, step=0)
        one.end_training()
        run.log({"after": 1.0}, step=1)
    assert series(run.dir, "loss") == [(0, 0.5)]
    assert series(run.dir, "after") == [(1, 1.0)]
    assert ends(run.dir) == ["success"]


def test_a_tensor_is_not_read_by_the_tracker(accelerator, tmp_path: Path):
    """The values reach Run.log as tensors: on a device that has no values to read they are refused there, told once."""
    import torch

    from asynclog.accelerate import AsyncLogTracker

    one = accelerator(log_with=AsyncLogTracker("x", tmp_path, backends=["jsonl"]))
    one.init_trackers("x")
    one.log({"loss": torch.ones((), device="meta"), "real": 1.0}, step=0)
    run = one.get_tracker("asynclog", unwrap=True)
    assert run.stats.dropped["bad_value"] == 1
    one.end_training()
    assert series(only(tmp_path / "x"), "real") == [(0, 1.0)]


def test_nothing_raises_into_the_loop(accelerator, tmp_path: Path, monkeypatch, capsys):
    from asynclog.accelerate import AsyncLogTracker

    monkeypatch.setenv("ASYNCLOG_MODE", "nonsense")
    one = accelerator(log_with=AsyncLogTracker("x", tmp_path))
    one.init_trackers("x", config={"lr": 1})
    one.log({"loss": 1.0}, step=0)
    one.end_training()
    assert capsys.readouterr().err.count("ASYNCLOG_MODE is one of auto, offline, disabled") == 1


def test_wrong_arguments_are_refused_when_the_tracker_is_made():
    from asynclog.accelerate import AsyncLogTracker

    with pytest.raises(TypeError, match="no option 'flush_secs'"):
        AsyncLogTracker("x", flush_secs=3)
    with pytest.raises(ConfigError, match="project 'a/b'"):
        AsyncLogTracker("a/b")


@pytest.mark.parametrize("launcher", [TORCHRUN, ()], ids=["torchrun", "debug_launcher"])
def test_every_process_logs_and_the_daemon_reduces(script, tmp_path: Path, launcher: tuple[str, ...]):
    script(*launcher, LOOP, tmp_path, "--all-ranks", *([] if launcher else ["--debug-launcher"]))
    run_dir = tmp_path / "logs" / "x" / "two"
    assert series(run_dir, "rank") == [(step, 0.5) for step in range(STEPS)]
    assert series(run_dir, "tokens") == [(step, 64.0) for step in range(STEPS)]
    assert all(math.isfinite(value) for _, value in series(run_dir, "loss"))
    points = [line for line in lines(run_dir) if "loss" in line.get("metrics", {})]
    assert {(line["world"], str(line["ranks"])) for line in points} == {(2, "2")}
    params = yaml.safe_load((run_dir / "csv" / "hparams.yaml").read_text())
    assert params == {"optimizer": {"lr": 0.1}, "rank": 0}
    assert ends(run_dir) == ["success"]


def test_the_main_process_logs_alone_by_default(script, tmp_path: Path):
    script(*TORCHRUN, LOOP, tmp_path)
    run_dir = tmp_path / "logs" / "x" / "two"
    assert series(run_dir, "rank") == [(step, 0.0) for step in range(STEPS)]
    assert {line["world"] for line in lines(run_dir) if "loss" in line.get("metrics", {})} == {1}


def test_an_exception_that_passes_end_training_fails_the_run(script, tmp_path: Path):
    script(LOOP, tmp_path, "--fail", code=1)
    run_dir = tmp_path / "logs" / "x" / "two"
    assert ends(run_dir) == ["failed"]
    assert len(series(run_dir, "rank")) == STEPS // 2 + 1
