"""The 20 ms beat of a session: ticks on absolute deadlines, so that a late tick never shifts the next one.

A task that was held up for more than `LATE_SECONDS` does not make its missed ticks up in a burst: it is told how many
it has missed, and goes on with the present.

The beats of all sessions start on one grid of `GRID_SECONDS`, so that one wake-up serves many of them: waking up costs
as much as a good part of the work that is then done. They do not all share one moment, because the last of many would
be served late.
"""

from math import ceil

import trio

from plexbridge.audio.pcm import FRAME_SECONDS

LATE_SECONDS = 0.04
GRID_SECONDS = 0.005
"""A quarter of a beat."""


def next_start_seconds(now_seconds: float) -> float:
    """Return when a session that is ready now begins: the next point of the grid."""
    return ceil(now_seconds / GRID_SECONDS) * GRID_SECONDS


class Beat:
    """Deadlines every 20 ms from `start_seconds` (Trio's clock) on; each user has one of its own."""

    def __init__(self, start_seconds: float) -> None:
        self._start_seconds = start_seconds
        self.tick = 0
        """The number of the next tick."""

    @property
    def deadline_seconds(self) -> float:
        """When the next tick is due; computed from the start, so that nothing adds up."""
        return self._start_seconds + self.tick * FRAME_SECONDS

    @property
    def due_seconds(self) -> float:
        """When the tick was due that `wait_tick` has last returned for."""
        return self._start_seconds + (self.tick - 1) * FRAME_SECONDS

    async def wait_tick(self) -> int:
        """Sleep until the next tick and return the number of ticks missed before it, which is 0 unless late.

        Afterwards `tick` is the number of the tick after this one.
        """
        await trio.sleep_until(self.deadline_seconds)
        return self.take_tick()

    def take_tick(self) -> int:
        """As `wait_tick`, for a tick that is due already."""
        late_seconds = trio.current_time() - self.deadline_seconds
        missed = int(late_seconds / FRAME_SECONDS) if late_seconds > LATE_SECONDS else 0
        self.tick += missed + 1
        return missed
