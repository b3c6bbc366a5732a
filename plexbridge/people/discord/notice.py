"""What stands in a channel for those who wait there: one message that is kept up to date, and one that calls them.

Like `Chat`, the writing task is shielded from cancellation, since half a request would be a lost message; `finish` ends
it, within a stated time. Who waits for less than `GRACE_SECONDS` reads nothing.
"""

import logging
from typing import Protocol

import trio

from plexbridge.errors import DiscordError
from plexbridge.people.discord.chat import REFUSAL_LIMIT, Pen
from plexbridge.people.discord.portal import Portal

logger = logging.getLogger(__name__)

GRACE_SECONDS = 1.5
EDIT_SECONDS = 5.0
"""Between two changes of the message; a place in a queue changes every few minutes."""


class Caller(Pen, Protocol):
    """What writes and calls: `bot.Bot`. Coroutine functions for Discord's loop; they raise DiscordError."""

    async def call(self, channel_id: int, text: str, user_id: int) -> None:
        """Send a message of which one person, who is mentioned in it, is notified."""


class Notice:
    """The message of one wait; whoever runs `run` has to call `finish`."""

    def __init__(self, portal: Portal, caller: Caller, channel_id: int) -> None:
        self._portal = portal
        self._caller = caller
        self._channel_id = channel_id
        self._message_id: int | None = None
        self._text = self._written = ""
        self._calls: list[tuple[str, int]] = []
        """What is yet to be called; one at most."""
        self._is_called = False
        self._changed = trio.Event()
        self._finished = trio.Event()
        self._scope = trio.CancelScope(shield=True)
        self._refusals = 0

    def show(self, text: str) -> None:
        """Have the message say this."""
        self._text = text
        self._changed.set()

    def call(self, text: str, user_id: int) -> None:
        """Call somebody, with a message of its own; again does nothing."""
        if not self._is_called:
            self._is_called = True
            self._calls.append((text, user_id))
            self._changed.set()

    def move(self, channel_id: int) -> None:
        """From now on write into another channel."""
        self._channel_id, self._message_id, self._written = channel_id, None, ""
        self._changed.set()

    def finish(self, *, within_seconds: float) -> None:
        """There is no more to come: what is there is written within so many seconds, then `run` ends; or sooner."""
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + within_seconds)
        self._finished.set()
        self._changed.set()

    async def run(self) -> None:
        """Write what there is, until `finish`."""
        with self._scope:
            with trio.move_on_after(GRACE_SECONDS):
                await self._finished.wait()
            is_read = not self._finished.is_set()
            while not self._finished.is_set() and self._refusals < REFUSAL_LIMIT:
                self._changed = trio.Event()
                await self._write()
                await self._changed.wait()
                if not self._calls:
                    with trio.move_on_after(EDIT_SECONDS):
                        await self._finished.wait()
            if is_read and self._refusals < REFUSAL_LIMIT:
                await self._write()

    async def _write(self) -> None:
        try:
            while self._calls:
                await self._portal.into_discord(self._caller.call, self._channel_id, *self._calls.pop())
            if self._text == self._written:
                return
            text = self._written = self._text
            if self._message_id is None:
                self._message_id = await self._portal.into_discord(self._caller.write, self._channel_id, text)
            else:
                await self._portal.into_discord(self._caller.edit, self._channel_id, self._message_id, text)
        except DiscordError as error:
            self._refusals += 1
            logger.warning("channel %s can't be written to: %s", self._channel_id, error)
