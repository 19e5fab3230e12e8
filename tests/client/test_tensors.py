"""Tensors of one element. No GPU is needed: what a device would do is steered, the queue and the rows are real.

Not run here: the copies themselves, `StreamCopies` over CUDA streams and events.
"""

# ruff: noqa: PT031 - that a warning is told once shows over several calls

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

import asynclog
from asynclog import AsynclogWarning
from asynclog.tensors import CapturingError, DeviceQueue, DeviceRow, HostValues
from asynclog_proto.records import Hold, Layout, Pass, Row
from tests.client.scripted import ScriptedDaemon

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

Begin = Callable[..., asynclog.Run]
Eventually = Callable[..., None]


@dataclass
class Steered:
    """A snapshot that arrives, or breaks, when the test says so."""

    numbers: list[float]
    is_ready: bool = False
    error: Exception | None = None

    def ready(self) -> bool:
        if self.error is not None:
            raise self.error
        return self.is_ready

    def values(self) -> list[float]:
        return self.numbers


@dataclass
class Device:
    """Takes the place of a GPU: CPU tensors count as being on it."""

    snapshots: list[Steered] = field(default_factory=list)
    capturing: bool = False

    def snapshot(self, tensors: Any, _tell: Callable[[str], None]) -> Steered:
        if self.capturing:
            raise CapturingError
        self.snapshots.append(Steered([float(tensor) for tensor in tensors]))
        return self.snapshots[-1]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    device = Device()
    monkeypatch.setattr("asynclog.rows.snapshot", device.snapshot)
    monkeypatch.setattr("asynclog.hosttensors.read", dict)
    monkeypatch.setattr("asynclog.sorting.is_device_tensor", lambda value: isinstance(value, torch.Tensor))
    return device


def said(daemon: ScriptedDaemon) -> list[Any]:
    """The stream without its layouts; rows of one name as "name step"."""
    names = {record.layout: record.names for record in daemon.records() if isinstance(record, Layout)}
    return [
        f"{names[record.layout][0]} {record.step}" if isinstance(record, Row) else record
        for record in daemon.records()
        if not isinstance(record, Layout)
    ]


def test_tensors_in_memory_are_numbers(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    run.log(
        {
            "f32": torch.tensor(0.5), "f16": torch.tensor(2.0, dtype=torch.float16), "int": torch.tensor(3),
            "bool": torch.tensor(True), "one": torch.tensor([[4.0]]), "grad": torch.tensor(1.5, requires_grad=True),
            "bf16": torch.tensor(0.25, dtype=torch.bfloat16), "parameter": torch.nn.Parameter(torch.tensor(6.0)),
        }
    )  # fmt: skip
    run.finish()
    assert [value for _, _, value in daemon.points()] == [0.5, 2.0, 3.0, 1.0, 4.0, 1.5, 0.25, 6.0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.zeros(3), "has shape \\(3,\\)"),
        (torch.tensor(1j), "is complex"),
        (torch.empty((), device="meta"), "is no number"),
        (torch.zeros(0), "has shape \\(0,\\)"),
    ],
)
def test_tensors_that_are_no_number_are_told(value: Any, text: str, daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    with pytest.warns(AsynclogWarning, match=text):
        run.log({"x": value, "y": 1.0})
    run.finish()
    assert daemon.points() == [(0, "y", 1.0)]


def test_a_tensor_may_be_the_step(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    run.log({"x": 1.0}, step=torch.tensor(7))
    run.finish()
    assert daemon.points() == [(7, "x", 1.0)]


def test_a_row_is_written_when_its_device_is_ready_with_the_step_of_its_call(
    device: Device, daemon: ScriptedDaemon, begin: Begin, eventually: Eventually
) -> None:
    run = begin()
    run.log({"lr": 0.1, "loss": torch.tensor(0.5)}, step=5, weight=2.0)
    run.log({"lr": 0.2}, step=6)
    eventually(lambda: len(daemon.points()) == 1, what="the plain value has arrived")
    assert daemon.points() == [(6, "lr", 0.2)]
    assert run.stats.device_pending == 1
    device.snapshots[0].is_ready = True
    eventually(lambda: len(daemon.points()) == 3, what="the device's row has arrived")
    assert daemon.points()[1:] == [(5, "lr", 0.1), (5, "loss", 0.5)]
    ledger = run.finish()
    assert (ledger.issued, ledger.dropped) == (3, {})


def test_a_sleeping_sender_is_woken_for_a_row_on_its_device(
    device: Device, daemon: ScriptedDaemon, begin: Begin, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asynclog.sender.DOZE_AFTER_S", 0.0)
    monkeypatch.setattr("asynclog.sender.DOZING_HEARTBEAT_S", 1e6)
    run = begin()
    for step in range(2):
        run.log({"loss": torch.tensor(0.5)}, step=step)
        assert not run._rows.writer.asleep
        device.snapshots[step].is_ready = True
        eventually(partial(lambda count: len(daemon.points()) == count, step + 1), what="the device's row has arrived")
        eventually(lambda: run._rows.writer.asleep, what="the sender asleep")


def test_rows_that_overtake_one_on_its_device_are_behind_a_hold_until_it_is_written(
    device: Device, daemon: ScriptedDaemon, begin: Begin, eventually: Eventually
) -> None:
    run = begin()
    for step in range(5, 8):
        run.log({"lr": 0.1}, step=step)
        run.log({"loss": torch.tensor(0.5)}, step=step)
    eventually(lambda: len(daemon.points()) == 3, what="the plain values have arrived")
    assert said(daemon) == ["lr 5", Hold(5), "lr 6", "lr 7"]
    device.snapshots[0].is_ready = True
    eventually(lambda: said(daemon)[-1] == Hold(6), what="the hold has moved")
    for snapshot in device.snapshots:
        snapshot.is_ready = True
    eventually(lambda: said(daemon)[-1] == Hold(None), what="nothing is held")
    assert said(daemon)[4:] == ["loss 5", Hold(6), "loss 6", "loss 7", Hold(None)]
    run.log({"lr": 0.1}, step=8)
    assert run.flush() is True
    assert said(daemon)[9:] == ["lr 8", Pass(8)]


def test_a_row_that_breaks_holds_nothing(
    device: Device, daemon: ScriptedDaemon, begin: Begin, eventually: Eventually
) -> None:
    run = begin()
    run.log({"loss": torch.tensor(0.5), "lr": 0.1})
    with pytest.warns(AsynclogWarning, match="could not be read from their device"):
        device.snapshots[0].error = RuntimeError("broken")
        eventually(lambda: said(daemon)[-1:] == [Hold(None)], what="nothing is held")
        run.log({"lr": 0.2})


def test_finish_waits_for_the_device(
    device: Device, daemon: ScriptedDaemon, begin: Begin, eventually: Eventually
) -> None:
    run = begin()
    run.log({"loss": torch.tensor(0.5)})
    run.begin_finish("success", 30)
    eventually(lambda: said(daemon) == [Hold(0)], what="a hold is there, and nothing else")
    device.snapshots[0].is_ready = True
    assert run.finish().complete
    assert daemon.points() == [(0, "loss", 0.5)]


def test_flush_waits_for_the_device_rows_of_before_and_for_no_other(
    device: Device, daemon: ScriptedDaemon, begin: Begin, eventually: Eventually
) -> None:
    run = begin()
    run.log({"loss": torch.tensor(0.5)}, step=0)
    with pytest.warns(AsynclogWarning, match=r"flush\(\): 1 rows still wait for their device"):
        assert run.flush(timeout=0.3) is False
    answers: list[bool] = []
    waits = threading.Thread(target=lambda: answers.append(run.flush(timeout=60)))
    waits.start()
    eventually(lambda: len(run._sender.barriers._waiting) == 2, what="it waits")  # type: ignore[union-attr]
    run.log({"loss": torch.tensor(1.5)}, step=1)
    device.snapshots[0].is_ready = True
    waits.join()
    assert answers == [True]
    assert daemon.points() == [(0, "loss", 0.5)]
    device.snapshots[1].is_ready = True
    assert run.flush() is True
    assert daemon.points() == [(0, "loss", 0.5), (1, "loss", 1.5)]


def test_a_question_waits_for_the_device_rows_of_before(
    device: Device, daemon: ScriptedDaemon, begin: Begin, eventually: Eventually
) -> None:
    run = begin()
    run.log({"lr": 0.1}, step=3)
    run.log({"loss": torch.tensor(0.5)}, step=3)
    future = run.reduced("loss", step=3)
    eventually(lambda: len(daemon.points()) == 1, what="the plain value has arrived")
    assert daemon.asks == []
    device.snapshots[0].is_ready = True
    assert future.result(30) == 3.0
    assert len(daemon.points()) == 2


def test_a_device_that_never_answers_is_counted_at_the_end(
    device: Device, daemon: ScriptedDaemon, begin: Begin
) -> None:
    run = begin()
    run.log({"loss": torch.tensor(0.5), "acc": torch.tensor(1.0)})
    with pytest.warns(AsynclogWarning, match="values of loss, acc could not be read"):
        ledger = run.finish(timeout=3)
    assert ledger.complete
    assert ledger.dropped == {"device": 2}


def test_a_device_that_breaks_costs_only_its_rows(
    device: Device, daemon: ScriptedDaemon, begin: Begin, eventually: Eventually
) -> None:
    run = begin()
    run.log({"a": torch.tensor(1.0)})
    run.log({"b": torch.tensor(2.0)})
    device.snapshots[1].is_ready = True
    with pytest.warns(AsynclogWarning, match="values of a could not be read from their device: broken"):
        device.snapshots[0].error = RuntimeError("broken")
        eventually(lambda: run.stats.dropped["device"] == 1)
        ledger = run.finish()
    assert daemon.points() == [(1, "b", 2.0)]
    assert ledger.dropped == {"device": 1}


def test_tensors_inside_a_graph_capture_are_told_and_counted(
    device: Device, daemon: ScriptedDaemon, begin: Begin
) -> None:
    device.capturing = True
    run = begin()
    with pytest.warns(AsynclogWarning, match="inside a graph capture"):
        run.log({"a": torch.tensor(1.0)})
    assert run.finish().dropped == {"device": 1}


def test_rows_that_wait_for_their_device_are_bounded(
    device: Device, daemon: ScriptedDaemon, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asynclog.tensors.MOST_PENDING", 10)
    run = begin()
    with pytest.warns(AsynclogWarning, match="too many rows wait for their device"):
        for _ in range(15):
            run.log({"a": torch.tensor(1.0)})
    assert run.stats.dropped["device"] == 5
    for snapshot in device.snapshots:
        snapshot.is_ready = True
    run.finish()
    assert len(daemon.points()) == 10


def test_the_queue_keeps_its_order_and_a_row_that_has_no_room() -> None:
    queue = DeviceQueue()
    rows = [DeviceRow((name,), HostValues([1.0]), 0, 0.0, 1.0) for name in "abc"]
    for row in rows:
        assert queue.put(row)
    written: list[DeviceRow] = []

    def write(row: DeviceRow, values: list[float]) -> bool:
        written.append(row)
        return len(written) != 2

    def lose(row: DeviceRow, error: Exception) -> None:
        raise error

    queue.write_ready(write, lose)
    assert (written, len(queue)) == (rows[:2], 2)
    assert list(queue.abandon()) == rows[1:]
    assert len(queue) == 0
