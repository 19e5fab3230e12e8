from __future__ import annotations

import argparse
import dataclasses
import enum
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog.flatten import encode_all, flatten
from asynclog_proto import records


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Optimizer:
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)


def quiet(text: str) -> None:
    raise AssertionError(text)


def test_configurations_of_any_make_become_flat_scalars() -> None:
    config = {
        "optimizer": Optimizer(),
        "args": argparse.Namespace(path=Path("a/b"), color=Color.RED, none=None),
        "flag": True,
        "numpy": np.float32(0.5),
        "array": np.arange(3),
        3: 4,
        Color.RED: 1,
        "nan": math.nan,
        "big": 1 << 70,
        "type": int,
        "empty": {},
    }
    flat = flatten(config, quiet)
    assert repr(flat.pop("nan")) == "nan"
    assert flat == {
        "optimizer/lr": 0.1, "optimizer/betas": "(0.9, 0.99)", "args/path": "a/b", "args/color": "red",
        "args/none": None, "flag": True, "numpy": 0.5, "array": "[0 1 2]", "3": 4, "red": 1,
        "big": str(1 << 70), "type": "<class 'int'>",
    }  # fmt: skip


@pytest.mark.parametrize("values", [None, 3, "text", [("a", 1)], Optimizer])
def test_what_is_no_configuration_is_a_type_error(values: Any) -> None:
    with pytest.raises(TypeError, match=r"a mapping, a dataclass or an argparse\.Namespace"):
        flatten(values, quiet)


def test_what_does_not_fit_is_told_and_left_out_or_cut() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("no")

    said: list[str] = []
    flat = flatten({"x" * 2000: 1, "\ud800": 1, "": 1, "text": "é" * 50_000, "hostile": Hostile()}, said.append)
    assert len(said) == 5
    assert flat["hostile"] == "<Hostile>"
    text = flat["text"]
    assert isinstance(text, str)
    assert len(text.encode()) == 64 << 10


def test_a_mapping_that_holds_itself_ends() -> None:
    loop: dict[str, Any] = {}
    loop["a"] = loop
    assert len(flatten(loop, quiet)) == 1


def test_a_large_configuration_is_split() -> None:
    flat = flatten({f"name{i}": "x" * 1000 for i in range(100)}, quiet)
    parts = list(encode_all(records.Params, flat, 10_000))
    assert all(len(part) <= 10_000 for part in parts)
    merged: dict[str, Any] = {}
    for part in parts:
        record = records.decode(part)
        assert isinstance(record, records.Params)
        merged |= record.values
    assert merged == flat


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers())
)


@given(
    st.recursive(st.dictionaries(st.text(max_size=5), LEAVES), lambda children: st.dictionaries(st.text(), children))
)
def test_whatever_comes_out_travels(config: dict[str, Any]) -> None:
    flat = flatten(config, lambda _: None)
    for part in encode_all(records.Params, flat, 1 << 20):
        assert isinstance(records.decode(part), records.Params)
