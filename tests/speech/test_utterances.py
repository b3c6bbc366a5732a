"""Where utterances begin and end, to the frame."""

from itertools import pairwise

import numpy as np
import pytest

from plexbridge.audio.pcm import FRAME_SECONDS, UPLINK_FRAME_SAMPLES, Samples
from plexbridge.speech.utterances import (
    HANGOVER_FRAMES,
    LONG_FRAMES,
    LONGEST_FRAMES,
    ONSET_SECONDS,
    PRE_ROLL_FRAMES,
    SHORT_HANGOVER_FRAMES,
    Utterances,
)


def numbered(number: int) -> Samples:
    return np.full(UPLINK_FRAME_SAMPLES, number, np.float32)


class Whole:
    """One utterance, put together from its cuts."""

    def __init__(self, start_seconds: float, sound_seconds: float) -> None:
        self.start_seconds = start_seconds
        self.sound_seconds = sound_seconds
        self.numbers: list[int] = []
        self.end_seconds: float | None = None


def cut(pattern: str, *, utterances: Utterances | None = None, first: int = 1) -> list[Whole]:
    """Push a frame for each character: `v` voice, `n` noise, `-` nothing came, `x` the tick was missed."""
    cutter, found = utterances or Utterances(), list[Whole]()
    for number, kind in enumerate(pattern, start=first):
        if kind == "x":
            continue
        samples = None if kind == "-" else numbered(number)
        step = cutter.push(samples, has_voice=kind == "v", now_seconds=number * FRAME_SECONDS)
        if step.begins is not None:
            found.append(Whole(step.begins.speech_seconds, step.begins.sound_seconds))
        if step.sound:
            found[-1].numbers += [int(each[0]) for each in step.sound]
        if step.ends_seconds is not None:
            found[-1].end_seconds = step.ends_seconds
    return found


HANGOVER = "n" * HANGOVER_FRAMES


def test_an_utterance_has_the_sound_before_it_and_ends_after_the_hangover() -> None:
    (whole,) = cut("n" * 40 + "v" * 50 + "n" * 40)

    assert whole.numbers == list(range(41 - PRE_ROLL_FRAMES, 91 + HANGOVER_FRAMES))
    assert whole.sound_seconds == pytest.approx((41 - PRE_ROLL_FRAMES) * FRAME_SECONDS)
    assert whole.start_seconds == pytest.approx(41 * FRAME_SECONDS - ONSET_SECONDS)
    assert whole.end_seconds == pytest.approx(91 * FRAME_SECONDS)


def test_a_pause_shorter_than_the_hangover_is_within_the_utterance() -> None:
    (whole,) = cut("v" * 10 + "n" * (HANGOVER_FRAMES - 1) + "v" * 10 + HANGOVER)

    assert whole.end_seconds == pytest.approx((21 + HANGOVER_FRAMES - 1) * FRAME_SECONDS)


def test_what_does_not_come_is_silence_in_its_place() -> None:
    (whole,) = cut("v" * 5 + "-" * 5 + "v" * 5 + "-" * 40)

    assert whole.numbers[:15] == [1, 2, 3, 4, 5, 0, 0, 0, 0, 0, 11, 12, 13, 14, 15]
    assert whole.end_seconds == pytest.approx(16 * FRAME_SECONDS)


def test_missed_ticks_are_silence_in_their_place() -> None:
    (whole,) = cut("vvvxxxvvv" + "-" * 40)

    assert whole.numbers[:9] == [1, 2, 3, 0, 0, 0, 7, 8, 9]
    assert whole.end_seconds == pytest.approx(10 * FRAME_SECONDS)


def test_a_gap_as_long_as_the_hangover_ends_the_utterance_where_it_was() -> None:
    first, second = cut("vvv" + "x" * HANGOVER_FRAMES + "v" * 9 + "-" * 40)

    assert first.end_seconds == pytest.approx(4 * FRAME_SECONDS)
    assert second.numbers[:9] == list(range(4 + HANGOVER_FRAMES, 13 + HANGOVER_FRAMES))


def test_sound_from_before_a_gap_does_not_stand_before_an_utterance() -> None:
    (whole,) = cut("nnnnn" + "xxxxx" + "vv" + "-" * 40)

    assert whole.numbers[:2] == [11, 12]
    assert whole.sound_seconds == pytest.approx(11 * FRAME_SECONDS)


def test_sound_from_before_a_silence_does_not_stand_before_an_utterance() -> None:
    (whole,) = cut("nnnnn-nvv" + "-" * 40)

    assert whole.numbers[:3] == [7, 8, 9]


def test_a_long_utterance_ends_with_a_short_pause() -> None:
    first, second = cut("v" * LONG_FRAMES + "n" * SHORT_HANGOVER_FRAMES + "v" * 20 + HANGOVER)

    assert first.end_seconds == pytest.approx((LONG_FRAMES + 1) * FRAME_SECONDS)
    assert second.start_seconds == pytest.approx((LONG_FRAMES + SHORT_HANGOVER_FRAMES + 1) * FRAME_SECONDS)


def test_speech_without_any_pause_is_cut_and_nothing_is_lost_or_doubled() -> None:
    wholes = cut("v" * (2 * LONGEST_FRAMES + 100) + HANGOVER)

    assert [len(whole.numbers) for whole in wholes[:2]] == [LONGEST_FRAMES] * 2
    assert [number for whole in wholes for number in whole.numbers] == list(
        range(1, 2 * LONGEST_FRAMES + 101 + HANGOVER_FRAMES)
    )
    for before, after in pairwise(wholes):
        assert before.end_seconds == pytest.approx(after.start_seconds)


def test_finishing_ends_the_utterance_under_way_once() -> None:
    cutter = Utterances()
    cut("vvvvnn", utterances=cutter)

    assert cutter.finish().ends_seconds == pytest.approx(5 * FRAME_SECONDS)
    assert cutter.finish().ends_seconds is None
    assert cutter.is_idle


def test_who_sends_nothing_is_idle_and_who_sends_noise_is_not() -> None:
    cutter = Utterances()
    assert cutter.is_idle

    cut("n", utterances=cutter)
    assert not cutter.is_idle

    cut("-", utterances=cutter, first=2)
    assert cutter.is_idle


def test_an_utterance_begins_no_earlier_than_its_sound() -> None:
    (whole,) = cut("v" + HANGOVER)

    assert whole.start_seconds == whole.sound_seconds == pytest.approx(FRAME_SECONDS)
