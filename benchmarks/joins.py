"""Many joins and leaves in one process: tasks, threads, descriptors and memory afterwards are where they were.

    python -m benchmarks.joins [--count 1000]

`plexbridge run`'s own code runs here, in this process, against a loopback Discord in another one: somebody enters a
voice channel, the bot joins with end-to-end encryption and talks to the loopback model, everybody leaves. What is
counted is counted when the bot has left: after the first ten rounds, halfway, and at the end.
"""

import argparse
import ctypes
import gc
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import psutil
import trio

from plexbridge.config import AudioConfig, ModelConfig, PersonaConfig
from plexbridge.errors import PlexbridgeError
from plexbridge.people.discord.front import Front
from plexbridge.service import hold_conversation, open_backend, session_settings
from plexbridge.session.ledger import Ledger
from plexbridge.session.link import Link
from plexbridge.talk import Talk
from tests.discord_front import open_front_at
from tests.discord_server.control import Control, run_discord_server

_libc = ctypes.CDLL(None)

WARM_UP_ROUNDS = 10
"""Pools, caches and Python's own allocator have their size by then."""
ROUND_SECONDS = 20.0
ROUNDS_PER_CONNECTION = 25
"""Discord takes 120 gateway messages a minute on one connection, and a round needs two or three of them. discord.py
would wait for its allowance, so the gateway connection is resumed in between: one more thing to leave nothing."""


@dataclass(frozen=True, slots=True)
class Count:
    """What a process has of everything that could be left behind."""

    tasks: int
    threads: int
    descriptors: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The counts before and after, and how long the end of a conversation took at worst."""

    rounds: int
    before: Count
    halfway: Count
    after: Count
    slowest_end_seconds: float

    def lines(self) -> list[str]:
        """Return a table."""
        counts = (self.before, self.halfway, self.after)
        rows = [f"{'':<14}{'before':>12}{'halfway':>12}{'after ' + str(self.rounds):>14}"]
        for name in ("tasks", "threads", "descriptors", "memory_bytes"):
            before, halfway, after = (getattr(each, name) for each in counts)
            rows.append(f"{name:<14}{before:>12}{halfway:>12}{after:>14}")
        return [*rows, f"slowest end of a conversation: {self.slowest_end_seconds * 1000:.0f} ms"]


def count() -> Count:
    """Count what this process has at the moment; free memory that the allocator has kept is handed back first."""
    gc.collect()
    if hasattr(_libc, "malloc_trim"):  # glibc
        _libc.malloc_trim(0)
    process = psutil.Process()
    return Count(
        tasks=_tasks(trio.lowlevel.current_root_task()),
        # Trio keeps idle worker threads for ten seconds.
        threads=sum(not thread.name.startswith("Trio") for thread in threading.enumerate()),
        descriptors=process.num_fds(),
        memory_bytes=process.memory_info().rss,
    )


def _tasks(task: trio.lowlevel.Task | None) -> int:
    if task is None:
        return 0
    return 1 + sum(_tasks(child) for nursery in task.child_nurseries for child in nursery.child_tasks)


async def run_rounds(rounds: int, report: Callable[[int], None] = lambda number: None) -> Outcome:
    """Hold `rounds` conversations of a moment each, after the warm-up."""
    with run_discord_server() as control:
        return await _run_rounds(control, rounds, report)


async def _run_rounds(control: Control, rounds: int, report: Callable[[int], None]) -> Outcome:
    live = _Opened()
    async with open_backend(ModelConfig(dialect="loopback")) as backend:

        async def converse(talk: Talk, starter_id: int) -> PlexbridgeError | None:
            return await hold_conversation(
                backend,
                talk.people,
                persona=PersonaConfig(),
                settings=session_settings(AudioConfig()),
                ledger=Ledger(),
                on_open=live.set,
            )

        async with open_front_at(control, converse) as front:
            person = control.add_person("Ada")
            channel = control.voice_channel()
            slowest = 0.0
            before = halfway = count()
            for number in range(WARM_UP_ROUNDS + rounds):
                if number == WARM_UP_ROUNDS:
                    await trio.sleep(0.5)
                    before = count()
                if number == WARM_UP_ROUNDS + rounds // 2:
                    await trio.sleep(0.5)
                    halfway = count()
                if number % ROUNDS_PER_CONNECTION == ROUNDS_PER_CONNECTION - 1:
                    await trio.to_thread.run_sync(_renew_gateway, control)
                seconds = await _round(control, front, live, person, channel)
                slowest = max(slowest, seconds) if number >= WARM_UP_ROUNDS else 0.0
                report(number)
            await trio.sleep(0.5)
            return Outcome(rounds, before, halfway, count(), slowest)


def _renew_gateway(control: Control) -> None:
    after = control.last_index
    control.reconnect_gateway()
    control.wait("gateway", "resumed", after=after)


class _Opened:
    """Tells when the model has shaken hands."""

    def __init__(self) -> None:
        self.event = trio.Event()

    def set(self, link: Link) -> None:
        """A conversation has begun."""
        self.event.set()


async def _round(control: Control, front: Front, live: _Opened, person: int, channel: int) -> float:
    """One conversation; return how long its end took."""
    live.event = trio.Event()
    with trio.fail_after(ROUND_SECONDS):
        await trio.to_thread.run_sync(partial(control.join, person, channel))
        await live.event.wait()
        started = trio.current_time()
        await trio.to_thread.run_sync(partial(control.leave, person))
        while front.rooms.rooms:  # noqa: ASYNC110  # seen from outside, as an operator would
            await trio.sleep(0.005)
        seconds = trio.current_time() - started
        await trio.to_thread.run_sync(partial(control.forget_heard, person))
    return seconds


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.joins", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many joins and leaves")
    rounds = parser.parse_args().count

    def report(number: int) -> None:
        if number % 100 == 0:
            print(f"{number} …", flush=True)

    for line in trio.run(run_rounds, rounds, report).lines():
        print(line)


if __name__ == "__main__":
    main()
