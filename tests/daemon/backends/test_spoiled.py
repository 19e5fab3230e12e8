"""Files beside the points that a loss of power has left empty or cut: all comes again from the journal, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from asynclogd.backends.base import Item, Params, RunInfo, StartOverError, Summary
from asynclogd.contractbase import ContractBase
from asynclogd.samples import table
from tests.daemon.backends import test_contract
from tests.hparamstab import hparams_tab

FIRST: list[Item] = [table(["a", "b"], range(20)), Params({"lr": 0.1, "model": "cnn"}), Summary({"best": 0.5})]
SECOND: list[Item] = [table(["a", "c"], range(20, 30)), Params({"lr": 0.2})]
LEARNT = {"lr": 0.2, "model": "cnn"}

Reader = Callable[[RunInfo], dict[str, Any]]
"""The params as the product's own reader has them."""

HARMS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda data: data[: len(data) // 2],
    "cut at its end": lambda data: data[:-1],
    "zeros": lambda data: bytes(len(data)),
}


def of_yaml(run: RunInfo) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((run.own_dir / "hparams.yaml").read_bytes())
    return found


def of_tensorboard(run: RunInfo) -> dict[str, Any]:
    ((params, _, _),) = hparams_tab(run.dir).values()
    return dict(params)


CASES: dict[str, tuple[type[ContractBase], str, Reader]] = {
    "csv": (test_contract.TestCsv, ".hparams.json", of_yaml),
    "csv-summary": (test_contract.TestCsv, ".summary.json", of_yaml),
    "tensorboard": (test_contract.TestTensorBoard, "events.out.tfevents.0.asynclog-session", of_tensorboard),
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("case", CASES)
def test_all_that_was_delivered_comes_again(case: str, harm: str, tmp_path: Path) -> None:
    expect_again(*CASES[case], harm, tmp_path)


def expect_again(kind: type[ContractBase], name: str, reader: Reader, harm: str, directory: Path) -> None:
    contract = kind()
    run = contract._run(directory)
    position = contract._killed(run, None, [FIRST], [])
    path = run.own_dir / name
    path.write_bytes(HARMS[harm](path.read_bytes()))
    with pytest.raises(StartOverError, match=f"{path.name} is spoiled: "):
        contract.make().open(run, dict(position))
    contract._killed(run, position, [SECOND], [])
    contract._check(run, [*FIRST, *SECOND])
    assert reader(run) == LEARNT
