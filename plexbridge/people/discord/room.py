"""One conversation on Discord, from the wish for it to the last word, with all that belongs to it.

A room waits for a model before it joins the voice channel, and again when its time is up. Waiting, joining the voice
channel, the conversation, and leaving again stand in one cancel scope; when everybody has left, or plexbridge stops, it
is cancelled, at whatever point it is. What goes wrong in one conversation ends that one. Beside the conversation run
the line's supervisor, and the watch over whether people are heard.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import trio

from plexbridge.audio.hearing import HearingSettings
from plexbridge.audio.pcm import FRAME_SECONDS
from plexbridge.errors import PlexbridgeError, TurnOver
from plexbridge.model.pool import Pool
from plexbridge.model.standing import Standing
from plexbridge.model.ticket import Ticket
from plexbridge.people.discord.attendance import Start
from plexbridge.people.discord.audiences import Audiences
from plexbridge.people.discord.chat import HURRIED_SECONDS, PATIENT_SECONDS, Chat
from plexbridge.people.discord.deafness import Cause, Deafness, Rebuild, describe, sentence
from plexbridge.people.discord.line import Joining, Line, open_line
from plexbridge.people.discord.muteness import MUTE_SENTENCE, Muteness
from plexbridge.people.discord.portal import Portal
from plexbridge.people.discord.recordings import Recordings
from plexbridge.people.discord.status import Hearing, PersonStatus, RoomStatus, hearing
from plexbridge.people.discord.voice import DiscordPeople
from plexbridge.people.discord.waiting import FORGONE_SENTENCE, Lookout, Waiting
from plexbridge.service import Failures, Progress
from plexbridge.talk import Talk

logger = logging.getLogger(__name__)

OBSERVE_SECONDS = 0.5
"""How often it is looked at whether people are heard."""


class Discord(Lookout, Joining, Protocol):
    """The bot as rooms see it: `bot.Bot`. Its coroutine functions are for Discord's loop."""

    def places(self) -> Mapping[int, int]:
        """Return the voice channels that the bot is in, by server; from any thread."""

    async def check_voice(self, channel_id: int) -> None:
        """Raise VoiceForbidden if the bot may not talk in a voice channel."""

    async def check_text(self, channel_id: int) -> None:
        """Raise VoiceForbidden if the bot may not write in a channel."""


Converse = Callable[[Talk, int], Awaitable[PlexbridgeError | None]]
"""Holds a talk until it ends, and returns what failed: `talk.hold_talk`, with the settings of who started it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all rooms share."""

    portal: Portal
    discord: Discord
    pool: Pool
    converse: Converse
    audiences: Audiences
    recordings: Recordings
    hearing: HearingSettings
    text_channel: int | None
    place_seconds: float
    clock: Callable[[], float]


class Room:
    """One conversation in one voice channel.

    `waits` is told whether it waits for a model, `retire` that it ends by itself: who enters from then on waits for
    its end.
    """

    def __init__(
        self, start: Start, around: Surroundings, *, waits: Callable[[bool], None], retire: Callable[[], object]
    ) -> None:
        self.channel_id = start.channel_id
        self.chat = Chat(around.portal, around.discord, around.text_channel or start.channel_id)
        self._guild_id = start.guild_id
        self._audience = around.audiences.open(
            start.guild_id, self.chat, starter_id=start.starter_id, humans=start.humans
        )
        self._recording = around.recordings.open(start.guild_id, start.channel_id, self.chat, humans=start.humans)
        self._retire = retire
        self._starter_id = start.starter_id
        self._humans = start.humans
        self._around = around
        self._waiting = Waiting(
            around.portal,
            around.discord,
            starter_id=start.starter_id,
            channel_id=start.channel_id,
            humans=start.humans,
            text_channel=around.text_channel,
            place_seconds=around.place_seconds,
            waits=waits,
        )
        self._ticket: Ticket | None = None
        self._model: str | None = None
        """The name of the model that it had at the end."""
        self._began_seconds = trio.current_time()
        self._line: Line | None = None
        self._people: DiscordPeople | None = None
        self._progress = Progress()
        self._deafness = Deafness()
        self._muteness = Muteness()
        self._scope = trio.CancelScope()

    @property
    def standing(self) -> Standing | None:
        """The place in the queue; None when it does not wait for a model."""
        return None if self._ticket is None else self._ticket.standing

    async def hold(self) -> None:
        """Wait for a model, join, converse, leave; failures are told in the chat, and nothing is raised."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.chat.run)
            nursery.start_soon(self._recording.run)
            try:
                with self._scope:
                    with self._around.pool.request(self.channel_id, self._guild_id) as self._ticket:
                        try:
                            await self._around.audiences.load(self._guild_id)
                            failure = await self._take_turns(self._ticket)
                        finally:
                            self._model = self._ticket.model
                            self._ticket = None
                    if failure is not None:
                        self.chat.say(failure.user_message)
                    self.chat.finish(within_seconds=PATIENT_SECONDS)
                    await self.chat.ended.wait()
            finally:
                self._recording.finish()
                self.chat.finish(within_seconds=HURRIED_SECONDS)

    def hear(self, humans: frozenset[int]) -> None:
        """These are the people now."""
        self._humans = humans
        self._waiting.set_humans(humans)
        self._audience.set_humans(humans)
        self._recording.set_humans(humans)
        if self._people is not None:
            self._people.set_heard(humans)

    def look(self) -> None:
        """Have a look at who is there, who is muted, and who has asked not to be heard."""
        self._waiting.look()
        self._recording.look()

    def move(self, channel_id: int) -> None:
        """The bot was moved to another channel, or those who wait have gone there."""
        self.channel_id = channel_id
        self._waiting.move(channel_id)
        if self._line is not None:
            self._line.channel_id = channel_id
        if self._around.text_channel is None:
            self.chat.move(channel_id)

    def end(self) -> None:
        """End the conversation, whatever it is doing."""
        self._scope.cancel(reason="everybody has left, or somebody wants it")

    def status(self, muted: frozenset[int], ignored: frozenset[int]) -> RoomStatus:
        """Return how it stands; `muted` are those who can't be heard, by their own will or a moderator's.

        `ignored` are those who have asked not to be heard.
        """
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
            )
            + tuple(PersonStatus(user_id, Hearing.IGNORED) for user_id in sorted(ignored)),
            listening=self._audience.status(),
            encryption=None if self._line is None else self._line.encryption(),
            model=(self._model if self._ticket is None else self._ticket.model) or "",
            model_state=progress.state,
            voice=progress.voice,
            delay=None if progress.ledger is None or progress.conversation is None else progress.ledger.delay,
            is_deaf=is_deaf,
            standing=self.standing,
            models=self._around.pool.statuses(),
            unheard_seconds=progress.renewals.unheard_frames * FRAME_SECONDS,
            is_recorded=self._recording.recorder is not None,
            answers=None if self._people is None else self._people.response_times.half_and_most_seconds,
        )

    async def _take_turns(self, ticket: Ticket) -> PlexbridgeError | None:
        """Wait and converse, over and over where the time is limited; return what failed."""
        while await self._waiting.wait_turn(ticket):
            failure = await self._converse(ticket)
            if isinstance(failure, TurnOver):
                self.chat.say(failure.user_message)
                ticket.requeue()
            elif ticket.may_wait_after(failure):
                ticket.requeue(is_first=True)  # other models work, and are taken
            else:
                return failure
        self.chat.say(FORGONE_SENTENCE)
        return None

    async def _converse(self, ticket: Ticket) -> PlexbridgeError | None:
        around = self._around
        failures = Failures()
        with failures.collect():
            async with open_line(around.portal, around.discord, self.channel_id, clock=around.clock) as line:
                with (
                    DiscordPeople(line, self.chat, around.hearing) as people,
                    self._audience.attached(people),
                    self._recording.attached(people),
                ):
                    people.set_heard(self._humans)
                    self._line, self._people = line, people
                    try:
                        return await self._talk(ticket, line, people)
                    finally:
                        self._line = self._people = None
                        logger.info("channel %s: %s", self.channel_id, people.summary())
        return failures.principal()

    async def _talk(self, ticket: Ticket, line: Line, people: DiscordPeople) -> PlexbridgeError | None:
        failure = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.keep, self.chat.say)
            nursery.start_soon(self._watch_hearing, line, people)
            nursery.start_soon(self._leave_when_idle, line, people, nursery.cancel_scope)
            talk = Talk(people, self.chat.say, self._progress, ticket)
            failure = await self._around.converse(talk, self._starter_id)
            nursery.cancel_scope.cancel(reason="the conversation has ended")
        return failure

    async def _leave_when_idle(self, line: Line, people: DiscordPeople, talk: trio.CancelScope) -> None:
        """End the talk when nobody has said anything for too long."""

        def is_listening() -> bool:
            return line.is_connected and self._progress.conversation is not None and not self._deafness.is_deaf

        await self._audience.watch(people, is_listening)
        logger.info("channel %s: nobody has said anything for too long", self.channel_id)
        self._retire()
        talk.cancel(reason="nobody says anything")

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
