"""Retry: waits that grow, differ by chance, and end."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from plexbridge.session.retry import Retry


class Longest(Random):
    """No chance: always the whole wait."""

    def uniform(self, a: float, b: float) -> float:
        return b


def retry(random: Random, *, limit_seconds: float = 60.0) -> Retry:
    return Retry(random, first_seconds=0.5, longest_seconds=5.0, limit_seconds=limit_seconds)


def test_waits_grow_from_the_first_to_the_longest() -> None:
    core = retry(Longest())

    assert [core.failed(1000.0) for _ in range(7)] == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


def test_a_first_wait_above_the_longest_is_the_longest() -> None:
    assert Retry(Longest(), first_seconds=9.0, longest_seconds=5.0, limit_seconds=60.0).failed(0.0) == 5.0


def test_success_begins_anew_with_waits_and_limit() -> None:
    core = retry(Longest())
    for now_seconds in (0.0, 30.0, 59.0):
        core.failed(now_seconds)

    core.succeeded()

    assert core.failed(70.0) == 0.5
    assert core.failed(129.0) == 1.0
    assert core.failed(130.0) is None


def test_the_last_wait_ends_at_the_limit() -> None:
    core = retry(Longest())
    for _ in range(5):
        core.failed(0.0)

    assert core.failed(57.0) == 3.0
    assert core.failed(60.0) is None
    assert core.failed(61.0) is None


def test_the_waits_of_two_differ() -> None:
    one, other = retry(Random(1)), retry(Random(2))

    assert [one.failed(0.0) for _ in range(5)] != [other.failed(0.0) for _ in range(5)]


def test_waits_may_go_on_for_ever() -> None:
    core = retry(Longest(), limit_seconds=float("inf"))

    assert [core.failed(float(hour * 3600)) for hour in range(5000)][-1] == 5.0


@given(st.integers(), st.lists(st.floats(0, 20), max_size=60))
def test_each_wait_is_half_to_all_of_what_it_grows_to_and_none_passes_the_limit(
    seed: int, attempts_seconds: list[float]
) -> None:
    core = retry(Random(seed))
    whole_seconds, now_seconds = 0.5, 0.0

    for attempt_seconds in attempts_seconds:
        wait_seconds = core.failed(now_seconds)
        if wait_seconds is None:
            assert now_seconds >= 60
            break
        assert min(whole_seconds / 2, 60 - now_seconds) <= wait_seconds <= whole_seconds
        assert now_seconds + wait_seconds <= 60
        now_seconds += wait_seconds + attempt_seconds
        whole_seconds = min(2 * whole_seconds, 5.0)
    else:
        assert now_seconds <= 60 + 20
