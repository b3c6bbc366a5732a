"""The mixer: everybody's frames added up, as voices in a room are, and kept within full scale.

The sum is never divided by the number of speakers, so nobody grows quieter because somebody else is there. A limiter
without memory keeps it from clipping: what is below its threshold passes unchanged, and what is above is bent towards
full scale. Without memory, one frame never colours the next, and no delay is added.
"""

from collections.abc import Iterable

import numpy as np

from plexbridge.audio.pcm import Samples, silence

THRESHOLD = 0.8
"""-1.9 dBFS: above what speech peaks at, so that a single voice passes unchanged; two seldom come so far."""

_ROOM = 1.0 - THRESHOLD


def mix(frames: Iterable[Samples], count_samples: int) -> Samples:
    """Return the sum of `frames`, each of `count_samples`, within -1..1; silence when there are none.

    Each frame is clipped first, since a packet of random bytes that happens to be valid Opus can decode to a million
    times full scale: so it can't drown out the others.
    """
    spoken = list(frames)
    if len(spoken) == 1 and _is_below_threshold(spoken[0]):
        return spoken[0]
    total = silence(count_samples)
    for frame in spoken:
        total += frame.clip(-1, 1)
    return limited(total)


def limited(samples: Samples) -> Samples:
    """Return `samples` with what exceeds the threshold bent towards full scale.

    Over the threshold the curve is t + r·u / (r + u), where u is the excess and r the room above t: it leaves the
    threshold with slope 1, always rises, and comes near full scale only at infinity.
    """
    if _is_below_threshold(samples):
        return samples
    excess = np.abs(samples).astype(np.float64) - THRESHOLD  # in float32, rounding would let the curve fall in places
    is_over = excess > 0
    excess = excess[is_over]
    bent = samples.copy()
    bent[is_over] = np.copysign(THRESHOLD + _ROOM * excess / (_ROOM + excess), samples[is_over])
    return bent


def _is_below_threshold(samples: Samples) -> bool:
    return bool(samples.min() >= -THRESHOLD and samples.max() <= THRESHOLD)
