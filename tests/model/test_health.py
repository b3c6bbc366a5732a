"""Health: which failures keep a model out of use, and for how long."""

from random import Random

import pytest

from plexbridge.errors import (
    DiscordLost,
    LinkError,
    ModelBusy,
    ModelLimit,
    ModelLost,
    ModelRefused,
    ModelSilent,
    ModelSlow,
    ModelUnreachable,
    ModelUntrusted,
    PlexbridgeError,
    RemoteProtocolError,
    RequestError,
    TurnOver,
)
from plexbridge.model.health import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    STEADY_SECONDS,
    Health,
    Trouble,
    trouble_of,
)

FAILURES = [
    (ModelUnreachable("refused"), Trouble.UNREACHABLE),
    (ModelUntrusted("unknown"), Trouble.UNTRUSTED),
    (ModelRefused("no such voice"), Trouble.REFUSED),
    (ModelBusy("taken"), Trouble.BUSY),
    (ModelSilent("nothing"), Trouble.SILENT),
    (ModelSlow("behind"), Trouble.SLOW),
    (ModelLost("1006"), Trouble.LOST),
    (RemoteProtocolError("early audio"), Trouble.GARBLED),
    (LinkError("new"), Trouble.FAILED),
]


@pytest.mark.parametrize(("failure", "trouble"), FAILURES)
def test_what_a_failure_says_of_the_model_has_words_of_its_own(failure: PlexbridgeError, trouble: Trouble) -> None:
    assert trouble_of(failure) is trouble
    assert str(failure) not in trouble.value


@pytest.mark.parametrize(
    "failure",
    [None, ModelLimit("300 s"), RequestError("No."), DiscordLost("gone"), TurnOver("over"), PlexbridgeError("a bug")],
)
def test_what_is_not_the_models_fault_is_not_held_against_it(failure: PlexbridgeError | None) -> None:
    assert trouble_of(failure) is None


def test_pauses_grow_to_a_minute_and_are_spread() -> None:
    health = Health(Random(1))
    pauses = [health.failed(Trouble.LOST, 100.0 * number) for number in range(12)]

    wholes = [min(FIRST_PAUSE_SECONDS * 2**number, LONGEST_PAUSE_SECONDS) for number in range(12)]
    assert all(whole / 2 <= pause <= whole for pause, whole in zip(pauses, wholes, strict=True))
    assert len({pause / whole for pause, whole in zip(pauses, wholes, strict=True)}) > 6
    assert health.ready_seconds == 1_100.0 + pauses[-1]
    assert health.trouble is Trouble.LOST


def test_a_call_that_stands_ends_the_cool_down() -> None:
    health = Health(Random(1))
    health.failed(Trouble.UNREACHABLE, 0.0)
    health.succeeded(5.0)

    assert health.trouble is None


def test_a_model_that_comes_and_goes_is_left_alone_for_longer_each_time_until_it_is_steady() -> None:
    health = Health(Random(1))
    for number in range(6):
        health.succeeded(100.0 * number)
        pause_seconds = health.failed(Trouble.LOST, 100.0 * number + STEADY_SECONDS - 1)
    assert pause_seconds >= 8

    health.succeeded(1_000.0)
    assert health.failed(Trouble.LOST, 1_000.0 + STEADY_SECONDS) <= FIRST_PAUSE_SECONDS


def test_refusals_do_not_make_the_pause_longer_as_one_person_can_bring_them_about() -> None:
    health = Health(Random(1))

    assert all(health.failed(Trouble.REFUSED, float(number)) <= FIRST_PAUSE_SECONDS for number in range(10))
