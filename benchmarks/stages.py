"""The part `stages`: CPU time per 20 ms of every stage, beside the earlier bot's, and the ratio of their codec work.

Both pipelines take turns, round by round, in one process. A ratio is formed within each round, so that what slows the
machine down for a while slows both sides of it; the median of all rounds counts.
"""

import gc
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.earlier_bot import earlier_stages
from benchmarks.material import FRAMES, make_material
from benchmarks.own_stages import own_stages
from benchmarks.progress import Progress
from benchmarks.stage import Pipeline, Stage, Way

ROUNDS, SHORT_ROUNDS = 61, 7


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all rounds."""

    median: float
    p10: float
    p90: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What one stage costs."""

    pipeline: Pipeline
    way: Way
    stage: str
    is_codec: bool
    frame_microseconds: Spread
    """CPU time per 20 ms of audio."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The codec work of both pipelines, one way."""

    way: Way
    plexbridge_microseconds: float
    earlier_microseconds: float
    ratio: Spread


@dataclass(frozen=True, slots=True)
class Stages:
    """The figures of this part."""

    rounds: int
    frames_per_round: int
    costs: tuple[Cost, ...]
    comparisons: tuple[Comparison, ...]


def measure_stages(*, is_short: bool, progress: Progress) -> Stages:
    """Run the rounds."""
    rounds = SHORT_ROUNDS if is_short else ROUNDS
    with tempfile.TemporaryDirectory() as home, ExitStack() as codecs:
        folder = Path(home)
        progress.report("stages", "preparing")
        material = make_material(folder)
        stages = (*own_stages(material, folder, codecs), *earlier_stages(material))
        seconds: dict[Stage, list[float]] = {stage: [] for stage in stages}
        for number in range(rounds):
            progress.report("stages", f"round {number + 1} of {rounds}")
            gc.collect()
            for stage in stages:
                seconds[stage].append(stage.measure())
    microseconds = {stage: np.array(values) / FRAMES * 1e6 for stage, values in seconds.items()}
    costs = tuple(
        Cost(stage.pipeline, stage.way, stage.name, stage.is_codec, _spread(values))
        for stage, values in microseconds.items()
    )
    return Stages(rounds, FRAMES, costs, tuple(_compare(microseconds, way) for way in Way))


def _compare(microseconds: Mapping[Stage, NDArray[np.float64]], way: Way) -> Comparison:
    totals = {
        pipeline: np.sum(
            [
                values
                for stage, values in microseconds.items()
                if (stage.pipeline, stage.way, stage.is_codec) == (pipeline, way, True)
            ],
            axis=0,
        )
        for pipeline in Pipeline
    }
    own, earlier = totals[Pipeline.PLEXBRIDGE], totals[Pipeline.EARLIER]
    return Comparison(way, float(np.median(own)), float(np.median(earlier)), _spread(own / earlier))


def _spread(values: NDArray[np.float64]) -> Spread:
    median, p10, p90 = (float(value) for value in np.percentile(values, (50, 10, 90)))
    return Spread(median, p10, p90)
