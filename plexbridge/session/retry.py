"""How long to wait before the next attempt: growing, jittered waits, and an end to them.

A pure core. Each failure in a row is followed by a wait twice as long as the one before, up to the longest. What is
really waited lies by chance between half of that and the whole, so that many who lost the same server do not return to
it all at once.
"""

from random import Random


class Retry:
    """The waits of one thing that is tried again and again; times are seconds on any one monotonic scale."""

    def __init__(
        self,
        random: Random,
        *,
        first_seconds: float,
        longest_seconds: float,
        limit_seconds: float,
    ) -> None:
        """`limit_seconds` is how long after the first failure the last attempt may begin."""
        self._random = random
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._limit_seconds = limit_seconds
        self.succeeded()

    def succeeded(self) -> None:
        """The thing works: the next failure is a first one again."""
        self._failed_seconds: float | None = None
        self._next_seconds = min(self._first_seconds, self._longest_seconds)

    def failed(self, now_seconds: float) -> float | None:
        """Return how long to wait before the next attempt; None when the limit is reached.

        The last wait is cut so that it ends at the limit.
        """
        if self._failed_seconds is None:
            self._failed_seconds = now_seconds
        left_seconds = self._failed_seconds + self._limit_seconds - now_seconds
        if left_seconds <= 0:
            return None
        wait_seconds = self._next_seconds * self._random.uniform(0.5, 1.0)
        self._next_seconds = min(2 * self._next_seconds, self._longest_seconds)
        return min(wait_seconds, left_seconds)
