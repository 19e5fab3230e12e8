"""Histograms beside torch.utils.tensorboard's, bin for bin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asynclogd.media.bins import RULES, tensorflow_edges
from asynclogd.media.forms import HISTOGRAM, Encoded
from tests.daemon.media.laid import encoded, refusal

torch_too = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
DTYPES = ["uint8", "bool", "int16", "float16", "int32", "float32", "int64", "float64"]


def fields(made: Encoded) -> dict[str, Any]:
    assert made.form == HISTOGRAM
    numbers, n = np.frombuffer(made.data, "<f8"), made.options["n"]
    names = ("min", "max", "num", "sum", "sum_squares")
    bins = {"bucket_limit": numbers[5 : 5 + n].tolist(), "bucket": numbers[5 + n :].tolist()}
    return {**dict(zip(names, numbers[:5].tolist(), strict=True)), **bins}


def theirs_of(values: Any, bins: Any = "tensorflow", max_bins: int | None = None) -> dict[str, Any]:
    from torch.utils.tensorboard import summary

    bins = tensorflow_edges().tolist() if bins == "tensorflow" else bins
    (value,) = summary.histogram("x", values, bins, max_bins).value
    histo = value.histo
    names = ("min", "max", "num", "sum", "sum_squares")
    found = {name: getattr(histo, name) for name in names}
    return {**found, "bucket_limit": list(histo.bucket_limit), "bucket": list(histo.bucket)}


@st.composite
def values(draw: st.DrawFn, most: int | None = None) -> np.ndarray:
    """`most` bounds them, in quarters: with some rules a wide range makes more bins than are accepted."""
    array: np.ndarray
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(hnp.array_shapes(max_dims=3, max_side=8))
    if dtype.kind == "f":
        array = draw(hnp.arrays(dtype, shape, elements=st.floats(-500, 500, width=16)))
        return array if most is None else (np.round(array * 4) / 4 % most).astype(dtype)
    array = draw(hnp.arrays(dtype, shape))
    return array if most is None or dtype.kind == "b" else (array % most).astype(dtype)


class TestBesideSummaryWriter:
    pytestmark = torch_too

    def test_default_edges(self, tmp_path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(str(tmp_path)) as writer:
            assert writer.default_bins == tensorflow_edges().tolist()

    @given(values())
    @settings(max_examples=150)
    def test_values_of_any_shape_and_dtype(self, array: np.ndarray) -> None:
        assert fields(encoded("histogram", values=array)) == theirs_of(array)

    @pytest.mark.filterwarnings("ignore:The number of bins estimated")  # by "stone", in SummaryWriter's
    @given(values(100), st.sampled_from([*RULES, 1, 7, 64, [-10.0, 0.0, 0.0, 5.0, 30_000_000.0, 1e20]]))
    @settings(max_examples=150)
    def test_all_kinds_of_bins(self, array: np.ndarray, bins: Any) -> None:
        if isinstance(bins, list):
            array = np.maximum(array, 0)  # one lies in a bin, or both refuse
        assert fields(encoded("histogram", {"bins": bins}, values=array)) == theirs_of(array, bins)

    @given(values(), st.integers(1, 2000))
    def test_max_bins(self, array: np.ndarray, most: int) -> None:
        assert fields(encoded("histogram", {"max_bins": most}, values=array)) == theirs_of(array, max_bins=most)

    def test_bfloat16(self) -> None:
        import torch

        array = (torch.arange(-50, 51) / 16).bfloat16()  # by way of float16 in SummaryWriter: no smaller ones
        assert fields(encoded("histogram", values=array)) == theirs_of(array)

    def test_many_values_are_counted_in_pieces(self) -> None:
        array = np.random.default_rng(0).normal(size=(1 << 22) + 12_345).astype(np.float32)
        ours, theirs = fields(encoded("histogram", values=array)), theirs_of(array)
        for name in ("sum", "sum_squares"):
            assert ours.pop(name) == pytest.approx(theirs.pop(name), rel=1e-12)
        assert ours == theirs

    def test_bins_that_were_counted_before(self) -> None:
        from torch.utils.tensorboard import summary

        stats, edges, counts = [0.0, 3.0, 4.0, 6.0, 14.0], [-1.0, 0.0, 1.0, 2.5, 3.5, 9.0], [0.0, 0, 1, 2, 1, 0]
        (value,) = summary.histogram_raw("x", *stats, edges, counts).value
        made = encoded(
            "histogram", {"nonfinite": 2}, stats=np.array(stats), edges=np.array(edges), counts=np.array(counts)
        )
        found = fields(made)
        assert found["bucket_limit"] == list(value.histo.bucket_limit)
        assert found["bucket"] == list(value.histo.bucket)
        assert found["sum_squares"] == value.histo.sum_squares
        assert made.options == {"n": 6, "nonfinite": 2}


def test_what_is_not_finite_is_left_out_and_counted() -> None:
    array = np.array([1.0, np.nan, -2.0, np.inf, 5.0, -np.inf], np.float32)
    for bins in ("tensorflow", "auto", 4, [-3.0, 0.0, 6.0]):
        made = encoded("histogram", {"bins": bins}, values=array)
        assert made.options["nonfinite"] == 3
        rest = encoded("histogram", {"bins": bins}, values=np.array([1.0, -2.0, 5.0], np.float32))
        assert made.data == rest.data
        assert "nonfinite" not in rest.options


def precomputed(stats=(0, 1, 1, 1, 1), edges=(0, 1), counts=(0, 1)) -> dict[str, np.ndarray]:
    return {"stats": np.array(stats, float), "edges": np.array(edges, float), "counts": np.array(counts, float)}


OUTLIER = np.concatenate([np.linspace(0, 1, 1000), [1e9]])


@pytest.mark.parametrize(
    ("parts", "options", "told"),
    [
        ({"values": np.zeros((0, 3))}, {}, "a histogram of no values; at least one is accepted"),
        ({"values": np.full(3, np.nan)}, {}, "a histogram of 3 values, none of which is finite"),
        ({"values": np.full(3, 1e30)}, {}, "none of 3 values lies in a bin; they reach from -9.92078e+19"),
        ({"values": "many"}, {}, "values has the dtype text"),
        ({"values": np.ones(3)}, {"bins": "best"}, "bins is 'best'; 'tensorflow', 'auto', 'fd'"),
        ({"values": np.ones(3)}, {"bins": 0}, "bins is '0'"),
        ({"values": np.ones(3)}, {"bins": True}, "bins is 'True'"),
        ({"values": np.ones(3)}, {"bins": 2_000_000}, "1 to 1048576"),
        ({"values": np.ones(3)}, {"bins": [3.0, 1.0]}, "a list of rising edges"),
        ({"values": np.ones(3)}, {"bins": [1.0]}, "a list of rising edges"),
        ({"values": np.ones(3)}, {"bins": ["a", "b"]}, "a list of rising edges"),
        ({"values": np.ones(3)}, {"max_bins": 0}, "max_bins is 0"),
        ({"values": OUTLIER}, {"bins": "fd"}, "bins; at most 1048576 are accepted (outliers?"),
        ({"values": np.array([-1.7e308, 1.7e308])}, {"bins": 3}, "bins=3 of 2 values"),
        (precomputed(stats=(0, 1, 1)), {}, "a histogram of 3 stats, 2 edges and 2 counts; 5 (min, max, num, sum"),
        (precomputed(edges=(0, 1, 2)), {}, "3 edges and 2 counts"),
        (precomputed(edges=(), counts=()), {}, "0 edges and 0 counts"),
        (precomputed(edges=(1, 0)), {}, "a histogram's edges rise"),
        (precomputed(counts=(-1, 2)), {}, "finite and not negative"),
        (precomputed(counts=(np.nan, 2)), {}, "its counts are finite"),
        (precomputed(edges=(np.nan, 2)), {}, "a histogram's edges rise"),
        (precomputed(stats=(0, 0, 0, 0, 0)), {"nonfinite": 9}, "a histogram of no finite value (9 were not)"),
        ({"stats": np.zeros(5)}, {}, "histogram with the sections stats; values or counts, edges, stats is accepted"),
    ],
)  # fmt: skip
def test_what_makes_no_histogram_is_told(parts: dict[str, Any], options: dict[str, Any], told: str) -> None:
    assert told in refusal("histogram", options, **parts)
