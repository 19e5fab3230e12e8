"""Items for tests: Hypothesis strategies, a plain table, and whether two items are the same to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from asynclogd.points import Blob, Item, Media, Params, Points, Rewind, RunEnd, Summary

NAMES = st.text(min_size=1, max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20)
STEPS = st.integers(-(2**63), 2**63 - 1)
COUNTS = st.integers(0, 2**32 - 1)


def cells(k: int, m: int, dtype: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[NDArray[Any]]:
    """(k, m) tables, of one number or of many."""
    many = st.lists(values, min_size=k * m, max_size=k * m).map(lambda flat: np.array(flat, dtype).reshape(k, m))
    one = values.map(lambda value: np.full((k, m), value, dtype))
    return many | one


@st.composite
def points(draw: st.DrawFn) -> Points:
    """Any table of points."""
    names = tuple(draw(st.lists(NAMES, max_size=4, unique=True)))
    k, m = draw(st.integers(0, 4)), len(names)
    return Points(
        names=names,
        steps=np.array(draw(st.lists(STEPS, min_size=k, max_size=k)), np.int64),
        times=np.array(draw(st.lists(st.floats(), min_size=k, max_size=k)), np.float64),
        values=draw(cells(k, m, "f8", st.floats())),
        ranks=draw(cells(k, m, "u4", COUNTS)),
        logged=draw(cells(k, m, "u4", COUNTS)),
        world=draw(COUNTS),
        generation=draw(COUNTS),
        revision=draw(st.booleans()),
        holders=draw(st.none() | cells(k, m, "i4", st.integers(-1, 2**31 - 1))),
        host=draw(st.booleans()),
    )


MAPS = st.dictionaries(NAMES, SCALARS, max_size=4)
ITEMS: st.SearchStrategy[Item] = st.one_of(
    points(),
    MAPS.map(Params),
    MAPS.map(Summary),
    st.builds(Rewind, STEPS, COUNTS),
    st.builds(
        Media,
        name=NAMES,
        step=STEPS,
        time=st.floats(allow_nan=False),
        kind=NAMES,
        form=NAMES,
        options=st.dictionaries(
            NAMES, (st.none() | st.integers(0, 9) | st.text()) | st.lists(st.text(), max_size=3), max_size=3
        ),
        blob=st.builds(Blob, NAMES, COUNTS, COUNTS, COUNTS),
        rank=COUNTS,
        generation=COUNTS,
    ),
    st.sampled_from(["success", "failed", "interrupted", "killed"]).map(RunEnd),
)


def identity(item: Item) -> Any:
    """A value that is equal for equal items only, NaN's bits and -0.0 included."""
    if isinstance(item, (Params, Summary)):
        return type(item), [(name, type(value), repr(value)) for name, value in item.values.items()]
    if not isinstance(item, Points):
        return item
    arrays: list[NDArray[Any] | None] = [item.steps, item.times, item.values, item.ranks, item.logged, item.holders]
    dtypes = ["i8", "f8", "f8", "u4", "u4", "i4"]
    tables = [
        None if array is None else (array.shape, np.ascontiguousarray(array, dtype).tobytes())
        for array, dtype in zip(arrays, dtypes, strict=True)
    ]
    return item.names, item.world, item.generation, item.revision, item.host, tables


def table(first_step: int, k: int = 1, names: Sequence[str] = ("a", "b"), logged: int = 2) -> Points:
    """k steps from `first_step` on, a second apart; the value of (step, column) is step + column / 10."""
    m = len(names)
    steps = np.arange(first_step, first_step + k)
    return Points(
        names=tuple(names),
        steps=steps,
        times=steps.astype(np.float64),
        values=steps[:, None] + np.arange(m) / 10,
        ranks=np.full((k, m), 2, np.uint32),
        logged=np.full((k, m), logged, np.uint32),
        world=2,
    )
