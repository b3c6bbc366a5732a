"""How a connection to a voice channel ends, and whether that was meant: what is a goodbye, and what is made good.

A connection is used once. Whatever ends it, a new one takes its place, unless Discord or a moderator wanted the bot
out; then the conversation ends, and `FAREWELLS` says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Cause(Enum):
    """Why a connection ended; the value is for the log."""

    THROWN_OUT = "the bot was taken out of the channel"
    DISMISSED = "Discord has ended the call for the bot"
    BROKEN = "the voice gateway's connection broke"
    FAULT = "discord.py's task for the voice gateway has failed"
    ORPHANED = "Discord began a new session, to which the connection does not belong"
    RENEWED = "it is made anew because nobody is heard over it"


FAREWELLS: Mapping[Cause, str] = {
    Cause.THROWN_OUT: "I was taken out of the voice channel, so this conversation has ended.",
    Cause.DISMISSED: "Discord has taken me out of the voice channel, so this conversation has ended.",
}
"""What people read when the end was meant. Every other end is made good by joining again."""

MOVED = 4014
"""Discord has closed the connection: thrown out, or moved to another server or channel, which it then names."""

_FINAL_CODES = {MOVED, 4021, 4022}
"""Not to be answered with another attempt, says Discord's documentation: disconnected, rate limited, call ended."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of one connection."""

    cause: Cause
    detail: str = ""

    @property
    def farewell(self) -> str | None:
        """What to tell people, if it is for good; else None."""
        return FAREWELLS.get(self.cause)

    def __str__(self) -> str:
        return f"{self.cause.value} ({self.detail})" if self.detail else self.cause.value


def closed(code: int, *, is_orphaned: bool) -> Ending:
    """Return what the voice gateway's close `code` means, after no new server was named.

    Discord closes with 4014 too when the bot's session on the main gateway has ended (`is_orphaned`), which nobody
    wanted.
    """
    detail = f"close code {code}"
    if code not in _FINAL_CODES:
        return Ending(Cause.BROKEN, detail)
    return Ending(Cause.ORPHANED if is_orphaned else Cause.DISMISSED, detail)
