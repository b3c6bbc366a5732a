"""The model's wire: its messages to events and back.

PersonaPlex and Moshi speak binary WebSocket messages: one byte that names the kind, then its payload. `parse_message`
says what a message means, the `..._message` functions build one; both serve either end, as the format is the same.
"""

from dataclasses import dataclass

MAX_PIECE_CHARS = 1_000
"""Limit of one text piece; the longest piece of the vocabulary is far below a hundred."""
MAX_LOG_CHARS = 500
"""Limit of any text from the server that is meant for the log only: faults, metadata, close reasons."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """Kind 0: the conversation starts. Rust servers add two versions, Python servers send the bare byte."""

    protocol_version: int | None = None
    model_version: int | None = None


@dataclass(frozen=True, slots=True)
class Audio:
    """Kind 1: bytes of an Ogg Opus stream, usually one page."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Text:
    """Kind 2: one piece of what the model says; `is_damaged` if it was not UTF-8, or was cut at the limit."""

    piece: str
    is_damaged: bool = False


@dataclass(frozen=True, slots=True)
class Control:
    """Kind 3: start, end of turn, pause or restart; without meaning in a full-duplex conversation."""

    code: int | None


@dataclass(frozen=True, slots=True)
class Metadata:
    """Kind 4: the server's settings as JSON, cut to one line for the log."""

    text: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Kind 5: the server's words for an error, cut to one line for the log; never for people."""

    text: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Kind 6: no server sends it; nothing is to be answered."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Any other kind (7 to 9 are coloured text, images and codes of other servers), or `None`: a text message."""

    kind: int | None


@dataclass(frozen=True, slots=True)
class Empty:
    """A message without even a kind."""


Event = Handshake | Audio | Text | Control | Metadata | Fault | Ping | Unknown | Empty


def parse_message(message: bytes | str) -> Event:
    """Return what `message` means; any message means something, if only `Unknown`.

    The handshake is taken with any payload: the versions are little-endian u32, read if both are there.
    """
    if isinstance(message, str):
        return Unknown(None)
    if not message:
        return Empty()
    kind, payload = message[0], message[1:]
    match kind:
        case 0:
            if len(payload) < 8:
                return Handshake()
            return Handshake(int.from_bytes(payload[:4], "little"), int.from_bytes(payload[4:8], "little"))
        case 1:
            return Audio(payload)
        case 2:
            return _text(payload)
        case 3:
            return Control(payload[0] if payload else None)
        case 4:
            return Metadata(log_line(payload))
        case 5:
            return Fault(log_line(payload))
        case 6:
            return Ping()
        case _:
            return Unknown(kind)


def handshake_message(versions: tuple[int, int] | None = None) -> bytes:
    """Return kind 0: bare as PersonaPlex sends it, or with (protocol, model) versions as the Rust server does."""
    return b"\x00" + b"".join(version.to_bytes(4, "little") for version in versions or ())


def audio_message(page: bytes) -> bytes:
    """Return kind 1 with bytes of an Ogg Opus stream."""
    return b"\x01" + page


def text_message(piece: str) -> bytes:
    """Return kind 2 with one piece of text."""
    return b"\x02" + piece.encode()


def metadata_message(text: str) -> bytes:
    """Return kind 4 with JSON."""
    return b"\x04" + text.encode()


def fault_message(text: str) -> bytes:
    """Return kind 5 with the description of an error."""
    return b"\x05" + text.encode()


def _text(payload: bytes) -> Text:
    # A cut in mid-character can't show: a character has at most four bytes, so it lies beyond the limit.
    piece = payload[: 4 * MAX_PIECE_CHARS].decode(errors="replace")[:MAX_PIECE_CHARS]
    return Text(piece, is_damaged=piece.encode() != payload)


def log_line(raw: bytes) -> str:
    """Return text from outside as one short line: what can't be printed becomes a space, so it can forge no line."""
    text = raw[: 4 * MAX_LOG_CHARS].decode(errors="replace")[:MAX_LOG_CHARS]
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
