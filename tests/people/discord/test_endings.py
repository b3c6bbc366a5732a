"""Endings: which close of a voice connection was meant, and which is made good."""

import pytest

from plexbridge.people.discord.endings import FAREWELLS, Cause, Ending, closed

FINAL = (4014, 4021, 4022)


@pytest.mark.parametrize("code", FINAL)
def test_what_discord_means_as_a_goodbye_is_for_good(code: int) -> None:
    ending = closed(code, is_orphaned=False)

    assert ending.cause is Cause.DISMISSED
    assert ending.farewell == FAREWELLS[Cause.DISMISSED]
    assert str(code) in str(ending)


@pytest.mark.parametrize("code", FINAL)
def test_the_same_goodbye_is_made_good_when_the_session_on_the_main_gateway_is_gone(code: int) -> None:
    ending = closed(code, is_orphaned=True)

    assert ending.cause is Cause.ORPHANED
    assert ending.farewell is None


@pytest.mark.parametrize("code", [1000, 1001, 1006, *range(4001, 4007), 4009, 4011, 4012, 4015, 4016, 4017, 4020])
@pytest.mark.parametrize("is_orphaned", [False, True])
def test_every_other_close_code_is_made_good(code: int, is_orphaned: bool) -> None:
    ending = closed(code, is_orphaned=is_orphaned)

    assert ending.cause is Cause.BROKEN
    assert ending.farewell is None


def test_only_what_somebody_wanted_has_a_farewell() -> None:
    farewells = {cause for cause in Cause if Ending(cause).farewell is not None}

    assert farewells == {Cause.THROWN_OUT, Cause.DISMISSED}


def test_an_ending_without_detail_is_its_cause() -> None:
    assert str(Ending(Cause.ORPHANED)) == Cause.ORPHANED.value
