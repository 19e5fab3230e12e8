"""Sounds as WAV of 16 bits. Source: torch/utils/tensorboard/summary.py, audio."""

from __future__ import annotations

import io
import math
import wave
from collections.abc import Mapping
from typing import Any

import numpy as np

from asynclogd.media import wishes
from asynclogd.media.body import Array, Body, counted, is_float, nonfinite, shown
from asynclogd.media.forms import WAV, Encoded, UnfitError
from asynclogd.media.limits import MAX_CHANNELS, MAX_SAMPLES, check_count

_ACCEPTED = "floats in [-1, 1] or integers of their whole range, in the shape (L,), (1, L) or (C, L), are accepted"
_LARGEST = 32767
_BITS = 16


def encode(body: Body, options: Mapping[str, Any]) -> Encoded:
    """Floats are clipped to [-1, 1], NaN is silence. Integers are samples already, of which 16 bits are kept."""
    check_count("samples of audio", math.prod(body.shape("audio")), MAX_SAMPLES)
    values = body.array("audio")
    if values.dtype == bool:
        raise UnfitError(f"audio of {shown(values)}; {_ACCEPTED}")
    if not values.size:
        raise UnfitError(f"audio of {shown(values)} is empty; {_ACCEPTED}")
    channels = values.squeeze() if values.size > 1 else values.reshape(1)
    channels = channels[None] if channels.ndim == 1 else channels
    if channels.ndim != 2 or len(channels) > MAX_CHANNELS:
        raise UnfitError(f"audio of {shown(values)}; {_ACCEPTED}, C up to {MAX_CHANNELS}")
    rate = wishes.whole(options, "sample_rate", 44100, 1, 1 << 24)
    count, frames = channels.shape
    samples = _of_floats(channels) if is_float(values) else _of_integers(channels)
    about = {"sample_rate": rate, "channels": count, "frames": frames, **counted(nonfinite(values))}
    return Encoded(WAV, _wav(np.ascontiguousarray(samples.T, "<i2"), rate, count), about)


def _of_integers(values: Array) -> Array:
    """SummaryWriter clips them to -1, 0 and 1, which nobody hears. uint8 are around 128, as in WAV."""
    if values.dtype == np.uint8:
        return (values.astype(np.int16) - 128) << 8
    more = 8 * values.itemsize - _BITS
    return values >> more if more > 0 else values.astype(np.int16) << -more


def _of_floats(values: Array) -> Array:
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
