"""When a room in which nobody says anything is left."""

from math import inf

from plexbridge.people.discord.idleness import Idleness, Step

TEN_MINUTES = 600.0


def steps(core: Idleness, until_seconds: float, *, spoke_seconds: float = -inf) -> dict[Step, float]:
    """Look every half second from 0 on; return when something was first due."""
    due: dict[Step, float] = {}
    now_seconds = 0.0
    while now_seconds <= until_seconds and Step.LEAVE not in due:
        due.setdefault(core.observe(spoke_seconds, now_seconds, is_listening=True), now_seconds)
        now_seconds += 0.5
    return due


def test_a_minute_before_the_end_people_are_told_and_then_it_is_over() -> None:
    assert steps(Idleness(TEN_MINUTES), 1_000.0) == {Step.WAIT: 0.0, Step.WARN: 540.0, Step.LEAVE: 600.0}


def test_people_read_how_long_it_was_silent_and_how_long_they_have() -> None:
    core = Idleness(TEN_MINUTES)

    assert core.warning == ("Nobody has said anything for 9 minutes; I'll leave in a minute unless somebody talks.")
    assert core.farewell == "Nobody has said anything for 10 minutes, so I leave. With /join I come again."
    assert Idleness(120.0).warning.startswith("Nobody has said anything for 1 minute; I'll leave in a minute ")
    assert Idleness(60.0).warning.startswith("Nobody has said anything for 30 seconds; I'll leave in 30 seconds ")


def test_who_says_something_begins_it_anew_also_after_the_warning() -> None:
    core = Idleness(TEN_MINUTES)
    core.observe(-inf, 0.0, is_listening=True)
    assert core.observe(-inf, 590.0, is_listening=True) is Step.WARN

    assert core.observe(591.0, 591.0, is_listening=True) is Step.WAIT
    assert core.observe(591.0, 591.0 + 539.0, is_listening=True) is Step.WAIT
    assert core.observe(591.0, 591.0 + 540.0, is_listening=True) is Step.WARN
    assert core.observe(591.0, 591.0 + 600.0, is_listening=True) is Step.LEAVE


def test_the_warning_comes_once() -> None:
    core = Idleness(TEN_MINUTES)
    core.observe(-inf, 0.0, is_listening=True)

    assert [core.observe(-inf, at, is_listening=True) for at in (540.0, 540.5, 599.5)] == [
        Step.WARN,
        Step.WAIT,
        Step.WAIT,
    ]


def test_time_in_which_nobody_could_be_heard_does_not_count() -> None:
    core = Idleness(TEN_MINUTES)
    core.observe(-inf, 0.0, is_listening=True)

    assert core.observe(-inf, 300.0, is_listening=True) is Step.WAIT
    assert core.observe(-inf, 5_000.0, is_listening=False) is Step.WAIT
    assert core.observe(-inf, 5_239.5, is_listening=True) is Step.WAIT
    assert core.observe(-inf, 5_240.0, is_listening=True) is Step.WARN


def test_without_a_limit_nothing_is_ever_due() -> None:
    core = Idleness(inf)

    assert {core.observe(-inf, day * 86_400.0, is_listening=True) for day in range(100)} == {Step.WAIT}
