"""Sounds as WAV of 16 bits. Source: torch/utils/tensorboard/summary.py, audio."""

from __future__ import annotations

import io
import wave
from collections.abc import Mapping
from typing import Any

import numpy as np

from asynclogd.media import wishes
from asynclogd.media.body import Array, Body, counted, is_float, nonfinite, shown
from asynclogd.media.forms import WAV, Encoded, UnfitError
from asynclogd.media.limits import MAX_CHANNELS, MAX_SAMPLES, check_count

_ACCEPTED = "floats in [-1, 1] or int16, in the shape (L,), (1, L) or (C, L), are accepted"
_LARGEST = 32767


def encode(body: Body, options: Mapping[str, Any]) -> Encoded:
    """Floats are clipped to [-1, 1], NaN is silence; int16 are samples already."""
    values = body.array("audio")
    if not is_float(values) and values.dtype != np.int16:
        raise UnfitError(f"audio of {shown(values)}; {_ACCEPTED}")
    if not values.size:
        raise UnfitError(f"audio of {shown(values)} is empty; {_ACCEPTED}")
    check_count("samples of audio", values.size, MAX_SAMPLES)
    channels = values.squeeze() if values.size > 1 else values.reshape(1)
    channels = channels[None] if channels.ndim == 1 else channels
    if channels.ndim != 2 or len(channels) > MAX_CHANNELS:
        raise UnfitError(f"audio of {shown(values)}; {_ACCEPTED}, C up to {MAX_CHANNELS}")
    rate = wishes.whole(options, "sample_rate", 44100, 1, 10_000_000)
    count, frames = channels.shape
    samples = channels if values.dtype == np.int16 else _as_samples(channels)
    about = {"sample_rate": rate, "channels": count, "frames": frames, **counted(nonfinite(values))}
    return Encoded(WAV, _wav(np.ascontiguousarray(samples.T, "<i2"), rate, count), about)


def _as_samples(values: Array) -> Array:
    # float16 can't hold 32767: 1.0 would become 32768, which wraps to the lowest sample.
    wide = values.astype(np.float32) if values.dtype == np.float16 else values
    clipped = wide.clip(-1, 1)
    samples: Array = np.where(np.isnan(clipped), 0, clipped) * clipped.dtype.type(_LARGEST)
    return samples.astype("<i2")


def _wav(samples: Array, rate: int, channels: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.data)
    return out.getvalue()
