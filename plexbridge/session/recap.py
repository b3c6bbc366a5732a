"""The model's last words, to be handed to the one that goes on with the conversation.

A pure core. Of a conversation plexbridge has no other text than what the model itself says, so a recap is the end of
that, on one line.
"""

import re
from collections import deque

from plexbridge.model.request import clean_prompt

RECENT_SECONDS = 30.0
RECAP_CHARS = 200
KEPT_PIECES = 500
"""A model says a few pieces of words in a second."""

_MARKUP = re.compile(r"[<>\"“”]+")


class LastWords:
    """What a model has said lately, with the times."""

    def __init__(self) -> None:
        self._pieces: deque[tuple[float, str]] = deque(maxlen=KEPT_PIECES)

    def add(self, piece: str, *, now_seconds: float) -> None:
        """Take a piece of what it says."""
        self._pieces.append((now_seconds, piece))

    def recall(self, now_seconds: float) -> str:
        """Return the end of what it said, in whole words on one line; empty when that was nothing, or long ago.

        Signs that mean something to a prompt's reader are left out: a server takes `<system>` for its own mark.
        """
        recent = "".join(piece for at_seconds, piece in self._pieces if now_seconds - at_seconds <= RECENT_SECONDS)
        words = clean_prompt(_MARKUP.sub(" ", recent))
        if len(words) <= RECAP_CHARS:
            return words
        return words[-RECAP_CHARS:].partition(" ")[2] or words[-RECAP_CHARS:]


def with_recap(prompt: str, words: str) -> str:
    """Return the persona's `prompt` with the model's own last `words` behind it; without words it is unchanged."""
    if not words:
        return prompt
    return f'{clean_prompt(prompt)} You are in the middle of this call. You have just said: "{words}"'
