"""The CPU that plexbridge uses for each session, for more and more sessions at once: a table on standard output.

    python -m benchmarks.load [--short] [--sessions 1,10,20,40] [--picture FILE]

plexbridge runs in a process of its own and holds so many whole sessions: voice connection, transport
encryption, end-to-end encryption, jitter buffer, Opus both ways, WebSocket, playout. Everybody talks and every model
answers without a pause. Each process is kept to one core: threads of one interpreter that run on two cores wait for
each other, which costs a fifth more. All that they say was encoded and encrypted beforehand; another process only sends
it, and where that one takes more than `GENERATOR_LIMIT` of its core, the run does not count. A run in which the audio
does not arrive fails. `transcoded` is what plexbridge does; `passed on` is the other path, see `load_passing.py`.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.load_bridge import SPARE_SECONDS, WARM_UP_SECONDS, Load, Order, bridge
from benchmarks.load_generator import HEADER_MESSAGES, generate
from benchmarks.load_passing import is_splittable
from benchmarks.material import make_material
from benchmarks.progress import Progress
from benchmarks.results import machine
from plexbridge.audio.ogg import OggOpusReader, OggOpusWriter
from plexbridge.audio.pcm import MODEL_FRAME_SECONDS, MODEL_RATE_HZ

SESSIONS, SHORT_SESSIONS = "1,10,20,40", "1,4"
SECONDS, SHORT_SECONDS = 10.0, 3.0
ROUNDS, SHORT_ROUNDS = 3, 1
"""Of each path in turns; the median counts, since other programs can only make one slower."""
START_AND_END_SECONDS = 60.0
GENERATOR_LIMIT = 0.8
GOAL_SHARE, GOAL_SESSIONS = 0.025, 40
TRANSCODED, PASSED_ON = "transcoded", "passed on"
BLUE, ORANGE, GREY = "#0072b2", "#e69f00", "#777777"
"""Colours that people with any kind of colour vision can tell apart (Okabe and Ito)."""


@dataclass(frozen=True, slots=True)
class Row:
    """All rounds of one number of sessions on one path."""

    sessions: int
    path: str
    loads: tuple[Load, ...]
    failures: tuple[str, ...]
    """Why the other rounds don't count."""

    @property
    def median(self) -> Load | None:
        """The round in the middle of those that count; None without one."""
        ordered = sorted(self.loads, key=lambda load: load.session_share)
        return ordered[(len(ordered) - 1) // 2] if ordered else None

    def __str__(self) -> str:
        load = self.median
        if load is None:
            return f"| {self.sessions} | {self.path} | {' '.join(set(self.failures))} | | | | | |"
        shares = [each.session_share for each in self.loads]
        spread = f"{min(shares):.2%} to {max(shares):.2%}"
        late = " / ".join(f"{value:.1f}" for value in load.late_ms)
        return (
            f"| {self.sessions} | {self.path} | **{load.session_share:.2%}** | {spread} | {load.cpu_share:.1%}"
            f" | {load.generator_share:.1%} | {late} ms | {load.missed_ticks} |"
        )


HEADS = (
    "| sessions | down | CPU of a core per session | all rounds | whole process | generator"
    " | a tick is late: p50 / p99 / highest | ticks missed |",
    "|---|---|---|---|---|---|---|---|",
)


class _Material:
    """What everybody says, for runs of `seconds`."""

    def __init__(self, seconds: float) -> None:
        with tempfile.TemporaryDirectory() as folder:
            material = make_material(Path(folder))
        self.people = material.discord_packets
        reader = OggOpusReader()
        self.models = tuple(packet.data for page in material.server_pages for packet in reader.feed(page))
        self.pages = tuple(_endless(self.models, WARM_UP_SECONDS + seconds + SPARE_SECONDS + START_AND_END_SECONDS))


def _endless(packets: Iterable[bytes], seconds: float) -> Iterator[bytes]:
    """Yield the pages of a stream in which `packets` of 80 ms come again and again."""
    writer = OggOpusWriter(serial=1, input_rate_hz=MODEL_RATE_HZ, pre_skip_samples=0)
    headers = writer.headers()
    assert len(headers) == HEADER_MESSAGES
    yield from headers
    for packet in islice(cycle(packets), round(seconds / MODEL_FRAME_SECONDS)):
        yield writer.page(packet)


def measure(order: Order, pages: tuple[bytes, ...]) -> Load | str:
    """Run both processes once; return what was found, or why it does not count."""
    context = multiprocessing.get_context("spawn")
    at_bridge, at_generator = context.Pipe()
    here, there = context.Pipe()
    generator = context.Process(target=generate, args=(at_generator, pages))
    generator.start()
    measured = context.Process(target=bridge, args=(at_bridge, there, order, generator.pid))
    measured.start()
    try:
        for end in (at_bridge, at_generator, there):
            end.close()  # this process's own, so that the end of either process ends the other's waiting
        if not here.poll(WARM_UP_SECONDS + order.seconds + START_AND_END_SECONDS):
            return "no end in sight"
        found: Load | str = here.recv()
    except EOFError:
        return "broke off; its own words are above"
    finally:
        for process in (measured, generator):
            process.join(5.0)
            process.kill()
            process.join()
    if isinstance(found, Load) and found.generator_share > GENERATOR_LIMIT:
        return f"not counted: the generator took {found.generator_share:.0%} of its core"
    return found


def run(counts: Iterable[int], *, seconds: float, rounds: int, progress: Progress) -> tuple[list[Row], float]:
    """Measure everything; return the rows, and how many of the models' packets can be passed on."""
    material = _Material(seconds)
    rows = []
    for sessions in counts:
        found: dict[str, list[Load | str]] = {TRANSCODED: [], PASSED_ON: []}
        for number in range(rounds):
            for path, each in found.items():
                progress.report("load", f"{sessions} sessions, {path}, round {number + 1} of {rounds}")
                passed_on = material.models if path == PASSED_ON else None
                each.append(measure(Order(sessions, seconds, material.people, passed_on), material.pages))
        for path, each in found.items():
            loads = tuple(load for load in each if isinstance(load, Load))
            rows.append(Row(sessions, path, loads, tuple(words for words in each if isinstance(words, str))))
    return rows, statistics.mean(is_splittable(packet) for packet in material.models)


def draw(rows: Iterable[Row], path: Path) -> None:
    """Write the picture, a PNG file: a pair of bars for each number of sessions."""
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9.0}):
        figure = Figure(figsize=(7.0, 3.2), layout="constrained", dpi=110)
        axes = figure.subplots()
        counts = sorted({row.sessions for row in rows})
        for offset, colour, name in ((-0.2, BLUE, TRANSCODED), (0.2, ORANGE, PASSED_ON)):
            bars = [(row.sessions, row.median) for row in rows if row.path == name]
            known = [(counts.index(sessions) + offset, load.session_share * 100) for sessions, load in bars if load]
            drawn = axes.bar(
                [place for place, _ in known], [share for _, share in known], 0.38, color=colour, label=name
            )
            axes.bar_label(drawn, fmt="%.2f", padding=2, fontsize=7.5)
        axes.axhline(GOAL_SHARE * 100, color=GREY, linestyle="--", linewidth=1)
        axes.set_xticks(range(len(counts)), [f"{count} sessions" for count in counts])
        axes.set_ylabel("% of a core per session")
        axes.legend(frameon=False)
        figure.savefig(path)


def main() -> None:
    """Run the command; exits with 1 when a round does not count, or the goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--short", action="store_true", help="under a minute, to see that it runs; figures are rough")
    parser.add_argument("--sessions", help=f"how many at once, {SESSIONS} by default")
    parser.add_argument("--rounds", type=int, help="how often each is measured")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="also draw the table")
    arguments = parser.parse_args()
    counts = [
        int(count) for count in (arguments.sessions or (SHORT_SESSIONS if arguments.short else SESSIONS)).split(",")
    ]
    progress, load_before = Progress(), os.getloadavg()[0]
    rows, splittable_share = run(
        counts,
        seconds=SHORT_SECONDS if arguments.short else SECONDS,
        rounds=arguments.rounds or (SHORT_ROUNDS if arguments.short else ROUNDS),
        progress=progress,
    )
    progress.clear()
    found = machine()
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {found.cores} cores ({found.processor}; {found.system}; load {load_before:.1f}"
        f" to {os.getloadavg()[0]:.1f}, other programs' too): Python {found.python}, {found.libopus}\n"
    )
    print("\n".join((*HEADS, *map(str, rows))))
    print(f"\nof the models' packets, {splittable_share:.0%} can be passed on")
    if arguments.picture is not None:
        draw(rows, arguments.picture)
    goals = [row.median for row in rows if row.sessions == GOAL_SESSIONS and row.path == TRANSCODED]
    is_missed = any(load is None or load.session_share > GOAL_SHARE for load in goals)
    sys.exit(any(row.failures for row in rows) or is_missed)


if __name__ == "__main__":
    main()
