"""What passes between plexbridge and a worker process, over its standard input and output.

Each message is four bytes of length (little endian), one byte that says what it is, and so many bytes of content. A
worker is told its `SETUP` first and answers `READY`, or `BROKEN` and ends. Then, for each utterance: `BEGIN`, `SOUND`
as often as there is some, `END`; the worker says `PARTIAL` now and then, and after `END` one `FINAL`. It ends when its
input does, which is also what it notices of a plexbridge that was killed.
"""

import json
from dataclasses import dataclass
from enum import Enum

from plexbridge.errors import RemoteProtocolError
from plexbridge.speech.engine import Recognized, Word

RATE_HZ = 16_000
"""Of the sound: what the models of embedded engines were made for."""
MESSAGE_LIMIT_BYTES = 1 << 20
_HEADER_BYTES = 5


class Tag(Enum):
    """What a message is."""

    SETUP = b"S"
    """JSON: what to load."""
    READY = b"R"
    """Text: what was loaded."""
    BROKEN = b"X"
    """Text: why it can't be."""
    BEGIN = b"B"
    SOUND = b"A"
    """16-bit samples at 16 kHz, little endian."""
    END = b"E"
    PARTIAL = b"P"
    """Text."""
    FINAL = b"F"
    """JSON: the text and its words."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message."""

    tag: Tag
    content: bytes = b""

    def encoded(self) -> bytes:
        """Return it as it is sent."""
        return len(self.content).to_bytes(4, "little") + self.tag.value + self.content


class MessageReader:
    """Takes bytes as they come, and gives messages."""

    def __init__(self) -> None:
        self._data = bytearray()

    def push(self, data: bytes | bytearray) -> list[Message]:
        """Return the messages that are complete with `data`; raises RemoteProtocolError."""
        self._data += data
        messages = []
        while len(self._data) >= _HEADER_BYTES:
            size = int.from_bytes(self._data[:4], "little")
            if size > MESSAGE_LIMIT_BYTES:
                raise RemoteProtocolError(f"a message of {size} bytes")
            if len(self._data) < _HEADER_BYTES + size:
                break
            try:
                tag = Tag(bytes(self._data[4:5]))
            except ValueError:
                raise RemoteProtocolError(f"a message of the unknown kind {bytes(self._data[4:5])!r}") from None
            messages.append(Message(tag, bytes(self._data[_HEADER_BYTES : _HEADER_BYTES + size])))
            del self._data[: _HEADER_BYTES + size]
        return messages


def encode_final(recognized: Recognized) -> Message:
    """Return a `FINAL`."""
    words = [(word.text, word.start_seconds, word.end_seconds) for word in recognized.words]
    return Message(Tag.FINAL, json.dumps({"text": recognized.text, "words": words}).encode())


def decode_final(message: Message) -> Recognized:
    """Return what a `FINAL` says; raises RemoteProtocolError."""
    try:
        content = json.loads(message.content)
        words = tuple(Word(str(text), float(start), float(end)) for text, start, end in content["words"])
        return Recognized(str(content["text"]), words)
    except (ValueError, KeyError, TypeError) as exc:
        raise RemoteProtocolError(f"a final that can't be read: {exc!r}") from exc
