"""Arrays in this computer's memory: the compiled look and copy and their twins know the same ones."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from asynclog import hostarrays
from asynclog.compiled import extension

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

COMPILED: Any = extension("_hostarrays")
TWIN = SimpleNamespace(look=hostarrays.look_in_python, copy=hostarrays.copy_in_python)
NUMPY = ["uint8", "int8", "bool", "int16", "float16", "int32", "float32", "int64", "float64"]
TORCH = [*NUMPY, "bfloat16"]


class Loud(torch.Tensor):  # type: ignore[misc,name-defined]
    """A tensor that may not be looked at."""

    @classmethod
    def __torch_function__(cls, *_: Any, **__: Any) -> Any:
        raise AssertionError("was read")


class Cube(np.ndarray):
    """An array of another type."""


@pytest.fixture(params=["compiled", "twin"])
def arrays(request: pytest.FixtureRequest) -> Any:
    """Each of the two."""
    assert COMPILED is not None
    return COMPILED if request.param == "compiled" else TWIN


def copied(arrays: Any, value: Any, size: int) -> bytes:
    """The copy, with the bytes around it as they were."""
    memory = bytearray(b"\xee" * (size + 5))
    assert arrays.copy(value, memoryview(memory), 3, size) is True
    assert memory[:3] + memory[-2:] == b"\xee" * 5
    return bytes(memory[3:-2])


def test_the_compiled_ones_are_taken() -> None:
    assert COMPILED is not None
    assert (hostarrays.look, hostarrays.copy) == (COMPILED.look, COMPILED.copy)


@pytest.mark.parametrize("shape", [(), (7,), (1, 5), (2, 3, 4), (1, 1)])
@pytest.mark.parametrize("dtype", TORCH)
def test_tensors_of_each_dtype(dtype: str, shape: tuple[int, ...], arrays: Any) -> None:
    tensor = (torch.rand(shape) * 100 - 50).to(getattr(torch, dtype))
    bits = tensor.view(torch.int16) if dtype == "bfloat16" else tensor
    assert arrays.look(tensor) == (dtype, shape)
    assert copied(arrays, tensor, tensor.nbytes) == bits.numpy().tobytes()


@pytest.mark.parametrize("shape", [(), (7,), (1, 5), (2, 3, 4)])
@pytest.mark.parametrize("dtype", NUMPY)
def test_arrays_of_each_dtype(dtype: str, shape: tuple[int, ...], arrays: Any) -> None:
    array = np.asarray(np.random.default_rng(0).random(shape) * 100).astype(dtype)
    array.flags.writeable = False
    assert arrays.look(array) == (dtype, shape)
    assert copied(arrays, array, array.nbytes) == array.tobytes()


@pytest.mark.parametrize(
    "value",
    [
        torch.nn.Parameter(torch.arange(6.0).reshape(2, 3)), torch.arange(6.0).reshape(2, 3).requires_grad_(),
        torch.arange(6.0).requires_grad_().reshape(2, 3) * 1, torch.arange(9.0)[3:].reshape(2, 3) - 3,
        torch.arange(12.0).reshape(4, 3)[:2], torch.arange(6.0).reshape(2, 3).T.contiguous().T.contiguous(),
    ],
)  # fmt: skip
def test_views_and_parameters_are_read_where_they_are(value: Any, arrays: Any) -> None:
    assert arrays.look(value) == ("float32", (2, 3))
    assert copied(arrays, value, 24) == np.arange(6, dtype=np.float32).tobytes()


@pytest.mark.parametrize("large", [1 << 15, 1 << 20])
@pytest.mark.parametrize(("at", "start", "more"), [(0, 0, 0), (1, 0, 63), (16, 3, 64), (63, 1, 1), (5, 2, 130)])
def test_a_large_copy_is_exact_wherever_it_begins_and_ends(
    at: int, start: int, more: int, large: int, arrays: Any
) -> None:
    size = large + more
    values = torch.randint(0, 256, (start + size,), dtype=torch.uint8)[start:]
    memory = np.full(at + size + 64, 7, np.uint8)
    assert arrays.copy(values, memory, at, size)
    assert (memory[at : at + size] == values.numpy()).all()
    assert (memory[:at] == 7).all()
    assert (memory[at + size :] == 7).all()


@pytest.mark.parametrize(
    "value",
    [
        torch.rand(3, 4).T, torch.rand(8)[::2], torch.rand(1).expand(5), torch.rand(3, 0), torch.rand(3).to_sparse(),
        torch.empty(3, device="meta"), torch.zeros(3, dtype=torch.complex64), torch.zeros(3).to(torch.float8_e4m3fn),
        torch.zeros(3, dtype=torch.complex64).conj().imag[:1], torch.zeros(3).as_subclass(Loud),
        torch.zeros(3, dtype=torch.uint16),
        np.zeros((3, 4)).T, np.zeros(8)[::2], np.zeros((3, 0)), np.zeros(3, ">f4"), np.zeros(3, "f4,i4"),
        np.zeros(3, np.uint16), np.zeros(3, np.complex64), np.zeros(3, np.longdouble), np.zeros(3, "M8[s]"),
        np.zeros(3, "S4"), np.array([None]), np.zeros(3).view(Cube), np.float32(1), [1.0, 2.0], b"bytes", 1.0, None,
        np.ndarray, torch.Tensor,
    ],
)  # fmt: skip
def test_what_is_no_plain_array_is_not_known(value: Any, arrays: Any) -> None:
    assert arrays.look(value) is None
    memory = bytearray(64)
    assert not any(arrays.copy(value, memoryview(memory), 0, size) for size in (0, 1, 8, 12, 24, 48))
    assert memory == bytes(64)


@pytest.mark.parametrize(("at", "size"), [(0, 8), (0, 16), (5, 12), (-1, 12), (17, 12), (1 << 62, 12)])
def test_another_size_or_no_room_is_no_copy(at: int, size: int, arrays: Any) -> None:
    memory = bytearray(16)
    assert arrays.copy(torch.ones(3), memoryview(memory), at, size) is False
    assert memory == bytes(16)


def test_within_a_transform_of_torch_nothing_is_read(arrays: Any) -> None:
    seen = []

    def look(tensor: Any) -> Any:
        seen.append(arrays.look(tensor))
        return tensor

    torch.vmap(look)(torch.rand(2, 3))
    assert seen == [None]


def test_memory_that_may_not_be_written_is_an_error(arrays: Any) -> None:
    with pytest.raises((BufferError, TypeError)):
        arrays.copy(torch.ones(2), memoryview(bytes(8)), 0, 8)


def test_a_torch_without_the_exchange_api_is_looked_at_in_python() -> None:
    code = (
        "import torch; from asynclog import hostarrays\n"
        "del torch.Tensor.__dlpack_c_exchange_api__\n"
        "memory = bytearray(8)\n"
        "print(hostarrays.look(torch.ones(2)), hostarrays.look(torch.ones(4)[::2]), hostarrays.look([1]))\n"
        "print(hostarrays.copy(torch.ones(2), memoryview(memory), 0, 8), memory == torch.ones(2).numpy().tobytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["('float32', (2,)) None None", "True True"], done.stderr


def test_a_torch_that_comes_later_is_found() -> None:
    code = (
        "import sys; from asynclog import hostarrays\n"
        "assert hostarrays.look([1.0]) is None and 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "import torch\n"
        "print(hostarrays.look(torch.ones(2)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout == "('float32', (2,))\n", done.stderr
