"""The noise that is always there: whether a sound stands out from it.

A page sends all the time, and the noise of the room with it. The noise gate trusts who begins to send until it is known
whether they speak, so that no word's beginning is lost; but who never stops never begins. So what does not stand out
from the room is taken for nothing sent, as programs for calls do that send only what is louder than the room.

A pure core. The floor is the faintest frame of the last `HISTORY_BLOCKS` half seconds.
"""

from collections import deque

BLOCK_FRAMES = 25
HISTORY_BLOCKS = 6
"""Three seconds: nobody speaks for so long without a pause in which the room is heard."""
MARGIN_DB = 6.0
"""A room's noise varies by less from frame to frame."""
HOLD_FRAMES = 15
"""300 ms: the faint end of a word belongs to it."""


class NoiseFloor:
    """Told how loud each frame is, in dBFS."""

    def __init__(self) -> None:
        self._faintest_dbfs: deque[float] = deque(maxlen=HISTORY_BLOCKS)
        self._block_dbfs: list[float] = []
        self._held_frames = 0

    def stands_out(self, dbfs: float) -> bool:
        """Say whether a frame is more than the room, or soon after one that is; at first, everything is."""
        self._block_dbfs.append(dbfs)
        if len(self._block_dbfs) == BLOCK_FRAMES:
            self._faintest_dbfs.append(min(self._block_dbfs))
            self._block_dbfs.clear()
        if not self._faintest_dbfs or dbfs > min(self._faintest_dbfs) + MARGIN_DB:
            self._held_frames = HOLD_FRAMES
        else:
            self._held_frames = max(0, self._held_frames - 1)
        return self._held_frames > 0
