"""Muteness: a bot that stays unable to speak is noticed, and not for ever."""

from plexbridge.people.discord.muteness import MUTE_SECONDS, RENEWAL_LIMIT, Muteness


def renewals(muteness: Muteness, *, can_send: bool, is_connected: bool, seconds: float, start: float = 0.0) -> int:
    """Return how often a new connection is asked for in this time, looked at twice a second."""
    times = [start + number / 2 for number in range(int(seconds * 2) + 1)]
    return sum(muteness.observe(is_connected=is_connected, can_send=can_send, now_seconds=now) for now in times)


def test_who_can_speak_is_left_alone() -> None:
    assert renewals(Muteness(), can_send=True, is_connected=True, seconds=100) == 0


def test_an_exchange_of_keys_may_take_its_time() -> None:
    muteness = Muteness()

    assert renewals(muteness, can_send=False, is_connected=True, seconds=MUTE_SECONDS - 0.5) == 0
    assert renewals(muteness, can_send=True, is_connected=True, seconds=1, start=5) == 0
    assert renewals(muteness, can_send=False, is_connected=True, seconds=MUTE_SECONDS - 0.5, start=7) == 0


def test_who_stays_mute_gets_another_connection() -> None:
    assert renewals(Muteness(), can_send=False, is_connected=True, seconds=MUTE_SECONDS) == 1


def test_between_two_connections_nobody_is_mute() -> None:
    assert renewals(Muteness(), can_send=False, is_connected=False, seconds=100) == 0


def test_what_does_not_help_is_given_up_until_it_can_speak_again() -> None:
    muteness = Muteness()

    assert renewals(muteness, can_send=False, is_connected=True, seconds=1000) == RENEWAL_LIMIT
    assert renewals(muteness, can_send=True, is_connected=True, seconds=1, start=1001) == 0
    assert renewals(muteness, can_send=False, is_connected=True, seconds=1000, start=1003) == RENEWAL_LIMIT
