"""AsyncLogCallback in transformers' own Trainer, which trains a real, tiny model."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from asynclog_proto.errors import ConfigError
from tests.frameworks.conftest import HERE, ends, lines, only, series, tags

pytest.importorskip("transformers")

pytestmark = [pytest.mark.torch, pytest.mark.timeout(180)]

ALL = ["tensorboard", "csv", "jsonl"]
TRAIN = HERE / "train_tiny.py"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture
def trainer() -> Callable[..., Any]:
    from tests.frameworks import tiny

    return tiny.trainer


@pytest.fixture
def callback(tmp_path: Path) -> Callable[..., Any]:
    """`callback(...)`: logs to tmp_path/logs/x with all file backends."""
    from asynclog.transformers import AsyncLogCallback

    def make(**options: Any) -> AsyncLogCallback:
        return AsyncLogCallback("x", **{"dir": tmp_path / "logs", "backends": ALL, **options})

    return make


def losses(run_dir: Path) -> list[int]:
    return [step for step, _ in series(run_dir, "train/loss")]


def test_tags_steps_and_values_are_those_of_transformers_tensorboard_callback(trainer, callback, tmp_path: Path):
    from transformers.integrations import TensorBoardCallback

    arguments = {"eval_strategy": "steps", "eval_steps": 4, "include_num_input_tokens_seen": "all"}
    trainer(tmp_path / "model", [callback(), TensorBoardCallback()], **arguments).train()
    theirs = tags(only(tmp_path / "model" / "runs"))
    ours = tags(only(tmp_path / "logs" / "x") / "tensorboard")
    assert {"train/loss", "train/learning_rate", "train/grad_norm", "eval/loss", "train/num_input_tokens_seen"} <= {
        *ours
    }
    assert [step for step, _ in ours["train/loss"]] == list(range(1, 9))
    assert ours == theirs


def test_arguments_and_the_models_configuration_are_params(trainer, callback, tmp_path: Path):
    trainer(tmp_path / "model", [callback()], hub_token="hf_secret").train()
    text = (only(tmp_path / "logs" / "x") / "csv" / "hparams.yaml").read_text()
    params = yaml.safe_load(text)
    assert params["args"]["learning_rate"] == 1e-2
    assert params["args"]["accelerator_config"]["even_batches"] is True
    assert params["model_config"]["n_embd"] == 16
    assert "hf_secret" not in text


def test_evaluating_and_predicting_around_a_training_go_to_its_run(trainer, callback, tmp_path: Path):
    from tests.frameworks.tiny import data

    one = trainer(tmp_path / "model", [callback()])
    one.evaluate()
    one.train()
    run_dir = only(tmp_path / "logs" / "x")
    one.evaluate()
    assert [step for step, _ in series(run_dir, "eval/loss")] == [0, 8]
    one.predict(data(8))
    assert [step for step, _ in series(run_dir, "test/loss")] == [8]
    assert losses(run_dir) == list(range(1, 9))
    assert only(tmp_path / "logs" / "x") == run_dir


@pytest.mark.parametrize("name", [None, "mine"])
def test_training_again_is_a_new_run(trainer, callback, tmp_path: Path, name: str | None):
    one = trainer(tmp_path / "model", [callback(name=name)])
    one.train()
    first = only(tmp_path / "logs" / "x")
    one.train()
    (second,) = {*(tmp_path / "logs" / "x").iterdir()} - {first}
    assert losses(first) == losses(second) == list(range(1, 9))
    assert ends(first) == ["success"]
    if name is not None:
        assert (first.name, second.name) == ("mine", "mine-2")


def test_run_name_names_the_run_and_a_trial_has_its_own(trainer, callback, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("transformers.integrations.hp_params", dict)  # as with Optuna or Ray installed
    one = trainer(tmp_path / "model", [callback()], run_name="sweep/a")
    one.hp_name = lambda trial: f"lr-{trial['learning_rate']}"
    one.train()
    one.train(trial={"learning_rate": 0.5})
    one.train(trial={"learning_rate": 0.25})
    assert {each.name for each in (tmp_path / "logs" / "x").iterdir()} == {"sweep-a", "lr-0.5", "lr-0.25"}
    assert ends(tmp_path / "logs" / "x" / "lr-0.5") == ["success"]


def test_a_given_run_is_used_and_stays_the_callers(trainer, callback, tmp_path: Path):
    import asynclog

    with asynclog.init("mine", "given", dir=tmp_path, backends=ALL) as run:
        one = trainer(tmp_path / "model", [callback(run=run)])
        one.train()
        run.log({"after": 1.0}, step=9)
    assert losses(run.dir) == list(range(1, 9))
    assert series(run.dir, "after") == [(9, 1.0)]
    assert ends(run.dir) == ["success"]
    assert not (tmp_path / "logs").exists()


def test_an_exception_in_training_fails_the_run_also_when_it_is_caught(script, tmp_path: Path):
    script(TRAIN, tmp_path / "caught", "--crash-at", 6, "--catch")
    run_dir = only(tmp_path / "caught" / "logs" / "x")
    assert losses(run_dir) == [1, 2, 3, 4, 5]
    assert ends(run_dir) == ["failed"]


def test_ctrl_c_in_training_interrupts_the_run(script, tmp_path: Path):
    script(TRAIN, tmp_path, "--crash-at", 6, "--interrupt", code=-2)
    assert ends(only(tmp_path / "logs" / "x")) == ["interrupted"]


def test_training_after_an_exception_fails_the_run_that_had_it(trainer, callback, tmp_path: Path):
    from tests.frameworks.train_tiny import CrashAt

    one = trainer(tmp_path / "model", [callback(name="mine"), CrashAt(3, RuntimeError)])
    with pytest.raises(RuntimeError, match="as told"):
        one.train()
    one.remove_callback(CrashAt)
    one.train()
    assert ends(tmp_path / "logs" / "x" / "mine") == ["failed"]
    assert losses(tmp_path / "logs" / "x" / "mine-2") == list(range(1, 9))


def test_resuming_a_checkpoint_goes_on_in_its_run_without_a_warning(script, tmp_path: Path):
    script(TRAIN, tmp_path, "--crash-at", 7, code=1)
    run_dir = only(tmp_path / "logs" / "x")
    told = script(TRAIN, tmp_path, "--resume", "--steps", 12)
    assert only(tmp_path / "logs" / "x") == run_dir
    assert losses(run_dir) == list(range(1, 13))
    assert [step for step, _ in series(run_dir, "eval/loss")] == [4, 8, 12]
    assert ends(run_dir) == ["failed", "success"]
    assert "asynclog:" not in told


def test_resuming_in_the_same_process_goes_on_too(trainer, callback, tmp_path: Path):
    one = trainer(tmp_path / "model", [callback()], save_strategy="steps", save_steps=4)
    one.train()
    one.args.max_steps = 12
    one.train(resume_from_checkpoint=True)
    assert losses(only(tmp_path / "logs" / "x")) == list(range(1, 13))
    one.train(resume_from_checkpoint=str(tmp_path / "model" / "checkpoint-4"))
    assert losses(only(tmp_path / "logs" / "x")) == list(range(1, 13))


def test_of_two_ranks_the_first_logs_alone_by_default_and_all_are_reduced_to_the_same_values(script, tmp_path: Path):
    script(*TORCHRUN, TRAIN, tmp_path, "--all-ranks")
    one, both = only(tmp_path / "logs" / "x"), only(tmp_path / "all" / "logs" / "x")
    assert losses(one) == list(range(1, 9))
    assert {line["world"] for line in lines(one) if "world" in line} == {1}
    assert series(both, "train/loss") == series(one, "train/loss")
    points = [line for line in lines(both) if "train/loss" in line.get("metrics", {})]
    assert {(line["world"], str(line["ranks"])) for line in points} == {(2, "2")}


def test_report_to_finds_the_callback_once_it_is_in_transformers_table(trainer, tmp_path: Path, monkeypatch):
    from transformers.integrations import INTEGRATION_TO_CALLBACK

    from asynclog.transformers import AsyncLogCallback

    monkeypatch.setitem(INTEGRATION_TO_CALLBACK, "asynclog", AsyncLogCallback)
    monkeypatch.setenv("ASYNCLOG_DIR", str(tmp_path / "logs"))
    trainer(tmp_path / "model", [], report_to="asynclog").train()
    assert (only(tmp_path / "logs" / "huggingface") / "csv" / "metrics.csv").exists()


def test_what_cannot_be_logged_is_told_and_a_text_is_kept(trainer, callback, tmp_path: Path):
    from transformers import Trainer

    class Odd(Trainer):  # type: ignore[misc]  # transformers is not followed by mypy
        def log(self, logs: dict[str, Any], *more: Any) -> None:  # of 4.46: no more
            super().log({**logs, "words": "some", "bad": [1, 2]}, *more)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(tmp_path / "model", [callback()], Odd).train()
    assert len([one for one in caught if "'train/bad'" in str(one.message)]) == 1
    run_dir = only(tmp_path / "logs" / "x")
    assert losses(run_dir) == list(range(1, 9))
    assert {"summary": {"train/words": "some"}} in lines(run_dir)


def test_a_warning_that_is_an_error_does_not_reach_the_training(trainer, callback, tmp_path: Path, capsys):
    from transformers import Trainer

    class Odd(Trainer):  # type: ignore[misc]  # transformers is not followed by mypy
        def log(self, logs: dict[str, Any], *more: Any) -> None:  # of 4.46: no more
            super().log({**logs, "bad": [1, 2]}, *more)

    trainer(tmp_path / "model", [callback()], Odd).train()
    assert losses(only(tmp_path / "logs" / "x")) == list(range(1, 9))
    assert "'train/bad'" in capsys.readouterr().err


def test_a_run_that_cannot_begin_is_told_and_the_training_goes_on(trainer, callback, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("ASYNCLOG_MODE", "nonsense")
    one = trainer(tmp_path / "model", [callback()])
    with pytest.warns(match="ASYNCLOG_MODE is one of auto, offline, disabled") as told:
        assert one.train().global_step == 8
    assert len(told) == 1


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"projekt": "x"}, TypeError, "no option 'projekt'"),
        ({"rank": 1}, TypeError, "no option 'rank'"),
        ({"project": "a/b"}, ConfigError, "project 'a/b'"),
        ({"name": ".hidden"}, ConfigError, "name '.hidden'"),
        ({"backends": ["tensorbord"]}, ValueError, "did you mean 'tensorboard'"),
        ({"mode": "fast"}, ConfigError, "mode is one of"),
    ],
)
def test_wrong_arguments_are_refused_when_the_callback_is_made(options, error, match):
    from asynclog.transformers import AsyncLogCallback

    with pytest.raises(error, match=match):
        AsyncLogCallback(**options)
