"""What servers and people have chosen about being heard, for all conversations: kept in the store, in force at once.

Who asks not to be heard is not heard from that moment on, even if the store fails; who takes that back is heard when it
is stored. All that touches the store waits in one line, so that an old value that was read slowly can never replace a
new one.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

import trio

from plexbridge.errors import RequestError, StoreError
from plexbridge.people.discord.asking import person_id, server_id, user_id_of
from plexbridge.people.discord.attendance import Presence
from plexbridge.people.discord.attention import Button, Mode
from plexbridge.people.discord.audience import Audience
from plexbridge.people.discord.chat import Chat

logger = logging.getLogger(__name__)

LOAD_SECONDS = 2.0
"""For a server's choices when a conversation begins; a healthy database takes a hundredth of a second."""


class ServerChoices(Protocol):
    """What a server has chosen: `store.settings.ServerSettings`."""

    @property
    def attention(self) -> str | None:
        """The attention's name; None is what is configured."""

    @property
    def percents(self) -> Mapping[str, int]:
        """The volumes that are not the usual one, by person."""


class ChoiceStore(Protocol):
    """Where it is kept: `store.settings.SettingsStore`. All of it raises StoreError."""

    async def load_server(self, server_id: str) -> ServerChoices:
        """Return what a server has chosen."""

    async def set_attention(self, server_id: str, attention: str) -> None:
        """Keep a server's attention."""

    async def set_volume(self, server_id: str, person_id: str, percent: int) -> None:
        """Keep a person's volume in a server."""

    async def load_ignored(self) -> frozenset[str]:
        """Return who has asked not to be heard."""

    async def set_ignored(self, person_id: str, *, is_ignored: bool) -> None:
        """Keep whether somebody has asked not to be heard."""


class Audiences:
    """The audiences of all conversations; `mode` is for servers that have chosen none."""

    def __init__(self, store: ChoiceStore, *, mode: Mode, idle_seconds: float) -> None:
        self._store = store
        self._mode = mode
        self._idle_seconds = idle_seconds
        self._line = trio.Lock()
        self._ignored: frozenset[int] = frozenset()
        self._changed: Callable[[], None] | None = None
        self._audiences: dict[int, Audience] = {}

    async def read_ignored(self) -> None:
        """Find out who has asked not to be heard, before anybody is; raises StoreError."""
        self._ignored = frozenset(user_id_of(each) for each in await self._store.load_ignored())

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called whenever somebody asks not to be heard, or takes that back."""
        self._changed = changed

    def is_ignored(self, user_id: int) -> bool:
        """Say whether somebody has asked not to be heard."""
        return user_id in self._ignored

    def without_ignored(self, present: Mapping[int, Presence]) -> dict[int, Presence]:
        """Return who is where, with those apart who asked not to be heard."""
        return {
            channel_id: replace(
                presence, humans=presence.humans - self._ignored, ignored=presence.humans & self._ignored
            )
            for channel_id, presence in present.items()
        }

    def open(self, guild_id: int, chat: Chat, *, starter_id: int, humans: frozenset[int]) -> Audience:
        """Return the audience of a new conversation in a server, where there is no other; `close` it."""
        audience = Audience(
            chat, mode=self._mode, starter_id=starter_id, humans=humans, idle_seconds=self._idle_seconds
        )
        self._audiences[guild_id] = audience
        return audience

    async def load(self, guild_id: int) -> None:
        """Have a server's choices in force in its conversation; keeps nobody waiting where they can't be read."""
        failure = f"no answer within {LOAD_SECONDS} s"
        with trio.move_on_after(LOAD_SECONDS):
            try:
                async with self._line:
                    chosen = await self._store.load_server(server_id(guild_id))
                    audience = self._audiences[guild_id]
                    if chosen.attention is not None:
                        audience.set_mode(Mode(chosen.attention))
                    for person, percent in chosen.percents.items():
                        audience.set_volume(user_id_of(person), percent)
            except StoreError as error:
                failure = str(error)
            else:
                return
        logger.warning("what server %s has chosen about being heard can't be read: %s", guild_id, failure)

    def close(self, guild_id: int) -> None:
        """The conversation in a server has ended."""
        del self._audiences[guild_id]

    async def set_attention(self, guild_id: int, mode: Mode) -> None:
        """Keep who is to be listened to in a server; raises StoreError."""
        async with self._line:
            await self._store.set_attention(server_id(guild_id), mode.value)
            if guild_id in self._audiences:
                self._audiences[guild_id].set_mode(mode)

    async def set_volume(self, guild_id: int, user_id: int, percent: int) -> None:
        """Keep how loud the model hears somebody in a server; raises StoreError."""
        async with self._line:
            await self._store.set_volume(server_id(guild_id), person_id(user_id), percent)
            if guild_id in self._audiences:
                self._audiences[guild_id].set_volume(user_id, percent)

    async def set_ignored(self, user_id: int, *, is_ignored: bool) -> None:
        """Keep whether somebody is not to be heard anywhere; raises StoreError, when it holds until the next start."""
        if is_ignored:
            self._ignore(self._ignored | {user_id})
        async with self._line:
            await self._store.set_ignored(person_id(user_id), is_ignored=is_ignored)
            # Again, since somebody may have changed their mind twice meanwhile.
            self._ignore(self._ignored | {user_id} if is_ignored else self._ignored - {user_id})

    def press(self, guild_id: int, user_id: int, button: Button, message_id: int) -> str:
        """Somebody in the conversation has pressed a button; see `Audience.press`. Raises RequestError."""
        audience = self._audiences.get(guild_id)
        if audience is None:
            raise RequestError("There is no conversation in this server any more.")
        return audience.press(user_id, button, message_id)

    def _ignore(self, ignored: frozenset[int]) -> None:
        self._ignored = ignored
        if self._changed is not None:
            self._changed()
