"""All conversations on Discord: they start, end and are looked up here, each a `Room` in its own task.

Who is where is looked at after everything that happens; `attendance` says what follows from it, and here it is done.
"""

import logging
import secrets
from collections.abc import Callable, Mapping
from functools import partial

import trio

from plexbridge import logs
from plexbridge.audio.hearing import USUAL, HearingSettings
from plexbridge.errors import RequestError
from plexbridge.model.health import ModelStatus
from plexbridge.model.pool import Pool
from plexbridge.people.discord.attendance import Action, Attendance, Busy, Hear, Move, Presence, Start, Stop
from plexbridge.people.discord.audiences import Audiences
from plexbridge.people.discord.chat import PATIENT_SECONDS, Chat
from plexbridge.people.discord.portal import Portal
from plexbridge.people.discord.recordings import Recordings
from plexbridge.people.discord.room import Converse, Discord, Room, Surroundings
from plexbridge.people.discord.status import RoomStatus

logger = logging.getLogger(__name__)


class Rooms:
    """Starts and ends conversations as people come, go and ask; implements `commands.Conversations`.

    `text_channel` is where words go, if not to each channel; `place_seconds` is how long a place in the queue is kept
    when nobody is there to talk.
    """

    def __init__(
        self,
        portal: Portal,
        discord: Discord,
        attendance: Attendance,
        pool: Pool,
        converse: Converse,
        *,
        text_channel: int | None,
        place_seconds: float,
        clock: Callable[[], float],
        audiences: Audiences,
        recordings: Recordings,
        hearing: HearingSettings = USUAL,
    ) -> None:
        self._portal = portal
        self._discord = discord
        self._attendance = attendance
        self._pool = pool
        self._text_channel = text_channel
        self._around = Surroundings(
            portal, discord, pool, converse, audiences, recordings, hearing, text_channel, place_seconds, clock
        )
        self._audiences = audiences
        self._recordings = recordings
        self._changed = trio.Event()
        audiences.watch(lambda: self._changed.set())
        self._due: list[Action] = []
        """What commands have brought about; few, as each server has one conversation."""
        self._rooms: dict[int, Room] = {}

    @property
    def rooms(self) -> Mapping[int, Room]:
        """The conversations that there are, by server."""
        return self._rooms

    async def changed(self) -> None:
        """Somebody came or went: have a look at `Discord.present`."""
        self._changed.set()

    async def join(self, guild_id: int, channel_id: int, user_id: int) -> None:
        """Start a conversation; raises RequestError or DiscordError, with the reason, when there can be none."""
        await self._portal.into_discord(self._discord.check_voice, channel_id)
        await self._portal.into_discord(self._discord.check_text, self._text_channel or channel_id)
        room = self._rooms.get(guild_id)
        if room is not None and room.channel_id == channel_id and room.standing is not None:
            raise RequestError(f"I come to <#{channel_id}> when it is your turn. {room.standing}")
        self._due += self._attendance.join(guild_id, channel_id, user_id)
        self._changed.set()

    def leave(self, guild_id: int) -> None:
        """End the conversation in a server; without one nothing happens."""
        actions = self._attendance.leave(guild_id)
        room = self._rooms.get(guild_id)
        if actions and room is not None:
            room.end()  # at once: by the next tick it may have ended by itself, and another one have begun
        else:
            self._due += actions  # behind the start, which is due too
        self._changed.set()

    def status(self, guild_id: int) -> RoomStatus | None:
        """Return how the conversation in a server stands; None without one."""
        room = self._rooms.get(guild_id)
        if room is None:
            return None
        presence = self._present().get(room.channel_id, Presence(guild_id, frozenset()))
        return room.status(presence.muted, presence.ignored)

    def models(self) -> tuple[ModelStatus, ...]:
        """Return how each model stands."""
        return self._pool.statuses()

    async def run(self) -> None:
        """Serve until cancelled; then all conversations end."""
        async with trio.open_nursery() as nursery:
            while True:
                due, self._due = self._due, []
                self._act(due, nursery)
                self._act(self._attendance.changed(self._present(), self._discord.places()), nursery)
                for room in self._rooms.values():
                    room.look()
                await self._changed.wait()
                self._changed = trio.Event()

    def _present(self) -> Mapping[int, Presence]:
        return self._audiences.without_ignored(self._discord.present())

    def _act(self, actions: list[Action], nursery: trio.Nursery) -> None:
        for action in actions:
            if isinstance(action, Start):
                self._rooms[action.guild_id] = Room(
                    action,
                    self._around,
                    waits=partial(self._wait, action.guild_id),
                    retire=partial(self._attendance.leave, action.guild_id),
                )
                nursery.start_soon(self._hold, action.guild_id, nursery)
            elif isinstance(action, Stop):
                self._rooms[action.guild_id].end()
            elif isinstance(action, Hear):
                self._rooms[action.guild_id].hear(action.humans)
            elif isinstance(action, Move):
                self._move(action.guild_id, action.channel_id)
            elif isinstance(action, Busy):
                nursery.start_soon(self._tell_busy, action)

    def _move(self, guild_id: int, channel_id: int) -> None:
        logger.info("moved to channel %s of server %s", channel_id, guild_id)
        self._rooms[guild_id].move(channel_id)

    def _wait(self, guild_id: int, is_waiting: bool) -> None:
        self._attendance.waits(guild_id, is_waiting=is_waiting)

    async def _hold(self, guild_id: int, nursery: trio.Nursery) -> None:
        room = self._rooms[guild_id]
        # Until the conversation has one of its own; the context is that of whoever started the task.
        logs.session_id.set(secrets.token_hex(3))
        logger.info("joining channel %s of server %s", room.channel_id, guild_id)
        try:
            await room.hold()
        finally:
            logger.info("left channel %s of server %s", room.channel_id, guild_id)
            del self._rooms[guild_id]
            self._audiences.close(guild_id)
            self._recordings.close(guild_id)
            self._act(self._attendance.ended(guild_id), nursery)

    async def _tell_busy(self, busy: Busy) -> None:
        chat = Chat(self._portal, self._discord, self._text_channel or busy.channel_id)
        chat.say(f"I am with others in <#{busy.bot_channel_id}>. You may join us there.")
        chat.finish(within_seconds=PATIENT_SECONDS)
        await chat.run()
