"""Sounds beside torch.utils.tensorboard's, sample for sample."""

from __future__ import annotations

import io
import wave
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asynclogd.media.forms import WAV
from tests.daemon.media.laid import encoded, refusal


def heard(data: bytes) -> tuple[int, np.ndarray]:
    """Rate and samples (frames, channels)."""
    with wave.open(io.BytesIO(data)) as file:
        assert file.getsampwidth() == 2
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return file.getframerate(), samples.reshape(-1, file.getnchannels())


@st.composite
def sounds(draw: st.DrawFn) -> np.ndarray:
    width = draw(st.sampled_from([32, 64]))
    length = draw(st.integers(2, 200))
    shape = draw(st.sampled_from([(length,), (1, length), (length, 1)]))
    return draw(hnp.arrays(f"float{width}", shape, elements=st.floats(-1.5, 1.5, width=32)))


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@given(sounds(), st.integers(1, 96_000))
def test_the_bytes_are_those_of_summary_writer(sound: np.ndarray, rate: int) -> None:
    from torch.utils.tensorboard import summary

    (theirs,) = summary.audio("x", sound, sample_rate=rate).value
    ours = encoded("audio", {"sample_rate": rate}, audio=sound)
    assert ours.form == WAV
    assert ours.data == theirs.audio.encoded_audio_string
    assert ours.options == {
        "sample_rate": theirs.audio.sample_rate,
        "channels": theirs.audio.num_channels,
        "frames": theirs.audio.length_frames,
    }


def test_stereo() -> None:
    made = encoded("audio", {"sample_rate": 8000.0}, audio=np.array([[0.5, -0.5, 0], [1, -1, 2]], np.float32))
    rate, samples = heard(made.data)
    assert rate == 8000
    assert samples.tolist() == [[16383, 32767], [-16383, -32767], [0, 32767]]
    assert made.options == {"sample_rate": 8000, "channels": 2, "frames": 3}


@pytest.mark.parametrize(
    ("dtype", "sound"),
    [
        ("int16", [-32768, -1, 0, 300, 32767]),
        ("uint8", [0, 127, 128, 129, 255]),
        ("int8", [-128, -1, 0, 1, 127]),
        ("int32", [-(2**31), -(2**16), 0, 2**16 + 5, 2**31 - 1]),
        ("int64", [-(2**63), -(2**48), 0, 2**48 + 5, 2**63 - 1]),
    ],
)
def test_integers_are_samples_already(dtype: str, sound: list[int]) -> None:
    scale = {"int16": 1, "uint8": 1 / 256, "int8": 1 / 256, "int32": 2**16, "int64": 2**48}[dtype]
    expected = [int((sample - 128 * (dtype == "uint8")) // scale) for sample in sound]
    assert heard(encoded("audio", audio=np.array(sound, dtype)).data)[1][:, 0].tolist() == expected


def test_float16_reaches_the_loudest_sample() -> None:
    assert heard(encoded("audio", audio=np.array([1, -1, 0.5], np.float16)).data)[1][:, 0].tolist() == [
        32767,
        -32767,
        16383,
    ]


@pytest.mark.torch
def test_bfloat16() -> None:
    import torch

    made = encoded("audio", audio=torch.tensor([0.5, -1.0, 1.0], dtype=torch.bfloat16))
    assert heard(made.data)[1][:, 0].tolist() == [16383, -32767, 32767]


def test_nan_is_silence_and_infinities_are_clipped() -> None:
    made = encoded("audio", audio=np.array([np.nan, np.inf, -np.inf, 0.5], np.float32))
    assert heard(made.data)[1][:, 0].tolist() == [0, 32767, -32767, 16383]
    assert made.options["nonfinite"] == 3


def test_one_sample() -> None:
    assert heard(encoded("audio", audio=np.ones((1, 1))).data)[1].tolist() == [[32767]]


@pytest.mark.parametrize(
    ("sound", "options", "told"),
    [
        (np.zeros(5, bool), {}, "audio of bool [5]; floats in [-1, 1] or integers of their whole range"),
        (np.zeros(0, np.float32), {}, "audio of float32 [0] is empty"),
        (np.zeros((2, 3, 4)), {}, "audio of float64 [2, 3, 4]"),
        (np.zeros((33, 100)), {}, "C up to 32"),
        (np.zeros(5), {"sample_rate": 0}, "sample_rate is 0; an integer from 1"),
        (np.zeros(5), {"sample_rate": 44100.5}, "sample_rate is 44100.5"),
        (np.zeros(5), {"sample_rate": True}, "sample_rate is True"),
        ("la la", {}, "audio has the dtype text"),
    ],
)  # fmt: skip
def test_what_is_no_sound_is_told(sound: Any, options: dict[str, Any], told: str) -> None:
    assert told in refusal("audio", options, audio=sound)
