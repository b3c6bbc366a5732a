"""The mixer: an exact sum below the threshold, and a limiter that bends what is above."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from plexbridge.audio.mixer import THRESHOLD, limited, mix
from plexbridge.audio.pcm import MODEL_RATE_HZ, UPLINK_FRAME_SAMPLES, Samples

FRAMES = arrays(np.float32, 16, elements=st.floats(-4, 4, width=32))
QUIET_FRAMES = arrays(np.float32, 16, elements=st.floats(-0.75, 0.75, width=32))


def tone(hz: float, level: float) -> Samples:
    phase = np.arange(UPLINK_FRAME_SAMPLES) * (2 * np.pi * hz / MODEL_RATE_HZ)
    return np.asarray(level * np.sin(phase), np.float32)


def values(*numbers: float) -> Samples:
    return np.array(numbers, np.float32)


def test_nobody_is_silence() -> None:
    mixed = mix([], 480)

    assert mixed.dtype == np.float32
    assert mixed.tolist() == [0.0] * 480


@given(QUIET_FRAMES)
def test_one_voice_below_the_threshold_is_unchanged(frame: Samples) -> None:
    assert np.array_equal(mix([frame], 16), frame)


def test_voices_are_added_and_not_divided_by_their_number() -> None:
    voices = [tone(150.0 * (1 + number), 0.09) for number in range(8)]

    assert np.array_equal(mix(voices, UPLINK_FRAME_SAMPLES), np.sum(voices, axis=0, dtype=np.float32))


def test_a_voice_is_as_loud_with_seven_silent_ones_as_alone() -> None:
    voice = tone(440, 0.7)

    assert np.array_equal(mix([voice, *[tone(1, 0)] * 7], UPLINK_FRAME_SAMPLES), voice)


def test_the_voices_themselves_are_left_as_they_are() -> None:
    voice = tone(440, 2.0)
    before = voice.copy()

    mix([voice, voice], UPLINK_FRAME_SAMPLES)
    limited(voice)

    assert np.array_equal(voice, before)


def test_above_the_threshold_the_curve_is_the_one_that_is_written_down() -> None:
    bent = limited(values(0.8, 0.9, 1.0, 1.2, 2.0, 8.8))

    expected = [0.8, 0.8 + 0.2 * 0.1 / 0.3, 0.9, 0.8 + 0.2 * 0.4 / 0.6, 0.8 + 0.2 * 1.2 / 1.4, 0.8 + 0.2 * 8 / 8.2]
    assert bent.dtype == np.float32
    assert bent.tolist() == values(*expected).tolist()


def test_the_curve_leaves_the_threshold_without_a_corner() -> None:
    just_below, at, just_above = limited(values(THRESHOLD - 0.001, THRESHOLD, THRESHOLD + 0.001)).tolist()

    assert just_above - at == pytest.approx(at - just_below, rel=0.01)


@given(FRAMES)
def test_the_curve_is_odd_and_never_above_full_scale(frame: Samples) -> None:
    assert np.array_equal(limited(-frame), -limited(frame))
    assert np.abs(limited(frame)).max() <= 1


@pytest.mark.parametrize(("lowest", "highest"), [(-1.1, 1.1), (0.79, 0.81), (1.2, 3.0), (3.0, 100.0), (100.0, 1e9)])
def test_the_curve_never_falls(lowest: float, highest: float) -> None:
    rising = np.linspace(lowest, highest, 200_001).astype(np.float32)

    bent = limited(rising)

    assert (np.diff(bent) >= 0).all()
    assert bent[-1] > bent[0]


@given(frame=QUIET_FRAMES, louder=FRAMES)
def test_what_stays_below_the_threshold_is_exact_whatever_lies_beside_it(frame: Samples, louder: Samples) -> None:
    both = limited(np.concatenate((frame, louder)))

    assert np.array_equal(both[:16], frame)


def test_eight_people_at_full_scale_stay_within_it() -> None:
    mixed = mix([tone(440, 1.0)] * 8, UPLINK_FRAME_SAMPLES)

    assert 0.98 < np.abs(mixed).max() <= 1


@pytest.mark.parametrize("monster", [1e7, -1e7, np.inf, -np.inf])
def test_a_frame_far_beyond_full_scale_does_not_drown_the_others_out(monster: float) -> None:
    voice = tone(440, 0.5)
    noise = np.full(UPLINK_FRAME_SAMPLES, monster, np.float32)

    mixed = mix([voice, noise], UPLINK_FRAME_SAMPLES)

    assert np.abs(mixed).max() <= 1
    assert np.corrcoef(mixed, voice)[0, 1] > 0.9


def test_eight_voices_below_the_threshold_are_their_exact_sum_sample_by_sample() -> None:
    """Levels are powers of two, so that every sum is a number of float32 and no rounding can hide a fault."""
    chance = np.random.default_rng(3)
    voices = [chance.integers(-24, 25, UPLINK_FRAME_SAMPLES).astype(np.float32) / np.float32(256) for _ in range(8)]

    mixed = mix(voices, UPLINK_FRAME_SAMPLES)

    expected = [sum(int(voice[place] * 256) for voice in voices) for place in range(UPLINK_FRAME_SAMPLES)]
    assert max(map(abs, expected)) < THRESHOLD * 256
    assert [int(sample * 256) for sample in mixed] == expected


def test_the_limiter_touches_those_samples_only_whose_sum_is_above_the_threshold() -> None:
    one, other = tone(200, 0.6), tone(310, 0.6)
    total = one + other

    mixed = mix([one, other], UPLINK_FRAME_SAMPLES)

    is_over = np.abs(total) > THRESHOLD
    assert 20 < np.count_nonzero(is_over) < 460
    assert np.array_equal(mixed[~is_over], total[~is_over])
    assert (np.abs(mixed[is_over]) < np.abs(total[is_over])).all()
    assert (np.sign(mixed) == np.sign(total)).all()
