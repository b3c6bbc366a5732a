"""`/api/asr-streaming` of a moshi-server, as its source has it (`batched_asr.rs`).

A connection takes one of the server's channels for as long as it lasts. It is told `Ready`, and then sends `Audio` and
`Marker` as msgpack maps. Of what has come the server takes one message, and works on one step of 1920 samples, at a
time. A step answers for the one that lies the model's delay before it, and a marker comes back when that is so for all
the audio before it. Here a "word" is a stretch of loud steps: "noise1", "noise2" and so on.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import msgpack
from aiohttp import WSMsgType, web

from tests.speech_server.running import running

Fault = Literal[
    "ok",
    "never ready",
    "closes",
    "closes midway",
    "garbage",
    "text",
    "error",
    "floods",
    "flood of steps",
    "never marks",
]
KEY = "sesame"
STEP_SAMPLES = 1_920
STEP_SECONDS = 0.08
DELAY_STEPS = 7
"""The smaller model's half a second, and one."""
LOUD = 0.02
MIDWAY_STEPS = 6


@dataclass
class Channel:
    """What one connection has sent, and what was answered."""

    steps: int = 0
    samples: int = 0
    messages: int = 0
    loud: list[bool] = field(default_factory=list)
    words: int = 0
    is_word: bool = False
    marker: tuple[int, int] | None = None
    """Its number, and the step with which it comes back."""

    def take(self, pcm: list[float]) -> list[dict[str, object]]:
        """Work on one step; return what is to be said after it."""
        self.steps += 1
        self.loud.append(sum(value * value for value in pcm) / len(pcm) > LOUD**2)
        said: list[dict[str, object]] = [
            {"type": "Step", "step_idx": self.steps, "prs": [0.1, 0.2, 0.3], "buffered_pcm": 0}
        ]
        index = self.steps - 1 - DELAY_STEPS
        if index >= 0:
            if self.loud[index] and not self.is_word:
                self.words += 1
                said.append({"type": "Word", "text": f"noise{self.words}", "start_time": index * STEP_SECONDS})
            elif self.is_word and not self.loud[index]:
                said.append({"type": "EndWord", "stop_time": index * STEP_SECONDS})
            self.is_word = self.loud[index]
        if self.marker is not None and self.steps >= self.marker[1]:
            said.append({"type": "Marker", "id": self.marker[0]})
            self.marker = None
        return said


@dataclass
class KyutaiServer:
    """A running server; each connection has the next fault, the last one again and again."""

    free_channels: int
    faults: list[Fault]
    url: str = ""
    channels: list[Channel] = field(default_factory=list)
    refused: int = 0
    unauthorized: int = 0

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Hold one connection."""
        if request.headers.get("kyutai-api-key") != KEY:
            self.unauthorized += 1
            return web.Response(status=401)
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        if not self.free_channels:
            self.refused += 1
            await _send(websocket, {"type": "Error", "message": "no free channels"})
            await websocket.close()
            return websocket
        self.free_channels -= 1
        fault = self.faults.pop(0) if len(self.faults) > 1 else self.faults[0]
        try:
            await self._serve(request, websocket, fault)
        except ConnectionResetError:
            pass  # the client has gone
        finally:
            self.free_channels += 1
        return websocket

    async def _serve(self, request: web.Request, websocket: web.WebSocketResponse, fault: Fault) -> None:
        channel, pcm = Channel(), list[float]()
        self.channels.append(channel)
        if fault == "never ready":
            await asyncio.sleep(3600)
        if fault == "closes":
            await websocket.close()
            return
        await _send(websocket, {"type": "Ready"})
        async for message in websocket:
            if message.type is not WSMsgType.BINARY:
                continue
            content = msgpack.unpackb(message.data)
            channel.messages += 1
            if content["type"] == "Audio":
                channel.samples += len(content["pcm"])
                pcm += content["pcm"]
            elif content["type"] == "Marker" and fault != "never marks":
                channel.marker = content["id"], channel.steps + DELAY_STEPS + len(pcm) // STEP_SAMPLES
            while len(pcm) >= STEP_SAMPLES:
                step, pcm = pcm[:STEP_SAMPLES], pcm[STEP_SAMPLES:]
                for answer in channel.take(step):
                    await _send(websocket, answer)
                if channel.steps == MIDWAY_STEPS and await _break(request, websocket, fault):
                    return


async def _break(request: web.Request, websocket: web.WebSocketResponse, fault: Fault) -> bool:
    """Do what is wrong with a connection; say whether that ends it."""
    match fault:
        case "closes midway":
            assert request.transport is not None
            request.transport.abort()
            return True
        case "error":
            await _send(websocket, {"type": "Error", "message": "model failure"})
            await websocket.close()
            return True
        case "garbage":
            await websocket.send_bytes(b"\xc1\x00garbage")
        case "text":
            await websocket.send_str("hello")
        case "floods":
            while True:
                await _send(websocket, {"type": "Word", "text": "blah" * 100, "start_time": 0.0})
                await asyncio.sleep(0)  # sending does not wait as long as the client reads
        case "flood of steps":
            while True:
                await _send(websocket, {"type": "Step", "step_idx": 0, "prs": [], "buffered_pcm": 0})
                await asyncio.sleep(0)
    return False


async def _send(websocket: web.WebSocketResponse, content: dict[str, object]) -> None:
    await websocket.send_bytes(msgpack.packb(content))


@contextmanager
def run_kyutai(*faults: Fault, channels: int = 4) -> Iterator[KyutaiServer]:
    """Run a server whose connections have these faults, one after the other."""
    server = KyutaiServer(channels, list(faults) or ["ok"])
    application = web.Application()
    application.router.add_get("/api/asr-streaming", server.stream)
    with running(application) as port:
        server.url = f"ws://127.0.0.1:{port}/api/asr-streaming"
        yield server
