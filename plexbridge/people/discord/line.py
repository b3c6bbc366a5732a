"""The bot's place in a voice channel, for as long as a conversation lasts, over as many connections as that takes.

A connection to Discord's voice is used once (`endings.py`). `Line` hands out the present one, as the `Voice` of a
conversation that need not know of the change: between two connections nothing is heard, and what is played is lost and
counted. `keep` is the supervisor. It waits for a connection's end and joins anew, at once and then with growing waits,
until the end was meant or the limit is reached; both come out as errors.
"""

import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from plexbridge.errors import DiscordError, VoiceEnded, VoiceForbidden, VoiceLost
from plexbridge.people.discord.endings import Ending
from plexbridge.people.discord.inbox import Inbox
from plexbridge.people.discord.portal import Portal
from plexbridge.people.discord.status import Encryption
from plexbridge.people.discord.stream import FrameRefused, Refusal
from plexbridge.session.retry import Retry

logger = logging.getLogger(__name__)

JOIN_SECONDS = 15.0
"""For the first connection, all attempts together."""
ATTEMPT_SECONDS = 3.0
"""For one attempt to join; Discord takes one or two."""
RECOVERY_SECONDS = 60.0
"""For a new connection in the place of one that broke: after that people have gone elsewhere."""
PATIENCE_SECONDS = 3.0
"""A gap that is longer is spoken of."""
LEAVE_SECONDS = 1.5
"""A bound above what leaving takes by itself."""

FINAL_ERRORS = (VoiceForbidden, VoiceEnded)

AWAY_SENTENCE = "I have lost the connection to this voice channel and am getting it back."
BACK_SENTENCE = "I am back."


class Connection(Protocol):
    """One connection to a voice channel: `internals.link.VoiceLink`. Coroutine functions are for Discord's loop."""

    @property
    def channel_id(self) -> int:
        """The channel that it leads to; another one than was joined where a moderator has moved the bot."""

    @property
    def can_send(self) -> bool:
        """Whether audio may go out: connected, and encrypted if the call is."""

    def read(self) -> None:
        """Put into the inbox what has come."""

    def send_opus(self, packet: bytes) -> bool:
        """Send one packet of 20 ms; return whether it could be."""

    def pass_time(self, frames: int) -> None:
        """Let `frames` of 20 ms go by unsent."""

    def open_frame(self, user_id: int, frame: bytes) -> bytes:
        """Take end-to-end encryption off; raises FrameRefused."""

    def group(self) -> frozenset[int]:
        """Return the ids of all who have keys in the call."""

    def encryption(self) -> Encryption:
        """Return how the call is encrypted now."""

    async def announce_speaking(self, is_speaking: bool) -> None:
        """Switch the bot's speaking light."""

    async def renew_encryption(self) -> None:
        """Have the call's group take the bot in anew."""

    async def give_up(self) -> None:
        """End the connection, so that another one is made in its place."""

    async def wait_ended(self) -> Ending:
        """Wait until the connection can't be used any more, and return why."""

    async def leave(self) -> None:
        """Leave the channel, within a bounded time; never raises."""


class Joining(Protocol):
    """What makes connections: `bot.Bot`."""

    async def join(self, channel_id: int, inbox: Inbox, within_seconds: float) -> Connection:
        """On Discord's loop: join a voice channel; raises DiscordError, and then, or when cancelled, is not in it.

        One of FINAL_ERRORS means that another attempt would be in vain, or unwanted.
        """


class Line:
    """Implements `voice.Voice`; `open_line` makes it."""

    def __init__(self, portal: Portal, discord: Joining, channel_id: int, clock: Callable[[], float]) -> None:
        self.inbox = Inbox(clock)
        self.channel_id = channel_id
        self.recoveries = 0
        """How often a connection was replaced."""
        self._portal = portal
        self._discord = discord
        self._connection: Connection | None = None
        self._joined_id = channel_id
        """The channel that the present connection was made to."""
        self._is_speaking = False

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection at the moment, as far as is known."""
        return self._connection is not None

    @property
    def can_send(self) -> bool:
        """Whether audio may go out."""
        return self._connection is not None and self._connection.can_send

    def read(self) -> None:
        """Put into the inbox what has come over the present connection."""
        if self._connection is not None:
            self._connection.read()

    def send_opus(self, packet: bytes) -> bool:
        """Send one packet of 20 ms; return whether it could be."""
        return self._connection is not None and self._connection.send_opus(packet)

    def pass_time(self, frames: int) -> None:
        """Let `frames` of 20 ms go by unsent; a connection that is yet to come has a time of its own."""
        if self._connection is not None:
            self._connection.pass_time(frames)

    def open_frame(self, user_id: int, frame: bytes) -> bytes:
        """Take end-to-end encryption off; raises FrameRefused."""
        if self._connection is None:
            raise FrameRefused(Refusal.NOT_READY)
        return self._connection.open_frame(user_id, frame)

    def group(self) -> frozenset[int]:
        """Return the ids of all who have keys in the call."""
        return frozenset() if self._connection is None else self._connection.group()

    def encryption(self) -> Encryption | None:
        """Return how the call is encrypted now; None while there is no connection."""
        return None if self._connection is None else self._connection.encryption()

    def set_speaking(self, is_speaking: bool) -> None:
        """Switch the bot's speaking light; it stays so over a new connection."""
        self._is_speaking = is_speaking
        self._light()

    def renew(self, *, is_whole: bool) -> None:
        """Set the end-to-end encryption up anew, or the whole connection; without one nothing happens."""
        if self._connection is None:
            return
        connection = self._connection
        self._portal.into_discord_soon(connection.give_up if is_whole else connection.renew_encryption)

    async def join(self, *, within_seconds: float) -> None:
        """Make a connection, in as many attempts as there is time for.

        Raises one of FINAL_ERRORS, or the last attempt's DiscordError.
        """
        retry = Retry(random.Random(), first_seconds=0.5, longest_seconds=5.0, limit_seconds=within_seconds)
        while True:
            attempt_seconds = min(ATTEMPT_SECONDS, within_seconds)
            self._joined_id = self.channel_id
            try:
                self._connection = await self._portal.into_discord(
                    self._discord.join, self._joined_id, self.inbox, attempt_seconds
                )
            except FINAL_ERRORS:
                raise
            except DiscordError as error:
                wait_seconds = retry.failed(trio.current_time())
                if wait_seconds is None:
                    raise
                logger.info("channel %s: %s; again in %.1f s", self.channel_id, error, wait_seconds)
                await trio.sleep(wait_seconds)
            else:
                self._light()
                return

    async def keep(self, say: Callable[[str], None]) -> None:
        """Replace connections that end, for ever; `say` tells people of a gap that is long.

        Raises VoiceEnded when the bot was meant to leave, VoiceForbidden and VoiceLost when it can't come back.
        """
        while self._connection is not None:
            connection = self._connection
            ending = await self._portal.into_discord(connection.wait_ended)
            if ending.farewell is not None:
                raise VoiceEnded(str(ending), ending.farewell)
            started_seconds = trio.current_time()
            logger.warning("channel %s: %s; joining again", self.channel_id, ending)
            await self.leave()
            if connection.channel_id != self._joined_id:
                # A moderator has moved the bot in the moment in which it went; who watches its place can miss that.
                self.channel_id = connection.channel_id
            await self._rejoin(say)
            self.recoveries += 1
            logger.info("channel %s: back after %.1f s", self.channel_id, trio.current_time() - started_seconds)

    async def leave(self) -> None:
        """Give the present connection up, within `LEAVE_SECONDS`; again does nothing."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with trio.move_on_after(LEAVE_SECONDS, shield=True):
                await self._portal.into_discord(connection.leave)

    async def _rejoin(self, say: Callable[[str], None]) -> None:
        failure: DiscordError | None = None
        async with trio.open_nursery() as nursery:
            is_told = trio.Event()
            nursery.start_soon(_announce, say, is_told)
            try:
                await self.join(within_seconds=RECOVERY_SECONDS)
            except DiscordError as error:
                failure = error
            nursery.cancel_scope.cancel(reason="the gap is over")
        if isinstance(failure, FINAL_ERRORS):
            raise failure
        if failure is not None:
            raise VoiceLost(str(failure)) from failure
        if is_told.is_set():
            say(BACK_SENTENCE)

    def _light(self) -> None:
        if self._connection is not None:
            self._portal.into_discord_soon(self._connection.announce_speaking, self._is_speaking)


async def _announce(say: Callable[[str], None], is_told: trio.Event) -> None:
    await trio.sleep(PATIENCE_SECONDS)
    say(AWAY_SENTENCE)
    is_told.set()


@asynccontextmanager
async def open_line(
    portal: Portal, discord: Joining, channel_id: int, *, clock: Callable[[], float]
) -> AsyncIterator[Line]:
    """Join a voice channel for the length of the block; raises DiscordError."""
    line = Line(portal, discord, channel_id, clock)
    try:
        await line.join(within_seconds=JOIN_SECONDS)
        yield line
    finally:
        await line.leave()
