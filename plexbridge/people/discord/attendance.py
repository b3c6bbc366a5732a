"""Who is in which voice channel, and what follows: where a conversation starts, where it ends, who is told it is busy.

A pure core. It is shown every change of presence and every end of a conversation, and answers with actions.

A conversation starts where somebody *enters* a channel, unless that is switched off, and where somebody asks for it
(`join`); whoever did so is its starter. After one that failed, whoever wants another enters again, or asks. It ends
when the last human has left, and when somebody asks for that (`leave`). Where a moderator moves the bot, it goes on
with the people there. The bot itself and other bots are no humans, which who takes the presence has to see to. Nor
are, for all that follows here, those who have asked not to be heard; but they may ask for a conversation of others.

In a server the bot can be in one channel at a time, and it is not taken away from those it talks with: who enters
another channel is told that it is busy, and so is everybody for whom the model has no session left. An entry while a
conversation is about to end, as when somebody changes channels, waits for its end instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from plexbridge.errors import ModelBusy, RequestError


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
    """The conversation in this server goes on in another channel, to which the bot was moved."""

    guild_id: int
    channel_id: int


@dataclass(frozen=True, slots=True)
class Busy:
    """Tell the people in this channel that they can't be served now."""

    channel_id: int


Action = Start | Stop | Hear | Move | Busy


@dataclass(frozen=True, slots=True)
class _Conversation:
    channel_id: int
    humans: frozenset[int]
    is_ending: bool = False


class Attendance:
    """Empty `guilds` and `channels` allow all; at most `sessions` conversations run at the same time."""

    def __init__(self, *, auto_join: bool, guilds: frozenset[int], channels: frozenset[int], sessions: int) -> None:
        self._auto_join = auto_join
        self._guilds = guilds
        self._channels = channels
        self._sessions = sessions
        self._present: Mapping[int, Presence] = {}
        self._places: Mapping[int, int] = {}
        """Where the bot is, or was last: between two voice connections it is nowhere, and may be moved meanwhile."""
        self._conversations: dict[int, _Conversation] = {}
        self._waiting: dict[int, tuple[int, int]] = {}
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
                conversation = _Conversation(place, conversation.humans)
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
        if conversation is not None and not conversation.is_ending:
            if conversation.channel_id == channel_id:
                raise RequestError(f"I am in <#{channel_id}> already, or on my way there: just talk.")
            raise RequestError(f"I am talking with others in <#{conversation.channel_id}>. You may join us there.")
        if not presence.humans:
            raise RequestError(
                f"Everybody in <#{channel_id}> has asked not to be heard. With /ignore-me off you are heard again."
            )
        actions = self._enter(guild_id, channel_id, user_id)
        if any(isinstance(action, Busy) for action in actions):
            raise RequestError(ModelBusy.user_message)
        return actions

    def leave(self, guild_id: int) -> list[Action]:
        """Somebody wants the conversation in this server to end; return what to do."""
        conversation = self._conversations.get(guild_id)
        if conversation is None or conversation.is_ending:
            return []
        self._conversations[guild_id] = _Conversation(conversation.channel_id, conversation.humans, is_ending=True)
        return [Stop(guild_id)]

    def ended(self, guild_id: int) -> list[Action]:
        """The conversation in this server has ended; return what to do."""
        del self._conversations[guild_id]
        waiting, self._waiting = self._waiting, {}
        actions: list[Action] = []
        for waiting_guild_id, (channel_id, user_id) in waiting.items():
            if self._humans(channel_id):
                actions += self._enter(waiting_guild_id, channel_id, user_id)
        return actions

    def _attend(self, guild_id: int, conversation: _Conversation) -> list[Action]:
        humans = self._humans(conversation.channel_id)
        if conversation.is_ending or humans == conversation.humans:
            self._conversations[guild_id] = conversation
            return []
        self._conversations[guild_id] = _Conversation(conversation.channel_id, humans, is_ending=not humans)
        return [Hear(guild_id, humans) if humans else Stop(guild_id)]

    def _enter(self, guild_id: int, channel_id: int, user_id: int) -> list[Action]:
        conversation = self._conversations.get(guild_id)
        if conversation is not None and not conversation.is_ending:
            return [] if conversation.channel_id == channel_id else [Busy(channel_id)]
        staying = sum(not each.is_ending for each in self._conversations.values())
        if staying + len(self._waiting.keys() - {guild_id}) >= self._sessions:
            return [Busy(channel_id)]
        if conversation is not None or len(self._conversations) >= self._sessions:
            self._waiting[guild_id] = (channel_id, user_id)
            return []
        humans = self._humans(channel_id)
        self._conversations[guild_id] = _Conversation(channel_id, humans)
        return [Start(guild_id, channel_id, humans, user_id)]

    def _humans(self, channel_id: int) -> frozenset[int]:
        presence = self._present.get(channel_id)
        return presence.humans if presence is not None else frozenset()

    def _is_allowed(self, guild_id: int, channel_id: int) -> bool:
        is_guild_allowed = not self._guilds or guild_id in self._guilds
        return is_guild_allowed and (not self._channels or channel_id in self._channels)
