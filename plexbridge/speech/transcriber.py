"""Everybody's speech of one conversation to one engine: a line for each person who is heard, for as long as it lasts.

`hear` stands beside the mix, on the beat, and costs little where nobody speaks. The lines run in `run`, apart from the
audio; whatever becomes of an engine, nothing of it comes back to who calls `hear`.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial

import trio

from plexbridge.audio.pcm import Samples
from plexbridge.speech.engine import SpeechEngine
from plexbridge.speech.line import LineStatistics, SpeechLine, Tell

SPEAKER_LIMIT = 100
"""As many people as have an ear in a conversation; of more, nobody is transcribed until somebody leaves."""


class Transcriber:
    """Transcribes several speakers at the same time; `tell` is told what comes of it, and never waits."""

    def __init__(self, engine: SpeechEngine, tell: Tell, *, answer_seconds: float) -> None:
        self._make_line: Callable[[int], SpeechLine] = partial(
            SpeechLine, engine=engine, tell=tell, answer_seconds=answer_seconds
        )
        self._lines: dict[int, SpeechLine] = {}
        self._new: list[SpeechLine] = []
        self._news = trio.Event()
        self._is_closed = False
        self.unheard_frames = 0
        """Of people beyond the limit."""

    def hear(self, sounds: Mapping[int, Samples], voiced: Collection[int], now_seconds: float) -> None:
        """Take what has come in the 20 ms from `now_seconds` on: 480 samples at 24 kHz of each who was heard.

        `voiced` are those of them whose frame is speech.
        """
        for speaker, line in self._lines.items():
            if speaker not in sounds and not line.is_idle:
                line.hear(None, has_voice=False, now_seconds=now_seconds)
        for speaker, samples in sounds.items():
            known = self._lines.get(speaker) or self._open(speaker)
            if known is None:
                self.unheard_frames += 1
            else:
                known.hear(samples, has_voice=speaker in voiced, now_seconds=now_seconds)

    def leave(self, speaker: int) -> None:
        """Somebody has gone, or is not to be heard: what they said so far is still transcribed."""
        line = self._lines.pop(speaker, None)
        if line is not None:
            line.close()

    def close(self) -> None:
        """Nobody says any more: `run` returns when everything has its outcome."""
        for speaker in tuple(self._lines):
            self.leave(speaker)
        self._is_closed = True
        self._news.set()

    def statistics(self) -> Mapping[int, LineStatistics]:
        """Return the counters of those who are there."""
        return {speaker: line.statistics() for speaker, line in self._lines.items()}

    async def run(self) -> None:
        """Have everything transcribed until `close`; when cancelled, what is left is told to be missing."""
        async with trio.open_nursery() as nursery:
            while True:
                news = self._news
                new, self._new = self._new, []
                for line in new:
                    nursery.start_soon(line.run)
                if self._is_closed:
                    return
                await news.wait()

    def _open(self, speaker: int) -> SpeechLine | None:
        if self._is_closed or len(self._lines) >= SPEAKER_LIMIT:
            return None
        line = self._lines[speaker] = self._make_line(speaker)
        self._new.append(line)
        self._news.set()
        self._news = trio.Event()
        return line
