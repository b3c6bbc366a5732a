"""The link to a model: TCP, TLS, the WebSocket upgrade, the wait for the model's handshake, and the goodbye.

A PersonaPlex server accepts the upgrade before it has checked anything, so a link is open only after the model's own
handshake. Nothing is sent before it, not even a ping: a waiting server answers none. Goodbye matters as much: a
server that serves one session keeps it for a client that it believes to be there, so a peer that does not answer
the close frame in time gets a TCP reset instead.

trio-websocket drives the frames. It stays silent about a peer that answers the upgrade with something else than HTTP
101 and only ever times out, so `_UpgradeStream` reads that first line along with it.
"""

import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import NoReturn

import trio
import trio_websocket
import wsproto.utilities

from plexbridge.errors import (
    ConfigError,
    LinkError,
    LocalProtocolError,
    ModelUnreachable,
    ModelUntrusted,
    PlexbridgeError,
    RemoteProtocolError,
)
from plexbridge.model.conversation import Conversation, State
from plexbridge.model.protocol import Event, Handshake
from plexbridge.model.request import ModelAddress, ModelRequest

CONNECT_SECONDS = 10.0
"""For TCP, TLS and the upgrade together; a server that can answer does so in far less, model or no model."""
GOODBYE_SECONDS = 0.5
"""A model answers the close frame between two of its steps. Who leaves a voice channel waits for it, so it is short."""
PONG_SECONDS = 10.0
MESSAGE_LIMIT_BYTES = 64 * 1024
"""A model's message is a few hundred bytes; one Ogg page can't exceed 65,307."""
QUEUED_MESSAGES = 4
"""Messages that trio-websocket may hold, 320 ms: together with the channel to playback, which has the same."""

Dial = Callable[[ModelAddress], Awaitable[trio.abc.Stream]]
"""Opens the byte stream to a model's server; raises LinkError."""


def tls_context(*, ca_file: Path | None, is_verified: bool) -> ssl.SSLContext:
    """Return the TLS settings for one model; certificates in `ca_file` are trusted beside the public ones.

    Raises ConfigError when `ca_file` can't be used.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as exc:  # ssl.SSLError is one
            raise ConfigError((f"ca_file: {ca_file} can't be used: {exc.strerror or 'no certificate in it'}",)) from exc
    if not is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def network_dial(context: ssl.SSLContext) -> Dial:
    """Return the dial that goes over the network, with `context` for models at wss:// addresses."""

    async def dial(address: ModelAddress) -> trio.abc.Stream:
        try:
            stream = await trio.open_tcp_stream(address.host, address.port)
        except OSError as exc:
            raise ModelUnreachable(f"no connection to {address}: {exc}") from exc
        if not address.is_tls:
            return stream
        tls_stream = trio.SSLStream(stream, context, server_hostname=address.host, https_compatible=True)
        try:
            await tls_stream.do_handshake()
        except trio.BrokenResourceError as exc:
            await trio.aclose_forcefully(tls_stream)
            raise ModelUntrusted(_tls_fault(exc.__cause__, address)) from exc
        except BaseException:
            await trio.aclose_forcefully(tls_stream)
            raise
        return tls_stream

    return dial


def _tls_fault(cause: BaseException | None, address: ModelAddress) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {address} is not trusted ({cause.verify_message}); "
            "name its authority in ca_file, or set verify = false"
        )
    return f"{address} does not complete a TLS handshake; if it serves without TLS, use ws://"


class _UpgradeStream(trio.abc.Stream):
    """The stream below trio-websocket: watches the answer to the upgrade, and resets what is closed in a hurry."""

    _STATUS_LINE_BYTES = len(b"HTTP/1.1 101")

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._answer: bytes | None = b""
        self._is_closed = False
        self.is_answered = trio.Event()
        """The server has accepted the upgrade, or `refusal` says what it did instead."""
        self.refusal: int | str | None = None
        """Why there is no WebSocket: the HTTP status, or words for anything that is not HTTP."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._answer is None:
            return await self._stream.receive_some(max_bytes)
        while len(self._answer) < self._STATUS_LINE_BYTES:
            try:
                part = await self._stream.receive_some(max_bytes)
            except trio.BrokenResourceError:
                part = b""
            if not part:
                break
            self._answer += part
        answer, self._answer = self._answer, None
        if answer[:9] == b"HTTP/1.1 " and answer[9:12] == b"101":
            return answer
        self.refusal = _refusal(answer)
        self.is_answered.set()
        return b""

    async def aclose(self) -> None:
        # Closed under cancellation: the goodbye was not answered in time. A FIN would leave the server waiting for
        # a client that it believes to be there; a reset makes its next send fail.
        if trio.current_effective_deadline() == -inf and not self._is_closed:
            _reset_on_close(self._stream)
        self._is_closed = True
        await self._stream.aclose()


def _refusal(answer: bytes) -> int | str:
    if answer[:9] == b"HTTP/1.1 " and answer[9:12].isdigit():
        return int(answer[9:12])
    if answer[:1] in (b"\x15", b"\x16"):
        return "it answers with TLS; use wss://"
    if not answer:
        return "it closed the connection instead of answering; if it serves with TLS, use wss://"
    return "it does not speak HTTP"


def _reset_on_close(stream: trio.abc.Stream) -> None:
    transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    if isinstance(transport, trio.SocketStream):
        transport.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))


class Link:
    """A link to a model. Once it is open, one task may send while another receives and a third one pings."""

    def __init__(self, stream: _UpgradeStream, conversation: Conversation) -> None:
        self._stream = stream
        self._websocket: trio_websocket.WebSocketConnection | None = None
        # The reader outlives the cancellation of the link's user: somebody has to read the answer to the goodbye.
        self._reader_scope = trio.CancelScope(shield=True)
        self.conversation = conversation
        self.handshake_seconds = 0.0
        """From the first packet of TCP to the model's handshake."""
        self._upgraded_seconds = 0.0
        self._is_send_cut = False
        self._is_read = trio.Event()

    async def read(self, request: ModelRequest) -> None:
        """Send the upgrade and run trio-websocket's reader until the connection ends or `aclose` has ended it."""
        with self._reader_scope:
            async with trio.open_nursery() as nursery:
                self._websocket = await trio_websocket.wrap_client_stream(
                    nursery,
                    self._stream,  # type: ignore[arg-type]  # any Stream works; the annotation is narrower
                    request.address.host_header,
                    request.resource,
                    message_queue_size=QUEUED_MESSAGES,
                    max_message_size=MESSAGE_LIMIT_BYTES,
                )
                self._upgraded_seconds = trio.current_time()
                self.conversation.upgraded()
                self._stream.is_answered.set()
        self._is_read.set()

    async def wait_upgrade(self) -> int | str | None:
        """Wait until the server has answered the upgrade; return None, or why there is no WebSocket."""
        await self._stream.is_answered.wait()
        return self._stream.refusal

    async def send_audio(self, page: bytes) -> None:
        """Send one Ogg page; raises LinkError when the link has ended."""
        message = self.conversation.send_audio(page)
        self._is_send_cut = True
        try:
            await self._open_websocket.send_message(message)
        except trio_websocket.ConnectionClosed as exc:
            raise self._lost(exc) from exc
        self._is_send_cut = False

    async def receive(self) -> Event:
        """Wait for the next message and return its meaning; raises LinkError when the link has ended."""
        try:
            message = await self._open_websocket.get_message()
        except trio_websocket.ConnectionClosed as exc:
            raise self._lost(exc) from exc
        return self.conversation.receive(message)

    async def wait_lost(self) -> NoReturn:
        """Wait until the connection has ended, and raise the LinkError of that: for a link that is not used yet."""
        await self._is_read.wait()
        raise self._ended(self._open_websocket.closed)

    async def ping(self) -> float:
        """Return the round trip in seconds of a WebSocket ping; raises LinkError when no pong comes in time."""
        sent_seconds = trio.current_time()
        try:
            # A dying connection does not wake a ping up, so it never waits without a bound.
            with trio.fail_after(PONG_SECONDS):
                await self._open_websocket.ping()
        except trio.TooSlowError as exc:
            raise self.conversation.silent(PONG_SECONDS) from exc
        except trio_websocket.ConnectionClosed as exc:
            raise self._lost(exc) from exc
        return trio.current_time() - sent_seconds

    async def aclose(self) -> None:
        """Say goodbye, for a bounded time, and close the stream; also under cancellation."""
        # After a send that was cut the peer could not read a close frame any more.
        with trio.move_on_after(0 if self._is_send_cut else GOODBYE_SECONDS, shield=True):
            if self._websocket is not None:
                await self._websocket.aclose()
            # trio-websocket leaves the stream open when it was the peer that closed.
            await self._stream.aclose()
        self._reader_scope.cancel(reason="the link is closed")
        self.conversation.end("plexbridge hung up")

    @property
    def _open_websocket(self) -> trio_websocket.WebSocketConnection:
        if self._websocket is None:
            raise LocalProtocolError("the link is not open yet")
        return self._websocket

    def _lost(self, exc: trio_websocket.ConnectionClosed) -> LinkError:
        return self._ended(exc.reason)

    def _ended(self, reason: trio_websocket.CloseReason | None) -> LinkError:
        return self.conversation.closed(
            None if reason is None else reason.code,
            "" if reason is None else reason.reason or "",
            age_seconds=trio.current_time() - self._upgraded_seconds,
        )


@asynccontextmanager
async def open_link(
    request: ModelRequest, dial: Dial, *, handshake_seconds: float, watch: Callable[[State], None]
) -> AsyncIterator[Link]:
    """Connect, wait for the model's handshake, and say goodbye at the end.

    `watch` is told the state as it changes until the link is open, so that a person can read why it takes long.
    Raises one plain PlexbridgeError when no link comes about; what fails while it is open arrives in an exception
    group, because the reader of the WebSocket is a task beside the user's.
    """
    conversation = Conversation()
    watch(conversation.state)
    started_seconds = trio.current_time()
    stream = await _connect(request, dial)
    failure: PlexbridgeError | None = None
    try:
        async with trio.open_nursery() as nursery:
            link = Link(_UpgradeStream(stream), conversation)
            nursery.start_soon(link.read, request)
            try:
                failure = await _wait_upgrade(link, request, started_seconds + CONNECT_SECONDS)
                if failure is None:
                    watch(conversation.state)
                    failure = await _wait_handshake(link, handshake_seconds)
                if failure is None:
                    link.handshake_seconds = trio.current_time() - started_seconds
                    watch(conversation.state)
                    yield link
            finally:
                await link.aclose()
    except* (trio_websocket.ConnectionClosed, wsproto.utilities.ProtocolError) as group:
        # trio-websocket's reader lets these escape when a peer breaks the WebSocket's rules and dies at once.
        age_seconds = trio.current_time() - started_seconds
        raise conversation.closed(None, "the peer broke the WebSocket protocol", age_seconds=age_seconds) from group
    if failure is not None:
        raise failure


async def _connect(request: ModelRequest, dial: Dial) -> trio.abc.Stream:
    with trio.move_on_after(CONNECT_SECONDS):
        return await dial(request.address)
    raise ModelUnreachable(f"{request} did not answer within {CONNECT_SECONDS:.0f} s")


# These two return the error instead of raising it, so that no nursery wraps it.


async def _wait_upgrade(link: Link, request: ModelRequest, deadline_seconds: float) -> PlexbridgeError | None:
    with trio.move_on_at(deadline_seconds):
        refusal = await link.wait_upgrade()
        if refusal is None:
            return None
        if isinstance(refusal, int):
            return link.conversation.rejected(refusal)
        return ModelUnreachable(f"{request} is no WebSocket server: {refusal}")
    return link.conversation.handshake_timed_out(CONNECT_SECONDS)


async def _wait_handshake(link: Link, handshake_seconds: float) -> PlexbridgeError | None:
    with trio.move_on_after(handshake_seconds):
        while True:
            try:
                event = await link.receive()
            except (LinkError, RemoteProtocolError) as exc:
                return exc
            if isinstance(event, Handshake):
                return None
    return link.conversation.handshake_timed_out(handshake_seconds)
