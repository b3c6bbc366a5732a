"""The figures of a run as tables on a terminal."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from benchmarks.delay import Delay
from benchmarks.opus_settings import print_opus_settings
from benchmarks.results import Goal, Machine, Results
from benchmarks.soak import Soak
from benchmarks.stage import Pipeline, Way
from benchmarks.stages import Stages
from benchmarks.whole_call import WholeCall

WIDTH = 120


def print_results(results: Results) -> None:
    """Print every part that was run, and the goals."""
    console = Console(width=WIDTH, highlight=False)
    console.print(_machine_line(results.machine))
    if results.opus is not None:
        print_opus_settings(results.opus)
    for title, table in _tables(results):
        console.print(f"\n[bold]{title}[/]")
        console.print(table)


def _tables(results: Results) -> Iterator[tuple[str, Table]]:
    if stages := results.stages:
        yield f"CPU us per 20 ms of audio, {stages.rounds} rounds of {stages.frames_per_round} frames", _stages(stages)
        yield "Codec work, CPU us per 20 ms of audio", _comparisons(stages)
    if call := results.call:
        yield f"One whole plexbridge call of {call.call_seconds:.0f} s", _call(call)
    if delay := results.delay:
        yield f"The delay ledger in a call of {delay.call_seconds:.0f} s to the embedded loopback, ms", _delay(delay)
    if soak := results.soak:
        title = f"Two calls of {soak.call_seconds:.0f} s at the same time, to models at 1.00 and 0.95 of real time"
        yield title, _soak(soak)
    if results.goals:
        yield "Goals", _goals(results.goals)


def _new(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _machine_line(machine: Machine) -> str:
    return (
        f"{machine.processor}, {machine.cores} cores; {machine.system}; Python {machine.python}; {machine.libopus}; "
        + ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    )


def _stages(stages: Stages) -> Table:
    table = _new("stage", "p50", "p10", "p90", "codec work")
    for way in Way:
        for pipeline in Pipeline:
            table.add_row(f"[bold]{way}, {pipeline}")
            for cost in stages.costs:
                if (cost.way, cost.pipeline) == (way, pipeline):
                    spread = cost.frame_microseconds
                    figures = (f"{value:.1f}" for value in (spread.median, spread.p10, spread.p90))
                    table.add_row(f"  {cost.stage}", *figures, "yes" if cost.is_codec else "")
    return table


def _comparisons(stages: Stages) -> Table:
    table = _new("way", "plexbridge", "earlier bot", "ratio", "p10", "p90")
    for each in stages.comparisons:
        ratios = (f"{value:.3f}" for value in (each.ratio.median, each.ratio.p10, each.ratio.p90))
        table.add_row(each.way, f"{each.plexbridge_microseconds:.1f}", f"{each.earlier_microseconds:.1f}", *ratios)
    return table


def _call(call: WholeCall) -> Table:
    table = _new("", "")
    table.add_row("CPU, of one core", f"{call.cpu_share:.1%}")
    table.add_row("CPU per 20 ms", f"{call.frame_cpu_microseconds:.0f} us")
    table.add_row("CPU before the call", f"{call.start_up_cpu_seconds:.2f} s")
    table.add_row("memory at the start", f"{call.start_rss_mib:.1f} MiB")
    table.add_row("memory at the end", f"{call.end_rss_mib:.1f} MiB")
    table.add_row("memory at most", f"{call.peak_rss_mib:.1f} MiB")
    table.add_row("threads", str(call.threads))
    return table


def _delay(delay: Delay) -> Table:
    table = _new("part of the ledger", "delays", "p50", "p99", "highest")
    for part in delay.parts:
        table.add_row(part.part, str(part.count), f"{part.p50_ms:.0f}", f"{part.p99_ms:.0f}", f"{part.max_ms:.0f}")
    return table


def _soak(soak: Soak) -> Table:
    calls = soak.calls
    table = _new("model", *(call.speed for call in calls))
    for part in ("up", "owed", "down", "total"):
        delays = [call.delay(part) for call in calls]
        figures = (f"{each.p50_ms:.0f} / {each.p99_ms:.0f} / {each.max_ms:.0f} ms" for each in delays)
        table.add_row(f"{part}: p50 / p99 / highest", *figures)
    table.add_row("frames sent", *(str(call.frames_sent) for call in calls))
    table.add_row("messages received", *(str(call.messages_received) for call in calls))
    table.add_row("withheld from the model", *(f"{call.withheld_seconds:.1f} s" for call in calls))
    for reason in sorted({reason for call in calls for reason in call.shed_frames}):
        table.add_row(f"frames shed: {reason}", *(f"{call.shed_frames.get(reason, 0):.1f}" for call in calls))
    table.add_row("gaps in the answer", *(str(call.underruns) for call in calls))
    table.add_row("CPU, of one core", *(f"{call.cpu_share:.1%}" for call in calls))
    table.add_row(
        "memory, first and last", *(f"{call.rss_mib[0][1]:.1f}, {call.rss_mib[-1][1]:.1f} MiB" for call in calls)
    )
    if soak.is_long:
        table.add_row("memory, growth", *(f"{call.rss_slope_kib_per_minute:+.1f} KiB/min" for call in calls))
    return table


def _goals(goals: tuple[Goal, ...]) -> Table:
    table = _new("what", "wanted", "found", "met")
    for goal in goals:
        table.add_row(goal.name, goal.wanted, goal.found, "yes" if goal.is_met else "[bold red]NO")
    return table
