"""A page without a browser: a client of `/ws/voice`, written from docs/ws-voice.md and nothing of plexbridge's own.

It speaks through whatever `trio_websocket` connection it is given, over a network or over memory, and writes down all
that it gets. `open_visitor` has it say hello, read and, like a page, report five times a second what it has played.
"""

import json
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
import trio_websocket

FRAME_SECONDS = 0.02
REPORT_SECONDS = 0.2


@dataclass(frozen=True)
class Packet:
    """One frame that has come."""

    at_seconds: float
    sequence: int
    payload: bytes


@dataclass
class Visitor:
    """What one client has said and got."""

    websocket: trio_websocket.WebSocketConnection
    packets: list[Packet] = field(default_factory=list)
    texts: list[dict[str, object]] = field(default_factory=list)
    close_code: int | None = None
    """None while the connection stands."""
    plays: bool = True
    """Whether it reports that it plays what it gets."""
    said: int = 0
    """The sequence number that comes next."""
    sent_at_seconds: dict[int, float] = field(default_factory=dict)
    """When each sequence number was sent."""
    _changed: trio.Event = field(default_factory=trio.Event)

    async def hello(self, mode: str = "loopback", codec: str = "opus", **more: object) -> None:
        """Say what is wanted."""
        await self.send({"type": "hello", "version": 1, "mode": mode, "codec": codec, **more})

    async def send(self, message: dict[str, object]) -> None:
        """Send a text message."""
        await self.websocket.send_message(json.dumps(message))

    async def say_one(self, payload: bytes) -> None:
        """Send one frame."""
        sequence, self.said = self.said, self.said + 1
        self.sent_at_seconds[sequence] = trio.current_time()
        await self.websocket.send_message(struct.pack(">BI", 1, sequence) + payload)

    async def say(self, payloads: Iterable[bytes]) -> None:
        """Send frames as a microphone makes them, one every 20 ms."""
        due_seconds = trio.current_time()
        for payload in payloads:
            await self.say_one(payload)
            due_seconds += FRAME_SECONDS
            await trio.sleep_until(due_seconds)

    def be_muted(self, frames: int) -> None:
        """Leave so many frames out."""
        self.said += frames

    async def report(self) -> None:
        """Say once how far it has played."""
        played = self.packets[-1].sequence if self.packets and self.plays else -1
        clock_ms = trio.current_time() * 1000
        await self.send({"type": "stats", "clock_ms": clock_ms, "played": played, "depth_ms": 40.0})

    def of(self, kind: str) -> list[dict[str, object]]:
        """Return the text messages of one type."""
        return [text for text in self.texts if text["type"] == kind]

    async def wait(self, what: Callable[["Visitor"], bool]) -> None:
        """Wait until something is so; it is looked at whenever a message comes, and when the connection ends."""
        while not what(self):
            assert self.close_code is None, f"closed with {self.close_code} before: {self.texts[-3:]}"
            await self._changed.wait()

    async def wait_for(self, kind: str, count: int = 1) -> dict[str, object]:
        """Wait for the first message of a type, or for the `count`th; return it."""
        await self.wait(lambda visitor: len(visitor.of(kind)) >= count)
        return self.of(kind)[count - 1]

    async def wait_closed(self) -> int:
        """Wait for the end; return the close code."""
        while self.close_code is None:
            await self._changed.wait()
        return self.close_code

    async def read(self) -> None:
        """Write down what comes, until the end."""
        while self.close_code is None:
            try:
                message = await self.websocket.get_message()
            except trio_websocket.ConnectionClosed as closed:
                self.close_code = 1006 if closed.reason is None else closed.reason.code
            else:
                if isinstance(message, str):
                    self.texts.append(json.loads(message))
                else:
                    kind, sequence = struct.unpack_from(">BI", message)
                    assert kind == 1
                    self.packets.append(Packet(trio.current_time(), sequence, message[5:]))
            self._changed.set()
            self._changed = trio.Event()

    async def keep_reporting(self) -> None:
        """Report five times a second until the end."""
        while self.close_code is None:
            try:
                await self.report()
            except trio_websocket.ConnectionClosed:
                return
            await trio.sleep(REPORT_SECONDS)


@asynccontextmanager
async def open_visitor(
    websocket: trio_websocket.WebSocketConnection, mode: str = "loopback", codec: str = "opus", **more: object
) -> AsyncIterator[Visitor]:
    """Say hello, and have a visitor read and report for the length of the block."""
    visitor = Visitor(websocket)
    await visitor.hello(mode, codec, **more)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(visitor.read)
        nursery.start_soon(visitor.keep_reporting)
        yield visitor
        nursery.cancel_scope.cancel(reason="the visitor has seen enough")
