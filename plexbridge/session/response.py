"""How long people wait for an answer: from the end of a sentence to the first sound that is played after it.

A pure core. It is told in every tick when somebody has spoken last, and of every frame that is played and
can be heard. A model that hears and speaks at the same time leaves three cases open:

* Who ends a sentence while the bot is sounding gets no figure: there was no waiting. A pause of the bot's that is
  shorter than `PAUSE_SECONDS` is still sound.
* A sentence is over when nothing of it has come for `SENTENCE_SECONDS`, yet a good answer comes sooner. So an answer
  that begins before that counts only when nothing more of the sentence follows.
* What is not answered within `LIMIT_SECONDS` was not a question: it is dropped, and so is the bot's next word.
"""

from math import inf

from plexbridge.session.ledger import Distribution

SENTENCE_SECONDS = 0.6
"""The longest pause between the words of a sentence."""
PAUSE_SECONDS = 0.6
"""The same of the bot."""
LIMIT_SECONDS = 8.0


class ResponseTimes:
    """Collects the times, in `times`; all seconds are of one monotonic clock."""

    def __init__(self) -> None:
        self.times = Distribution()
        self._ended_seconds: float | None = None
        """When the sentence ended, or seems to have, that waits for an answer."""
        self._answered_seconds: float | None = None
        """When an answer began that counts if the sentence was over."""
        self._spoke_seconds = -inf
        self._sounded_seconds = -inf

    def listened(self, last_spoke_seconds: float, *, now_seconds: float) -> None:
        """A tick has passed; somebody has spoken last at `last_spoke_seconds`."""
        if last_spoke_seconds > self._spoke_seconds:
            self._spoke(last_spoke_seconds)
        if self._ended_seconds is None:
            return
        waited_seconds = now_seconds - self._ended_seconds
        if self._answered_seconds is not None and waited_seconds > SENTENCE_SECONDS:
            self.times.add(self._answered_seconds - self._ended_seconds)
            self._ended_seconds = self._answered_seconds = None
        elif waited_seconds > LIMIT_SECONDS:
            self._ended_seconds = None

    def played(self, *, now_seconds: float) -> None:
        """A frame was played that can be heard."""
        if self._ended_seconds is not None and self._answered_seconds is None:
            self._answered_seconds = now_seconds
        self._sounded_seconds = now_seconds

    def _spoke(self, seconds: float) -> None:
        self._spoke_seconds = seconds
        is_sounding = seconds - self._sounded_seconds <= PAUSE_SECONDS
        self._ended_seconds = None if is_sounding else seconds
        self._answered_seconds = None
