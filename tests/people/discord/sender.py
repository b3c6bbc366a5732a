"""Datagrams as Discord sends them, put together from the libraries alone: nothing here comes from plexbridge."""

import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt

AES = "aead_aes256_gcm_rtpsize"
XCHACHA = "aead_xchacha20_poly1305_rtpsize"
KEY = bytes(range(32))
SILENCE = b"\xf8\xff\xfe"


def rtp_header(
    *,
    sequence: int = 1,
    timestamp: int = 960,
    ssrc: int = 1001,
    csrcs: tuple[int, ...] = (),
    extension_words: int | None = None,
    is_padded: bool = False,
    second_byte: int = 0x78,
) -> bytes:
    """Return the clear part of a packet; `extension_words` is the length that a header extension claims."""
    first = 0x80 | (0x20 if is_padded else 0) | (0x10 if extension_words is not None else 0) | len(csrcs)
    header = struct.pack(">BBHII", first, second_byte, sequence, timestamp, ssrc)
    header += b"".join(struct.pack(">I", csrc) for csrc in csrcs)
    return header if extension_words is None else header + struct.pack(">HH", 0xBEDE, extension_words)


def seal(header: bytes, body: bytes, *, mode: str = AES, key: bytes = KEY, nonce: int = 1) -> bytes:
    """Return the datagram of a clear header and a body that is to be encrypted."""
    short_nonce = struct.pack("<I", nonce)
    if mode == AES:
        sealed = AESGCM(key).encrypt(short_nonce + bytes(8), body, header)
    else:
        sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(body, header, short_nonce + bytes(20), key)
    return header + sealed + short_nonce


def audio(payload: bytes, *, sequence: int = 1, timestamp: int = 960, ssrc: int = 1001, key: bytes = KEY) -> bytes:
    """Return a plain audio datagram, with the 8-byte header extension that people's clients send."""
    header = rtp_header(sequence=sequence % 2**16, timestamp=timestamp % 2**32, ssrc=ssrc, extension_words=2)
    return seal(header, b"\x32\x00\x00\x00\x10\xff\x00\x00" + payload, key=key)
