"""How late a page is with what it was sent, and whether it is sent more: the downlink's door.

TCP delivers everything, however late, and its buffers hold minutes. So a page says which frame it has played last, and
what it was sent and has not played is what it is late by. A page that is late by more than `LATE_FRAMES` is sent
nothing until it is late by less than `CAUGHT_UP_FRAMES`: it plays what it has, and goes on with the present.

A page that says nothing for `SILENT_SECONDS` has stopped playing, and is sent nothing either. And one that plays
nothing more of what it has for `STUCK_SECONDS`, though it says so, has thrown it away, as a page does that was put to
sleep: that is written off, and it is sent `CAUGHT_UP_FRAMES` to begin with.

A pure core; `now_seconds` is an argument, on any monotonic scale. It remembers no more than `LATE_FRAMES` and one.
"""

from collections import deque

from plexbridge.audio.pcm import FRAMES_PER_SECOND

LATE_FRAMES = 6 * FRAMES_PER_SECOND // 10
"""0.6 s: the round trip, the page's own buffer, and the time between two of its reports, for the slowest that can
still be called a conversation."""
CAUGHT_UP_FRAMES = 3 * FRAMES_PER_SECOND // 10
SILENT_SECONDS = 2.0
"""Ten reports of a usual page."""
STUCK_SECONDS = 2.0


class Lateness:
    """Told what is sent and what was played, says whether to withhold."""

    def __init__(self, now_seconds: float) -> None:
        self._unplayed: deque[int] = deque()
        """The sequence numbers of what was sent and, as far as is known, not played; at most `LATE_FRAMES` + 1."""
        self._limit_frames = LATE_FRAMES
        """How much may be unplayed."""
        self._is_late = False
        self._reported_seconds = now_seconds
        """When the page has last said anything."""
        self._moved_seconds = now_seconds
        """When it has last played something, or was sent anything."""

    @property
    def unplayed_frames(self) -> int:
        """How many frames were sent and not played."""
        return len(self._unplayed)

    def sent(self, sequence: int, *, now_seconds: float) -> None:
        """A frame goes out; sequence numbers rise."""
        self._unplayed.append(sequence)
        self._moved_seconds = now_seconds

    def played(self, sequence: int, *, now_seconds: float) -> None:
        """The page reports what it has played last; -1 is nothing."""
        before = len(self._unplayed)
        while self._unplayed and self._unplayed[0] <= sequence:
            self._unplayed.popleft()
        if len(self._unplayed) < before:
            self._moved_seconds = now_seconds
            self._limit_frames = LATE_FRAMES
        self._reported_seconds = now_seconds

    def withholds(self, now_seconds: float) -> bool:
        """Say whether the frame at hand must not be sent."""
        if now_seconds - self._reported_seconds >= SILENT_SECONDS:
            return True
        if self._is_late and now_seconds - self._moved_seconds >= STUCK_SECONDS:
            self._unplayed.clear()
            self._limit_frames = CAUGHT_UP_FRAMES
        if len(self._unplayed) > self._limit_frames:
            self._is_late = True
        elif len(self._unplayed) < CAUGHT_UP_FRAMES:
            self._is_late = False
        return self._is_late
