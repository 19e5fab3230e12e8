"""Media whose like was written before: the compiled find and lay and their twins know the same, and write the same."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import asynclog
from asynclog import knownmedia
from asynclog._media.templates import ALIKE, Templates
from asynclog.compiled import extension

COMPILED: Any = extension("_knownmedia")
STEPS = st.integers(0, (1 << 63) - 1)
ITEMS = st.lists(
    st.tuples(st.sampled_from(["uint8", "float32"]), st.sampled_from([(3,), (40, 30), (5000,)])), min_size=1, max_size=4
)


class Pretender(asynclog.Histogram):
    """A subclass, which may do anything."""


def histograms(kinds: list[tuple[str, tuple[int, ...]]], seed: int = 0) -> dict[Any, Any]:
    """A call's items."""
    rng = np.random.default_rng(seed)
    made = [asynclog.Histogram(rng.integers(0, 99, shape).astype(dtype)) for dtype, shape in kinds]
    return {f"x{i}": item for i, item in enumerate(made)}


def templates_of(metrics: dict[Any, Any]) -> dict[Any, knownmedia.Template]:
    """What was learned of a call."""
    learned = Templates(1 << 20)
    learned.learn(metrics, {name: item.form() for name, item in metrics.items()})
    return learned.known


def test_the_compiled_ones_are_taken() -> None:
    assert COMPILED is not None
    assert (knownmedia.find, knownmedia.lay) == (COMPILED.find, COMPILED.lay)


@given(kinds=ITEMS, step=STEPS, time=st.floats(allow_nan=False), position=STEPS)
def test_both_find_the_same_and_write_the_same_bytes(
    kinds: list[tuple[str, tuple[int, ...]]], step: int, time: float, position: int
) -> None:
    templates = templates_of(histograms(kinds))
    later = histograms(kinds, seed=1)
    known = knownmedia.find_in_python(templates, ALIKE, later)
    assert known is not None
    assert COMPILED.find(templates, ALIKE, later) == known
    _, length, laid = known
    written = []
    for lay in (knownmedia.lay_in_python, COMPILED.lay):
        data, memory = (bytearray(b"\xee" * (size + 9)) for size in (length, laid))
        assert lay(known, step, time, memoryview(data), 4, memoryview(memory), 5, position) is True
        assert data[:4] + data[-5:] + memory[:5] + memory[-4:] == b"\xee" * 18
        written.append((data, memory))
    assert written[0] == written[1]


@pytest.mark.parametrize("find", [knownmedia.find_in_python, COMPILED.find])
@pytest.mark.parametrize(
    "metrics",
    [
        {},
        None,
        [],
        {"x0": 1.0},
        {"x1": asynclog.Histogram(np.zeros(3))},
        {"x0": asynclog.Histogram(np.zeros(4))},
        {"x0": asynclog.Histogram(np.zeros(3, np.float32))},
        {"x0": asynclog.Histogram(np.zeros(3), bins=5)},
        {"x0": asynclog.Histogram(np.zeros(3), bins=True)},
        {"x0": asynclog.Histogram([0.0, 0.0, 0.0])},
        {"x0": Pretender(np.zeros(3))},
        {"x0": asynclog.Histogram(np.zeros(3)), "x1": asynclog.Histogram(np.zeros(3))},
    ],
)
def test_what_was_not_written_before_is_not_known(find: Any, metrics: Any) -> None:
    like = {"x0": asynclog.Histogram(np.zeros(3))}
    templates = templates_of(like)
    assert find(templates, ALIKE, like) is not None
    references = sys.getrefcount(None)
    assert find(templates, ALIKE, metrics) is None
    assert sys.getrefcount(None) - references < 5


@pytest.mark.parametrize("lay", [knownmedia.lay_in_python, COMPILED.lay])
@pytest.mark.parametrize(("place", "at"), [(-1, 0), (1, 0), (0, -1), (0, 1)])
def test_nothing_is_written_where_there_is_no_room(lay: Any, place: int, at: int) -> None:
    metrics = histograms([("float32", (5000,)), ("float32", (3,))])
    known = COMPILED.find(templates_of(metrics), ALIKE, metrics)
    data, memory = bytearray(known[1]), bytearray(known[2])
    assert lay(known, 0, 0.0, memoryview(data), place, memoryview(memory), at, 0) is False
    assert not any(data + memory)


@pytest.mark.parametrize("lay", [knownmedia.lay_in_python, COMPILED.lay])
def test_an_array_that_was_exchanged_meanwhile_is_seen(lay: Any) -> None:
    metrics = histograms([("float32", (5000,))])
    items, length, laid = COMPILED.find(templates_of(metrics), ALIKE, metrics)
    items = [(template, name, item, np.zeros(4999, np.float32)) for template, name, item, _ in items]
    data, memory = memoryview(bytearray(length)), memoryview(bytearray(laid))
    assert lay((items, length, laid), 0, 0.0, data, 0, memory, 0, 0) is False


@pytest.mark.parametrize("function", ["find", "lay"])
def test_other_arguments_are_refused(function: str) -> None:
    with pytest.raises(TypeError, match="takes"):
        getattr(COMPILED, function)(1)
    memory = memoryview(bytearray(9))
    with pytest.raises((TypeError, BufferError)):
        COMPILED.lay(([], 0, 0), 0, 0.0, b"read-only", 0, memory, 0, 0)
    with pytest.raises(OverflowError):
        COMPILED.lay(([], 0, 0), -1, 0.0, memory, 0, memory, 0, 0)
    assert len(memory) == 9


@pytest.mark.torch
def test_an_error_while_a_tensor_is_looked_at_is_not_left_behind() -> None:
    torch = pytest.importorskip("torch")
    like = {"x": asynclog.Histogram(torch.zeros(3))}
    templates = templates_of(like)
    assert COMPILED.find(templates, ALIKE, like) is not None
    for other in (torch.zeros(3, device="meta"), torch.zeros(6)[::2], torch.zeros(3).to_sparse()):
        assert COMPILED.find(templates, ALIKE, {"x": asynclog.Histogram(other)}) is None


@pytest.mark.torch
def test_nothing_leaks() -> None:
    torch = pytest.importorskip("torch")
    given = torch.zeros(5000)
    metrics = {"größe": asynclog.Histogram(given)}
    templates = templates_of(metrics)
    name, item = next(iter(metrics.items()))
    counted = []
    for _ in range(50):
        known = COMPILED.find(templates, ALIKE, metrics)
        data, memory = memoryview(bytearray(known[1])), memoryview(bytearray(known[2]))
        assert COMPILED.lay(known, 1, 1.0, data, 0, memory, 0, 0)
        data.release()
        memory.release()
        counted.append(tuple(map(sys.getrefcount, (known[0][0][0], name, item, given, asynclog.Histogram))))
        del known
    assert set(counted[10:]) == {counted[10]}
