"""From an HTTP request to a WebSocket, on the same stream.

trio-websocket wants to read the request itself, and its parser trips over what it does not expect. So it is given one
made here, which holds nothing of the client but its key, and then the stream: what the client has sent ahead included,
and not faster than a client with a voice needs.
"""

import base64
import binascii
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import trio
import trio_websocket

from plexbridge.people.web.frames import FrameCounter
from plexbridge.people.web.http import READ_BYTES, REQUEST_SECONDS, Refused, Request
from plexbridge.people.web.pace import Pace

logger = logging.getLogger(__name__)

MESSAGE_LIMIT_BYTES = 8 * 1024
MESSAGE_QUEUE_LIMIT = 32
"""Messages that have come in and wait for the conversation, half a second's; when it is full nothing more is read."""
FRAMES_PER_SECOND = 200
"""Four times what a voice and its reports take."""
FRAMES_BURST = 600
PING_SECONDS = 10.0
PONG_SECONDS = 10.0
"""A client that has not answered a ping by then has gone, though nothing closed the connection."""
CLOSE_SECONDS = 1.0
"""For the closing handshake."""


def find_key(request: Request) -> bytes:
    """Return the key of a request for a WebSocket.

    Raises Refused when it is none.
    """
    headers = request.headers
    connection = [token.strip().lower() for token in headers.get("connection", "").split(",")]
    if request.method != "GET" or "upgrade" not in connection or headers.get("upgrade", "").lower() != "websocket":
        raise Refused(HTTPStatus.UPGRADE_REQUIRED, "Here is a WebSocket, and nothing else.")
    if headers.get("sec-websocket-version") != "13":
        raise Refused(HTTPStatus.UPGRADE_REQUIRED, "Only version 13 of the WebSocket protocol is spoken here.")
    key = headers.get("sec-websocket-key", "")
    try:
        is_key = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        is_key = False
    if not is_key:
        raise Refused(HTTPStatus.BAD_REQUEST, "The key of the WebSocket is none.")
    return key.encode("ascii")


@asynccontextmanager
async def open_websocket(
    stream: trio.abc.Stream, key: bytes, early_bytes: bytes
) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """Accept the upgrade; the WebSocket lives for the length of the block and is closed properly if it ends well.

    A client that is gone, by the pings, cancels the block.
    """
    async with trio.open_nursery() as nursery:
        client = _UpgradedStream(stream, key, early_bytes)
        with trio.fail_after(REQUEST_SECONDS):
            request = await trio_websocket.wrap_server_stream(
                nursery, client, message_queue_size=MESSAGE_QUEUE_LIMIT, max_message_size=MESSAGE_LIMIT_BYTES
            )
            websocket = await request.accept()
        client.accepted.set()
        nursery.start_soon(_keep_alive, websocket, nursery.cancel_scope)
        yield websocket
        with trio.move_on_after(CLOSE_SECONDS):
            await websocket.aclose()
        nursery.cancel_scope.cancel(reason="the conversation is over")


async def _keep_alive(websocket: trio_websocket.WebSocketConnection, connection: trio.CancelScope) -> None:
    while True:
        await trio.sleep(PING_SECONDS)
        with trio.move_on_after(PONG_SECONDS) as patience:
            try:
                await websocket.ping()
            except trio_websocket.ConnectionClosed:
                return
        if patience.cancelled_caught:
            logger.info("a client of the web page does not answer any more, its connection is given up")
            connection.cancel(reason="no pong")
            return


class _UpgradedStream(trio.abc.Stream):
    """What trio-websocket reads: a request, then what the client sent with its own, then the client."""

    def __init__(self, stream: trio.abc.Stream, key: bytes, early_bytes: bytes) -> None:
        self._stream = stream
        self._request = (
            b"GET / HTTP/1.1\r\nHost: plexbridge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n" % key
        )
        self._early_bytes = early_bytes
        self.accepted = trio.Event()
        """Set when the upgrade has been accepted: what is read before that would be lost."""
        self._counter = FrameCounter()
        self._pace = Pace(per_second=FRAMES_PER_SECOND, burst=FRAMES_BURST)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._request:
            request, self._request = self._request, b""
            return request
        await self.accepted.wait()
        data: bytes | bytearray
        if self._early_bytes:
            data, self._early_bytes = self._early_bytes, b""
        else:
            data = await self._stream.receive_some(READ_BYTES)
        frames = self._counter.count(data)
        next_seconds = self._pace.take(frames, trio.current_time())
        if next_seconds > trio.current_time():
            await trio.sleep_until(next_seconds)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()
