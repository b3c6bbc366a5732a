"""The 20 ms beat of a session: ticks on absolute deadlines, so that a late tick never shifts the next one.

A task that was held up for more than `LATE_SECONDS` does not make its missed ticks up in a burst: it is told how many
it has missed, and goes on with the present.
"""

import trio

from plexbridge.audio.pcm import FRAME_SECONDS

LATE_SECONDS = 0.04


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
        late_seconds = trio.current_time() - self.deadline_seconds
        missed = int(late_seconds / FRAME_SECONDS) if late_seconds > LATE_SECONDS else 0
        self.tick += missed + 1
        return missed
