"""One speaker's line to a speech engine: the rules that hold whatever the engine does.

`hear` is called from the audio's side, for every 20 ms, and never waits. What it makes of the frames are utterances,
which wait for the engine in a queue of `BACKLOG_SECONDS`; where that is not enough, the oldest one that waits goes.
`run` gives them to the engine one at a time, in their order. An utterance is taken while it is still spoken, so that
an engine that works word by word has it nearly done when it ends.

Every utterance that was begun has exactly one outcome, `Final` or `Missing`: the engine's text; or a `Gap` when it had
to give way, when the engine did not answer within `answer_seconds` and the utterance's own length, failed more than
`ATTEMPTS` times or for good, or when the line was stopped before. No answer of the engine can be longer, and no partial
text more frequent, than stated here.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf

import trio

from plexbridge.audio.pcm import FRAME_SECONDS, Samples
from plexbridge.errors import SpeechError
from plexbridge.speech.engine import (
    TEXT_LIMIT_CHARS,
    Begun,
    Final,
    Gap,
    Missing,
    Partial,
    Recognized,
    SpeechEngine,
    SpeechEvent,
    Word,
)
from plexbridge.speech.sound import UtteranceSound
from plexbridge.speech.utterances import Utterances

logger = logging.getLogger(__name__)

BACKLOG_SECONDS = 60.0
"""Two of the longest utterances, 6 MB."""
PAUSES_SECONDS = (0.5, 2.0)
"""Before the second and the third attempt, unless the engine asks for more."""
ATTEMPTS = len(PAUSES_SECONDS) + 1
PARTIAL_SECONDS = 0.1
"""Partial texts that come sooner after one another are passed over."""

Tell = Callable[[SpeechEvent], None]
"""Takes an event; never waits and never raises."""


@dataclass(slots=True, eq=False)
class _Utterance:
    number: int
    start_seconds: float
    sound_seconds: float
    """When its first sample was."""
    end_seconds: float | None = None
    """When speech ended; None while it is under way."""
    sound: UtteranceSound = field(default_factory=UtteranceSound)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    """Around the engine's work on it."""

    @property
    def heard_seconds(self) -> float:
        """Where it ends, or has come to."""
        return self.sound_seconds + self.sound.seconds if self.end_seconds is None else self.end_seconds


@dataclass(frozen=True, slots=True)
class LineStatistics:
    """What became of utterances; `begun` is the sum of the others and of those that have no outcome yet."""

    begun: int = 0
    final: int = 0
    behind: int = 0
    """Dropped for others."""
    unanswered: int = 0
    failed: int = 0
    stopped: int = 0


class SpeechLine:
    """The line of one speaker; `tell` is told what comes of it."""

    def __init__(self, speaker: int, engine: SpeechEngine, tell: Tell, *, answer_seconds: float) -> None:
        self._speaker = speaker
        self._engine = engine
        self._tell = tell
        self._answer_seconds = answer_seconds
        self._cutter = Utterances()
        self._spoken: _Utterance | None = None
        """The one that is under way."""
        self._taken: _Utterance | None = None
        """The one that the engine works on."""
        self._waiting: deque[_Utterance] = deque()
        self._news = trio.Event()
        self._is_closed = False
        self._has_failed = False
        """The latest utterance's engine did; a row of failures is logged once."""
        self._told_seconds = -inf
        self._statistics = LineStatistics()

    @property
    def is_idle(self) -> bool:
        """Whether ticks in which nothing comes need not be heard, and nothing waits."""
        return self._cutter.is_idle and self._taken is None and not self._waiting

    def statistics(self) -> LineStatistics:
        """Return the counters."""
        return self._statistics

    def hear(self, samples: Samples | None, *, has_voice: bool, now_seconds: float) -> None:
        """Take the 20 ms that began at `now_seconds`, 480 samples at 24 kHz; None when nothing came."""
        if self._is_closed:
            return
        cut = self._cutter.push(samples, has_voice=has_voice, now_seconds=now_seconds)
        if cut.begins is not None:
            self._begin(cut.begins.speech_seconds, cut.begins.sound_seconds)
        if self._spoken is not None:
            self._spoken.sound.append(cut.sound)
            self._make_room()
        if cut.ends_seconds is not None:
            self._end(cut.ends_seconds)

    def rest(self) -> None:
        """The speaker says no more for now."""
        ends_seconds = self._cutter.finish().ends_seconds
        if ends_seconds is not None:
            self._end(ends_seconds)

    def close(self) -> None:
        """The speaker says no more at all: `run` returns when everything has its outcome."""
        self.rest()
        self._is_closed = True
        self._wake()

    async def wait_room(self) -> None:
        """Wait until no whole utterance waits: for who can wait, so that nothing has to give way."""
        while any(each.end_seconds is not None for each in self._waiting):
            await self._news.wait()

    async def run(self) -> None:
        """Have utterances transcribed until `close`; when cancelled, those that are left are missing."""
        try:
            while await self._take():
                await self._transcribe()
        finally:
            self._is_closed = True
            left = [*([] if self._taken is None else [self._taken]), *self._waiting]
            self._taken = self._spoken = None
            self._waiting.clear()
            for utterance in left:
                self._miss(utterance, Gap.STOPPED)

    def _begin(self, start_seconds: float, sound_seconds: float) -> None:
        self._statistics = replace(self._statistics, begun=self._statistics.begun + 1)
        self._spoken = _Utterance(self._statistics.begun, start_seconds, sound_seconds)
        self._waiting.append(self._spoken)
        self._tell(Begun(self._speaker, self._spoken.number, start_seconds))
        self._wake()

    def _end(self, ends_seconds: float) -> None:
        utterance, self._spoken = self._spoken, None
        if utterance is None:
            return  # it has its outcome already: the line was stopped
        utterance.end_seconds = max(ends_seconds, utterance.start_seconds + FRAME_SECONDS)
        utterance.sound.end()
        self._limit(utterance)
        self._wake()

    def _make_room(self) -> None:
        """Let the oldest utterances that wait go, until the rest is within the limit; never the one under way."""
        while sum(each.sound.seconds for each in self._waiting) > BACKLOG_SECONDS and len(self._waiting) > 1:
            self._miss(self._waiting.popleft(), Gap.BEHIND)
            self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def _take(self) -> bool:
        """Wait for an utterance to work on; say whether there is one."""
        while not self._waiting:
            if self._is_closed:
                return False
            await self._news.wait()
        self._taken = self._waiting.popleft()
        self._wake()
        return True

    def _limit(self, utterance: _Utterance) -> None:
        """Begin to count the time that the engine has, if the utterance is whole; again when the engine takes it."""
        if utterance.end_seconds is not None:
            utterance.scope.deadline = trio.current_time() + self._answer_seconds + utterance.sound.seconds

    async def _transcribe(self) -> None:
        utterance = self._taken
        assert utterance is not None
        self._limit(utterance)
        outcome: Recognized | Gap = Gap.UNANSWERED
        with utterance.scope:
            outcome = await self._try(utterance)
        self._taken = None
        if isinstance(outcome, Gap):
            self._miss(utterance, outcome)
        else:
            self._settle(utterance, outcome)
        if (has_failed := isinstance(outcome, Gap)) != self._has_failed:
            self._has_failed = has_failed
            if has_failed:
                logger.warning("speech is not transcribed: %s", outcome.value if isinstance(outcome, Gap) else "")
            else:
                logger.info("speech is transcribed again")

    async def _try(self, utterance: _Utterance) -> Recognized | Gap:
        """Have the engine work on an utterance, and again when it fails in passing."""

        def show(text: str) -> None:
            self._show(utterance, text)

        for pause_seconds in (*PAUSES_SECONDS, None):
            try:
                recognized = await self._engine.recognize(utterance.sound, show)
            except SpeechError as error:
                logger.log(
                    logging.DEBUG if self._has_failed else logging.WARNING, "the speech engine failed: %s", error
                )
                if pause_seconds is None or not error.is_passing:
                    return Gap.FAILED
                await trio.sleep(max(pause_seconds, error.retry_seconds))
            except Exception:
                # An engine's own bug costs what it was working on; the audio, and the next utterance, must go on.
                if not self._has_failed:
                    logger.exception("the speech engine failed in a way that is not foreseen")
                return Gap.FAILED
            else:
                is_believable = len(recognized.text) <= TEXT_LIMIT_CHARS
                return recognized if is_believable else Gap.FAILED
        raise AssertionError("the last attempt returns")

    def _show(self, utterance: _Utterance, text: str) -> None:
        now_seconds = trio.current_time()
        if utterance is not self._taken or now_seconds - self._told_seconds < PARTIAL_SECONDS:
            return
        self._told_seconds = now_seconds
        text, end_seconds = text[:TEXT_LIMIT_CHARS].strip(), utterance.heard_seconds
        if text:
            self._tell(Partial(self._speaker, utterance.number, utterance.start_seconds, end_seconds, text))

    def _settle(self, utterance: _Utterance, recognized: Recognized) -> None:
        self._statistics = replace(self._statistics, final=self._statistics.final + 1)
        shift = utterance.sound_seconds
        words = tuple(
            Word(each.text, each.start_seconds + shift, each.end_seconds + shift) for each in recognized.words
        )
        span = (utterance.start_seconds, utterance.heard_seconds)
        self._tell(Final(self._speaker, utterance.number, *span, recognized.text.strip(), words))

    def _miss(self, utterance: _Utterance, reason: Gap) -> None:
        counter = reason.name.lower()
        self._statistics = replace(self._statistics, **{counter: getattr(self._statistics, counter) + 1})
        span = (utterance.start_seconds, utterance.heard_seconds)
        self._tell(Missing(self._speaker, utterance.number, *span, reason))
