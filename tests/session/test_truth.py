"""Audio truth in simulated time: a minute of speech through the whole path, compared with what went in."""

import numpy as np
import pytest
import soundfile
import trio
from trio.testing import MockClock

from plexbridge.audio.pcm import (
    FRAMES_PER_SECOND,
    MODEL_RATE_HZ,
    PEOPLE_FRAME_SAMPLES,
    PEOPLE_RATE_HZ,
    UPLINK_FRAME_SAMPLES,
    Samples,
)
from plexbridge.session.ledger import Ledger
from tests.command import SPEECH
from tests.session.simulation import ScriptedPeople, SimulatedModel, hold_call
from tests.truth import clean_round_trip, compare, largest_step, resampled

MINUTE_FRAMES = 60 * FRAMES_PER_SECOND


def a_minute_of_speech() -> Samples:
    """Return the shipped sentence again and again, 60 s at 24 kHz."""
    samples, rate_hz = soundfile.read(SPEECH, dtype="float32")
    assert rate_hz == MODEL_RATE_HZ
    return np.resize(samples, MINUTE_FRAMES * UPLINK_FRAME_SAMPLES)


async def test_a_minute_of_speech_comes_back_whole_at_one_lag_and_without_a_click(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    spoken = a_minute_of_speech()
    frames = spoken.reshape(-1, UPLINK_FRAME_SAMPLES)
    people, ledger = ScriptedPeople(MINUTE_FRAMES, script=lambda tick: frames[tick]), Ledger()

    await hold_call(SimulatedModel(nursery), people, ledger)

    heard = people.heard
    match = compare(resampled(spoken, MODEL_RATE_HZ), heard)
    assert match.correlation >= 0.9
    assert max(match.window_lags_seconds) - min(match.window_lags_seconds) < 0.001
    assert heard.size == pytest.approx(60 * PEOPLE_RATE_HZ, abs=PEOPLE_FRAME_SAMPLES), "one frame per minute"
    assert np.abs(heard).max() < 1
    assert match.largest_step <= 1.5 * largest_step(clean_round_trip(spoken))
    assert not ledger.shed_frames
