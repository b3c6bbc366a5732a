"""Six spoken sentences, and the grammar in which an engine knows these and no others.

The sounds are made by `python -m tests.sentences.make`, and stand here so that no test needs a synthesiser. When each
is really spoken is known from the level of the sound, which has no noise at all.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from plexbridge.audio.pcm import Samples, silence

HERE = Path(__file__).parent
GRAMMAR = HERE / "sentences.jsgf"
RATE_HZ = 16_000
AUDIBLE = 0.005

TEXTS = {
    "kettle": "the kettle is on the table",
    "window": "please open the window",
    "morning": "good morning everybody",
    "train": "the last train has already gone",
    "music": "nobody can hear the music",
    "seven": "seven people wait in the rain",
}


@dataclass(frozen=True)
class Said:
    """One of the sentences at its place in a recording, in seconds of speech."""

    text: str
    start_seconds: float
    end_seconds: float


def sound_of(name: str) -> Samples:
    """Return one of the sentences, at 16 kHz."""
    samples, rate_hz = soundfile.read(HERE / f"{name}.flac", dtype="float32")
    assert rate_hz == RATE_HZ
    return np.asarray(samples, np.float32)


def recording(*names: str, pause_seconds: float = 1.5, first_seconds: float = 1.0) -> tuple[Samples, list[Said]]:
    """Return the sentences one after the other, with pauses around them, at 16 kHz; and when they are spoken."""
    pause = silence(round(pause_seconds * RATE_HZ))
    parts, said = [silence(round(first_seconds * RATE_HZ))], []
    for name in names:
        sound = sound_of(name)
        audible = np.flatnonzero(np.abs(sound) > AUDIBLE) + sum(part.size for part in parts)
        said.append(Said(TEXTS[name], float(audible[0] / RATE_HZ), float(audible[-1] / RATE_HZ)))
        parts += [sound, pause]
    return np.concatenate(parts), said
