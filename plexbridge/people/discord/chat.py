"""What is written into a channel during one conversation: `Captions` says what and when, a task does it.

Writing is a request to Discord that may take its time or be refused; a session only ever adds to the captions. The task
is shielded from cancellation, since half a request would be a lost message; `finish` ends it, within stated limits.
"""

import logging
from typing import Protocol

import trio

from plexbridge.errors import DiscordError
from plexbridge.model.conversation import State
from plexbridge.people.discord.attention import Button
from plexbridge.people.discord.board import Board, Signboard
from plexbridge.people.discord.captions import Captions, Edit, Post
from plexbridge.people.discord.portal import Portal

logger = logging.getLogger(__name__)

PATIENT_SECONDS = 5.0
"""For the last words, while somebody is there to read them."""
HURRIED_SECONDS = 0.4
"""For the last words, when everybody has left and nothing may last longer than a second."""
REFUSAL_LIMIT = 3
"""After so many refusals the channel is left alone: the bot may not write there."""


class Pen(Signboard, Protocol):
    """What writes: `bot.Bot`. Coroutine functions for Discord's loop; they raise DiscordError."""

    async def write(self, channel_id: int, text: str) -> int:
        """Send a message and return its id."""

    async def edit(self, channel_id: int, message_id: int, text: str) -> None:
        """Replace a message's text."""


class Chat:
    """The chat of one conversation; whoever runs `run` has to call `finish`. Implements `voice.Words`."""

    def __init__(self, portal: Portal, pen: Pen, channel_id: int) -> None:
        self._portal = portal
        self._pen = pen
        self._channel_id = channel_id
        self._captions = Captions()
        self._board = Board(portal, pen, channel_id)
        self._changed = trio.Event()
        self._scope = trio.CancelScope(shield=True)
        self._is_finished = False
        self.ended = trio.Event()
        """Everything is written, or given up."""
        self._message_id: int | None = None
        self._refusals = 0

    def show(self, text: str) -> None:
        """Add a piece of what the model says."""
        self._captions.show(text, now_seconds=trio.current_time())
        self._changed.set()

    def tell(self, state: State) -> None:
        """Take note of the conversation's state."""
        self._captions.tell(state, now_seconds=trio.current_time())
        self._changed.set()

    def rest(self) -> None:
        """The model says no more for now."""
        self._captions.rest()
        self._changed.set()

    def say(self, sentence: str) -> None:
        """Add a sentence of plexbridge's own."""
        self._captions.say(sentence)
        self._changed.set()

    @property
    def board_id(self) -> int | None:
        """The message with buttons; None while there is none."""
        return self._board.message_id

    def show_board(self, text: str, buttons: tuple[Button, ...], *, is_anew: bool) -> None:
        """Have a message with buttons; `is_anew` below everything that was written."""
        self._board.show(text, buttons, is_anew=is_anew)
        self._changed.set()

    def close_board(self, text: str) -> None:
        """Have no buttons any more, and this in their message's place, if there is one."""
        self._board.close(text)
        self._changed.set()

    def move(self, channel_id: int) -> None:
        """From now on write into another channel."""
        self._board.move(channel_id)
        self._channel_id, self._message_id = channel_id, None
        self._changed.set()

    def finish(self, *, within_seconds: float) -> None:
        """There is no more to come: what is there is written within so many seconds, then `run` ends; or sooner."""
        self._is_finished = True
        self._captions.finish()
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + within_seconds)
        self._changed.set()

    async def run(self) -> None:
        """Write what is due, when it is due, until `finish`."""
        with self._scope:
            while not self._is_finished and self._refusals < REFUSAL_LIMIT:
                with trio.move_on_at(max(self._captions.due_seconds(), trio.current_time())):
                    await self._changed.wait()
                self._changed = trio.Event()
                await self._write_due()
            await self._write_due()
        self.ended.set()

    async def _write_due(self) -> None:
        while self._refusals < REFUSAL_LIMIT and (write := self._captions.take(trio.current_time())) is not None:
            try:
                await self._write(write)
            except DiscordError as error:
                self._refuse(error)
        if self._refusals < REFUSAL_LIMIT:
            try:
                await self._board.update()
            except DiscordError as error:
                self._refuse(error)

    def _refuse(self, error: DiscordError) -> None:
        self._refusals += 1
        logger.warning("channel %s can't be written to: %s", self._channel_id, error)

    async def _write(self, write: Post | Edit) -> None:
        if isinstance(write, Edit) and self._message_id is not None:
            await self._portal.into_discord(self._pen.edit, self._channel_id, self._message_id, write.text)
            return
        # An edit of what was refused is a new attempt at it.
        self._message_id = None
        self._message_id = await self._portal.into_discord(self._pen.write, self._channel_id, write.text)
