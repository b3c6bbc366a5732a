"""From one person's frames to utterances: where each begins and ends, and which sound belongs to it.

An utterance begins with the first frame of speech and has the sound before it too (`PRE_ROLL_FRAMES`), since a
detector is sure only some time after speech began, and engines like to hear the silence before. It ends when there was
no speech for `HANGOVER_FRAMES`. One that gets long ends with the next short pause, and at `LONGEST_FRAMES` wherever it
is, so that an engine's work and memory have a limit.

Times are the caller's, in seconds on any one scale.
"""

from collections import deque
from dataclasses import dataclass

from plexbridge.audio.pcm import FRAME_SECONDS, FRAMES_PER_SECOND, UPLINK_FRAME_SAMPLES, Samples, silence

PRE_ROLL_FRAMES = FRAMES_PER_SECOND * 3 // 10
"""300 ms."""
HANGOVER_FRAMES = FRAMES_PER_SECOND * 6 // 10
"""600 ms: longer than people pause within a sentence."""
LONG_FRAMES = FRAMES_PER_SECOND * 20
"""After 20 s ..."""
SHORT_HANGOVER_FRAMES = FRAMES_PER_SECOND * 2 // 10
"""... a pause of 200 ms will do."""
LONGEST_FRAMES = FRAMES_PER_SECOND * 30
"""30 s: what Whisper takes at a time."""
ONSET_SECONDS = 0.06
"""How long after speech began the detector says so, in the middle."""
SILENT_FRAME = silence(UPLINK_FRAME_SAMPLES)
"""Stands for what did not come."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """An utterance has begun."""

    speech_seconds: float
    """When speech began."""
    sound_seconds: float
    """When the first sample of its sound was."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What one tick means, in this order: an utterance begins, sound is added to it, it ends."""

    begins: Beginning | None = None
    sound: tuple[Samples, ...] = ()
    """Frames of 20 ms."""
    ends_seconds: float | None = None
    """When speech ended, if the utterance ends with this."""


NOTHING = Cut()


class Utterances:
    """Cuts what one person says."""

    def __init__(self) -> None:
        self._before: deque[Samples] = deque(maxlen=PRE_ROLL_FRAMES)
        self._frames = 0
        """Of the utterance that is under way; 0 when there is none."""
        self._silent_frames = 0
        """At its end."""
        self._next_seconds = 0.0
        """When the next frame should begin."""

    @property
    def is_idle(self) -> bool:
        """Whether ticks in which nothing comes need not be pushed."""
        return not self._frames and not self._before

    def push(self, samples: Samples | None, *, has_voice: bool, now_seconds: float) -> Cut:
        """Take the 20 ms that began at `now_seconds`, 480 samples at 24 kHz; None when nothing came."""
        if not self._frames:
            return (
                self._wait(samples, now_seconds)
                if not has_voice or samples is None
                else self._begin(samples, now_seconds)
            )
        missed = max(0, round((now_seconds - self._next_seconds) / FRAME_SECONDS))
        if missed >= HANGOVER_FRAMES:
            ends = self.finish()
            self._wait(samples, now_seconds)
            return ends
        sound = (*[SILENT_FRAME] * missed, SILENT_FRAME if samples is None else samples)
        self._next_seconds = now_seconds + FRAME_SECONDS
        self._frames += len(sound)
        self._silent_frames = 0 if has_voice else self._silent_frames + len(sound)
        hangover_frames = HANGOVER_FRAMES if self._frames < LONG_FRAMES else SHORT_HANGOVER_FRAMES
        is_over = self._silent_frames >= hangover_frames or self._frames >= LONGEST_FRAMES
        return Cut(sound=sound, ends_seconds=self._end() if is_over else None)

    def finish(self) -> Cut:
        """There is no more to come for now: end the utterance, if one is under way."""
        self._before.clear()
        return Cut(ends_seconds=self._end()) if self._frames else NOTHING

    def _wait(self, samples: Samples | None, now_seconds: float) -> Cut:
        """Keep a frame, in case that speech begins soon."""
        if samples is None:
            self._before.clear()
        else:
            self._before.append(samples)
        self._next_seconds = now_seconds + FRAME_SECONDS
        return NOTHING

    def _begin(self, samples: Samples, now_seconds: float) -> Cut:
        if now_seconds - self._next_seconds > FRAME_SECONDS / 2:
            self._before.clear()  # it does not lie directly before
        sound = (*self._before, samples)
        self._before.clear()
        sound_seconds = now_seconds - (len(sound) - 1) * FRAME_SECONDS
        self._frames, self._silent_frames = len(sound), 0
        self._next_seconds = now_seconds + FRAME_SECONDS
        return Cut(Beginning(max(sound_seconds, now_seconds - ONSET_SECONDS), sound_seconds), sound)

    def _end(self) -> float:
        ends_seconds = self._next_seconds - self._silent_frames * FRAME_SECONDS
        self._frames = self._silent_frames = 0
        return ends_seconds
