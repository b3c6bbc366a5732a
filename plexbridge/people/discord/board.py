"""The message with buttons in a channel's chat: always one, which shows the present state.

It is edited where it stands as long as people use it there, and posted anew below everything else where they might miss
a change; buttons of the old one go then. A press names the message that it came from, so it is known which one people
have before their eyes.
"""

from dataclasses import dataclass
from typing import Protocol

from plexbridge.people.discord.attention import Button
from plexbridge.people.discord.portal import Portal


class Signboard(Protocol):
    """What puts it up: `bot.Bot`. A coroutine function for Discord's loop, which raises DiscordError."""

    async def put(self, channel_id: int, message_id: int | None, text: str, buttons: tuple[Button, ...]) -> int:
        """Post a message with buttons, or replace all of an earlier one; return its id."""


@dataclass(frozen=True, slots=True)
class _Sign:
    text: str
    buttons: tuple[Button, ...]


class Board:
    """What is to be shown, and the message that shows it."""

    def __init__(self, portal: Portal, signboard: Signboard, channel_id: int) -> None:
        self._portal = portal
        self._signboard = signboard
        self._channel_id = channel_id
        self._wanted: _Sign | None = None
        self._shown: _Sign | None = None
        self._is_moving = False
        self.message_id: int | None = None
        """The present message."""

    def show(self, text: str, buttons: tuple[Button, ...], *, is_anew: bool) -> None:
        """Have this shown; `is_anew` below everything else."""
        self._wanted = _Sign(text, buttons)
        self._is_moving |= is_anew

    def close(self, text: str) -> None:
        """Take the buttons away, if there are any, and have this in the message's place."""
        self._wanted, self._is_moving = _Sign(text, ()), False

    def move(self, channel_id: int) -> None:
        """From now on stand in another channel."""
        self._channel_id, self.message_id, self._shown = channel_id, None, None

    async def update(self) -> None:
        """Have Discord show what is wanted, if it does not; raises DiscordError, and does not try that again."""
        while (wanted := self._wanted) is not None and (self._is_moving or wanted != self._shown):
            shown, self._shown = self._shown, wanted
            # Whatever becomes of it: an old message that can't be changed is not the present one any more.
            message_id, self.message_id = self.message_id, None
            if self._is_moving:
                self._is_moving = False
                if message_id is not None and shown is not None:
                    await self._put(message_id, _Sign(shown.text, ()))
                message_id = None
            if wanted.buttons:
                self.message_id = await self._put(message_id, wanted)
            elif message_id is not None:
                await self._put(message_id, wanted)

    async def _put(self, message_id: int | None, sign: _Sign) -> int:
        return await self._portal.into_discord(
            self._signboard.put, self._channel_id, message_id, sign.text, sign.buttons
        )
