"""Whether audio that came back is the audio that went out: lag, correlation, clicks and length."""

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from scipy.signal import correlate

from plexbridge.audio.opus import MODEL_UPLINK, Application, Decoder, Encoder, EncoderSettings
from plexbridge.audio.pcm import (
    MODEL_FRAME_SAMPLES,
    MODEL_RATE_HZ,
    PEOPLE_RATE_HZ,
    UPLINK_FRAME_SAMPLES,
    Samples,
)

WINDOW_SECONDS = 1.0
AUDIBLE_RMS = 0.01


@dataclass(frozen=True)
class Match:
    """How `heard` relates to `spoken`."""

    lag_seconds: float
    correlation: float
    window_lags_seconds: tuple[float, ...]
    """The lag in every second that holds speech; all alike when the delay is constant."""
    window_correlations: tuple[float, ...]
    """And how well each of those seconds matches at its own lag."""
    largest_step: float
    """The largest difference between neighbouring samples of what was heard."""


def largest_step(samples: Samples) -> float:
    """Return the largest difference between neighbouring samples: what a click would raise."""
    return float(np.abs(np.diff(samples)).max(initial=0))


def read_wav(path: Path) -> Samples:
    """Return a file as mono at 48 kHz."""
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return resampled(samples.mean(axis=1), rate_hz)


def resampled(samples: Samples, rate_hz: int) -> Samples:
    """Return mono samples at 48 kHz."""
    at_48_khz: Samples = soxr.resample(samples, rate_hz, PEOPLE_RATE_HZ).astype(np.float32)
    return at_48_khz


def wav_seconds(path: Path) -> float:
    """Return a WAV file's length as its header has it, read without any of our code."""
    with wave.open(str(path)) as sound:
        return float(sound.getnframes() / sound.getframerate())


def find_lag(spoken: Samples, heard: Samples) -> tuple[int, float]:
    """Return by how many samples `heard` is late, and the correlation there."""
    products: Samples = correlate(heard, spoken, mode="full", method="fft")
    lag = int(np.argmax(products)) - (spoken.size - 1)
    first, last = max(0, lag), min(heard.size, lag + spoken.size)
    there, here = heard[first:last], spoken[first - lag : last - lag]
    scale = float(np.linalg.norm(there) * np.linalg.norm(here))
    return lag, float(np.dot(there, here)) / scale if scale else 0.0


def compare(spoken: Samples, heard: Samples, *, rate_hz: int = PEOPLE_RATE_HZ) -> Match:
    """Return how what was heard matches what was spoken, over the whole and second by second."""
    assert np.isfinite(heard).all()
    lag, correlation = find_lag(spoken, heard)
    window = int(WINDOW_SECONDS * rate_hz)
    reach = rate_hz // 10
    lags, correlations = [], []
    for start in range(0, spoken.size - window + 1, window):
        part = spoken[start : start + window]
        first = start + lag - reach
        around = heard[max(0, first) : start + lag + window + reach]
        if float(np.sqrt(np.mean(part**2))) < AUDIBLE_RMS or around.size < window:
            continue
        part_lag, part_correlation = find_lag(part, around)
        lags.append((part_lag + max(0, first) - start) / rate_hz)
        correlations.append(part_correlation)
    return Match(lag / rate_hz, correlation, tuple(lags), tuple(correlations), largest_step(heard))


def clean_round_trip(spoken: Samples) -> Samples:
    """Return speech (24 kHz) as two codecs in a row make it: ours on the way up, a model's 80 ms packets down."""
    settings = EncoderSettings(Application.AUDIO, complexity=5, bitrate_bps=48_000)
    with (
        Encoder(rate_hz=MODEL_RATE_HZ, settings=MODEL_UPLINK) as ours,
        Decoder(rate_hz=MODEL_RATE_HZ) as ear,
        Encoder(rate_hz=MODEL_RATE_HZ, settings=settings) as mouth,
        Decoder(rate_hz=PEOPLE_RATE_HZ) as playback,
    ):
        frames = spoken[: spoken.size // MODEL_FRAME_SAMPLES * MODEL_FRAME_SAMPLES].reshape(-1, UPLINK_FRAME_SAMPLES)
        heard = np.concatenate([ear.decode(ours.encode(frame)) for frame in frames]).reshape(-1, MODEL_FRAME_SAMPLES)
        return np.concatenate([playback.decode(mouth.encode(frame)) for frame in heard])
