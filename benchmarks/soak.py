"""The part `soak`: two long calls at the same time, with a server that keeps up and with one at 0.95 of real time.

Both servers are the sphn-based test server, each a process of its own; so are the two calls. What has to stay as it
was after the first second (tasks, threads, file descriptors), what must not grow (memory) and what must stay small
(the ledger's total) is taken from a sample every second.
"""

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.delay import PartDelay, part_delays
from benchmarks.observation import Observation, WatchedCall, observe
from benchmarks.progress import Progress
from plexbridge.audio.pcm import FRAMES_PER_SECOND
from plexbridge.model.conversation import STATE_SENTENCES, State
from tests.interop.environment import run_model_server

CALL_SECONDS, SHORT_CALL_SECONDS = 600.0, 15.0
SPEEDS = {"1.00": (), "0.95": ("--speed", "0.95")}
"""The calls by what the model does of real time; the first server answers as fast as it can."""
GROWTH_SECONDS = 300.0
WINDOWS = 120
"""Points in the picture; at least a second each."""


@dataclass(frozen=True, slots=True)
class Window:
    """The ledger's total over some seconds of a call."""

    t_seconds: float
    """Where the window ends."""
    p50_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the most of something that should be constant."""

    least: int
    most: int

    @property
    def is_constant(self) -> bool:
        """Whether it was."""
        return self.least == self.most

    @property
    def words(self) -> str:
        """The number, or from where to where it went."""
        return str(self.least) if self.is_constant else f"{self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class SoakedCall:
    """What became of one of the two calls."""

    speed: str
    delays: tuple[PartDelay, ...]
    windows: tuple[Window, ...]
    rss_mib: tuple[tuple[float, float], ...]
    """Second of the call and memory, for every sample."""
    rss_slope_kib_per_minute: float
    """After the warm-up."""
    tasks: Range
    threads: Range
    descriptors: Range
    cpu_share: float
    """Of one core, from the first sample to the last."""
    frames_sent: int
    messages_received: int
    underruns: int
    shed_frames: dict[str, float]
    withheld_seconds: float
    """What the person said and the model was not sent, speech and silence."""
    too_slow_notice_seconds: float | None
    """When the person was told that the model is too slow, if ever."""
    notices: tuple[tuple[float, str], ...]
    """All that the person was told, and at which second."""

    @property
    def is_model_slow(self) -> bool:
        """Whether the server was slower than real time."""
        return float(self.speed) < 1

    def delay(self, part: str) -> PartDelay:
        """Return one part of the ledger."""
        return next(delay for delay in self.delays if delay.part == part)


@dataclass(frozen=True, slots=True)
class Soak:
    """The figures of this part."""

    call_seconds: float
    calls: tuple[SoakedCall, ...]

    @property
    def is_long(self) -> bool:
        """Whether the calls lasted long enough to tell growth of memory from what every start needs."""
        return self.call_seconds >= GROWTH_SECONDS


def measure_soak(*, is_short: bool, progress: Progress) -> Soak:
    """Hold both calls; raises RuntimeError when one fails."""
    seconds = SHORT_CALL_SECONDS if is_short else CALL_SECONDS
    progress.report("soak", "starting the servers")
    with tempfile.TemporaryDirectory() as home, ExitStack() as servers:
        urls = {speed: servers.enter_context(run_model_server(*flags)).url for speed, flags in SPEEDS.items()}
        calls = {speed: WatchedCall(Path(home) / speed, seconds=seconds, url=url) for speed, url in urls.items()}
        observations = observe(calls, part="soak", seconds=seconds, progress=progress)
    return Soak(seconds, tuple(_soaked_call(speed, observation) for speed, observation in observations.items()))


def _soaked_call(speed: str, observation: Observation) -> SoakedCall:
    samples, summary = observation.samples, observation.summary
    first, last = samples[0], samples[-1]
    withheld_frames = sum(frames for reason, frames in summary.shed_frames.items() if "withheld" in reason)
    too_slow = [t for t, sentence in observation.notices if sentence == STATE_SENTENCES[State.TOO_SLOW]]
    return SoakedCall(
        speed=speed,
        delays=part_delays(observation),
        windows=_windows(observation),
        rss_mib=tuple((sample.t_seconds, sample.rss_bytes / 2**20) for sample in samples),
        rss_slope_kib_per_minute=observation.rss_slope_kib_per_minute,
        tasks=_range([sample.tasks for sample in samples]),
        threads=_range([sample.threads for sample in samples]),
        descriptors=_range([sample.descriptors for sample in samples]),
        cpu_share=(last.cpu_seconds - first.cpu_seconds) / (last.t_seconds - first.t_seconds),
        frames_sent=summary.frames_sent,
        messages_received=summary.messages_received,
        underruns=summary.underruns,
        shed_frames=summary.shed_frames,
        withheld_seconds=withheld_frames / FRAMES_PER_SECOND,
        too_slow_notice_seconds=too_slow[0] if too_slow else None,
        notices=observation.notices,
    )


def _windows(observation: Observation) -> tuple[Window, ...]:
    samples = observation.samples
    length = max(1, len(samples) // WINDOWS)
    windows = []
    for start in range(0, len(samples), length):
        part = samples[start : start + length]
        totals_ms = [delay for sample in part for delay in sample.delays_ms["total"]]
        if totals_ms:
            p50_ms, p99_ms, max_ms = (float(value) for value in np.percentile(totals_ms, (50, 99, 100)))
            windows.append(Window(part[-1].t_seconds, p50_ms, p99_ms, max_ms))
    return tuple(windows)


def _range(values: list[int]) -> Range:
    return Range(min(values), max(values))
