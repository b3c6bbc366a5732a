"""Rates, frames and levels of PCM: the numbers that every other module computes with.

PCM inside plexbridge is mono float32 in -1..1 (`Samples`). People's side runs at 48 kHz, as Discord, WebCodecs and
`OUT.wav` do; the model's side at 24 kHz, as PersonaPlex and Moshi do. "Samples" are always per channel.
"""

import math

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""Mono PCM, float32, nominally -1..1, shape (n,)."""

FRAMES_PER_SECOND = 50
FRAME_SECONDS = 1 / FRAMES_PER_SECOND
"""One tick of both timelines: 20 ms, the packet duration of Discord and of browsers."""

PEOPLE_RATE_HZ = 48_000
PEOPLE_FRAME_SAMPLES = PEOPLE_RATE_HZ // FRAMES_PER_SECOND

MODEL_RATE_HZ = 24_000
UPLINK_FRAME_SAMPLES = MODEL_RATE_HZ // FRAMES_PER_SECOND
"""Samples of one 20 ms frame at the model's rate: what capture yields."""

MODEL_FRAME_SECONDS = 0.08
"""The model steps 12.5 times a second; a PersonaPlex message holds one such frame."""
MODEL_FRAME_SAMPLES = 1_920

SILENCE_DBFS = -120.0
"""The level reported for digital silence, so that a level is always a finite number."""


def silence(count: int) -> Samples:
    """Return `count` samples of digital silence."""
    return np.zeros(count, np.float32)


def level_dbfs(samples: Samples) -> float:
    """Return the RMS level in dB relative to full scale, never below `SILENCE_DBFS`."""
    if not samples.size:
        return SILENCE_DBFS
    return power_dbfs(float(np.dot(samples, samples)) / samples.size)


def power_dbfs(power: float) -> float:
    """Return a mean square in dB relative to full scale, never below `SILENCE_DBFS`."""
    # A tenth of a microsecond; numpy's logarithm of a single number takes ten times as long.
    return max(SILENCE_DBFS, 10 * math.log10(power)) if power > 0 else SILENCE_DBFS


def to_int16(samples: Samples) -> NDArray[np.int16]:
    """Convert to 16-bit integers, clipped at full scale instead of wrapping around."""
    clipped: NDArray[np.int16] = np.clip(np.rint(samples * 32767.0), -32768, 32767).astype(np.int16)
    return clipped


def from_int16(samples: NDArray[np.int16]) -> Samples:
    """Convert 16-bit integers to float."""
    return samples.astype(np.float32) / np.float32(32768.0)
