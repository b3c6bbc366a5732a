"""What a long call was like, row by row, and whether anything has grown: a pure core.

The second half of the call is compared with the first: the memory with its first reading that is no start any more,
the counts with what they were at most while as many people were there, the delay with the first half's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.listening import Gap

MEMORY_LIMIT_MIB = 2.0
DELAY_LIMIT_MS = 20.0
STABLE_ROW = 1
"""The row, counted from 0, by which all that is made once has been made."""
NOTICED_SECONDS = 0.1
"""A shorter gap is the network's, or the computer's."""
COUNTING = "counting"
"""What plexbridge is asked for once in a row, and stands still for."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was found at one moment, and since the moment before."""

    seconds: float
    """Of the call."""
    members: int
    """Who is in the channel, the bot included."""
    delays_seconds: tuple[float, ...]
    """From what was said to its answer, for each half second."""
    memory_mib: float
    counts: Mapping[str, int]
    """Tasks and so on."""
    renewals: int
    """So far."""
    visits: int
    """How many guests have come and gone so far."""

    def delay_ms(self, percentile: float) -> float:
        """Return a percentile of the delays; not a number where there were none."""
        return _percentile_ms(self.delays_seconds, percentile)

    def __str__(self) -> str:
        """Return it as one line."""
        counted = "  ".join(f"{name.replace('_', ' ')} {count}" for name, count in self.counts.items())
        return (
            f"{self.seconds / 60:5.1f} min  delay {self.delay_ms(50):.0f} / {self.delay_ms(99):.0f} ms  "
            f"memory {self.memory_mib:.1f} MiB  {counted}  renewals {self.renewals}  visits {self.visits}"
        )


@dataclass(frozen=True, slots=True)
class Event:
    """Something that makes a gap, from shortly before to shortly after."""

    name: str
    begin_seconds: float
    end_seconds: float

    def longest(self, gaps: Sequence[Gap]) -> float:
        """Return its longest gap."""
        return max((gap.seconds for gap in gaps if gap.meets(self.begin_seconds, self.end_seconds)), default=0.0)


@dataclass(frozen=True, slots=True)
class Report:
    """A whole call."""

    rows: Sequence[Row]
    gaps: Sequence[Gap]
    events: Sequence[Event]

    @property
    def elsewhere(self) -> list[Gap]:
        """The gaps for which there is no reason, those of 20 ms between two packets among them."""
        return [gap for gap in self.gaps if not any(gap.meets(e.begin_seconds, e.end_seconds) for e in self.events)]


def growth(rows: Sequence[Row]) -> list[str]:
    """Return what has grown, in words; nothing when all is well."""
    first, second = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    return [*_growth_of_memory(rows, second), *_growth_of_counts(first, second), *_growth_of_delay(first, second)]


def _growth_of_memory(rows: Sequence[Row], second: Sequence[Row]) -> Iterator[str]:
    before, after = rows[STABLE_ROW].memory_mib, max(row.memory_mib for row in second)
    if after > before + MEMORY_LIMIT_MIB:
        yield f"memory from {before:.1f} to {after:.1f} MiB"


def _growth_of_counts(first: Sequence[Row], second: Sequence[Row]) -> Iterator[str]:
    """Look at the last row: connections that are kept for half a minute after a message are no growth."""
    last = second[-1]
    for name, after in last.counts.items():
        before = max((row.counts[name] for row in first if row.members == last.members), default=0)
        if after > before:
            yield f"{name.replace('_', ' ')} from {before} to {after}"


def _growth_of_delay(first: Sequence[Row], second: Sequence[Row]) -> Iterator[str]:
    before, after = (
        _percentile_ms([delay for row in half for delay in row.delays_seconds], 99) for half in (first, second)
    )
    if not after <= before + DELAY_LIMIT_MS:
        yield f"the delay's p99 from {before:.0f} to {after:.0f} ms"


def _percentile_ms(seconds: Sequence[float], percentile: float) -> float:
    return float(np.percentile(seconds, percentile)) * 1000 if seconds else float("nan")


def document(report: Report) -> str:
    """Return it in Markdown: a table of the rows, and one of the gaps."""
    rows = [
        (
            f"{row.seconds / 60:.1f}",
            f"{row.delay_ms(50):.0f} / {row.delay_ms(99):.0f} ms",
            f"{row.memory_mib:.1f} MiB",
            *(str(count) for count in row.counts.values()),
            str(row.renewals),
            str(row.visits),
        )
        for row in report.rows
    ]
    counted = [name.replace("_", " ") for name in report.rows[0].counts]
    heads = ("minute", "delay, p50 / p99", "memory", *counted, "renewals", "visits")
    named = [event for event in report.events if event.name != COUNTING]
    counting = [event.longest(report.gaps) for event in report.events if event.name == COUNTING]
    noticed = sum(gap.seconds > NOTICED_SECONDS for gap in report.elsewhere)
    longest = [
        *((event.name, f"{event.longest(report.gaps):.2f} s") for event in named),
        (f"{COUNTING}, at most", f"{max(counting):.2f} s"),
        ("at any other time", f"{max(gap.seconds for gap in report.elsewhere):.2f} s"),
    ]
    return "\n".join(
        [
            *_table(heads, rows),
            "",
            *_table(("", "longest gap heard"), longest),
            "",
            f"Gaps of more than {NOTICED_SECONDS} s at any other time: {noticed}.",
        ]
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]
