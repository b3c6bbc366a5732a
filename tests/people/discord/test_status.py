"""What /status says about a conversation."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plexbridge.model.conversation import State
from plexbridge.model.health import ModelStatus, Trouble
from plexbridge.model.standing import Standing
from plexbridge.people.discord.attention import Button
from plexbridge.people.discord.status import (
    MESSAGE_CHARS,
    MODEL_LINES,
    Encryption,
    Hearing,
    Listening,
    PersonStatus,
    RoomStatus,
    describe,
    describe_models,
    describe_nothing,
    hearing,
)
from plexbridge.people.discord.stream import SpeakerStatistics
from plexbridge.session.ledger import Delay

OWN = "Your voice: NATF0 (the default)"
QUICK = Delay(0.02, 0.0, 0.06)
STATUS = RoomStatus(
    channel_id=10,
    starter_id=100,
    seconds=125.0,
    people=(PersonStatus(100, Hearing.HEARD), PersonStatus(101, Hearing.QUIET), PersonStatus(102, Hearing.HEARD)),
    listening=Listening("I listen to everyone.", {}, ()),
    encryption=Encryption(1, is_ready=True, privacy_code="123456789012345678901234567890"),
    model="personaplex",
    model_state=State.LIVE,
    voice="NATF0",
    delay=QUICK,
    is_deaf=False,
)


def test_a_good_conversation_is_described_in_a_few_lines() -> None:
    assert describe(STATUS, OWN).splitlines() == [
        "In <#10> for 2 minutes; <@100> started it.",
        "Heard: <@100>, <@102>",
        "Has not said anything yet: <@101>",
        "I listen to everyone.",
        "The call is end-to-end encrypted; its voice privacy code: 12345 67890 12345 67890 12345 67890",
        "Speech model personaplex, with the voice NATF0: listening",
        "Delay: quick (80 ms)",
        OWN,
    ]


def test_how_soon_answers_begin_is_told_when_it_is_known() -> None:
    assert "Answers begin" not in describe(STATUS, OWN)

    lines = describe(replace(STATUS, answers=(0.62, 0.94)), OWN).splitlines()

    assert lines[-2] == "Answers begin after 0.6 s (95 of 100 within 0.9 s)"


@pytest.mark.parametrize(
    ("seconds", "lines"),
    [
        (0.0, []),
        (0.06, []),
        (0.3, ["Not heard while the connection to the model was renewed: 300 ms of what was said"]),
        (2.46, ["Not heard while the connection to the model was renewed: 2.5 s of what was said"]),
    ],
)
def test_what_was_said_in_vain_while_the_link_was_renewed_is_told(seconds: float, lines: list[str]) -> None:
    text = describe(replace(STATUS, unheard_seconds=seconds), OWN)

    assert text.splitlines()[7:-1] == lines


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 seconds"),
        (1.9, "1 second"),
        (59.9, "59 seconds"),
        (60.0, "1 minute"),
        (3_599.0, "59 minutes"),
        (3_600.0, "1 hour"),
        (7_260.0, "2 hours 1 minute"),
    ],
)
def test_its_length_is_told_as_people_say_it(seconds: float, shown: str) -> None:
    assert f" for {shown}; " in describe(replace(STATUS, seconds=seconds), OWN)


@pytest.mark.parametrize(
    ("encryption", "sentence"),
    [
        (None, "The voice connection does not stand at the moment; I am working on it."),
        (Encryption(0, is_ready=False, privacy_code=""), "The call is not end-to-end encrypted."),
        (Encryption(1, is_ready=False, privacy_code="1"), "End-to-end encryption is being set up."),
        (Encryption(1, is_ready=True, privacy_code=""), "The call is end-to-end encrypted."),
        (
            Encryption(1, is_ready=True, privacy_code="1234567"),
            "The call is end-to-end encrypted; its voice privacy code: 12345 67",
        ),
    ],
)
def test_the_state_of_the_encryption_is_told(encryption: Encryption | None, sentence: str) -> None:
    assert sentence in describe(replace(STATUS, encryption=encryption), OWN).splitlines()


@pytest.mark.parametrize("state", State)
def test_every_state_of_the_model_has_words_of_its_own(state: State) -> None:
    others = [replace(STATUS, model_state=other) for other in State if other is not state]

    assert describe(replace(STATUS, model_state=state), OWN) not in [describe(other, OWN) for other in others]


def test_a_model_that_is_away_is_said_to_be_looked_for() -> None:
    text = describe(replace(STATUS, model_state=None, delay=None), OWN)

    assert "Speech model personaplex: not there at the moment; I am working on it." in text.splitlines()
    assert "Delay" not in text


@pytest.mark.parametrize(
    ("delay", "line"),
    [
        (Delay(0.1, 0.1, 0.05), "Delay: quick (250 ms)"),
        (Delay(0.02, 0.5, 0.08), "Delay: noticeable, 600 ms (500 ms in the model)"),
        (
            Delay(0.12, 1.2, 0.1),
            "Delay: slow, 1.4 s (120 ms on the way to the model, 1.2 s in the model, 100 ms on the way back)",
        ),
        (Delay(0.0, 0.9996, 0.0), "Delay: noticeable, 1.0 s (1.0 s in the model)"),
        (Delay(0.09, 0.09, 0.09), "Delay: noticeable, 270 ms"),
    ],
)
def test_a_delay_is_explained_by_the_parts_that_matter(delay: Delay, line: str) -> None:
    assert line in describe(replace(STATUS, delay=delay), OWN).splitlines()


def test_a_bot_that_is_deaf_says_so() -> None:
    assert "and I can't hear them" in describe(replace(STATUS, is_deaf=True), OWN)


def test_a_models_name_draws_nothing_and_calls_nobody() -> None:
    assert "\\*\\*x\\*\\* @\u200bhere" in describe(replace(STATUS, model="**x** @here"), OWN)


def test_without_a_conversation_the_way_to_one_is_named() -> None:
    text = describe_nothing("my_model", OWN)

    assert text.endswith(f"/join to talk with the speech model my\\_model.\n{OWN}")


@pytest.mark.parametrize(
    ("statistics", "expected"),
    [
        (None, Hearing.QUIET),
        (SpeakerStatistics(), Hearing.QUIET),
        (SpeakerStatistics(received=5, silence=5), Hearing.QUIET),
        (SpeakerStatistics(received=3, silence=5), Hearing.QUIET),
        (SpeakerStatistics(received=50, silence=5), Hearing.HEARD),
        (SpeakerStatistics(received=100, undecryptable=50), Hearing.HEARD),
        (SpeakerStatistics(received=100, undecryptable=51), Hearing.ENCRYPTED),
        (SpeakerStatistics(received=100, silence=20, duplicate=10, unencrypted=60), Hearing.UNENCRYPTED),
        (SpeakerStatistics(received=10, not_ready=10), Hearing.PENDING),
        (SpeakerStatistics(received=10, corrupt=9), Hearing.DAMAGED),
        (SpeakerStatistics(received=10, corrupt=3, not_ready=4, undecryptable=3), Hearing.PENDING),
    ],
)
def test_whether_somebody_is_heard_follows_from_their_packets(
    statistics: SpeakerStatistics | None, expected: Hearing
) -> None:
    assert hearing(statistics, is_muted=False, is_deaf=False) is expected
    assert hearing(statistics, is_muted=True, is_deaf=False) is Hearing.MUTED
    of_the_deaf = hearing(statistics, is_muted=False, is_deaf=True)
    assert of_the_deaf is (Hearing.UNHEARD if expected is Hearing.QUIET else expected)


FREE = ModelStatus("small", 0, 1, None, 0.0)
TAKEN = replace(FREE, taken=1)
AWAY = ModelStatus("big", 0, 1, Trouble.UNREACHABLE, 20.4)


def test_of_a_single_model_that_works_nothing_is_said_beside_the_conversation() -> None:
    assert describe(replace(STATUS, models=(TAKEN,)), OWN) == describe(STATUS, OWN)


def test_each_of_several_models_is_told_with_why_it_is_not_used() -> None:
    wide = ModelStatus("wide", 2, 3, None, 0.0)
    lines = describe(replace(STATUS, models=(FREE, TAKEN, wide)), OWN).splitlines()

    assert lines[-4:] == ["Model small: free", "Model small: taken", "Model wide: 2 of 3 places taken", OWN]
    (line,) = describe_models((AWAY,))
    assert line == "Model big: out of order, because it can't be reached; not tried again for 20 seconds"
    assert describe_models((replace(AWAY, pause_seconds=0.3),)) == [
        "Model big: out of order, because it can't be reached"
    ]
    assert describe_models((replace(AWAY, taken=1),)) == ["Model big: out of order, because it can't be reached"]
    assert describe_models([FREE] * (MODEL_LINES + 2))[-1] == "and 2 more"
    assert "Model big: out of order" in describe_nothing("big", OWN, (AWAY,))


def test_models_are_left_out_where_there_is_no_room_for_them() -> None:
    status = replace(STATUS, models=(AWAY,) * 3)
    own = "x" * (MESSAGE_CHARS - len(describe(STATUS, "")))

    assert describe(status, own) == describe(STATUS, own)


def test_who_waits_for_a_model_reads_the_place_in_the_queue() -> None:
    waiting = replace(STATUS, standing=Standing(2, 170.0), models=(TAKEN, TAKEN), encryption=None, model="")

    assert describe(waiting, OWN).splitlines() == [
        "Waiting for 2 minutes to come to <#10>; <@100> wants it.",
        "All models are taken. You are 2nd in the queue, about 3 minutes.",
        "Model small: taken",
        "Model small: taken",
        OWN,
    ]


def crowd(count: int, *hearings: Hearing) -> tuple[PersonStatus, ...]:
    return tuple(PersonStatus(10**18 + each, hearings[each % len(hearings)]) for each in range(count))


def test_of_99_people_as_many_are_named_as_a_message_holds() -> None:
    text = describe(replace(STATUS, people=crowd(99, Hearing.HEARD)), OWN)

    counted = re.search(r"and (\d+) others", text)
    assert counted is not None
    assert text.count("<@1000") + int(counted[1]) == 99
    assert MESSAGE_CHARS - 30 < len(text) <= MESSAGE_CHARS


def test_a_single_one_who_has_no_place_is_one_other() -> None:
    status = replace(STATUS, people=crowd(2, Hearing.HEARD))
    own = "x" * (MESSAGE_CHARS + 1 - len(describe(status, "")))

    assert f"Heard: <@{10**18}> and 1 other" in describe(status, own).splitlines()


@pytest.mark.parametrize(("count", "shown"), [(1, "Heard: 1 person"), (2, "Heard: 2 people")])
def test_where_nobody_can_be_named_people_are_counted(count: int, shown: str) -> None:
    line_chars = len(describe(replace(STATUS, people=()), "")) + len(shown) + 1
    own = "x" * (MESSAGE_CHARS - line_chars)

    text = describe(replace(STATUS, people=crowd(count, Hearing.HEARD)), own)

    assert shown in text.splitlines()
    assert len(text) == MESSAGE_CHARS


@given(
    people=st.lists(st.builds(PersonStatus, st.integers(1, 2**63 - 1), st.sampled_from(Hearing)), max_size=99),
    seconds=st.floats(0, 1e7),
    parts=st.tuples(*[st.floats(0, 1e5)] * 3),
    model=st.text(st.characters(codec="utf-8"), min_size=1, max_size=64),
    state=st.sampled_from([None, *State]),
    code=st.text("0123456789", max_size=30),
    percent=st.integers(0, 200),
    is_deaf=st.booleans(),
    models=st.lists(
        st.builds(
            ModelStatus,
            st.text(st.characters(codec="utf-8"), min_size=1, max_size=64),
            st.integers(0, 64),
            st.integers(1, 64),
            st.sampled_from([None, *Trouble]),
            st.floats(0, 60),
        ),
        max_size=9,
    ),
    standing=st.none() | st.builds(Standing, st.integers(1, 10**6), st.none() | st.floats(0, 1e7)),
)
def test_a_status_always_fits_into_a_message(
    people: list[PersonStatus],
    seconds: float,
    parts: tuple[float, float, float],
    model: str,
    state: State | None,
    code: str,
    percent: int,
    is_deaf: bool,
    models: list[ModelStatus],
    standing: Standing | None,
) -> None:
    status = RoomStatus(
        channel_id=2**63 - 1,
        starter_id=2**63 - 1,
        seconds=seconds,
        people=tuple(people),
        listening=Listening(
            f"I listen to who has the floor: <@{2**63 - 1}>.",
            dict.fromkeys((each.user_id for each in people), percent),
            (),
        ),
        encryption=Encryption(1, is_ready=True, privacy_code=code),
        model=model,
        model_state=state,
        voice="NATF0",
        delay=Delay(*parts),
        is_deaf=is_deaf,
        models=tuple(models),
        standing=standing,
    )

    text = describe(status, OWN)

    assert len(text) <= MESSAGE_CHARS
    assert text.endswith(OWN)


def test_whom_the_model_listens_to_whose_volume_is_unusual_and_who_is_not_heard_is_told() -> None:
    listening = Listening("I listen to who has the floor: <@100>.", {100: 50, 102: 0, 7: 120}, (Button.TAKE,))
    people = (*STATUS.people, PersonStatus(103, Hearing.IGNORED))

    lines = describe(replace(STATUS, listening=listening, people=people), OWN).splitlines()

    assert lines[1:6] == [
        "Heard: <@100>, <@102>",
        "Has not said anything yet: <@101>",
        "Asked not to be heard: <@103>",
        "I listen to who has the floor: <@100>.",
        "Volume: <@100> 50 %, <@102> 0 %",
    ], "7 is not there"
