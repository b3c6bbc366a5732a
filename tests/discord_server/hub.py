"""All voice of the server: who is in which channel, who may connect where, and the voice servers that carry it.

Voice states change here and nowhere else. Each change is published on the gateway; each new right to connect (a
`Grant`) is delivered to its user, the bot's over the gateway, a simulated person's directly.
"""

import asyncio
import secrets
import ssl
from collections import deque
from collections.abc import Callable

from tests.discord_server.faults import FaultTable
from tests.discord_server.guild import Json, VoiceState
from tests.discord_server.options import Options
from tests.discord_server.record import Record
from tests.discord_server.room import Room
from tests.discord_server.voice_gateway import DISCONNECTED, VoiceServer
from tests.discord_server.voice_session import Grant, VoiceSession
from tests.discord_server.world import World

VOICE_STATES_INTENT = 1 << 7


class Hub:
    """Voice of all guilds. `publish` sends a gateway event; `deliver` hands out a grant."""

    def __init__(
        self,
        world: World,
        options: Options,
        record: Record,
        tls: ssl.SSLContext,
        publish: Callable[[str, Json, int, int], None],
        deliver: Callable[[Grant], None],
    ) -> None:
        self._world = world
        self._options = options
        self._record = record
        self._tls = tls
        self._publish = publish
        self._deliver = deliver
        self._servers: list[VoiceServer] = []
        self._rooms: dict[int, tuple[Room, VoiceServer]] = {}
        self._grants: dict[tuple[int, int], Grant] = {}
        self._refusals: dict[int, deque[int]] = {}
        self.faults = FaultTable()

    async def start(self) -> None:
        """Open the first voice server."""
        await self._open_server()

    async def stop(self) -> None:
        """Close everything."""
        for server in self._servers:
            await server.stop()

    async def _open_server(self) -> VoiceServer:
        server = VoiceServer(self, self._options, self._record, self.faults, self.voice_state, self._tls)
        await server.start()
        self._servers.append(server)
        return server

    def voice_state(self, guild_id: int, user_id: int) -> VoiceState | None:
        """Return where a user is, None when not in voice."""
        return self._world.guilds[guild_id].voice_states.get(user_id)

    def room(self, channel_id: int) -> Room:
        """Return the room of a channel, made on the first voice server if it is new."""
        return self._place(channel_id)[0]

    def _place(self, channel_id: int) -> tuple[Room, VoiceServer]:
        if channel_id not in self._rooms:
            self._rooms[channel_id] = (Room(channel_id, self._options, self._record), self._servers[0])
        return self._rooms[channel_id]

    def session(self, user_id: int, guild_id: int | None = None) -> tuple[Room, VoiceServer, VoiceSession] | None:
        """Return a user's voice session in a guild (None: in any), None without one."""
        for room, server in self._rooms.values():
            session = room.sessions.get(user_id)
            if session is not None and guild_id in (None, session.grant.guild_id):
                return room, server, session
        return None

    def refusal(self, guild_id: int, user_id: int, channel_id: int) -> str | None:
        """Return why a user may not come into a channel, None when it may or is there."""
        guild = self._world.guilds[guild_id]
        channel, state = guild.channels.get(channel_id), guild.voice_states.get(user_id)
        if channel is None:
            return "no such channel"
        if state is not None and state.channel_id == channel_id:
            return None
        for needed in ("view_channel", "connect"):
            if not guild.may(user_id, channel, needed):
                return f"no permission: {needed}"
        there = sum(state.channel_id == channel_id for state in guild.voice_states.values())
        is_full = bool(channel.user_limit) and there >= channel.user_limit
        return "full" if is_full and not guild.may(user_id, channel, "move_members") else None

    def enter(
        self,
        guild_id: int,
        user_id: int,
        channel_id: int,
        session_id: str,
        *,
        self_mute: bool = False,
        self_deaf: bool = False,
    ) -> None:
        """Join a channel, move to it, or change the flags in it (gateway op 4 with a channel)."""
        guild = self._world.guilds[guild_id]
        states = guild.voice_states
        state = states.get(user_id)
        is_same = state is not None and state.channel_id == channel_id
        if state is None:
            state = states[user_id] = VoiceState(guild_id, user_id, channel_id, session_id)
        old_channel_id, state.channel_id = state.channel_id, channel_id
        state.session_id, state.self_mute, state.self_deaf = session_id, self_mute, self_deaf
        if not is_same:
            state.suppress = not guild.may(user_id, guild.channels[channel_id], "speak")
        self._publish_state(state)
        online = self.session(user_id, guild_id)
        if is_same and online is not None and online[2].is_online:
            return
        self._grant(guild_id, user_id, channel_id, session_id)
        if old_channel_id != channel_id:
            self._end_old_session(user_id, old_channel_id)

    def leave(self, guild_id: int, user_id: int) -> None:
        """Leave voice (op 4 with null), or be thrown out; nothing when the user is not in voice."""
        state = self._world.guilds[guild_id].voice_states.pop(user_id, None)
        if state is None:
            return
        self._grants.pop((guild_id, user_id), None)
        self._publish("VOICE_STATE_UPDATE", self._state_json(state, has_left=True), guild_id, VOICE_STATES_INTENT)
        self._record.add("voice", "state", user_id=user_id, channel_id=None)
        self._end(user_id, state.channel_id)

    def set_server_flags(self, guild_id: int, user_id: int, *, mute: bool, deaf: bool) -> None:
        """Mute or deafen a user by the server."""
        state = self._world.guilds[guild_id].voice_states[user_id]
        state.mute, state.deaf = mute, deaf
        self._publish_state(state)

    def set_video(self, guild_id: int, user_id: int, *, is_on: bool) -> None:
        """Show that a user's camera is on or off."""
        state = self._world.guilds[guild_id].voice_states[user_id]
        state.self_video = is_on
        self._publish_state(state)

    async def move_server(self, channel_id: int) -> str:
        """Bring a channel to a new voice server, as Discord does on a region change or crash; return its endpoint."""
        old_room, _ = self._place(channel_id)
        server = await self._open_server()
        room = Room(channel_id, self._options, self._record)
        room.speaking_delay_seconds = old_room.speaking_delay_seconds
        room.set_dave(is_on=old_room.wants_dave)
        self._rooms[channel_id] = (room, server)
        for session in list(old_room.sessions.values()):
            grant = session.grant
            self._grant(grant.guild_id, grant.user_id, channel_id, grant.session_id)
            self._close_later(session)
        return server.endpoint

    def _grant(self, guild_id: int, user_id: int, channel_id: int, session_id: str) -> None:
        _, server = self._place(channel_id)
        token = secrets.token_hex(8)
        grant = Grant(guild_id, channel_id, user_id, session_id, token, server.endpoint)
        self._grants[guild_id, user_id] = grant
        self._deliver(grant)

    def _publish_state(self, state: VoiceState) -> None:
        self._publish("VOICE_STATE_UPDATE", self._state_json(state), state.guild_id, VOICE_STATES_INTENT)
        self._record.add("voice", "state", user_id=state.user_id, channel_id=state.channel_id)

    def _state_json(self, state: VoiceState, *, has_left: bool = False) -> Json:
        guild = self._world.guilds[state.guild_id]
        member = guild.member_json(guild.members[state.user_id])
        return state.to_json(has_left=has_left) | {"member": member}

    def _end_old_session(self, user_id: int, channel_id: int) -> None:
        room, server = self._place(channel_id)
        session = room.sessions.get(user_id)
        if session is not None:
            room.remove(user_id)
            server.media.forget(session)
            self._close_later(session)

    def _close_later(self, session: VoiceSession) -> None:
        """Close with 4014 when the client had its chance to do so itself."""
        connection = session.connection
        if connection is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(self._options.moved_close_seconds, connection.close, DISCONNECTED)

    def _end(self, user_id: int, channel_id: int, code: int = DISCONNECTED) -> None:
        room, server = self._place(channel_id)
        session = room.sessions.get(user_id)
        if session is not None:
            room.remove(user_id)
            server.media.forget(session)
            if session.connection is not None:
                session.connection.close(code)

    def authorize(self, data: Json) -> tuple[Grant, Room] | None:
        """See `Doors`: session and token must be those of the user's newest grant."""
        for grant in self._grants.values():
            known = (str(grant.guild_id), grant.session_id, grant.token)
            if known == (str(data.get("server_id")), data.get("session_id"), data.get("token")):
                return grant, self.room(grant.channel_id)
        return None

    def refuse_next(self, user_id: int, code: int, times: int) -> None:
        """Let the next `times` identifies of a user, after those planned already, meet `code`; 0 times forgets all."""
        planned = self._refusals.setdefault(user_id, deque())
        if times:
            planned.extend([code] * times)
        else:
            planned.clear()

    def next_refusal(self, user_id: int) -> int | None:
        """See `Doors`."""
        planned = self._refusals.get(user_id)
        return planned.popleft() if planned else None

    def connection_ended(self, session: VoiceSession, *, is_final: bool) -> None:
        """See `Doors`: keep a session that can be resumed for a while, end any other."""
        place = self.session(session.user_id, session.grant.guild_id)
        if place is None or place[2] is not session:
            return
        if is_final:
            room, server, _ = place
            room.remove(session.user_id)
            server.media.forget(session)
        loop = asyncio.get_running_loop()
        loop.call_later(self._options.resume_seconds, self._expire, session)

    def _expire(self, session: VoiceSession) -> None:
        """The user did not come back in time: it leaves the channel."""
        grant = session.grant
        place = self.session(grant.user_id, grant.guild_id)
        is_back = place is not None and place[2].is_online
        if not is_back and self._grants.get((grant.guild_id, grant.user_id)) == grant:
            self._record.add("voice", "expired", user_id=session.user_id)
            self.leave(grant.guild_id, grant.user_id)

    def to_json(self) -> Json:
        """Return all rooms, servers and voice states for the control interface."""
        states = [s.to_json() for guild in self._world.guilds.values() for s in guild.voice_states.values()]
        rooms = [room.to_json() | {"endpoint": server.endpoint} for room, server in self._rooms.values()]
        return {"rooms": rooms, "endpoints": [server.endpoint for server in self._servers], "states": states}
