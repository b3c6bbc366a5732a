"""The sound of one utterance: grows with every tick, and is read by an engine, as often as that tries."""

import numpy as np
import soxr
import trio

from plexbridge.audio.pcm import FRAME_SECONDS, MODEL_RATE_HZ, Samples, silence

NEWS_FRAMES = 4
"""Whoever waits is woken every 80 ms, Kyutai's step; each waking costs as much as some work."""
READ_FRAMES = 48
"""About a second: what is read at once of an utterance that waited."""


class UtteranceSound:
    """Frames of 20 ms at 24 kHz; implements `engine.Sound`."""

    def __init__(self) -> None:
        self._frames: list[Samples] = []
        self._is_ended = False
        self._news = trio.Event()

    @property
    def seconds(self) -> float:
        """How long it is so far."""
        return len(self._frames) * FRAME_SECONDS

    def append(self, frames: tuple[Samples, ...]) -> None:
        """Add what has come."""
        for frame in frames:
            self._frames.append(frame)
            if len(self._frames) % NEWS_FRAMES == 0:
                self._tell()

    def end(self) -> None:
        """Nothing more will come."""
        self._is_ended = True
        self._tell()

    def reader(self, rate_hz: int) -> "SoundReader":
        """Return a reader from the beginning on, at this rate."""
        return SoundReader(self, rate_hz)

    async def wait_frames(self, start: int) -> tuple[list[Samples], bool]:
        """Wait for frames from the `start`-th on; return some of them, and whether these were the last."""
        await trio.lowlevel.checkpoint()  # what waited is read a second at a time, and audio goes first
        while len(self._frames) < start + NEWS_FRAMES and not self._is_ended:
            await self._news.wait()
        frames = self._frames[start : start + READ_FRAMES]
        return frames, self._is_ended and start + len(frames) == len(self._frames)

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


class SoundReader:
    """One reading of an utterance's sound; implements `engine.Reader`."""

    def __init__(self, sound: UtteranceSound, rate_hz: int) -> None:
        self._sound = sound
        self._read_frames = 0
        self._is_over = False
        is_same = rate_hz == MODEL_RATE_HZ
        self._resampler = None if is_same else soxr.ResampleStream(MODEL_RATE_HZ, rate_hz, 1, dtype="float32")

    async def read(self) -> Samples | None:
        """Wait for more, a second at most; None after the end."""
        while not self._is_over:
            frames, self._is_over = await self._sound.wait_frames(self._read_frames)
            self._read_frames += len(frames)
            chunk = np.concatenate(frames) if frames else silence(0)
            if self._resampler is not None:
                chunk = np.asarray(self._resampler.resample_chunk(chunk, last=self._is_over), np.float32)
            if chunk.size:  # a resampler keeps its first samples for itself
                return chunk
        return None
