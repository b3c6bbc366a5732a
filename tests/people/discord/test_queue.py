"""Rooms that share models: who waits, what they read, and how they move; three servers and two models at most."""

import pytest
import trio
from trio.testing import MockClock

from plexbridge.errors import ModelRefused, RequestError, TurnOver
from plexbridge.model import loopback
from plexbridge.model.health import Trouble
from plexbridge.model.standing import Standing
from plexbridge.model.ticket import SLOW_SECONDS
from plexbridge.people.discord.notice import EDIT_SECONDS
from plexbridge.people.discord.waiting import CALLED_SENTENCE, FORGONE_SENTENCE, LEFT_SENTENCE
from plexbridge.session.outage import BACK_SENTENCE, LOST_SENTENCE, SLOW_SENTENCE
from plexbridge.talk import PARDON_SENTENCE
from tests.people.discord.simulation import (
    ADA,
    BOB,
    CHANNEL,
    EVE,
    FAR_CHANNEL,
    OTHER_CHANNEL,
    OTHER_GUILD,
    THIRD_CHANNEL,
    THIRD_GUILD,
    tone_packets,
)
from tests.people.discord.test_rooms import PLACE_SECONDS, World, open_world

FIRST_SENTENCE = "All models are taken. You are 1st in the queue."
SLOT_SECONDS = 20.0
"""Half of which is the warning."""
CALL_SENTENCE = "It is your turn: a speech model is free."
TONE = tone_packets(20)


def read(world: World, channel_id: int) -> list[str]:
    """Return what stands in a channel."""
    return [text for channel, text in world.discord.messages if channel == channel_id]


def places(world: World) -> set[int]:
    """Return the channels that the bot is in."""
    return {voice.channel_id for voice in world.discord.voices}


async def enter(world: World, **channels: int) -> None:
    """Let people enter, one after the other, and conversations begin."""
    people = {"ada": ADA, "bob": BOB, "eve": EVE}
    for name, channel_id in channels.items():
        world.discord.enter(people[name], channel_id)
        await trio.sleep(3)


async def test_who_finds_all_models_taken_waits_outside_and_is_called_once_and_joined(
    autojump_clock: MockClock,
) -> None:
    async with open_world(model_count=2) as world:
        await enter(world, ada=CHANNEL, bob=FAR_CHANNEL, eve=THIRD_CHANNEL)
        assert places(world) == {CHANNEL, FAR_CHANNEL}
        assert world.discord.messages == [(THIRD_CHANNEL, FIRST_SENTENCE)]
        assert world.discord.joins == 2

        world.discord.go(BOB)
        await trio.sleep(3)

        assert places(world) == {CHANNEL, THIRD_CHANNEL}
        assert read(world, THIRD_CHANNEL) == [CALLED_SENTENCE, f"<@{EVE}> {CALL_SENTENCE}"]
        assert world.discord.called == [EVE]
        (voice,) = (voice for voice in world.discord.voices if voice.channel_id == THIRD_CHANNEL)
        before = len(voice.sent)
        await world.discord.speak(EVE, TONE)
        await trio.sleep(1)
        assert len(voice.sent) > before, "she is heard and answered"


async def test_when_who_came_first_has_gone_somebody_else_who_waits_there_is_called(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        await enter(world, ada=CHANNEL, bob=FAR_CHANNEL, eve=FAR_CHANNEL)
        world.discord.go(BOB)
        await trio.sleep(1)
        world.discord.go(ADA)
        await trio.sleep(3)

        assert world.discord.called == [EVE]
        assert read(world, FAR_CHANNEL)[-1] == f"<@{EVE}> {CALL_SENTENCE}"
        assert places(world) == {FAR_CHANNEL}


async def test_the_place_is_kept_up_to_date_in_one_message(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        await enter(world, ada=CHANNEL, bob=FAR_CHANNEL, eve=THIRD_CHANNEL)
        assert read(world, THIRD_CHANNEL) == ["All models are taken. You are 2nd in the queue."]

        world.rooms.leave(OTHER_GUILD)
        await trio.sleep(2 * EDIT_SECONDS)

        assert read(world, THIRD_CHANNEL) == [FIRST_SENTENCE]
        assert read(world, FAR_CHANNEL) == [LEFT_SENTENCE]
        assert world.discord.joins == 1


async def test_who_waits_sees_the_place_in_the_status_and_when_asking_again(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        await enter(world, ada=CHANNEL, bob=FAR_CHANNEL)
        status = world.rooms.status(OTHER_GUILD)

        assert status is not None
        assert status.standing == Standing(1, None)
        assert status.channel_id == FAR_CHANNEL
        with pytest.raises(RequestError, match="You are 1st in the queue"):
            await world.rooms.join(OTHER_GUILD, FAR_CHANNEL, BOB)
        served = world.status()
        assert served.standing is None
        assert served.model == "m1"


async def test_a_place_is_kept_for_a_while_when_nobody_is_there(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        await enter(world, ada=CHANNEL, bob=FAR_CHANNEL)
        world.discord.go(BOB)
        await trio.sleep(PLACE_SECONDS - 1)
        world.discord.enter(BOB, FAR_CHANNEL)
        await trio.sleep(PLACE_SECONDS)
        assert read(world, FAR_CHANNEL) == [FIRST_SENTENCE]

        world.discord.go(BOB)
        await trio.sleep(PLACE_SECONDS + 1)

        assert read(world, FAR_CHANNEL) == [LEFT_SENTENCE, FORGONE_SENTENCE]
        assert OTHER_GUILD not in world.rooms.rooms
        world.discord.enter(BOB, FAR_CHANNEL)
        await trio.sleep(3)
        assert OTHER_GUILD in world.rooms.rooms, "another place"


async def test_who_waits_takes_the_place_along_to_another_channel(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        await enter(world, eve=FAR_CHANNEL, ada=CHANNEL)
        world.discord.enter(ADA, OTHER_CHANNEL)
        await trio.sleep(2 * EDIT_SECONDS)
        assert read(world, OTHER_CHANNEL) == [FIRST_SENTENCE]
        world.discord.go(EVE)
        await trio.sleep(3)

        assert places(world) == {OTHER_CHANNEL}


async def test_a_turn_is_kept_for_a_while_when_nobody_can_be_heard(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        await enter(world, ada=CHANNEL, bob=FAR_CHANNEL)
        world.discord.muted = {BOB}
        world.discord.go(ADA)
        await trio.sleep(3)
        assert read(world, FAR_CHANNEL) == [
            FIRST_SENTENCE,
            f"<@{BOB}> {CALL_SENTENCE} I keep the place for about 10 seconds.",
        ]
        assert places(world) == set()
        world.discord.enter(EVE, THIRD_CHANNEL)
        await trio.sleep(3)
        assert places(world) == set(), "the model is Bob's"

        world.discord.muted = set()
        await world.rooms.changed()
        await trio.sleep(3)
        assert places(world) == {FAR_CHANNEL}


async def test_who_was_away_when_called_has_the_whole_time_from_the_call_on(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        await enter(world, ada=CHANNEL, bob=FAR_CHANNEL)
        world.discord.go(BOB)
        await trio.sleep(PLACE_SECONDS - 3)
        world.discord.go(ADA)
        await trio.sleep(PLACE_SECONDS - 1)
        assert world.discord.called == [BOB]
        assert FORGONE_SENTENCE not in read(world, FAR_CHANNEL)
        world.discord.enter(BOB, FAR_CHANNEL)
        await trio.sleep(3)

        assert places(world) == {FAR_CHANNEL}


async def test_who_stays_away_after_the_call_loses_the_place(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        await enter(world, ada=CHANNEL, bob=FAR_CHANNEL)
        world.discord.go(BOB)
        await trio.sleep(PLACE_SECONDS - 3)
        world.discord.go(ADA)
        await trio.sleep(PLACE_SECONDS + 3)

        assert read(world, FAR_CHANNEL)[-1] == FORGONE_SENTENCE
        assert OTHER_GUILD not in world.rooms.rooms


async def test_a_turn_that_nobody_takes_goes_to_the_next_one(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.discord.muted = {BOB}
        await enter(world, ada=CHANNEL, bob=FAR_CHANNEL, eve=THIRD_CHANNEL)
        world.discord.go(ADA)
        await trio.sleep(PLACE_SECONDS + 5)

        assert read(world, FAR_CHANNEL)[-1] == FORGONE_SENTENCE
        assert places(world) == {THIRD_CHANNEL}
        assert world.discord.called == [BOB, EVE]


async def test_a_conversation_is_warned_and_ended_when_its_time_is_up_and_waits_in_its_turn(
    autojump_clock: MockClock,
) -> None:
    async with open_world(slot_seconds=SLOT_SECONDS) as world:
        await enter(world, ada=CHANNEL)
        await trio.sleep(SLOT_SECONDS)
        assert world.said == [], "nobody waits"
        await enter(world, bob=FAR_CHANNEL)
        assert read(world, FAR_CHANNEL) == ["All models are taken. You are 1st in the queue, about 10 seconds."]
        assert read(world, CHANNEL) == ["Others are waiting for a speech model: your time is up in about 10 seconds."]
        await trio.sleep(SLOT_SECONDS / 2)

        assert places(world) == {FAR_CHANNEL}
        assert read(world, CHANNEL)[1:] == [
            TurnOver.user_message,
            "All models are taken. You are 1st in the queue, about 20 seconds.",
        ]
        world.discord.go(BOB)
        await trio.sleep(3)
        assert places(world) == {CHANNEL}
        assert world.discord.called == [BOB, ADA]


async def test_a_conversation_goes_on_when_those_who_waited_have_gone(autojump_clock: MockClock) -> None:
    async with open_world(slot_seconds=SLOT_SECONDS) as world:
        await enter(world, ada=CHANNEL)
        await trio.sleep(SLOT_SECONDS)
        await enter(world, bob=FAR_CHANNEL)
        world.rooms.leave(OTHER_GUILD)
        await trio.sleep(SLOT_SECONDS)

        assert read(world, CHANNEL)[1:] == [PARDON_SENTENCE]
        assert places(world) == {CHANNEL}


async def test_a_room_whose_model_dies_moves_to_the_other_one_with_the_same_voice(autojump_clock: MockClock) -> None:
    async with open_world(model_count=2) as world:
        await enter(world, ada=CHANNEL)
        world.model.is_gone = True
        await world.model.streams[1].aclose()
        await trio.sleep(2)

        status = world.status()
        assert (status.model, status.voice) == ("m2", "NATF0")
        assert [each.trouble for each in status.models] == [Trouble.LOST, None]
        assert world.said == [LOST_SENTENCE, BACK_SENTENCE]
        assert world.discord.joins == 1, "the room stays where it is"
        assert world.models[1].server.is_busy


async def test_a_room_whose_model_stays_too_slow_moves_to_the_other_one(autojump_clock: MockClock) -> None:
    async with open_world(model_count=2) as world:
        await enter(world, ada=CHANNEL)
        conversation = world.talks[-1].progress.conversation
        assert conversation is not None
        conversation.set_behind(True)
        await trio.sleep(SLOW_SECONDS + 5)

        status = world.status()
        assert status.model == "m2"
        assert [each.trouble for each in status.models] == [Trouble.SLOW, None]
        assert world.said == [SLOW_SENTENCE, BACK_SENTENCE]
        assert world.discord.joins == 1


async def test_a_room_whose_first_model_can_not_be_reached_talks_to_the_other_one(autojump_clock: MockClock) -> None:
    async with open_world(model_count=2) as world:
        world.model.is_gone = True
        await enter(world, ada=CHANNEL)

        assert world.said == []
        assert world.models[1].server.is_busy
        assert world.discord.joins == 1


async def test_a_room_that_tried_a_dead_model_in_vain_waits_for_one_that_is_taken(autojump_clock: MockClock) -> None:
    async with open_world(model_count=2) as world:
        await enter(world, ada=CHANNEL)
        world.models[1].is_gone = True
        await enter(world, bob=FAR_CHANNEL)
        await trio.sleep(10)
        assert read(world, FAR_CHANNEL) == [FIRST_SENTENCE]
        assert world.discord.joins == 2, "the model is tried without joining"
        world.discord.go(ADA)
        await trio.sleep(10)

        assert places(world) == {FAR_CHANNEL}
        assert world.discord.joins == 3
        assert world.model.server.is_busy
        status = world.status(OTHER_GUILD)
        assert status.model == "m1"


async def test_a_room_whose_voice_a_server_lacks_reads_so_and_keeps_no_model_from_others(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loopback, "_is_usable", lambda query: query["voice_prompt"] != ["nosuch.pt"])
    async with open_world(model_count=2, voices={BOB: "nosuch.pt"}) as world:
        await enter(world, ada=CHANNEL, bob=FAR_CHANNEL)
        await trio.sleep(10)
        assert read(world, FAR_CHANNEL) == [ModelRefused.user_message]
        assert world.discord.joins == 2
        calls = len(world.models[1].streams)
        await enter(world, eve=THIRD_CHANNEL)
        await trio.sleep(10)

        assert places(world) == {CHANNEL, THIRD_CHANNEL}
        assert len(world.models[1].streams) - calls <= 4, "it was tried, and is talked to"


async def test_three_rooms_and_two_models_none_of_which_is_lost(autojump_clock: MockClock) -> None:
    """A model dies while somebody waits, and returns: all three are served in the end."""
    async with open_world(model_count=2) as world:
        await enter(world, ada=CHANNEL, bob=FAR_CHANNEL, eve=THIRD_CHANNEL)
        world.model.is_gone = True
        await world.model.streams[1].aclose()
        await trio.sleep(6)
        assert places(world) == {CHANNEL, FAR_CHANNEL}, "Ada's room stays, and has its place"
        world.discord.go(BOB)
        await trio.sleep(6)
        status = world.status()
        assert status.model == "m2", "it comes before Eve's"
        assert read(world, CHANNEL) == [LOST_SENTENCE, BACK_SENTENCE]

        world.model.is_gone = False
        await trio.sleep(20)

        assert places(world) == {CHANNEL, THIRD_CHANNEL}
        status = world.status(THIRD_GUILD)
        assert status.model == "m1"
        assert [each.trouble for each in status.models] == [None, None]
        for person in (ADA, EVE):
            world.discord.go(person)
        await trio.sleep(2)
        world.assert_empty()
