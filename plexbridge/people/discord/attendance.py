"""Who is in which voice channel, and what follows: where a conversation starts, where it ends, who is told it is busy.

A pure core. It is shown every change of presence and every end of a conversation, and answers with actions.

A conversation starts where somebody *enters* a channel: after one that failed, whoever wants another enters again. It
ends when the last human has left. The bot itself and other bots are no humans, which who takes the presence has to
see to. In a server the bot can be in one channel at a time, and it is not taken away from those it talks with: who
enters another channel is told that it is busy, and so is everybody for whom the model has no session left. An entry
while a conversation is about to end, as when somebody changes channels, waits for its end instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Presence:
    """The humans in one voice channel."""

    guild_id: int
    humans: frozenset[int]


@dataclass(frozen=True, slots=True)
class Start:
    """Start a conversation; call `ended` when it has ended, however that is."""

    guild_id: int
    channel_id: int
    humans: frozenset[int]


@dataclass(frozen=True, slots=True)
class Stop:
    """End the conversation in this server: everybody has left."""

    guild_id: int


@dataclass(frozen=True, slots=True)
class Hear:
    """These are the people of the conversation in this server now."""

    guild_id: int
    humans: frozenset[int]


@dataclass(frozen=True, slots=True)
class Busy:
    """Tell the people in this channel that they can't be served now."""

    channel_id: int


Action = Start | Stop | Hear | Busy


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
        self._conversations: dict[int, _Conversation] = {}
        self._waiting: dict[int, int] = {}
        """The channel, by server, that somebody entered while a conversation was ending."""

    def changed(self, present: Mapping[int, Presence]) -> list[Action]:
        """Take the presence in all voice channels as it is now; return what to do."""
        before, self._present = self._present, present
        actions: list[Action] = []
        for guild_id, conversation in self._conversations.items():
            actions += self._attend(guild_id, conversation)
        for channel_id, presence in present.items():
            known = before[channel_id].humans if channel_id in before else frozenset[int]()
            if presence.humans - known and self._is_allowed(presence.guild_id, channel_id):
                actions += self._enter(presence.guild_id, channel_id)
        return actions

    def ended(self, guild_id: int) -> list[Action]:
        """The conversation in this server has ended; return what to do."""
        del self._conversations[guild_id]
        waiting, self._waiting = self._waiting, {}
        actions: list[Action] = []
        for waiting_guild_id, channel_id in waiting.items():
            if self._humans(channel_id):
                actions += self._enter(waiting_guild_id, channel_id)
        return actions

    def _attend(self, guild_id: int, conversation: _Conversation) -> list[Action]:
        humans = self._humans(conversation.channel_id)
        if conversation.is_ending or humans == conversation.humans:
            return []
        self._conversations[guild_id] = _Conversation(conversation.channel_id, humans, is_ending=not humans)
        return [Hear(guild_id, humans) if humans else Stop(guild_id)]

    def _enter(self, guild_id: int, channel_id: int) -> list[Action]:
        conversation = self._conversations.get(guild_id)
        if conversation is not None and not conversation.is_ending:
            return [] if conversation.channel_id == channel_id else [Busy(channel_id)]
        staying = sum(not each.is_ending for each in self._conversations.values())
        if staying + len(self._waiting.keys() - {guild_id}) >= self._sessions:
            return [Busy(channel_id)]
        if conversation is not None or len(self._conversations) >= self._sessions:
            self._waiting[guild_id] = channel_id
            return []
        humans = self._humans(channel_id)
        self._conversations[guild_id] = _Conversation(channel_id, humans)
        return [Start(guild_id, channel_id, humans)]

    def _humans(self, channel_id: int) -> frozenset[int]:
        presence = self._present.get(channel_id)
        return presence.humans if presence is not None else frozenset()

    def _is_allowed(self, guild_id: int, channel_id: int) -> bool:
        is_guild_allowed = not self._guilds or guild_id in self._guilds
        return self._auto_join and is_guild_allowed and (not self._channels or channel_id in self._channels)
