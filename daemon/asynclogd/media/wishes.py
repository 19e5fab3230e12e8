"""Options of a record, read one by one: a default where there is none, UnfitError where it is not what it has to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asynclogd.media.forms import UnfitError


def whole(options: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    """An integer from `least` to `most`; a float without a fraction is one."""
    value = options.get(name)
    value = default if value is None else value
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= most:
        raise UnfitError(f"{name} is {value!r}; an integer from {least} to {most} is accepted")
    return number


def real(options: Mapping[str, Any], name: str, default: float, least: float, most: float) -> float:
    """A number from `least` to `most`."""
    value = options.get(name)
    value = default if value is None else value
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not least <= value <= most:
        raise UnfitError(f"{name} is {value!r}; a number from {least:g} to {most:g} is accepted")
    return float(value)


def word(options: Mapping[str, Any], name: str, default: str) -> str:
    """A string."""
    value = options.get(name)
    value = default if value is None else value
    if not isinstance(value, str):
        raise UnfitError(f"{name} is {value!r}; a string is accepted")
    return value
