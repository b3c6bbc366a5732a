"""What stands in the place of discord.py's own before a client connects: addresses, reader, IP discovery, intents."""

import asyncio
import struct
import warnings
from contextlib import suppress

import yarl

from plexbridge.people.discord.internals.states import ConnectionState, reader_of
from plexbridge.people.discord.media import DATAGRAM_LIMIT_BYTES, MediaReader

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # discord.py imports audioop, which Python 3.13 drops
    import discord
    from discord import voice_state
    from discord.gateway import DiscordVoiceWebSocket, DiscordWebSocket
    from discord.http import Route

_DISCOVERY_BYTES, _DISCOVERY_ANSWER = 74, 2
_SocketReader, _discover_ip = voice_state.SocketReader, DiscordVoiceWebSocket.discover_ip
"""discord.py's own, for connections of others in this process."""


def prepare(*, api_base: str, gateway: str) -> None:
    """Tell discord.py where Discord is, and give it our reader; before the client logs in."""
    Route.BASE = api_base
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)
    voice_state.SocketReader = _make_reader  # type: ignore[assignment, misc]  # in the place of a class, on purpose
    DiscordVoiceWebSocket.discover_ip = discover_ip  # type: ignore[assignment, method-assign]  # as above


def _make_reader(state: voice_state.VoiceConnectionState) -> MediaReader | voice_state.SocketReader:
    return MediaReader(state) if isinstance(state, ConnectionState) else _SocketReader(state)


def forgo_messages(client: discord.Client) -> None:
    """Have a client that is not yet connected ask for no messages: Discord would refuse it altogether.

    Whether it would is known only after the log-in, and a client takes its intents when it is made.
    """
    intents = client.intents
    intents.guild_messages = intents.message_content = False
    client._connection._intents = intents


async def discover_ip(websocket: DiscordVoiceWebSocket) -> tuple[str, int]:
    """Return our address as the voice server sees it; discord.py's own needs the thread that reads."""
    state = websocket._connection
    if not isinstance(state, ConnectionState):
        return await _discover_ip(websocket)
    media, loop = state.socket, asyncio.get_running_loop()
    with reader_of(state).reserved():
        await loop.sock_sendall(media, struct.pack(">HHI66x", 1, _DISCOVERY_BYTES - 4, state.ssrc))
        while True:
            # Who is not there is said once, and may be there a moment later; how long to wait is the caller's to say.
            with suppress(ConnectionError):
                data = await loop.sock_recv(media, DATAGRAM_LIMIT_BYTES)
                if len(data) == _DISCOVERY_BYTES and data[1] == _DISCOVERY_ANSWER:
                    break
                state.voice_client.inbox.offer(data)
    (port,) = struct.unpack_from(">H", data, _DISCOVERY_BYTES - 2)
    return data[8 : data.index(0, 8)].decode("ascii"), port
