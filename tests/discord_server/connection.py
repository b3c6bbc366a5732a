"""A WebSocket of a client, written by one task so that messages keep the order in which they were posted."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMessage, WSMsgType, web

OUTBOX_LIMIT_MESSAGES = 5_000


@dataclass(frozen=True, slots=True)
class _Close:
    code: int


class Connection:
    """Posting never waits; `write` must run as a task beside the reader."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self._request = request
        self.socket = socket
        self._outbox: asyncio.Queue[str | bytes | _Close] = asyncio.Queue(OUTBOX_LIMIT_MESSAGES)
        self._is_closing = False
        self._receiving: asyncio.Task[WSMessage] | None = None
        self.server_close_code: int | None = None
        """The code that this server chose, as opposed to what the client sent."""

    @property
    def is_open(self) -> bool:
        """Whether the client can still be reached, as far as is known."""
        return not self._is_closing and not self.socket.closed

    def post(self, message: str | bytes) -> None:
        """Send after what was posted before; a client that reads nothing is cut off."""
        if not self.is_open:
            return
        try:
            self._outbox.put_nowait(message)
        except asyncio.QueueFull:
            self.abort()

    def close(self, code: int) -> None:
        """Close with `code` after what was posted before."""
        if self.is_open and not self._outbox.full():
            self._is_closing = True
            self.server_close_code = code
            self._outbox.put_nowait(_Close(code))

    def close_or_cut(self, code: int) -> None:
        """Close with `code`, where 1006 stands for a cut: that code never travels."""
        if code == 1006:
            self.abort()
        else:
            self.close(code)

    def abort(self) -> None:
        """Cut the TCP connection without a close frame: clients see 1006."""
        self._is_closing = True
        self.server_close_code = 1006
        if self._request.transport is not None:
            self._request.transport.abort()

    async def write(self) -> None:
        """Send what is posted until the connection ends."""
        while True:
            item = await self._outbox.get()
            try:
                if isinstance(item, _Close):
                    await self._stop_reading()
                    await self.socket.close(code=item.code)
                    return
                if isinstance(item, bytes):
                    await self.socket.send_bytes(item)
                else:
                    await self.socket.send_str(item)
            except ConnectionError:  # the reader sees the end as well and does what must be done
                return

    async def _stop_reading(self) -> None:
        """Leave the client's answer to a close frame to `close`.

        When somebody else reads, aiohttp cuts TCP behind the close frame, and a client that is about to answer it
        finds 1006 where the code was.
        """
        if self._receiving is not None:
            self._receiving.cancel()
            await asyncio.wait([self._receiving])

    async def receive_json(self, seconds: float) -> dict[str, Any] | bytes | None:
        """Return the next message: a JSON object, or bytes; None at the end; raises `TimeoutError`, `ValueError`."""
        self._receiving = asyncio.create_task(self.socket.receive())
        try:
            async with asyncio.timeout(seconds):
                message = await self._receiving
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return None  # the writer has stopped it
        finally:
            self._receiving = None
        if message.type is WSMsgType.TEXT:
            decoded = json.loads(message.data)
            if not isinstance(decoded, dict) or "op" not in decoded:
                raise ValueError("the message is no object with an op")
            return decoded
        if message.type is WSMsgType.BINARY:
            return bytes(message.data)
        return None
