"""What a simulated person says: Opus packets of 20 ms, from a WAV file, a tone, or given by the test."""

import base64
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

from plexbridge.audio.opus import Application, Encoder, EncoderSettings
from plexbridge.audio.pcm import PEOPLE_FRAME_SAMPLES, PEOPLE_RATE_HZ, Samples
from tests.discord_server.guild import Json

SPEECH_LIMIT_SECONDS = 600.0
TONE_LEVEL = 0.3
PERSON = EncoderSettings(Application.VOIP, complexity=5, bitrate_bps=64_000)
"""As Discord's own clients encode a microphone in an ordinary channel."""


def read_wav(path: Path) -> Samples:
    """Return a WAV file as mono at 48 kHz; raises `ValueError` when it is no sound file or too long."""
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as exc:
        raise ValueError(f"{path}: {exc}") from exc
    if len(samples) > SPEECH_LIMIT_SECONDS * rate_hz:
        raise ValueError(f"{path} is longer than {SPEECH_LIMIT_SECONDS} s")
    mono = samples.mean(axis=1, dtype=np.float32)
    return np.asarray(soxr.resample(mono, rate_hz, PEOPLE_RATE_HZ), np.float32)


def tone(hz: float, seconds: float) -> Samples:
    """Return a sine."""
    count = round(min(seconds, SPEECH_LIMIT_SECONDS) * PEOPLE_RATE_HZ)
    phase = np.arange(count, dtype=np.float64) * (2 * math.pi * hz / PEOPLE_RATE_HZ)
    return (TONE_LEVEL * np.sin(phase)).astype(np.float32)


def encode(samples: Samples) -> list[bytes]:
    """Return the Opus packets of `samples`, the last frame filled up with silence."""
    missing = -len(samples) % PEOPLE_FRAME_SAMPLES
    padded = np.concatenate([samples, np.zeros(missing, np.float32)])
    with Encoder(rate_hz=PEOPLE_RATE_HZ, settings=PERSON) as encoder:
        return [encoder.encode(frame) for frame in padded.reshape(-1, PEOPLE_FRAME_SAMPLES)]


@lru_cache(maxsize=16)
def _whistle(hz: float, seconds: float) -> tuple[bytes, ...]:
    """Return the packets of a tone; a minute takes half a second to encode, and the same are wanted again and again."""
    return tuple(encode(tone(hz, seconds)))


def packets_of(source: Json) -> list[bytes]:
    """Return the packets of a control request: `{"wav": path}`, `{"tone": {"hz", "seconds"}}`, `{"packets": [base64]}`.

    Raises `ValueError` for anything else.
    """
    match source:
        case {"wav": str(path)}:
            return encode(read_wav(Path(path)))
        case {"tone": {"hz": hz, "seconds": seconds}}:
            return list(_whistle(float(hz), float(seconds)))
        case {"packets": [*packets]}:
            return [base64.b64decode(packet) for packet in packets]
    raise ValueError("speech must be a wav, a tone or packets")
