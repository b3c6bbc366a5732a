"""The web front's conversation in simulated time: real WebSockets over memory, and models over memory behind them."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random

import numpy as np
import trio
import trio_websocket

from plexbridge.audio.hearing import HearingSettings
from plexbridge.audio.opus import Application, Encoder, EncoderSettings
from plexbridge.audio.pcm import Samples
from plexbridge.config import ModelConfig, PersonaConfig, RenewalConfig
from plexbridge.model.pool import Pool
from plexbridge.people.web.client import converse
from plexbridge.people.web.messages import MESSAGE_LIMIT_BYTES
from plexbridge.people.web.visit import Surroundings
from plexbridge.service import Backend, probe_model
from tests.session.simulation import SETTINGS, SimulatedModel
from tests.web.visitor import Visitor, open_visitor

TOKEN = "a token of the tests"
BROWSER = EncoderSettings(Application.VOIP, complexity=5, bitrate_bps=32_000)
"""What browsers make of speech."""


def tone(count: int, *, frequency_hz: float = 440.0, amplitude: float = 0.35) -> list[Samples]:
    """Return so many frames of 20 ms at 48 kHz of a tone."""
    positions = np.arange(count * 960)
    samples = amplitude * np.sin(2 * np.pi * frequency_hz * positions / 48_000)
    return list(samples.astype(np.float32).reshape(count, 960))


def opus_packets(count: int, **more: float) -> list[bytes]:
    """Return the same in Opus."""
    with Encoder(rate_hz=48_000, settings=BROWSER) as encoder:
        return [encoder.encode(frame) for frame in tone(count, **more)]


def pcm_frames(count: int, **more: float) -> list[bytes]:
    """Return the same in plain samples."""
    return [np.rint(frame * 32767).astype("<i2").tobytes() for frame in tone(count, **more)]


class Valve(trio.abc.Stream):
    """The server's end of a connection; closed, it lets nothing through to the client, like a full socket."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._opened: trio.Event | None = None
        self.is_closed = False

    def shut(self) -> None:
        """Let nothing through any more."""
        self._opened = trio.Event()

    def open(self) -> None:
        """Let everything through again."""
        if self._opened is not None:
            self._opened.set()
            self._opened = None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._opened is not None:
            await self._opened.wait()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        self.is_closed = True
        await self._stream.aclose()


class RecordedStream(trio.abc.Stream):
    """A model's end of a connection, which writes down what it is asked first: the request, with voice and prompt."""

    def __init__(self, stream: trio.abc.Stream, requests: list[str]) -> None:
        self._stream = stream
        self._requests: list[str] | None = requests

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        if self._requests is not None:
            self._requests.append(bytes(data).decode())
            self._requests = None
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


class RecordedModel(SimulatedModel):
    """A model that knows what it was asked for."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self.requests: list[str] = []
        serve = self.server.serve_stream
        self.server.serve_stream = (  # type: ignore[method-assign]
            lambda stream: serve(RecordedStream(stream, self.requests))
        )

    async def die(self) -> None:
        """Break all connections, and take no others."""
        self.is_gone = True
        for stream in self.streams:
            await stream.aclose()


@dataclass
class World:
    """A front with its models; visitors come by `enter`."""

    nursery: trio.Nursery
    models: dict[str, RecordedModel]
    around: Surroundings
    held: list[trio.CancelScope] = field(default_factory=list)
    """What serves each connection, to be cancelled."""
    valves: list[Valve] = field(default_factory=list)
    served: int = 0
    """How many connections have ended."""
    token: str = TOKEN
    on_serving: Callable[[trio.lowlevel.Task], None] = lambda task: None
    """Called in the task that serves a connection."""
    ended: trio.Event = field(default_factory=trio.Event)
    """One has."""

    async def connect(self, *, task_status: trio.TaskStatus[trio_websocket.WebSocketConnection]) -> None:
        """Serve one connection as the front does, and hand its client's end over."""
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            self.valves.append(Valve(ours))
            nursery.start_soon(self._serve, self.valves[-1])
            client = await trio_websocket.wrap_client_stream(
                nursery,
                theirs,  # type: ignore[arg-type]  # any Stream works; the annotation is narrower
                "voice.example",
                "/ws/voice",
            )
            task_status.started(client)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        scope = trio.CancelScope()
        self.held.append(scope)
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream, max_message_size=2 * MESSAGE_LIMIT_BYTES)
            websocket = await request.accept()
            self.on_serving(trio.lowlevel.current_task())
            with scope:
                await converse(websocket, lambda: None, self.around)
            nursery.cancel_scope.cancel(reason="served")
        await stream.aclose()
        self.served += 1
        self.ended.set()

    @asynccontextmanager
    async def enter(self, mode: str = "loopback", codec: str = "opus", **more: object) -> AsyncIterator[Visitor]:
        """Let a visitor in for the length of the block."""
        websocket = await self.nursery.start(self.connect)
        async with open_visitor(websocket, mode, codec, **{"token": TOKEN, **more}) as visitor:
            yield visitor
            with trio.move_on_after(1):
                await websocket.aclose()


@asynccontextmanager
async def open_world(
    models: Sequence[str] = ("a",), *, slot_seconds: float = 0.0, place_seconds: float = 60.0
) -> AsyncIterator[World]:
    """Run a front over models of these names for the length of the block."""
    async with trio.open_nursery() as nursery:
        simulated = {name: RecordedModel(nursery) for name in models}
        backends = []  # the host's lock is real, so that their addresses are this process' own
        for name, model in simulated.items():
            config = ModelConfig(name=name, url=f"ws://{name}-{os.getpid()}/api/chat")
            backends.append(Backend(config, config.url, model.dial))
        pool = Pool(
            backends, slot_seconds=slot_seconds, probe=partial(probe_model, persona=PersonaConfig()), random=Random(1)
        )
        nursery.start_soon(pool.run)
        around = Surroundings(
            pool=pool,
            persona=PersonaConfig(),
            settings=SETTINGS,
            renewal=RenewalConfig(),
            hearing=HearingSettings(),
            place_seconds=place_seconds,
            is_token=lambda given: given == TOKEN,
        )
        yield World(nursery, simulated, around)
        nursery.cancel_scope.cancel(reason="the world ends")
