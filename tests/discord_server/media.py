"""The media server of one voice server: discovery, keepalives, and packets from each member to all the others.

Every packet is decrypted with its sender's transport key and encrypted anew for each receiver, in the receiver's own
mode; RTP header, extension and padding stay as they are, and DAVE's payload is none of the server's business.
"""

import asyncio
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.discord_server.faults import Delivery, FaultTable
from tests.discord_server.guild import VoiceState
from tests.discord_server.options import Options
from tests.discord_server.record import Record
from tests.discord_server.room import Room
from tests.discord_server.transport import (
    OPUS_PAYLOAD_TYPE,
    OPUS_SILENCE,
    BadDatagram,
    Opened,
    is_rtp,
    unseal,
)
from tests.discord_server.udp import Address, UdpSocket
from tests.discord_server.voice_session import Arrival, VoiceSession

DISCOVERY_BYTES, KEEPALIVE_BYTES = 74, 8
DAVE_MARKER = b"\xfa\xfa"
"""The last bytes of every frame that DAVE has encrypted."""
HELD_FLUSH_SECONDS = 0.5
"""A burst that never fills up is delivered after this time, so that the end of a talk spurt is not lost."""
ANNOUNCE_SECONDS = 0.25
"""How far audio may be ahead of its op 5, and behind one that ends it or an upgrade: the ways are different ones."""

VoiceStateOf = Callable[[int, int], VoiceState | None]
"""The voice state of a user in a guild."""


@dataclass(slots=True)
class _Held:
    datagrams: list[bytes]
    flush: asyncio.TimerHandle


class MediaServer:
    """The UDP side of a voice server."""

    def __init__(self, options: Options, record: Record, faults: FaultTable, voice_state_of: VoiceStateOf) -> None:
        self._discovery_seconds = options.discovery_seconds
        self._record = record
        self._faults = faults
        self._voice_state_of = voice_state_of
        self._udp = UdpSocket(options.host, self._received)
        self._by_ssrc: dict[int, tuple[Room, VoiceSession]] = {}
        self._by_address: dict[Address, tuple[Room, VoiceSession]] = {}
        self._held: dict[tuple[int, int], _Held] = {}
        self.address = self._udp.address

    def close(self) -> None:
        """Stop; what is held back is lost."""
        for held in self._held.values():
            held.flush.cancel()
        self._udp.close()

    def expect(self, room: Room, session: VoiceSession) -> None:
        """A session was given its SSRC; its discovery datagram is to come."""
        self._by_ssrc[session.ssrc] = (room, session)

    def forget(self, session: VoiceSession) -> None:
        """A session has ended."""
        self._by_ssrc.pop(session.ssrc, None)
        if session.address is not None:
            self._by_address.pop(session.address, None)

    def send_raw(self, session: VoiceSession, datagram: bytes) -> None:
        """Send bytes of the test's choice to a client."""
        if session.address is not None:
            self._udp.send(datagram, session.address)

    def _received(self, datagram: bytes, sender: Address, at_seconds: float) -> None:
        if len(datagram) == DISCOVERY_BYTES and datagram[:4] == b"\x00\x01\x00\x46":
            self._discover(datagram, sender)
        elif len(datagram) == KEEPALIVE_BYTES:
            self._record.counters["media.keepalive"] += 1
            self._udp.send(datagram, sender)
        elif sender not in self._by_address:
            self._record.counters["media.unknown sender"] += 1
        elif is_rtp(datagram):
            room, session = self._by_address[sender]
            self._packet(room, session, datagram, at_seconds)
        else:
            self._record.counters["media.not rtp"] += 1

    def _discover(self, datagram: bytes, sender: Address) -> None:
        ssrc = int(struct.unpack_from(">I", datagram, 4)[0])
        if ssrc not in self._by_ssrc:
            self._record.violation("IP discovery for an unknown SSRC", user_id=None, ssrc=ssrc)
            return
        room, session = self._by_ssrc[ssrc]
        if session.address is not None:
            self._by_address.pop(session.address, None)
        session.address = sender
        self._by_address[sender] = (room, session)
        answer = struct.pack(">HHI64sH", 2, 70, ssrc, sender[0].encode(), sender[1])
        asyncio.get_running_loop().call_later(self._discovery_seconds, self._udp.send, answer, sender)

    def _packet(self, room: Room, session: VoiceSession, datagram: bytes, at_seconds: float) -> None:
        user_id = session.user_id
        if not session.is_described:
            self._record.violation("audio before op 4", user_id=user_id)
            return
        try:
            opened = unseal(session.mode, session.key, datagram)
            rtp = opened.rtp()
        except BadDatagram as exc:
            self._record.violation("packet can't be decrypted", user_id=user_id, reason=str(exc))
            return
        if opened.nonce <= session.last_nonce:
            self._record.violation("nonce did not grow", user_id=user_id, nonce=opened.nonce)
            return
        session.last_nonce = opened.nonce
        is_audio = rtp.payload_type == OPUS_PAYLOAD_TYPE
        if rtp.ssrc not in ((session.ssrc,) if is_audio else (session.video_ssrc, session.rtx_ssrc)):
            self._record.violation("packet with the wrong SSRC", user_id=user_id, ssrc=rtp.ssrc)
            return
        if not session.has_sent_speaking:
            self._hold_early(session, opened, at_seconds)
            return
        self._accept(room, session, opened, at_seconds)

    def _hold_early(self, session: VoiceSession, opened: Opened, at_seconds: float) -> None:
        """Keep a packet that is ahead of the session's first op 5."""
        if not session.early:
            asyncio.get_running_loop().call_later(ANNOUNCE_SECONDS, self._check_first_announced, session)
        session.early.append((opened, at_seconds))

    def _check_first_announced(self, session: VoiceSession) -> None:
        if not session.has_sent_speaking:
            session.early.clear()
            self._record.violation("audio without op 5", user_id=session.user_id)

    def announced(self, room: Room, session: VoiceSession) -> None:
        """A client has sent op 5: pass on what was ahead of it."""
        while session.early:
            opened, at_seconds = session.early.popleft()
            self._accept(room, session, opened, at_seconds)

    def _accept(self, room: Room, session: VoiceSession, opened: Opened, at_seconds: float) -> None:
        rtp = opened.rtp()
        if rtp.payload_type == OPUS_PAYLOAD_TYPE:
            is_silence = rtp.payload == OPUS_SILENCE
            is_encrypted = rtp.payload.endswith(DAVE_MARKER)
            session.arrivals.append(
                Arrival(at_seconds, rtp.sequence, rtp.timestamp, len(rtp.payload), is_silence, is_encrypted)
            )
            self._check(room, session, is_silence=is_silence, is_encrypted=is_encrypted)
        self._forward(room, session, opened)

    def _check(self, room: Room, session: VoiceSession, *, is_silence: bool, is_encrypted: bool) -> None:
        if is_silence:
            return
        loop = asyncio.get_running_loop()
        latest_seconds = loop.time() - ANNOUNCE_SECONDS
        has_dave = room.dave.version and session.max_dave_version
        if not is_encrypted and has_dave and room.encrypted_seconds < latest_seconds:
            self._record.violation("clear audio while DAVE is on", user_id=session.user_id)
        if not session.speaking and not session.is_unannounced and session.hushed_seconds < latest_seconds:
            session.is_unannounced = True
            loop.call_later(ANNOUNCE_SECONDS, self._check_announced, session, loop.time())

    def _check_announced(self, session: VoiceSession, since_seconds: float) -> None:
        session.is_unannounced = False
        if not session.speaking and session.announced_seconds < since_seconds:
            self._record.violation("audio while not speaking", user_id=session.user_id)

    def _forward(self, room: Room, session: VoiceSession, opened: Opened) -> None:
        is_audio = opened.rtp().payload_type == OPUS_PAYLOAD_TYPE
        state = self._voice_state_of(session.grant.guild_id, session.user_id)
        if state is None or (is_audio and state.is_silenced):
            is_suppressed = state is not None and state.suppress
            reason = "a sender without the permission to speak" if is_suppressed else "a muted sender"
            self._record.counters[f"media.from {reason}"] += 1
            return
        for other in room.sessions.values():
            if other is session or other.address is None or not other.is_described:
                continue
            state = self._voice_state_of(other.grant.guild_id, other.user_id)
            if state is None or state.is_deaf:
                self._record.counters["media.for a deafened receiver"] += 1
                continue
            self._send_through_link(session, other, opened, is_audio=is_audio)

    def _send_through_link(
        self, sender: VoiceSession, receiver: VoiceSession, opened: Opened, *, is_audio: bool
    ) -> None:
        link = self._faults.link(sender.user_id, receiver.user_id, is_audio=is_audio)
        deliveries = link.plan()
        if not deliveries:
            self._record.counters["media.lost on purpose"] += 1
            return
        # A duplicate is the same datagram twice: same nonce, same bytes.
        datagram = self._seal(receiver, opened, deliveries[0])
        for delivery in deliveries:
            if link.faults.burst_frames:
                self._hold(sender, receiver, datagram, link.faults.burst_frames)
            elif delivery.delay_seconds:
                loop = asyncio.get_running_loop()
                loop.call_later(delivery.delay_seconds, self.send_raw, receiver, datagram)
            else:
                self.send_raw(receiver, datagram)

    def _seal(self, receiver: VoiceSession, opened: Opened, delivery: Delivery) -> bytes:
        assert receiver.sealer is not None, "a described session has chosen its mode"
        key = os.urandom(32) if delivery.has_wrong_key else None
        body = _with_dave_garbage(opened) if delivery.is_dave_garbage else opened.body
        datagram = receiver.sealer.seal(opened.header, body, key=key)
        if not delivery.is_corrupt:
            return datagram
        flipped = len(opened.header) + len(opened.body) // 2
        return datagram[:flipped] + bytes([datagram[flipped] ^ 1]) + datagram[flipped + 1 :]

    def _hold(self, sender: VoiceSession, receiver: VoiceSession, datagram: bytes, limit: int) -> None:
        key = (sender.user_id, receiver.user_id)
        held = self._held.get(key)
        if held is None:
            loop = asyncio.get_running_loop()
            seconds = limit * 0.02 + HELD_FLUSH_SECONDS
            held = self._held[key] = _Held([], loop.call_later(seconds, self._release, key, receiver))
        held.datagrams.append(datagram)
        if len(held.datagrams) >= limit:
            self._release(key, receiver)

    def _release(self, key: tuple[int, int], receiver: VoiceSession) -> None:
        held = self._held.pop(key)
        held.flush.cancel()
        for datagram in held.datagrams:
            self.send_raw(receiver, datagram)


def _with_dave_garbage(opened: Opened) -> bytes:
    """Return the body with its first byte of DAVE ciphertext changed; as it was when DAVE has not encrypted it."""
    rtp = opened.rtp()
    if not rtp.payload.endswith(DAVE_MARKER):
        return opened.body
    return replace(rtp, payload=bytes([rtp.payload[0] ^ 0xFF]) + rtp.payload[1:]).body()
