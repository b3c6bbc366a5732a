"""Barge-in: who speaks while the model does has the floor as soon as the model gives it up.

The model listens while it speaks, so what people say is never kept from it, and whether it falls silent is its own
decision. But when somebody has spoken for `TAKEOVER_FRAMES` and the model has fallen silent, what still waits to be
played of its answer is the rest of a sentence that is over. Then the *epoch* ends, and with it that answer: playback
mutes what waits, and what has come in an ended epoch is never played, however late it gets there.

A pure core: capture tells it what it hears, exchange numbers what comes by the present epoch, playback ends epochs.
"""

TAKEOVER_FRAMES = 10
"""200 ms: longer than a cough, shorter than a word of agreement takes to become a sentence."""
PAUSE_FRAMES = 5
"""Silence that still belongs to what is said: 100 ms, as before a plosive."""


class Takeover:
    """Whether somebody has taken over, and the number of the present answer."""

    def __init__(self) -> None:
        self._speech_frames = 0
        self._silent_frames = 0
        self.epoch = 0
        """Counts the answers that were cut short."""

    def heard(self, *, is_silent: bool) -> None:
        """Take one tick of what all people say together."""
        if not is_silent:
            self._speech_frames += 1
            self._silent_frames = 0
            return
        self._silent_frames += 1
        if self._silent_frames > PAUSE_FRAMES:
            self._speech_frames = 0

    @property
    def is_taken(self) -> bool:
        """Whether somebody speaks, and has done so for long enough to mean it."""
        return self._speech_frames >= TAKEOVER_FRAMES

    def end_epoch(self) -> None:
        """The answer is over: what has come up to now belongs to the past."""
        self.epoch += 1
