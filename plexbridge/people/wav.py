"""A WAV file as the people's side: the command-line call.

The file is read and resampled a block at a time, so an hour costs no more memory than a second. The answer is written
as it is played; the `wave` module mends the header with every write, so the file is valid at any moment.
"""

import json
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from plexbridge.audio.pcm import (
    FRAMES_PER_SECOND,
    MODEL_RATE_HZ,
    PEOPLE_FRAME_SAMPLES,
    PEOPLE_RATE_HZ,
    SILENCE_DBFS,
    UPLINK_FRAME_SAMPLES,
    Samples,
    level_dbfs,
    silence,
    to_int16,
)
from plexbridge.audio.playout import SILENT_DBFS
from plexbridge.errors import RequestError
from plexbridge.model.conversation import STATE_SENTENCES, State
from plexbridge.session.people import Frame

_BLOCK_SECONDS = 0.5
_GAP_SAMPLES = PEOPLE_RATE_HZ  # a gap is written as silence, a second at a time


class WavVoice:
    """Speech from a WAV file, as frames of 20 ms at 24 kHz; after its end, silence for the tail."""

    def __init__(self, sound: soundfile.SoundFile, *, tail_seconds: float) -> None:
        self._sound = sound
        self._resampler = soxr.ResampleStream(sound.samplerate, MODEL_RATE_HZ, 1, dtype="float32")
        self._ready = silence(0)
        self._is_read = False
        speech_samples = -(-(int(sound.frames) * PEOPLE_RATE_HZ) // int(sound.samplerate))
        self.total_samples = speech_samples + round(tail_seconds * PEOPLE_RATE_HZ)
        """How long speech and tail last, in samples at 48 kHz."""
        self.frames_left = -(-self.total_samples // PEOPLE_FRAME_SAMPLES)
        """How many frames are still to come, the tail's included."""

    def next_frame(self) -> Samples | None:
        """Return the next 480 samples; None when the tail has passed."""
        if not self.frames_left:
            return None
        self.frames_left -= 1
        while self._ready.size < UPLINK_FRAME_SAMPLES and not self._is_read:
            self._ready = np.concatenate((self._ready, self._resampler.resample_chunk(*self._read())))
        frame, self._ready = self._ready[:UPLINK_FRAME_SAMPLES], self._ready[UPLINK_FRAME_SAMPLES:]
        return np.concatenate((frame, silence(UPLINK_FRAME_SAMPLES - frame.size)))

    def _read(self) -> tuple[Samples, bool]:
        """Return the next block, mixed to mono, and whether it is the last."""
        wanted = max(1, int(self._sound.samplerate * _BLOCK_SECONDS))
        try:
            block = self._sound.read(wanted, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as exc:
            raise RequestError(f"{self._sound.name} can't be read to its end: {exc.error_string}") from exc
        self._is_read = block.shape[0] < wanted
        finite = np.nan_to_num(block, nan=0.0, posinf=1.0, neginf=-1.0)
        return finite.mean(axis=1, dtype=np.float32), self._is_read


class AnswerFile:
    """OUT.wav: made, or replaced, with the first frame, so that a call that never begins costs no earlier answer.

    `open_file` opens it; whoever makes this owns `opened`, which closes it.
    """

    def __init__(self, open_file: Callable[[], IO[bytes]], opened: ExitStack) -> None:
        self._open_file = open_file
        self._opened = opened
        self._answer: wave.Wave_write | None = None

    def write(self, samples: NDArray[np.int16]) -> None:
        """Add samples; the file is valid afterwards, even if plexbridge is killed. Raises OSError."""
        if self._answer is None:
            self._answer = self._open()
        self._answer.writeframes(samples.astype("<i2").tobytes())

    def _open(self) -> wave.Wave_write:
        file = self._opened.enter_context(self._open_file())
        answer = self._opened.enter_context(wave.open(file, "wb"))  # noqa: SIM115  # the stack is its context
        answer.setnchannels(1)
        answer.setsampwidth(2)
        answer.setframerate(PEOPLE_RATE_HZ)
        return answer


class WavPeople:
    """The caller of `plexbridge call`: speaks IN.wav, hears into OUT.wav and reads into FILE.jsonl.

    Implements `session.people.People`. Sample 0 of the answer is the moment of the session's first tick.
    """

    def __init__(self, voice: WavVoice, answer: AnswerFile, text_file: IO[str] | None) -> None:
        self._voice = voice
        self._answer = answer
        self._text_file = text_file
        self._written_samples = 0
        self.input_dbfs = SILENCE_DBFS
        self.output_dbfs = SILENCE_DBFS
        self.words = ""
        """The end of what the model has said, for the live line."""

    @property
    def seconds_left(self) -> float:
        """Of the input and its tail."""
        return self._voice.frames_left / FRAMES_PER_SECOND

    def listen(self, due_seconds: float) -> Frame | None:
        """Return what the file says in this tick; it counts as arriving when the tick is due."""
        samples = self._voice.next_frame()
        if samples is None:
            return None
        self.input_dbfs = level_dbfs(samples)
        return Frame(samples, due_seconds, is_silent=self.input_dbfs < SILENT_DBFS)

    def skip(self, frames: int) -> None:
        """Let `frames` of the file pass unheard."""
        for _ in range(frames):
            self._voice.next_frame()

    def play(self, samples: Samples, tick: int) -> None:
        """Write one frame at its place; ticks that were missed, and what lies beyond the tail, are left out."""
        start_samples = tick * PEOPLE_FRAME_SAMPLES
        if start_samples >= self._voice.total_samples:
            return
        self._fill_to(start_samples)
        self.output_dbfs = level_dbfs(samples)
        self._write(to_int16(samples[: self._voice.total_samples - start_samples]))

    def show(self, text: str) -> None:
        """Write a piece of the model's words."""
        self.words = (self.words + text)[-200:]
        self._write_line("text", text)

    def tell(self, state: State) -> None:
        """Write what has become of the conversation."""
        self._write_line("event", STATE_SENTENCES[state])

    def report_error(self, sentence: str) -> None:
        """Write that the call has failed, and why."""
        self._write_line("error", sentence)

    def fill_to_end(self) -> None:
        """Bring the answer to its full length: the input and its tail."""
        self._fill_to(self._voice.total_samples)

    def _fill_to(self, end_samples: int) -> None:
        while self._written_samples < end_samples:
            self._write(np.zeros(min(_GAP_SAMPLES, end_samples - self._written_samples), np.int16))

    def _write(self, samples: NDArray[np.int16]) -> None:
        try:
            self._answer.write(samples)
        except OSError as exc:
            raise RequestError(f"The answer can't be written any further: {exc.strerror}") from exc
        self._written_samples += samples.size

    def _write_line(self, kind: str, text: str) -> None:
        if self._text_file is not None:
            line = {"t": round(self._written_samples / PEOPLE_RATE_HZ, 3), "kind": kind, "text": text}
            try:
                self._text_file.write(json.dumps(line, ensure_ascii=False) + "\n")
                self._text_file.flush()
            except OSError as exc:
                raise RequestError(f"The text can't be written any further: {exc.strerror}") from exc


@contextmanager
def open_wav_people(
    speech_path: Path, answer_path: Path, text_path: Path | None, *, tail_seconds: float
) -> Iterator[WavPeople]:
    """Open the three files of a call; raises RequestError, naming the file, for what can't be read or written.

    RequestError also comes from the methods, when reading or writing fails later.
    """
    with (
        open_speech(speech_path) as sound,
        _create_answer(answer_path) as answer,
        _create_text(text_path) as text_file,
    ):
        yield WavPeople(WavVoice(sound, tail_seconds=tail_seconds), answer, text_file)


def open_speech(path: Path) -> soundfile.SoundFile:
    """Open a WAV file to be read, as a context manager; raises RequestError, which names it."""
    try:
        path.open("rb").close()  # for the reason: libsndfile has only "System error" to say
        return soundfile.SoundFile(path)
    except OSError as exc:
        raise RequestError(f"{path} can't be read: {exc.strerror}") from exc
    except soundfile.LibsndfileError as exc:
        raise RequestError(f"{path} can't be read as a WAV file: {exc.error_string}") from exc
    except TypeError as exc:  # of a file named .raw, soundfile wants to be told rate and format
        raise RequestError(f"{path} can't be read as a WAV file: it has no header") from exc


@contextmanager
def _create_answer(path: Path) -> Iterator[AnswerFile]:
    try:
        is_new = not path.exists()
        path.open("ab").close()  # so that it is known before the call whether it can be written
        if is_new:
            path.unlink()
    except OSError as exc:
        raise RequestError(f"{path} can't be written: {exc.strerror or exc}") from exc
    with ExitStack() as opened:
        # Unbuffered, so that the file is valid even if plexbridge is killed.
        yield AnswerFile(lambda: path.open("wb", buffering=0), opened)


@contextmanager
def _create_text(path: Path | None) -> Iterator[IO[str] | None]:
    if path is None:
        yield None
        return
    try:
        text_file = path.open("w", encoding="utf-8")
    except OSError as exc:
        raise RequestError(f"{path} can't be written: {exc.strerror}") from exc
    with text_file:
        yield text_file
