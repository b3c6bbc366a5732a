"""A voice server: the TLS WebSocket of voice gateway version 8, and the media server beside it.

A client is held to Discord's order: hello, then identify or resume; heartbeats in time with a `seq_ack` that can be
true; one select_protocol. Whatever breaks the order is recorded as a violation and closed with Discord's code.
"""

import asyncio
import json
import ssl
from collections.abc import Callable
from typing import Protocol

from aiohttp import web

from tests.discord_server.connection import Connection
from tests.discord_server.faults import FaultTable, Recovery
from tests.discord_server.guild import Json
from tests.discord_server.media import MediaServer, VoiceStateOf
from tests.discord_server.options import Options
from tests.discord_server.record import Record
from tests.discord_server.room import Room
from tests.discord_server.voice_session import Grant, VoiceSession

IDENTIFY, SELECT_PROTOCOL, READY, HEARTBEAT, SPEAKING = 0, 1, 2, 3, 5
HEARTBEAT_ACK, RESUME, HELLO, RESUMED = 6, 7, 8, 9
TRANSITION_READY, KEY_PACKAGE, COMMIT_WELCOME, INVALID_COMMIT = 23, 26, 28, 31
VIDEO = 12
IGNORED_OPS = {14, 15, 16}
"""Codecs, media sink wants, backend version: real clients send them, and nothing depends on the answer."""

UNKNOWN_OP, DECODE_ERROR, NOT_AUTHENTICATED, ALREADY_AUTHENTICATED = 4001, 4002, 4003, 4005
SESSION_INVALID, SESSION_TIMEOUT, UNKNOWN_MODE, DAVE_REQUIRED, DISCONNECTED = 4006, 4009, 4016, 4017, 4014
FINAL_CODES = {1000, 1001, 4004, SESSION_INVALID, SESSION_TIMEOUT, DISCONNECTED, DAVE_REQUIRED, 4021, 4022}
"""After these nothing can be resumed: the session ends at once."""
STALLED = 0
STALL_SECONDS = 120.0
"""A client that waits longer than this for an answer waits for ever."""


class Doors(Protocol):
    """What a voice server asks of the hub."""

    def authorize(self, data: Json) -> tuple[Grant, Room] | None:
        """Return what a client of op 0 or 7 may enter, None when its session or token is wrong."""

    def next_refusal(self, user_id: int) -> int | None:
        """Return the close code that this identify meets, `STALLED` for no answer at all, None to let it in."""

    def connection_ended(self, session: VoiceSession, *, is_final: bool) -> None:
        """The session's WebSocket has ended."""


class VoiceServer:
    """One endpoint; `start` it, and `stop` it."""

    def __init__(
        self,
        doors: Doors,
        options: Options,
        record: Record,
        faults: FaultTable,
        voice_state_of: VoiceStateOf,
        tls: ssl.SSLContext,
    ) -> None:
        self._doors = doors
        self._options = options
        self._record = record
        self._tls = tls
        self._faults = faults
        self._runner: web.AppRunner | None = None
        self._connections: set[Connection] = set()
        self.media = MediaServer(options, record, faults, voice_state_of)
        self.endpoint = ""
        self.outage_ends_seconds = 0.0
        """Until when, on the loop's clock, new connections wait."""

    async def start(self) -> None:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_get("/", self._serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._options.host, 0, ssl_context=self._tls, shutdown_timeout=0.2).start()
        self.endpoint = f"{self._options.host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Cut all connections and close both ports."""
        for connection in list(self._connections):
            connection.abort()
        self.media.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("v") != "8":
            self._record.violation("voice gateway version is not 8", user_id=None, v=request.query.get("v"))
        await asyncio.sleep(self.outage_ends_seconds - asyncio.get_running_loop().time())
        socket = web.WebSocketResponse(max_msg_size=1 << 16)
        await socket.prepare(request)
        connection = Connection(request, socket)
        self._connections.add(connection)
        writer = asyncio.create_task(connection.write())
        try:
            milliseconds = int(self._options.voice_heartbeat_seconds * 1000)
            connection.post(json.dumps({"op": HELLO, "d": {"v": 8, "heartbeat_interval": milliseconds}}))
            entered = await self._enter(connection)
            if entered is not None:
                await self._converse(connection, *entered)
            # A close frame that was posted must be on its way before the handler returns.
            if connection.server_close_code not in (None, 1006):
                await asyncio.wait([writer], timeout=1)
        finally:
            writer.cancel()
            self._connections.discard(connection)
        return socket

    def _refuse(self, connection: Connection, code: int, why: str, user_id: int | None = None) -> None:
        self._record.violation(why, user_id=user_id, close_code=code)
        connection.close(code)

    async def _enter(self, connection: Connection) -> tuple[VoiceSession, Room] | None:
        """Read messages until op 0 or 7 was accepted; None when the connection ended or was refused."""
        try:
            message = await connection.receive_json(self._options.voice_heartbeat_seconds + 5)
            while isinstance(message, dict) and message["op"] == HEARTBEAT:
                message = await connection.receive_json(self._options.voice_heartbeat_seconds + 5)
        except TimeoutError:
            self._refuse(connection, NOT_AUTHENTICATED, "no op 0 or 7 on the voice gateway")
            return None
        except ValueError:
            self._refuse(connection, DECODE_ERROR, "voice gateway message can't be decoded")
            return None
        if message is None:
            return None
        if not isinstance(message, dict) or message["op"] not in (IDENTIFY, RESUME):
            self._refuse(connection, NOT_AUTHENTICATED, "voice gateway message before op 0 or 7")
            return None
        data = message["d"]
        authorized = self._doors.authorize(data)
        user_id = authorized[0].user_id if authorized is not None else None
        self._record.add("voice", f"op {message['op']}", user_id=user_id, data=data)
        if authorized is None:
            # Clients come here after being thrown out as well, so that this is no breach of the rules.
            self._record.add("voice", "refused with 4006", session_id=data.get("session_id"))
            connection.close(SESSION_INVALID)
            return None
        grant, room = authorized
        refusal = self._doors.next_refusal(grant.user_id) if message["op"] == IDENTIFY else None
        if refusal is not None:
            await self._turn_away(connection, grant.user_id, refusal)
            return None
        enter = self._identify if message["op"] == IDENTIFY else self._resume
        session = enter(connection, grant, room, data)
        return None if session is None else (session, room)

    async def _turn_away(self, connection: Connection, user_id: int, code: int) -> None:
        """Close as the test wants, or answer nothing but heartbeats until the client gives up."""
        name = "stalled on purpose" if code == STALLED else f"refused with {code} on purpose"
        self._record.add("voice", name, user_id=user_id)
        if code != STALLED:
            connection.close_or_cut(code)
            return
        try:
            while (message := await connection.receive_json(STALL_SECONDS)) is not None:
                if isinstance(message, dict) and message["op"] == HEARTBEAT:
                    beat = (message.get("d") or {}).get("t")
                    connection.post(json.dumps({"op": HEARTBEAT_ACK, "d": {"t": beat}}))
        except (TimeoutError, ValueError):
            connection.close(SESSION_TIMEOUT)

    def _recover(self, user_id: int, how: Recovery) -> None:
        if self._faults.recover(user_id, how):
            self._record.add("voice", "faults ended", user_id=user_id, until=how)

    def _identify(self, connection: Connection, grant: Grant, room: Room, data: Json) -> VoiceSession | None:
        version = int(data.get("max_dave_protocol_version") or 0)
        if self._options.dave == "required" and version == 0:
            self._refuse(connection, DAVE_REQUIRED, "client without DAVE", grant.user_id)
            return None
        self._drop_previous(room, grant.user_id)
        session = room.admit(grant, version)
        session.connection = connection
        self._recover(grant.user_id, "rejoined")
        self.media.expect(room, session)
        host, port = self.media.address
        modes = [*self._options.modes]
        ready = {
            "ssrc": session.ssrc,
            "ip": host,
            "port": port,
            "modes": modes,
            "experiments": [],
            "streams": [],
        }
        session.post(READY, ready)
        return session

    def _drop_previous(self, room: Room, user_id: int) -> None:
        previous = room.sessions.get(user_id)
        if previous is not None:
            self.media.forget(previous)
            room.remove(user_id)
            if previous.connection is not None:
                previous.connection.close(SESSION_INVALID)

    def _resume(self, connection: Connection, grant: Grant, room: Room, data: Json) -> VoiceSession | None:
        session = room.sessions.get(grant.user_id)
        missed = session.missed_since(int(data.get("seq_ack", -1))) if session is not None else None
        if session is None or missed is None:
            self._record.add("voice", "refused with 4006", user_id=grant.user_id)
            connection.close(SESSION_INVALID)
            return None
        if session.connection is not None:
            session.connection.close(SESSION_INVALID)
        session.connection = connection
        for message in missed:
            connection.post(message)
        connection.post(json.dumps({"op": RESUMED, "d": None}))
        self._record.add("voice", "resumed", user_id=grant.user_id, replayed=len(missed))
        return session

    async def _converse(self, connection: Connection, session: VoiceSession, room: Room) -> None:
        user_id = session.user_id
        limit_seconds = self._options.voice_heartbeat_seconds + self._options.heartbeat_grace_seconds
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_seconds
        try:
            while True:
                message = await connection.receive_json(deadline - loop.time())
                if message is None:
                    break
                if isinstance(message, dict) and message["op"] == HEARTBEAT:
                    deadline = loop.time() + limit_seconds
                self._handle(connection, session, room, message)
        except TimeoutError:
            self._refuse(connection, SESSION_TIMEOUT, "no heartbeat on the voice gateway", user_id)
        except (ValueError, KeyError, TypeError) as exc:
            self._record.violation("voice gateway message malformed", user_id=user_id, error=repr(exc))
            connection.close(DECODE_ERROR)
        code = connection.server_close_code or connection.socket.close_code or 1006
        self._record.add("voice", "closed", user_id=user_id, code=code, by_server=connection.server_close_code)
        if session.connection is connection:
            session.connection = None
            self._doors.connection_ended(session, is_final=code in FINAL_CODES)

    def _handle(self, connection: Connection, session: VoiceSession, room: Room, message: Json | bytes) -> None:
        if isinstance(message, bytes):
            op = message[0] if message else -1
            self._record.add("voice", f"op {op}", user_id=session.user_id, size_bytes=len(message) - 1)
            if op not in (KEY_PACKAGE, COMMIT_WELCOME):
                self._refuse(connection, UNKNOWN_OP, f"unknown binary op {op}", session.user_id)
                return
            if op == KEY_PACKAGE:
                self._recover(session.user_id, "rekeyed")
            room.dave_message(session, op, message[1:])
            return
        op, data = int(message["op"]), message.get("d")
        if op != HEARTBEAT:
            self._record.add("voice", f"op {op}", user_id=session.user_id, data=data)
        handlers: dict[int, Callable[[Connection, VoiceSession, Room, Json], None]] = {
            HEARTBEAT: self._heartbeat,
            SELECT_PROTOCOL: self._select_protocol,
            SPEAKING: self._speaking,
            VIDEO: self._video,
        }
        if op in handlers:
            handlers[op](connection, session, room, data or {})
        elif op in (TRANSITION_READY, INVALID_COMMIT):
            if op == INVALID_COMMIT:
                self._recover(session.user_id, "rekeyed")
            room.dave_message(session, op, data or {})
        elif op in (IDENTIFY, RESUME):
            self._refuse(connection, ALREADY_AUTHENTICATED, "second op 0 or 7", session.user_id)
        elif op not in IGNORED_OPS:
            self._refuse(connection, UNKNOWN_OP, f"unknown op {op}", session.user_id)

    def _heartbeat(self, connection: Connection, session: VoiceSession, room: Room, data: Json) -> None:
        acknowledged = data.get("seq_ack")
        if not isinstance(acknowledged, int) or not session.acknowledged <= acknowledged <= session.sequence:
            self._record.violation(
                "seq_ack of a heartbeat can't be right",
                user_id=session.user_id,
                seq_ack=acknowledged,
                sent=session.sequence,
            )
        else:
            session.acknowledged = acknowledged
        self._record.counters[f"voice.heartbeat.{session.user_id}"] += 1
        session.post_unnumbered(HEARTBEAT_ACK, {"t": data.get("t")})

    def _select_protocol(self, connection: Connection, session: VoiceSession, room: Room, data: Json) -> None:
        chosen = data["data"]
        if session.is_described:
            self._record.violation("second op 1", user_id=session.user_id)
            return
        if chosen["mode"] not in self._options.modes:
            self._refuse(connection, UNKNOWN_MODE, f"mode {chosen['mode']} was not offered", session.user_id)
            return
        if session.address != (chosen["address"], chosen["port"]):
            self._record.violation("op 1 names another address than discovery", user_id=session.user_id, data=chosen)
        session.select(chosen["mode"])
        room.describe(session)

    def _speaking(self, connection: Connection, session: VoiceSession, room: Room, data: Json) -> None:
        if data.get("ssrc") != session.ssrc:
            self._record.violation("op 5 with the wrong SSRC", user_id=session.user_id, ssrc=data.get("ssrc"))
            return
        room.relay_speaking(session, data)
        self.media.announced(room, session)

    def _video(self, connection: Connection, session: VoiceSession, room: Room, data: Json) -> None:
        if data.get("video_ssrc") not in (0, None, session.video_ssrc):
            self._record.violation("op 12 with the wrong SSRC", user_id=session.user_id, data=data)
            return
        room.relay_video(session, data)
