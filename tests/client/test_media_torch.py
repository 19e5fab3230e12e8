"""Tensors as media, on the host and from a device. No GPU is needed: CPU tensors are taken for a device's, and go the
same way.

Not run here: CUDA's streams, events and pinned memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import asynclog
from asynclog import AsynclogWarning, tensors
from asynclog._media import binning
from asynclog._media.copies import Copier
from asynclog.values import is_device_tensor
from asynclog_proto.media import Media
from asynclog_proto.records import Pass, Row
from tests.client.scripted import ScriptedDaemon

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

Begin = Callable[..., asynclog.Run]
Eventually = Callable[..., None]


def only(daemon: ScriptedDaemon) -> Media:
    (record,) = daemon.media()
    return record


def section(daemon: ScriptedDaemon, record: Media, role: str) -> Any:
    body, at = daemon.body(record), 0
    for part in record.sections:
        if part.role == role:
            dtype = "int16" if part.dtype == "bfloat16" else part.dtype
            return np.frombuffer(body[at : at + part.size], dtype).reshape(part.shape)
        at += part.size
    raise AssertionError(f"no {role} in {record.sections}")


class Steered:
    """An event that happens, or reports an error, when the test says so."""

    def __init__(self) -> None:
        self.happened = False
        self.error: Exception | None = None

    def record(self) -> None:
        """It is up to the test."""

    def query(self) -> bool:
        if self.error is not None:
            raise self.error
        return self.happened


@pytest.fixture
def event(monkeypatch: pytest.MonkeyPatch) -> Steered:
    """All CPU tensors are a device's from here on, and their copies have come when the event happens."""
    made = Steered()

    def is_tensor(value: object) -> bool:
        return isinstance(value, torch.Tensor)

    for module in ("_media.arrays",):
        monkeypatch.setattr(f"asynclog.{module}.is_device_tensor", is_tensor)
    monkeypatch.setattr("asynclog._media.arrays.view_at_once", lambda _value: None)
    monkeypatch.setattr(tensors, "new_event", lambda _torch, _device: made)
    return made


# ---- in the computer's memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tensor",
    [
        torch.rand(3, 4, 5), torch.rand(3, 4, 5, dtype=torch.float16), torch.rand(3, 4, 5).to(torch.bfloat16),
        torch.rand(4, 5, 3).permute(2, 0, 1), torch.rand(3, 4, 10)[..., ::2].to(torch.bfloat16).permute(0, 2, 1),
        torch.randint(0, 255, (3, 4, 5), dtype=torch.uint8), torch.rand(3, 4, 5, requires_grad=True),
        torch.rand(3, 4, 5) > 0.5, torch.nn.Parameter(torch.rand(3, 4, 5)),
    ],
)  # fmt: skip
def test_tensors_travel_as_they_are(tensor: Any, daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    run.log_image("x", tensor)
    run.flush()
    record = only(daemon)
    got = section(daemon, record, "image")
    wanted = tensor.detach()
    assert record.sections[0].dtype == str(tensor.dtype).removeprefix("torch.")
    wanted = wanted.view(torch.int16) if tensor.dtype == torch.bfloat16 else wanted
    assert np.array_equal(got, wanted.numpy())


def test_a_tensor_in_memory_is_not_copied_on_its_way_to_the_outbox() -> None:
    tensor = torch.rand(3, 400, 500)
    (part,) = asynclog.Image(tensor).form().parts
    assert np.shares_memory(part.data, tensor.numpy())


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (torch.rand(3, 4, 5).to_sparse(), "a dense tensor with values is accepted"),
        (torch.empty(3, 4, 5, device="meta"), "on meta, strided: a dense tensor"),
        (torch.zeros(3, 4, 5, dtype=torch.complex64), "dtype complex64: accepted are"),
        (torch.zeros(2, 4, 5), r"shape \(2, 4, 5\), dtype float32: accepted is"),
        (torch.zeros(3, 0, 5), "it has no element"),
    ],
)
def test_tensors_that_are_no_image_are_told(tensor: Any, text: str, daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    with pytest.warns(AsynclogWarning, match=text):
        run.log({"x": asynclog.Image(tensor), "y": torch.tensor(1.0)})
    assert run.stats.dropped["bad_value"] == 1
    run.finish()
    assert daemon.points() == [(0, "y", 1.0)]


def test_a_modules_parameters_and_gradients_in_one_call(daemon: ScriptedDaemon, begin: Begin) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1))
    model[1].bias.requires_grad_(False)
    model(torch.rand(2, 3)).sum().backward()
    run = begin()
    run.log_distribution(model, 9, prefix="net/")
    run.flush()
    assert [record.name for record in daemon.media()] == [
        "net/parameters/0.weight", "net/gradients/0.weight", "net/parameters/0.bias", "net/gradients/0.bias",
        "net/parameters/1.weight", "net/gradients/1.weight", "net/parameters/1.bias",
    ]  # fmt: skip
    assert {record.step for record in daemon.media()} == {9}
    assert np.array_equal(section(daemon, daemon.media()[1], "values"), model[0].weight.grad.numpy())


@pytest.mark.filterwarnings(
    "ignore:.torch.jit.trace(_method)?. is deprecated"
)  # SummaryWriter's own way, which is compared
def test_a_models_graph(daemon: ScriptedDaemon, begin: Begin) -> None:
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from torch.utils.tensorboard._pytorch_graph import graph

    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())
    run = begin()
    run.log_graph(model, torch.rand(2, 3))
    run.flush()
    record = only(daemon)
    body = daemon.body(record)
    assert [(part.role, part.dtype) for part in record.sections] == [("graph", "bytes"), ("run_metadata", "bytes")]
    wanted, _ = graph(model, torch.rand(2, 3))
    assert GraphDef.FromString(body[: record.sections[0].size]).node == wanted.node
    assert model.training


def test_a_model_that_can_not_be_traced_is_told(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    with pytest.warns(AsynclogWarning, match=r"'graph' is a model that torch.jit.trace does not take: "):
        run.log_graph(torch.nn.Linear(3, 4), torch.rand(2, 5))
    run.finish()
    assert run.stats.dropped["bad_value"] == 1


# ---- from a device ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
def test_a_devices_array_is_written_when_it_has_come(
    dtype: str, event: Steered, daemon: ScriptedDaemon, begin: Begin, eventually: Eventually
) -> None:
    tensor = (torch.rand(3, 40, 50) * 200).to(getattr(torch, dtype))
    wanted = tensor.clone()
    run = begin()
    run.log({"x": asynclog.Image(tensor), "a": 1.0}, 4)
    tensor.zero_()
    run.log({"a": 2.0}, 5)
    eventually(lambda: len(daemon.points()) == 2, what="the rows came, which do not wait")
    assert not daemon.media()
    assert run.stats.device_pending == 1
    event.happened = True
    eventually(daemon.media)
    record = only(daemon)
    assert (record.step, record.kind, record.sections[0].dtype) == (4, "image", dtype)
    wanted = wanted.view(torch.int16) if dtype == "bfloat16" else wanted
    assert np.array_equal(section(daemon, record, "image"), wanted.numpy())
    assert run.finish().journaled == 3


def test_a_flush_waits_for_the_media_before_it(event: Steered, daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    run.log_audio("x", torch.rand(5000))
    with pytest.warns(AsynclogWarning, match="1 rows still wait for their device"):
        assert not run.flush(0.2)
    event.happened = True
    assert run.flush()
    kinds = [type(record) for record in daemon.records() if isinstance(record, (Media, Pass, Row))]
    assert kinds.index(Media) < len(kinds) - 1
    assert kinds[-1] is Pass


def test_host_parts_of_a_devices_item_are_those_of_the_call(
    event: Steered, daemon: ScriptedDaemon, begin: Begin
) -> None:
    boxes = np.array([[1.0, 2.0, 3.0, 4.0]])
    run = begin()
    run.log({"x": asynclog.Image(torch.rand(3, 40, 50), boxes=boxes)})
    boxes[:] = 0
    event.happened = True
    run.flush()
    assert section(daemon, only(daemon), "boxes").tolist() == [[1, 2, 3, 4]]


def test_a_device_that_breaks_is_told_and_counted(event: Steered, daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    run.log_audio("x", torch.rand(5000))
    event.error = RuntimeError("CUDA error")
    with pytest.warns(AsynclogWarning, match="values of x could not be read from their device: CUDA error"):
        run.finish()
    assert run.stats.dropped["device"] == 1


def test_arrays_that_come_faster_than_they_are_read_are_dropped(
    event: Steered, daemon: ScriptedDaemon, begin: Begin, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setenv("ASYNCLOG_MEDIA_MB", "1")
    run = begin()
    half = torch.rand(1 << 17)
    run.log_audio("0", half)
    run.log_audio("1", half)
    with pytest.warns(AsynclogWarning, match="come faster than they are read back"):
        run.log_audio("2", half)
    assert run.stats.dropped["media_full"] == 1
    event.happened = True
    eventually(lambda: run.stats.device_pending == 0)
    run.log_audio("3", half)
    run.finish()
    assert [record.name for record in daemon.media()] == ["0", "1", "3"]


def test_inside_a_graph_capture_it_is_told(
    event: Steered, daemon: ScriptedDaemon, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def capturing(_torch: Any, _device: Any) -> None:
        raise tensors.CapturingError

    monkeypatch.setattr(tensors, "check_not_capturing", capturing)
    run = begin()
    with pytest.warns(AsynclogWarning, match="inside a graph capture"):
        run.log_histogram("x", torch.rand(50))
    assert run.stats.dropped["device"] == 1
    run.finish()


# ---- histograms that a device makes -----------------------------------------------------------------------------

ARRAYS = {
    "normal": torch.randn(10_000, generator=torch.Generator().manual_seed(0)),
    "one": torch.tensor([0.5]),
    "zeros": torch.zeros(7),
    "edges": torch.tensor(binning.edges()[700:-1], dtype=torch.float64),
    "large": torch.tensor([-1e19, 3e18, 1e-13, -1e-13]),
    "half": torch.rand(4, 5, 6, dtype=torch.float16),
    "whole": torch.arange(-5, 500),
    "bool": torch.tensor([True, False, True]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_a_devices_histogram_is_what_summary_writer_makes(
    name: str, event: Steered, daemon: ScriptedDaemon, begin: Begin
) -> None:
    from torch.utils.tensorboard.summary import make_histogram

    tensor = ARRAYS[name]
    event.happened = True
    run = begin()
    run.log_histogram("x", tensor)
    run.flush()
    record = only(daemon)
    wanted = make_histogram(tensor.numpy().astype(float), np.array(binning.edges()))
    stats = [wanted.min, wanted.max, wanted.num, wanted.sum, wanted.sum_squares]
    assert section(daemon, record, "stats").tolist() == pytest.approx(stats, rel=1e-12)
    assert section(daemon, record, "edges").tolist() == list(wanted.bucket_limit)
    assert section(daemon, record, "counts").tolist() == list(wanted.bucket)
    assert record.options == {"nonfinite": 0}


def test_nan_and_infinities_are_counted_and_in_no_bin() -> None:
    tensor = torch.tensor([1.0, float("nan"), 2.0, float("inf"), -float("inf")])
    parts, options = binning.parts_of(binning.fold(tensor).numpy())
    stats, _, counts = (part.data.tolist() for part in parts)
    assert stats == [1, 2, 2, 3, 5]
    assert sum(counts) == 2
    assert options == {"nonfinite": 3}


def test_without_a_finite_element_the_statistics_are_zero() -> None:
    parts, options = binning.parts_of(binning.fold(torch.tensor([float("nan")])).numpy())
    assert parts[0].data.tolist() == [0, 0, 0, 0, 0]
    assert options == {"nonfinite": 1}


def test_chunks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = ARRAYS["normal"]
    whole = binning.fold(tensor)
    monkeypatch.setattr(binning, "CHUNK", 999)
    assert torch.allclose(binning.fold(tensor), whole, rtol=1e-12, atol=0)


def test_deterministic_algorithms_count_the_same() -> None:
    tensor = torch.cat([ARRAYS["normal"], torch.tensor([1e30, -1e30, float("nan"), 0.0])])
    plain = binning.fold(tensor)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.equal(binning.fold(tensor), plain)
    finally:
        torch.use_deterministic_algorithms(False)


def test_only_the_bins_of_a_devices_histogram_travel(event: Steered) -> None:
    form = asynclog.Histogram(torch.rand(1000, 1000)).form()
    arriving = Copier().fetch(form, print)
    assert arriving.coming.parts[0].data.numel() < 3000


def test_a_subclass_of_a_tensor_goes_the_devices_way(daemon: ScriptedDaemon, begin: Begin) -> None:
    Named = type("Named", (torch.Tensor,), {})  # noqa: N806 - a class

    tensor = torch.rand(3, 40, 50).as_subclass(Named)
    assert is_device_tensor(tensor)
    run = begin()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.log_image("x", tensor)
        run.flush()
    assert np.array_equal(section(daemon, only(daemon), "image"), tensor.numpy())
