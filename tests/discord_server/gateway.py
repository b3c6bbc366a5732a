"""The gateway, version 10: identify, resume, heartbeats, events filtered by intents, as one zlib stream.

A *session* is what READY starts and a resume continues; a *connection* is one WebSocket. Events are numbered and kept
per session, so that a resume replays what was missed.
"""

import asyncio
import json
import math
import secrets
import zlib
from collections import deque
from collections.abc import Callable
from typing import Any

from aiohttp import web

from tests.discord_server.connection import Connection
from tests.discord_server.guild import Json
from tests.discord_server.options import MESSAGE_CONTENT_INTENT, PRIVILEGED_INTENTS, Options, application_flags
from tests.discord_server.record import Record
from tests.discord_server.world import World

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE_STATE = 0, 1, 2, 3, 4
RESUME, RECONNECT, REQUEST_MEMBERS, INVALID_SESSION, HELLO, HEARTBEAT_ACK = 6, 7, 8, 9, 10, 11
UNKNOWN_OP, DECODE_ERROR, NOT_AUTHENTICATED, BAD_TOKEN, ALREADY_AUTHENTICATED = 4001, 4002, 4003, 4004, 4005
RATE_LIMITED, SESSION_TIMEOUT, INVALID_INTENTS, DISALLOWED_INTENTS = 4008, 4009, 4013, 4014

GUILDS_INTENT = 1 << 0
KNOWN_INTENTS = (1 << 26) - 1
EVENT_LIMIT = 1_000
"""Events kept for a resume."""
SEND_LIMIT, SEND_WINDOW_SECONDS = 120, 60.0

OnVoiceRequest = Callable[[int, int | None, str, bool, bool], None]
"""Op 4: guild, channel or None, session id, self_mute, self_deaf."""


class GatewaySession:
    """One logged-in client; it outlives its connections."""

    def __init__(self, intents: int) -> None:
        self.id = secrets.token_hex(16)
        self.intents = intents
        self.sequence = 0
        self.connection: GatewayConnection | None = None
        self._events: deque[tuple[int, str]] = deque(maxlen=EVENT_LIMIT)

    def dispatch(self, event: str, data: Json) -> None:
        """Number, keep and send an event."""
        self.sequence += 1
        text = json.dumps({"op": DISPATCH, "t": event, "s": self.sequence, "d": data})
        self._events.append((self.sequence, text))
        if self.connection is not None:
            self.connection.post(text)

    def missed_since(self, sequence: int) -> list[str] | None:
        """Return the events after `sequence`, None when some of them are forgotten or it is none of ours."""
        if not self.sequence - len(self._events) <= sequence <= self.sequence:
            return None
        return [text for number, text in self._events if number > sequence]


class GatewayConnection(Connection):
    """A connection that compresses everything into one zlib stream when the client asked for it."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        super().__init__(request, socket)
        self._compressor = zlib.compressobj() if request.query.get("compress") == "zlib-stream" else None

    def post(self, message: str | bytes) -> None:
        """Compress and send; each message ends with a sync flush, 00 00 FF FF."""
        if self._compressor is None or not self.is_open:
            super().post(message)
            return
        raw = message.encode() if isinstance(message, str) else message
        super().post(self._compressor.compress(raw) + self._compressor.flush(zlib.Z_SYNC_FLUSH))


class Gateway:
    """All gateway connections of the bot."""

    def __init__(self, world: World, options: Options, record: Record) -> None:
        self._world = world
        self._options = options
        self._record = record
        self._sessions: dict[str, GatewaySession] = {}
        self._connections: set[GatewayConnection] = set()
        self.on_voice_request: OnVoiceRequest = lambda *_: None
        self.on_session_lost: Callable[[], None] = lambda: None
        self._outage_ends_seconds = 0.0
        self.url = ""

    def publish(self, event: str, data: Json, guild_id: int, intent: int) -> None:
        """Send an event to every session that has the intent (0: to all)."""
        if event.startswith("MESSAGE_") and not self._sees(int(data["channel_id"])):
            return
        for session in self._sessions.values():
            if not intent or session.intents & intent:
                session.dispatch(event, self._visible(event, data, session))

    def _sees(self, channel_id: int) -> bool:
        channel = self._world.channel(channel_id)
        return channel is not None and self._world.bot_may(channel, "view_channel")

    def _visible(self, event: str, data: Json, session: GatewaySession) -> Json:
        """Without the message content intent, content is only in the bot's own messages and where it is mentioned."""
        bot_id = str(self._world.bot.id)
        if event not in ("MESSAGE_CREATE", "MESSAGE_UPDATE") or session.intents & MESSAGE_CONTENT_INTENT:
            return data
        if data["author"]["id"] == bot_id or any(user["id"] == bot_id for user in data["mentions"]):
            return data
        return data | {"content": "", "embeds": [], "components": [], "attachments": []}

    def reconnect(self) -> None:
        """Ask every client to reconnect (op 7)."""
        for connection in self._connections:
            connection.post(json.dumps({"op": RECONNECT, "d": None}))

    def invalidate(self, *, is_resumable: bool) -> None:
        """Op 9; when it can't be resumed, the session and the bot's voice are gone."""
        for connection in self._connections:
            connection.post(json.dumps({"op": INVALID_SESSION, "d": is_resumable}))
        if not is_resumable:
            self._sessions.clear()
            self.on_session_lost()

    def close(self, code: int, *, outage_seconds: float = 0.0) -> None:
        """Close every connection with a code, 1006 cuts TCP; new ones wait until the outage is over."""
        self._outage_ends_seconds = asyncio.get_running_loop().time() + outage_seconds
        for connection in list(self._connections):
            connection.close_or_cut(code)

    @property
    def is_online(self) -> bool:
        """Whether a client is logged in and connected."""
        return any(session.connection is not None for session in self._sessions.values())

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Hold one connection."""
        if (request.query.get("v"), request.query.get("encoding")) != ("10", "json"):
            self._record.violation("gateway version or encoding", user_id=None, query=dict(request.query))
        await asyncio.sleep(self._outage_ends_seconds - asyncio.get_running_loop().time())
        socket = web.WebSocketResponse(max_msg_size=4096 * 4, compress=False)
        await socket.prepare(request)
        connection = GatewayConnection(request, socket)
        self._connections.add(connection)
        writer = asyncio.create_task(connection.write())
        try:
            hello = {"heartbeat_interval": int(self._options.heartbeat_seconds * 1000), "_trace": ["[]"]}
            connection.post(json.dumps({"op": HELLO, "s": None, "t": None, "d": hello}))
            await self._converse(connection)
            if connection.server_close_code not in (None, 1006):
                await asyncio.wait([writer], timeout=1)
        finally:
            writer.cancel()
            self._connections.discard(connection)
        return socket

    def _refuse(self, connection: GatewayConnection, code: int, why: str) -> None:
        self._record.violation(why, user_id=self._world.bot.id, close_code=code)
        connection.close(code)

    async def _converse(self, connection: GatewayConnection) -> None:
        loop = asyncio.get_running_loop()
        limit_seconds = self._options.heartbeat_seconds + self._options.heartbeat_grace_seconds
        deadline = loop.time() + limit_seconds
        sent_at: deque[float] = deque(maxlen=SEND_LIMIT)
        session: GatewaySession | None = None
        try:
            while True:
                message = await connection.receive_json(deadline - loop.time())
                if not isinstance(message, dict):
                    break
                sent_at.append(loop.time())
                if len(sent_at) == SEND_LIMIT and sent_at[-1] - sent_at[0] < SEND_WINDOW_SECONDS:
                    self._refuse(connection, RATE_LIMITED, "more than 120 gateway messages in a minute")
                    break
                if message["op"] == HEARTBEAT:
                    deadline = loop.time() + limit_seconds
                    self._heartbeat(connection, session, message.get("d"))
                else:
                    session = self._handle(connection, session, message["op"], message.get("d"))
        except TimeoutError:
            self._refuse(connection, SESSION_TIMEOUT, "no heartbeat on the gateway")
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            self._refuse(connection, DECODE_ERROR, f"gateway message can't be decoded: {exc!r}")
        self._ended(connection, session)

    def _ended(self, connection: GatewayConnection, session: GatewaySession | None) -> None:
        code = connection.server_close_code or connection.socket.close_code or 1006
        self._record.add("gateway", "closed", code=code, by_server=connection.server_close_code)
        if session is None or session.connection is not connection:
            return
        session.connection = None
        # A client that says goodbye with 1000 or 1001 ends its session (Discord's documentation).
        if connection.server_close_code is None and code in (1000, 1001) and session.id in self._sessions:
            del self._sessions[session.id]
            self.on_session_lost()

    def _heartbeat(self, connection: GatewayConnection, session: GatewaySession | None, sequence: Any) -> None:
        # discord.py sends the first one before it resumes, with the number of a session that is not yet named.
        last = session.sequence if session is not None else math.inf
        if sequence is not None and not (isinstance(sequence, int) and 0 <= sequence <= last):
            self._record.violation("gateway heartbeat with a wrong sequence", user_id=self._world.bot.id, d=sequence)
        self._record.counters["gateway.heartbeat"] += 1
        connection.post(json.dumps({"op": HEARTBEAT_ACK, "d": None}))

    def _handle(
        self, connection: GatewayConnection, session: GatewaySession | None, op: int, data: Any
    ) -> GatewaySession | None:
        shown = {key: value for key, value in data.items() if key != "token"} if isinstance(data, dict) else data
        self._record.add("gateway", f"op {op}", data=shown)
        if op == IDENTIFY and session is None:
            return self._identify(connection, data)
        if op == RESUME and session is None:
            return self._resume(connection, data)
        if op in (IDENTIFY, RESUME):
            self._refuse(connection, ALREADY_AUTHENTICATED, "second identify or resume")
        elif session is None:
            self._refuse(connection, NOT_AUTHENTICATED, f"op {op} before identify")
        elif op == VOICE_STATE:
            channel_id = int(data["channel_id"]) if data["channel_id"] is not None else None
            flags = bool(data.get("self_mute")), bool(data.get("self_deaf"))
            self.on_voice_request(int(data["guild_id"]), channel_id, session.id, *flags)
        elif op == REQUEST_MEMBERS:
            self._send_members(session, data)
        elif op != PRESENCE:
            self._refuse(connection, UNKNOWN_OP, f"unknown gateway op {op}")
        return session

    def _identify(self, connection: GatewayConnection, data: Json) -> GatewaySession | None:
        if data["token"].removeprefix("Bot ") != self._world.token:
            self._refuse(connection, BAD_TOKEN, "wrong token")
            return None
        intents = int(data["intents"])
        if intents & ~KNOWN_INTENTS:
            self._refuse(connection, INVALID_INTENTS, f"unknown intents {intents:#x}")
            return None
        if intents & PRIVILEGED_INTENTS & ~self._options.allowed_privileged_intents:
            self._refuse(connection, DISALLOWED_INTENTS, f"intents {intents:#x} are not allowed")
            return None
        session = GatewaySession(intents)
        session.connection = connection
        self._sessions[session.id] = session
        guilds = self._world.guilds.values() if intents & GUILDS_INTENT else ()
        flags = application_flags(self._options.allowed_privileged_intents)
        ready = {
            "v": 10,
            "user": self._world.bot.to_json() | {"mfa_enabled": False, "verified": True, "email": None},
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
            "session_id": session.id,
            "resume_gateway_url": self.url,
            "session_type": "normal",
            "shard": data.get("shard") or [0, 1],
            "application": {"id": str(self._world.application_id), "flags": flags},
            "private_channels": [],
            "relationships": [],
            "presences": [],
            "geo_ordered_rtc_regions": [],
        }
        session.dispatch("READY", ready)
        for guild in guilds:
            session.dispatch("GUILD_CREATE", guild.to_json())
        self._record.add("gateway", "ready", session_id=session.id, intents=intents)
        return session

    def _resume(self, connection: GatewayConnection, data: Json) -> GatewaySession | None:
        session = self._sessions.get(data["session_id"])
        missed = session.missed_since(int(data["seq"])) if session is not None and data["seq"] is not None else None
        if data["token"].removeprefix("Bot ") != self._world.token:
            self._refuse(connection, BAD_TOKEN, "wrong token")
            return None
        if session is None or missed is None:
            connection.post(json.dumps({"op": INVALID_SESSION, "d": False}))
            self._record.add("gateway", "resume refused")
            return None
        session.connection = connection
        for text in missed:
            connection.post(text)
        session.dispatch("RESUMED", {"_trace": ["[]"]})
        self._record.add("gateway", "resumed", session_id=session.id, replayed=len(missed))
        return session

    def _send_members(self, session: GatewaySession, data: Json) -> None:
        guild = self._world.guilds[int(data["guild_id"])]
        wanted = {int(user) for user in data.get("user_ids") or []} or set(guild.members)
        members = [guild.member_json(user) for user in guild.members.values() if user.id in wanted]
        chunk = {
            "guild_id": str(guild.id),
            "members": members,
            "chunk_index": 0,
            "chunk_count": 1,
            "not_found": [],
            "nonce": data.get("nonce"),
        }
        session.dispatch("GUILD_MEMBERS_CHUNK", chunk)
