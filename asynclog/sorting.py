"""The values of one call of `log()`, sorted: numbers, device tensors, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asynclog._media.form import Form, Media, formed
from asynclog.values import BadValueError, Problem, is_device_tensor, is_rounded, leaves, name_problem, number


@dataclass(slots=True)
class Sorted:
    """`issued` values: those in `plain`, those in `device`, those in `media`, and those that a problem lost.

    One call is one row, so with a device's value among them all wait for it, numbers too: then `plain` is empty.
    """

    plain: dict[str, float] = field(default_factory=dict)
    device: dict[str, Any] = field(default_factory=dict)
    media: dict[str, Form] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    issued: int = 0


def sort(metrics: Mapping[Any, Any]) -> Sorted:
    """Flatten one call's mapping and tell numbers, device tensors and problems apart."""
    result = Sorted()
    for name, value in leaves(metrics):
        result.issued += 1
        problem = name_problem(name)
        if problem is None and (name in result.plain or name in result.device or name in result.media):
            problem = Problem("bad_name", name, f"{name!r} is in one call twice: the first value is kept")
        if problem is not None:
            result.problems.append(problem)
        elif is_device_tensor(value) and value.numel() == 1 and not value.is_complex():
            result.device[name] = value
        elif isinstance(value, Media):
            _sort_media(name, value, result)
        else:
            _sort_number(name, value, result)
    if result.device and result.plain:
        both = {**result.plain, **result.device}
        result.device = {name: both[name] for name, _ in leaves(metrics) if name in both}
        result.plain = {}
    return result


def _sort_number(name: str, value: Any, result: Sorted) -> None:
    try:
        kept = number(value)
    except BadValueError as error:
        result.problems.append(Problem("bad_value", name, f"{name!r} {error}", error=error.error))
        return
    except Exception as error:  # whatever a foreign type's conversion raises
        text = f"{name!r} of type {type(value).__name__} is no number: {error}"
        result.problems.append(Problem("bad_value", name, text, error=TypeError))
        return
    result.plain[name] = kept
    if is_rounded(value, kept):
        text = f"{name!r} is an integer beyond 2**53: the nearest float64 is kept"
        result.problems.append(Problem("rounded", name, text, lost=0, is_error=False))


def _sort_media(name: str, value: Media, result: Sorted) -> None:
    try:
        result.media[name] = formed(value)
    except BadValueError as error:
        result.problems.append(Problem("bad_value", name, f"{name!r} {error}", error=error.error))
    except Exception as error:  # whatever a foreign type's conversion raises
        kind = type(value).__name__
        text = f"{name!r} is no {kind} that can be logged: {type(error).__name__}: {error}"
        result.problems.append(Problem("bad_value", name, text))
