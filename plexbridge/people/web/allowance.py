"""How much a page may send: audio in the time that it lasts, and text now and then.

A pure core. What comes in a burst after a stall is late, and the excess is dropped; only who goes on sending too much
is a flood. `now_seconds` is an argument, on any monotonic scale.
"""

from enum import Enum

AUDIO_PER_SECOND = 60.0
"""A microphone gives 50; its clock may be fast."""
AUDIO_BURST = 100
"""Two seconds: what a page sends at once that was held up by its system. More of it is too old to be heard anyway."""
AUDIO_FLOOD = 1_000
"""Twenty seconds beyond the burst: so long a connection may be held up until it is taken for dead."""
TEXT_PER_SECOND = 20.0
TEXT_BURST = 250
"""The reports that a page makes in as long, ten a second."""


class Verdict(Enum):
    """What becomes of a message."""

    PASS = "taken"
    DROP = "dropped"
    FLOOD = "the connection is ended for it"


class _Bucket:
    """Holds `burst` at most, and is filled at a steady rate."""

    def __init__(self, per_second: float, burst: float, now_seconds: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._at_seconds = now_seconds

    def take(self, now_seconds: float) -> bool:
        """Take one out, if there is one."""
        self._left = min(self._burst, self._left + (now_seconds - self._at_seconds) * self._per_second)
        self._at_seconds = now_seconds
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Allowance:
    """Of one connection."""

    def __init__(self, now_seconds: float) -> None:
        self._audio = _Bucket(AUDIO_PER_SECOND, AUDIO_BURST, now_seconds)
        self._audio_flood = _Bucket(AUDIO_PER_SECOND, AUDIO_BURST + AUDIO_FLOOD, now_seconds)
        self._text = _Bucket(TEXT_PER_SECOND, TEXT_BURST, now_seconds)

    def audio(self, now_seconds: float) -> Verdict:
        """A binary message has come."""
        if not self._audio_flood.take(now_seconds):
            return Verdict.FLOOD
        return Verdict.PASS if self._audio.take(now_seconds) else Verdict.DROP

    def text(self, now_seconds: float) -> Verdict:
        """A text message has come."""
        return Verdict.PASS if self._text.take(now_seconds) else Verdict.FLOOD
