"""The embedded engines as such: libraries that decode in the calling thread, and are only used in a worker process.

Nothing here is imported by the service itself: `worker` makes a decoder there, and neither its memory nor its crashes
are ours.
"""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np

from plexbridge.errors import SpeechError
from plexbridge.speech.engine import Recognized, Word
from plexbridge.speech.frames import RATE_HZ

PARTIAL_SAMPLES = RATE_HZ // 5
"""It is looked what was understood so far every 200 ms."""
FLUSH_SECONDS = 0.8
"""Silence that a streaming network must hear before it says the last word."""
NOISE_STEPS = 3.0
"""Of 16 bits, -81 dBFS: what is added to the sound for pocketsphinx. It knows rooms and no digital silence, which is
what Discord has between words, and misunderstands every fifth sentence beside it."""
_FRAMES_PER_SECOND = 100
"""In which pocketsphinx counts."""
_FILLER = re.compile(r"<.*>|\[.*\]|\+\+.*\+\+|\(NULL\)")
"""What is no word: silence, noise, the sentence's ends."""
_VARIANT = re.compile(r"\(\d+\)$")
"""The number of a word's pronunciation."""


class Decoder(Protocol):
    """Decodes one utterance after the other."""

    @property
    def description(self) -> str:
        """What it is, in a few words."""

    def begin(self) -> None:
        """An utterance begins."""

    def feed(self, sound: bytes) -> str:
        """Take 16-bit samples at 16 kHz; return what was understood so far."""

    def end(self) -> Recognized:
        """The utterance is over; return what it was."""


class SphinxDecoder:
    """Pocketsphinx with the model that it brings along: American English, or just the sentences of a grammar (JSGF)."""

    def __init__(self, grammar: Path | None) -> None:
        if grammar is not None and not grammar.is_file():
            raise SpeechError(f"the grammar {grammar} can't be read")
        try:
            import pocketsphinx
        except ImportError as exc:
            raise SpeechError(f"pocketsphinx is not installed: pip install plexbridge[speech] ({exc})") from exc
        # The search through the lattice, which helps a language model, loses the ends of a grammar's sentences.
        only = {} if grammar is None else {"jsgf": str(grammar), "bestpath": False}
        try:
            self._decoder = pocketsphinx.Decoder(samprate=float(RATE_HZ), loglevel="FATAL", **only)
        except (RuntimeError, ValueError) as exc:
            what = (
                "it can't be loaded"
                if grammar is None
                else "the grammar can't be used: each word must be in its dictionary"
            )
            raise SpeechError(f"{what} ({exc})") from exc
        self.description = f"pocketsphinx {version('pocketsphinx')}, "
        self.description += "American English" if grammar is None else f"with the grammar {grammar}"
        # Of the room and the voice, which it learns as it goes; the next utterance may be somebody else's.
        self._means = self._decoder.get_cmn(False)
        self._samples = 0
        self._noise = np.random.default_rng(0)

    def begin(self) -> None:
        """An utterance begins; nothing of the one before matters to it."""
        self._samples = 0
        self._noise = np.random.default_rng(0)
        self._decoder.set_cmn(self._means)
        self._decoder.start_utt()

    def feed(self, sound: bytes) -> str:
        """Take samples; return what was understood so far, which is looked for only now and then."""
        self._decoder.process_raw(self._with_noise(sound), no_search=False, full_utt=False)
        before, self._samples = self._samples, self._samples + len(sound) // 2
        if before // PARTIAL_SAMPLES == self._samples // PARTIAL_SAMPLES:
            return ""
        return self._text()

    def end(self) -> Recognized:
        """The utterance is over."""
        self._decoder.end_utt()
        segments = self._decoder.seg() or ()
        words = tuple(
            Word(
                _VARIANT.sub("", segment.word),
                segment.start_frame / _FRAMES_PER_SECOND,
                (segment.end_frame + 1) / _FRAMES_PER_SECOND,
            )
            for segment in segments
            if not _FILLER.fullmatch(segment.word)
        )
        return Recognized(self._text(), words)

    def _with_noise(self, sound: bytes) -> bytes:
        samples = np.frombuffer(sound, "<i2")
        noisy = samples + self._noise.standard_normal(samples.size, np.float32) * NOISE_STEPS
        return bytes(np.clip(noisy, -32_768, 32_767).astype("<i2").tobytes())

    def _text(self) -> str:
        best = self._decoder.hyp()
        return "" if best is None else str(best.hypstr)


class SherpaDecoder:
    """Sherpa-onnx with a streaming transducer in a folder, as its published models have it."""

    def __init__(self, folder: Path) -> None:
        try:
            import sherpa_onnx
        except ImportError as exc:
            raise SpeechError(f"sherpa-onnx is not installed: pip install plexbridge[sherpa] ({exc})") from exc
        try:
            self._recognizer = sherpa_onnx.OnlineRecognizer.from_transducer(
                tokens=str(_file(folder, "tokens.txt")),
                encoder=str(_file(folder, "encoder*.onnx")),
                decoder=str(_file(folder, "decoder*.onnx")),
                joiner=str(_file(folder, "joiner*.onnx")),
                num_threads=1,
                sample_rate=RATE_HZ,
                feature_dim=80,
            )
        except (RuntimeError, ValueError, AssertionError) as exc:
            raise SpeechError(f"the model in {folder} can't be loaded ({exc})") from exc
        self.description = f"sherpa-onnx {version('sherpa-onnx')} with {folder.name}"
        self._stream = self._recognizer.create_stream()

    def begin(self) -> None:
        """An utterance begins."""
        self._stream = self._recognizer.create_stream()

    def feed(self, sound: bytes) -> str:
        """Take samples; return what was understood so far."""
        self._stream.accept_waveform(RATE_HZ, np.frombuffer(sound, "<i2").astype(np.float32) / 32768)
        return self._decoded()

    def end(self) -> Recognized:
        """The utterance is over."""
        self._stream.accept_waveform(RATE_HZ, np.zeros(round(FLUSH_SECONDS * RATE_HZ), np.float32))
        self._stream.input_finished()
        return Recognized(self._decoded())

    def _decoded(self) -> str:
        while self._recognizer.is_ready(self._stream):
            self._recognizer.decode_stream(self._stream)
        return str(self._recognizer.get_result(self._stream))


def _file(folder: Path, pattern: str) -> Path:
    """Return the file of a model; of several, the one with whole numbers, which is the fastest on a CPU."""
    found = sorted(folder.glob(pattern), key=lambda path: ("int8" not in path.name, path.name))
    if not found:
        raise SpeechError(f"there is no {pattern} in {folder}")
    return found[0]
