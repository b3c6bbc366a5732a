"""The 20 ms beat of a session: ticks on absolute deadlines, so that a late tick never shifts the next one.

A task that was held up for more than `LATE_SECONDS` does not make its missed ticks up in a burst: it is told how many
it has missed, and goes on with the present.

The beats of all sessions start on one grid of `GRID_SECONDS`, so that one wake-up serves many of them: waking up costs
as much as a good part of the work that is then done. They do not all share one moment, because the last of many would
be served late. Of all tasks that wait for the same moment, one sleeps, and wakes the others: a sleep costs as much as
the encoding of a frame, and being woken a fraction of it.
"""

from math import ceil

import trio
from outcome import Value
from trio.lowlevel import Abort, RunVar, Task, current_task, reschedule, wait_task_rescheduled

from plexbridge.audio.pcm import FRAME_SECONDS

LATE_SECONDS = 0.04
GRID_SECONDS = 0.005
"""A quarter of a beat."""


def next_start_seconds(now_seconds: float) -> float:
    """Return when a session that is ready now begins: the next point of the grid."""
    return ceil(now_seconds / GRID_SECONDS) * GRID_SECONDS


_waiting: RunVar[dict[int, list[Task]]] = RunVar("who waits for which moment")
"""By the moment in microseconds: those who wait for it, without the one who sleeps."""


async def _sleep_together(deadline_seconds: float) -> None:
    """Sleep until a moment, or be woken by who does."""
    try:
        waiting = _waiting.get()
    except LookupError:
        _waiting.set(waiting := {})
    moment = round(deadline_seconds * 1e6)
    is_over = False
    while not is_over:
        others = waiting.get(moment)
        is_over = await (_wake_others(deadline_seconds, moment, waiting) if others is None else _be_woken(others))


async def _wake_others(deadline_seconds: float, moment: int, waiting: dict[int, list[Task]]) -> bool:
    others = waiting[moment] = []
    try:
        await trio.sleep_until(deadline_seconds)
    except trio.Cancelled:
        # Another one has to sleep; the first to see that nobody does.
        for task in others:
            reschedule(task, Value(False))
        raise
    else:
        for task in others:
            reschedule(task, Value(True))
    finally:
        del waiting[moment]
    return True


async def _be_woken(others: list[Task]) -> bool:
    """Return whether the moment has come; else it has to be waited for by somebody else."""
    task = current_task()
    others.append(task)

    def leave(_: object) -> Abort:
        others.remove(task)
        return Abort.SUCCEEDED

    return bool(await wait_task_rescheduled(leave))


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
        await _sleep_together(self.deadline_seconds)
        late_seconds = trio.current_time() - self.deadline_seconds
        missed = int(late_seconds / FRAME_SECONDS) if late_seconds > LATE_SECONDS else 0
        self.tick += missed + 1
        return missed
