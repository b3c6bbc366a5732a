"""The states of a voice connection: how it comes about, is moved, and ends."""

import asyncio
import warnings
from typing import TYPE_CHECKING, Any

from plexbridge.people.discord.endings import MOVED, Cause, Ending, closed
from plexbridge.people.discord.media import MediaReader, make_telling

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # discord.py imports audioop, which Python 3.13 drops
    import discord
    from discord import voice_state

if TYPE_CHECKING:
    from discord.types.voice import GuildVoiceState

    from plexbridge.people.discord.internals.link import VoiceLink

MOVE_SECONDS = 3.0
"""How long after its end a connection waits for the server that it is to go on at."""


def reader_of(state: voice_state.VoiceConnectionState) -> MediaReader:
    """Return what reads a connection's socket: ours, since `patches` has put it there."""
    reader = state._socket_reader
    assert isinstance(reader, MediaReader)
    return reader


class ConnectionState(voice_state.VoiceConnectionState):
    """discord.py's states of a voice connection, without its own attempts at recovery.

    Its wait for a state looks at the state and then starts a task that waits for the next change. When Discord's two
    answers to a join come together, the second falls in between, and the join would hang.
    """

    voice_client: "VoiceLink"
    _is_in_channel = False
    """Whether Discord has said that the bot is in the channel through this connection."""

    def _create_socket(self) -> None:
        super()._create_socket()
        make_telling(self.socket)

    async def _wait_for_state(
        self,
        state: voice_state.ConnectionFlowState,
        *other_states: voice_state.ConnectionFlowState,
        timeout: float | None = None,  # noqa: ASYNC109  # the signature is discord.py's
    ) -> None:
        async with asyncio.timeout(timeout):
            while self.state not in (state, *other_states):
                await self._state_event.wait()

    async def voice_state_update(self, data: "GuildVoiceState") -> None:
        """Take note of where the bot is; not of the goodbye of an earlier connection, which may come this late."""
        if data["channel_id"] is not None:
            self._is_in_channel = True
            self.voice_client.channel_id = int(data["channel_id"])
        elif not self._is_in_channel:
            return
        elif not self._expecting_disconnect:
            self.voice_client.end(Ending(Cause.THROWN_OUT))
        await super().voice_state_update(data)

    async def _wrap_connect(self, *args: Any) -> None:
        """Connect, or free everything; what fails is reported by who asked, and needs no traceback in the log."""
        task = asyncio.current_task()
        if task is not None:
            task.add_done_callback(forget)  # who asked may be gone, or another attempt stand in this one's place
        try:
            await self._connect(*args)
        except asyncio.CancelledError:
            await self.soft_disconnect()
            raise
        except Exception:
            await self.disconnect()
            raise

    async def _connect(
        self,
        reconnect: bool,
        timeout: float,  # noqa: ASYNC109  # the signature is discord.py's
        self_deaf: bool,
        self_mute: bool,
        resume: bool,
    ) -> None:
        """Connect in time; in this task, since discord.py's own leaves another one behind when it is cancelled."""
        async with asyncio.timeout(timeout):
            await self._inner_connect(reconnect=reconnect, self_deaf=self_deaf, self_mute=self_mute, resume=resume)
        if not self._runner:
            self._runner = asyncio.create_task(self._poll_voice_ws(reconnect))

    async def _poll_voice_ws(self, reconnect: bool) -> None:
        """Read the voice gateway until it ends; only where Discord moves the connection does this one go on."""
        try:
            ending = await self._read_until_end()
        except asyncio.CancelledError:
            return  # discord.py ends its tasks so, and does not expect to hear of it
        except Exception as exc:  # MLS, a socket that closes under a write: whatever it was, the task would be gone
            ending = Ending(Cause.FAULT, type(exc).__name__)
        if self._runner is asyncio.current_task():
            self.voice_client.end(ending)

    async def _read_until_end(self) -> Ending:
        while True:
            try:
                await self.ws.poll_event()
            except discord.ConnectionClosed as exc:
                if exc.code == MOVED and await self._moved():
                    continue
                states = voice_state.ConnectionFlowState
                if exc.code == MOVED and self.state not in (states.connected, states.disconnected):
                    # It was no goodbye: a new server was named, but does not take the connection.
                    return Ending(Cause.BROKEN, "the server that it is to go on at does not answer, or refuses it")
                return closed(exc.code, is_orphaned=self.voice_client.is_orphaned())

    async def _moved(self) -> bool:
        """Go on at the server that Discord names; say whether it does. `state` tells whether one was named."""
        try:
            async with asyncio.timeout(2 * MOVE_SECONDS):
                return await self._potential_reconnect()
        except TimeoutError:
            return False


def forget(task: "asyncio.Task[None]") -> None:
    """Look at how a task of a connection that was left has ended; nobody else would, and asyncio complains."""
    if not task.cancelled():
        task.exception()
