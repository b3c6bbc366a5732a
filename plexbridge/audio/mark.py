"""Short soft sounds that people hear: the model stops listening for a moment, it listens again, a recording starts.

Notes, a fifth apart, each swelling and fading so that nothing clicks: two downwards say "one moment", two upwards "go
on", and three, up and down again, "this is recorded".
"""

import numpy as np

from plexbridge.audio.pcm import PEOPLE_FRAME_SAMPLES, PEOPLE_RATE_HZ, Samples

LOW_HZ, HIGH_HZ = 392.0, 587.3  # g' and d'': in the middle of a telephone's range
NOTE_FRAMES = 8
PEAK = 0.05
"""-26 dBFS: below speech, above a quiet room."""


def mark(*, is_rising: bool) -> tuple[Samples, ...]:
    """Return the sound as frames of 20 ms at 48 kHz: 320 ms."""
    return _notes((LOW_HZ, HIGH_HZ) if is_rising else (HIGH_HZ, LOW_HZ))


def recording_mark() -> tuple[Samples, ...]:
    """Return the sound that begins a recording, as frames of 20 ms at 48 kHz: 480 ms."""
    return _notes((LOW_HZ, HIGH_HZ, LOW_HZ))


def _notes(pitches_hz: tuple[float, ...]) -> tuple[Samples, ...]:
    positions = np.arange(NOTE_FRAMES * PEOPLE_FRAME_SAMPLES)
    swell = PEAK * np.sin(np.pi * positions / positions.size)
    sound = np.concatenate([swell * np.sin(2 * np.pi * hz * positions / PEOPLE_RATE_HZ) for hz in pitches_hz])
    return tuple(sound.astype(np.float32).reshape(-1, PEOPLE_FRAME_SAMPLES))
