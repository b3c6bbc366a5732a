"""One voice connection of the bot, from joining to leaving: what is sent, what is received, how it is encrypted."""

import asyncio
import itertools
import struct
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import davey

from plexbridge.errors import VoiceEnded
from plexbridge.people.discord.endings import Cause, Ending
from plexbridge.people.discord.inbox import Connected, Inbox, Left, Speaking
from plexbridge.people.discord.internals.states import MOVE_SECONDS, ConnectionState, forget, reader_of
from plexbridge.people.discord.status import Encryption
from plexbridge.people.discord.stream import FrameRefused, Refusal

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # discord.py imports audioop, which Python 3.13 drops
    import discord
    from discord import voice_state
    from discord.gateway import DiscordVoiceWebSocket

GOODBYE_SECONDS = 0.4
"""For each of the two halves of leaving: telling Discord, and hearing that it is so."""
KEEPALIVE_SECONDS = 5.0
"""As Discord's own clients do; without it a NAT forgets the path while everybody is silent."""
FRAME_SAMPLES = 960

_SESSION_DESCRIPTION, _SPEAKING, _CLIENT_DISCONNECT, _EXECUTE_TRANSITION = 4, 5, 13, 22
_DAVE_MARKER = b"\xfa\xfa"
_CLEAR_SECONDS = 10
"""How long frames in clear are still taken after the call has become encrypted: what was on its way."""

SEND_FAULTS = (ValueError, TypeError, AttributeError, RuntimeError, OSError, struct.error)
"""What sending raises while a reconnect is replacing session, key and socket: the packet is lost, nothing more."""


class VoiceLink(discord.VoiceClient):
    """One voice connection of the bot. Sending and opening frames is for Trio's thread, all else for Discord's loop."""

    def __init__(
        self,
        client: discord.Client,
        channel: discord.abc.Connectable,
        *,
        inbox: Inbox,
        is_orphaned: Callable[[], bool],
    ) -> None:
        self.inbox = inbox
        self.is_orphaned = is_orphaned
        """Says whether the session of the main gateway, in which the connection was made, is gone or away."""
        self.channel_id: int = channel.id  # type: ignore[attr-defined]  # a channel, though typed as less
        """Where Discord has last said that the bot is, while it leaves too; discord.py follows no move then."""
        self._ending: Ending | None = None
        self._ended = asyncio.Event()
        self._is_freed = False
        self._is_speaking_wanted = False
        self._is_speaking_said = False
        self._speaking = asyncio.Lock()
        self._keepalive: asyncio.Task[None] | None = None
        super().__init__(client, channel)

    def create_connection_state(self) -> voice_state.VoiceConnectionState:
        """Have our hook see each message of the voice gateway."""
        return ConnectionState(self, hook=self._handle)

    # On Trio's thread

    @property
    def can_send(self) -> bool:
        """Whether audio may go out: connected, and able to encrypt if the call is encrypted."""
        state = self._connection
        return state.is_connected() and (state.dave_protocol_version == 0 or state.can_encrypt)

    def read(self) -> None:
        """Put into the inbox what has come."""
        reader_of(self._connection).read(self.inbox)

    def send_opus(self, packet: bytes) -> bool:
        """Send one Opus packet of 20 ms; return whether it could be."""
        try:
            self.send_audio_packet(packet, encode=False)
        except SEND_FAULTS:
            return False
        # discord.py starts at 0 instead of wrapping around, which would shorten the packet before.
        self.timestamp %= 1 << 32
        return True

    def pass_time(self, frames: int) -> None:
        """Let `frames` of 20 ms go by in which nothing is sent: the RTP timestamp goes on."""
        self.timestamp = (self.timestamp + frames * FRAME_SAMPLES) % (1 << 32)

    def encryption(self) -> Encryption:
        """Return how the call is encrypted now."""
        state = self._connection
        session = state.dave_session
        if session is None or not state.dave_protocol_version:
            return Encryption(0, is_ready=False, privacy_code="")
        return Encryption(
            state.dave_protocol_version, is_ready=session.ready, privacy_code=session.voice_privacy_code or ""
        )

    def group(self) -> frozenset[int]:
        """Return the ids of all in the call's group, those of bots too; empty without encryption."""
        session = self._connection.dave_session
        return frozenset() if session is None else frozenset(map(int, session.get_user_ids()))

    def open_frame(self, user_id: int, frame: bytes) -> bytes:
        """Return the Opus packet in a user's frame; raises FrameRefused."""
        state = self._connection
        session = state.dave_session
        if state.dave_protocol_version == 0 and not frame.endswith(_DAVE_MARKER):
            return frame
        if session is None:
            raise FrameRefused(Refusal.NOT_READY)
        try:
            opened: bytes = session.decrypt(user_id, davey.MediaType.audio, frame)
        except (ValueError, RuntimeError) as exc:
            raise FrameRefused(_refusal(str(exc))) from None
        return opened

    # On Discord's loop

    def keep_path_open(self) -> None:
        """Begin to send keepalives, until `leave`; from now on only moves are waited for."""
        self._connection.timeout = MOVE_SECONDS
        self._keepalive = asyncio.create_task(self._keep_alive())

    async def leave(self) -> None:
        """Leave the channel and free everything, within twice `GOODBYE_SECONDS`; again does nothing."""
        state = self._connection
        state.timeout = GOODBYE_SECONDS
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                # It takes a cancellation for the end of its waiting, and frees the socket either way.
                await state.disconnect(force=True, wait=not self._is_freed)
        except TimeoutError:
            pass  # Discord will notice by itself
        finally:
            tasks = [task for task in (state._connector, state._runner, self._keepalive) if task is not None]
            for task in tasks:
                task.cancel()
                task.add_done_callback(forget)
            self.cleanup()
            if state.ws and state.ws._keep_alive:
                state.ws._keep_alive.stop()  # a thread; closing stops it too, unless it was cut short
            if state.ws:
                # discord.py does not get this far when the main gateway can't be told of the goodbye.
                with suppress(TimeoutError, ConnectionError):
                    async with asyncio.timeout(GOODBYE_SECONDS):
                        await state.ws.close()

    async def disconnect(self, *, force: bool = False) -> None:
        """discord.py's goodbye after an attempt that took too long: its own would wait as long as the attempt again."""
        await self.leave()

    def cleanup(self) -> None:
        """discord.py's last act on a connection, whatever ended it."""
        self._is_freed = True
        self.end(Ending(Cause.BROKEN))
        super().cleanup()

    async def give_up(self) -> None:
        """End the connection, so that another one is made in its place."""
        self.end(Ending(Cause.RENEWED))

    def end(self, ending: Ending) -> None:
        """The connection can't be used any more; the first reason counts."""
        self._ending = self._ending or ending
        self._ended.set()

    def raise_farewell(self) -> None:
        """Raise VoiceEnded if the connection has ended because it was meant to."""
        if self._ending is not None and self._ending.farewell is not None:
            raise VoiceEnded(str(self._ending), self._ending.farewell)

    async def wait_ended(self) -> Ending:
        """Wait until the connection can't be used any more, and return why."""
        await self._ended.wait()
        assert self._ending is not None
        return self._ending

    async def renew_encryption(self) -> None:
        """Have the call's group take the bot in anew; without end-to-end encryption nothing happens."""
        state = self._connection
        if state.dave_session is not None and state.dave_protocol_version:
            with suppress(ConnectionError):
                await state._recover_from_invalid_commit(0)

    async def announce_speaking(self, is_speaking: bool) -> None:
        """Switch the bot's speaking light; calls that overlap end with the latest wish."""
        self._is_speaking_wanted = is_speaking
        async with self._speaking:
            if self._is_speaking_said == self._is_speaking_wanted or not self.is_connected():
                return
            self._is_speaking_said = self._is_speaking_wanted
            # After a broken connection the next session begins with the light off, and `_handle` switches it on.
            with suppress(ConnectionError):
                await self._speak(self.ws)

    async def _speak(self, websocket: DiscordVoiceWebSocket) -> None:
        states = discord.SpeakingState
        await websocket.speak(states.voice if self._is_speaking_said else states.none)

    async def _handle(self, websocket: DiscordVoiceWebSocket, message: dict[str, Any]) -> None:
        """Take note of a message of the voice gateway; an error here would end discord.py's task for it."""
        op, data = message["op"], message["d"] or {}
        if op == _SESSION_DESCRIPTION:
            self.inbox.announce(Connected(str(self.mode), bytes(self.secret_key)))
            self._prepare_upgrade()
            self._is_speaking_said = self._is_speaking_wanted
            if self._is_speaking_wanted:
                await self._speak(websocket)
        elif op == _SPEAKING and "user_id" in data:
            is_speaking = bool(data.get("speaking"))
            self.inbox.announce(Speaking(int(data["ssrc"]), int(data["user_id"]), is_speaking))
        elif op == _CLIENT_DISCONNECT and "user_id" in data:
            self.inbox.announce(Left(int(data["user_id"])))
        elif op == _EXECUTE_TRANSITION and self._connection.dave_protocol_version:
            session = self._connection.dave_session
            if session is not None:
                # discord.py lets frames in clear pass from the first upgrade on, and never ends it.
                session.set_passthrough_mode(False, _CLEAR_SECONDS)

    def _prepare_upgrade(self) -> None:
        """Without a session discord.py ignores everything that would make the call an encrypted one."""
        state = self._connection
        if state.dave_session is None:
            state.dave_session = davey.DaveSession(davey.DAVE_PROTOCOL_VERSION, state.user.id, self.channel.id)

    async def _keep_alive(self) -> None:
        for count in itertools.count(1):
            await asyncio.sleep(KEEPALIVE_SECONDS)
            if self.is_connected():
                try:
                    self._connection.send_packet(struct.pack("<Q", count))
                except OSError:
                    continue  # the next one will do


def _refusal(words: str) -> Refusal:
    """Return what davey's error means."""
    if "Unencrypted" in words:
        return Refusal.UNENCRYPTED
    return Refusal.NOT_READY if "NoDecryptorForUser" in words or "NotReady" in words else Refusal.UNDECRYPTABLE


async def join_voice(
    channel: discord.VoiceChannel | discord.StageChannel,
    inbox: Inbox,
    *,
    within_seconds: float,
    is_orphaned: Callable[[], bool],
) -> VoiceLink:
    """Join a voice channel; whatever goes wrong, or cancelled, the bot is not in it afterwards.

    Raises VoiceEnded when the bot is taken out again while it joins, and what discord.py raises.
    """
    links: list[VoiceLink] = []

    def make(client: discord.Client, connectable: discord.abc.Connectable) -> VoiceLink:
        links.append(VoiceLink(client, connectable, inbox=inbox, is_orphaned=is_orphaned))
        return links[0]

    try:
        link = await channel.connect(cls=make, timeout=within_seconds, reconnect=False)
        link.keep_path_open()
    except BaseException as exc:
        for link in links:
            await link.leave()
            if isinstance(exc, Exception):
                link.raise_farewell()
        raise
    return link
