"""The model's words as a person reads them in the chat: sentences in messages that grow, within Discord's limits.

A speech model gives a piece of a word at a time. Pieces are joined; what is complete up to a blank is shown, in one
message that is edited at most every `EDIT_SECONDS`, since Discord allows five requests in five seconds for a channel.
A message ends with the first sentence beyond `MESSAGE_CHARS`, or where the model was silent for `PAUSE_SECONDS`.
Sentences to the people (`say`) are messages of their own.

No text of the model can ping anybody or draw anything: its special characters are escaped, and the `@` of a mention
is taken apart. `now_seconds` is an argument, on any monotonic scale.
"""

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from plexbridge.model.conversation import STATE_SENTENCES, State

EDIT_SECONDS = 1.2
PAUSE_SECONDS = 4.0
WORD_SECONDS = 1.0
"""After so long without another piece, what is there is a whole word."""
MESSAGE_CHARS = 600
MESSAGE_LIMIT_CHARS = 950
"""Discord's limit is 2,000; escaping makes two characters of one at most."""
PENDING_LIMIT_CHARS = 8_000
"""Of what can't be delivered, the beginning goes."""
NOTICE_LIMIT = 20
WAIT_SECONDS = 2.0
"""A model that is ready sooner has not kept anybody waiting."""
SLOW_SECONDS = 2.0
"""A model that ends so soon after it fell behind was about to end, and not slow."""

_SPECIAL = re.compile(r"([\\*_~`|<>#\[\]-])")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”)]*(?=\s)")
_NOTICES: Mapping[State, str] = {state: STATE_SENTENCES[state] for state in (State.WAITING, State.LIVE, State.TOO_SLOW)}


@dataclass(frozen=True, slots=True)
class Post:
    """A new message; `is_open` when edits may follow."""

    text: str
    is_open: bool


@dataclass(frozen=True, slots=True)
class Edit:
    """The new text of the latest open message."""

    text: str


def plain(text: str) -> str:
    """Return `text` so that Discord shows just its characters, and nobody is called."""
    return _SPECIAL.sub(r"\\\1", text).replace("@", "@\u200b")


class Captions:
    """Takes pieces of words and notices, and says what to write next and when."""

    def __init__(self) -> None:
        self._text = ""
        """The words that are not in an earlier message."""
        self._shown_chars = 0
        """How much of them the open message shows; 0 when there is none."""
        self._begun_seconds = 0.0
        self._heard_seconds = 0.0
        self._written_seconds = -inf
        self._notices: deque[str] = deque(maxlen=NOTICE_LIMIT)
        self._were_words_before = False
        """Whether words that are not shown yet were said before the first notice."""
        self._waiting_seconds = inf
        self._slow_seconds = inf
        self._is_told = False
        self._is_finished = False

    def show(self, piece: str, *, now_seconds: float) -> None:
        """Take a piece of what the model says."""
        is_pause = now_seconds - self._heard_seconds >= PAUSE_SECONDS
        if is_pause and self._shown_chars >= len(self._text.rstrip()):
            self._text, self._shown_chars = "", 0
        if not self._text:
            self._begun_seconds = now_seconds
            piece = piece.lstrip()
        self._heard_seconds = now_seconds
        self._text += piece
        excess_chars = len(self._text) - PENDING_LIMIT_CHARS
        if excess_chars > 0:
            self._text, self._shown_chars = self._text[excess_chars:], 0

    def say(self, sentence: str) -> None:
        """Have a sentence of ours written as a message of its own."""
        self._notify(sentence)

    def tell(self, state: State, *, now_seconds: float) -> None:
        """Take note of the conversation's state; people read of it only when something keeps them waiting."""
        self._waiting_seconds = now_seconds + WAIT_SECONDS if state is State.WAITING else inf
        self._slow_seconds = now_seconds + SLOW_SECONDS if state is State.TOO_SLOW else inf
        if state is State.LIVE and self._is_told:
            self._announce(state)

    def rest(self) -> None:
        """The model says no more for now: what is there are whole words, and it is not slow, but gone."""
        self._heard_seconds = -inf
        self._slow_seconds = inf

    def finish(self) -> None:
        """There is no more to come: what is there is complete and due at once."""
        self._is_finished = True
        self._waiting_seconds = self._slow_seconds = inf

    def due_seconds(self) -> float:
        """When `take` has something next; infinity when that depends on what comes."""
        return -inf if self._notices else min(self._waiting_seconds, self._slow_seconds, self._caption_seconds())

    def take(self, now_seconds: float) -> Post | Edit | None:
        """Return the next thing to write, if it is due; it counts as written."""
        if now_seconds >= self._waiting_seconds:
            self._waiting_seconds = inf
            self._announce(State.WAITING)
        if now_seconds >= self._slow_seconds:
            self._slow_seconds = inf
            self._announce(State.TOO_SLOW)
        if self._notices and not self._has_words_before(now_seconds):
            # What is said after a notice stands below it.
            self._text, self._shown_chars = self._text[self._shown_chars :].lstrip(), 0
            return Post(self._notices.popleft(), is_open=False)
        if not self._notices and now_seconds < self._caption_seconds():
            return None
        self._written_seconds = now_seconds
        chars, is_complete = self._next_chars(now_seconds)
        text = plain(self._text[:chars].strip())
        post = Edit(text) if self._shown_chars else Post(text, is_open=not is_complete)
        self._shown_chars = chars
        if is_complete:
            self._text, self._shown_chars = self._text[chars:].lstrip(), 0
            self._begun_seconds = now_seconds
        return post

    def _announce(self, state: State) -> None:
        self._is_told = state is not State.LIVE
        self._notify(_NOTICES[state])

    def _notify(self, sentence: str) -> None:
        if not self._notices:
            self._were_words_before = self._shown_chars < len(self._text.rstrip())
        self._notices.append(sentence)

    def _has_words_before(self, now_seconds: float) -> bool:
        """Whether whole words were said before the notices, which belong above them."""
        is_complete = now_seconds >= self._heard_seconds + WORD_SECONDS
        return self._were_words_before and is_complete and self._shown_chars < len(self._text.rstrip())

    def _caption_seconds(self) -> float:
        """When there is something new to show."""
        if self._shown_chars >= len(self._text.rstrip()):
            return inf
        if self._is_finished:
            return -inf
        is_word_complete = self._word_chars() > self._shown_chars
        ready_seconds = self._begun_seconds + EDIT_SECONDS if is_word_complete else self._heard_seconds + WORD_SECONDS
        return max(ready_seconds, self._written_seconds + EDIT_SECONDS)

    def _word_chars(self) -> int:
        """How much of the text is whole words for certain."""
        return len(self._text.rstrip()) if self._text[-1:].isspace() else self._text.rfind(" ") + 1

    def _next_chars(self, now_seconds: float) -> tuple[int, bool]:
        """Return how much of the text the message is to show, and whether it is complete with that."""
        is_all = self._is_finished or now_seconds >= self._heard_seconds + WORD_SECONDS
        chars = len(self._text.rstrip()) if is_all else self._word_chars()
        end = _SENTENCE_END.search(self._text, MESSAGE_CHARS, min(chars + 1, MESSAGE_LIMIT_CHARS))
        if end is not None:
            return end.end(), True
        if chars <= MESSAGE_LIMIT_CHARS:
            return chars, False
        blank = self._text.rfind(" ", 1, MESSAGE_LIMIT_CHARS)
        return (blank if blank > 0 else MESSAGE_LIMIT_CHARS), True
