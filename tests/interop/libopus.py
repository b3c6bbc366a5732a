"""The system's libopus, called directly: the tests' own encoder and decoder.

It is neither sphn's (which has a copy of its own) nor plexbridge's bindings, so an error in either shows.
"""

import ctypes
import ctypes.util
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

VOIP, AUDIO, RESTRICTED_LOWDELAY = 2048, 2049, 2051
"""Values of libopus's OPUS_APPLICATION_*."""

MOST_PACKET_BYTES = 1_275 * 3
LONGEST_PACKET_SECONDS = 0.12


@cache
def _library() -> ctypes.CDLL:
    name = ctypes.util.find_library("opus")
    if name is None:
        raise OSError("the interoperability tests need the system library libopus")
    library = ctypes.CDLL(name)
    for function in (library.opus_encoder_create, library.opus_decoder_create):
        function.restype = ctypes.c_void_p
    return library


def encode(
    pcm: NDArray[np.float32],
    *,
    rate_hz: int = 24_000,
    packet_samples: int = 1_920,
    channels: int = 1,
    application: int = VOIP,
) -> list[bytes]:
    """Encode interleaved float PCM into packets of `packet_samples` per channel; a remainder is left out."""
    library, failure = _library(), ctypes.c_int()
    encoder = ctypes.c_void_p(library.opus_encoder_create(rate_hz, channels, application, ctypes.byref(failure)))
    if failure.value:
        raise ValueError(f"opus_encoder_create: {failure.value}")
    packets = []
    buffer = (ctypes.c_ubyte * MOST_PACKET_BYTES)()
    step = packet_samples * channels
    try:
        for start in range(0, len(pcm) - step + 1, step):
            frame = np.ascontiguousarray(pcm[start : start + step], np.float32)
            size = library.opus_encode_float(
                encoder, frame.ctypes.data_as(ctypes.c_void_p), packet_samples, buffer, MOST_PACKET_BYTES
            )
            if size < 0:
                raise ValueError(f"opus_encode_float: {size}")
            packets.append(bytes(buffer[:size]))
    finally:
        library.opus_encoder_destroy(encoder)
    return packets


def decode(packets: Sequence[bytes], *, rate_hz: int = 24_000) -> NDArray[np.float32]:
    """Decode packets of one stream to mono float PCM."""
    library, failure = _library(), ctypes.c_int()
    decoder = ctypes.c_void_p(library.opus_decoder_create(rate_hz, 1, ctypes.byref(failure)))
    if failure.value:
        raise ValueError(f"opus_decoder_create: {failure.value}")
    limit_samples = int(rate_hz * LONGEST_PACKET_SECONDS)
    buffer = np.zeros(limit_samples, np.float32)
    decoded = []
    try:
        for packet in packets:
            count = library.opus_decode_float(
                decoder, packet, len(packet), buffer.ctypes.data_as(ctypes.c_void_p), limit_samples, 0
            )
            if count < 0:
                raise ValueError(f"opus_decode_float: {count}")
            decoded.append(buffer[:count].copy())
    finally:
        library.opus_decoder_destroy(decoder)
    return np.concatenate(decoded) if decoded else np.zeros(0, np.float32)
