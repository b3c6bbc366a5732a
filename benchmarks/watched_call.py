"""A call in a process of its own that writes down every second how it fares: what the parts `delay` and `soak` run.

    python -m benchmarks.watched_call SPEECH.wav FOLDER [URL]

holds the call of `plexbridge call` with the model at URL, or with the embedded loopback, through the same service,
session and files; only the ledger's distributions pass on what they are given. FOLDER gets `samples.jsonl`, one
`Sample` a second, `summary.json`, and `text.jsonl` as `plexbridge call` writes it.
"""

import dataclasses
import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import psutil
import trio

from plexbridge import logs
from plexbridge.config import EMBEDDED, Config, ModelConfig
from plexbridge.people.wav import open_wav_people
from plexbridge.service import hold_conversation, open_backend, session_settings
from plexbridge.session.ledger import Distribution, Ledger
from plexbridge.session.link import Link

SAMPLE_SECONDS = 1.0
TAIL_SECONDS = 1.0
PARTS = ("up", "owed", "down", "down_first_sample", "total")
"""The ledger's distributions, by the names that they have there."""


class TellingDistribution(Distribution):
    """A distribution of the ledger that also hands out what came in since it was last asked."""

    def __init__(self) -> None:
        super().__init__()
        self._recent_ms: list[float] = []

    def add(self, seconds: float) -> None:
        """Count one delay."""
        super().add(seconds)
        self._recent_ms.append(round(seconds * 1000, 1))

    def take_ms(self) -> list[float]:
        """Return the delays since the last call of this method."""
        recent_ms, self._recent_ms = self._recent_ms, []
        return recent_ms


@dataclass(frozen=True, slots=True)
class Sample:
    """One second of a call."""

    t_seconds: float
    """Since the handshake."""
    delays_ms: dict[str, list[float]]
    """What each of `PARTS` was given in this second."""
    rss_bytes: int
    cpu_seconds: float
    """Of the process since its start."""
    descriptors: int
    threads: int
    tasks: int
    """Trio's, its own included."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What the ledger says at the end of a call."""

    p50_ms: dict[str, float | None]
    p99_ms: dict[str, float | None]
    frames_sent: int
    messages_received: int
    underruns: int
    shed_frames: dict[str, float]
    first_sound_seconds: float | None


async def hold_watched_call(model: ModelConfig, speech: Path, folder: Path) -> None:
    """Hold the call; raises PlexbridgeError when it fails."""
    config = Config(model=(model,))
    ledger = Ledger()
    distributions = {part: TellingDistribution() for part in PARTS}
    for part, distribution in distributions.items():
        setattr(ledger, part, distribution)
    opened = trio.Event()

    def on_open(_: Link) -> None:
        opened.set()

    answer, text, samples = (folder / name for name in ("answer.wav", "text.jsonl", "samples.jsonl"))
    with open_wav_people(speech, answer, text, tail_seconds=TAIL_SECONDS) as people, samples.open("w") as file:
        async with open_backend(model) as backend, trio.open_nursery() as nursery:
            nursery.start_soon(_write_samples, opened, distributions, file)
            failure = await hold_conversation(
                backend,
                people,
                persona=config.persona,
                settings=session_settings(config.audio),
                ledger=ledger,
                on_open=on_open,
            )
            nursery.cancel_scope.cancel(reason="the call has ended")
    if failure is not None:
        raise failure
    (folder / "summary.json").write_text(json.dumps(dataclasses.asdict(_summary(ledger, distributions))))


async def _write_samples(opened: trio.Event, distributions: dict[str, TellingDistribution], file: IO[str]) -> None:
    process = psutil.Process()
    await opened.wait()
    start_seconds = trio.current_time()
    deadline_seconds = start_seconds
    while True:
        deadline_seconds += SAMPLE_SECONDS
        await trio.sleep_until(deadline_seconds)
        cpu = process.cpu_times()
        sample = Sample(
            t_seconds=round(trio.current_time() - start_seconds, 3),
            delays_ms={part: distribution.take_ms() for part, distribution in distributions.items()},
            rss_bytes=process.memory_info().rss,
            cpu_seconds=cpu.user + cpu.system,
            descriptors=process.num_fds(),
            threads=process.num_threads(),
            tasks=trio.lowlevel.current_statistics().tasks_living,
        )
        file.write(json.dumps(dataclasses.asdict(sample)) + "\n")
        file.flush()


def _summary(ledger: Ledger, distributions: dict[str, TellingDistribution]) -> Summary:
    def percentiles_ms(percent: float) -> dict[str, float | None]:
        seconds = {part: each.percentile_seconds(percent) for part, each in distributions.items()}
        return {part: None if value is None else value * 1000 for part, value in seconds.items()}

    return Summary(
        p50_ms=percentiles_ms(50),
        p99_ms=percentiles_ms(99),
        frames_sent=ledger.frames_sent,
        messages_received=ledger.messages_received,
        underruns=ledger.playout.underruns,
        shed_frames={reason.value: frames for reason, frames in ledger.shed_frames.items()},
        first_sound_seconds=ledger.first_sound_seconds,
    )


def main() -> None:
    """Read the command line and hold the call."""
    speech, folder, *urls = sys.argv[1:]
    logs.configure(level="warning", format="text", file=None)
    model = ModelConfig(dialect="personaplex", url=urls[0]) if urls else EMBEDDED
    trio.run(partial(hold_watched_call, model, Path(speech), Path(folder)))


if __name__ == "__main__":
    main()
