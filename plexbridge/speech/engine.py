"""What a speech engine is: the sound of one utterance in, its text out; and the events that a listener is told.

An engine knows nothing of speakers, queues, time limits or retries: it is handed one utterance at a time, which may
still be under way, and answers with the whole text or raises `SpeechError`. Several utterances may be in its hands at
the same time. Everything around that, and that each utterance has exactly one outcome whatever an engine does, is
`line.SpeechLine`'s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from plexbridge.audio.pcm import Samples

TEXT_LIMIT_CHARS = 5_000
"""Of one utterance: half a minute of very fast speech has a tenth of it. An engine that says more is not believed."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word, in seconds from the first sample of the utterance's sound."""

    text: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class Recognized:
    """What was said in an utterance; empty when it was nothing that the engine understands."""

    text: str
    words: tuple[Word, ...] = ()
    """With engines that tell."""


class Reader(Protocol):
    """Reads the sound of an utterance from its beginning."""

    async def read(self) -> Samples | None:
        """Wait for more of it, a second at most at a time; None after its end."""


class Sound(Protocol):
    """The sound of one utterance, which may still be under way; it can be read more than once."""

    def reader(self, rate_hz: int) -> Reader:
        """Return a reader from the beginning on, at this rate."""


Show = Callable[[str], None]
"""Takes the text of an utterance as far as it is known, instead of the text before; never waits."""


class SpeechEngine(Protocol):
    """Turns speech into text."""

    async def recognize(self, sound: Sound, show: Show) -> Recognized:
        """Return what is said; raises SpeechError. It may be cancelled at any moment."""

    async def prove(self) -> str:
        """Find out whether the engine can work, and return what it is, in a few words; raises SpeechError."""


class Gap(Enum):
    """Why an utterance has no text, in words that follow "not transcribed:"."""

    BEHIND = "speech came faster than it was transcribed"
    UNANSWERED = "the speech engine did not answer in time"
    FAILED = "the speech engine failed"
    STOPPED = "the transcription was stopped"


@dataclass(frozen=True, slots=True)
class Begun:
    """Somebody begins to speak. Exactly one `Final` or `Missing` of the same speaker and utterance follows."""

    speaker: int
    utterance: int
    """Counts the utterances of this speaker."""
    start_seconds: float


@dataclass(frozen=True, slots=True)
class Partial:
    """An utterance as far as it is understood; replaces the `Partial` before."""

    speaker: int
    utterance: int
    start_seconds: float
    end_seconds: float
    """As far as it has come."""
    text: str


@dataclass(frozen=True, slots=True)
class Final:
    """An utterance as it was understood."""

    speaker: int
    utterance: int
    start_seconds: float
    end_seconds: float
    text: str
    words: tuple[Word, ...] = ()
    """On the scale of `start_seconds`."""


@dataclass(frozen=True, slots=True)
class Missing:
    """An utterance that nobody knows the text of."""

    speaker: int
    utterance: int
    start_seconds: float
    end_seconds: float
    reason: Gap


SpeechEvent = Begun | Partial | Final | Missing
