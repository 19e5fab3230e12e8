"""Tensors in this computer's memory: the compiled reader and its twin give what `.item()` gives, or leave them."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog import hosttensors
from asynclog.compiled import extension
from asynclog.run import Run
from tests.client.scripted import ScriptedDaemon

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

COMPILED: Any = extension("_hosttensors")
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INTEGERS = [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8]


@pytest.fixture(params=["compiled", "twin"])
def read(request: pytest.FixtureRequest) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Each of the two."""
    assert COMPILED is not None
    return COMPILED.read if request.param == "compiled" else hosttensors.read_in_python


def test_the_compiled_reader_is_taken() -> None:
    assert COMPILED is not None
    assert hosttensors.read is COMPILED.read


@given(value=st.floats(width=16), dtype=st.sampled_from(FLOATS))
def test_floats_are_read_as_item_reads_them(value: float, dtype: Any) -> None:
    tensor = torch.tensor(value, dtype=dtype)
    for reader in (COMPILED.read, hosttensors.read_in_python):
        got = reader({"a": tensor})["a"]
        assert type(got) is float
        assert got == tensor.item() or (math.isnan(got) and math.isnan(value))
        assert math.copysign(1, got) == math.copysign(1, tensor.item())


@given(bits=st.integers(-(2**15), 2**15 - 1))
def test_every_half_is_read(bits: int) -> None:
    for dtype in (torch.float16, torch.bfloat16):
        tensor = torch.tensor(bits, dtype=torch.int16).view(dtype)
        got, expected = COMPILED.read({"a": tensor})["a"], tensor.item()
        assert got == expected or (math.isnan(got) and math.isnan(expected))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_are_read_as_integers(dtype: Any, read: Callable[..., Any]) -> None:
    info = torch.iinfo(dtype)
    for value in (info.min, info.max, 1):
        got = read({"a": torch.tensor(value, dtype=dtype)})["a"]
        assert type(got) is int
        assert got == value


def test_truth_is_read_as_bool(read: Callable[..., Any]) -> None:
    assert read({"a": torch.tensor(True), "b": torch.tensor([False])}) == {"a": True, "b": False}
    assert type(read({"a": torch.tensor(True)})["a"]) is bool


def test_views_are_read_where_they_are(read: Callable[..., Any]) -> None:
    many = torch.arange(12.0).reshape(3, 4)
    assert read({"a": many[1, 2], "b": many.T[3:, 2:], "c": many.mean().requires_grad_() * 2}) == {
        "a": 6.0, "b": 11.0, "c": 11.0,
    }  # fmt: skip


class Loud(torch.Tensor):  # type: ignore[misc,name-defined]
    """A tensor that may not be read."""

    def item(self) -> Any:
        raise AssertionError("read")


LEFT = {
    "of several elements": lambda: torch.zeros(2),
    "empty": lambda: torch.zeros(0),
    "complex": lambda: torch.tensor(1j),
    "without memory": lambda: torch.empty((), device="meta"),
    "of a subclass": lambda: torch.zeros(()).as_subclass(Loud),
    "a parameter": lambda: torch.nn.Parameter(torch.zeros(())),
    "no tensor": lambda: "text",
    "None": lambda: None,
}


@pytest.mark.parametrize("make", LEFT.values(), ids=LEFT.keys())
def test_what_is_not_one_number_here_is_left(make: Callable[[], Any], read: Callable[..., Any]) -> None:
    value = make()
    made = read({"a": value, "b": torch.tensor(2.0)})
    assert made["a"] is value
    assert made["b"] == 2.0


RARE = {
    "negated": lambda: torch.tensor([1 + 2j]).conj().imag,
    "sparse": lambda: torch.tensor([-2.0]).to_sparse(),
    "quantized": lambda: torch.quantize_per_tensor(torch.tensor([-2.0]), 0.5, 0, torch.qint8),
    "float8": lambda: torch.tensor(-2.0).to(torch.float8_e4m3fn),
}


@pytest.mark.filterwarnings("ignore:torch.ao.quantization", "ignore:.*[qQ]uantized")
@pytest.mark.parametrize("make", RARE.values(), ids=RARE.keys())
def test_rare_tensors_are_logged_right(
    make: Callable[[], Any], daemon: ScriptedDaemon, begin: Callable[..., Run]
) -> None:
    run = begin()
    run.log({"a": make()})
    assert run.finish().complete
    assert daemon.points() == [(0, "a", -2.0)]


def test_the_mapping_that_was_given_is_not_changed(read: Callable[..., Any]) -> None:
    given_ = {"a": torch.tensor(1.0)}
    assert read(given_) == {"a": 1.0}
    assert isinstance(given_["a"], torch.Tensor)


def test_a_later_change_does_not_reach_what_was_logged(daemon: ScriptedDaemon, begin: Callable[..., Run]) -> None:
    run, loss = begin(), torch.tensor(1.0)
    for _ in range(3):
        run.log({"loss": loss})
        loss += 1
    assert run.finish().complete
    assert daemon.points() == [(0, "loss", 1.0), (1, "loss", 2.0), (2, "loss", 3.0)]


def test_ctrl_c_inside_torch_is_not_swallowed() -> None:
    class Stopping(torch.overrides.TorchFunctionMode):  # type: ignore[misc,name-defined]
        def __torch_function__(self, *_: Any) -> Any:
            raise KeyboardInterrupt

    with Stopping(), pytest.raises(KeyboardInterrupt):
        COMPILED.read({"a": torch.zeros(())})


def test_a_torch_without_the_exchange_api_is_read_in_python() -> None:
    code = (
        "import torch; from asynclog import hosttensors\n"
        "del torch.Tensor.__dlpack_c_exchange_api__\n"
        "assert not hasattr(torch.Tensor, '__dlpack_c_exchange_api__')\n"
        "print(hosttensors.read({'a': torch.tensor(1.5), 'b': 2}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout.strip() == "{'a': 1.5, 'b': 2}", done.stderr


def test_without_torch_nothing_is_looked_at() -> None:
    code = (
        "import sys; from asynclog import hosttensors\n"
        "assert 'torch' not in sys.modules\n"
        "print(hosttensors.read({'a': 1.5}), hosttensors.read_in_python({'a': 1.5}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout.strip() == "{'a': 1.5} {'a': 1.5}", done.stderr
