"""The messages of `/ws/voice`: what a page may send, read strictly, and what it is sent. See docs/ws-voice.md.

Whoever connects may be anybody, so nothing is taken on trust: a message is one of those that there are, with the keys
that it has and no other, each of its type and within its limits; else it is refused, with the code that the connection
is closed with. Only a packet that is no Opus is no reason for that: it is dropped and counted, like one from a network.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import isfinite
from typing import NoReturn

from plexbridge.audio.opus_packet import OPUS_CLOCK_HZ, duration_samples
from plexbridge.audio.pcm import FRAMES_PER_SECOND
from plexbridge.audio.pcm16 import FRAME_BYTES as PCM_FRAME_BYTES
from plexbridge.errors import PacketError, RemoteProtocolError
from plexbridge.model.conversation import State
from plexbridge.model.standing import Standing
from plexbridge.session.ledger import Ledger

VERSION = 1
MESSAGE_LIMIT_BYTES = 8 * 1024
"""Of one message: the longest persona that a model takes fits into a `hello`."""
AUDIO_KIND = 1
HEADER = struct.Struct(">BI")
"""The kind, and the sequence number."""
SEQUENCE_LIMIT = 0xFFFF_FFFF
CLOCK_LIMIT_MS = 1e13
"""More than a page can have been open: 300 years."""
DEPTH_LIMIT_MS = 1e6
"""More than a page can hold of what it is sent."""
TOKEN_LIMIT_CHARS = 1_024
NAME_LIMIT_CHARS = 128
"""Of a model or a voice; which there are is known elsewhere."""

_PACKET_SAMPLES = OPUS_CLOCK_HZ // FRAMES_PER_SECOND


class Mode(Enum):
    """What a page wants to talk with."""

    LOOPBACK = "loopback"
    MODEL = "model"


class Codec(Enum):
    """How audio is sent, both ways."""

    OPUS = "opus"
    PCM16 = "pcm16"


class Code(Enum):
    """Why a connection is ended, beside a goodbye."""

    BAD_HELLO = "bad_hello"
    BAD_MESSAGE = "bad_message"
    UNAUTHORIZED = "unauthorized"
    BAD_REQUEST = "bad_request"
    HELLO_TIMEOUT = "hello_timeout"
    FORGONE = "forgone"
    TOO_FAST = "too_fast"
    TOO_LARGE = "too_large"
    INTERNAL = "internal"
    MODEL_FAILED = "model_failed"


CLOSE_CODES: Mapping[Code, int] = {
    Code.BAD_HELLO: 4400,
    Code.BAD_MESSAGE: 4400,
    Code.UNAUTHORIZED: 4401,
    Code.BAD_REQUEST: 4404,
    Code.HELLO_TIMEOUT: 4408,
    Code.FORGONE: 4410,
    Code.TOO_FAST: 4429,
    Code.TOO_LARGE: 1009,
    Code.INTERNAL: 4500,
    Code.MODEL_FAILED: 4502,
}
GOODBYE_CODE = 1000
STOPPING_CODE = 1001


class Refused(RemoteProtocolError):
    """What a page has sent, or wishes for, can't be had; the connection ends with `code`."""

    def __init__(self, code: Code, user_message: str) -> None:
        super().__init__(user_message)
        self.code = code
        self.user_message = user_message


@dataclass(frozen=True, slots=True)
class Hello:
    """What a page wants, said first and once."""

    mode: Mode
    codec: Codec
    model: str | None = None
    voice: str | None = None
    prompt: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Stats:
    """How far a page has come with what it was sent."""

    clock_ms: float
    """The page's own clock."""
    played: int
    """The last sequence number that was played; -1 before."""
    depth_ms: float
    """What waits in the page."""


@dataclass(frozen=True, slots=True)
class Bye:
    """A page leaves."""


@dataclass(frozen=True, slots=True)
class Audio:
    """20 ms of sound, coded as both sides agreed."""

    sequence: int
    payload: bytes


# What comes in


def parse_hello(message: str | bytes) -> Hello:
    """Return what the first message says; raises Refused for whatever is no `hello`."""
    try:
        if not isinstance(message, str):
            _refuse("audio before the hello")
        fields = _read_object(message)
        if fields.text("type") != "hello":
            _refuse("the first message must be the hello")
        if fields.whole("version", 0, SEQUENCE_LIMIT) != VERSION:
            raise Refused(Code.BAD_HELLO, "This page is of another version of plexbridge. Please load it again.")
        hello = Hello(
            mode=Mode(fields.choice("mode", [mode.value for mode in Mode])),
            codec=Codec(fields.choice("codec", [codec.value for codec in Codec])),
            model=fields.wish("model", NAME_LIMIT_CHARS),
            voice=fields.wish("voice", NAME_LIMIT_CHARS),
            prompt=fields.wish("prompt", MESSAGE_LIMIT_BYTES),
            token=fields.wish("token", TOKEN_LIMIT_CHARS),
        )
        fields.end()
    except Refused as refused:
        if refused.code is Code.BAD_MESSAGE:
            raise Refused(Code.BAD_HELLO, refused.user_message) from refused
        raise
    return hello


def parse_text(message: str) -> Stats | Bye:
    """Return what a later text message says; raises Refused."""
    fields = _read_object(message)
    kind = fields.choice("type", ["hello", "stats", "bye"])
    if kind == "hello":
        _refuse("a second hello")
    meaning: Stats | Bye
    if kind == "stats":
        meaning = Stats(
            clock_ms=fields.number("clock_ms", 0, CLOCK_LIMIT_MS),
            played=fields.whole("played", -1, SEQUENCE_LIMIT),
            depth_ms=fields.number("depth_ms", 0, DEPTH_LIMIT_MS),
        )
    else:
        meaning = Bye()
    fields.end()
    return meaning


def parse_audio(message: bytes, codec: Codec) -> Audio:
    """Return what a binary message holds; raises Refused, and PacketError for what is not 20 ms of Opus."""
    if len(message) > MESSAGE_LIMIT_BYTES:
        raise _too_large()
    if len(message) <= HEADER.size:
        _refuse(f"a binary message of {len(message)} bytes")
    kind, sequence = HEADER.unpack_from(message)
    if kind != AUDIO_KIND:
        _refuse("a binary message that is no audio")
    payload = message[HEADER.size :]
    if codec is Codec.PCM16:
        if len(payload) != PCM_FRAME_BYTES:
            _refuse(f"a frame of {len(payload)} bytes; pcm16 has {PCM_FRAME_BYTES}")
    elif duration_samples(payload) != _PACKET_SAMPLES:
        raise PacketError("an Opus packet that does not last 20 ms")
    return Audio(sequence, payload)


class _Fields:
    """The keys of one object, each to be taken once."""

    def __init__(self, values: dict[str, object]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        value = self._values.pop(name, None)
        if not isinstance(value, str):
            _refuse(f"{name} must be a text")
        try:
            value.encode()
        except UnicodeEncodeError:
            _refuse(f"{name} must be Unicode text")
        return value

    def wish(self, name: str, limit_chars: int) -> str | None:
        """Return a text that may be left out; a blank one is none."""
        if name not in self._values:
            return None
        value = self.text(name)
        if len(value) > limit_chars:
            _refuse(f"{name} is longer than {limit_chars} characters")
        return value if value.strip() else None

    def choice(self, name: str, choices: list[str]) -> str:
        value = self.text(name)
        if value not in choices:
            _refuse(f"{name} must be one of: {', '.join(choices)}")
        return value

    def whole(self, name: str, low: int, high: int) -> int:
        value = self._values.pop(name, None)
        if type(value) is not int or not low <= value <= high:  # True is an int too
            _refuse(f"{name} must be a whole number from {low} to {high}")
        return value

    def number(self, name: str, low: float, high: float) -> float:
        value = self._values.pop(name, None)
        if type(value) not in (int, float) or not low <= value <= high:  # type: ignore[operator]  # compared as numbers
            _refuse(f"{name} must be a number from {low:g} to {high:g}")
        return float(value)  # type: ignore[arg-type]  # an int or a float

    def end(self) -> None:
        """Refuse what has not been taken."""
        if self._values:
            _refuse("it has a key that is not known")


def _read_object(message: str) -> _Fields:
    if len(message.encode(errors="surrogatepass")) > MESSAGE_LIMIT_BYTES:
        raise _too_large()
    try:
        values = json.loads(message, object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError):  # no JSON; a number of thousands of digits; nested too deeply
        values = None
    if not isinstance(values, dict):
        _refuse("it is no JSON object")
    return _Fields(values)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands there twice")
    return values


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _refuse(what: str) -> NoReturn:
    raise Refused(Code.BAD_MESSAGE, f"The page sent something that plexbridge can't use: {what}.")


def _too_large() -> Refused:
    return Refused(Code.TOO_LARGE, f"The page sent a message of more than {MESSAGE_LIMIT_BYTES} bytes.")


# What goes out


STATE_NAMES: Mapping[State | None, str] = {
    State.CONNECTING: "connecting",
    State.WAITING: "preparing",
    State.LIVE: "live",
    State.TOO_SLOW: "behind",
    State.ENDED: "lost",
    None: "lost",
}


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one connection has carried, in frames of 20 ms."""

    received: int = 0
    decoded: int = 0
    """Of what was received."""
    lost: int = 0
    """Missing when it should have been said."""
    dropped: int = 0
    """Received and not said: too fast, late, of a burst, no Opus, or while nobody listened."""
    encoded: int = 0
    """For the page."""
    sent: int = 0
    withheld: int = 0
    """Not sent, as the page was late."""


def audio_message(audio: Audio) -> bytes:
    """Return the binary message for a frame."""
    return HEADER.pack(AUDIO_KIND, audio.sequence) + audio.payload


def ready_message(hello: Hello, *, session: str, model: str | None, voice: str | None) -> str:
    """Return that the page is heard from now on."""
    return _message(
        "ready",
        version=VERSION,
        session=session,
        mode=hello.mode.value,
        codec=hello.codec.value,
        model=model,
        voice=voice,
    )


def state_message(state: State | None) -> str:
    """Return what the model does; None: it is not there."""
    return _message("state", state=STATE_NAMES[state])


def queue_message(standing: Standing) -> str:
    """Return the place in the queue."""
    seconds = standing.wait_seconds
    rounded = None if seconds is None or not isfinite(seconds) else round(seconds)
    return _message("queue", place=standing.place, wait_seconds=rounded, message=str(standing))


def level_message(*, heard_dbfs: float, played_dbfs: float) -> str:
    """Return how loud both sides are."""
    return _message("level", heard_dbfs=round(heard_dbfs, 1), played_dbfs=round(played_dbfs, 1))


def text_message(piece: str) -> str:
    """Return a piece of the model's words."""
    return _message("text", text=piece)


def stats_message(
    stats: Stats, traffic: Traffic, *, ledger: Ledger | None, answer_seconds: tuple[float, float] | None
) -> str:
    """Return the answer to the page's `stats`; `ledger` is that of a running conversation."""
    return _message(
        "stats",
        clock_ms=stats.clock_ms,
        received=traffic.received,
        lost=traffic.lost,
        dropped=traffic.dropped,
        sent=traffic.sent,
        withheld=traffic.withheld,
        delay_ms=None if ledger is None else _delay_ms(ledger),
        answer_ms=None if answer_seconds is None else dict(zip(("p50", "p95"), map(_ms, answer_seconds), strict=True)),
    )


def notice_message(sentence: str) -> str:
    """Return a sentence that people should read."""
    return _message("notice", message=sentence)


def error_message(code: Code, sentence: str) -> str:
    """Return why the connection ends."""
    return _message("error", code=code.value, message=sentence)


def bye_message(sentence: str) -> str:
    """Return a goodbye."""
    return _message("bye", message=sentence)


def _delay_ms(ledger: Ledger) -> dict[str, int] | None:
    parts = {"up": ledger.up, "owed": ledger.owed, "down": ledger.down, "total": ledger.total}
    halves = {name: part.percentile_seconds(50) for name, part in parts.items()}
    known = {name: _ms(half) for name, half in halves.items() if half is not None}
    return known if len(known) == len(parts) else None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _message(kind: str, **values: object) -> str:
    return json.dumps({"type": kind, **values}, ensure_ascii=False, separators=(",", ":"))
