"""Taps: who listens in, and the grid of the times that they are told."""

import pytest

from plexbridge.audio.pcm import FRAME_SECONDS, PEOPLE_FRAME_SAMPLES, UPLINK_FRAME_SAMPLES, Samples, silence
from plexbridge.session.tap import Taps

FRAME = silence(PEOPLE_FRAME_SAMPLES)


class Notes:
    """Implements `tap.Tap`."""

    def __init__(self) -> None:
        self.spoken: list[tuple[str, int, bool, float]] = []
        self.played_seconds: list[float] = []

    def spoke(self, person: str, samples: Samples, *, is_speech: bool, now_seconds: float) -> None:
        """Note it."""
        self.spoken.append((person, samples.size, is_speech, now_seconds))

    def played(self, samples: Samples, now_seconds: float) -> None:
        """Note when."""
        self.played_seconds.append(now_seconds)


def test_every_tap_is_told_from_when_it_is_added_until_it_is_removed() -> None:
    taps, first, second = Taps(), Notes(), Notes()
    assert not taps

    taps.add(first)
    taps.spoke("discord:1", silence(UPLINK_FRAME_SAMPLES), is_speech=True, due_seconds=1.0)
    taps.add(second)
    taps.spoke("discord:2", silence(UPLINK_FRAME_SAMPLES), is_speech=False, due_seconds=2.0)
    taps.remove(first)
    taps.remove(first)
    taps.played(FRAME, 0, 3.0)

    assert first.spoken == [("discord:1", 480, True, 1.0), ("discord:2", 480, False, 2.0)]
    assert second.spoken == first.spoken[1:]
    assert (first.played_seconds, second.played_seconds) == ([], [3.0])
    assert taps


def test_what_is_played_late_has_the_time_of_its_tick() -> None:
    taps, notes = Taps(), Notes()
    taps.add(notes)

    for tick, late_seconds in [(0, 0.0), (1, 0.015), (2, 0.0), (3, 0.035), (4, 0.001), (7, 0.002)]:
        taps.played(FRAME, tick, 100 + tick * FRAME_SECONDS + late_seconds)

    assert notes.played_seconds == pytest.approx([100 + tick * FRAME_SECONDS for tick in (0, 1, 2, 3, 4, 7)])


def test_a_first_frame_that_is_late_does_not_make_the_rest_late() -> None:
    taps, notes = Taps(), Notes()
    taps.add(notes)

    for tick, late_seconds in [(10, 0.03), (11, 0.0), (12, 0.01)]:
        taps.played(FRAME, tick, 100 + tick * FRAME_SECONDS + late_seconds)

    assert notes.played_seconds[1:] == pytest.approx([100.22, 100.24])


def test_another_conversation_has_another_grid() -> None:
    taps, notes = Taps(), Notes()
    taps.add(notes)
    for tick in range(3):
        taps.played(FRAME, tick, 100 + tick * FRAME_SECONDS)

    taps.played(FRAME, 0, 105.007)
    taps.played(FRAME, 1, 105.027)

    assert notes.played_seconds[3:] == pytest.approx([105.007, 105.027])


def test_the_grid_of_a_time_that_nobody_followed_is_forgotten() -> None:
    taps, notes = Taps(), Notes()
    taps.add(notes)
    taps.played(FRAME, 5, 100.0)
    taps.remove(notes)

    taps.add(notes)
    taps.played(FRAME, 50, 200.0)

    assert notes.played_seconds == pytest.approx([100.0, 200.0])
