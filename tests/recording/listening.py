"""What others make of a recording's files: libsndfile, and libopusfile."""

import ctypes
from io import BytesIO

import numpy as np
import soundfile
from pyogg import opus as libopusfile

from plexbridge.audio.pcm import PEOPLE_RATE_HZ, Samples


def read(data: bytes) -> Samples:
    """Return the sound in a file as libsndfile decodes it: mono at 48 kHz."""
    samples, rate_hz = soundfile.read(BytesIO(data), dtype="float32")
    assert rate_hz == PEOPLE_RATE_HZ
    assert samples.ndim == 1
    return np.asarray(samples, np.float32)


def length_samples(data: bytes) -> int:
    """Return how long libopusfile finds a file, at 48 kHz."""
    fault = ctypes.c_int()
    stream = (ctypes.c_ubyte * len(data)).from_buffer_copy(data)
    file = libopusfile.op_open_memory(stream, len(data), ctypes.byref(fault))
    assert file, f"libopusfile refuses it: {fault.value}"
    try:
        return int(libopusfile.op_pcm_total(file, -1))
    finally:
        libopusfile.op_free(file)
