"""`Pace`: a steady rate, and a burst after a rest."""

from plexbridge.people.web.pace import Pace


def moments(pace: Pace, times: int, now_seconds: float) -> list[float]:
    """Return when each of `times` things happens that wait for their turn."""
    happened = []
    for _ in range(times):
        happened.append(now_seconds)
        now_seconds = max(now_seconds, pace.take(1, now_seconds))
    return happened


def test_a_burst_passes_at_once_and_what_follows_at_the_rate() -> None:
    assert moments(Pace(per_second=4, burst=3), 7, 100.0) == [100, 100, 100, 100, 100.25, 100.5, 100.75]


def test_many_at_once_are_waited_for_together() -> None:
    assert Pace(per_second=4, burst=3).take(11, 100.0) == 102.0


def test_a_rest_gives_a_burst_back_and_no_more() -> None:
    pace = Pace(per_second=4, burst=3)
    pace.take(50, 100.0)

    assert moments(pace, 5, 200.0) == [200, 200, 200, 200, 200.25]


def test_at_the_rate_nothing_ever_waits() -> None:
    pace = Pace(per_second=4, burst=3)

    assert all(pace.take(1, now) <= now for now in (0.25 * tick for tick in range(1000)))
