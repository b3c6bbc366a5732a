"""The part `delay`: what the ledger says of a call to the embedded loopback, part by part."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.observation import Observation, WatchedCall, observe
from benchmarks.progress import Progress
from benchmarks.watched_call import PARTS

CALL_SECONDS, SHORT_CALL_SECONDS = 60.0, 8.0


@dataclass(frozen=True, slots=True)
class PartDelay:
    """One part of the ledger over a call; `p50_ms` and `p99_ms` are the ledger's own, to the millisecond."""

    part: str
    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    histogram: tuple[int, ...]
    """How many delays fell into each millisecond, from 0 on."""


@dataclass(frozen=True, slots=True)
class Delay:
    """The figures of this part."""

    call_seconds: float
    parts: tuple[PartDelay, ...]


def measure_delay(*, is_short: bool, progress: Progress) -> Delay:
    """Hold one call with the embedded loopback; raises RuntimeError when it fails."""
    seconds = SHORT_CALL_SECONDS if is_short else CALL_SECONDS
    with tempfile.TemporaryDirectory() as home:
        call = WatchedCall(Path(home) / "call", seconds=seconds, url=None)
        observation = observe({"loopback": call}, part="delay", seconds=seconds, progress=progress)["loopback"]
    return Delay(seconds, part_delays(observation))


def part_delays(observation: Observation) -> tuple[PartDelay, ...]:
    """Return every part of the ledger; raises RuntimeError when one holds no delay, as then nothing came back."""
    return tuple(_part_delay(observation, part) for part in PARTS)


def _part_delay(observation: Observation, part: str) -> PartDelay:
    delays_ms = observation.delays_ms(part)
    p50_ms, p99_ms = observation.summary.p50_ms[part], observation.summary.p99_ms[part]
    if not delays_ms or p50_ms is None or p99_ms is None:
        raise RuntimeError(f"the call has nothing to say of {part}")
    bins = np.bincount(np.rint(np.maximum(delays_ms, 0)).astype(np.intp))
    return PartDelay(part, len(delays_ms), p50_ms, p99_ms, max(delays_ms), tuple(int(count) for count in bins))
