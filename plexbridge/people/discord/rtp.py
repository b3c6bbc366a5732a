"""Discord's RTP: one received datagram to one decrypted packet, one packet to a datagram, and numbers that wrap.

A datagram is an RTP header in clear (RFC 3550 section 5.1: 12 bytes, 4 for each contributing source, and of a header
extension the 4 bytes that give its length), then ciphertext and a tag of 16 bytes, then the 4 bytes of the nonce that
are not zero. The clear header is authenticated with the rest; both encryption modes that Discord has left ("rtpsize")
differ in the cipher only. What is encrypted is the extension's body, the payload and the RTP padding, in this order.

The same socket brings much that is no audio: answers to the keepalive (8 bytes) and to the address discovery (74
bytes), RTCP, video, and whatever strangers send to the port. `Transport.open` refuses all of it, each for its reason.
"""

import struct
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt, crypto_aead_xchacha20poly1305_ietf_encrypt
from nacl.exceptions import CryptoError

from plexbridge.errors import LocalProtocolError, PacketError

AES256_GCM = "aead_aes256_gcm_rtpsize"
XCHACHA20_POLY1305 = "aead_xchacha20_poly1305_rtpsize"
MODES = (AES256_GCM, XCHACHA20_POLY1305)
"""The transport encryption modes, by the names that the voice gateway calls them; the first costs a sixth of the other,
and Discord offers it wherever its servers can compute it."""

KEY_BYTES = 32
OPUS_PAYLOAD_TYPE = 120
RTCP_PACKET_TYPES = range(200, 205)
"""Sender report to application-defined: where RTP has its marker bit and payload type (RFC 5761 section 4)."""

WINDOW_PACKETS = 512
"""How far back duplicates are recognized: ten seconds of one speaker."""

_WINDOW_MASK = (1 << WINDOW_PACKETS) - 1
_HEADER = struct.Struct(">BBHII")
_EXTENSION_LENGTH = struct.Struct(">H")
_TAG_BYTES = 16
_NONCE_BYTES = 4
_NONCE = struct.Struct(">I")
_SENT_FLAGS = 0x80
"""Version 2, without padding, extension and contributing sources."""
_AES256_GCM_ZEROS, _XCHACHA20_ZEROS = bytes(12 - _NONCE_BYTES), bytes(24 - _NONCE_BYTES)
"""What their nonces end with."""


def sequence_distance(sequence: int, earlier: int) -> int:
    """Return how far `sequence` is ahead of `earlier`, both of 16 bits: the shorter way round, -32768..32767."""
    return (sequence - earlier + 0x8000) % 0x1_0000 - 0x8000


def timestamp_distance(timestamp: int, earlier: int) -> int:
    """Return how far `timestamp` is ahead of `earlier`, both of 32 bits and of the same SSRC, the shorter way round."""
    return (timestamp - earlier + 0x8000_0000) % 0x1_0000_0000 - 0x8000_0000


class SequenceWindow:
    """Remembers which of the latest `WINDOW_PACKETS` sequence numbers of one SSRC have come."""

    def __init__(self) -> None:
        self._newest: int | None = None
        self._seen = 0
        """Bit n stands for the sequence number n before the newest."""

    def add(self, sequence: int) -> bool:
        """Note that a packet has come, and return whether it is the first of its number.

        A number older than the window is taken for a new start of the sender's counting.
        """
        ahead = WINDOW_PACKETS if self._newest is None else sequence_distance(sequence, self._newest)
        if -WINDOW_PACKETS < ahead <= 0:
            bit = 1 << -ahead
            is_new = not self._seen & bit
            self._seen |= bit
            return is_new
        self._seen = (self._seen << ahead | 1) & _WINDOW_MASK if 0 < ahead < WINDOW_PACKETS else 1
        self._newest = sequence
        return True


class Defect(Enum):
    """Why a datagram is no audio packet of this connection."""

    NOT_RTP = "not an RTP packet"
    RTCP = "RTCP"
    NOT_AUDIO = "another payload type than audio"
    UNAUTHENTIC = "not encrypted with this connection's key, or damaged"
    MALFORMED = "its extension or padding is longer than the packet, or leaves nothing of it"


class DatagramRefused(PacketError):
    """A datagram that holds no audio for us; it is counted by its `defect` and dropped."""

    def __init__(self, defect: Defect) -> None:
        super().__init__(defect.value)
        self.defect = defect


class RtpPacket(NamedTuple):
    """One audio packet without transport encryption, extension and padding; the payload may be encrypted by DAVE."""

    ssrc: int
    sequence: int
    timestamp: int
    payload: bytes


def audio_ssrc(datagram: bytes) -> int:
    """Return the SSRC that an audio datagram claims to be of, before anything is decrypted.

    Raises DatagramRefused for what is no audio; whether the claim is true, only `Transport.open` can tell.
    """
    if len(datagram) < _HEADER.size + _TAG_BYTES + _NONCE_BYTES or datagram[0] >> 6 != 2:
        raise DatagramRefused(Defect.NOT_RTP)
    if datagram[1] in RTCP_PACKET_TYPES:
        raise DatagramRefused(Defect.RTCP)
    if datagram[1] & 0x7F != OPUS_PAYLOAD_TYPE:
        raise DatagramRefused(Defect.NOT_AUDIO)
    ssrc: int = _HEADER.unpack_from(datagram)[4]
    return ssrc


class Transport:
    """Opens the datagrams of one voice session.

    Raises LocalProtocolError for a mode that is not one of `MODES`, and for a key that is not of `KEY_BYTES`.
    """

    def __init__(self, mode: str, secret_key: bytes) -> None:
        _check_key(mode, secret_key)
        self._decrypt = (_open_aes256_gcm if mode == AES256_GCM else _open_xchacha20_poly1305)(secret_key)

    def open(self, datagram: bytes) -> RtpPacket:
        """Return the packet in `datagram`; raises DatagramRefused for everything that is no audio with our key."""
        ssrc = audio_ssrc(datagram)
        flags, _, sequence, timestamp, _ = _HEADER.unpack_from(datagram)
        has_extension = bool(flags & 0x10)
        header_bytes = _HEADER.size + 4 * (flags & 0x0F) + 4 * has_extension
        if len(datagram) < header_bytes + _TAG_BYTES + _NONCE_BYTES:
            raise DatagramRefused(Defect.NOT_RTP)
        header = datagram[:header_bytes]
        try:
            body = self._decrypt(datagram[header_bytes:-_NONCE_BYTES], header, datagram[-_NONCE_BYTES:])
        except (InvalidTag, CryptoError) as exc:
            raise DatagramRefused(Defect.UNAUTHENTIC) from exc
        start = 4 * _EXTENSION_LENGTH.unpack(header[-2:])[0] if has_extension else 0
        return RtpPacket(ssrc, sequence, timestamp, _payload(body, start, is_padded=bool(flags & 0x20)))


def _payload(body: bytes, start: int, *, is_padded: bool) -> bytes:
    """Return what lies between extension and padding, whose last byte counts it (RFC 3550 section 5.1)."""
    padding_bytes = body[-1] if is_padded and body else 0
    end = len(body) - padding_bytes
    if start >= end or (is_padded and not padding_bytes):
        raise DatagramRefused(Defect.MALFORMED)
    return body[start:end]


class Sealer:
    """Makes the datagrams of one sender, over all voice sessions that a connection has.

    The nonce counts on from session to session, since a key may come again and must see no nonce twice.
    """

    def __init__(self) -> None:
        self._encrypt: _Crypt | None = None
        self._nonce = 0

    def connected(self, mode: str, secret_key: bytes) -> None:
        """Encrypt with this key from now on; raises LocalProtocolError like `Transport`."""
        _check_key(mode, secret_key)
        self._encrypt = (_seal_aes256_gcm if mode == AES256_GCM else _seal_xchacha20_poly1305)(secret_key)

    def seal(self, packet: RtpPacket) -> bytes:
        """Return the datagram; raises LocalProtocolError before the first session."""
        if self._encrypt is None:
            raise LocalProtocolError("there is no voice session yet")
        header = _HEADER.pack(_SENT_FLAGS, OPUS_PAYLOAD_TYPE, packet.sequence, packet.timestamp, packet.ssrc)
        nonce = _NONCE.pack(self._nonce)
        self._nonce = (self._nonce + 1) % 0x1_0000_0000
        return b"".join((header, self._encrypt(packet.payload, header, nonce), nonce))


_Crypt = Callable[[bytes, bytes, bytes], bytes]
"""Takes the text, which is the ciphertext with its tag where it is to be opened, the clear header and the nonce's first
4 bytes. Opening raises InvalidTag or CryptoError."""


def _check_key(mode: str, secret_key: bytes) -> None:
    if mode not in MODES:
        raise LocalProtocolError(f"{mode!r} is no mode of transport encryption that plexbridge has")
    if len(secret_key) != KEY_BYTES:
        raise LocalProtocolError(f"a transport key has {KEY_BYTES} bytes, not {len(secret_key)}")


def _open_aes256_gcm(secret_key: bytes) -> _Crypt:
    cipher = AESGCM(secret_key)
    return lambda sealed, header, nonce: cipher.decrypt(nonce + _AES256_GCM_ZEROS, sealed, header)


def _open_xchacha20_poly1305(secret_key: bytes) -> _Crypt:
    return lambda sealed, header, nonce: crypto_aead_xchacha20poly1305_ietf_decrypt(
        sealed, header, nonce + _XCHACHA20_ZEROS, secret_key
    )


def _seal_aes256_gcm(secret_key: bytes) -> _Crypt:
    cipher = AESGCM(secret_key)
    return lambda text, header, nonce: cipher.encrypt(nonce + _AES256_GCM_ZEROS, text, header)


def _seal_xchacha20_poly1305(secret_key: bytes) -> _Crypt:
    return lambda text, header, nonce: crypto_aead_xchacha20poly1305_ietf_encrypt(
        text, header, nonce + _XCHACHA20_ZEROS, secret_key
    )
