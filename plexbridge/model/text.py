"""The model's words: text pieces joined so that characters outside its vocabulary come out whole.

The model speaks in SentencePiece pieces, one per message, with spaces already in place. A character that is not in
the vocabulary (an emoji, a rare sign, a line break) is spoken as its UTF-8 bytes, one piece each, and the server
sends such a piece as the literal text `<0xF0>`. `TextJoiner` turns runs of them back into characters. Bytes that
don't form a character become U+FFFD. Text that only looks similar, or a marker cut in two by a message boundary,
is ordinary text: the server never cuts a piece.

The joined text is the model's own and may hold any character, control characters included.
"""

import codecs
import re

_BYTE_PIECES = re.compile(r"((?:<0x[0-9A-F]{2}>)+)")
_MARKER_CHARS = len("<0xF0>")


class TextJoiner:
    """Joins the pieces of one conversation; between pushes it holds at most three bytes of one character."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, piece: str) -> str:
        """Return the text that is complete with `piece`; empty while a character still lacks bytes."""
        parts = _BYTE_PIECES.split(piece)
        # With one group in the pattern, ordinary text and byte runs take turns, ordinary text first.
        joined = [self._plain(parts[0])]
        for run, plain in zip(parts[1::2], parts[2::2], strict=True):
            joined.append(self._decoder.decode(_run_bytes(run)))
            joined.append(self._plain(plain))
        return "".join(joined)

    def flush(self) -> str:
        """Return U+FFFD if a character was left incomplete, else nothing: for the end of the model's speech."""
        return self._decoder.decode(b"", final=True)

    def _plain(self, text: str) -> str:
        """Return ordinary text, after whatever it leaves incomplete."""
        return self.flush() + text if text else ""


def _run_bytes(run: str) -> bytes:
    """Return the bytes that `<0xF0><0x9F>` stands for."""
    return bytes(int(run[start + 3 : start + 5], 16) for start in range(0, len(run), _MARKER_CHARS))
