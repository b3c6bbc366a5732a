"""Attendance: who is where, and what follows."""

from collections.abc import Mapping

import pytest

from plexbridge.errors import RequestError
from plexbridge.people.discord.attendance import Action, Attendance, Busy, Hear, Move, Presence, Start, Stop

GUILD, OTHER_GUILD = 1, 2
ROOM, NEXT_ROOM, FAR_ROOM = 10, 11, 20
GUILDS = {ROOM: GUILD, NEXT_ROOM: GUILD, FAR_ROOM: OTHER_GUILD}
ADA, BOB = 100, 101
NOWHERE: Mapping[int, int] = {}
"""The bot's places as long as nobody moves it."""


def attendance(*, auto_join: bool = True, guilds: tuple[int, ...] = (), channels: tuple[int, ...] = ()) -> Attendance:
    return Attendance(auto_join=auto_join, guilds=frozenset(guilds), channels=frozenset(channels))


def people(**where: set[int]) -> Mapping[int, Presence]:
    channels = {"room": ROOM, "next_room": NEXT_ROOM, "far_room": FAR_ROOM}
    return {
        channels[name]: Presence(GUILDS[channels[name]], frozenset(humans)) for name, humans in where.items() if humans
    }


def start(channel: int, *humans: int, starter: int | None = None) -> Action:
    return Start(GUILDS[channel], channel, frozenset(humans), starter or humans[0])


def test_a_conversation_starts_with_the_first_human_and_stops_with_the_last() -> None:
    core = attendance()

    assert core.changed(people(room={ADA}), NOWHERE) == [start(ROOM, ADA)]
    assert core.changed(people(room={ADA, BOB}), NOWHERE) == [Hear(GUILD, frozenset((ADA, BOB)))]
    assert core.changed(people(room={BOB}), NOWHERE) == [Hear(GUILD, frozenset((BOB,)))]
    assert core.changed(people(), NOWHERE) == [Stop(GUILD)]
    assert core.changed(people(), NOWHERE) == []
    assert core.ended(GUILD) == []
    assert core.changed(people(room={ADA}), NOWHERE) == [start(ROOM, ADA)]


def test_people_who_are_there_from_the_beginning_count_as_having_entered() -> None:
    assert attendance().changed(people(room={ADA, BOB}), NOWHERE) == [start(ROOM, ADA, BOB)]


def test_a_conversation_that_failed_is_not_tried_again_until_somebody_enters() -> None:
    core = attendance()
    core.changed(people(room={ADA}), NOWHERE)

    assert core.ended(GUILD) == []
    assert core.changed(people(room={ADA}), NOWHERE) == []
    assert core.changed(people(room={ADA, BOB}), NOWHERE) == [start(ROOM, ADA, BOB, starter=BOB)]


def test_another_channel_of_the_server_is_told_where_the_bot_is() -> None:
    core = attendance()
    core.changed(people(room={ADA}), NOWHERE)

    assert core.changed(people(room={ADA}, next_room={BOB}), NOWHERE) == [Busy(NEXT_ROOM, ROOM)]
    assert core.changed(people(room={ADA}, next_room={BOB}), NOWHERE) == [], "once for each entry"


def test_each_server_has_a_conversation_of_its_own() -> None:
    core = attendance()
    core.changed(people(room={ADA}), NOWHERE)

    assert core.changed(people(room={ADA}, far_room={BOB}), NOWHERE) == [start(FAR_ROOM, BOB)]
    assert core.changed(people(far_room={BOB}), NOWHERE) == [Stop(GUILD)]
    assert core.ended(GUILD) == []


def waiting() -> Attendance:
    """Ada's conversation waits for a model."""
    core = attendance()
    core.changed(people(room={ADA}), NOWHERE)
    core.waits(GUILD, is_waiting=True)
    return core


def test_a_conversation_that_waits_for_a_model_does_not_end_when_everybody_leaves() -> None:
    core = waiting()

    assert core.changed(people(), NOWHERE) == [Hear(GUILD, frozenset())]
    assert core.changed(people(room={ADA}), NOWHERE) == [Hear(GUILD, frozenset((ADA,)))]
    core.waits(GUILD, is_waiting=False)
    assert core.changed(people(), NOWHERE) == [Stop(GUILD)]


def test_a_conversation_that_waits_moves_with_its_people() -> None:
    core = waiting()

    assert core.changed(people(next_room={ADA}), NOWHERE) == [
        Hear(GUILD, frozenset()),
        Move(GUILD, NEXT_ROOM),
        Hear(GUILD, frozenset((ADA,))),
    ]
    assert core.changed(people(next_room={ADA}, room={BOB}), NOWHERE) == [Busy(ROOM, NEXT_ROOM)]


def test_who_enters_where_the_bot_waits_for_nobody_has_it_move_there() -> None:
    core = waiting()
    core.changed(people(), NOWHERE)
    core.changed(people(next_room={BOB}), NOWHERE)

    assert "already" in refusal(core, GUILD, NEXT_ROOM, BOB)


def test_a_conversation_that_waits_can_be_ended() -> None:
    core = waiting()

    assert core.leave(GUILD) == [Stop(GUILD)]
    assert core.changed(people(), NOWHERE) == []
    assert core.ended(GUILD) == []


def test_who_changes_channels_is_followed_when_the_conversation_has_ended() -> None:
    core = attendance()
    core.changed(people(room={ADA}), NOWHERE)

    assert core.changed(people(next_room={ADA}), NOWHERE) == [Stop(GUILD)]
    assert core.ended(GUILD) == [start(NEXT_ROOM, ADA)]


def test_who_returns_while_the_conversation_is_ending_gets_another() -> None:
    core = attendance()
    core.changed(people(room={ADA}), NOWHERE)
    core.changed(people(), NOWHERE)

    assert core.changed(people(room={ADA}), NOWHERE) == []
    assert core.ended(GUILD) == [start(ROOM, ADA)]


def test_who_returns_and_leaves_again_while_the_conversation_is_ending_gets_none() -> None:
    core = attendance()
    core.changed(people(room={ADA}), NOWHERE)
    core.changed(people(), NOWHERE)
    core.changed(people(room={ADA}), NOWHERE)
    core.changed(people(), NOWHERE)

    assert core.ended(GUILD) == []
    assert core.changed(people(room={BOB}), NOWHERE) == [start(ROOM, BOB)]


def test_only_allowed_servers_and_channels_are_served() -> None:
    by_guild, by_channel = attendance(guilds=(OTHER_GUILD,)), attendance(channels=(NEXT_ROOM,))

    assert by_guild.changed(people(room={ADA}), NOWHERE) == []
    assert by_guild.changed(people(room={ADA}, far_room={BOB}), NOWHERE) == [start(FAR_ROOM, BOB)]
    assert by_channel.changed(people(room={ADA}), NOWHERE) == []
    assert by_channel.changed(people(next_room={ADA}), NOWHERE) == [start(NEXT_ROOM, ADA)]


def test_without_auto_join_nothing_starts_and_nobody_is_told_anything() -> None:
    assert attendance(auto_join=False).changed(people(room={ADA}, far_room={BOB}), NOWHERE) == []


def test_who_asks_gets_a_conversation_even_where_nobody_is_joined_unasked() -> None:
    core = attendance(auto_join=False)
    assert core.changed(people(room={ADA, BOB}), NOWHERE) == []

    assert core.join(GUILD, ROOM, BOB) == [start(ROOM, ADA, BOB, starter=BOB)]
    assert core.changed(people(room={ADA}), NOWHERE) == [Hear(GUILD, frozenset((ADA,)))]


def refusal(core: Attendance, guild: int, channel: int, user: int) -> str:
    with pytest.raises(RequestError) as refused:
        core.join(guild, channel, user)
    return refused.value.user_message


def test_a_wish_that_can_not_be_fulfilled_is_refused_with_the_reason() -> None:
    core = attendance(auto_join=False, channels=(ROOM, FAR_ROOM))
    core.changed(people(room={ADA}, next_room={BOB}, far_room={BOB}), NOWHERE)

    assert "whoever runs me has chosen other channels" in refusal(core, GUILD, NEXT_ROOM, BOB)
    assert refusal(core, GUILD, ROOM, BOB) == "Enter a voice channel first, and then ask me to join."
    core.join(GUILD, ROOM, ADA)
    assert "already" in refusal(core, GUILD, ROOM, ADA)


def test_who_asks_from_another_channel_is_told_where_the_bot_is() -> None:
    core = attendance()
    core.changed(people(room={ADA}), NOWHERE)
    core.changed(people(room={ADA}, next_room={BOB}), NOWHERE)

    assert f"<#{ROOM}>" in refusal(core, GUILD, NEXT_ROOM, BOB)


def test_a_wish_while_a_conversation_is_ending_waits_for_its_end() -> None:
    core = attendance(auto_join=False)
    core.changed(people(room={ADA}), NOWHERE)
    core.join(GUILD, ROOM, ADA)
    assert core.leave(GUILD) == [Stop(GUILD)]
    assert core.leave(GUILD) == [], "once is enough"

    assert core.join(GUILD, ROOM, ADA) == []
    assert core.ended(GUILD) == [start(ROOM, ADA)]


def test_a_conversation_that_somebody_ends_does_not_begin_again_by_itself() -> None:
    core = attendance()
    core.changed(people(room={ADA}), NOWHERE)

    assert core.leave(GUILD) == [Stop(GUILD)]
    assert core.ended(GUILD) == []
    assert core.changed(people(room={ADA}), NOWHERE) == []
    assert core.leave(GUILD) == [], "there is none"


def test_where_a_moderator_moves_the_bot_it_goes_on_with_the_people_there() -> None:
    core = attendance()
    core.changed(people(room={ADA}), NOWHERE)
    core.changed(people(room={ADA}, next_room={BOB}), {GUILD: ROOM})

    moved = core.changed(people(room={ADA}, next_room={BOB}), {GUILD: NEXT_ROOM})

    assert moved == [Move(GUILD, NEXT_ROOM), Hear(GUILD, frozenset((BOB,)))]
    assert core.changed(people(room={ADA}), {GUILD: NEXT_ROOM}) == [Stop(GUILD)]


def test_a_move_between_two_voice_connections_is_one() -> None:
    core = attendance()
    core.changed(people(room={ADA}, next_room={BOB}), {GUILD: ROOM})
    assert core.changed(people(room={ADA}, next_room={BOB}), NOWHERE) == []

    moved = core.changed(people(room={ADA}, next_room={BOB}), {GUILD: NEXT_ROOM})

    assert moved == [Move(GUILD, NEXT_ROOM), Hear(GUILD, frozenset((BOB,)))]


def test_where_a_moderator_moves_the_bot_to_nobody_the_conversation_ends() -> None:
    core = attendance()
    core.changed(people(room={ADA}), {GUILD: ROOM})

    assert core.changed(people(room={ADA}), {GUILD: NEXT_ROOM}) == [Move(GUILD, NEXT_ROOM), Stop(GUILD)]
    assert core.changed(people(room={ADA}), {GUILD: ROOM}) == [], "it is ending, wherever the bot is"


def test_a_place_that_lags_behind_a_join_is_no_move() -> None:
    core = attendance(auto_join=False)
    core.changed(people(next_room={ADA}), {GUILD: ROOM})
    core.join(GUILD, NEXT_ROOM, ADA)

    assert core.changed(people(next_room={ADA}), {GUILD: ROOM}) == []
    assert core.changed(people(next_room={ADA}), NOWHERE) == []
    assert core.changed(people(next_room={ADA}), {GUILD: NEXT_ROOM}) == []
    assert core.changed(people(next_room={ADA}), NOWHERE) == [], "between two voice connections it is nowhere"
    assert core.changed(people(next_room={ADA}), {GUILD: NEXT_ROOM}) == []
