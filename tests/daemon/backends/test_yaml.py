from __future__ import annotations

import math

import yaml
from hypothesis import given
from hypothesis import strategies as st

from asynclogd.backends._yaml import DEEPEST, dump, unflatten

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT)


@given(st.recursive(st.dictionaries(TEXT, SCALARS), lambda inner: st.dictionaries(TEXT, inner | SCALARS), max_leaves=9))
def test_pyyaml_reads_back_what_was_written(tree):
    assert yaml.safe_load(dump(tree)) == tree


def test_nan_and_words_that_yaml_would_take_for_something_else():
    tree = {
        "nan": float("nan"),
        "no": "no",
        "on": "on",
        "date": "2026-01-01",
        "n": "1e3",
        "small": 1e-5,
        "colon": "a: b",
    }
    found = yaml.safe_load(dump(tree))
    assert math.isnan(found.pop("nan"))
    assert found == {k: v for k, v in tree.items() if k != "nan"}


def test_long_keys():
    tree = {"k" * 2000: 1, "x y" * 500: {"z": 2}}
    assert yaml.safe_load(dump(tree)) == tree


def test_names_nest_at_slashes_unless_one_is_also_a_value():
    assert unflatten({"a/b": 1, "a/c/d": 2, "e": 3}) == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    assert unflatten({"a": 1, "a/b": 2}) == {"a": 1, "a/b": 2}
    assert unflatten({"/a": 1, "b/": 2, "c//d": 3}) == {"/a": 1, "b/": 2, "c": {"/d": 3}}


def test_a_name_of_nothing_but_slashes_and_letters_stays_flat():
    deepest, longest = "/".join("n" * (DEEPEST + 1)), "a/" * 511 + "b"
    flat = {deepest: 1, f"{deepest}/n": 2, longest: 3, "a/c": 4}
    found = yaml.safe_load(dump(unflatten(flat)))
    assert (found[f"{deepest}/n"], found[longest], found["a"]) == (2, 3, {"c": 4})
    nested = found["n"]
    for _ in range(DEEPEST):
        nested = nested["n"]
    assert nested == 1
