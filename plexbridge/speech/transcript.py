"""Who said what: both sides of a conversation as lines with names and times.

People's lines come from the events of a `Transcriber`, the model's from its pieces of text. What is still being said
is `open_lines`, to be shown while it changes. What is said is returned at once, for who shows lines as they come; and
`take` returns the same lines in the order in which they began, for files, each when nothing earlier can follow.

Times are the caller's, in seconds on one scale for both sides. A line of which nothing is known but that somebody
spoke is a gap and says why; where somebody made a sound that the engine hears no words in, there is no line.
"""

from bisect import insort
from dataclasses import dataclass
from enum import Enum
from math import inf

from plexbridge.speech.engine import Begun, Final, Missing, Partial, SpeechEvent
from plexbridge.speech.sentences import Sentence, Sentences

WAITING_LIMIT = 2_000
"""Lines that wait for an earlier one. The oldest are given out of turn then."""
SETTLE_SECONDS = 1.0
"""It is known so soon that somebody has begun to speak."""


class Kind(Enum):
    """Whose line it is."""

    PERSON = "person"
    MODEL = "model"
    GAP = "gap"
    """A person's, without the words."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a transcript."""

    kind: Kind
    name: str
    text: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class _Open:
    """An utterance that has no outcome yet."""

    name: str
    start_seconds: float
    partial: Partial | None = None


class Transcript:
    """The transcript of one conversation with a model of this name."""

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self._sentences = Sentences()
        self._open: dict[tuple[int, int], _Open] = {}
        self._waiting: list[Line] = []
        """In the order of their beginnings."""

    @property
    def open_lines(self) -> list[Line]:
        """What is being said, as far as it is known, in the order of its beginning."""
        partials = [(each.name, each.partial) for each in self._open.values() if each.partial is not None]
        lines = [
            Line(Kind.PERSON, name, partial.text, partial.start_seconds, partial.end_seconds)
            for name, partial in partials
        ]
        sentence = self._sentences.open
        lines += [] if sentence is None else [self._line(sentence)]
        return sorted(lines, key=_start)

    def heard(self, event: SpeechEvent, name: str) -> list[Line]:
        """Take what was heard of the person of this name; return the line that is complete with it."""
        key = (event.speaker, event.utterance)
        if isinstance(event, Begun):
            self._open[key] = _Open(name, event.start_seconds)
            return []
        if isinstance(event, Partial):
            self._open[key] = _Open(name, event.start_seconds, event)
            return []
        self._open.pop(key, None)
        return self._add(_spoken(event, name))

    def said(self, piece: str, now_seconds: float) -> list[Line]:
        """Take a piece of the model's words; return the lines that are complete with it."""
        return self._add([self._line(sentence) for sentence in self._sentences.push(piece, now_seconds)])

    def rest(self, now_seconds: float) -> list[Line]:
        """Time has passed: return the model's line that a pause has ended."""
        return self._add([self._line(sentence) for sentence in self._sentences.rest(now_seconds)])

    def take(self, now_seconds: float) -> list[Line]:
        """Return the lines that no earlier one can follow, each once, in the order in which they began."""
        sentence = self._sentences.open
        first_seconds = min(
            now_seconds - SETTLE_SECONDS,
            inf,
            *(each.start_seconds for each in self._open.values()),
            *(() if sentence is None else (sentence.start_seconds,)),
        )
        count = sum(line.start_seconds <= first_seconds for line in self._waiting)
        return self._release(max(count, len(self._waiting) - WAITING_LIMIT))

    def finish(self) -> list[Line]:
        """Nothing more will come: return what `take` has not returned yet."""
        self._add([self._line(sentence) for sentence in self._sentences.flush()])
        self._open.clear()
        return self._release(len(self._waiting))

    def _release(self, count: int) -> list[Line]:
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken

    def _add(self, lines: list[Line]) -> list[Line]:
        for line in lines:
            insort(self._waiting, line, key=_start)
        return lines

    def _line(self, sentence: Sentence) -> Line:
        return Line(Kind.MODEL, self._model_name, sentence.text, sentence.start_seconds, sentence.end_seconds)


def _spoken(event: Final | Missing, name: str) -> list[Line]:
    span = (event.start_seconds, event.end_seconds)
    if isinstance(event, Missing):
        return [Line(Kind.GAP, name, f"not transcribed: {event.reason.value}", *span)]
    text = " ".join(event.text.split())
    return [Line(Kind.PERSON, name, text, *span)] if text else []


def _start(line: Line) -> float:
    return line.start_seconds
