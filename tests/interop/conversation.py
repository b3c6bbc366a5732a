"""What the tests of the server say to it, in real time, over the bare wire."""

import wave
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import trio
from numpy.typing import NDArray

from tests.interop import libopus
from tests.interop.environment import REPOSITORY
from tests.interop.pages import Page, audio_pages, header_pages, parse_pages
from tests.interop.wire import BINARY, Frame, Wire, open_wire

PERSONA = {"voice_prompt": "NATF0.pt", "text_prompt": "You are kind."}
"""A query that the server accepts."""

HANDSHAKE = b"\x00"
AUDIO, TEXT = 1, 2
"""Kinds of messages, by their first byte."""

HEADER_MESSAGES = 2

RATE_HZ = 24_000
FRAME_SAMPLES = 1_920
PACKET_SAMPLES = 480
PACKET_SECONDS = PACKET_SAMPLES / RATE_HZ

SPEECH_FILE = REPOSITORY / "plexbridge" / "model" / "loopback_sentence.wav"


def speech(seconds: float) -> NDArray[np.float32]:
    """Return a spoken sentence at 24 kHz, without its leading silence, repeated as often as needed."""
    with wave.open(str(SPEECH_FILE)) as wav:
        assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (RATE_HZ, 1, 2)
        pcm = np.frombuffer(wav.readframes(wav.getnframes()), "<i2").astype(np.float32) / 32768
    pcm = pcm[np.flatnonzero(np.abs(pcm) > 0.01)[0] :]
    return np.resize(pcm, round(seconds * RATE_HZ))


def audio_messages(pages: Iterable[Page]) -> list[bytes]:
    """Return one audio message per page."""
    return [bytes([AUDIO]) + page.encode() for page in pages]


@cache
def spoken_messages(seconds: float) -> tuple[bytes, ...]:
    """Return a sentence as messages: the two header pages, then 20 ms each.

    Encoding takes a while, so what keeps time gets its messages before its clock starts.
    """
    # Unlike VOIP, this application keeps the waveform well enough to be compared after a second codec.
    packets = libopus.encode(speech(seconds), packet_samples=PACKET_SAMPLES, application=libopus.AUDIO)
    return tuple(audio_messages([*header_pages(), *audio_pages(packets)]))


@asynccontextmanager
async def open_session(url: str, query: dict[str, str] | None = None) -> AsyncIterator[Wire]:
    """Connect and wait for the handshake, sending nothing before it."""
    async with open_wire(url, PERSONA if query is None else query) as wire:
        frame = await wire.receive()
        assert frame.payload == HANDSHAKE
        yield wire


@dataclass(slots=True)
class Conversation:
    """What was said and heard, with times on Trio's clock."""

    sent_at_seconds: list[float] = field(default_factory=list)
    """When each message of audio went out, header messages left out."""
    frames: list[Frame] = field(default_factory=list)
    close_code: int = 0
    """How the server ended it; 0 when it did not."""
    frames_when_sent: int = 0
    """How many frames had been received when the last message went out."""

    @property
    def audio(self) -> list[Frame]:
        """The messages of the server that hold audio, header pages left out."""
        return audio_of(self.frames)

    @property
    def owed_samples(self) -> int:
        """How much the server was behind when the last message went out."""
        answered = len(audio_of(self.frames[: self.frames_when_sent]))
        return len(self.sent_at_seconds) * PACKET_SAMPLES - answered * FRAME_SAMPLES

    def pieces(self) -> list[str]:
        """The text messages."""
        return [frame.payload[1:].decode() for frame in self.frames if frame.payload[:1] == bytes([TEXT])]


def audio_of(frames: Sequence[Frame]) -> list[Frame]:
    """Return the frames that hold audio packets; the first two audio messages are the header pages."""
    return [frame for frame in frames if frame.opcode == BINARY and frame.payload[:1] == bytes([AUDIO])][
        HEADER_MESSAGES:
    ]


def packets_of(frames: Sequence[Frame]) -> list[bytes]:
    """Return the Opus packets of whole audio messages."""
    return [packet for frame in frames for page in parse_pages(frame.payload[1:]) for packet in page.packets()]


async def send_at_once(wire: Wire, messages: Iterable[bytes]) -> None:
    """Send messages as fast as the connection takes them."""
    for message in messages:
        await wire.send(message)


async def frames_within(wire: Wire, seconds: float) -> tuple[list[Frame], int]:
    """Collect what comes within a time; return it and the close code, 0 when the server did not end it."""
    frames: list[Frame] = []
    code = 0
    with trio.move_on_after(seconds):
        code = await wire.receive_to_end(frames)
    return frames, code


async def frames_until_quiet(wire: Wire, quiet_seconds: float = 0.5) -> list[Frame]:
    """Collect frames until none came for a while."""
    frames: list[Frame] = []
    while True:
        with trio.move_on_after(quiet_seconds):
            frames.append(await wire.receive())
            continue
        return frames


def lag_and_likeness(said: NDArray[np.float32], heard: NDArray[np.float32]) -> tuple[int, float]:
    """Return by how many samples `heard` comes after `said`, and their correlation at that lag."""
    size = 2 * max(len(said), len(heard))
    product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size))
    lag_samples = int(np.argmax(np.fft.irfft(product, size)[: len(heard)]))
    count = min(len(said), len(heard) - lag_samples)
    likeness = np.corrcoef(said[:count], heard[lag_samples : lag_samples + count])[0, 1]
    return lag_samples, float(likeness)


async def talk(wire: Wire, messages: Sequence[bytes], *, speed: float = 1.0, tail_seconds: float = 0.5) -> Conversation:
    """Send the two header messages at once and the others every 20 ms (divided by `speed`); listen all the time.

    Ends `tail_seconds` after the last message, or when the server closes or is gone.
    """
    conversation = Conversation()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_listen, wire, conversation, nursery.cancel_scope)
        # A server that broke the connection is noticed, and the talk ended, by the listener.
        with suppress(trio.BrokenResourceError):
            await say(wire, messages, speed=speed, sent_at_seconds=conversation.sent_at_seconds)
            conversation.frames_when_sent = len(conversation.frames)
        await trio.sleep(tail_seconds)
        nursery.cancel_scope.cancel()
    return conversation


async def say(
    wire: Wire, messages: Sequence[bytes], *, speed: float = 1.0, sent_at_seconds: list[float] | None = None
) -> None:
    """Send as `talk` does, without listening; append the time of each audio message to `sent_at_seconds`."""
    began = trio.current_time()
    for index, message in enumerate(messages):
        if index >= HEADER_MESSAGES:
            await trio.sleep_until(began + (index - HEADER_MESSAGES) * PACKET_SECONDS / speed)
            if sent_at_seconds is not None:
                sent_at_seconds.append(trio.current_time())
        await wire.send(message)


async def _listen(wire: Wire, conversation: Conversation, scope: trio.CancelScope) -> None:
    conversation.close_code = await wire.receive_to_end(conversation.frames)
    scope.cancel()
