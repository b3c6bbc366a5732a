"""The embedded model server: what a machine without a GPU talks to, and the model of the deterministic tests.

It speaks PersonaPlex's protocol for real, seen from the client like NVIDIA's server: the upgrade is accepted before
anything is checked, a query that can't be used ends the connection without a word, a second caller waits in silence
until the first has gone, the handshake comes first and the two header pages right behind it, and every 80 ms that are
heard give 80 ms that are said, coded as one Opus packet in one Ogg page. Nothing heard, nothing said. Only the model
is missing; `plexbridge.model.answers` stands in for it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import parse_qs, urlsplit

import numpy as np
import trio
import trio_websocket

from plexbridge.audio.ogg import OggOpusReader, OggOpusWriter
from plexbridge.audio.opus import Application, Decoder, Encoder, EncoderSettings
from plexbridge.audio.pcm import MODEL_FRAME_SAMPLES, MODEL_FRAME_SECONDS, MODEL_RATE_HZ, Samples, silence
from plexbridge.errors import PacketError, RequestError
from plexbridge.model.answers import Answer, Answerer
from plexbridge.model.protocol import Audio, audio_message, handshake_message, parse_message, text_message

logger = logging.getLogger(__name__)

PATH = "/api/chat"
MESSAGE_LIMIT_BYTES = 4 * 1024 * 1024
"""As aiohttp has it in PersonaPlex' server."""
REQUEST_SECONDS = 10.0
"""For the HTTP request of a client that has connected."""
HEAR_LIMIT_SECONDS = 10.0
"""The most that may be waiting to be cut to model frames; a message that brings more loses its beginning."""
_SERIAL = 42  # sphn writes this one too
_PRE_SKIP_SAMPLES = 312  # the encoder's look-ahead of 6.5 ms, in 48 kHz samples (RFC 7845, section 4.2)
_SETTINGS = EncoderSettings(Application.AUDIO, complexity=5, bitrate_bps=48_000)


@dataclass(frozen=True, slots=True)
class _Said:
    """One answer on its way out; it leaves at `due_seconds`."""

    answer: Answer
    due_seconds: float


class LoopbackServer:
    """A model that serves one caller at a time; `make_answerer` makes what answers in each session.

    Every answer is held back for `delay_seconds`, as a model that computes would. Connections come in through
    `serve_stream`, over whatever stream they come.
    """

    def __init__(self, make_answerer: Callable[[], Answerer], *, delay_seconds: float = 0.0) -> None:
        self._make_answerer = make_answerer
        self._delay_seconds = delay_seconds
        self._slot = trio.Lock()

    @property
    def is_busy(self) -> bool:
        """Whether a caller holds the one session."""
        return self._slot.locked()

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until it ends; whatever a client does costs only this connection."""
        try:
            async with trio.open_nursery() as nursery:
                watched = _WatchedStream(stream, nursery.cancel_scope)
                with trio.fail_after(REQUEST_SECONDS):
                    request = await trio_websocket.wrap_server_stream(
                        nursery, watched, max_message_size=MESSAGE_LIMIT_BYTES
                    )
                await self._serve_request(request)
                nursery.cancel_scope.cancel(reason="the connection has been served")
        except* trio_websocket.ConnectionClosed:
            logger.debug("a caller of the loopback model has left")
        except* Exception as group:
            # trio-websocket's reader lets errors of several libraries escape, and one client that breaks the
            # WebSocket's rules must not end the server.
            names = ", ".join(type(error).__name__ for error in group.exceptions)
            logger.info("a connection to the loopback model broke: %s", names)
        finally:
            await trio.aclose_forcefully(stream)

    async def _serve_request(self, request: trio_websocket.WebSocketRequest) -> None:
        url = urlsplit(request.path)
        if url.path != PATH:
            await request.reject(404)
            return
        websocket = await request.accept()
        if not _is_usable(parse_qs(url.query)):
            logger.info("the loopback model was asked for a voice or a persona that it can't use")
            return
        async with self._slot:
            await self._converse(websocket)

    async def _converse(self, websocket: trio_websocket.WebSocketConnection) -> None:
        await websocket.send_message(handshake_message())
        # Room for what the delay holds back, and a second more; a client that does not read stops being heard.
        room = int((self._delay_seconds + 1.0) / MODEL_FRAME_SECONDS)
        to_say, said = trio.open_memory_channel[_Said](room)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_say, websocket, said)
            async with to_say:
                await self._hear(websocket, to_say)

    async def _hear(
        self, websocket: trio_websocket.WebSocketConnection, to_say: trio.MemorySendChannel[_Said]
    ) -> NoReturn:
        answerer = self._make_answerer()
        with Decoder(rate_hz=MODEL_RATE_HZ) as decoder:
            ear = _Ear(decoder)
            while True:
                event = parse_message(await websocket.get_message())
                if not isinstance(event, Audio):
                    continue
                for frame in ear.hear(event.data):
                    due_seconds = trio.current_time() + self._delay_seconds
                    await to_say.send(_Said(answerer.answer(frame), due_seconds))


class _WatchedStream(trio.abc.Stream):
    """Ends the connection's tasks when the client has gone: trio-websocket goes on waiting for its request, and a
    caller who waits for the slot would come to hold it.
    """

    def __init__(self, stream: trio.abc.Stream, connection: trio.CancelScope) -> None:
        self._stream = stream
        self._connection = connection

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            data = b""
        if not data:
            self._connection.cancel(reason="the client has left")
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Ear:
    """What the caller sends, decoded and cut to model frames."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._reader = OggOpusReader()
        self._heard = silence(0)

    def hear(self, data: bytes) -> list[Samples]:
        """Return the model frames (1920 samples at 24 kHz) that are complete with `data`."""
        for packet in self._reader.feed(data):
            try:
                decoded = self._decoder.decode(packet.data)
            except PacketError:
                continue  # PersonaPlex ends the session here; a model that people try out at home need not
            self._heard = np.concatenate((self._heard, decoded))[-int(HEAR_LIMIT_SECONDS * MODEL_RATE_HZ) :]
        whole = self._heard.size // MODEL_FRAME_SAMPLES * MODEL_FRAME_SAMPLES
        frames, self._heard = self._heard[:whole], self._heard[whole:]
        return list(frames.reshape(-1, MODEL_FRAME_SAMPLES))


async def _say(websocket: trio_websocket.WebSocketConnection, said: trio.MemoryReceiveChannel[_Said]) -> None:
    writer = OggOpusWriter(serial=_SERIAL, input_rate_hz=MODEL_RATE_HZ, pre_skip_samples=_PRE_SKIP_SAMPLES)
    async with said:
        with Encoder(rate_hz=MODEL_RATE_HZ, settings=_SETTINGS) as encoder:
            for page in writer.headers():
                await websocket.send_message(audio_message(page))
            async for one in said:
                await trio.sleep_until(one.due_seconds)
                for piece in one.answer.pieces:
                    await websocket.send_message(text_message(piece))
                await websocket.send_message(audio_message(writer.page(encoder.encode(one.answer.samples))))


def _is_usable(query: dict[str, list[str]]) -> bool:
    """Say whether PersonaPlex would take this query: both prompts, neither of them empty, and never a seed."""
    # parse_qs leaves out items without a value.
    voice, text = query.get("voice_prompt"), query.get("text_prompt")
    return bool(voice and text) and "seed" not in query


async def listen_loopback(host: str, port: int) -> tuple[list[trio.SocketListener], str]:
    """Return listeners for `serve_loopback`, and the address that a client calls; port 0 takes a free one.

    Raises RequestError when the address can't be served on.
    """
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as exc:
        raise RequestError(f"The loopback model can't be served at {host} port {port}: {exc.strerror}.") from exc
    listening_port = listeners[0].socket.getsockname()[1]
    return listeners, f"ws://{f'[{host}]' if ':' in host else host}:{listening_port}{PATH}"


async def serve_loopback(server: LoopbackServer, listeners: list[trio.SocketListener]) -> NoReturn:
    """Serve the model until cancelled; closes the listeners."""
    await trio.serve_listeners(server.serve_stream, listeners)
