"""What all parts measure with: the speech that plexbridge ships, as files, as Discord's packets, as a model's pages."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import sphn

from plexbridge.audio.opus import Application, Encoder, EncoderSettings
from plexbridge.audio.pcm import (
    FRAMES_PER_SECOND,
    MODEL_FRAME_SAMPLES,
    MODEL_RATE_HZ,
    PEOPLE_FRAME_SAMPLES,
    PEOPLE_RATE_HZ,
    Samples,
    silence,
)
from tests.command import SPEECH

FRAMES = 400
"""Frames of 20 ms in one round of a stage: 8 s, nearly all of the speech."""
MODEL_FRAMES = FRAMES * MODEL_RATE_HZ // FRAMES_PER_SECOND // MODEL_FRAME_SAMPLES
"""The same in model frames of 80 ms."""
PAUSE_SECONDS = 1.0
"""Between two repetitions of the speech: long enough for a turn of the model."""

_DISCORD = EncoderSettings(Application.AUDIO, complexity=10, bitrate_bps=64_000)
"""As people's Discord clients send: stereo, at the bit rate of an ordinary channel."""


@dataclass(frozen=True, slots=True)
class Material:
    """The same 8 s of speech in every form that a stage takes in."""

    speech_path: Path
    """A WAV file, 48 kHz mono."""
    discord_packets: tuple[bytes, ...]
    """Opus, stereo, 20 ms each."""
    server_pages: tuple[bytes, ...]
    """What a PersonaPlex server sends: two header pages, then one page for every 80 ms."""


def make_material(folder: Path) -> Material:
    """Return the material; its file is written to `folder`."""
    path = folder / "speech.wav"
    speech = _speech(PEOPLE_RATE_HZ)[: FRAMES * PEOPLE_FRAME_SAMPLES]
    soundfile.write(path, speech, PEOPLE_RATE_HZ)
    return Material(path, _discord_packets(speech), _server_pages())


def write_looped_speech(path: Path, *, seconds: float) -> None:
    """Write a WAV file in which the speech, with a pause after it, is repeated for `seconds`."""
    samples, rate_hz = soundfile.read(SPEECH, dtype="float32")
    turn = np.concatenate((samples, silence(round(PAUSE_SECONDS * rate_hz))))
    soundfile.write(path, np.resize(turn, round(seconds * rate_hz)), rate_hz)


def _speech(rate_hz: int) -> Samples:
    samples, file_rate_hz = soundfile.read(SPEECH, dtype="float32")
    resampled: Samples = soxr.resample(samples, file_rate_hz, rate_hz)
    return resampled


def _discord_packets(speech: Samples) -> tuple[bytes, ...]:
    stereo = np.repeat(speech, 2)
    with Encoder(rate_hz=PEOPLE_RATE_HZ, settings=_DISCORD, channels=2) as encoder:
        return tuple(encoder.encode(frame) for frame in stereo.reshape(FRAMES, -1))


def _server_pages() -> tuple[bytes, ...]:
    writer = sphn.OpusStreamWriter(MODEL_RATE_HZ)
    for frame in _speech(MODEL_RATE_HZ)[: MODEL_FRAMES * MODEL_FRAME_SAMPLES].reshape(MODEL_FRAMES, -1):
        writer.append_pcm(frame)
    pages = []
    while page := writer.read_bytes():
        pages.append(page)
    if len(pages) != 2 + MODEL_FRAMES:
        raise AssertionError(f"sphn made {len(pages)} pages of {MODEL_FRAMES} frames")
    return tuple(pages)
