"""How loud both sides of a conversation are, as its page is told a few times a second: the power of what has passed.

A pure core.
"""

import numpy as np

from plexbridge.audio.pcm import Samples, power_dbfs
from plexbridge.people.web.messages import level_message

LEVEL_SECONDS = 0.25


class _Power:
    def __init__(self) -> None:
        self._sum = 0.0
        self._count = 0

    def add(self, samples: Samples) -> None:
        self._sum += float(np.dot(samples, samples))
        self._count += samples.size

    def take_dbfs(self) -> float:
        """Return the level of all that was added, and begin anew."""
        power = self._sum / self._count if self._count else 0.0
        self._sum, self._count = 0.0, 0
        return power_dbfs(power)


class Levels:
    """Collects what is heard and played between two reports."""

    def __init__(self) -> None:
        self._heard = _Power()
        self._played = _Power()
        self._due_seconds: float | None = None

    def heard(self, samples: Samples) -> None:
        """Take what has come from the page."""
        self._heard.add(samples)

    def played(self, samples: Samples) -> None:
        """Take what has gone to it."""
        self._played.add(samples)

    def report(self, now_seconds: float) -> str | None:
        """Return the message for the page when it is time for one; asked whenever sound has passed."""
        if self._due_seconds is None or now_seconds - self._due_seconds > LEVEL_SECONDS:
            self._due_seconds = now_seconds  # the first sound, or the first after a pause
        if now_seconds < self._due_seconds:
            return None
        self._due_seconds += LEVEL_SECONDS
        return level_message(heard_dbfs=self._heard.take_dbfs(), played_dbfs=self._played.take_dbfs())
