"""Kyutai's speech-to-text server, word by word while somebody speaks.

Each utterance has a connection of its own: the server has a fixed number of channels, and each connection takes one,
so people who listen should have none. It is also what makes a lost connection cost no more than the beginning of the
utterance, which is sent again. When the utterance is over a marker is sent, and silence until it comes back, since the
model says a word only half a second or more after it was said.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from ssl import SSLContext
from typing import TypeVar
from urllib.parse import urlsplit

import numpy as np
import trio
import trio_websocket
import wsproto.utilities
from trio_websocket import WebSocketConnection

from plexbridge.audio.pcm import MODEL_RATE_HZ, Samples, silence
from plexbridge.errors import RemoteProtocolError, SpeechError
from plexbridge.speech.engine import TEXT_LIMIT_CHARS, Recognized, Show, Sound, Word
from plexbridge.speech.kyutai_protocol import (
    NO_CHANNELS,
    STEP_SAMPLES,
    Failed,
    Ready,
    Returned,
    WordBegins,
    WordEnds,
    decode,
    encode_audio,
    encode_marker,
)

CONNECT_SECONDS = 10.0
"""For TCP, TLS and the upgrade."""
GOODBYE_SECONDS = 0.5
MESSAGE_LIMIT_BYTES = 64 * 1024
QUEUED_MESSAGES = 16
FLUSH_STEPS = 34
"""2.7 s: more than the slower model's delay."""
FLUSH_MORE_SECONDS = 0.5
"""If that was not enough, a step of silence is sent as often as this."""
SPARE_MESSAGES, MESSAGES_PER_SECOND = 500, 100
"""Words and steps are some 20 messages for each second of sound; a server that sends much more is out of order."""
BUSY_SECONDS = 1.0
"""How long a server without a free channel is left alone."""
WORD_SECONDS = 0.3
"""How long a word is that the server does not tell the end of."""
_MARKER = 1

Result = TypeVar("Result")


class _Words:
    """The words of one utterance, as they come."""

    def __init__(self) -> None:
        self._words: list[Word] = []
        self._chars = 0

    @property
    def are_too_many(self) -> bool:
        return self._chars > TEXT_LIMIT_CHARS

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self._words)

    @property
    def recognized(self) -> Recognized:
        return Recognized(self.text, tuple(self._words))

    def begin(self, event: WordBegins) -> None:
        self._chars += len(event.text) + 1
        self._words.append(Word(event.text, event.start_seconds, event.start_seconds + WORD_SECONDS))

    def end(self, event: WordEnds) -> None:
        if self._words:
            last = self._words[-1]
            self._words[-1] = Word(last.text, last.start_seconds, max(event.end_seconds, last.start_seconds))


class KyutaiEngine:
    """Transcribes by a moshi-server; implements `engine.SpeechEngine`."""

    def __init__(self, url: str, *, key: str | None, tls: SSLContext) -> None:
        self._address = urlsplit(url)
        self._headers = [(b"kyutai-api-key", key.encode())] if key else []
        self._tls = tls

    async def recognize(self, sound: Sound, show: Show) -> Recognized:
        """Return what is said; raises SpeechError."""
        return await self._connected(lambda websocket: _transcribe(websocket, sound, show))

    async def prove(self) -> str:
        """Take a channel for a moment; raises SpeechError."""
        return await self._connected(_prove)

    async def _connected(self, work: Callable[[WebSocketConnection], Awaitable[Result | SpeechError]]) -> Result:
        """Do some work with a connection of its own; raises SpeechError."""
        outcome: Result | SpeechError = SpeechError("the connection was lost", is_passing=True)
        stream = await self._dial()
        try:
            async with trio.open_nursery() as nursery:
                with trio.move_on_after(CONNECT_SECONDS) as limit:
                    websocket = await self._upgrade(nursery, stream)
                if limit.cancelled_caught:
                    outcome = SpeechError("the server does not answer", is_passing=True)
                else:
                    outcome = await work(websocket)
                    with trio.move_on_after(GOODBYE_SECONDS):
                        await websocket.aclose()
                nursery.cancel_scope.cancel(reason="the work is done")
        except* trio_websocket.ConnectionRejected as group:
            outcome = _rejected(group)
        except* (trio_websocket.ConnectionClosed, wsproto.utilities.ProtocolError):
            pass  # trio-websocket's reader lets these escape; either there is an outcome already, or it was lost
        finally:
            # It stays open when it was the peer that closed.
            await trio.aclose_forcefully(stream)
        if isinstance(outcome, SpeechError):
            raise outcome
        return outcome

    async def _dial(self) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
        port = self._address.port or (443 if self._address.scheme == "wss" else 80)
        try:
            with trio.fail_after(CONNECT_SECONDS):
                stream = await trio.open_tcp_stream(str(self._address.hostname), port)
                if self._address.scheme == "ws":
                    return stream
                secure = trio.SSLStream(
                    stream, self._tls, server_hostname=self._address.hostname, https_compatible=True
                )
                try:
                    await secure.do_handshake()
                except BaseException:
                    await trio.aclose_forcefully(secure)
                    raise
                return secure
        except (OSError, trio.TooSlowError, trio.BrokenResourceError) as exc:
            raise SpeechError(f"no connection to the server: {type(exc).__name__}", is_passing=True) from exc

    async def _upgrade(
        self, nursery: trio.Nursery, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]
    ) -> WebSocketConnection:
        query = f"?{self._address.query}" if self._address.query else ""
        return await trio_websocket.wrap_client_stream(
            nursery,
            stream,
            self._address.netloc.rpartition("@")[2],
            (self._address.path or "/") + query,
            extra_headers=self._headers,
            message_queue_size=QUEUED_MESSAGES,
            max_message_size=MESSAGE_LIMIT_BYTES,
        )


def _rejected(group: BaseExceptionGroup[trio_websocket.ConnectionRejected]) -> SpeechError:
    (rejected, *_) = group.exceptions
    while isinstance(rejected, BaseExceptionGroup):
        (rejected, *_) = rejected.exceptions
    if rejected.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return SpeechError(f"the server does not accept the key (HTTP {rejected.status_code})")
    is_passing = rejected.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
    return SpeechError(f"the server answers with HTTP {rejected.status_code}", is_passing=is_passing)


# These return the error instead of raising it, so that no nursery wraps it.


async def _transcribe(websocket: WebSocketConnection, sound: Sound, show: Show) -> Recognized | SpeechError:
    failure = await _wait_ready(websocket)
    if failure is not None:
        return failure
    sent = _Sent()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send, websocket, sound, sent)
        outcome = await _receive(websocket, sent, show)
        nursery.cancel_scope.cancel(reason="the server has answered")
    return outcome


class _Sent:
    """How much the server has been sent."""

    def __init__(self) -> None:
        self.steps = 0
        self.is_marked = False


async def _prove(websocket: WebSocketConnection) -> str | SpeechError:
    return await _wait_ready(websocket) or "the server has a free channel"


async def _wait_ready(websocket: WebSocketConnection) -> SpeechError | None:
    try:
        event = decode(_binary(await websocket.get_message()))
    except (trio_websocket.ConnectionClosed, RemoteProtocolError) as exc:
        return _failed(exc)
    if isinstance(event, Failed):
        return _refused(event)
    return None if isinstance(event, Ready) else SpeechError("the server is not ready", is_passing=True)


async def _send(websocket: WebSocketConnection, sound: Sound, sent: _Sent) -> None:
    """Send the utterance in whole steps, the marker, and silence until cancelled."""
    reader, rest = sound.reader(MODEL_RATE_HZ), silence(0)

    async def send_step(samples: Samples) -> None:
        sent.steps += 1
        await websocket.send_message(encode_audio(samples))

    try:
        while (samples := await reader.read()) is not None:
            rest = np.concatenate((rest, samples))
            while rest.size >= STEP_SAMPLES:
                step, rest = rest[:STEP_SAMPLES], rest[STEP_SAMPLES:]
                await send_step(step)
        await send_step(np.concatenate((rest, silence(STEP_SAMPLES - rest.size))))
        sent.is_marked = True
        await websocket.send_message(encode_marker(_MARKER))
        for _ in range(FLUSH_STEPS):
            await send_step(silence(STEP_SAMPLES))
        while True:
            await trio.sleep(FLUSH_MORE_SECONDS)
            await send_step(silence(STEP_SAMPLES))
    except trio_websocket.ConnectionClosed:
        return  # which shows where messages are received


async def _receive(websocket: WebSocketConnection, sent: _Sent, show: Show) -> Recognized | SpeechError:
    """Collect words until the marker comes back."""
    words, messages = _Words(), 0
    try:
        while True:
            event = decode(_binary(await websocket.get_message()))
            messages += 1
            seconds = sent.steps * STEP_SAMPLES / MODEL_RATE_HZ
            if isinstance(event, WordBegins):
                words.begin(event)
            if words.are_too_many or messages > SPARE_MESSAGES + MESSAGES_PER_SECOND * seconds:
                return SpeechError("the server says far too much")
            if isinstance(event, WordBegins):
                show(words.text)
            elif isinstance(event, WordEnds):
                words.end(event)
            elif isinstance(event, Failed):
                return _refused(event)
            elif isinstance(event, Returned) and event.marker == _MARKER and sent.is_marked:
                return words.recognized
    except (trio_websocket.ConnectionClosed, RemoteProtocolError) as exc:
        return _failed(exc)


def _binary(message: str | bytes) -> bytes:
    if isinstance(message, str):
        raise RemoteProtocolError("a text message")
    return message


def _refused(event: Failed) -> SpeechError:
    if event.text == NO_CHANNELS:
        return SpeechError("the server has no free channel", is_passing=True, retry_seconds=BUSY_SECONDS)
    return SpeechError("the server reports an error", is_passing=True)


def _failed(exc: Exception) -> SpeechError:
    if isinstance(exc, RemoteProtocolError):
        return SpeechError(f"the server sends what it should not: {exc}")
    return SpeechError("the connection was lost", is_passing=True)
