"""Points to test a backend with, and what a reader is to find of them."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from asynclogd.points import Item, Points, Rewind

Content = list[tuple[str, int, float]]

AWKWARD_NAMES = (
    "loss", "Loss", "LOSS", "train/loss", "train//loss", "/train/loss", "train/loss/", "train_loss", "train%2Floss",
    "step", "_step", "time", "a b", "a,b", 'a"b', "a'b", "a%sb", "{a}", "ünï/cødé", "損失", "😀", "e\u0301", "é",
    "x:y", "x.y", "x-y", "x@y", "x#y", "a\\b", ".", "..", "=1+1", "name with trailing space ",
)  # fmt: skip

AWKWARD_VALUES = (0.0, -0.0, float("nan"), float("inf"), float("-inf"), 5e-324, -1e-320, 1.7976931348623157e308,
                  1e16, -1e-7, 0.1, 1 / 3, 3.0, float(2**53 + 2))  # fmt: skip


def table(
    names: Sequence[str], steps: Iterable[int], seed: int = 0, *, revision: bool = False, generation: int = 0
) -> Points:
    """Points of random values that `seed`, names and steps decide."""
    at = np.array(list(steps), np.int64)
    shape = (len(at), len(names))
    values = np.random.default_rng([seed, len(at), len(names)]).normal(size=shape)
    return filled(names, at, values, revision=revision, generation=generation)


def filled(
    names: Sequence[str],
    steps: Iterable[int],
    values: NDArray[np.float64],
    *,
    revision: bool = False,
    generation: int = 0,
) -> Points:
    """Points of these values, (k, m), logged at 0.1 s a step by both ranks of two."""
    at = np.array(list(steps), np.int64)
    ones = np.ones(values.shape, np.uint32)
    return Points(
        names=tuple(names),
        steps=at,
        times=1.7e9 + at.clip(-(2**31), 2**31) * 0.1 + revision,
        values=values,
        ranks=ones * 2,
        logged=ones * 2,
        world=2,
        generation=generation,
        revision=revision,
    )


def content(items: Iterable[Item]) -> Content:
    """What a reader is to find after these items."""
    found: Content = []
    for item in items:
        if isinstance(item, Points):
            found.extend((point.name, point.step, point.value) for point in item)
        elif isinstance(item, Rewind):
            found = [entry for entry in found if entry[1] < item.step]
    return found


def batch(at: int) -> list[Item]:
    """The batch numbered `at` of an endless run: five steps of two series, and one of a series now and then new."""
    return [table(["loss", "acc"], range(5 * at, 5 * at + 5)), table([f"new{at // 7}"], [5 * at])]


def exactly(name: str, step: int, value: float) -> tuple[str, int, bytes]:
    """A point to compare by: NaN is NaN, and 0.0 is not -0.0."""
    return name, step, b"nan" if math.isnan(value) else struct.pack(">d", value)
