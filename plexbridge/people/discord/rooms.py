"""All conversations on Discord: they start, end and are looked up here, each in its own task with all that it owns.

Joining the voice channel, the conversation, and leaving again stand in one cancel scope; when everybody has left, or
plexbridge stops, it is cancelled, at whatever point it is. What goes wrong in one conversation ends that one. Beside
the conversation run the line's supervisor, and the watch over whether people are heard.
"""

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import trio

from plexbridge import logs
from plexbridge.audio.hearing import USUAL, HearingSettings
from plexbridge.errors import ModelBusy, PlexbridgeError
from plexbridge.people.discord.attendance import Action, Attendance, Busy, Hear, Move, Presence, Start, Stop
from plexbridge.people.discord.chat import HURRIED_SECONDS, PATIENT_SECONDS, Chat, Pen
from plexbridge.people.discord.deafness import Cause, Deafness, Rebuild, describe, sentence
from plexbridge.people.discord.line import Joining, Line, open_line
from plexbridge.people.discord.muteness import MUTE_SENTENCE, Muteness
from plexbridge.people.discord.portal import Portal
from plexbridge.people.discord.status import PersonStatus, RoomStatus, hearing
from plexbridge.people.discord.talk import Talk
from plexbridge.people.discord.voice import DiscordPeople
from plexbridge.service import Failures, Progress

logger = logging.getLogger(__name__)

OBSERVE_SECONDS = 0.5
"""How often it is looked at whether people are heard."""


class Discord(Pen, Joining, Protocol):
    """The bot as rooms see it: `bot.Bot`. Its coroutine functions are for Discord's loop."""

    def present(self) -> Mapping[int, Presence]:
        """Return who is in which voice channel at the moment; from any thread."""

    def places(self) -> Mapping[int, int]:
        """Return the voice channels that the bot is in, by server; from any thread."""

    async def check_voice(self, channel_id: int) -> None:
        """Raise VoiceForbidden if the bot may not talk in a voice channel."""

    async def check_text(self, channel_id: int) -> None:
        """Raise VoiceForbidden if the bot may not write in a channel."""


Converse = Callable[[Talk], Awaitable[PlexbridgeError | None]]
"""Holds a talk until it ends, and returns what failed: `talk.hold_talk`, with the settings of who started it."""


class Room:
    """One conversation in one voice channel."""

    def __init__(
        self, start: Start, chat: Chat, model: str, clock: Callable[[], float], hearing: HearingSettings
    ) -> None:
        self.channel_id = start.channel_id
        self.chat = chat
        self._starter_id = start.starter_id
        self._humans = start.humans
        self._model = model
        self._clock = clock
        self._hearing = hearing
        self._began_seconds = trio.current_time()
        self._line: Line | None = None
        self._people: DiscordPeople | None = None
        self._progress = Progress()
        self._deafness = Deafness()
        self._muteness = Muteness()
        self._scope = trio.CancelScope()

    async def hold(self, portal: Portal, discord: Discord, converse: Converse) -> None:
        """Join, converse, leave; failures are told in the chat, and nothing is raised."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.chat.run)
            try:
                with self._scope:
                    failure = await self._converse(portal, discord, converse)
                    if failure is not None:
                        self.chat.say(failure.user_message)
                    self.chat.finish(within_seconds=PATIENT_SECONDS)
                    await self.chat.ended.wait()
            finally:
                self.chat.finish(within_seconds=HURRIED_SECONDS)

    def hear(self, humans: frozenset[int]) -> None:
        """These are the people now."""
        self._humans = humans
        if self._people is not None:
            self._people.set_heard(humans)

    def move(self, channel_id: int) -> None:
        """The bot was moved to another channel."""
        self.channel_id = channel_id
        if self._line is not None:
            self._line.channel_id = channel_id

    def end(self) -> None:
        """End the conversation, whatever it is doing."""
        self._scope.cancel(reason="everybody has left, or somebody wants it")

    def status(self, muted: frozenset[int]) -> RoomStatus:
        """Return how it stands; `muted` are those who can't be heard, by their own will or a moderator's."""
        users = {} if self._people is None else self._people.heard().users
        is_deaf = self._deafness.is_deaf
        progress = self._progress
        return RoomStatus(
            channel_id=self.channel_id,
            starter_id=self._starter_id,
            seconds=trio.current_time() - self._began_seconds,
            people=tuple(
                PersonStatus(user_id, hearing(users.get(user_id), is_muted=user_id in muted, is_deaf=is_deaf))
                for user_id in sorted(self._humans)
            ),
            encryption=None if self._line is None else self._line.encryption(),
            model=self._model,
            model_state=progress.state,
            voice=progress.voice,
            delay=None if progress.ledger is None or progress.conversation is None else progress.ledger.delay,
            is_deaf=is_deaf,
            answers=None if self._people is None else self._people.response_times.half_and_most_seconds,
        )

    async def _converse(self, portal: Portal, discord: Discord, converse: Converse) -> PlexbridgeError | None:
        failures = Failures()
        with failures.collect():
            async with open_line(portal, discord, self.channel_id, clock=self._clock) as line:
                with DiscordPeople(line, self.chat, self._hearing) as people:
                    people.set_heard(self._humans)
                    self._line, self._people = line, people
                    try:
                        return await self._talk(converse, line, people)
                    finally:
                        self._line = self._people = None
                        logger.info("channel %s: %s", self.channel_id, people.summary())
        return failures.principal()

    async def _talk(self, converse: Converse, line: Line, people: DiscordPeople) -> PlexbridgeError | None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.keep, self.chat.say)
            nursery.start_soon(self._watch_hearing, line, people)
            failure = await converse(Talk(people, self._starter_id, self.chat.say, self._progress))
            nursery.cancel_scope.cancel(reason="the conversation has ended")
        return failure

    async def _watch_hearing(self, line: Line, people: DiscordPeople) -> None:
        """Notice that people are not heard, or the bot can't be; tell them, and set up anew what may be the reason."""
        recoveries = line.recoveries
        while True:
            await trio.sleep(OBSERVE_SECONDS)
            now_seconds = trio.current_time()
            if recoveries != line.recoveries or not line.is_connected or self._progress.conversation is None:
                recoveries = line.recoveries
                self._deafness.reset_window(now_seconds)
            if self._muteness.observe(is_connected=line.is_connected, can_send=line.can_send, now_seconds=now_seconds):
                logger.warning("channel %s: the bot can't speak, attempt %s", self.channel_id, self._muteness.renewals)
                if self._muteness.renewals == 1:
                    self.chat.say(MUTE_SENTENCE)
                line.renew(is_whole=True)
            for action in self._deafness.observe(people.observed(), now_seconds=now_seconds):
                logger.warning("channel %s: %s", self.channel_id, describe(action))
                words = sentence(action)
                if words is not None:
                    self.chat.say(words)
                if isinstance(action, Rebuild):
                    line.renew(is_whole=action.attempt > 1 or action.cause is not Cause.ENCRYPTED)


class Rooms:
    """Starts and ends conversations as people come, go and ask; implements `commands.Conversations`.

    `text_channel` is where words go, if not to each channel; `model` is the model's name, for people.
    """

    def __init__(
        self,
        portal: Portal,
        discord: Discord,
        attendance: Attendance,
        converse: Converse,
        *,
        text_channel: int | None,
        model: str,
        clock: Callable[[], float],
        hearing: HearingSettings = USUAL,
    ) -> None:
        self._portal = portal
        self._discord = discord
        self._attendance = attendance
        self._converse = converse
        self._text_channel = text_channel
        self._model = model
        self._clock = clock
        self._hearing = hearing
        self._changed = trio.Event()
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
        presence = self._discord.present().get(room.channel_id)
        return room.status(frozenset() if presence is None else presence.muted)

    async def run(self) -> None:
        """Serve until cancelled; then all conversations end."""
        async with trio.open_nursery() as nursery:
            while True:
                due, self._due = self._due, []
                self._act(due, nursery)
                self._act(self._attendance.changed(self._discord.present(), self._discord.places()), nursery)
                await self._changed.wait()
                self._changed = trio.Event()

    def _act(self, actions: list[Action], nursery: trio.Nursery) -> None:
        for action in actions:
            if isinstance(action, Start):
                chat = self._chat(action.channel_id)
                self._rooms[action.guild_id] = Room(action, chat, self._model, self._clock, self._hearing)
                nursery.start_soon(self._hold, action.guild_id, nursery)
            elif isinstance(action, Stop):
                self._rooms[action.guild_id].end()
            elif isinstance(action, Hear):
                self._rooms[action.guild_id].hear(action.humans)
            elif isinstance(action, Move):
                self._move(action.guild_id, action.channel_id)
            elif isinstance(action, Busy):
                nursery.start_soon(self._tell_busy, action.channel_id)

    def _move(self, guild_id: int, channel_id: int) -> None:
        logger.info("moved to channel %s of server %s", channel_id, guild_id)
        room = self._rooms[guild_id]
        room.move(channel_id)
        if self._text_channel is None:
            room.chat.move(channel_id)

    async def _hold(self, guild_id: int, nursery: trio.Nursery) -> None:
        room = self._rooms[guild_id]
        # Until the conversation has one of its own; the context is that of whoever started the task.
        logs.session_id.set(secrets.token_hex(3))
        logger.info("joining channel %s of server %s", room.channel_id, guild_id)
        try:
            await room.hold(self._portal, self._discord, self._converse)
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
