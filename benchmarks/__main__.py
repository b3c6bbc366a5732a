"""`python -m benchmarks`: run the parts, print the tables, and write `figures.json` and `picture.png`."""

import dataclasses
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks.delay import measure_delay
from benchmarks.opus_settings import measure_opus_settings
from benchmarks.picture import draw
from benchmarks.progress import Progress
from benchmarks.results import Results, judge, machine
from benchmarks.soak import measure_soak
from benchmarks.stages import measure_stages
from benchmarks.table import print_results
from benchmarks.whole_call import measure_whole_call

PARTS = ("opus", "stages", "call", "delay", "soak")
SHORT_PARTS = ("stages", "call", "delay", "soak")
"""Settings are compared when somebody means to change them, not with every commit."""
OUT = Path(__file__).parent / "results"


@click.command()
@click.option("--short", "is_short", is_flag=True, help="Under a minute, to see that it runs; figures are rough.")
@click.option(
    "--only", "only", multiple=True, metavar="PART", type=click.Choice(PARTS),
    help=f"Run this part ({', '.join(PARTS)}); may be given several times.",
)  # fmt: skip
@click.option(
    "--out", "folder", metavar="DIR", default=OUT, type=click.Path(file_okay=False, path_type=Path),
    help="Where the files go; benchmarks/results by default.",
)  # fmt: skip
def main(is_short: bool, only: tuple[str, ...], folder: Path) -> None:
    """Measure plexbridge. The whole run takes about 15 minutes, most of it two calls of ten minutes."""
    results = Results(
        command=shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        is_short=is_short,
        machine=machine(),
    )
    progress = Progress()
    for part in only or (SHORT_PARTS if is_short else PARTS):
        _run(part, results, progress)
    progress.clear()
    results.goals = judge(results)
    print_results(results)
    folder.mkdir(parents=True, exist_ok=True)
    figures, picture = folder / "figures.json", folder / "picture.png"
    figures.write_text(json.dumps(dataclasses.asdict(results), indent=1) + "\n")
    print(f"\nfigures: {figures}")
    if draw(results, picture):
        print(f"picture: {picture}")


def _run(part: str, results: Results, progress: Progress) -> None:
    measures: Mapping[str, Callable[[], object]] = {
        "opus": measure_opus_settings,
        "stages": lambda: measure_stages(is_short=results.is_short, progress=progress),
        "call": lambda: measure_whole_call(is_short=results.is_short, progress=progress),
        "delay": lambda: measure_delay(is_short=results.is_short, progress=progress),
        "soak": lambda: measure_soak(is_short=results.is_short, progress=progress),
    }
    progress.report(part, "starting")
    before, started_seconds = os.getloadavg()[0], time.monotonic()
    setattr(results, part, measures[part]())
    results.load_averages[part] = before, os.getloadavg()[0]
    results.seconds[part] = round(time.monotonic() - started_seconds, 1)


if __name__ == "__main__":
    main()
