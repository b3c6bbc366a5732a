"""Attendance: who is where, and what follows."""

from collections.abc import Mapping

from plexbridge.people.discord.attendance import Action, Attendance, Busy, Hear, Presence, Start, Stop

GUILD, OTHER_GUILD = 1, 2
ROOM, NEXT_ROOM, FAR_ROOM = 10, 11, 20
GUILDS = {ROOM: GUILD, NEXT_ROOM: GUILD, FAR_ROOM: OTHER_GUILD}
ADA, BOB = 100, 101


def attendance(
    *, auto_join: bool = True, guilds: tuple[int, ...] = (), channels: tuple[int, ...] = (), sessions: int = 1
) -> Attendance:
    return Attendance(auto_join=auto_join, guilds=frozenset(guilds), channels=frozenset(channels), sessions=sessions)


def people(**where: set[int]) -> Mapping[int, Presence]:
    channels = {"room": ROOM, "next_room": NEXT_ROOM, "far_room": FAR_ROOM}
    return {
        channels[name]: Presence(GUILDS[channels[name]], frozenset(humans)) for name, humans in where.items() if humans
    }


def start(channel: int, *humans: int) -> Action:
    return Start(GUILDS[channel], channel, frozenset(humans))


def test_a_conversation_starts_with_the_first_human_and_stops_with_the_last() -> None:
    core = attendance()

    assert core.changed(people(room={ADA})) == [start(ROOM, ADA)]
    assert core.changed(people(room={ADA, BOB})) == [Hear(GUILD, frozenset((ADA, BOB)))]
    assert core.changed(people(room={BOB})) == [Hear(GUILD, frozenset((BOB,)))]
    assert core.changed(people()) == [Stop(GUILD)]
    assert core.changed(people()) == []
    assert core.ended(GUILD) == []
    assert core.changed(people(room={ADA})) == [start(ROOM, ADA)]


def test_people_who_are_there_from_the_beginning_count_as_having_entered() -> None:
    assert attendance().changed(people(room={ADA, BOB})) == [start(ROOM, ADA, BOB)]


def test_a_conversation_that_failed_is_not_tried_again_until_somebody_enters() -> None:
    core = attendance()
    core.changed(people(room={ADA}))

    assert core.ended(GUILD) == []
    assert core.changed(people(room={ADA})) == []
    assert core.changed(people(room={ADA, BOB})) == [start(ROOM, ADA, BOB)]


def test_another_channel_of_the_server_is_told_that_it_is_busy_even_if_the_model_has_sessions_left() -> None:
    core = attendance(sessions=5)
    core.changed(people(room={ADA}))

    assert core.changed(people(room={ADA}, next_room={BOB})) == [Busy(NEXT_ROOM)]
    assert core.changed(people(room={ADA}, next_room={BOB})) == [], "once for each entry"


def test_another_server_is_served_while_the_model_has_sessions_left() -> None:
    two, one = attendance(sessions=2), attendance(sessions=1)
    for core in (two, one):
        core.changed(people(room={ADA}))

    assert two.changed(people(room={ADA}, far_room={BOB})) == [start(FAR_ROOM, BOB)]
    assert one.changed(people(room={ADA}, far_room={BOB})) == [Busy(FAR_ROOM)]


def test_who_changes_channels_is_followed_when_the_conversation_has_ended() -> None:
    core = attendance()
    core.changed(people(room={ADA}))

    assert core.changed(people(next_room={ADA})) == [Stop(GUILD)]
    assert core.ended(GUILD) == [start(NEXT_ROOM, ADA)]


def test_who_returns_while_the_conversation_is_ending_gets_another() -> None:
    core = attendance()
    core.changed(people(room={ADA}))
    core.changed(people())

    assert core.changed(people(room={ADA})) == []
    assert core.ended(GUILD) == [start(ROOM, ADA)]


def test_who_returns_and_leaves_again_while_the_conversation_is_ending_gets_none() -> None:
    core = attendance()
    core.changed(people(room={ADA}))
    core.changed(people())
    core.changed(people(room={ADA}))
    core.changed(people())

    assert core.ended(GUILD) == []
    assert core.changed(people(room={BOB})) == [start(ROOM, BOB)]


def test_the_last_session_is_given_once_when_a_conversation_is_ending() -> None:
    core = attendance()
    core.changed(people(room={ADA}))
    core.changed(people())

    assert core.changed(people(far_room={BOB})) == []
    assert core.changed(people(far_room={BOB}, room={ADA})) == [Busy(ROOM)]
    assert core.ended(GUILD) == [start(FAR_ROOM, BOB)]


def test_only_allowed_servers_and_channels_are_served() -> None:
    by_guild, by_channel = attendance(guilds=(OTHER_GUILD,)), attendance(channels=(NEXT_ROOM,))

    assert by_guild.changed(people(room={ADA})) == []
    assert by_guild.changed(people(room={ADA}, far_room={BOB})) == [start(FAR_ROOM, BOB)]
    assert by_channel.changed(people(room={ADA})) == []
    assert by_channel.changed(people(next_room={ADA})) == [start(NEXT_ROOM, ADA)]


def test_without_auto_join_nothing_starts_and_nobody_is_told_anything() -> None:
    assert attendance(auto_join=False).changed(people(room={ADA}, far_room={BOB})) == []
