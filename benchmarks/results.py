"""All figures of one run, where they were measured, and which goals they meet."""

import os
import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from benchmarks.delay import Delay
from benchmarks.opus_settings import Table
from benchmarks.soak import Soak, SoakedCall
from benchmarks.stages import Stages
from benchmarks.whole_call import WholeCall
from plexbridge.audio.opus import library_version

CODEC_RATIO_LIMIT = 0.25
TOTAL_LIMIT_MS = 250.0
RSS_SLOPE_LIMIT_KIB_PER_MINUTE = 50.0
"""Half a megabyte in ten minutes: about what an allocator's noise amounts to."""
PACKAGES = ("numpy", "trio", "trio-websocket", "soxr", "scipy", "sphn", "discord.py")


@dataclass(frozen=True, slots=True)
class Machine:
    """What it ran on, without a name that would say whose it is."""

    system: str
    processor: str
    cores: int
    python: str
    libopus: str
    packages: dict[str, str]


@dataclass(frozen=True, slots=True)
class Goal:
    """Something that a figure must be, and what it is."""

    name: str
    wanted: str
    found: str
    is_met: bool


@dataclass(slots=True)
class Results:
    """The figures of one run; parts that were not run are None."""

    command: str
    started_utc: str
    is_short: bool
    machine: Machine
    load_averages: dict[str, tuple[float, float]] = field(default_factory=dict)
    """The load of the whole machine over a minute, before and after each part: other programs', too."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each part took."""
    opus: tuple[Table, ...] | None = None
    stages: Stages | None = None
    call: WholeCall | None = None
    delay: Delay | None = None
    soak: Soak | None = None
    goals: tuple[Goal, ...] = ()


def machine() -> Machine:
    """Return what this runs on."""
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=os.cpu_count() or 0,
        python=platform.python_version(),
        libopus=library_version(),
        packages={name: version(name) for name in PACKAGES},
    )


def judge(results: Results) -> tuple[Goal, ...]:
    """Return the goals of the parts that were run."""
    goals = []
    for comparison in results.stages.comparisons if results.stages else ():
        ratio = comparison.ratio
        goals.append(
            Goal(
                f"codec work {comparison.way}, of the earlier bot's",
                f"at most {CODEC_RATIO_LIMIT:.0%}",
                f"{ratio.median:.1%} ({ratio.p10:.1%} to {ratio.p90:.1%})",
                ratio.median <= CODEC_RATIO_LIMIT,
            )
        )
    if results.soak is not None:
        for call in results.soak.calls:
            goals += _judge_call(call, is_long=results.soak.is_long)
    return tuple(goals)


def _judge_call(call: SoakedCall, *, is_long: bool) -> list[Goal]:
    name = f"model at {call.speed}"
    highest_ms = call.delay("total").max_ms
    limit = f"under {TOTAL_LIMIT_MS:.0f} ms"
    goals = [Goal(f"{name}: the ledger's total", limit, f"{highest_ms:.0f} ms at most", highest_ms < TOTAL_LIMIT_MS)]
    if is_long:
        slope, limit = call.rss_slope_kib_per_minute, f"under {RSS_SLOPE_LIMIT_KIB_PER_MINUTE:.0f} KiB/min"
        is_flat = slope < RSS_SLOPE_LIMIT_KIB_PER_MINUTE
        goals.append(Goal(f"{name}: growth of memory", limit, f"{slope:+.1f} KiB/min", is_flat))
    held = {"tasks": call.tasks, "threads": call.threads, "descriptors": call.descriptors}
    found = ", ".join(f"{each.words} {what}" for what, each in held.items())
    goals.append(Goal(f"{name}: tasks and so on", "constant", found, all(each.is_constant for each in held.values())))
    notice = call.too_slow_notice_seconds
    told = "no notice" if notice is None else f"notice after {notice:.1f} s"
    goals.append(
        Goal(
            f"{name}: withheld, and said so",
            "yes" if call.is_model_slow else "no",
            f"{told}, {call.withheld_seconds:.1f} s withheld",
            (notice is not None) == (call.withheld_seconds > 0) == call.is_model_slow,
        )
    )
    return goals


def _processor() -> str:
    """Return the processor's name; Linux tells it nowhere else."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
