"""What somebody who waits for a model is told: the place in the queue, and about how long it will take.

A pure core. The wait is known only where conversations have a time: the places become free in the order in which their
times end, and each is good for one who waits, and after another whole time for the next one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

MINUTE_SECONDS = 60.0
HALF_MINUTE_SECONDS = 30.0
LEAST_SECONDS = 5
"""Nobody is told of less."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A place in the queue."""

    place: int
    """The next one in turn is 1."""
    wait_seconds: float | None
    """About how long it will take; None when that depends on the others."""
    is_outage: bool = False
    """No model that will do works at the moment."""
    only: str | None = None
    """The one model that will do; None: any."""

    def __str__(self) -> str:
        """Return the sentences for people."""
        if self.only is None:
            reason = "No speech model can be reached at the moment." if self.is_outage else "All models are taken."
        else:
            trouble = "can't be reached at the moment" if self.is_outage else "is taken"
            reason = f"Model {self.only} {trouble}."
        wait = "" if self.wait_seconds is None else f", {about(self.wait_seconds)}"
        return f"{reason} You are {ordinal(self.place)} in the queue{wait}."


def expect_wait(place: int, ends_seconds: Sequence[float], slot_seconds: float) -> float | None:
    """Return how long it will take until the turn of who is at `place`; None when nobody has a place to give up.

    `ends_seconds` says in how many seconds each place becomes free.
    """
    if not ends_seconds:
        return None
    rounds, index = divmod(place - 1, len(ends_seconds))
    return sorted(ends_seconds)[index] + rounds * slot_seconds


def ordinal(number: int) -> str:
    """Return `1st`, `2nd`, `3rd`, `4th`, ..."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def about(seconds: float) -> str:
    """Return a time as people say it who don't know it exactly: to 5 s, from half a minute on to 10 s, to a minute."""
    step_seconds = 5 if seconds < HALF_MINUTE_SECONDS else 10
    rounded_seconds = max(LEAST_SECONDS, step_seconds * round(seconds / step_seconds))
    if rounded_seconds < MINUTE_SECONDS:
        return f"about {rounded_seconds} seconds"
    minutes = ceil(seconds / MINUTE_SECONDS)
    return "about a minute" if minutes == 1 else f"about {minutes} minutes"
