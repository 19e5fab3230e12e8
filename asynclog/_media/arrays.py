"""Arrays of any library as sections, without a copy where there is a way without one.

NumPy is imported when the first array comes, torch never: a value can only be its when it is loaded already.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from asynclog._media.form import Part
from asynclog.hostarrays import NAMES
from asynclog.values import BadValueError, is_device_tensor
from asynclog_proto.limits import MAX_MEDIA_BYTES
from asynclog_proto.media import DTYPES, Section

ACCEPTED = "an array of NumPy, a tensor of torch or a list of numbers"

_WIDENED = {"uint16": "int32", "uint32": "int64", "uint64": "float64", "longdouble": "float64", "float128": "float64"}
"""Dtypes that do not travel, and what they are cast to in the one copy."""


def _name(dtype: Any) -> str:
    known = NAMES.get(dtype.str[1:])
    return str(dtype.name) if known is None else known


def array_part(role: str, value: Any, dtype: str | None = None) -> Part:
    """`value` as a section of its own dtype, or cast to `dtype`. Raises BadValueError for what is no array of numbers,
    for an empty one and for one beyond MAX_MEDIA_BYTES.
    """
    view = view_at_once(value)
    if view is not None:
        return _checked(role, view, _name(view.dtype), dtype)
    if _is_tensor(value):
        if is_device_tensor(value):
            return _checked(role, value, str(value.dtype).removeprefix("torch."), dtype, is_on_device=True)
        array, name = _of_tensor(role, value)
    else:
        array = _of_any(role, value)
        name = _name(array.dtype)
    return _checked(role, array, name, dtype)


def view_at_once(value: Any) -> Any:
    """A NumPy view of the common tensor: plain, in this computer's memory, of a dtype that NumPy has. None for anything
    else, which is looked at with care; that asks torch five times as much.
    """
    torch = sys.modules.get("torch")
    kind = type(value)
    if torch is None or (kind is not torch.Tensor and kind is not torch.nn.Parameter) or not value.is_cpu:
        return None
    try:
        return (value.detach() if value.requires_grad else value).numpy()
    except (TypeError, RuntimeError):
        return None


def described(value: Any) -> str:
    """Shape and dtype of an array, or a type's name, for a person."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None or dtype is None:
        return f"of type {type(value).__name__}"
    return f"of shape {tuple(shape)}, dtype {str(dtype).removeprefix('torch.')}"


def check_shape(part: Part, accepted: Sequence[str], *, ndims: Sequence[int]) -> None:
    """Raise BadValueError unless the section has one of `ndims` dimensions."""
    if len(part.section.shape) not in ndims:
        raise refused(part, f"accepted are {' and '.join(accepted)}")


def refused(part: Part, text: str) -> BadValueError:
    """The error that tells of a section's shape and dtype."""
    section = part.section
    return BadValueError(f"has {section.role} of shape {section.shape}, dtype {section.dtype}: {text}", ValueError)


def _checked(role: str, data: Any, name: str, wanted: str | None, *, is_on_device: bool = False) -> Part:
    shape = tuple(data.shape)
    name = _WIDENED.get(name, name)
    if name not in DTYPES:
        raise BadValueError(f"has {role} {described(data)}: accepted are {', '.join(_numeric())}")
    section = Section(role, wanted or name, shape)
    size = section.size
    if size == 0:
        raise BadValueError(f"has {role} of shape {shape}, dtype {name}: it has no element", ValueError)
    if size > MAX_MEDIA_BYTES or len(shape) > _MOST_DIMS:
        most = f"at most {MAX_MEDIA_BYTES >> 20} MiB and {_MOST_DIMS} dimensions are accepted"
        raise BadValueError(f"has {role} of shape {shape}, dtype {name}, {size >> 20} MiB: {most}", ValueError)
    return Part(section, data, size, is_on_device)


_MOST_DIMS = 8


def _numeric() -> list[str]:
    return [name for name in DTYPES if name not in {"text", "bytes"}]


def _is_tensor(value: object) -> bool:
    kind = getattr(sys.modules.get("torch"), "Tensor", None)
    return kind is not None and isinstance(value, kind)


def _of_tensor(role: str, tensor: Any) -> tuple[Any, str]:
    """A NumPy view of a tensor in this computer's memory, and its dtype's name."""
    name = str(tensor.dtype).removeprefix("torch.")
    torch = sys.modules["torch"]
    if not tensor.is_cpu or tensor.layout is not torch.strided or tensor.is_quantized:
        where = f"on {tensor.device.type}, {str(tensor.layout).removeprefix('torch.')}"
        raise BadValueError(f"has {role} {described(tensor)} {where}: a dense tensor with values is accepted")
    if name not in DTYPES:
        raise BadValueError(f"has {role} {described(tensor)}: accepted are {', '.join(_numeric())}")
    tensor = tensor.detach()
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    if name == "bfloat16":  # NumPy has none: its bits travel as they are
        tensor = tensor.view(torch.int16)
    return tensor.numpy(), name


def _of_any(role: str, value: Any) -> Any:
    import numpy as np

    if isinstance(value, np.ndarray):
        return np.asarray(value)
    is_array = isinstance(value, (list, tuple, range, np.generic)) or hasattr(value, "__array__")
    if not is_array or isinstance(value, (str, bytes)):
        raise BadValueError(f"has {role} {described(value)}: {ACCEPTED} is accepted")
    try:
        return np.asarray(value)
    except Exception as error:  # ragged lists, and whatever a foreign array raises
        raise BadValueError(f"has {role} {described(value)}: {ACCEPTED} is accepted ({error})", ValueError) from error


def host_floats(role: str, value: Any, length: int | None = None) -> Any:
    """A one-dimensional float64 array of numbers in this computer's memory. Raises BadValueError otherwise."""
    import numpy as np

    part = array_part(role, value)
    if part.is_on_device:
        raise BadValueError(f"has {role} on {value.device}: numbers in the computer's memory are accepted")
    if part.section.dtype == "bfloat16":
        raise BadValueError(f"has {role} of dtype bfloat16: float32 or float64 are accepted")
    numbers = np.asarray(part.data, dtype=np.float64)
    if numbers.ndim != 1 or (length is not None and len(numbers) != length):
        many = "numbers in one dimension" if length is None else f"{length} numbers"
        raise refused(part, f"{many} are accepted")
    return numbers
