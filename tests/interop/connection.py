"""One accepted WebSocket on aiohttp, with the counting and the faults that belong to the socket itself."""

# mypy: disable-error-code="import-not-found"

import asyncio
import contextlib
import socket
import struct

from aiohttp import WSMessage, WSMsgType, web

from tests.interop.flags import Flags
from tests.interop.observer import Observer

ENDED = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
"""Message types after which nothing more will be received."""

GONE_POLL_SECONDS = 0.01


class Connection:
    """An upgraded request.

    As with aiohttp's own handling, pings are answered, and a close frame too, only while somebody is inside `receive`:
    a connection that waits for the lock does neither.
    """

    def __init__(self, request: web.Request, flags: Flags, observer: Observer) -> None:
        self._request = request
        self._hangs_on_close = flags.hang_on_close
        self._observer = observer
        self._ignores_close = False
        self.websocket = web.WebSocketResponse(autoping=False, autoclose=not flags.hang_on_close)

    async def accept(self) -> None:
        """Answer the upgrade."""
        await self.websocket.prepare(self._request)

    async def receive(self) -> WSMessage:
        """Return the next message that is neither a ping nor a pong."""
        while True:
            if self._ignores_close:
                await self._wait_gone()
            message = await self.websocket.receive()
            if message.type is WSMsgType.PING:
                with self._observer.update() as state:
                    state.pings_received += 1
                await self.websocket.pong(message.data)
            elif message.type is WSMsgType.CLOSE and self._hangs_on_close:
                self._ignores_close = True
            elif message.type is not WSMsgType.PONG:
                return message

    async def send(self, message: bytes | str) -> None:
        """Send a binary message, or a text frame when it is a string."""
        if isinstance(message, bytes):
            await self.websocket.send_bytes(message)
        else:
            await self.websocket.send_str(message)

    @property
    def is_closed(self) -> bool:
        """Whether the WebSocket is at its end."""
        return bool(self.websocket.closed)

    @property
    def close_code(self) -> int | None:
        """The close code seen or sent, or None when there was no close frame."""
        code = self.websocket.close_code
        return None if code is None else int(code)

    async def close(self, code: int = 1000) -> None:
        """Close with a code and no reason; 1006, which can't be sent, resets the connection instead."""
        if code == 1006:
            self.reset()
        else:
            await self.websocket.close(code=code)

    def reset(self) -> None:
        """Drop the TCP connection at once, with an RST."""
        transport = self._request.transport
        if transport is None:
            return
        # The socket may be closed already, which is what is wanted.
        with contextlib.suppress(OSError):
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()

    async def _wait_gone(self) -> None:
        """Wait until the peer has left; aiohttp tells so only to whoever receives, which a hung server does not."""
        while (transport := self._request.transport) is not None and not transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(GONE_POLL_SECONDS)
        self._ignores_close = False
