"""Where the sound of a conversation can be listened in on: each person apart, and what is played to them.

The people's side of a conversation has taps, mostly none, and tells each of them of every frame, in the tick when it
does so. A recording is a tap, and so is what writes down what is said. Nobody is told of a person who has asked not to
be heard: what they send is dropped before anything is decrypted.
"""

from math import inf
from typing import Protocol

from plexbridge.audio.pcm import FRAME_SECONDS, Samples


class Tap(Protocol):
    """Something that listens in. It must neither wait nor raise nor change the samples, which it may keep.

    Times are when a frame's tick was due, on Trio's clock: they lie on one grid of 20 ms for as long as a conversation
    has a model, and on another one after it was lost.
    """

    def spoke(self, person: str, samples: Samples, *, is_speech: bool, now_seconds: float) -> None:
        """Take 20 ms of one person (480 samples at 24 kHz) as they came, before gain, attention, gate and echo guard.

        `person` is an id such as `discord:1234567`; `is_speech` is what the detector of voices says of this frame. Of
        who sends nothing, nothing is told.
        """

    def played(self, samples: Samples, now_seconds: float) -> None:
        """Take 20 ms that are played to the people (960 samples at 48 kHz), silence included."""


class Taps:
    """The taps of one side of a conversation. Where there are none, `bool(taps)` is False and nothing need be told."""

    def __init__(self) -> None:
        self._taps: tuple[Tap, ...] = ()
        self._next_tick = 0
        self._origin_seconds = inf
        """When tick 0 was due: no tick is played before it is due, and most are played at once."""

    def __bool__(self) -> bool:
        return bool(self._taps)

    def add(self, tap: Tap) -> None:
        """Have one that listens in from now on."""
        if not self._taps:
            self._origin_seconds = inf  # of a time that nobody has followed
        self._taps = (*self._taps, tap)

    def remove(self, tap: Tap) -> None:
        """Have it no more; one that is not there is nothing to remove."""
        self._taps = tuple(each for each in self._taps if each is not tap)

    def spoke(self, person: str, samples: Samples, *, is_speech: bool, due_seconds: float) -> None:
        """Tell of what a person has said in the tick that was due then."""
        for tap in self._taps:
            tap.spoke(person, samples, is_speech=is_speech, now_seconds=due_seconds)

    def played(self, samples: Samples, tick: int, now_seconds: float) -> None:
        """Tell of what is played now; `tick` counts as `people.People.play` has it, which says when it was due."""
        if tick < self._next_tick:
            self._origin_seconds = inf
        self._next_tick = tick + 1
        self._origin_seconds = min(self._origin_seconds, now_seconds - tick * FRAME_SECONDS)
        for tap in self._taps:
            tap.played(samples, self._origin_seconds + tick * FRAME_SECONDS)
