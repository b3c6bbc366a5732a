"""When the bot sends sound, when frames of silence, and when nothing: the talk spurts of the sending side.

Discord wants five frames of silence at the end of every spurt, so that the listeners' decoders don't guess on, and
then nothing, with the speaking light off. A short pause in a sentence is not an end: so long the sound goes on.
"""

from enum import Enum

PAUSE_FRAMES = 10
"""Silence that still belongs to a spurt: 200 ms."""
CLOSING_FRAMES = 5
"""What Discord's own clients send."""
OPUS_SILENCE = b"\xf8\xff\xfe"
"""One frame of silence; it travels without end-to-end encryption."""


class Sending(Enum):
    """What goes out in one tick."""

    SOUND = "the frame, encoded"
    SILENCE = "a frame of silence"
    NOTHING = "nothing"


class Spurts:
    """Told of every frame whether it is silent, says what to send."""

    def __init__(self) -> None:
        self._silent_frames = PAUSE_FRAMES + CLOSING_FRAMES

    @property
    def is_speaking(self) -> bool:
        """Whether a spurt is under way, its closing frames included."""
        return self._silent_frames < PAUSE_FRAMES + CLOSING_FRAMES

    def push(self, *, is_silent: bool) -> Sending:
        """Take one frame."""
        if not is_silent:
            self._silent_frames = 0
            return Sending.SOUND
        if not self.is_speaking:
            return Sending.NOTHING
        self._silent_frames += 1
        return Sending.SOUND if self._silent_frames <= PAUSE_FRAMES else Sending.SILENCE

    def break_off(self) -> None:
        """Nothing can be sent any more: the spurt has ended without its closing frames."""
        self._silent_frames = PAUSE_FRAMES + CLOSING_FRAMES
