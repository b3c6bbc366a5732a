"""The other side of `watched_call`: starts such calls, waits for them, and reads what they have written down."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.material import write_looped_speech
from benchmarks.progress import Progress
from benchmarks.watched_call import TAIL_SECONDS, Sample, Summary
from tests.command import ROOT, environment

START_AND_END_SECONDS = 60.0
"""What the start of a process, the handshake and the goodbye may take on a busy machine."""
POLL_SECONDS = 0.2
WARM_UP_SHARE = 0.1
"""So much of a call is not looked at for growth: buffers fill and memory is touched for the first time."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A watched call that has ended."""

    samples: tuple[Sample, ...]
    summary: Summary
    notices: tuple[tuple[float, str], ...]
    """What the person was told, and at which second of the call."""

    def delays_ms(self, part: str) -> list[float]:
        """Return every delay that this part of the ledger was given, in order."""
        return [delay for sample in self.samples for delay in sample.delays_ms[part]]

    @property
    def settled(self) -> tuple[Sample, ...]:
        """The samples after the warm-up."""
        return self.samples[int(len(self.samples) * WARM_UP_SHARE) :]

    @property
    def rss_slope_kib_per_minute(self) -> float:
        """How fast memory grew: a line through all samples after the warm-up."""
        minutes = [sample.t_seconds / 60 for sample in self.settled]
        return float(np.polyfit(minutes, [sample.rss_bytes / 1024 for sample in self.settled], 1)[0])


class WatchedCall:
    """A call in a process of its own, with `seconds` of looped speech."""

    def __init__(self, folder: Path, *, seconds: float, url: str | None) -> None:
        self._folder = folder
        self._end_seconds = time.monotonic() + seconds + START_AND_END_SECONDS
        folder.mkdir()
        speech = folder / "speech.wav"
        write_looped_speech(speech, seconds=seconds - TAIL_SECONDS)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.watched_call", str(speech), str(folder), *([url] if url else [])],
            cwd=ROOT,
            env=environment({}),
        )

    @property
    def is_running(self) -> bool:
        """Whether the call has not ended yet."""
        return self._process.poll() is None

    @property
    def has_failed(self) -> bool:
        """Whether the call ended with an error, or takes far too long."""
        is_late = self.is_running and time.monotonic() > self._end_seconds
        return is_late or bool(self._process.poll())

    @property
    def seconds_done(self) -> int:
        """How many samples there are by now."""
        path = self._folder / "samples.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def stop(self) -> None:
        """End the process if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def read(self) -> Observation:
        """Return what was observed; raises RuntimeError when the call failed."""
        if self._process.returncode:
            raise RuntimeError("the call failed; its own words are above")
        samples = [Sample(**each) for each in self._read_lines("samples.jsonl")]
        summary = Summary(**json.loads((self._folder / "summary.json").read_text()))
        events = [each for each in self._read_lines("text.jsonl") if each["kind"] == "event"]
        notices = tuple((event["t"], event["text"]) for event in events)
        return Observation(tuple(samples[:-1]), summary, notices)  # the last one may have seen the goodbye

    def _read_lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self._folder / name).read_text().splitlines()]


def observe(calls: dict[str, WatchedCall], *, part: str, seconds: float, progress: Progress) -> dict[str, Observation]:
    """Wait for all `calls` and return what was observed in each; raises RuntimeError when one failed."""
    try:
        while any(call.is_running for call in calls.values()) and not any(call.has_failed for call in calls.values()):
            done = min(call.seconds_done for call in calls.values())
            progress.report(part, f"{done} of {seconds:.0f} s")
            time.sleep(POLL_SECONDS)
    finally:
        for call in calls.values():
            call.stop()
    return {name: call.read() for name, call in calls.items()}
