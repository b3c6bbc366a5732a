"""Whose time at a model is up: a conversation has a limited time only while somebody waits.

A pure core. As many conversations are warned as there are rooms that wait, the longest first, each when its time is
nearly over; `lead_seconds` later its turn ends. Nobody is ended without the whole warning, however long they have had.
A warning is taken back when those who waited have got a place otherwise, or gone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

WARNING_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One conversation's time."""

    began_seconds: float
    end_seconds: float | None = None
    """When it ends; None as long as nothing of that was said."""


class Turns:
    """Rules for turns of `slot_seconds`; 0 is without a limit."""

    def __init__(self, slot_seconds: float) -> None:
        self.slot_seconds = slot_seconds or inf
        self.lead_seconds = min(WARNING_SECONDS, slot_seconds / 2)

    def to_warn(self, turns: Mapping[int, Turn], waiting: int, now_seconds: float) -> list[int]:
        """Return whom to warn now."""
        return [number for number, due_seconds in self._next(turns, waiting) if due_seconds <= now_seconds]

    def to_pardon(self, turns: Mapping[int, Turn], waiting: int) -> list[int]:
        """Return who may go on after all: of those who are warned, the last ones."""
        warned = [number for number in _longest_first(turns) if turns[number].end_seconds is not None]
        return warned[waiting:]

    def over(self, turns: Mapping[int, Turn], now_seconds: float) -> list[int]:
        """Return whose time is up."""
        ends = ((number, turn.end_seconds) for number, turn in turns.items())
        return [number for number, end_seconds in ends if end_seconds is not None and end_seconds <= now_seconds]

    def dues(self, turns: Mapping[int, Turn], waiting: int) -> list[float]:
        """Return when somebody is to be warned or ended."""
        ends = [turn.end_seconds for turn in turns.values() if turn.end_seconds is not None]
        return [*ends, *(due_seconds for _, due_seconds in self._next(turns, waiting))]

    def expect_ends(self, turns: Iterable[Turn], now_seconds: float) -> list[float]:
        """Return in how many seconds each turn will end if somebody goes on waiting."""
        return [self._expect_end(turn, now_seconds) - now_seconds for turn in turns]

    def _next(self, turns: Mapping[int, Turn], waiting: int) -> list[tuple[int, float]]:
        """Return who is warned next, and when, as far as those who wait can need it."""
        warned = sum(turn.end_seconds is not None for turn in turns.values())
        unwarned = [number for number in _longest_first(turns) if turns[number].end_seconds is None]
        return [
            (number, turns[number].began_seconds + self.slot_seconds - self.lead_seconds)
            for number in unwarned[: max(0, waiting - warned)]
        ]

    def _expect_end(self, turn: Turn, now_seconds: float) -> float:
        if turn.end_seconds is not None:
            return turn.end_seconds
        return max(turn.began_seconds + self.slot_seconds, now_seconds + self.lead_seconds)


def _longest_first(turns: Mapping[int, Turn]) -> list[int]:
    return sorted(turns, key=lambda number: (turns[number].began_seconds, number))
