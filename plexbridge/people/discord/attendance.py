"""Who is in which voice channel, and what follows: where a conversation starts, where it ends, who is told where it is.

A pure core. It is shown every change of presence and every end of a conversation, and answers with actions.

A conversation starts where somebody *enters* a channel, unless that is switched off, and where somebody asks for it
(`join`); whoever did so is its starter. After one that failed, whoever wants another enters again, or asks. It ends
when the last human has left, and when somebody asks for that (`leave`). Where a moderator moves the bot, it goes on
with the people there. The bot itself and other bots are no humans, which who takes the presence has to see to. Nor
are, for all that follows here, those who have asked not to be heard; but they may ask for a conversation of others.

A conversation may have to wait for a model, with its people in their channel and the bot in none (`waits`). Then it
does not end when everybody has left: how long its place in the queue is kept is not decided here. Who comes back finds
it, and so does who enters another channel of the server meanwhile: it moves there.

In a server the bot can be in one channel at a time, and it is not taken away from those it talks with: who enters
another channel is told where it is. An entry while a conversation is about to end, as when somebody changes channels,
waits for its end instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from plexbridge.errors import RequestError


@dataclass(frozen=True, slots=True)
class Presence:
    """The humans in one voice channel."""

    guild_id: int
    humans: frozenset[int]
    muted: frozenset[int] = frozenset()
    """Those of them who can't be heard, by their own will or a moderator's."""
    ignored: frozenset[int] = frozenset()
    """Who is in the channel too, and has asked not to be heard: it is as if they were not there."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start a conversation; call `ended` when it has ended, however that is."""

    guild_id: int
    channel_id: int
    humans: frozenset[int]
    starter_id: int
    """Whose entry or wish it is."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the conversation in this server: everybody has left, or somebody wants it."""

    guild_id: int


@dataclass(frozen=True, slots=True)
class Hear:
    """These are the people of the conversation in this server now."""

    guild_id: int
    humans: frozenset[int]


@dataclass(frozen=True, slots=True)
class Move:
    """The conversation in this server goes on in another channel: the bot was moved, or its people have gone there."""

    guild_id: int
    channel_id: int


@dataclass(frozen=True, slots=True)
class Busy:
    """Tell the people in this channel that the bot is in another one."""

    channel_id: int
    bot_channel_id: int


Action = Start | Stop | Hear | Move | Busy


@dataclass(frozen=True, slots=True)
class _Conversation:
    channel_id: int
    humans: frozenset[int]
    is_ending: bool = False
    is_waiting: bool = False


class Attendance:
    """Empty `guilds` and `channels` allow all."""

    def __init__(self, *, auto_join: bool, guilds: frozenset[int], channels: frozenset[int]) -> None:
        self._auto_join = auto_join
        self._guilds = guilds
        self._channels = channels
        self._present: Mapping[int, Presence] = {}
        self._places: Mapping[int, int] = {}
        """Where the bot is, or was last: between two voice connections it is nowhere, and may be moved meanwhile."""
        self._conversations: dict[int, _Conversation] = {}
        self._entered: dict[int, tuple[int, int]] = {}
        """The channel that somebody entered while a conversation was ending, and who did, by server."""

    def changed(self, present: Mapping[int, Presence], places: Mapping[int, int]) -> list[Action]:
        """Take the presence in all voice channels, and the bot's own place by server, as they are now.

        Returns what to do.
        """
        before, self._present = self._present, present
        places_before, self._places = self._places, {**self._places, **places}
        actions: list[Action] = []
        for guild_id, conversation in self._conversations.items():
            place = places.get(guild_id)
            # The bot's place lags behind a join, so only what is seen to change from here to there is a move.
            is_moved = place != places_before.get(guild_id) == conversation.channel_id
            if is_moved and place is not None and not conversation.is_ending:
                conversation = replace(conversation, channel_id=place)
                actions.append(Move(guild_id, place))
            actions += self._attend(guild_id, conversation)
        for channel_id, presence in present.items():
            known = before[channel_id].humans if channel_id in before else frozenset[int]()
            entered = presence.humans - known
            if entered and self._auto_join and self._is_allowed(presence.guild_id, channel_id):
                actions += self._enter(presence.guild_id, channel_id, min(entered))
        return actions

    def join(self, guild_id: int, channel_id: int, user_id: int) -> list[Action]:
        """Somebody wants a conversation in a channel; return what to do.

        Raises RequestError when there can be none.
        """
        if not self._is_allowed(guild_id, channel_id):
            raise RequestError(f"I am not meant to talk in <#{channel_id}>: whoever runs me has chosen other channels.")
        presence = self._present.get(channel_id)
        if presence is None or user_id not in presence.humans | presence.ignored:
            raise RequestError("Enter a voice channel first, and then ask me to join.")
        conversation = self._conversations.get(guild_id)
        is_free = (
            conversation is None or conversation.is_ending or (conversation.is_waiting and not conversation.humans)
        )
        if conversation is not None and not is_free:
            if conversation.channel_id == channel_id:
                raise RequestError(f"I am in <#{channel_id}> already, or on my way there: just talk.")
            raise RequestError(f"I am talking with others in <#{conversation.channel_id}>. You may join us there.")
        if not presence.humans:
            raise RequestError(
                f"Everybody in <#{channel_id}> has asked not to be heard. With /ignore-me off you are heard again."
            )
        return self._enter(guild_id, channel_id, user_id)

    def leave(self, guild_id: int) -> list[Action]:
        """Somebody wants the conversation in this server to end; return what to do."""
        conversation = self._conversations.get(guild_id)
        if conversation is None or conversation.is_ending:
            return []
        self._conversations[guild_id] = replace(conversation, is_ending=True)
        return [Stop(guild_id)]

    def waits(self, guild_id: int, *, is_waiting: bool) -> None:
        """The conversation in this server waits for a model, or does so no longer."""
        self._conversations[guild_id] = replace(self._conversations[guild_id], is_waiting=is_waiting)

    def ended(self, guild_id: int) -> list[Action]:
        """The conversation in this server has ended; return what to do."""
        del self._conversations[guild_id]
        channel_id, user_id = self._entered.pop(guild_id, (0, 0))
        return self._enter(guild_id, channel_id, user_id) if self._humans(channel_id) else []

    def _attend(self, guild_id: int, conversation: _Conversation) -> list[Action]:
        humans = self._humans(conversation.channel_id)
        if conversation.is_ending or humans == conversation.humans:
            self._conversations[guild_id] = conversation
            return []
        is_ending = not humans and not conversation.is_waiting
        self._conversations[guild_id] = replace(conversation, humans=humans, is_ending=is_ending)
        return [Stop(guild_id) if is_ending else Hear(guild_id, humans)]

    def _enter(self, guild_id: int, channel_id: int, user_id: int) -> list[Action]:
        conversation = self._conversations.get(guild_id)
        humans = self._humans(channel_id)
        if conversation is not None and conversation.is_ending:
            self._entered[guild_id] = (channel_id, user_id)
            return []
        if conversation is not None and conversation.is_waiting and not conversation.humans:
            self._conversations[guild_id] = replace(conversation, channel_id=channel_id, humans=humans)
            return [Move(guild_id, channel_id), Hear(guild_id, humans)]
        if conversation is not None:
            is_there = conversation.channel_id == channel_id
            return [] if is_there else [Busy(channel_id, conversation.channel_id)]
        self._conversations[guild_id] = _Conversation(channel_id, humans)
        return [Start(guild_id, channel_id, humans, user_id)]

    def _humans(self, channel_id: int) -> frozenset[int]:
        presence = self._present.get(channel_id)
        return presence.humans if presence is not None else frozenset()

    def _is_allowed(self, guild_id: int, channel_id: int) -> bool:
        is_guild_allowed = not self._guilds or guild_id in self._guilds
        return is_guild_allowed and (not self._channels or channel_id in self._channels)
