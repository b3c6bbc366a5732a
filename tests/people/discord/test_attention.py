"""Who of several people is listened to."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plexbridge.errors import RequestError
from plexbridge.people.discord.attention import FLOOR_SECONDS, Attention, Button, Mode, parse_mode

ADA, BOB, CAL = 100, 101, 102
NOBODY: frozenset[int] = frozenset()


def only(user_id: int) -> frozenset[int]:
    return frozenset((user_id,))


def attention(mode: Mode, *humans: int, starter: int = ADA) -> Attention:
    core = Attention(mode, starter)
    core.set_humans(frozenset(humans), 0.0)
    return core


def test_everyone_is_listened_to_whoever_comes_and_goes() -> None:
    core = attention(Mode.EVERYONE, ADA, BOB)

    assert core.attended is None
    assert core.sentence == "I listen to everyone."
    assert core.holder_id is None


def test_who_is_alone_has_the_floor_and_keeps_it_when_others_come() -> None:
    core = attention(Mode.FLOOR, ADA)
    assert core.attended == only(ADA)
    assert core.is_company is False

    core.set_humans(frozenset((ADA, BOB)), 1.0)

    assert core.attended == only(ADA)
    assert core.is_company is True
    assert core.sentence == f"I listen to who has the floor: <@{ADA}>."


def test_the_floor_of_several_is_free_until_somebody_takes_it_and_goes_to_who_takes_it() -> None:
    core = attention(Mode.FLOOR, ADA, BOB, CAL)
    assert core.attended == NOBODY
    assert core.sentence == 'I listen to who has the floor. It is free: press "Take the floor", and talk.'

    core.take(BOB, 1.0)
    assert core.attended == only(BOB)
    core.take(CAL, 2.0)

    assert core.attended == only(CAL)
    assert core.holder_id == CAL


def test_only_who_has_the_floor_can_give_it_up() -> None:
    core = attention(Mode.FLOOR, ADA, BOB)
    core.take(BOB, 1.0)

    assert not core.give_up(ADA, 2.0)
    assert core.attended == only(BOB)
    assert core.give_up(BOB, 3.0)
    assert core.attended == NOBODY
    assert not core.give_up(BOB, 4.0)


def test_who_is_alone_can_not_give_the_floor_away() -> None:
    core = attention(Mode.FLOOR, ADA)

    assert core.give_up(ADA, 1.0)

    assert core.attended == only(ADA)


def test_the_floor_is_free_when_its_holder_leaves_and_belongs_to_who_is_left_alone() -> None:
    core = attention(Mode.FLOOR, ADA, BOB, CAL)
    core.take(BOB, 1.0)

    core.set_humans(frozenset((ADA, CAL)), 2.0)
    assert core.attended == NOBODY
    core.set_humans(frozenset((CAL,)), 3.0)

    assert core.attended == only(CAL)


def test_who_asks_for_the_floor_and_is_not_there_does_not_get_it() -> None:
    core = attention(Mode.FLOOR, ADA, BOB)

    core.take(CAL, 1.0)

    assert core.attended == NOBODY


def test_the_floor_is_free_when_its_holder_is_silent_for_long_among_others() -> None:
    core = attention(Mode.FLOOR, ADA, BOB)
    core.take(BOB, 10.0)
    end_seconds = 10.0 + FLOOR_SECONDS

    assert not core.observe({}, end_seconds - 0.1, is_listening=True), "it is counted from when it was taken"
    assert not core.observe({BOB: 12.0}, end_seconds, is_listening=True)
    assert not core.observe({BOB: 12.0, ADA: 40.0}, end_seconds + 1.9, is_listening=True)
    assert core.observe({BOB: 12.0, ADA: 42.0}, end_seconds + 2.0, is_listening=True)

    assert core.attended == NOBODY
    assert not core.observe({}, 1e9, is_listening=True), "it is free already"


def test_silence_does_not_count_alone_and_while_nobody_could_be_heard() -> None:
    core = attention(Mode.FLOOR, ADA)
    assert not core.observe({}, 1_000.0, is_listening=True)
    core.set_humans(frozenset((ADA, BOB)), 1_000.0)
    assert not core.observe({}, 2_000.0, is_listening=False)

    assert not core.observe({}, 2_000.0 + FLOOR_SECONDS - 0.1, is_listening=True)
    assert core.observe({}, 2_000.0 + FLOOR_SECONDS, is_listening=True)


@pytest.mark.parametrize("mode", [Mode.EVERYONE, Mode.ONE])
def test_without_a_floor_silence_frees_nothing(mode: Mode) -> None:
    core = attention(mode, ADA, BOB)

    assert not core.observe({ADA: -inf}, 1e9, is_listening=True)


def test_the_one_who_started_is_listened_to_and_then_who_has_been_there_longest() -> None:
    core = attention(Mode.ONE, ADA, CAL, starter=CAL)
    assert core.attended == only(CAL)
    assert core.sentence == f"I listen to one person: <@{CAL}>, who started this conversation."

    core.set_humans(frozenset((ADA, BOB, CAL)), 1.0)
    core.set_humans(frozenset((ADA, BOB)), 2.0)
    assert core.attended == only(ADA)
    assert core.sentence == f"I listen to one person: <@{ADA}>."
    core.set_humans(frozenset((ADA, BOB, CAL)), 3.0)
    assert core.attended == only(ADA), "who comes back gets nothing back"
    core.set_humans(frozenset((BOB, CAL)), 4.0)

    assert core.attended == only(BOB), "he has been there longer"


def test_of_those_who_came_at_the_same_time_the_lower_id_is_first() -> None:
    core = attention(Mode.ONE, ADA)
    core.set_humans(frozenset((ADA, CAL, BOB)), 1.0)

    core.set_humans(frozenset((CAL, BOB)), 2.0)

    assert core.attended == only(BOB)


def test_a_starter_who_is_not_to_be_heard_has_a_substitute() -> None:
    assert attention(Mode.ONE, BOB, CAL, starter=ADA).attended == only(BOB)


def test_a_change_of_mode_holds_at_once_and_the_floor_is_free_then() -> None:
    core = attention(Mode.FLOOR, ADA, BOB)
    core.take(BOB, 1.0)

    core.set_mode(Mode.FLOOR, 2.0)
    assert core.attended == only(BOB), "it was no change"
    core.set_mode(Mode.EVERYONE, 3.0)
    assert core.attended is None
    core.set_mode(Mode.ONE, 4.0)
    assert core.attended == only(ADA)
    core.set_mode(Mode.FLOOR, 5.0)

    assert core.attended == NOBODY


PEOPLE = st.sampled_from((ADA, BOB, CAL))


@given(
    mode=st.sampled_from(Mode),
    starter=PEOPLE,
    steps=st.lists(
        st.one_of(
            st.frozensets(PEOPLE),
            st.tuples(st.sampled_from(Button), PEOPLE),
            st.sampled_from(Mode),
            st.floats(0, 100),
        )
    ),
)
def test_whatever_happens_only_those_who_are_there_are_listened_to_and_alone_always(
    mode: Mode, starter: int, steps: list[frozenset[int] | tuple[Button, int] | Mode | float]
) -> None:
    core, humans, now_seconds = Attention(mode, starter), NOBODY, 0.0
    for step in steps:
        if isinstance(step, frozenset):
            humans = step
            core.set_humans(humans, now_seconds)
        elif isinstance(step, tuple):
            button, user_id = step
            if button is Button.TAKE:
                core.take(user_id, now_seconds)
            else:
                core.give_up(user_id, now_seconds)
        elif isinstance(step, Mode):
            core.set_mode(step, now_seconds)
        else:
            now_seconds += step
            core.observe({}, now_seconds, is_listening=True)
        attended = core.attended

        assert (attended is None) is (core.mode is Mode.EVERYONE)
        if attended is not None:
            assert attended <= humans
            assert len(attended) <= 1
            assert attended == humans or len(humans) != 1
            assert len(attended) == 1 or core.mode is Mode.FLOOR or not humans


@pytest.mark.parametrize(("text", "mode"), [("everyone", Mode.EVERYONE), (" FLOOR ", Mode.FLOOR), ("one", Mode.ONE)])
def test_a_mode_is_typed_by_its_name(text: str, mode: Mode) -> None:
    assert parse_mode(text) is mode


@pytest.mark.parametrize("text", ["", "all", "every one", "floor!"])
def test_any_other_mode_is_answered_with_those_that_there_are(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_mode(text)

    assert all(f"/attention {mode.value}" in caught.value.user_message for mode in Mode)
