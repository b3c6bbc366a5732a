"""What a run of the faults has shown: the page and the picture."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.results import machine

LIMIT_SECONDS = 5.0
"""A fault that is felt for longer fails the run."""
PAGE_CHARS = 120
PACKAGES = ("discord.py", "davey", "trio", "trio-websocket")
BLUE, ORANGE, GREY = "#0072b2", "#e69f00", "#777777"
"""Colours that people with any kind of colour vision can tell apart (Okabe and Ito)."""

INTRODUCTION = """# Faults

What people in a Discord voice channel notice when something goes wrong while they talk with the model.

    python -m benchmarks.faults   # about three minutes; writes this page, and the picture beside it
    python -m benchmarks.faults --short --out /tmp/faults.md   # three faults: does everything run?

Real processes make it: `plexbridge run` with real discord.py, a loopback Discord (REST, gateway, voice gateway, UDP,
end-to-end encryption) that does what is in the table, and a server that speaks PersonaPlex's protocol on other
people's code and answers with the caller's own sound. A person whistles, so that everything heard can be dated. All
faults of the first table happen to one session of one process, one after the other, in an order that `--seed` decides,
each of them twice:

* *answered*: the person breaks off when the fault has happened and begins a new sentence at once, in another tone. The
  seconds go from the fault to the first packet of that tone that is back at the person. What happens in two steps has
  half a second between them, which counts.
* *longest hole*: the person goes on with the same sentence, unbroken. The seconds are the longest time without sound
  from the bot. In a hole of less than a tenth of a second not more than a few packets were lost.

The command fails when either is more than {limit:.0f} s. `tests/discord_faults.py` says what each fault is in terms of
Discord's protocol; the tests `test_discord_faults.py`, `test_discord_endings.py`, `test_discord_unheard.py` and
`test_discord_model_outage.py` have more of them, in random order as well, and check that nothing is left behind."""

ENDS_INTRODUCTION = """
## What ends a conversation by design

Each in a conversation of its own. The seconds are from the event until the bot has left and everything is freed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one fault was like."""

    title: str
    answered_seconds: float | None
    """None: never, in the time that there was."""
    hole_seconds: float | None
    """None: it did not end."""
    read: tuple[str, ...]
    conversation: str
    """What became of it: it goes on, begins anew, or has ended."""

    @property
    def is_late(self) -> bool:
        """Whether people had to do without the bot for too long."""
        felt = (self.answered_seconds, self.hole_seconds)
        return any(seconds is None or seconds > LIMIT_SECONDS for seconds in felt)

    def __str__(self) -> str:
        words = f"answered {_seconds(self.answered_seconds)}, hole {_seconds(self.hole_seconds)}, {self.conversation}"
        return f"{self.title}: {words}" + (f", read {list(self.read)}" if self.read else "")


@dataclass(frozen=True, slots=True)
class Parting:
    """What ended a conversation, and how."""

    title: str
    seconds: float
    read: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run."""

    date: str
    seed: int
    is_short: bool
    load_averages: tuple[float, float]
    """The load of the whole machine over a minute, before and afterwards: other programs', too."""
    outcomes: Sequence[Outcome]
    """In the order in which they happened."""
    partings: Sequence[Parting]


def page(report: Report, picture: str) -> str:
    """Return the page; `picture` is the picture's file name."""
    faults = [
        (outcome.title, _seconds(outcome.answered_seconds), _seconds(outcome.hole_seconds), _words(outcome.read),
         outcome.conversation)
        for outcome in report.outcomes
    ]  # fmt: skip
    ends = [(parting.title, _seconds(parting.seconds), _words(parting.read)) for parting in report.partings]
    late = sum(outcome.is_late for outcome in report.outcomes)
    limit = f"within {LIMIT_SECONDS:.0f} s"
    verdict = f"{len(report.outcomes)} faults, each twice; heard and answered again {limit}: "
    verdict += "all." if not late else f"all but {late}."
    return "\n".join(
        [
            INTRODUCTION.format(limit=LIMIT_SECONDS),
            "",
            "## The latest figures",
            "",
            *textwrap.wrap(_circumstances(report), PAGE_CHARS, break_on_hyphens=False),
            "",
            verdict,
            "",
            f"![The seconds of the table as bars, a pair for each fault]({picture})",
            "",
            *_table(("what goes wrong", "answered", "longest hole", "people read", "the conversation"), faults),
            ENDS_INTRODUCTION,
            "",
            *_table(("what happens", "ended after", "people read"), ends),
            "",
        ]
    )


def _circumstances(report: Report) -> str:
    found = machine()
    command = "python -m benchmarks.faults" + (" --short" if report.is_short else "") + f" --seed {report.seed}"
    before, after = report.load_averages
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"From `{command}`, {report.date}, on a machine with {found.cores} cores ({found.processor}; {found.system}; "
        f"load {before:.1f} to {after:.1f}, other programs' too): Python {found.python}, {found.libopus}, {packages}."
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f} s"


def _words(read: Sequence[str]) -> str:
    return "<br>".join(f"“{words}”" for words in read) or "nothing"


def draw(report: Report, path: Path) -> None:
    """Write the picture, a PNG file: a pair of bars for each fault."""
    outcomes = sorted(report.outcomes, key=lambda outcome: outcome.answered_seconds or 0.0, reverse=True)
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9.0}):
        figure = Figure(figsize=(10.0, 1.2 + 0.42 * len(outcomes)), layout="constrained", dpi=110)
        axes = figure.subplots()
        places = range(len(outcomes))
        for offset, colour, label, values in (
            (-0.2, BLUE, "a new sentence is answered after", [each.answered_seconds for each in outcomes]),
            (0.2, ORANGE, "longest hole in one long sentence", [each.hole_seconds for each in outcomes]),
        ):
            # What never came is drawn as far as the picture goes.
            widths = [1.1 * LIMIT_SECONDS if value is None else value for value in values]
            bars = axes.barh([place + offset for place in places], widths, 0.38, color=colour, label=label)
            axes.bar_label(bars, [_seconds(value) for value in values], padding=3, fontsize=7.5)
        axes.axvline(LIMIT_SECONDS, color=GREY, linestyle="--", linewidth=1)
        axes.set_yticks([*places], [outcome.title for outcome in outcomes])
        axes.invert_yaxis()
        axes.set_xlabel(f"seconds; the limit is {LIMIT_SECONDS:.0f} s")
        axes.legend(frameon=False, loc="lower right")
        figure.savefig(path)
