"""Response times: from the end of a sentence to the first sound after it, and what does not count."""

from math import inf

import pytest

from plexbridge.session.response import LIMIT_SECONDS, PAUSE_SECONDS, SENTENCE_SECONDS, ResponseTimes

TICK_SECONDS = 0.02


def times(timeline: str) -> list[float]:
    """Return the times, in seconds, that a conversation has: a column for every 100 ms.

    `s` speech, `b` the bot, `x` both, `.` neither.
    """
    responses, spoke_seconds = ResponseTimes(), -inf
    for tick in range(len(timeline) * 5):
        now_seconds = tick * TICK_SECONDS
        each = timeline[tick // 5]
        if each in "sx":
            spoke_seconds = now_seconds
        responses.listened(spoke_seconds, now_seconds=now_seconds)
        if each in "bx":
            responses.played(now_seconds=now_seconds)
    return [
        seconds
        for rank in range(1, responses.times.count + 1)
        if (seconds := responses.times.percentile_seconds(100 * rank / responses.times.count)) is not None
    ]


SILENCE = "." * 10


@pytest.mark.parametrize(
    ("timeline", "expected"),
    [
        ("sssss...bbbbbb" + SILENCE, [0.32]),
        ("sssssbbbbbbbbb" + SILENCE, [0.02]),
        ("sssss" + "." * 20 + "bbb" + SILENCE, [2.02]),
        ("sss..sss....bbb" + SILENCE, [0.42]),
        ("sss...bbb" + "." * 12 + "sss......bbb" + SILENCE, [0.32, 0.62]),
    ],
    ids=["soon", "at once", "late", "a pause in the sentence", "two sentences"],
)
def test_the_time_from_the_last_word_to_the_first_sound_counts(timeline: str, expected: list[float]) -> None:
    assert times(timeline) == pytest.approx(expected)


@pytest.mark.parametrize(
    "timeline",
    [
        SILENCE + "bbb" + SILENCE,
        "bbbbbxxxxbbbbb" + SILENCE,
        "bbbbbxxx" + SILENCE,
        "bbb..sss..bbb" + SILENCE,
        "sssssbbxxxx.." + SILENCE,
        "sss.bb.ss....." + SILENCE,
        "sss" + SILENCE,
        "sss" + "." * 85 + "bbb" + SILENCE,
        "",
    ],
    ids=[
        "the bot begins",
        "an answer that sounds already",
        "a barge-in",
        "a word between two of the bot's",
        "an answer while the sentence goes on",
        "an answer into a pause of the sentence",
        "no answer",
        "an answer after the limit",
        "nothing",
    ],
)
def test_what_is_no_waiting_for_an_answer_does_not_count(timeline: str) -> None:
    assert times(timeline) == []


def test_a_sentence_after_a_barge_in_that_ended_the_answer_counts() -> None:
    assert times("bbbxx" + "s" * 10 + "....bbb" + SILENCE) == pytest.approx([0.42])


def test_the_limits_are_in_order() -> None:
    assert SENTENCE_SECONDS <= PAUSE_SECONDS < LIMIT_SECONDS
