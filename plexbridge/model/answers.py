"""What the embedded loopback model says: its two ways to answer, as pure functions of what it hears.

Both take one model frame (80 ms) and give one back, as a full-duplex model does. `Echo` returns the caller's own
voice. `Turns` says a fixed sentence `PAUSE_SECONDS` after the caller has stopped speaking, and stops when the caller
speaks again, so that turn-taking can be tried and measured.
"""

import wave
from dataclasses import dataclass
from importlib.resources import files
from typing import Protocol

import numpy as np

from plexbridge.audio.pcm import (
    MODEL_FRAME_SAMPLES,
    MODEL_FRAME_SECONDS,
    MODEL_RATE_HZ,
    Samples,
    from_int16,
    level_dbfs,
    silence,
)

SPEECH_DBFS = -45.0
"""What counts as speech: above the residue of a codec and quiet rooms, below a soft voice."""
PAUSE_SECONDS = 0.3
"""From the end of the caller's speech to the answer, rounded up to whole model frames: 320 ms."""

SENTENCE = "I heard you. This is a fixed sentence, spoken by the loopback model."


@dataclass(frozen=True, slots=True)
class Answer:
    """One model frame and the text pieces that go with it."""

    samples: Samples
    """1920 samples at 24 kHz."""
    pieces: tuple[str, ...] = ()


class Answerer(Protocol):
    """A model that hears and speaks at the same time, one frame at a time."""

    def answer(self, samples: Samples) -> Answer:
        """Return the frame said while `samples` (1920 at 24 kHz) are heard."""


class Echo:
    """Says what it hears; its text says so, once for each burst of speech."""

    _PIECES = (" You", " said", " something", ".")

    def __init__(self) -> None:
        self._quiet_frames = _PAUSE_FRAMES

    def answer(self, samples: Samples) -> Answer:
        """Return `samples` as they are."""
        if level_dbfs(samples) <= SPEECH_DBFS:
            self._quiet_frames += 1
            return Answer(samples)
        is_onset = self._quiet_frames >= _PAUSE_FRAMES
        self._quiet_frames = 0
        return Answer(samples, self._PIECES if is_onset else ())


class Turns:
    """Waits for the caller to finish, then says `SENTENCE`."""

    def __init__(self) -> None:
        self._sentence = _load_sentence()
        self._position_frames = len(self._sentence)
        self._quiet_frames = 0
        self._has_heard_speech = False
        self._pieces = tuple(f" {word}" for word in SENTENCE.split())

    def answer(self, samples: Samples) -> Answer:
        """Return the next frame of the sentence, or silence while the caller speaks or has said nothing new."""
        if level_dbfs(samples) > SPEECH_DBFS:
            self._has_heard_speech = True
            self._quiet_frames = 0
            self._position_frames = len(self._sentence)
            return Answer(silence(MODEL_FRAME_SAMPLES))
        self._quiet_frames += 1
        if self._has_heard_speech and self._quiet_frames > _PAUSE_FRAMES:
            self._has_heard_speech = False
            self._position_frames = 0
        return self._speak()

    def _speak(self) -> Answer:
        position = self._position_frames
        if position >= len(self._sentence):
            return Answer(silence(MODEL_FRAME_SAMPLES))
        self._position_frames += 1
        words = [len(self._pieces) * frames // len(self._sentence) for frames in (position, position + 1)]
        return Answer(self._sentence[position], self._pieces[words[0] : words[1]])


_PAUSE_FRAMES = -(-round(PAUSE_SECONDS * 1000) // round(MODEL_FRAME_SECONDS * 1000))


def _load_sentence() -> tuple[Samples, ...]:
    """Return the spoken sentence in model frames, the last one filled up with silence."""
    with (files("plexbridge.model") / "loopback_sentence.wav").open("rb") as file, wave.open(file) as sound:
        if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) != (MODEL_RATE_HZ, 1, 2):
            raise AssertionError("the sentence that plexbridge ships is no 24 kHz mono 16-bit WAV")
        samples = from_int16(np.frombuffer(sound.readframes(sound.getnframes()), "<i2"))
    padded = np.concatenate((samples, silence(-samples.size % MODEL_FRAME_SAMPLES)))
    return tuple(padded.reshape(-1, MODEL_FRAME_SAMPLES))
