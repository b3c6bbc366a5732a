"""A bot without any library: it says what a test wants and keeps what it gets, for what no library would do or show.

It runs on an event loop in a thread; every method blocks until that loop has done it. Gateway heartbeats are left out,
so that it lives for one heartbeat interval at most.
"""

import asyncio
import json
import ssl
import struct
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp

from tests.discord_server.control import AES256_GCM, Ready
from tests.discord_server.guild import Json
from tests.discord_server.hearing import Hearing
from tests.discord_server.person_voice import PersonVoice
from tests.discord_server.voice_session import Grant

CALL_SECONDS = 15.0
GUILDS, VOICE_STATES, GUILD_MESSAGES = 1 << 0, 1 << 7, 1 << 9
Result = TypeVar("Result")


class RawVoice:
    """A voice WebSocket that was sent op 0 or 7 and nothing else."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.messages: list[tuple[int, Any]] = []
        """Op and payload, a JSON value or bytes."""
        self.close_code: int | None = None

    @property
    def ops(self) -> list[int]:
        """The ops in the order of their arrival."""
        return [op for op, _ in self.messages]

    async def send(self, op: int, data: Json) -> None:
        """Send a JSON message."""
        await self._socket.send_str(json.dumps({"op": op, "d": data}))

    async def read(self) -> None:
        """Keep what comes until the end."""
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                received = json.loads(message.data)
                self.messages.append((received["op"], received["d"]))
            elif message.type is aiohttp.WSMsgType.BINARY:
                _, op = struct.unpack_from(">HB", message.data)
                self.messages.append((op, message.data[3:]))
        self.close_code = self._socket.close_code or 1006

    async def close(self) -> None:
        """Say goodbye."""
        await self._socket.close()


class RawBot:
    """A context manager: identified inside, or refused with `close_code`."""

    def __init__(self, ready: Ready, *, intents: int = GUILDS | VOICE_STATES) -> None:
        self._ready = ready
        self._intents = intents
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="raw-bot")
        self._tls = ssl.create_default_context(cafile=ready.ca_file)
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._voices: list[PersonVoice | RawVoice] = []
        self.events: list[tuple[str, Json]] = []
        self.close_code: int | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self.do(self._connect())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.do(self._disconnect())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    def payloads(self, event: str) -> list[Json]:
        """Return the data of all events of a name."""
        return [data for name, data in list(self.events) if name == event]

    def request_voice(self, channel_id: int | None) -> None:
        """Send op 4."""
        flags = {"self_mute": False, "self_deaf": False}
        guild_id, channel = str(self._ready.guild_id), str(channel_id) if channel_id is not None else None
        data = {"guild_id": guild_id, "channel_id": channel, **flags}
        self.do(self._socket.send_str(json.dumps({"op": 4, "d": data})))

    def grant(self, channel_id: int) -> Grant:
        """Send op 4 and return what Discord then gives: where to connect, and as whom."""
        before = len(self.payloads("VOICE_SERVER_UPDATE"))
        self.request_voice(channel_id)
        self.do(self._wait_events("VOICE_SERVER_UPDATE", before + 1))
        return self.newest_grant()

    def newest_grant(self) -> Grant:
        """Return where the last events say that the bot is."""
        server = self.payloads("VOICE_SERVER_UPDATE")[-1]
        bot_id = self._ready.bot_id
        state = [state for state in self.payloads("VOICE_STATE_UPDATE") if int(state["user_id"]) == bot_id][-1]
        return Grant(
            int(state["guild_id"]),
            int(state["channel_id"]),
            bot_id,
            state["session_id"],
            server["token"],
            server["endpoint"],
        )

    def identify(self, grant: Grant) -> RawVoice:
        """Open the voice WebSocket and send op 0."""
        voice = self.do(self._open_voice(grant))
        self._voices.append(voice)
        return voice

    def connect(self, grant: Grant) -> PersonVoice:
        """Connect as a whole client with DAVE."""
        voice = self.do(self._connect_voice(grant))
        self._voices.append(voice)
        return voice

    async def _open_voice(self, grant: Grant) -> RawVoice:
        socket = await self._http.ws_connect(f"wss://{grant.endpoint}/?v=8", ssl=self._tls)
        voice = RawVoice(socket)
        claims = {"server_id": str(grant.guild_id), "user_id": str(grant.user_id), "session_id": grant.session_id}
        await voice.send(0, claims | {"token": grant.token, "max_dave_protocol_version": 1})
        self._tasks.append(asyncio.create_task(voice.read()))
        return voice

    async def _connect_voice(self, grant: Grant) -> PersonVoice:
        voice = PersonVoice(grant, Hearing(), self._tls, mode=AES256_GCM, dave_version=1)
        await voice.connect()
        return voice

    async def _connect(self) -> None:
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(f"{self._ready.gateway}?v=10&encoding=json")
        data = {"token": self._ready.token, "intents": self._intents, "properties": {}}
        await self._socket.send_str(json.dumps({"op": 2, "d": data}))
        reading = asyncio.create_task(self._read())
        self._tasks.append(reading)
        ready = asyncio.create_task(self._wait_events("READY", 1))
        await asyncio.wait([reading, ready], return_when=asyncio.FIRST_COMPLETED, timeout=CALL_SECONDS)
        ready.cancel()

    async def _read(self) -> None:
        async for message in self._socket:
            received = json.loads(message.data)
            if received["op"] == 0:
                self.events.append((received["t"], received["d"]))
                self._changed.set()
                self._changed = asyncio.Event()
        self.close_code = self._socket.close_code

    async def _wait_events(self, event: str, count: int) -> None:
        while len(self.payloads(event)) < count:
            await self._changed.wait()

    async def _disconnect(self) -> None:
        for voice in self._voices:
            await voice.close()
        await self._socket.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()
