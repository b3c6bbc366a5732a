"""Planned renewal: when a conversation leaves its link for a fresh one, because the model's context is used up.

PersonaPlex's context is a rolling 240 s, in which the persona itself is forgotten, and the Rust server of Moshi ends a
session at 360 s. So a link has a *deadline*. Some time before it a second link is prepared, where the model has room
for one; for the last part of the way a silent moment is looked for, and at the deadline the change is made whoever
speaks. The fresh model knows nothing of what was said, so not every silence will do: after the model's own words a
short one, and a longer one after those of people, who may be waiting for an answer.

A pure core: it is told of every tick what was heard and what was played, and looks at no clock.
"""

from dataclasses import dataclass
from enum import Enum
from math import inf

from plexbridge.audio.pcm import FRAMES_PER_SECOND

SEARCH_SECONDS = 30.0
"""How long before the deadline a silent moment is looked for, or a quarter of the time where that is less."""
SILENT_FRAMES = 2 * FRAMES_PER_SECOND // 5
"""400 ms in which nobody speaks, neither people nor the model: between two turns, not between two words."""
UNANSWERED_FRAMES = 2 * FRAMES_PER_SECOND
"""2 s after the last word of a person: a model that wanted to answer has begun by then."""


class Successor(Enum):
    """What is known of the link that follows."""

    UNKNOWN = "it was not looked for yet, or is not ready"
    READY = "it stands, and waits for its turn"
    NONE = "there is no room for a second link, so the present one has to be closed first"
    FAILED = "it could not be opened"


@dataclass(frozen=True, slots=True)
class RenewalStatistics:
    """The planned renewals of one conversation."""

    moved: int = 0
    """To a link that was ready before the old one was left."""
    reopened: int = 0
    """With a pause between the two."""
    failed: int = 0
    """Second links that could not be opened, or were lost while they waited."""
    unheard_frames: int = 0
    """20 ms each, said by people in those pauses."""
    longest_gap_seconds: float = 0.0
    """From the last frame played over one link to the first over the next; 0.02 when no tick was lost."""

    def __str__(self) -> str:
        """Return it in words, for the log."""
        return (
            f"{self.moved} without and {self.reopened} with a pause, {self.failed} second links failed; "
            f"{self.unheard_frames} frames of speech dropped, longest gap {self.longest_gap_seconds:.2f} s"
        )


class Renewal:
    """The end of one link; times are seconds on any one monotonic scale."""

    def __init__(self, *, began_seconds: float, renew_seconds: float | None, handshake_seconds: float) -> None:
        """`handshake_seconds` is what it took to open the present link, and what the next one may take."""
        length_seconds = inf if renew_seconds is None else renew_seconds
        self.deadline_seconds = began_seconds + length_seconds
        self._search_seconds = self.deadline_seconds - min(SEARCH_SECONDS, length_seconds / 4)
        self._handshake_seconds = handshake_seconds
        self._heard_frames = 0
        """For so long no person has spoken."""
        self._played_frames = 0
        """For so long the model has not."""
        self.successor = Successor.UNKNOWN

    @property
    def prepare_seconds(self) -> float:
        """When to begin opening the next link, so that it is ready when the search begins; infinity for never."""
        return self._search_seconds - self._handshake_seconds

    def heard(self, *, is_silent: bool) -> None:
        """Take one tick of what people say."""
        self._heard_frames = self._heard_frames + 1 if is_silent else 0

    def played(self, *, is_silent: bool) -> None:
        """Take one tick of what people are played."""
        self._played_frames = self._played_frames + 1 if is_silent else 0

    def is_due(self, now_seconds: float) -> bool:
        """Say whether the link is to be left now."""
        if now_seconds >= self.deadline_seconds:
            return True
        is_possible = self.successor in (Successor.READY, Successor.NONE)
        return is_possible and now_seconds >= self._search_seconds and self._is_silent_moment

    @property
    def _is_silent_moment(self) -> bool:
        if min(self._heard_frames, self._played_frames) < SILENT_FRAMES:
            return False
        is_model_last = self._played_frames <= self._heard_frames
        return is_model_last or self._heard_frames >= UNANSWERED_FRAMES
