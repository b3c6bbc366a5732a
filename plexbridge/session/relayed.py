"""The people of one conversation, as the sessions over its links see them, one after the other.

`RelayedPeople` stands between the people and whichever session has its turn. To the people it is one conversation: its
ticks count on from session to session, on one grid of 20 ms, and in the pause that there is where one link has to be
closed before the next is open, it keeps the beat itself: what is said in it is dropped and counted. So nothing is
replayed, and nothing gets later. It tells `Renewal` what is heard and played, ends a link's last frame with a fade,
plays the mark, and remembers the model's last words.
"""

from collections import deque
from collections.abc import Callable, Iterable
from math import ceil

import numpy as np
import trio

from plexbridge.audio.pcm import FRAME_SECONDS, PEOPLE_FRAME_SAMPLES, PEOPLE_RATE_HZ, Samples, level_dbfs, silence
from plexbridge.audio.playout import SILENT_DBFS
from plexbridge.model.conversation import State
from plexbridge.session.beat import Beat, next_start_seconds
from plexbridge.session.people import Frame, People
from plexbridge.session.recap import LastWords
from plexbridge.session.renewal import Renewal

_FADE_SAMPLES = PEOPLE_RATE_HZ // 200  # 5 ms, as in the playout buffer


class RelayedPeople:
    """Implements `session.people.People`; one session at a time has its turn, between `wait_turn` and its end."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._origin_seconds: float | None = None
        """When the first session began: tick 0."""
        self.start_seconds = 0.0
        """When the present session's first tick is due, by Trio's clock; from `wait_turn` on."""
        self._first_tick = 0
        """At which the present session or pause has begun."""
        self._heard_ticks = 0
        self._played_ticks = 0
        """Up to where the people were listened to, and were played to."""
        self._answered_ticks = 0
        """Up to where they were played to by a session."""
        self._renewal: Renewal | None = None
        self._leave: Callable[[], None] = _stay
        self._sound: deque[Samples] = deque()
        self.words = LastWords()
        self.unheard_frames = 0
        """What people have said between two sessions, 20 ms each."""

    async def wait_turn(self) -> float:
        """Wait until the next tick; return how long it is since the last one that a session played, 0 at first."""
        now_seconds = trio.current_time()
        if self._origin_seconds is None:
            self._origin_seconds = self.start_seconds = next_start_seconds(now_seconds)
            return 0.0
        passed_ticks = (now_seconds - self._origin_seconds) / FRAME_SECONDS
        tick = max(self._played_ticks, ceil(passed_ticks - 1e-6))
        self.start_seconds = self._origin_seconds + tick * FRAME_SECONDS
        await trio.sleep_until(self.start_seconds)
        while self._heard_ticks < tick:
            self._drop(trio.current_time())
        self._first_tick = tick
        return (tick - self._answered_ticks + 1) * FRAME_SECONDS

    def watch(self, renewal: Renewal, leave: Callable[[], None]) -> None:
        """Have the session that begins followed by `renewal`, and call `leave` when it is to end."""
        self._renewal, self._leave = renewal, leave

    def sound(self, frames: Iterable[Samples]) -> None:
        """Play a sound with whatever is played from now on."""
        self._sound.extend(frames)

    async def pause(self) -> None:
        """Keep the beat in place of a session until the people leave; what they say is dropped and counted."""
        await self.wait_turn()
        beat = Beat(self.start_seconds)  # the wake-up may have been late
        while True:
            missed = await beat.wait_tick()
            if missed:
                self.skip(missed)
            if self._drop(beat.due_seconds) is None:
                return
            self.play(silence(PEOPLE_FRAME_SAMPLES), beat.tick - 1)

    def _drop(self, due_seconds: float) -> Frame | None:
        """Take a tick of what the people say from them, for nobody."""
        frame = self.listen(due_seconds)
        if frame is not None and not frame.is_silent:
            self.unheard_frames += 1
        return frame

    # What a session calls

    def listen(self, due_seconds: float) -> Frame | None:
        """Return what the people say in this tick."""
        self._heard_ticks += 1
        frame = self._people.listen(due_seconds)
        if frame is not None and self._renewal is not None:
            self._renewal.heard(is_silent=frame.is_silent)
        return frame

    def skip(self, frames: int) -> None:
        """Throw away what missed ticks would have brought."""
        self._heard_ticks += frames
        self._people.skip(frames)

    def play(self, samples: Samples, tick: int) -> None:
        """Play a frame, which is the last one of its link if the renewal is due."""
        end_tick = self._first_tick + tick + 1
        if self._renewal is not None:
            self._answered_ticks = end_tick
            self._renewal.played(is_silent=level_dbfs(samples) <= SILENT_DBFS)
            if self._renewal.is_due(trio.current_time()):
                self._renewal = None
                samples = _faded_out(samples)
                self._leave()
        if self._sound:
            samples = (samples + self._sound.popleft()).clip(-1, 1)
        self._people.play(samples, self._first_tick + tick)
        self._played_ticks = end_tick

    def show(self, text: str) -> None:
        """Show a piece of what the model says."""
        self.words.add(text, now_seconds=trio.current_time())
        self._people.show(text)

    def tell(self, state: State) -> None:
        """Tell the people of the conversation's state."""
        self._people.tell(state)


def _faded_out(samples: Samples) -> Samples:
    """Return a frame that ends in silence after 5 ms."""
    faded = silence(PEOPLE_FRAME_SAMPLES)
    faded[:_FADE_SAMPLES] = samples[:_FADE_SAMPLES] * np.linspace(1, 0, _FADE_SAMPLES, dtype=np.float32)
    return faded


def _stay() -> None:
    """Leave nothing: what stands for the way out before a session is watched."""
