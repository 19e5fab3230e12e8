"""Values that arrive late from their device, with a real daemon: plain rows overtake them, and no step closes early.

The device is one that the test steers; ring, sender, daemon, reducer and files are real.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import asynclog
from tests.client.test_tensors import Device
from tests.e2e.oracle import csv_series, tensorboard_series

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.timeout(120)]


def test_a_step_waits_for_the_values_on_a_device_although_later_rows_have_overtaken_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: Callable[[], list[dict[str, Any]]],
    eventually: Callable[..., None],
) -> None:
    device = Device()
    monkeypatch.setattr("asynclog.rows.snapshot", device.snapshot)
    monkeypatch.setattr("asynclog.hosttensors.read", dict)
    monkeypatch.setattr("asynclog.sorting.is_device_tensor", lambda value: isinstance(value, torch.Tensor))
    ranks = [asynclog.init("p", "run", dir=str(tmp_path), rank=rank, world_size=2) for rank in range(2)]
    for step in range(10):
        ranks[0].log({"lr": 0.5}, step=step)
        ranks[0].log({"loss": torch.tensor(float(step))}, step=step)
        ranks[1].log({"loss": step + 1.0, "lr": 0.5}, step=step)

    def records() -> list[int]:
        return [rank["records"] for report in status() for run in report["runs"] for rank in run["ranks"]]

    eventually(lambda: records() == [12, 11], what="every plain row is journaled: with a layout and a hold, a layout")
    for snapshot in device.snapshots:
        snapshot.is_ready = True
    assert [rank.flush(timeout=60) for rank in ranks] == [True, True]
    for read in (csv_series, tensorboard_series):
        assert read(tmp_path / "p" / "run", "loss") == {step: [step + 0.5] for step in range(10)}
        assert read(tmp_path / "p" / "run", "lr") == {step: [0.5] for step in range(10)}
    (run,) = status()[0]["runs"]
    assert run["late"] == 0
    assert all(rank.finish().complete for rank in ranks)
