"""ReducedMetrics where it can't do its work: an error on all ranks, instead of callbacks that decide apart."""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest

from asynclog import AsynclogWarning
from tests.client.lightning.modules import MARKS, AsyncLogger, loader, module_class, trainer
from tests.client.lightning.test_ranks import TORCHRUN

pytestmark = [*MARKS, pytest.mark.timeout(240)]

BRIEF: dict[str, Any] = {"max_epochs": 1, "enable_checkpointing": False}
SCRIPT = Path(__file__).with_name("train_refused.py")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[int, str]]]:
    """By case, for both ranks: how many steps were trained, and the error."""
    out = tmp_path_factory.mktemp("refused")
    done = subprocess.run([*TORCHRUN, str(SCRIPT), str(out)], capture_output=True, text=True, timeout=220, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[tuple[int, str]]] = {}
    for line in sorted(line for line in done.stdout.splitlines() if line.count("|") == 3):
        case, _, steps, said = line.split("|")
        found.setdefault(case, []).append((int(steps), said))
    assert all(len(ranks) == 2 for ranks in found.values())
    return found


def test_a_name_that_validation_does_not_log_is_an_error_on_all_ranks(told: dict[str, list[tuple[int, str]]]) -> None:
    for rank, (steps, said) in enumerate(told["mistyped"]):
        assert steps == 6, "it is not for the sanity check to tell"
        assert said == (
            f"ReducedMetrics, on rank {rank}: 'val_lost' is not among what validation logs: 'val_loss', 'val_some'. "
            "Did you mean 'val_loss' or 'val_some'?"
        )
    for _, said in told["of training"]:
        assert "'train_loss' is not among what validation logs: 'val_loss', 'val_some'. It is logged elsewhere" in said


def test_a_name_that_one_rank_does_not_log_is_an_error_on_the_other_too(
    told: dict[str, list[tuple[int, str]]],
) -> None:
    both = {said for _, said in told["on one rank"]}
    assert len(both) == 1
    assert "on rank 0: 'val_some' is not among what validation logs: 'val_loss'." in both.pop()


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("no logger", "the Trainer has no AsyncLogger"),
        ("logger on one rank", "on rank 1: the Trainer has no AsyncLogger"),
        ("no validation", "this fit has none"),
        ("changed", "another _ResultCollection._forked_name than asynclog knows, so that nothing is reduced"),
    ],
)
def test_where_nothing_can_be_read_back_no_rank_begins(
    case: str, said: str, told: dict[str, list[tuple[int, str]]]
) -> None:
    for steps, error in told[case]:
        assert steps == 0
        assert said in error
        assert "sync_dist=True" in error


def test_nothing_is_refused_that_can_be_read_back(told: dict[str, list[tuple[int, str]]]) -> None:
    assert told["well"] == [(6, "nothing"), (6, "nothing")]


def reducing(name: str) -> Any:
    from asynclog.lightning import ReducedMetrics

    return [ReducedMetrics(name)]


def test_one_process_is_warned_of_what_would_fail_on_several(tmp_path: Path) -> None:
    model = module_class()
    mistyped = trainer(AsyncLogger(tmp_path), callbacks=reducing("val_plan"), **BRIEF)
    with pytest.warns(AsynclogWarning, match="'val_plan' is not among what validation logs.*mean 'val_plain'") as said:
        mistyped.fit(model(), loader(), loader(16))
    assert sum(warning.category is AsynclogWarning for warning in said) == 1
    with pytest.warns(AsynclogWarning, match="would fail on several ranks: the Trainer has no AsyncLogger"):
        trainer(False, callbacks=reducing("val_plain"), **BRIEF).fit(model(), loader(), loader(16))
    with pytest.warns(AsynclogWarning, match="this fit has none"):
        trainer(AsyncLogger(tmp_path), callbacks=reducing("val_plain"), **BRIEF).fit(model(), loader())


def test_a_name_of_one_of_several_loaders_and_one_with_a_fork_are_known(tmp_path: Path) -> None:
    model = module_class()
    with warnings.catch_warnings():
        warnings.simplefilter("error", AsynclogWarning)
        for name in ("val_loss", "val_loss_epoch"):
            trainer(AsyncLogger(tmp_path), callbacks=reducing(name), **BRIEF).fit(model(), loader(), loader(16))
        made = trainer(AsyncLogger(tmp_path), callbacks=reducing("val_loss_epoch/dataloader_idx_1"), **BRIEF)
        made.fit(model(), loader(), [loader(16), loader(16)])
    made = trainer(AsyncLogger(tmp_path), callbacks=reducing("val_loss_epoch"), **BRIEF)
    with pytest.warns(AsynclogWarning, match="mean 'val_loss_epoch/dataloader_idx_0' or 'val_loss_epoch/dataloader"):
        made.fit(model(), loader(), [loader(16), loader(16)])


def test_a_run_of_one_batch_for_a_try_is_let_be(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", AsynclogWarning)
        trainer(AsyncLogger(tmp_path), callbacks=reducing("nothing"), fast_dev_run=True).fit(
            module_class()(), loader(), loader(16)
        )
