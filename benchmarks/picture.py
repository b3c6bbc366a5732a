"""The figures of a run as one picture."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.delay import Delay
from benchmarks.results import TOTAL_LIMIT_MS, Results
from benchmarks.soak import Soak, SoakedCall
from benchmarks.stage import Pipeline, Way
from benchmarks.stages import Stages

PANEL_INCHES = (7.5, 4.3)
DPI = 110
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#777777"
"""Colours that people with any kind of colour vision can tell apart (Okabe and Ito)."""
SHADES = ((BLUE, "#56a0d3", "#9cc8e8", "#d0e4f4"), ("#b35c00", ORANGE, "#f3c566", "#fae3b4"))
MEMORY_MARGIN_MIB = 3.0
HISTOGRAM_PARTS = {"up": GREEN, "down_first_sample": BLUE, "down": PURPLE, "total": GREY}

Panel = Callable[[Axes], None]


def draw(results: Results, path: Path) -> bool:
    """Write the picture, a PNG file; False when no part with a panel was run."""
    panels = _panels(results)
    if not panels:
        return False
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9.5}):
        figure = Figure(figsize=(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows), layout="constrained", dpi=DPI)
        # Each panel has a figure of its own, so that long labels of one take no room from another.
        for panel, place in zip(panels, figure.subfigures(rows, columns, squeeze=False).flat, strict=False):
            panel(place.subplots())
        figure.suptitle(_headline(results), fontsize=10)
        figure.savefig(path)
    return True


def _headline(results: Results) -> str:
    machine = results.machine
    line = f"plexbridge benchmarks, {results.started_utc[:10]}: {machine.processor}, {machine.cores} cores, "
    line += f"Python {machine.python}, {machine.libopus}"
    if results.call is None:
        return line
    call = results.call
    return (
        f"{line}\none whole call: {call.cpu_share:.1%} of a core, {call.start_rss_mib:.0f} MiB at its start, "
        f"{call.end_rss_mib:.0f} MiB after {call.call_seconds:.0f} s"
    )


def _panels(results: Results) -> list[Panel]:
    panels: list[Panel] = []
    if results.stages is not None:
        panels += [partial(_compare_codecs, results.stages), partial(_show_own_stages, results.stages)]
    if results.delay is not None:
        panels.append(partial(_show_delays, results.delay))
    if results.soak is not None:
        panels += [partial(_show_total, call) for call in results.soak.calls]
        panels.append(partial(_show_memory, results.soak))
    return panels


def _compare_codecs(stages: Stages, axes: Axes) -> None:
    labels = []
    bars = [(way, pipeline) for way in Way for pipeline in (Pipeline.EARLIER, Pipeline.PLEXBRIDGE)]
    highest = max(each.earlier_microseconds for each in stages.comparisons)
    for position, (way, pipeline) in enumerate(bars):
        labels.append(f"{way}\n{pipeline}")
        start = 0.0
        shades = SHADES[pipeline is Pipeline.EARLIER]
        costs = [each for each in stages.costs if (each.way, each.pipeline, each.is_codec) == (way, pipeline, True)]
        for cost, shade in zip(costs, shades[: len(costs)], strict=True):
            width = cost.frame_microseconds.median
            axes.barh(position, width, left=start, color=shade, edgecolor="white")
            if width > highest * 0.15:
                words = cost.stage.replace(" (", "\n(").replace(" to ", "\nto ")
                text = f"{words}\n{width:.0f}"
                axes.text(start + width / 2, position, text, ha="center", va="center", fontsize=7.5)
            start += width
        comparison = next(each for each in stages.comparisons if each.way == way)
        if pipeline is Pipeline.PLEXBRIDGE:
            total = f"{comparison.plexbridge_microseconds:.0f} µs = {comparison.ratio.median:.0%} of it"
        else:
            total = f"{comparison.earlier_microseconds:.0f} µs"
        axes.text(start + highest * 0.01, position, total, va="center")
    axes.set_yticks(range(len(bars)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, highest * 1.15)
    axes.set_xlabel("CPU µs per 20 ms of audio")
    axes.set_title("Codec work beside the earlier bot's", loc="left", fontweight="bold")


def _show_own_stages(stages: Stages, axes: Axes) -> None:
    costs = [cost for cost in stages.costs if cost.pipeline is Pipeline.PLEXBRIDGE]
    medians = [cost.frame_microseconds.median for cost in costs]
    below = [cost.frame_microseconds.median - cost.frame_microseconds.p10 for cost in costs]
    above = [cost.frame_microseconds.p90 - cost.frame_microseconds.median for cost in costs]
    colors = [BLUE if cost.is_codec else GREY for cost in costs]
    axes.barh(range(len(costs)), medians, xerr=(below, above), color=colors, error_kw={"elinewidth": 0.8})
    for position, cost in enumerate(costs):
        spread = cost.frame_microseconds
        axes.text(max(spread.p90, spread.median) + 0.5, position, f"{spread.median:.1f}", va="center", fontsize=8.5)
    axes.set_yticks(range(len(costs)), [f"{cost.way}: {cost.stage}" for cost in costs])
    axes.invert_yaxis()
    axes.set_xlabel("CPU µs per 20 ms; line: p10 to p90; grey: not codec work")
    axes.set_title("Every stage of plexbridge", loc="left", fontweight="bold")


def _show_delays(delay: Delay, axes: Axes) -> None:
    """Draw one histogram above the other, each as high as the row allows."""
    parts = [part for part in delay.parts if part.part in HISTOGRAM_PARTS]
    labels = []
    for row, part in enumerate(parts):
        heights = [row - 0.8 * count / max(part.histogram) for count in part.histogram]
        edges = [position - 0.5 for position in range(len(heights) + 1)]
        axes.stairs(heights, edges, baseline=row, fill=True, color=HISTOGRAM_PARTS[part.part])
        labels.append(f"{part.part.replace('_', ' ')}\np50 {part.p50_ms:.0f}, p99 {part.p99_ms:.0f} ms")
    axes.set_yticks(range(len(parts)), labels, va="bottom")
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.4)
    axes.set_xlim(0, 1.05 * max(part.p99_ms for part in parts) + 5)
    axes.set_xlabel("ms, in bins of 1 ms; highest bar of each row scaled to the same height")
    title = f"Delay on the embedded loopback, {delay.call_seconds:.0f} s"
    axes.set_title(title, loc="left", fontweight="bold")


def _show_total(call: SoakedCall, axes: Axes) -> None:
    seconds = [window.t_seconds for window in call.windows]
    p50_ms, p99_ms, max_ms = zip(*((each.p50_ms, each.p99_ms, each.max_ms) for each in call.windows), strict=True)
    axes.plot(seconds, max_ms, color=ORANGE, linewidth=1, label=f"highest: {max(max_ms):.0f} ms")
    axes.plot(seconds, p99_ms, color=PURPLE, linewidth=1, label=f"p99: {call.delay('total').p99_ms:.0f} ms")
    axes.plot(seconds, p50_ms, color=BLUE, linewidth=1.5, label=f"p50: {call.delay('total').p50_ms:.0f} ms")
    axes.axhline(
        TOTAL_LIMIT_MS, color="#d00000", linestyle="--", linewidth=1, label=f"goal: under {TOTAL_LIMIT_MS:.0f} ms"
    )
    notice = call.too_slow_notice_seconds
    if notice is not None:
        label = f'"too slow" told at {notice:.0f} s; {call.withheld_seconds:.1f} s withheld in all'
        axes.axvline(notice, color=GREY, linestyle=":", label=label)
    axes.set_ylim(0, max(360.0, max(max_ms) * 1.4))
    axes.set_xlabel(f"seconds of the call; a point for every {seconds[1] - seconds[0]:.0f} s")
    axes.set_ylabel("ms")
    axes.legend(frameon=False, fontsize=8.5, ncols=2, loc="upper left")
    axes.set_title(f"The ledger's total, model at {call.speed} of real time", loc="left", fontweight="bold")


def _show_memory(soak: Soak, axes: Axes) -> None:
    for call, color in zip(soak.calls, (BLUE, ORANGE), strict=True):
        seconds, mib = zip(*call.rss_mib, strict=True)
        growth = f": {call.rss_slope_kib_per_minute:+.1f} KiB/min" if soak.is_long else ""
        axes.plot(seconds, mib, color=color, label=f"model at {call.speed}{growth}")
    all_mib = [mib for call in soak.calls for _, mib in call.rss_mib]
    # Neither from zero, where a leak would be flat, nor as near as to make a mountain of every page.
    axes.set_ylim(min(all_mib) - MEMORY_MARGIN_MIB, max(all_mib) + MEMORY_MARGIN_MIB)
    axes.set_xlabel("seconds of the call")
    axes.set_ylabel("MiB")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")
    axes.set_title("Memory of the process (RSS)", loc="left", fontweight="bold")
