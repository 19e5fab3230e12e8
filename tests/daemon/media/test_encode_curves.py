"""Curves of precision and recall beside torch.utils.tensorboard's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asynclogd.media.forms import PR_CURVE, Encoded
from tests.daemon.media.laid import encoded, refusal


def rows(made: Encoded) -> np.ndarray:
    assert made.form == PR_CURVE
    return np.frombuffer(made.data, "<f4").reshape(6, made.options["n"])


@st.composite
def labelled(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    n = draw(st.integers(1, 60))
    dtype = draw(st.sampled_from(["bool", "uint8", "int64", "float32"]))
    labels = draw(hnp.arrays(np.uint8, n, elements=st.integers(0, 1))).astype(dtype)
    width = draw(st.sampled_from([16, 32, 64]))
    predictions = draw(hnp.arrays(f"float{width}", n, elements=st.floats(-0.25, 1.25, width=16)))
    weights = draw(st.none() | hnp.arrays(np.float32, n, elements=st.floats(0, 2, width=16)))
    return labels, predictions, weights


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@given(labelled(), st.integers(2, 300))
def test_the_rows_are_those_of_summary_writer(data: tuple[Any, Any, Any], thresholds: int) -> None:
    from torch.utils.tensorboard import summary

    labels, predictions, weights = data
    (theirs,) = summary.pr_curve("x", labels, predictions, thresholds, weights).value
    parts = {} if weights is None else {"weights": weights}
    ours = encoded("pr_curve", {"num_thresholds": thresholds}, labels=labels, predictions=predictions, **parts)
    assert rows(ours).reshape(-1).tolist() == list(theirs.tensor.float_val)
    assert ours.options == {"n": min(thresholds, 127), "num_thresholds": min(thresholds, 127)}


def test_a_curve_that_was_made_before() -> None:
    curve = np.random.default_rng(0).random((6, 5))
    made = encoded("pr_curve", {"num_thresholds": 500}, curve=curve)
    assert np.array_equal(rows(made), curve.astype(np.float32))
    assert made.options == {"n": 5, "num_thresholds": 127}


def test_predictions_that_are_not_finite_are_left_out_and_counted() -> None:
    labels, weights = np.array([1, 0, 1, 0]), np.array([1.0, 2.0, 3.0, 4.0])
    predictions = np.array([0.9, np.nan, np.inf, 0.2])
    kept = [0, 3]
    made = encoded("pr_curve", labels=labels, predictions=predictions, weights=weights)
    rest = encoded("pr_curve", labels=labels[kept], predictions=predictions[kept], weights=weights[kept])
    assert made.data == rest.data
    assert made.options["nonfinite"] == 2


ONES = np.ones(3)


@pytest.mark.parametrize(
    ("parts", "options", "told"),
    [
        ({"labels": ONES, "predictions": np.ones(4)}, {}, "labels of float64 [3] and predictions of float64 [4]"),
        ({"labels": ONES, "predictions": ONES, "weights": np.ones(2)}, {}, "weights of float64 [2] for 3 labels"),
        ({"labels": ONES * 2, "predictions": ONES}, {}, "labels from 2.0 to 2.0; 0, 1 or between"),
        ({"labels": ONES * np.nan, "predictions": ONES}, {}, "labels or weights that are NaN"),
        ({"labels": ONES, "predictions": ONES * np.nan}, {}, "3 predictions, none of which is finite"),
        ({"labels": ONES[:0], "predictions": ONES[:0]}, {}, "0 predictions, none of which is finite"),
        ({"labels": ONES, "predictions": "many"}, {}, "predictions has the dtype text"),
        ({"labels": ONES, "predictions": ONES}, {"num_thresholds": 1}, "num_thresholds is 1; an integer from 2"),
        ({"curve": np.ones((5, 4))}, {}, "a curve of float64 [5, 4]; (6, n) is accepted"),
        ({"curve": np.ones((6, 0))}, {}, "a curve of float64 [6, 0]"),
        ({"curve": np.ones(6)}, {}, "curve has the shape [6]; (6, n) is accepted"),
        ({"labels": ONES}, {}, "pr_curve with the sections labels; labels, predictions or curve, optionally weights"),
    ],
)  # fmt: skip
def test_what_makes_no_curve_is_told(parts: dict[str, Any], options: dict[str, Any], told: str) -> None:
    assert told in refusal("pr_curve", options, **parts)
