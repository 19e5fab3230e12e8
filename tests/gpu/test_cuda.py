"""Scalars and media on a GPU: `log()` waits for nothing there, and what arrives is what it was at the call.

Run, daemon and files are real. tests/gpu/device.py tells how to try these tests without a GPU.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import asynclog
from asynclog import AsynclogWarning
from tests.e2e.oracle import csv_series, tensorboard_series
from tests.gpu.device import DEVICE, GPUS, MARKS, needs_cuda, no_waiting, replayed, torch, work

pytestmark = MARKS


def delivered(run: asynclog.Run) -> None:
    """All that was logged is in the files: what torch refused to wait for would have been dropped."""
    ledger = run.finish(timeout=60)
    assert ledger.dropped == {}
    assert ledger.complete, ledger


def in_order(run: asynclog.Run, name: str) -> list[tuple[int, list[float]]]:
    """A series of metrics.csv as it lies there."""
    return list(csv_series(Path(run.dir), name).items())


@needs_cuda
def test_torch_raises_where_it_waits() -> None:
    value = torch.ones((), device=DEVICE)
    with no_waiting(), pytest.raises(RuntimeError, match="synchronizing CUDA operation"):
        value.item()
    assert value.item() == 1.0


def test_scalars_arrive_as_they_were_at_the_call(run: asynclog.Run) -> None:
    loss, keep_busy = torch.zeros((), device=DEVICE), work()
    with no_waiting():
        for step in range(300):
            keep_busy()
            loss.fill_(step + 0.5)
            run.log({"loss": loss, "twice": loss * 2, "lr": 0.1}, step=step)
            loss.fill_(-1.0)
    delivered(run)
    assert in_order(run, "loss") == [(step, [step + 0.5]) for step in range(300)]
    assert in_order(run, "twice") == [(step, [2 * step + 1.0]) for step in range(300)]
    assert tensorboard_series(Path(run.dir), "loss") == dict(in_order(run, "loss"))
    assert in_order(run, "lr") == [(step, [0.1]) for step in range(300)]


def test_a_graph_overwrites_what_was_logged_and_each_step_has_its_own_value(run: asynclog.Run) -> None:
    count, square = (torch.zeros((), device=DEVICE) for _ in range(2))

    def step() -> None:
        count.add_(1)
        torch.mul(count, count, out=square)

    replay = replayed(step)
    count.zero_()
    with no_waiting():
        for number in range(500):
            replay()
            run.log({"count": count, "square": square}, step=number)
    delivered(run)
    assert in_order(run, "count") == [(number, [number + 1.0]) for number in range(500)]
    assert in_order(run, "square") == [(number, [(number + 1.0) ** 2]) for number in range(500)]


@needs_cuda
def test_inside_a_capture_it_is_told_and_counted_and_later_calls_arrive(run: asynclog.Run) -> None:
    loss = torch.zeros((), device=DEVICE)
    loss.add_(1)
    run.log({"loss": loss}, step=0)
    assert run.flush(timeout=60)
    graph = torch.cuda.CUDAGraph()
    with pytest.warns(AsynclogWarning, match="inside a graph capture"), torch.cuda.graph(graph):  # noqa: PT031 - a capture has no other way
        loss.add_(1)
        run.log({"loss": loss}, step=1)
    graph.replay()
    run.log({"loss": loss}, step=2)
    ledger = run.finish(timeout=60)
    assert ledger.complete
    assert ledger.dropped == {"device": 1}
    assert in_order(run, "loss") == [(0, [1.0]), (2, [2.0])]


@needs_cuda
def test_a_row_that_waits_for_its_device_spoils_no_capture(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("captures.py")), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told.pop("waited") > 0, "each row had been read before its capture began: nothing was tried"
    assert told == {"complete": True, "dropped": {}}
    assert csv_series(tmp_path / "p" / "run", "loss") == {step: [float(step)] for step in range(20)}


def test_each_dtype_arrives(run: asynclog.Run) -> None:
    given = {
        "bf16": torch.tensor(0.15625, dtype=torch.bfloat16), "f16": torch.tensor(0.1, dtype=torch.float16),
        "f32": torch.tensor(1 / 3), "f64": torch.tensor(1 / 3, dtype=torch.float64),
        "int64": torch.tensor(2**53 - 1), "int32": torch.tensor(-7, dtype=torch.int32),
        "uint8": torch.tensor(200, dtype=torch.uint8), "bool": torch.tensor(True), "one": torch.tensor([[4.0]]),
        "parameter": torch.nn.Parameter(torch.tensor(6.0)), "huge": torch.tensor(1e300, dtype=torch.float64),
    }  # fmt: skip
    wanted = {name: float(tensor.item()) for name, tensor in given.items()}
    on_device = {name: tensor.to(DEVICE) for name, tensor in given.items()}
    with no_waiting():
        run.log({**on_device, "plain": 0.25}, step=0)
    delivered(run)
    assert {name: in_order(run, name) for name in wanted} == {name: [(0, [value])] for name, value in wanted.items()}
    assert in_order(run, "plain") == [(0, [0.25])]


@needs_cuda
def test_a_value_of_a_stream_of_the_callers_arrives(run: asynclog.Run) -> None:
    stream, keep_busy = torch.cuda.Stream(), work()
    with torch.cuda.stream(stream):
        loss = torch.zeros((), device=DEVICE)
        with no_waiting():
            for step in range(100):
                keep_busy()
                loss.fill_(step)
                run.log({"loss": loss}, step=step)
    delivered(run)
    assert in_order(run, "loss") == [(step, [float(step)]) for step in range(100)]


@pytest.mark.skipif(GPUS < 2, reason="needs two GPUs")
def test_values_of_two_gpus_are_one_row(run: asynclog.Run) -> None:
    values = {f"gpu{index}": torch.full((), index + 0.5, device=f"cuda:{index}") for index in range(2)}
    with no_waiting():
        run.log(values, step=0)
    delivered(run)
    assert [in_order(run, name) for name in values] == [[(0, [0.5])], [(0, [1.5])]]


def test_a_histogram_and_images_arrive_as_they_were_at_the_call(run: asynclog.Run) -> None:
    values = torch.linspace(-1, 1, 100_001, device=DEVICE)
    picture = torch.zeros(3, 8, 16, device=DEVICE)
    picture[0] = 1.0
    grid = torch.stack([picture] * 4)
    with no_waiting():
        run.log_histogram("values", values, 0)
        run.log_image("picture", picture, 0)
        run.log_images("grid", grid, 0)
        for tensor in (values, picture, grid):
            tensor.zero_()
    delivered(run)
    events = accumulated(Path(run.dir))
    (histogram,) = events.Histograms("values")
    found = histogram.histogram_value
    assert (found.num, found.min, found.max) == (100_001, -1.0, 1.0)
    assert found.sum == pytest.approx(0, abs=1e-2)
    assert sum(found.bucket) == 100_001
    for name in ("picture", "grid"):
        (event,) = events.Images(name)
        image = Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB")
        assert image.getpixel((image.width // 8, image.height // 2)) == (255, 0, 0)


def accumulated(run_dir: Path) -> Any:
    """The event files, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sizes = {"images": 0, "histograms": 0}
    return EventAccumulator(str(run_dir / "tensorboard"), size_guidance=sizes).Reload()
