"""RTP packets of Discord's media path and their transport encryption, both current modes.

A datagram is: the RTP header in clear (12 bytes, 4 more per CSRC, and the 4-byte start of a header extension), then
ciphertext and a 16-byte tag, then the first 4 bytes of the nonce, whose remaining bytes are zero. The clear part is
the additional data of the AEAD ("rtpsize"). The extension's body and the padding are inside the ciphertext.
"""

import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from tests.discord_server.options import AES256_GCM, XCHACHA20

OPUS_PAYLOAD_TYPE = 120
VIDEO_PAYLOAD_TYPE = 101
OPUS_SILENCE = b"\xf8\xff\xfe"
SILENCE_FRAMES_AFTER_SPEECH = 5
EXTENSION_PROFILE = 0xBEDE
"""One-byte header extensions (RFC 8285)."""
TAG_BYTES = 16
NONCE_BYTES = 4


class BadDatagram(Exception):
    """No RTP packet of this session: wrong shape, wrong key, or tampered with."""


@dataclass(frozen=True, slots=True)
class Rtp:
    """One RTP packet in clear; `extension` is the body of a one-byte header extension, a multiple of 4 bytes."""

    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    payload_type: int = OPUS_PAYLOAD_TYPE
    extension: bytes = b""
    padding_bytes: int = 0

    def header(self) -> bytes:
        """Return the part that travels in clear."""
        flags = 0x80 | (0x20 if self.padding_bytes else 0) | (0x10 if self.extension else 0)
        packed = struct.pack(">BBHII", flags, self.payload_type, self.sequence, self.timestamp, self.ssrc)
        if self.extension:
            packed += struct.pack(">HH", EXTENSION_PROFILE, len(self.extension) // 4)
        return packed

    def body(self) -> bytes:
        """Return the part that is encrypted."""
        padding = bytes(max(self.padding_bytes - 1, 0)) + bytes([self.padding_bytes])
        return self.extension + self.payload + (padding if self.padding_bytes else b"")


def is_rtp(datagram: bytes) -> bool:
    """Tell whether a datagram can be an encrypted RTP packet, not RTCP (types 200-204), discovery or keepalive."""
    enough = len(datagram) > 12 + TAG_BYTES + NONCE_BYTES
    return enough and datagram[0] >> 6 == 2 and not 200 <= datagram[1] <= 204


def _header_bytes(datagram: bytes) -> int:
    return 12 + 4 * (datagram[0] & 0x0F) + (4 if datagram[0] & 0x10 else 0)


def _seal(mode: str, key: bytes, header: bytes, body: bytes, nonce: bytes) -> bytes:
    if mode == AES256_GCM:
        return AESGCM(key).encrypt(nonce.ljust(12, b"\0"), body, header)
    if mode == XCHACHA20:
        return crypto_aead_xchacha20poly1305_ietf_encrypt(body, header, nonce.ljust(24, b"\0"), key)
    raise ValueError(f"unknown transport mode {mode}")


class Sealer:
    """Encrypts packets for one receiver or server; its nonce only grows, as the mode demands."""

    def __init__(self, mode: str, key: bytes) -> None:
        self._mode = mode
        self._key = key
        self._nonce = 0

    def seal(self, header: bytes, body: bytes, *, key: bytes | None = None) -> bytes:
        """Return the datagram; `key` replaces the right key (a fault)."""
        self._nonce += 1
        nonce = struct.pack(">I", self._nonce)
        return header + _seal(self._mode, key or self._key, header, body, nonce) + nonce


@dataclass(frozen=True, slots=True)
class Opened:
    """A decrypted datagram: its nonce counter, and header and body as they can be sealed for somebody else."""

    nonce: int
    header: bytes
    body: bytes

    def rtp(self) -> Rtp:
        """Take header and body apart; raises `BadDatagram` where padding or extension can't be right."""
        flags, payload_type, sequence, timestamp, ssrc = struct.unpack_from(">BBHII", self.header)
        body, extension, padding_bytes = self.body, b"", 0
        if flags & 0x10:
            extension_bytes = 4 * int(struct.unpack_from(">H", self.header, len(self.header) - 2)[0])
            extension, body = body[:extension_bytes], body[extension_bytes:]
        if flags & 0x20:
            padding_bytes = body[-1] if body else 0
            if not 1 <= padding_bytes <= len(body):
                raise BadDatagram(f"{padding_bytes} bytes of padding in {len(body)}")
            body = body[:-padding_bytes]
        return Rtp(sequence, timestamp, ssrc, body, payload_type & 0x7F, extension, padding_bytes)


def unseal(mode: str, key: bytes, datagram: bytes) -> Opened:
    """Decrypt a datagram; raises `BadDatagram`."""
    if not is_rtp(datagram) or len(datagram) < _header_bytes(datagram) + TAG_BYTES + NONCE_BYTES:
        raise BadDatagram("not an RTP packet")
    size = _header_bytes(datagram)
    header, sealed, nonce = datagram[:size], datagram[size:-NONCE_BYTES], datagram[-NONCE_BYTES:]
    try:
        if mode == AES256_GCM:
            body = AESGCM(key).decrypt(nonce.ljust(12, b"\0"), sealed, header)
        else:
            padded = nonce.ljust(24, b"\0")
            body = crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, header, padded, key)
    except (InvalidTag, CryptoError) as exc:
        raise BadDatagram("the key or the packet is wrong") from exc
    # discord.py counts its nonce big-endian; libraries differ, so only its order says anything.
    return Opened(struct.unpack(">I", nonce)[0], header, body)
