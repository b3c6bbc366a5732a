"""When a room in which nobody says anything is left: what is waited for, and what people read.

A pure core, shown again and again when somebody last spoke. Only time in which people could be heard counts; while the
model is away or the connection broken, they may talk as much as they like without plexbridge noticing.
"""

from enum import Enum
from math import inf

from plexbridge.people.discord.status import span

NOTICE_SECONDS = 60.0
"""How long before the end people are told; half of the time where that is less."""


class Step(Enum):
    """What is due."""

    WAIT = "nothing"
    WARN = "tell people that the end comes"
    LEAVE = "say goodbye, and leave"


class Idleness:
    """Counts the time in which nobody speaks; `limit_seconds` of infinity is never reached."""

    def __init__(self, limit_seconds: float) -> None:
        self._limit_seconds = limit_seconds
        self._notice_seconds = min(NOTICE_SECONDS, limit_seconds / 2)
        self._silent_seconds = 0.0
        self._spoke_seconds = -inf
        self._last_seconds: float | None = None
        self._is_warned = False

    @property
    def warning(self) -> str:
        """What people read before the end."""
        silent_seconds = self._limit_seconds - self._notice_seconds
        soon = "a minute" if self._notice_seconds == NOTICE_SECONDS else span(self._notice_seconds)
        return f"Nobody has said anything for {span(silent_seconds)}; I'll leave in {soon} unless somebody talks."

    @property
    def farewell(self) -> str:
        """What people read at the end."""
        return f"Nobody has said anything for {span(self._limit_seconds)}, so I leave. With /join I come again."

    def observe(self, spoke_seconds: float, now_seconds: float, *, is_listening: bool) -> Step:
        """Take when somebody last spoke (now, while somebody does), and whether it would have been noticed."""
        passed_seconds = 0.0 if self._last_seconds is None else now_seconds - self._last_seconds
        self._last_seconds = now_seconds
        if spoke_seconds > self._spoke_seconds:
            self._spoke_seconds, self._silent_seconds, self._is_warned = spoke_seconds, 0.0, False
        elif is_listening:
            self._silent_seconds += passed_seconds
        if self._silent_seconds >= self._limit_seconds:
            return Step.LEAVE
        if self._silent_seconds < self._limit_seconds - self._notice_seconds or self._is_warned:
            return Step.WAIT
        self._is_warned = True
        return Step.WARN
