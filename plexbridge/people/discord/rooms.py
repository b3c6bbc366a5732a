"""All conversations on Discord: they start, end and are looked up here, each in its own task with all that it owns.

Joining the voice channel, the conversation, and leaving again stand in one cancel scope; when everybody has left, or
plexbridge stops, it is cancelled, at whatever point it is. What goes wrong in one conversation ends that one.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from plexbridge.errors import ModelBusy, PlexbridgeError
from plexbridge.people.discord.attendance import Action, Attendance, Busy, Hear, Presence, Start, Stop
from plexbridge.people.discord.chat import HURRIED_SECONDS, PATIENT_SECONDS, Chat, Pen
from plexbridge.people.discord.portal import Portal
from plexbridge.people.discord.voice import DiscordPeople, Voice
from plexbridge.service import Failures

logger = logging.getLogger(__name__)

LEAVE_SECONDS = 1.0
"""A bound above what leaving takes by itself."""

Converse = Callable[[DiscordPeople], Awaitable[PlexbridgeError | None]]
"""Holds a conversation with a model until it ends, and returns what failed: `service.hold_conversation`."""


class Discord(Pen, Protocol):
    """The bot as rooms see it: `bot.Bot`. Its coroutine functions are for Discord's loop."""

    def present(self) -> Mapping[int, Presence]:
        """Return who is in which voice channel at the moment; from any thread."""

    async def join(self, channel_id: int) -> Voice:
        """Join a voice channel; raises DiscordError, and then, or when cancelled, the bot is not in it."""


class Room:
    """One conversation in one voice channel."""

    def __init__(self, channel_id: int, humans: frozenset[int]) -> None:
        self.channel_id = channel_id
        self.humans = humans
        self.people: DiscordPeople | None = None
        """There while the bot is in the channel."""
        self._scope = trio.CancelScope()

    async def hold(self, portal: Portal, discord: Discord, converse: Converse, chat: Chat) -> None:
        """Join, converse, leave; failures are told in the chat, and nothing is raised."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(chat.run)
            try:
                with self._scope:
                    failure = await self._converse(portal, discord, converse, chat)
                    if failure is not None:
                        chat.say(failure.user_message)
                    chat.finish(within_seconds=PATIENT_SECONDS)
                    await chat.ended.wait()
            finally:
                chat.finish(within_seconds=HURRIED_SECONDS)

    def hear(self, humans: frozenset[int]) -> None:
        """These are the people now."""
        self.humans = humans
        if self.people is not None:
            self.people.set_heard(humans)

    def end(self) -> None:
        """End the conversation, whatever it is doing."""
        self._scope.cancel(reason="everybody has left")

    async def _converse(
        self, portal: Portal, discord: Discord, converse: Converse, chat: Chat
    ) -> PlexbridgeError | None:
        failures = Failures()
        with failures.collect():
            async with _in_channel(portal, discord, self.channel_id) as voice:
                with DiscordPeople(voice, portal, chat) as people:
                    people.set_heard(self.humans)
                    self.people = people
                    try:
                        return await converse(people)
                    finally:
                        self.people = None
                        logger.info("channel %s: %s", self.channel_id, people.summary())
        return failures.principal()


@asynccontextmanager
async def _in_channel(portal: Portal, discord: Discord, channel_id: int) -> AsyncIterator[Voice]:
    voice = await portal.into_discord(discord.join, channel_id)
    try:
        yield voice
    finally:
        with trio.move_on_after(LEAVE_SECONDS, shield=True):
            await portal.into_discord(voice.leave)


class Rooms:
    """Starts and ends conversations as people come and go; `text_channel` is where words go, if not to each channel."""

    def __init__(
        self, portal: Portal, discord: Discord, attendance: Attendance, converse: Converse, *, text_channel: int | None
    ) -> None:
        self._portal = portal
        self._discord = discord
        self._attendance = attendance
        self._converse = converse
        self._text_channel = text_channel
        self._changed = trio.Event()
        self._rooms: dict[int, Room] = {}

    @property
    def rooms(self) -> Mapping[int, Room]:
        """The conversations that there are, by server."""
        return self._rooms

    async def changed(self) -> None:
        """Somebody came or went: have a look at `Discord.present`."""
        self._changed.set()

    async def run(self) -> None:
        """Serve until cancelled; then all conversations end."""
        async with trio.open_nursery() as nursery:
            while True:
                self._act(self._attendance.changed(self._discord.present()), nursery)
                await self._changed.wait()
                self._changed = trio.Event()

    def _act(self, actions: list[Action], nursery: trio.Nursery) -> None:
        for action in actions:
            if isinstance(action, Start):
                room = self._rooms[action.guild_id] = Room(action.channel_id, action.humans)
                nursery.start_soon(self._hold, action.guild_id, room, nursery)
            elif isinstance(action, Stop):
                self._rooms[action.guild_id].end()
            elif isinstance(action, Hear):
                self._rooms[action.guild_id].hear(action.humans)
            elif isinstance(action, Busy):
                nursery.start_soon(self._tell_busy, action.channel_id)

    async def _hold(self, guild_id: int, room: Room, nursery: trio.Nursery) -> None:
        logger.info("joining channel %s of server %s", room.channel_id, guild_id)
        try:
            await room.hold(self._portal, self._discord, self._converse, self._chat(room.channel_id))
        finally:
            logger.info("left channel %s of server %s", room.channel_id, guild_id)
            del self._rooms[guild_id]
            self._act(self._attendance.ended(guild_id), nursery)

    async def _tell_busy(self, channel_id: int) -> None:
        chat = self._chat(channel_id)
        chat.say(ModelBusy.user_message)
        chat.finish(within_seconds=PATIENT_SECONDS)
        await chat.run()

    def _chat(self, channel_id: int) -> Chat:
        return Chat(self._portal, self._discord, self._text_channel or channel_id)
