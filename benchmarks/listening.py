"""What somebody has said and heard, packet by packet: how late the answer was, and where it had gaps. A pure core.

What is said is a *warble*: a tone that moves at random, as loud at every moment as at any other, and that never
resembles what it was a moment before. So each half second of it can be found again in an answer that gives it back,
and every gap in that answer is one that somebody made.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from scipy.signal import correlate

from plexbridge.audio.opus import Decoder
from plexbridge.audio.pcm import PEOPLE_FRAME_SAMPLES, PEOPLE_RATE_HZ, Samples

WINDOW_PACKETS = 25
"""Half a second, for which one delay is found."""
PACKET_SECONDS = PEOPLE_FRAME_SAMPLES / PEOPLE_RATE_HZ
REACH_SECONDS = 1.0
"""The longest delay that is looked for."""
ALIKE = 0.4
"""The correlation of what is an answer: there remain 0.7 with another person's whistle in it; chance makes 0.1."""
AUDIBLE_RMS = 0.03
LOWEST_HZ, HIGHEST_HZ = 300.0, 2_000.0
STEP_SECONDS = 0.05
"""Between two of the warble's tones, from each of which it glides to the next."""
LEVEL = 0.3


class Packet(Protocol):
    """A packet that was sent or heard."""

    @property
    def at_seconds(self) -> float:
        """When, on a clock that all processes share."""

    @property
    def timestamp(self) -> int:
        """Of RTP, in samples at 48 kHz, 32 bits."""

    @property
    def opus(self) -> bytes:
        """20 ms of sound."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A packet that was decoded."""

    at_seconds: float
    timestamp: int
    samples: Samples

    @property
    def is_audible(self) -> bool:
        """Whether there is anything to be heard in it."""
        return float(np.mean(np.square(self.samples))) > AUDIBLE_RMS**2


@dataclass(frozen=True, slots=True)
class Gap:
    """A time between two audible packets."""

    begin_seconds: float
    end_seconds: float

    @property
    def seconds(self) -> float:
        """How long it was; 0.02 where nothing is missing."""
        return self.end_seconds - self.begin_seconds

    def meets(self, begin_seconds: float, end_seconds: float) -> bool:
        """Say whether a part of it lies between the two."""
        return self.begin_seconds < end_seconds and self.end_seconds > begin_seconds


def warble(seconds: float, seed: int) -> Samples:
    """Return a warble at 48 kHz."""
    steps = np.random.default_rng(seed).uniform(LOWEST_HZ, HIGHEST_HZ, round(seconds / STEP_SECONDS) + 1)
    times = np.arange(round(seconds * PEOPLE_RATE_HZ)) / PEOPLE_RATE_HZ
    hz = np.interp(times, np.arange(steps.size) * STEP_SECONDS, steps)
    return (LEVEL * np.sin(2 * np.pi * np.cumsum(hz) / PEOPLE_RATE_HZ)).astype(np.float32)


def decoded(packets: Iterable[Packet]) -> list[Sound]:
    """Return the sound of packets in the order in which they are given."""
    with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
        return [Sound(each.at_seconds, each.timestamp, decoder.decode(each.opus)) for each in packets]


def delays(said: Sequence[Sound], heard: Sequence[Sound]) -> list[float]:
    """Return how many seconds late the answer was, for each half second of what was said that was answered.

    Both are in order of time. Speech that is so recent that its answer may still be on its way counts as unanswered.
    """
    arrivals = [sound.at_seconds for sound in heard]
    found = []
    for start in range(0, len(said) - WINDOW_PACKETS + 1, WINDOW_PACKETS):
        window = said[start : start + WINDOW_PACKETS]
        said_seconds, question = _laid_out(window)
        first, last = np.searchsorted(arrivals, (said_seconds, window[-1].at_seconds + REACH_SECONDS))
        if question.size != WINDOW_PACKETS * PEOPLE_FRAME_SAMPLES or last - first < WINDOW_PACKETS:
            continue
        heard_seconds, answer = _laid_out(heard[first:last])
        lag_samples = _lag(question, answer)
        if lag_samples is not None:
            found.append(heard_seconds + lag_samples / PEOPLE_RATE_HZ - said_seconds)
    return found


def _laid_out(sounds: Sequence[Sound]) -> tuple[float, Samples]:
    """Return sounds as their timestamps place them, and when that began: by the median, not by one packet's jitter.

    Where a timestamp jumps by more than `REACH_SECONDS`, what follows is left out.
    """
    offsets = [(each.timestamp - sounds[0].timestamp + (1 << 31)) % (1 << 32) - (1 << 31) for each in sounds]
    limit_samples = round((len(sounds) * PACKET_SECONDS + REACH_SECONDS) * PEOPLE_RATE_HZ)
    placed = [(at, each) for at, each in zip(offsets, sounds, strict=True) if 0 <= at < limit_samples]
    bed = np.zeros(max(at for at, _ in placed) + PEOPLE_FRAME_SAMPLES, np.float32)
    for at, each in placed:
        bed[at : at + PEOPLE_FRAME_SAMPLES] = each.samples
    return float(np.median([each.at_seconds - at / PEOPLE_RATE_HZ for at, each in placed])), bed


def _lag(question: Samples, answer: Samples) -> int | None:
    """Return where in the answer the question is; None when it is not."""
    if answer.size < question.size:
        return None
    products = correlate(answer, question, mode="valid", method="fft")
    lag_samples = int(np.argmax(products))
    there = answer[lag_samples : lag_samples + question.size]
    scale = float(np.linalg.norm(there) * np.linalg.norm(question))
    return lag_samples if scale and float(products[lag_samples]) > ALIKE * scale else None


def gaps(audible_seconds: Sequence[float]) -> list[Gap]:
    """Return the times between packets, given when the audible ones have arrived."""
    return [Gap(earlier, later) for earlier, later in pairwise(audible_seconds)]
