"""Whose time at a model is up: a conversation has a limited time only while somebody waits.

A pure core. As many conversations are warned as there are rooms that wait, the longest first of those whose model will
do, each when its time is nearly over; `lead_seconds` later its turn ends. Nobody is ended without the whole warning,
however long they have had. A warning is taken back when those who waited have got a place otherwise, or gone. A place
at a model that is out of order is good for nothing to who waits: nobody is warned there, and who was warned before is
the last to go.
"""

import itertools
from collections.abc import Iterable, Mapping, Set
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

    def to_warn(self, turns: Mapping[int, Turn], ending: Iterable[int], now_seconds: float) -> list[int]:
        """Return whom to warn now; `ending` are those who have to go, by `to_end`."""
        return [number for number, due_seconds in self._next(turns, ending) if due_seconds <= now_seconds]

    def to_pardon(self, turns: Mapping[int, Turn], ending: Iterable[int]) -> list[int]:
        """Return who may go on after all, though warned."""
        return [number for number in turns if turns[number].end_seconds is not None and number not in ending]

    def over(self, turns: Mapping[int, Turn], now_seconds: float) -> list[int]:
        """Return whose time is up."""
        ends = ((number, turn.end_seconds) for number, turn in turns.items())
        return [number for number, end_seconds in ends if end_seconds is not None and end_seconds <= now_seconds]

    def dues(self, turns: Mapping[int, Turn], ending: Iterable[int]) -> list[float]:
        """Return when somebody is to be warned or ended."""
        ends = [turn.end_seconds for turn in turns.values() if turn.end_seconds is not None]
        return [*ends, *(due_seconds for _, due_seconds in self._next(turns, ending))]

    def expect_ends(self, turns: Iterable[Turn], now_seconds: float) -> list[float]:
        """Return in how many seconds each turn will end if somebody goes on waiting."""
        return [self._expect_end(turn, now_seconds) - now_seconds for turn in turns]

    def _next(self, turns: Mapping[int, Turn], ending: Iterable[int]) -> list[tuple[int, float]]:
        """Return who is warned next, and when."""
        return [
            (number, turns[number].began_seconds + self.slot_seconds - self.lead_seconds)
            for number in ending
            if turns[number].end_seconds is None
        ]

    def _expect_end(self, turn: Turn, now_seconds: float) -> float:
        if turn.end_seconds is not None:
            return turn.end_seconds
        return max(turn.began_seconds + self.slot_seconds, now_seconds + self.lead_seconds)


def to_end(
    turns: Mapping[int, Turn], models: Mapping[int, str], wishes: Iterable[str | None], useful: Set[str]
) -> list[int]:
    """Return whose turns have to end so that all who wait get one, as far as that is possible.

    `models` says where each turn is, `wishes` what each of those who wait wants: one model only, or any (None);
    `useful` are the models whose places are good for anything. Those who are warned already come first, then the
    longest. Who is warned and then loses the model stays warned if nobody else is to be had: a model that fails now
    and then would else begin the warning anew each time, and those who wait would wait for ever.
    """

    def rank(number: int) -> tuple[bool, bool, float, int]:
        turn = turns[number]
        return models[number] not in useful, turn.end_seconds is None, turn.began_seconds, number

    order = sorted((each for each in turns if models[each] in useful or turns[each].end_seconds is not None), key=rank)
    ending: list[int] = []
    for wish in sorted(wishes, key=lambda each: each is None):  # who takes any takes what is left
        fit = (number for number in order if number not in ending and wish in (None, models[number]))
        ending += itertools.islice(fit, 1)
    return ending
