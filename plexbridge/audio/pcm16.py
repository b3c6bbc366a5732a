"""Plain 16-bit samples in place of Opus, for browsers that can't code it: a decoder with the face of Opus' own.

A frame is 960 samples at 48 kHz; it becomes 480 at 24 kHz, through a filter that keeps speech and lets nothing fold
back. The filter remembers the end of the frame before, so that frames join without a seam, and delays by 0.7 ms.

A pure core.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from plexbridge.audio.opus_packet import OPUS_CLOCK_HZ
from plexbridge.audio.pcm import PEOPLE_FRAME_SAMPLES, Samples, from_int16, silence, to_int16
from plexbridge.errors import PacketError

FRAME_BYTES = 2 * PEOPLE_FRAME_SAMPLES

_TAPS = 64
_CUT = 11_200 / OPUS_CLOCK_HZ
"""Of the sampling rate: flat to 9.5 kHz, and 60 dB down from 12.9 kHz on."""
_FADE_SAMPLES = 120
"""At 24 kHz: 5 ms."""


def _low_pass() -> Samples:
    steps = np.arange(_TAPS) - (_TAPS - 1) / 2
    taps = np.sinc(2 * _CUT * steps) * np.kaiser(_TAPS, 6.0)
    return np.asarray(taps / taps.sum(), np.float32)


_FILTER = _low_pass()


def frame_samples(frame: bytes) -> int:
    """Return how long a frame lasts, in samples at 48 kHz; PacketError when it is none."""
    if len(frame) != FRAME_BYTES:
        raise PacketError(f"{len(frame)} bytes are no frame of 16-bit samples")
    return PEOPLE_FRAME_SAMPLES


def pcm16_frame(samples: Samples) -> bytes:
    """Return 960 samples at 48 kHz as a frame."""
    return to_int16(samples).astype("<i2").tobytes()


class Pcm16Decoder:
    """Turns frames into sound at 24 kHz; in place of `opus.Decoder`."""

    def __init__(self) -> None:
        self._recent = silence(_TAPS - 2 + PEOPLE_FRAME_SAMPLES)
        self._windows = sliding_window_view(self._recent, _TAPS)[::2]
        self._last = silence(_FADE_SAMPLES)

    def close(self) -> None:
        """Nothing is held."""

    def decode(self, frame: bytes) -> Samples:
        """Return 480 samples; PacketError when it is no frame."""
        frame_samples(frame)
        history = _TAPS - 2
        self._recent[:history] = self._recent[-history:]
        self._recent[history:] = from_int16(np.frombuffer(frame, "<i2"))
        samples = np.asarray(self._windows @ _FILTER, np.float32)
        self._last = samples[-_FADE_SAMPLES:]
        return samples

    def conceal(self, count_samples: int) -> Samples:
        """Return so much in place of what is missing: the last sound runs out backwards, then silence."""
        guess = silence(count_samples)
        fade = min(count_samples, _FADE_SAMPLES)
        guess[:fade] = self._last[::-1][:fade] * np.linspace(1, 0, fade, dtype=np.float32)
        self._last = silence(_FADE_SAMPLES)
        self._recent[:] = 0
        return guess
