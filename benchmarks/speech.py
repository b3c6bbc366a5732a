"""`python -m benchmarks.speech`: what transcribing a speaker costs, and what a broken engine does to the audio.

The first table is the embedded engine: processor time of its worker for each second that somebody speaks, what of it
falls to plexbridge itself, memory, and how soon after its end an utterance has its text. The second is two people who
speak all the time, heard on the 20 ms beat of a conversation, with engines that work, hang and flood: how late the
ticks are. The servers are the tests' own, in a process of their own.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from math import nan
from pathlib import Path
from statistics import median
from typing import Literal

import click
import numpy as np
import psutil
import trio
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from benchmarks.hearing import frames, spoken
from plexbridge.audio.hearing import Hearing, HearingSettings
from plexbridge.audio.pcm import FRAME_SECONDS, Samples
from plexbridge.audio.vad import Networks
from plexbridge.config import SpeechConfig
from plexbridge.session.beat import Beat, next_start_seconds
from plexbridge.speech.embedded import EmbeddedEngine, open_embedded
from plexbridge.speech.engine import Final, SpeechEngine, SpeechEvent
from plexbridge.speech.engines import open_engine
from plexbridge.speech.line import LineStatistics
from plexbridge.speech.transcriber import Transcriber
from tests.sentences import GRAMMAR

ROOT = Path(__file__).parent.parent
ANSWER_SECONDS = 10.0
"""The default; where costs are measured, a machine that is busy otherwise shall not matter."""
PATIENT_SECONDS = 300.0
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Cost:
    """What `speakers` cost who speak at the same time; the shares are of one core, while one of them speaks."""

    speakers: int
    worker_share: float
    own_share: float
    worker_rss_mib: float
    worker_uss_mib: float
    """What would be free without it: nothing that several workers share."""
    answer_seconds: float
    """In the middle, from the end of an utterance's sound to its text."""
    missing: int


class People:
    """So many people who say the same, each beginning a second after the one before, again and again."""

    def __init__(
        self,
        speakers: int,
        tell: Callable[[SpeechEvent], None],
        engine: SpeechEngine | None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._frames = frames(spoken())
        self._speakers = range(speakers)
        networks = Networks()
        networks.make(speakers)
        self._hearing = Hearing(HearingSettings(networks=networks))
        self.transcriber = None if engine is None else Transcriber(engine, tell, answer_seconds=answer_seconds)
        self._tick = 0
        self.spoken_frames = 0

    @property
    def texts(self) -> int:
        """How many utterances have their text."""
        return sum(each.final for each in self._counted())

    @property
    def gaps(self) -> int:
        """How many have none."""
        return sum(each.behind + each.unanswered + each.failed for each in self._counted())

    def _counted(self) -> list[LineStatistics]:
        return [] if self.transcriber is None else list(self.transcriber.statistics().values())

    def close(self) -> None:
        """Free what they have borrowed."""
        self._hearing.close()

    def tick(self, now_seconds: float) -> None:
        """Hear them for 20 ms, as a conversation does."""
        sounds: Mapping[int, Samples] = {
            who: self._frames[(self._tick - 50 * who) % len(self._frames)] for who in self._speakers
        }
        self._tick += 1
        self._hearing.hear(sounds, now_seconds)
        activity = self._hearing.activity()
        voiced = {who for who in sounds if activity[who].last_spoke_seconds == now_seconds}
        self.spoken_frames += len(voiced)
        if self.transcriber is not None:
            self.transcriber.hear(sounds, voiced, now_seconds)


async def measure_cost(setup: Mapping[str, str], *, speakers: int, seconds: float) -> Cost:
    """Let people speak for so long, in real time, to an engine with a worker for each."""
    answers: list[float] = []
    origin = trio.current_time()

    def tell(event: SpeechEvent) -> None:
        if isinstance(event, Final):
            answers.append(trio.current_time() - origin - event.end_seconds)

    async with open_embedded(setup, workers=speakers) as engine:
        people = People(speakers, tell, engine, PATIENT_SECONDS)
        assert people.transcriber is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(people.transcriber.run)
            await _run_beat(people, 10.0, origin)  # every worker has started, and has heard something
            workers = [psutil.Process(pid) for pid in engine.worker_pids]
            before, own_before, frames_before = _cpu_seconds(workers), time.process_time(), people.spoken_frames
            await _run_beat(people, seconds, origin)
            spoken_seconds = (people.spoken_frames - frames_before) * FRAME_SECONDS
            worker_seconds, own_seconds = _cpu_seconds(workers) - before, time.process_time() - own_before
            memory = [worker.memory_full_info() for worker in workers]
            missing = people.gaps
            nursery.cancel_scope.cancel()
        people.close()
    return Cost(
        speakers,
        worker_seconds / spoken_seconds,
        own_seconds / spoken_seconds,
        median(each.rss for each in memory) / MIB,
        median(each.uss for each in memory) / MIB,
        median(answers or [nan]),
        missing,
    )


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return sum(each.user + each.system for each in times)


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late ticks were, and what became of the utterances."""

    p50_ms: float
    p99_ms: float
    highest_ms: float
    outcomes: str


async def measure_lateness(
    open_one: Callable[[], AbstractAsyncContextManager[SpeechEngine | None]], *, seconds: float
) -> Lateness:
    """Let two people speak for so long; return how late the beat's ticks were."""
    async with open_one() as engine:
        people = People(2, lambda event: None, engine)
        outcomes = "-"
        async with trio.open_nursery() as nursery:
            if people.transcriber is not None:
                nursery.start_soon(people.transcriber.run)
            late_seconds = await _run_beat(people, seconds, trio.current_time())
            if people.transcriber is not None:
                outcomes = f"{people.texts} texts, {people.gaps} gaps"
            nursery.cancel_scope.cancel()
        people.close()
    p50, p99 = np.percentile(late_seconds, (50, 99)) * 1000
    return Lateness(float(p50), float(p99), max(late_seconds) * 1000, outcomes)


async def _run_beat(people: People, seconds: float, origin_seconds: float) -> list[float]:
    """Hear people on the beat; return how late each tick was done, its work included."""
    beat = Beat(next_start_seconds(trio.current_time()))
    late_seconds = []
    for _ in range(round(seconds / FRAME_SECONDS)):
        await beat.wait_tick()
        people.tick(beat.due_seconds - origin_seconds)
        late_seconds.append(trio.current_time() - beat.due_seconds)
    return late_seconds


@asynccontextmanager
async def nobody() -> AsyncIterator[None]:
    """No engine."""
    yield None


@asynccontextmanager
async def working() -> AsyncIterator[SpeechEngine]:
    """Pocketsphinx, as it should be."""
    async with open_embedded({}, workers=2) as engine:
        yield engine


@asynccontextmanager
async def hanging() -> AsyncIterator[SpeechEngine]:
    """Pocketsphinx, whose workers are stopped a second after they were started, again and again."""

    async def stop_all(engine: EmbeddedEngine) -> None:
        while True:
            await trio.sleep(1.0)
            for pid in engine.worker_pids:
                os.kill(pid, signal.SIGSTOP)

    async with open_embedded({}, workers=2) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(stop_all, engine)
        yield engine
        nursery.cancel_scope.cancel()


def served(name: Literal["openai", "kyutai"], fault: str) -> Callable[[], AbstractAsyncContextManager[SpeechEngine]]:
    """Return the engine of a server that has this fault in everything it does."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[SpeechEngine]:
        with _server(name, fault) as (url, key):
            async with open_engine(SpeechConfig(engine=name, url=url, key=SecretStr(key))) as engine:
                yield engine

    return opened


@contextmanager
def _server(name: str, fault: str) -> Iterator[tuple[str, str]]:
    script = (
        f"import sys; from tests.speech_server.{name} import KEY, run_{name} as run\n"
        f"with run({fault!r}) as server:\n    print(server.url, KEY, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        url, key = process.stdout.readline().split()
        try:
            yield url, key
        finally:
            process.kill()


CASES: Mapping[str, Callable[[], AbstractAsyncContextManager[SpeechEngine | None]]] = {
    "none": nobody,
    "pocketsphinx": working,
    "pocketsphinx, its workers hang": hanging,
    "openai, the server never answers": served("openai", "never"),
    "openai, the server floods": served("openai", "floods"),
    "kyutai, the server sends words without end": served("kyutai", "floods"),
    "kyutai, the server sends steps without end": served("kyutai", "flood of steps"),
}


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="How long each of the measurements takes.")
@click.option("--only", type=click.Choice(["costs", "timing"]), help="One of the tables.")
def main(seconds: float, only: str | None) -> None:
    """Print both tables."""
    console = Console(width=140)
    console.print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    if only != "timing":
        console.print(_costs(seconds))
    if only != "costs":
        console.print(_timing(seconds))
    console.print(f"load {os.getloadavg()[0]:.1f}")


def _costs(seconds: float) -> Table:
    table = Table("pocketsphinx", "speakers", "worker", "plexbridge", "RSS", "USS", "text after", "gaps", box=None)
    setups: Mapping[str, Mapping[str, str]] = {
        "American English": {},
        "a grammar of six sentences": {"grammar": str(GRAMMAR)},
    }
    for name, setup in setups.items():
        for speakers in (1, 2):
            cost = trio.run(partial(measure_cost, setup, speakers=speakers, seconds=seconds))
            shares = (f"{cost.worker_share:.1%}", f"{cost.own_share:.1%}")
            memory = (f"{cost.worker_rss_mib:.0f} MiB", f"{cost.worker_uss_mib:.0f} MiB")
            table.add_row(name, str(speakers), *shares, *memory, f"{cost.answer_seconds:.2f} s", str(cost.missing))
    return table


def _timing(seconds: float) -> Table:
    table = Table("engine", "tick done after: p50", "p99", "highest", "outcomes", box=None)
    for name, open_one in CASES.items():
        late = trio.run(partial(measure_lateness, open_one, seconds=seconds))
        figures = (f"{late.p50_ms:.2f} ms", f"{late.p99_ms:.2f} ms", f"{late.highest_ms:.1f} ms")
        table.add_row(name, *figures, late.outcomes)
    return table


if __name__ == "__main__":
    main()
