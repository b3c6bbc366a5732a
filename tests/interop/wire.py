"""A WebSocket client on a bare Trio stream: just enough of RFC 6455 to see what a server puts on the wire.

It shares nothing with plexbridge's client nor with aiohttp: what it does not do (answer pings, answer close frames)
the server can't rely on, and what it does wrong on purpose (vanish, break off) is under the test's control.
"""

import ssl
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from socket import SO_LINGER, SOL_SOCKET
from urllib.parse import urlencode, urlsplit

import trio

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
"""Opcodes."""

DROPPED = 1006
"""Stands for an end without a close frame."""

COMPRESSED_BIT = 0x40
MASK = b"\x5a\xa5\x3c\xc3"
CHUNK_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Frame:
    """One WebSocket frame of the server and when it was complete, on Trio's clock."""

    opcode: int
    payload: bytes
    at_seconds: float
    is_compressed: bool = False


class Wire:
    """An open connection; `status` is not 101 when the server refused the upgrade."""

    def __init__(self, socket: trio.SocketStream, stream: trio.abc.Stream) -> None:
        self._socket = socket
        self._stream = stream
        self._buffer = bytearray()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.was_reset = False
        """Whether the server ended the connection with an RST that was met while receiving."""
        self.close_reason = b""
        """What came with the close code, once there was one."""

    async def request(self, target: str, headers: Mapping[str, str]) -> None:
        """Send the upgrade request and read the head of the answer."""
        fields = {
            "Host": "127.0.0.1",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        } | dict(headers)
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value)]
        await self._stream.send_all("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self._buffer:
            await self._read_more()
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer = bytearray(rest)
        status_line, *header_lines = head.decode().split("\r\n")
        self.status = int(status_line.split()[1])
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in header_lines)
        }

    async def send(self, payload: bytes, opcode: int = BINARY) -> None:
        """Send one frame."""
        size = len(payload)
        if size < 126:
            head = struct.pack(">BB", 0x80 | opcode, 0x80 | size)
        elif size < 65_536:
            head = struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, size)
        else:
            head = struct.pack(">BBQ", 0x80 | opcode, 0x80 | 127, size)
        mask = (MASK * (size // 4 + 1))[:size]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(size, "big")
        await self._stream.send_all(head + MASK + masked)

    async def send_close(self, code: int = 1000) -> None:
        """Send a close frame and leave the connection open."""
        await self.send(struct.pack(">H", code), CLOSE)

    async def receive(self) -> Frame:
        """Return the next frame; raises `trio.EndOfChannel` when the server is gone."""
        await self._fill(2)
        first, size = self._buffer[0], self._buffer[1] & 0x7F
        start = {126: 4, 127: 10}.get(size, 2)
        await self._fill(start)
        if start > 2:
            size = int.from_bytes(self._buffer[2:start], "big")
        await self._fill(start + size)
        payload = bytes(self._buffer[start : start + size])
        del self._buffer[: start + size]
        return Frame(first & 0x0F, payload, trio.current_time(), bool(first & COMPRESSED_BIT))

    async def receive_to_end(self, frames: list[Frame]) -> int:
        """Append frames to `frames` until the server closes or is gone; return the close code."""
        while True:
            try:
                frame = await self.receive()
            except trio.EndOfChannel:
                return DROPPED
            if frame.opcode == CLOSE:
                self.close_reason = frame.payload[2:]
                return int.from_bytes(frame.payload[:2], "big")
            frames.append(frame)

    def reset(self) -> None:
        """Make the end of this connection an RST; it happens when the context is left."""
        self._socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))

    async def vanish(self) -> None:
        """Close the socket at once, without a close frame."""
        await trio.aclose_forcefully(self._stream)

    async def _fill(self, count: int) -> None:
        while len(self._buffer) < count:
            await self._read_more()

    async def _read_more(self) -> None:
        try:
            data = await self._stream.receive_some(CHUNK_BYTES)
        except trio.BrokenResourceError:
            self.was_reset = True
            data = b""
        if not data:
            raise trio.EndOfChannel
        self._buffer += data


@asynccontextmanager
async def open_wire(
    url: str,
    query: Mapping[str, str] | str = "",
    *,
    headers: Mapping[str, str] | None = None,
    trust: ssl.SSLContext | None = None,
) -> AsyncIterator[Wire]:
    """Connect, ask for the upgrade and give the wire, whatever the answer was.

    A header with an empty value is left out. `query` is percent-encoded unless it is a string already. Raises
    `trio.BrokenResourceError` when TLS fails.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    encoded = query if isinstance(query, str) else urlencode(query)
    socket = await trio.open_tcp_stream(parts.hostname, parts.port)
    stream: trio.abc.Stream = socket
    if parts.scheme == "wss":
        stream = trio.SSLStream(socket, trust or ssl.create_default_context(), server_hostname=parts.hostname)
    wire = Wire(socket, stream)
    try:
        await wire.request(parts.path + (f"?{encoded}" if encoded else ""), headers or {})
        yield wire
    finally:
        await trio.aclose_forcefully(stream)
