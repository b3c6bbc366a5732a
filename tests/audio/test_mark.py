"""The mark: soft, short, without a click, and different in both directions."""

import numpy as np
import pytest

from plexbridge.audio.mark import HIGH_HZ, LOW_HZ, NOTE_FRAMES, PEAK, mark, recording_mark
from plexbridge.audio.pcm import PEOPLE_FRAME_SAMPLES, PEOPLE_RATE_HZ, Samples, level_dbfs


def pitch_hz(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples, PEOPLE_RATE_HZ))
    return float(np.argmax(spectrum))


@pytest.mark.parametrize(("is_rising", "notes"), [(True, (LOW_HZ, HIGH_HZ)), (False, (HIGH_HZ, LOW_HZ))])
def test_two_notes_say_which_way_it_goes(is_rising: bool, notes: tuple[float, float]) -> None:
    sound = np.concatenate(mark(is_rising=is_rising))

    halves = np.split(sound, 2)
    assert [pitch_hz(half) for half in halves] == pytest.approx(notes, abs=3)


def test_three_notes_say_that_a_recording_begins() -> None:
    notes = np.split(np.concatenate(recording_mark()), 3)

    assert [pitch_hz(note) for note in notes] == pytest.approx((LOW_HZ, HIGH_HZ, LOW_HZ), abs=3)


@pytest.mark.parametrize(("frames", "notes"), [(mark(is_rising=True), 2), (recording_mark(), 3)])
def test_it_is_soft_and_has_no_click(frames: tuple[Samples, ...], notes: int) -> None:
    sound = np.concatenate(frames)

    assert [frame.shape for frame in frames] == [(PEOPLE_FRAME_SAMPLES,)] * (notes * NOTE_FRAMES)
    assert sound.dtype == np.float32
    assert np.abs(sound).max() <= PEAK
    assert -40 < level_dbfs(sound) < -25
    assert np.abs(np.diff(sound, prepend=0.0, append=0.0)).max() < 0.005
