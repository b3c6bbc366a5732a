"""PCM: the rates fit together, a level is always a number, and conversion clips instead of wrapping around."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plexbridge.audio import pcm


def test_the_rates_and_frames_fit_together() -> None:
    assert pcm.FRAME_SECONDS == 0.02
    assert pcm.PEOPLE_FRAME_SAMPLES == pcm.PEOPLE_RATE_HZ * 20 / 1000 == 960
    assert pcm.UPLINK_FRAME_SAMPLES == pcm.MODEL_RATE_HZ * 20 / 1000 == 480
    assert pcm.MODEL_FRAME_SAMPLES == pcm.MODEL_RATE_HZ * pcm.MODEL_FRAME_SECONDS == 1920


def test_silence_is_float32_zeros() -> None:
    samples = pcm.silence(5)

    assert samples.dtype == np.float32
    assert samples.tolist() == [0.0] * 5


@pytest.mark.parametrize(
    ("samples", "dbfs"),
    [
        ([], pcm.SILENCE_DBFS),
        ([0.0] * 480, pcm.SILENCE_DBFS),
        ([1e-9] * 480, pcm.SILENCE_DBFS),
        ([1e-30] * 480, pcm.SILENCE_DBFS),
        ([1.0, -1.0] * 240, 0.0),
        ([0.1, -0.1] * 240, -20.0),
        ([0.5] + [0.0] * 99, -26.02),
        ([2.0] * 10, 6.02),
    ],
)
def test_a_level_is_the_rms_relative_to_full_scale_and_never_less_than_silence(
    samples: list[float], dbfs: float
) -> None:
    level = pcm.level_dbfs(np.array(samples, np.float32))

    assert isinstance(level, float)
    assert level == pytest.approx(dbfs, abs=0.01)


@pytest.mark.parametrize(
    ("sample", "integer"),
    [(0.0, 0), (1.0, 32767), (-1.0, -32767), (1.5, 32767), (-1.5, -32768), (1e9, 32767), (-1e9, -32768), (0.00002, 1)],
)
def test_samples_are_rounded_and_clipped_to_16_bits(sample: float, integer: int) -> None:
    converted = pcm.to_int16(np.array([sample], np.float32))

    assert converted.dtype == np.int16
    assert converted.tolist() == [integer]


def test_infinite_samples_are_clipped_too() -> None:
    assert pcm.to_int16(np.array([np.inf, -np.inf], np.float32)).tolist() == [32767, -32768]


@given(st.lists(st.integers(-32768, 32767)))
def test_16_bits_stay_within_full_scale_and_come_back_to_within_one_step(integers: list[int]) -> None:
    original = np.array(integers, np.int16)

    samples = pcm.from_int16(original)
    back = pcm.to_int16(samples)

    assert samples.dtype == np.float32
    assert np.all(np.abs(samples) <= 1)
    assert np.all(np.abs(back.astype(int) - original) <= 1)
    assert np.all(np.sign(back) == np.sign(original))
