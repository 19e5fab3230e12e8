"""Files that somebody has removed or shortened: what they had comes again, once, with what came since."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from asynclogd.backends.base import Item, RunInfo, StartOverError
from asynclogd.contractbase import ContractBase
from asynclogd.samples import table
from tests.daemon.backends import test_contract

FIRST: list[Item] = [table(["a", "b"], range(20))]
SECOND: list[Item] = [table(["a", "b", "c"], range(20, 30))]

Harm = Callable[[RunInfo], None]


def gone(name: str) -> Harm:
    return lambda run: (run.own_dir / name).unlink()


def short(name: str) -> Harm:
    return lambda run: os.truncate(run.own_dir / name, (run.own_dir / name).stat().st_size - 3)


CASES: dict[str, tuple[type[ContractBase], Harm]] = {
    "csv-gone": (test_contract.TestCsv, gone("metrics.csv")),
    "csv-short": (test_contract.TestCsv, short("metrics.csv")),
    "jsonl-gone": (test_contract.TestJsonl, gone("points.jsonl")),
    "jsonl-short": (test_contract.TestJsonl, short("points.jsonl")),
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_lost_comes_again_and_nothing_is_twice(case: str, tmp_path: Path) -> None:
    expect_again(*CASES[case], tmp_path)


def expect_again(kind: type[ContractBase], harm: Harm, directory: Path) -> None:
    contract = kind()
    run = contract._run(directory)
    position = contract._killed(run, None, [FIRST[:], [table(["b"], [20])]], [])
    harm(run)
    with pytest.raises(StartOverError, match=r" has .* of |gone"):
        contract.make().open(run, dict(position))
    contract._killed(run, position, [SECOND], [])
    contract._check(run, [*FIRST, table(["b"], [20]), *SECOND])


@pytest.mark.parametrize("harm", [gone("media.csv"), short("media.csv")], ids=["gone", "short"])
def test_so_do_references_to_media(harm: Harm, tmp_path: Path) -> None:
    contract = test_contract.TestCsv()
    run = contract._run(tmp_path)
    media = [contract._text(run, "note", step, f"# step {step}") for step in range(3)]
    position = contract._killed(run, None, [[*FIRST, *media]], [])
    harm(run)
    contract._killed(run, position, [SECOND], [])
    contract._check(run, [*FIRST, *SECOND])
    assert contract.read_media(run) == [("note", step, f"# step {step}".encode()) for step in range(3)]
