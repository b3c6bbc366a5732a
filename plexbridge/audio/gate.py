"""The noise gate in front of the mix: what somebody sends and is no speech, such as typing, is not passed on.

Whether a sound is speech is known 40 to 60 ms after it began, and a gate that waits for that delays everything, or
cuts words. Both are too much in a conversation, so this one trusts before it knows: it is open when somebody begins to
send, and closes when `TRUST_FRAMES` went by without speech. Who has sent nothing but noise the last time is trusted
for `DISTRUST_FRAMES`, which is still longer than the detector needs, so that no word's beginning is lost. Speech opens
it, and it stays open over the detector's hangover.
"""

import numpy as np

from plexbridge.audio.pcm import FRAMES_PER_SECOND, MODEL_RATE_HZ, Samples, silence

TRUST_FRAMES = 15
"""300 ms."""
DISTRUST_FRAMES = 5
"""100 ms."""
SPURT_FRAMES = FRAMES_PER_SECOND // 5
"""Who has sent nothing for 200 ms begins anew."""

FADE_SAMPLES = MODEL_RATE_HZ // 200
"""5 ms: too short to hear, long enough not to click."""


class NoiseGate:
    """Told of every frame whether its sender is speaking, says whether it may pass."""

    def __init__(self) -> None:
        self._trusted_frames = TRUST_FRAMES
        self._missing_frames = 0
        self._has_spoken = False

    @property
    def is_idle(self) -> bool:
        """Whether `pause` has nothing more to do."""
        return self._missing_frames >= SPURT_FRAMES

    def pause(self) -> None:
        """Nothing has come in this tick."""
        self._missing_frames += 1
        if self._missing_frames == SPURT_FRAMES:
            self._trusted_frames = TRUST_FRAMES if self._has_spoken else DISTRUST_FRAMES
            self._has_spoken = False

    def passes(self, *, is_speaking: bool) -> bool:
        """Take a frame of somebody who is speaking, or is not; say whether it goes into the mix."""
        self._missing_frames = 0
        if is_speaking:
            self._has_spoken = True
            self._trusted_frames = 0
        elif self._trusted_frames:
            self._trusted_frames -= 1
            return True
        return is_speaking


def faded(samples: Samples, before: float, now: float) -> Samples:
    """Return a frame at the gain `now`, which it reaches in 5 ms from the gain of the frame before."""
    if before == now:
        return samples if now == 1 else silence(samples.size) if now == 0 else samples * np.float32(now)
    result = samples * np.float32(now)
    slope = np.linspace(before, now, FADE_SAMPLES, endpoint=False, dtype=np.float32)
    result[:FADE_SAMPLES] = samples[:FADE_SAMPLES] * slope
    return result
