"""Arrays in this computer's memory, looked at and copied: compiled where the wheel has it.

NumPy and torch are never imported: a value can only be theirs when they are loaded already.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from asynclog.compiled import extension

__all__ = ["NAMES", "copy", "copy_in_python", "look", "look_in_python"]

Seen = tuple[str, tuple[int, ...]]

NAMES = {
    "u1": "uint8", "i1": "int8", "b1": "bool", "i2": "int16", "f2": "float16", "i4": "int32", "f4": "float32",
    "i8": "int64", "f8": "float64",
}  # fmt: skip
"""Of NumPy's dtypes: its own `name` is made in Python, and costs 40 us when caches are cold."""


def look_in_python(value: Any) -> Seen | None:
    """Dtype and shape of a plain array: of NumPy or torch themselves, not of a subclass, in this computer's memory, its
    elements in C order without gaps, and of a dtype that media have. None for anything else.
    """
    array = _array(value)
    if array is None:
        return None
    is_bfloat16 = array is not value and str(value.dtype) == "torch.bfloat16"
    return "bfloat16" if is_bfloat16 else NAMES[array.dtype.str[1:]], array.shape


def copy_in_python(value: Any, memory: Any, at: int, size: int) -> bool:
    """Copy a plain array's bytes to `memory` from `at` on. False, and nothing done, when these are not `size`, have no
    room there, or `look` does not know the array.
    """
    array = _array(value)
    if array is None or array.nbytes != size or not 0 <= at <= len(memory) - size:
        return False
    memory[at : at + size] = memoryview(array.reshape(-1)).cast("B")
    return True


def _array(value: Any) -> Any:
    """A plain array as NumPy has it, bfloat16 as its bits; None for anything else."""
    array = value if type(value) is getattr(sys.modules.get("numpy"), "ndarray", None) else _of_torch(value)
    if array is None or not array.size or not array.flags.c_contiguous or array.dtype.str[1:] not in NAMES:
        return None
    return array if array.dtype.isnative else None


def _of_torch(value: Any) -> Any:
    torch = sys.modules.get("torch")
    if torch is None or (type(value) is not torch.Tensor and type(value) is not torch.nn.Parameter):
        return None
    try:
        tensor = value.detach()
        return (tensor.view(torch.int16) if tensor.dtype is torch.bfloat16 else tensor).numpy()
    except (RuntimeError, TypeError, NotImplementedError):
        return None


_compiled = extension("_hostarrays")
look: Callable[[Any], Seen | None] = look_in_python if _compiled is None else _compiled.look
copy: Callable[[Any, Any, int, int], bool] = copy_in_python if _compiled is None else _compiled.copy
