"""A bot's voice connection and one person in the same encrypted call, without Discord between them.

discord.py's voice client, its socket and its encryption are the real ones, as is davey's end-to-end encryption; only
the voice gateway, which says next to nothing during a call, is not there. The person's datagrams are made beforehand,
so that making them costs nothing when it counts.
"""

import secrets
from collections.abc import Iterable
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import davey

from benchmarks.load_generator import HOST, Address
from plexbridge.people.discord.inbox import Connected, Inbox, Speaking
from plexbridge.people.discord.internals.link import VoiceLink
from plexbridge.people.discord.rtp import XCHACHA20_POLY1305
from tests.discord_server.mls import ExternalSender, vector
from tests.discord_server.transport import Rtp, Sealer, unseal

if TYPE_CHECKING:
    import discord

BOT_ID, PERSON_ID = 1, 2
BOT_SSRC, PERSON_SSRC = 1001, 1002
DAVE_VERSION = 1
EXTENSION = b"\x32\x00\x00\x00\x10\xff\x00\x00"
"""An RTP header extension as people's clients send it."""


class Call:
    """The keys of one call of two, and the person's part in it."""

    def __init__(self, channel_id: int) -> None:
        self.channel_id = channel_id
        self.key = secrets.token_bytes(32)
        self.bot, self._person = _encrypted_call(channel_id)

    def say(self, packets: Iterable[bytes]) -> tuple[bytes, ...]:
        """Return the datagrams of Opus packets that the person says."""
        sealer = Sealer(XCHACHA20_POLY1305, self.key)
        datagrams = []
        for number, opus in enumerate(packets):
            packet = Rtp(
                number % 2**16, number * 960, PERSON_SSRC, self._person.encrypt_opus(opus), extension=EXTENSION
            )
            datagrams.append(sealer.seal(packet.header(), packet.body()))
        return tuple(datagrams)

    def hear(self, datagram: bytes) -> bytes:
        """Return the Opus packet in what the bot has sent; raises ValueError when it is not encrypted for the call."""
        payload = unseal(XCHACHA20_POLY1305, self.key, datagram).rtp().payload
        return self._person.decrypt(BOT_ID, davey.MediaType.audio, payload)


def _encrypted_call(channel_id: int) -> "tuple[davey.DaveSession, davey.DaveSession]":
    """Return the sessions of bot and person in one MLS group; the person has let the bot in."""
    server = ExternalSender()
    bot, person = (davey.DaveSession(DAVE_VERSION, user_id, channel_id) for user_id in (BOT_ID, PERSON_ID))
    for session in (bot, person):
        session.set_external_sender(server.package())
    proposal = server.propose_add(channel_id.to_bytes(8, "big"), 0, bot.get_serialized_key_package())
    added = person.process_proposals(davey.ProposalsOperationType.append, vector(proposal.message))
    assert added is not None, "the proposal is a new one"
    assert added.welcome is not None, "somebody is added"
    person.process_commit(added.commit)
    bot.process_welcome(added.welcome)
    return bot, person


class WiredLink(VoiceLink):
    """A voice connection that stands as soon as it is made, to `server`; `leave` closes it."""

    def __init__(self, call: Call, inbox: Inbox, server: Address) -> None:
        from discord.voice_state import ConnectionFlowState  # only our modules import discord.py without a warning

        client = SimpleNamespace(_connection=SimpleNamespace(loop=None, user=SimpleNamespace(id=BOT_ID)))
        channel = SimpleNamespace(id=call.channel_id)
        super().__init__(
            cast("discord.Client", client),
            cast("discord.VoiceChannel", channel),
            inbox=inbox,
            is_orphaned=lambda: False,
        )
        state = self._connection
        state._create_socket()
        state.socket.bind((HOST, 0))
        state.socket.connect(server)
        state.mode, state.secret_key, state.ssrc = "aead_xchacha20_poly1305_rtpsize", list(call.key), BOT_SSRC
        state.dave_session, state.dave_protocol_version = call.bot, DAVE_VERSION
        state.state = ConnectionFlowState.connected
        inbox.announce(Connected(XCHACHA20_POLY1305, call.key))
        inbox.announce(Speaking(PERSON_SSRC, PERSON_ID, is_speaking=True))
        self.address: Address = state.socket.getsockname()

    async def announce_speaking(self, is_speaking: bool) -> None:
        """There is no gateway to tell."""

    async def leave(self) -> None:
        """Free the socket."""
        self._connection.socket.close()
