"""The model's pieces of words, joined into sentences with times.

A piece comes when its word is spoken, or shortly before. A sentence ends where its punctuation says so, or where the
model is silent for `PAUSE_SECONDS`; one without an end is cut at `SENTENCE_CHARS`.
"""

import re
from dataclasses import dataclass

PAUSE_SECONDS = 1.5
SENTENCE_CHARS = 600
PIECE_SECONDS = 0.3
"""How long the last piece of a sentence is heard, about."""

_END = re.compile(r"[.!?…]+[\"'”\u2019)\]]*(?=\s)")


@dataclass(frozen=True, slots=True)
class Sentence:
    """What the model said, and when."""

    text: str
    start_seconds: float
    end_seconds: float


class Sentences:
    """Takes pieces as they come; times are the caller's, on any one scale."""

    def __init__(self) -> None:
        self._text = ""
        self._start_seconds = 0.0
        self._heard_seconds = 0.0

    @property
    def open(self) -> Sentence | None:
        """The sentence as far as it has come; None when there is none."""
        return self._sentence(self._text) if self._text.strip() else None

    def push(self, piece: str, now_seconds: float) -> list[Sentence]:
        """Take a piece, to be joined as it is; return the sentences that are complete with it."""
        done = self.flush() if now_seconds - self._heard_seconds >= PAUSE_SECONDS else []
        while piece:  # an endless piece is taken in parts, so that nothing grows
            part, piece = piece[:SENTENCE_CHARS], piece[SENTENCE_CHARS:]
            done += self._push(part, now_seconds)
        return done

    def flush(self) -> list[Sentence]:
        """The model says no more for now: return what is there."""
        text, self._text = self._text, ""
        return [self._sentence(text)] if text.strip() else []

    def rest(self, now_seconds: float) -> list[Sentence]:
        """Return what is there if the model has been silent for so long that more of it will not come."""
        return self.flush() if now_seconds - self._heard_seconds >= PAUSE_SECONDS else []

    def _push(self, piece: str, now_seconds: float) -> list[Sentence]:
        if not self._text.strip():
            self._text, self._start_seconds = "", now_seconds
            piece = piece.lstrip()
        self._text += piece
        done = []
        while (end := self._end_chars()) is not None:
            done.append(self._sentence(self._text[:end], now_seconds))
            self._text, self._start_seconds = self._text[end:].lstrip(), now_seconds
        self._heard_seconds = now_seconds
        return done

    def _end_chars(self) -> int | None:
        """Return how long the first sentence of the text is, if it is complete."""
        end = _END.search(self._text)
        if end is not None and end.end() <= SENTENCE_CHARS:
            return end.end()
        if len(self._text) <= SENTENCE_CHARS:
            return None
        blank = self._text.rfind(" ", 1, SENTENCE_CHARS)
        return blank if blank > 0 else SENTENCE_CHARS

    def _sentence(self, text: str, limit_seconds: float | None = None) -> Sentence:
        """Return a sentence whose last piece came last; `limit_seconds` is when the next one began."""
        end_seconds = self._heard_seconds + PIECE_SECONDS
        if limit_seconds is not None:
            end_seconds = min(end_seconds, limit_seconds)
        return Sentence(" ".join(text.split()), self._start_seconds, max(end_seconds, self._start_seconds))
