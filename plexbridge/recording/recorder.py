"""A recording that runs: a tap that takes every frame at once, and a task that hands them to a thread to be written.

Between the two stands a queue with a limit. A disk that is slow, or hangs, fills it, and then frames are dropped and
counted, and people read it once; nothing that they hear is ever held up. Two threads never write at the same time: one
that hangs is waited for, at the end not for long.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from plexbridge.audio.pcm import FRAME_SECONDS, Samples, level_dbfs
from plexbridge.errors import RecordingError
from plexbridge.recording.files import Dropped, Event, Forget, Sound

logger = logging.getLogger(__name__)

WRITE_SECONDS = 0.5
"""How often what has come is written: all but the last second is on the disk at any moment."""
QUEUE_LIMIT_FRAMES = 5_000
"""50 s of one person and the model, 9 s of ten; some 20 MB at most."""
CLOSE_SECONDS = 1.0
"""How long the end of a recording, mostly a hundredth of a second, may take, with everybody gone."""

SILENT_DBFS = -96.0
"""The last bit of 16: what a decoder makes of silence lies far below, and is not quite nothing."""

SLOW_SENTENCE = "The recording has gaps: the disk is too slow at the moment."
MODEL_NAME = "model"


class Ending(Enum):
    """Why a recording has ended; the value is what people read in a conversation that goes on."""

    STOPPED = "The recording has ended."
    TOO_LONG = "The recording has reached its longest time, and has ended."
    TOO_LARGE = "The recording has ended, because recordings may take no more room."
    FAILED = RecordingError.user_message


class Files(Protocol):
    """Where it is written to, on a thread: `files.RecordingFiles`. Both methods raise RecordingError."""

    path: Path

    def write(self, events: Sequence[Event], now_frame: int) -> None:
        """Write what has happened up to `now_frame`."""

    def close(self, events: Sequence[Event], end_frame: int) -> None:
        """Write the last that has happened, and end everything at `end_frame`."""

    def abandon(self, events: Sequence[Event]) -> None:
        """Close what can't be written any more, and delete at least what is to be forgotten."""


InThread = Callable[[Callable[[], None]], Awaitable[None]]


def one_thread() -> InThread:
    """Return what runs functions on a thread, one after the other; who is cancelled goes on, and the thread too."""
    limiter = trio.CapacityLimiter(1)
    return partial(trio.to_thread.run_sync, abandon_on_cancel=True, limiter=limiter)


class Recorder:
    """One recording, from now on; implements `session.tap.Tap`.

    `name_of` gives a person's name by their id, and `say` tells the people a sentence.
    """

    def __init__(
        self,
        files: Files,
        *,
        limit_seconds: float,
        name_of: Callable[[str], str],
        say: Callable[[str], None],
        in_thread: InThread,
    ) -> None:
        self._files = files
        self._limit_seconds = limit_seconds
        self._name_of = name_of
        self._say = say
        self._in_thread = in_thread
        self._started_seconds = trio.current_time()
        self._events: deque[Event] = deque()
        self._names: dict[str, str] = {}
        self._dropped: Dropped | None = None
        """What has been dropped since the queue was emptied last."""
        self.dropped_frames = 0
        self._ending: Ending | None = None
        self._stopped = trio.Event()

    @property
    def people(self) -> frozenset[str]:
        """Of whom there is something in it."""
        return frozenset(self._names)

    @property
    def path(self) -> Path:
        """Its folder, once something is in it."""
        return self._files.path

    def spoke(self, person: str, samples: Samples, *, is_speech: bool, now_seconds: float) -> None:
        """Take 20 ms of a person."""
        name = self._names.get(person)
        if name is None:
            name = self._names[person] = self._name_of(person)
        self._take(person, name, samples, now_seconds)

    def played(self, samples: Samples, now_seconds: float) -> None:
        """Take 20 ms of the model."""
        self._take(None, MODEL_NAME, samples, now_seconds)

    def forget(self, person: str) -> None:
        """Delete all that there is of a person; what they say from now on is taken again."""
        if self._names.pop(person, None) is not None:
            self._events.append(Forget(person))

    def stop(self, ending: Ending = Ending.STOPPED) -> None:
        """End it soon; the first reason counts."""
        self._ending = self._ending or ending
        self._stopped.set()

    async def run(self) -> Ending:
        """Write until there is a reason to end, and return that; when cancelled, the files are ended too."""
        try:
            while self._ending is None:
                with trio.move_on_after(WRITE_SECONDS):
                    await self._stopped.wait()
                if self._seconds >= self._limit_seconds:
                    self.stop(Ending.TOO_LONG)
                if self._ending is None:
                    await self._in_thread(partial(self._files.write, self._take_events(), self._frame))
        except RecordingError as error:
            logger.error("the recording in %s can't be written: %s", self.path, error)
            self.stop(Ending.FAILED)
        finally:
            await self._close()
        return self._ending or Ending.STOPPED

    async def _close(self) -> None:
        """End the files, as far as the disk answers in time."""
        events = self._take_events()
        if self._ending is Ending.FAILED:
            close = partial(self._files.abandon, events)
        else:
            close = partial(self._files.close, events, self._frame)
        with trio.move_on_after(CLOSE_SECONDS, shield=True) as patience:
            try:
                await self._in_thread(close)
            except RecordingError as error:
                logger.error("the recording in %s can't be ended: %s", self.path, error)
                self._ending = Ending.FAILED
        if patience.cancelled_caught:
            logger.error("the recording in %s can't be ended: the disk does not answer", self.path)
        if self.dropped_frames:
            logger.warning("the recording in %s lacks %s frames of 20 ms", self.path, self.dropped_frames)

    @property
    def _seconds(self) -> float:
        return trio.current_time() - self._started_seconds

    @property
    def _frame(self) -> int:
        return int(self._seconds / FRAME_SECONDS)

    def _take(self, person: str | None, name: str, samples: Samples, now_seconds: float) -> None:
        place_frames = (now_seconds - self._started_seconds) / FRAME_SECONDS
        if place_frames < -0.5:
            return  # of a tick that was due before the recording began
        if level_dbfs(samples) < SILENT_DBFS:
            return  # silence is what lies between two frames anyway
        if len(self._events) >= QUEUE_LIMIT_FRAMES:
            self._drop(place_frames)
            return
        self._events.append(Sound(person, name, place_frames, samples))

    def _drop(self, place_frames: float) -> None:
        if not self.dropped_frames:
            logger.warning("the recording in %s has gaps, because the disk is too slow", self.path)
            self._say(SLOW_SENTENCE)
        self.dropped_frames += 1
        before = self._dropped or Dropped(place_frames, place_frames, 0)
        self._dropped = Dropped(before.from_frames, place_frames + 1, before.count + 1)

    def _take_events(self) -> list[Event]:
        """Empty the queue; what was dropped meanwhile came after all that is in it."""
        events = list(self._events)
        self._events.clear()
        if self._dropped is not None:
            events.append(self._dropped)
            self._dropped = None
        return events
