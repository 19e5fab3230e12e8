from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asynclogd.overview import Overview
from asynclogd.retention import bound, judge

DAY = 86_400.0
NOW = 1000 * DAY


def run(name: str, days: float = 0.0, kept: int = 10, status: str = "success", **more: Any) -> Overview:
    backends = {"csv": {"pending": more.pop("pending", 0)}}
    return Overview(
        Path("/runs/p", name), status, active=NOW - days * DAY, kept=kept, ledger={"backends": backends}, **more
    )


def gone(
    runs: list[Overview], older_than: float | None = None, keep: int | None = None, force: bool = False
) -> set[str]:
    verdicts = judge(runs, NOW, older_than, keep, force=force)
    return {verdict.run.name for verdict in verdicts if not verdict.kept}


def test_runs_go_that_are_older() -> None:
    runs = [run("new", 1), run("old", 31), run("just", 30)]
    assert gone(runs, older_than=30 * DAY) == {"old"}


def test_the_oldest_go_until_the_rest_is_small_enough() -> None:
    runs = [run("b", 2), run("a", 3), run("c", 1)]
    assert gone(runs, keep=30) == set()
    assert gone(runs, keep=29) == {"a"}
    assert gone(runs, keep=10) == {"a", "b"}
    assert gone(runs, keep=0) == {"a", "b", "c"}


def test_what_goes_by_age_counts_for_the_size() -> None:
    assert gone([run("a", 40), run("b", 2), run("c", 1)], older_than=30 * DAY, keep=20) == {"a"}


@pytest.mark.parametrize("more", [{"status": "running", "live": True}, {"pending": 7}])
def test_a_run_that_must_stay_makes_no_other_go(more: dict[str, Any]) -> None:
    runs = [run("stays", 9, 1000, **more), run("b", 2), run("c", 1)]
    assert gone(runs, keep=20) == set()
    assert gone(runs, keep=10) == {"b"}
    assert bound(runs, force=False) == 1000


def test_what_force_lets_go_counts() -> None:
    assert gone([run("a", 9, 1000, pending=7), run("b", 2)], keep=20, force=True) == {"a"}


@pytest.mark.parametrize(
    "more", [{"status": "running", "live": True}, {"status": "success", "live": True}], ids=["running", "delivering"]
)
def test_a_run_that_a_process_has_open_never_goes(more: dict[str, Any]) -> None:
    assert gone([run("a", 99, **more)], older_than=DAY, force=True) == set()


def test_one_of_which_a_rank_lives_never_goes_and_is_told_why() -> None:
    (verdict,) = judge([run("a", 99, status="spooled", spooled=9, alive="it lives")], NOW, DAY, None, force=True)
    assert verdict.kept == "it lives"


@pytest.mark.parametrize(
    ("more", "lost"),
    [
        ({"pending": 7}, "7 values that csv has not"),
        ({"behind": {"csv": 3, "wandb": 9}}, "everything for wandb"),
        ({"spooled": 5000}, "5,000 bytes in its spool"),
        ({"pending_media": 2}, "2 media that are not encoded"),
        ({"status": "unfinished"}, "the end of a run that has not ended"),
        ({"status": "unreadable", "error": "spoiled"}, "what can't be read (spoiled)"),
    ],
)
def test_one_of_which_something_is_nowhere_else_goes_by_force_alone(more: dict[str, Any], lost: str) -> None:
    runs = [run("a", 99, **more)]
    assert gone(runs, older_than=DAY) == set()
    (verdict,) = judge(runs, NOW, DAY, None, force=False)
    assert lost in verdict.kept
    (verdict,) = judge(runs, NOW, DAY, None, force=True)
    assert (verdict.kept, lost in verdict.lost) == ("", True)
