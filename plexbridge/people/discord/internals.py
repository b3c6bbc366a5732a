"""Everything that touches the inside of discord.py 2.7.1; `library.check_library` has made sure that it is this one.

discord.py sends voice but does not receive it. Nine things here go beyond its public interface:

* where Discord is: attributes of two classes (`prepare`);
* the socket's reader, which is a thread for each connection: `media.MediaReader` replaces it for all of them;
* IP discovery, which needs that thread, and logs a traceback when it is cancelled in the moment of the answer
  (`_discover_ip`);
* sending, which makes the key anew for each packet and has the dearer one of Discord's two ciphers only (`send_opus`);
* the wait for a connection's states, which can miss one, and the task that reads the voice gateway: discord.py's own
  resumes in vain, takes the next move for the end after it has reconnected once, and dies of a message that it can't
  use while the connection seems to live. Ours follows moves and reports every other end (`_ConnectionState`);
* messages of the voice gateway: a hook sees each after discord.py has handled it (who speaks with which SSRC, who left,
  the session's key);
* the DAVE session: looked up for every frame, because it is made anew whenever the group or the connection changes,
  and made where discord.py makes none, in a call that begins without encryption;
* the order of a rejoin: the goodbye of an earlier connection arrives at the next one (`voice_state_update`);
* the intents of a client that has logged in (`forgo_messages`).
"""

import asyncio
import itertools
import struct
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import davey
import yarl

from plexbridge.errors import LocalProtocolError, VoiceEnded
from plexbridge.people.discord.endings import MOVED, Cause, Ending, closed
from plexbridge.people.discord.inbox import Connected, Inbox, Left, Speaking
from plexbridge.people.discord.media import DATAGRAM_LIMIT_BYTES, MediaReader, make_telling
from plexbridge.people.discord.rtp import MODES, RtpPacket, Sealer
from plexbridge.people.discord.status import Encryption
from plexbridge.people.discord.stream import FrameRefused, Refusal

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # discord.py imports audioop, which Python 3.13 drops
    import discord
    from discord import voice_state
    from discord.gateway import DiscordVoiceWebSocket, DiscordWebSocket
    from discord.http import Route

if TYPE_CHECKING:
    from discord.types.voice import GuildVoiceState

GOODBYE_SECONDS = 0.4
"""For each of the two halves of leaving: telling Discord, and hearing that it is so."""
MOVE_SECONDS = 3.0
"""How long after its end a connection waits for the server that it is to go on at."""
KEEPALIVE_SECONDS = 5.0
"""As Discord's own clients do; without it a NAT forgets the path while everybody is silent."""
FRAME_SAMPLES = 960

_DISCOVERY_BYTES, _DISCOVERY_ANSWER = 74, 2
_SESSION_DESCRIPTION, _SPEAKING, _CLIENT_DISCONNECT, _EXECUTE_TRANSITION = 4, 5, 13, 22
_DAVE_MARKER = b"\xfa\xfa"
_CLEAR_SECONDS = 10
"""How long frames in clear are still taken after the call has become encrypted: what was on its way."""

SEND_FAULTS = (ValueError, TypeError, AttributeError, RuntimeError, OSError, struct.error, LocalProtocolError)
"""What sending raises while a reconnect is replacing session, key and socket: the packet is lost, nothing more."""


def prepare(*, api_base: str, gateway: str) -> None:
    """Tell discord.py where Discord is, and give it our reader; before the client logs in."""
    Route.BASE = api_base
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)
    voice_state.SocketReader = MediaReader  # type: ignore[assignment, misc]  # a class in the place of another, on purpose
    DiscordVoiceWebSocket.discover_ip = _discover_ip  # type: ignore[assignment, method-assign]  # as above


def forgo_messages(client: discord.Client) -> None:
    """Have a client that is not yet connected ask for no messages: Discord would refuse it altogether.

    Whether it would is known only after the log-in, and a client takes its intents when it is made.
    """
    intents = client.intents
    intents.guild_messages = intents.message_content = False
    client._connection._intents = intents


async def _discover_ip(websocket: DiscordVoiceWebSocket) -> tuple[str, int]:
    """Return our address as the voice server sees it; discord.py's own needs the thread that reads."""
    state = websocket._connection
    media, loop = state.socket, asyncio.get_running_loop()
    with _reader(state).reserved():
        await loop.sock_sendall(media, struct.pack(">HHI66x", 1, _DISCOVERY_BYTES - 4, state.ssrc))
        while True:
            # Who is not there is said once, and may be there a moment later; how long to wait is the caller's to say.
            with suppress(ConnectionError):
                data = await loop.sock_recv(media, DATAGRAM_LIMIT_BYTES)
                if len(data) == _DISCOVERY_BYTES and data[1] == _DISCOVERY_ANSWER:
                    break
                state.voice_client.inbox.offer(data)  # type: ignore[attr-defined]  # the client is always ours
    (port,) = struct.unpack_from(">H", data, _DISCOVERY_BYTES - 2)
    return data[8 : data.index(0, 8)].decode("ascii"), port


def _reader(state: voice_state.VoiceConnectionState) -> MediaReader:
    reader = state._socket_reader
    assert isinstance(reader, MediaReader)
    return reader


class _ConnectionState(voice_state.VoiceConnectionState):
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
            task.add_done_callback(_forget)  # who asked may be gone, or another attempt stand in this one's place
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
        self._sealer = Sealer()
        self._sealed_with: list[int] | None = None
        """The key as discord.py has it, which makes a new list for each session."""
        super().__init__(client, channel)

    @property
    def supported_modes(self) -> tuple[str, ...]:  # type: ignore[override]  # discord.py's is an attribute
        """The modes that may be chosen for the transport; the order is the server's."""
        return MODES

    def create_connection_state(self) -> voice_state.VoiceConnectionState:
        """Have our hook see each message of the voice gateway."""
        return _ConnectionState(self, hook=self._handle)

    # On Trio's thread

    @property
    def can_send(self) -> bool:
        """Whether audio may go out: connected, and able to encrypt if the call is encrypted."""
        state = self._connection
        return state.is_connected() and (state.dave_protocol_version == 0 or state.can_encrypt)

    def read(self) -> None:
        """Put into the inbox what has come."""
        _reader(self._connection).read(self.inbox)

    def send_opus(self, packet: bytes) -> bool:
        """Send one Opus packet of 20 ms; return whether it could be.

        discord.py's own makes its key anew for each packet, and has the dearer one of the two ciphers only.
        """
        state = self._connection
        try:
            if state.secret_key is not self._sealed_with:
                self._sealer.connected(state.mode, bytes(state.secret_key))
                self._sealed_with = state.secret_key
            if state.dave_protocol_version:
                packet = state.dave_session.encrypt_opus(packet)  # type: ignore[union-attr]  # without one it is a fault
            state.socket.send(self._sealer.seal(RtpPacket(state.ssrc, self.sequence, self.timestamp, packet)))
        except SEND_FAULTS:
            return False
        finally:
            self.pass_time(1)
        self.sequence = (self.sequence + 1) % (1 << 16)
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
                task.add_done_callback(_forget)
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


def _forget(task: "asyncio.Task[None]") -> None:
    """Look at how a task of a connection that was left has ended; nobody else would, and asyncio complains."""
    if not task.cancelled():
        task.exception()


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
