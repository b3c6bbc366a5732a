"""One stage of a pipeline as the part `stages` measures it: a piece of work on one round of frames, repeated."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Way(StrEnum):
    """The direction that a stage works in."""

    UP = "up"
    DOWN = "down"


class Pipeline(StrEnum):
    """Whose stage it is."""

    PLEXBRIDGE = "plexbridge"
    EARLIER = "earlier bot"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage and how to measure it."""

    pipeline: Pipeline
    way: Way
    name: str
    is_codec: bool
    """Whether it is a part of the codec work, which both pipelines do and which is compared."""
    measure: Callable[[], float]
    """Takes one round of frames through the stage and returns the CPU time of that in seconds."""


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time that `work` takes in all threads of this process, where other programs don't count."""
    start_seconds = time.process_time()
    work()
    return time.process_time() - start_seconds
