"""The meters of the web page."""

import json

import numpy as np
import pytest

from plexbridge.audio.pcm import Samples, silence
from plexbridge.people.web.levels import Levels

LOUD = np.full(480, 0.1, np.float32)
"""-20 dBFS."""


def reports(levels: Levels, frames: list[Samples], *, start_seconds: float = 0.0) -> list[dict[str, object]]:
    """Let frames be heard, one every 20 ms; return what was reported."""
    said = []
    for tick, samples in enumerate(frames):
        levels.heard(samples)
        levels.played(samples * np.float32(0.1))
        said.append(levels.report(start_seconds + tick * 0.02))
    return [json.loads(message) for message in said if message is not None]


def test_both_sides_are_reported_four_times_a_second() -> None:
    assert reports(Levels(), [LOUD] * 500) == [{"type": "level", "heard_dbfs": -20.0, "played_dbfs": -40.0}] * 40


def test_a_level_is_that_of_the_time_since_the_last() -> None:
    levels = Levels()
    said = reports(levels, [LOUD] * 13 + [silence(480)] * 26 + [LOUD] * 13)

    assert [message["heard_dbfs"] for message in said[:3]] == pytest.approx([-20.0, -20.0, -120.0], abs=0.5)
    assert said[-1]["heard_dbfs"] == pytest.approx(-20.0, abs=0.5)


def test_after_a_pause_the_meters_go_on_without_a_burst() -> None:
    levels = Levels()
    reports(levels, [LOUD] * 50)

    assert len(reports(levels, [LOUD] * 50, start_seconds=100.0)) == 4
