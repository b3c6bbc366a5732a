"""What people type: prefix commands, and voices that are completed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plexbridge.errors import RequestError
from plexbridge.model.voices import VOICES, check_voice
from plexbridge.people.discord.asking import (
    CHOICE_LIMIT,
    Command,
    Request,
    parse_prefixed,
    parse_switch,
    parse_volume,
    person_id,
    user_id_of,
    voice_choices,
)

NAMES = {command.value for command in Command} | {"voice-list", "prompt"}


@pytest.mark.parametrize(
    ("content", "command", "text"),
    [
        ("!join", Command.JOIN, ""),
        ("!leave", Command.LEAVE, ""),
        ("!status", Command.STATUS, ""),
        ("!voices", Command.VOICES, ""),
        ("!voice-list", Command.VOICES, ""),
        ("!reset", Command.RESET, ""),
        ("!voice natf0", Command.VOICE, "natf0"),
        ("!voice", Command.VOICE, ""),
        ("!persona You are  a pirate.", Command.PERSONA, "You are  a pirate."),
        ("!prompt\nYou are\na pirate. ", Command.PERSONA, "You are\na pirate."),
        ("!VOICE natf0", Command.VOICE, "natf0"),
        ("!join ", Command.JOIN, ""),
        ("!attention floor", Command.ATTENTION, "floor"),
        ("!volume <@17> 50", Command.VOLUME, "<@17> 50"),
        ("!ignore-me on", Command.IGNORE_ME, "on"),
        ("!ignore-me", Command.IGNORE_ME, ""),
    ],
)
def test_a_message_that_begins_with_an_exclamation_mark_is_a_command(content: str, command: Command, text: str) -> None:
    assert parse_prefixed(content) == (command, text)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "!",
        "!!",
        "! join",
        "!play a song",
        "!voicenatf0",
        "!join!",
        "!leave me alone",
        "!status 1",
        "join",
        " !join",
        "well !join",
        "!\u212aick",
        "/join",
    ],
)
def test_any_other_message_is_none(content: str) -> None:
    assert parse_prefixed(content) is None


@given(st.text())
def test_no_message_breaks_the_parser_and_what_is_none_of_ours_stays_none(content: str) -> None:
    parsed = parse_prefixed(content)

    assert parsed is None or content[1:].split(maxsplit=1)[0].lower() in NAMES


@given(st.sampled_from(sorted(NAMES)), st.text(" \n\t", min_size=1), st.text())
def test_the_text_behind_a_command_arrives_whole_or_it_is_none(name: str, gap: str, text: str) -> None:
    parsed = parse_prefixed(f"!{name}{gap}{text}")

    if name in ("voice", "persona", "prompt", "attention", "volume", "ignore-me", "record"):
        assert parsed is not None
        assert parsed[1] == text.strip()
    else:
        assert (parsed is None) is bool(text.strip())


def test_everything_is_offered_before_anything_is_typed() -> None:
    choices = voice_choices("")

    assert [value for _, value in choices] == list(VOICES)
    assert choices[0] == ("NATF0 — natural female", "NATF0")


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("natf", ["NATF0", "NATF1", "NATF2", "NATF3"]),
        ("NATM2", ["NATM2"]),
        ("natural fem", ["NATF0", "NATF1", "NATF2", "NATF3"]),
        ("male varied", ["VARM0", "VARM1", "VARM2", "VARM3", "VARM4"]),
        ("f3", ["NATF3", "VARF3"]),
        ("female 3", ["NATF3", "VARF3"]),
        ("NATF0 — natural female", ["NATF0"]),
        ("natf0.pt", ["NATF0"]),
        ("myVoice.pt", ["myVoice.pt"]),
        ("NATF9", ["NATF3", "NATF2", "NATF1", "NATF0"]),
        ("../secret", []),
        ("qqqq", []),
    ],
)
def test_what_is_typed_is_completed_by_name_by_group_and_by_likeness(typed: str, values: list[str]) -> None:
    found = [value for _, value in voice_choices(typed)]

    assert found[: len(values)] == values
    assert bool(found) is bool(values)


def test_male_is_not_taken_for_a_part_of_female() -> None:
    assert {value[:4] for _, value in voice_choices("male")} == {"NATM", "VARM"}


def test_names_that_begin_as_typed_come_first() -> None:
    values = [value for _, value in voice_choices("var")]

    assert values[0] == "VARF0"
    assert all(value.startswith("VAR") for value in values)


def test_an_own_voice_is_offered_as_such() -> None:
    assert voice_choices("myvoice.pt") == [("myvoice.pt — an own voice", "myvoice.pt")]


@given(st.text())
def test_choices_fit_discords_limits_and_each_is_a_voice(typed: str) -> None:
    choices = voice_choices(typed)

    assert len(choices) <= CHOICE_LIMIT
    assert all(1 <= len(label) <= 100 and check_voice(value) == value for label, value in choices)


def test_people_have_one_name_for_their_settings_in_all_servers() -> None:
    assert person_id(123) == "discord:123"


def test_a_requests_text_is_not_in_its_repr() -> None:
    request = Request(Command.PERSONA, "a secret", 1, 2, voice_channel_id=3, may_move_members=False)

    assert "secret" not in repr(request)


def test_only_coming_and_going_is_seen_by_everybody() -> None:
    assert {command for command in Command if not command.is_private} == {Command.JOIN, Command.LEAVE}


@pytest.mark.parametrize(
    ("text", "user_id", "percent"),
    [("<@17> 50", 17, 50), ("<@!17> 200", 17, 200), ("<@17>0", 17, 0), ("<@17>  75 %", 17, 75)],
)
def test_a_volume_names_a_person_and_a_percentage(text: str, user_id: int, percent: int) -> None:
    assert parse_volume(text) == (user_id, percent)


@pytest.mark.parametrize(
    "text", ["", "50", "Ada 50", "<@17>", "<@17> 201", "<@17> -1", "<@17> 1000", "<@17> \u0665", "<@x> 5"]
)
def test_any_other_volume_is_answered_with_how_it_is_written(text: str) -> None:
    with pytest.raises(RequestError, match="as in /volume @Ada 50"):
        parse_volume(text)


def test_a_switch_is_on_or_off() -> None:
    assert parse_switch("on", "what?")
    assert not parse_switch(" OFF", "what?")
    for text in ("", "yes"):
        with pytest.raises(RequestError, match="what"):
            parse_switch(text, "what?")


@given(st.integers(1, 2**63 - 1))
def test_the_name_under_which_settings_are_kept_tells_whose_they_are(user_id: int) -> None:
    assert user_id_of(person_id(user_id)) == user_id
