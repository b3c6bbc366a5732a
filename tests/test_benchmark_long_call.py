"""The long call tells what has grown from what has not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.listening import Gap, decoded, delays, gaps, warble
from benchmarks.long_call_report import COUNTING, Event, Report, Row, document, growth
from plexbridge.audio.pcm import Samples
from tests.discord_server.speech import encode, tone

PACKET_SECONDS = 0.02


@dataclass(frozen=True)
class Packet:
    """20 ms of sound that somebody sent or heard."""

    at_seconds: float
    timestamp: int
    opus: bytes


def packets(sound: Samples, *, begin_seconds: float, timestamp: int, jitter_seconds: float = 0.0) -> list[Packet]:
    """Return a sound as packets, each as late as it pleases."""
    late = np.random.default_rng(1).uniform(0, jitter_seconds, sound.size) if jitter_seconds else np.zeros(sound.size)
    return [
        Packet(begin_seconds + at * PACKET_SECONDS + float(late[at]), (timestamp + at * 960) % (1 << 32), opus)
        for at, opus in enumerate(encode(sound))
    ]


def test_the_delay_of_an_answer_is_found_in_spite_of_jitter_and_of_somebody_who_whistles() -> None:
    said = warble(3.0, seed=1)
    heard = said + tone(2_500.0, 3.0)

    found = delays(
        decoded(packets(said, begin_seconds=100.0, timestamp=(1 << 32) - 960)),
        decoded(packets(heard, begin_seconds=100.2, timestamp=5, jitter_seconds=0.01)),
    )

    assert len(found) >= 4, "the last ones may still be on their way"
    assert found == pytest.approx([0.205] * len(found), abs=0.003)


def test_what_is_no_answer_has_no_delay() -> None:
    said, other = warble(3.0, seed=1), warble(3.0, seed=2)

    found = delays(
        decoded(packets(said, begin_seconds=100.0, timestamp=0)),
        decoded(packets(other, begin_seconds=100.2, timestamp=0)),
    )

    assert found == []


def test_a_gap_belongs_to_what_happens_then() -> None:
    found = gaps([1.0, 1.02, 1.9, 1.92, 3.0])
    restart = Event("restart", 0.5, 1.91)

    assert [round(gap.seconds, 2) for gap in found] == [0.02, 0.88, 0.02, 1.08]
    assert restart.longest(found) == pytest.approx(0.88)
    assert Report((), found, (restart,)).elsewhere == [Gap(1.92, 3.0)]


def row(
    *, memory_mib: float = 100.0, threads: int = 5, members: int = 2, delays_seconds: Sequence[float] = (0.2, 0.21)
) -> Row:
    """Return a minute like any other."""
    counts = {"trio_tasks": 20, "threads": threads}
    return Row(60.0, members, tuple(delays_seconds), memory_mib, counts, renewals=0, visits=3)


def test_a_call_that_stays_as_it_was_has_grown_in_nothing() -> None:
    rows = [row(memory_mib=90.0), row(), row(threads=6), row(memory_mib=101.9), row(threads=7), row(threads=6)]

    assert growth(rows) == []


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (row(memory_mib=102.1), "memory from 100.0 to 102.1 MiB"),
        (row(threads=6), "threads from 5 to 6"),
        (row(delays_seconds=(0.2, 0.24)), "the delay's p99 from 210 to 240 ms"),
        (row(delays_seconds=()), "the delay's p99 from 210 to nan ms"),
    ],
)
def test_what_has_grown_is_named(last: Row, words: str) -> None:
    assert growth([row(), row(), row(threads=9, members=3), last, last, last]) == [words]


def test_the_page_tells_the_gaps_apart() -> None:
    events = (Event(COUNTING, 1.0, 1.1), Event("renewal 1", 5.0, 5.5))
    heard = [Gap(1.0, 1.15), Gap(5.0, 5.8), Gap(9.0, 9.03)]

    text = document(Report([row()], heard, events))

    assert "| 1.0 | 205 / 210 ms | 100.0 MiB | 20 | 5 | 0 | 3 |" in text
    assert "| renewal 1 | 0.80 s |" in text
    assert "| counting, at most | 0.15 s |" in text
    assert "| at any other time | 0.03 s |" in text
