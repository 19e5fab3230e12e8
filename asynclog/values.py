"""What a caller may log, made into float64: numbers of Python and NumPy, arrays and tensors of one element.

Neither NumPy nor torch is imported: a value can only be theirs when they are loaded already.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from asynclog_proto.frozen import frozen
from asynclog_proto.limits import MAX_NAME_BYTES

FLOATS = frozenset((float,))
PLAIN = frozenset((float, int, bool))
MAX_FLOAT = sys.float_info.max
EXACT = 1 << 53
"""Integers beyond +-EXACT are not all float64 numbers."""

MAX_NESTING = 16


@frozen
class Problem:
    """Something wrong with a call of `log()`. `lost` values were dropped for `cause`, 0 when all were kept.
    What is no error is told in strict mode too, not raised.
    """

    cause: str
    name: str
    text: str
    lost: int = 1
    error: type[Exception] = ValueError
    is_error: bool = True


class BadValueError(Exception):
    """A value that is no number; the text continues `'name' ...`."""

    def __init__(self, text: str, error: type[Exception] = TypeError) -> None:
        super().__init__(text)
        self.error = error


def leaves(metrics: Mapping[Any, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Yield (name, value) with nested mappings flattened by `/`; a name that is not a string comes as it is."""
    for name, value in metrics.items():
        full = name
        if prefix and isinstance(name, str):
            full = f"{prefix}/{name}"
        if isinstance(value, Mapping) and isinstance(name, str) and depth < MAX_NESTING:
            yield from leaves(value, full, depth + 1)
        else:
            yield full, value


def name_problem(name: object) -> Problem | None:
    """What is wrong with a metric's name, if anything."""
    if not isinstance(name, str):
        text = f"the name {name!r} is of type {type(name).__name__}: a name is a str"
        return Problem("bad_name", repr(name)[:100], text, error=TypeError)
    if not name:
        return Problem("bad_name", "", "a name is empty")
    if len(name) * 3 <= MAX_NAME_BYTES and name.isascii():
        return None
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return Problem("bad_name", ascii(name[:50]), f"the name {name[:50]!a} holds a lone surrogate: not UTF-8")
    if size > MAX_NAME_BYTES:
        text = f"the name {name[:50]!r}... takes {size} bytes: at most {MAX_NAME_BYTES} are allowed"
        return Problem("bad_name", name[:50], text)
    return None


def number(value: Any) -> float:
    """`value` as a float64. Raises BadValueError when it is not one number; never waits for a device."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return _from_int(value)
    if value is None:
        raise BadValueError("is None: log a number, or leave the name out")
    if isinstance(value, (str, bytes)):
        raise BadValueError(f"is the text {value[:40]!r}: texts belong in params() or summary()")
    if isinstance(value, complex) or (is_device_tensor(value) and value.is_complex()):
        raise BadValueError("is complex: log its abs(), or .real and .imag under two names")
    if isinstance(value, Mapping):
        raise BadValueError(f"is a mapping nested deeper than {MAX_NESTING}")
    if hasattr(value, "shape") and hasattr(value, "item"):
        return _from_array(value)
    if hasattr(type(value), "__float__"):
        return _checked(value)  # Decimal, Fraction
    raise BadValueError(f"is of type {type(value).__name__}: log a number{_hint(value)}")


def is_rounded(value: Any, kept: float) -> bool:
    """Whether `value` is an integer that float64 can't hold exactly; `kept` is what it became."""
    if -EXACT < kept < EXACT or kept != kept or kept in {float("inf"), float("-inf")}:  # noqa: PLR0124 - NaN
        return False
    whole = value.item() if hasattr(value, "item") else value
    return isinstance(whole, int) and int(kept) != whole


def is_device_tensor(value: object) -> bool:
    """A torch tensor whose content is not in this computer's memory, or may not be: a subclass can do anything when
    it is read.
    """
    torch = sys.modules.get("torch")
    kind = getattr(torch, "Tensor", None)
    if torch is None or kind is None or not isinstance(value, kind) or value.device.type == "meta":
        return False
    return value.device.type != "cpu" or type(value) not in {kind, torch.nn.Parameter}


def _from_int(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise BadValueError("is an integer beyond float64's range: log its logarithm", ValueError) from None


def _from_array(value: Any) -> float:
    """The element of an array or tensor that has one, whatever library it is from."""
    shape = tuple(value.shape)
    if any(side != 1 for side in shape):
        raise BadValueError(f"has shape {shape}: log its mean(), or one name per element", ValueError)
    item = value.item()
    # NumPy's longdouble gives itself back.
    return _checked(item) if hasattr(item, "shape") else number(item)


def _checked(value: Any) -> float:
    try:
        return float(value)
    except (OverflowError, ValueError, TypeError) as error:
        raise BadValueError(f"can't be a float64: {error}", ValueError) from error


def _hint(value: object) -> str:
    return ", one name per element" if isinstance(value, (list, tuple, set)) else ""
