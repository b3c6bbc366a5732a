"""How often something may happen: so many times a second on average, and for a while faster."""


class Pace:
    """A steady rate, with a burst of so many at once after a rest."""

    def __init__(self, *, per_second: float, burst: int) -> None:
        self._interval_seconds = 1.0 / per_second
        self._burst_seconds = burst / per_second
        self._paid_until_seconds = float("-inf")

    def take(self, count: int, now_seconds: float) -> float:
        """Note that something happens `count` times; return when the next may, on the same clock."""
        self._paid_until_seconds = max(self._paid_until_seconds, now_seconds - self._burst_seconds)
        self._paid_until_seconds += count * self._interval_seconds
        return self._paid_until_seconds
