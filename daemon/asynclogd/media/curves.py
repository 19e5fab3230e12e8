"""Precision and recall over thresholds. Source: torch/utils/tensorboard/summary.py, compute_curve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from asynclogd.media import wishes
from asynclogd.media.body import Array, Body, counted, nonfinite, shown
from asynclogd.media.forms import PR_CURVE, Encoded, UnfitError

_THRESHOLDS = 127
"""And at most: TensorBoard shows no more."""

_MINIMUM_COUNT = 1e-7

ROWS = ("true_positives", "false_positives", "true_negatives", "false_negatives", "precision", "recall")


def encode(body: Body, options: Mapping[str, Any]) -> Encoded:
    """Of labels in 0..1 and predictions in [0, 1] of one shape, or of the six rows as they are (section curve)."""
    thresholds = min(_THRESHOLDS, wishes.whole(options, "num_thresholds", _THRESHOLDS, 2, 1 << 31))
    if "curve" in body:
        rows = body.array("curve", dims=2, axes="(6, n)")
        if len(rows) != len(ROWS) or not rows.shape[1]:
            raise UnfitError(f"a curve of {shown(rows)}; (6, n) is accepted: TP, FP, TN, FN, precision, recall")
        return _encoded(rows, thresholds, nonfinite(rows))
    labels, predictions = body.array("labels").reshape(-1), body.array("predictions").reshape(-1)
    weights = body.array("weights").reshape(-1) if "weights" in body else np.ones(1)
    _check_shapes(labels, predictions, weights)
    known = np.isfinite(predictions)
    lost = predictions.size - int(np.count_nonzero(known))
    if lost == predictions.size:
        raise UnfitError(f"{predictions.size} predictions, none of which is finite; at least one is accepted")
    weights = np.broadcast_to(weights, known.shape)[known]
    rows = _curve(labels[known].astype(np.float64), predictions[known], weights.astype(np.float64), thresholds)
    return _encoded(rows, thresholds, lost)


def _check_shapes(labels: Array, predictions: Array, weights: Array) -> None:
    if labels.size != predictions.size:
        raise UnfitError(f"labels of {shown(labels)} and predictions of {shown(predictions)}; as many are accepted")
    if weights.size not in (1, labels.size):
        raise UnfitError(f"weights of {shown(weights)} for {labels.size} labels; one each, or one, is accepted")
    if nonfinite(labels) or nonfinite(weights):
        raise UnfitError("labels or weights that are NaN or infinite")
    if labels.size and not 0 <= labels.min() <= labels.max() <= 1:
        raise UnfitError(f"labels from {labels.min()} to {labels.max()}; 0, 1 or between is accepted")


def _curve(labels: Array, predictions: Array, weights: Array, thresholds: int) -> Array:
    """Predictions beyond [0, 1] are in no bucket, as in SummaryWriter's curve."""
    buckets = np.floor(predictions * (thresholds - 1)).astype(np.float64)
    span = (0, thresholds - 1)
    hits, _ = np.histogram(buckets, bins=thresholds, range=span, weights=labels * weights)
    misses, _ = np.histogram(buckets, bins=thresholds, range=span, weights=(1.0 - labels) * weights)
    tp, fp = np.cumsum(hits[::-1])[::-1], np.cumsum(misses[::-1])[::-1]
    tn, fn = fp[0] - fp, tp[0] - tp
    precision = tp / np.maximum(_MINIMUM_COUNT, tp + fp)
    recall = tp / np.maximum(_MINIMUM_COUNT, tp + fn)
    return np.stack((tp, fp, tn, fn, precision, recall))


def decode(data: bytes, n: int = -1) -> Array:
    """The rows of a stored curve, float32 (6, n) in the order of ROWS. Raises ValueError for other bytes."""
    return np.frombuffer(data, "<f4").reshape(len(ROWS), n)


def _encoded(rows: Array, thresholds: int, lost: int) -> Encoded:
    data = rows.astype("<f4").tobytes()
    return Encoded(PR_CURVE, data, {"n": rows.shape[1], "num_thresholds": thresholds, **counted(lost)})
