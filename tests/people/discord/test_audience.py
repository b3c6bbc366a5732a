"""Whom a conversation's model hears, and what people read of it: rooms, mixer and chat together, in simulated time."""

import pytest
import trio
from trio.testing import MockClock

from plexbridge.errors import DiscordError, RequestError, StoreError
from plexbridge.people.discord.attention import EVERYONE_SENTENCE, FLOOR_SECONDS, Button, Mode
from plexbridge.people.discord.audience import ENDED_SENTENCE, FLOOR_BUTTONS
from plexbridge.people.discord.audiences import LOAD_SECONDS, Audiences
from plexbridge.people.discord.spurts import OPUS_SILENCE
from plexbridge.people.discord.status import Hearing
from plexbridge.people.discord.voice import DiscordPeople
from tests.people.discord.choices import MemoryChoices, make_audiences
from tests.people.discord.simulation import ADA, BOB, CHANNEL, GUILD, OTHER_CHANNEL, tone_packets
from tests.people.discord.test_rooms import World, open_world

CAL = 102
TONE = tone_packets(20)
FREE = 'I listen to who has the floor. It is free: press "Take the floor", and talk.'
IDLE_SECONDS = 20.0
WARNING = "Nobody has said anything for 10 seconds; I'll leave in 10 seconds unless somebody talks."
FAREWELL = "Nobody has said anything for 20 seconds, so I leave. With /join I come again."
HIGH_MESSAGE = 10**6
"""Some message, but none of the room's."""


def floor_of(user_id: int) -> str:
    return f"I listen to who has the floor: <@{user_id}>."


def one(user_id: int, *, is_starter: bool = False) -> str:
    return f"I listen to one person: <@{user_id}>{', who started this conversation' if is_starter else ''}."


async def enter(world: World, *people: int) -> None:
    """Let people enter one after the other, and wait until they can be heard."""
    for person in people:
        world.discord.enter(person, CHANNEL)
        await world.wait_live()
        await trio.sleep(0.5)


async def is_answered(world: World, person: int) -> bool:
    """Let somebody talk; say whether the model has heard them."""
    (voice,) = world.discord.voices
    before = sum(packet != OPUS_SILENCE for _, packet in voice.sent)
    await world.discord.speak(person, TONE)
    await trio.sleep(1.0)
    after = sum(packet != OPUS_SILENCE for _, packet in voice.sent)
    return after - before >= len(TONE) // 2


def boards(world: World) -> list[str]:
    """Return the texts of all messages that have buttons."""
    return [world.discord.messages[number][1] for number, buttons in world.discord.buttons.items() if buttons]


def board_id(world: World) -> int:
    (number,) = (number for number, buttons in world.discord.buttons.items() if buttons)
    return number


async def press(world: World, audiences: Audiences, person: int, button: Button, message_id: int | None = None) -> str:
    """Press a button of the present message, or of another one; return what is read, when all is shown."""
    answer = audiences.press(GUILD, person, button, board_id(world) if message_id is None else message_id)
    await trio.sleep(0.5)
    return answer


async def test_when_a_second_one_comes_it_is_said_whom_the_model_listens_to_and_only_once(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world:
        await enter(world, ADA)
        assert world.said == []
        await enter(world, BOB)
        assert world.said == [EVERYONE_SENTENCE]
        world.discord.go(BOB)
        await enter(world, BOB, CAL)

        assert world.said == [EVERYONE_SENTENCE]
        assert await is_answered(world, ADA)
        assert await is_answered(world, CAL)


async def test_those_who_are_there_from_the_beginning_read_it_too(autojump_clock: MockClock) -> None:
    async with open_world(auto_join=False) as world:
        world.discord.enter(ADA, CHANNEL)
        world.discord.enter(BOB, CHANNEL)
        await trio.sleep(0.1)
        await world.rooms.join(GUILD, CHANNEL, BOB)
        await world.wait_live()
        await trio.sleep(1.0)

        assert world.said == [EVERYONE_SENTENCE]


async def test_with_the_floor_only_its_holder_is_heard_and_a_press_passes_it_on(autojump_clock: MockClock) -> None:
    audiences = make_audiences(mode=Mode.FLOOR)
    async with open_world(audiences=audiences) as world:
        await enter(world, ADA)
        assert await is_answered(world, ADA), "who is alone needs no button"
        assert boards(world) == []
        await enter(world, BOB)

        assert boards(world) == [floor_of(ADA)]
        assert [await is_answered(world, person) for person in (ADA, BOB)] == [True, False]
        number = board_id(world)
        assert await press(world, audiences, BOB, Button.TAKE) == "", "the message shows it"
        assert boards(world) == [floor_of(BOB)]
        assert board_id(world) == number, "it stays where it was pressed"
        assert [await is_answered(world, person) for person in (ADA, BOB)] == [False, True]
        status = world.status()
        assert (status.listening.sentence, status.listening.buttons) == (floor_of(BOB), FLOOR_BUTTONS)
        await press(world, audiences, BOB, Button.FREE)

        assert boards(world) == [FREE]
        assert [await is_answered(world, person) for person in (ADA, BOB)] == [False, False]


async def test_a_press_of_another_message_is_answered_and_what_it_changes_stands_below_everything(
    autojump_clock: MockClock,
) -> None:
    audiences = make_audiences(mode=Mode.FLOOR)
    async with open_world(audiences=audiences) as world:
        await enter(world, ADA, BOB)
        assert await is_answered(world, ADA)  # the model's words stand below the message now

        answer = await press(world, audiences, BOB, Button.TAKE, HIGH_MESSAGE)

        assert answer == "You have the floor."
        assert boards(world) == [floor_of(BOB)]
        assert board_id(world) == len(world.discord.messages) - 1
        assert await press(world, audiences, BOB, Button.FREE, HIGH_MESSAGE) == "The floor is free."
        with pytest.raises(RequestError, match="You don't have the floor"):
            audiences.press(GUILD, ADA, Button.FREE, HIGH_MESSAGE)


async def test_the_floor_is_free_when_its_holder_goes_and_who_is_left_alone_has_it(autojump_clock: MockClock) -> None:
    audiences = make_audiences(mode=Mode.FLOOR)
    async with open_world(audiences=audiences) as world:
        await enter(world, ADA, BOB, CAL)
        world.discord.go(ADA)
        await trio.sleep(0.5)
        assert boards(world) == [FREE]
        assert board_id(world) == len(world.discord.messages) - 1
        world.discord.go(CAL)
        await trio.sleep(0.5)

        assert boards(world) == [floor_of(BOB)]
        assert await is_answered(world, BOB)
        answer = await press(world, audiences, BOB, Button.FREE, HIGH_MESSAGE)
        assert answer == "You have the floor, since you are alone."


async def test_the_floor_is_free_when_its_holder_says_nothing_for_long(autojump_clock: MockClock) -> None:
    async with open_world(audiences=make_audiences(mode=Mode.FLOOR)) as world:
        await enter(world, ADA, BOB)
        await trio.sleep(FLOOR_SECONDS / 2)
        assert await is_answered(world, ADA)
        await trio.sleep(FLOOR_SECONDS - 3.0)
        assert boards(world) == [floor_of(ADA)]
        await trio.sleep(3.0)

        assert boards(world) == [FREE]


async def test_another_attention_is_in_force_at_once_and_told_to_all(autojump_clock: MockClock) -> None:
    store = MemoryChoices()
    audiences = make_audiences(store)
    async with open_world(audiences=audiences) as world:
        await enter(world, ADA, BOB)
        await audiences.set_attention(GUILD, Mode.ONE)
        await trio.sleep(0.5)
        assert world.said == [EVERYONE_SENTENCE, one(ADA, is_starter=True)]
        assert [await is_answered(world, person) for person in (ADA, BOB)] == [True, False]
        await audiences.set_attention(GUILD, Mode.FLOOR)
        await trio.sleep(0.5)
        assert boards(world) == [FREE]
        await audiences.set_attention(GUILD, Mode.EVERYONE)
        await trio.sleep(0.5)

        assert boards(world) == []
        assert world.said[-1] == EVERYONE_SENTENCE
        assert FREE not in world.said, "what is not so any more stands nowhere"
        assert [await is_answered(world, person) for person in (ADA, BOB)] == [True, True]
        with pytest.raises(RequestError, match="There is no floor to be had at the moment"):
            audiences.press(GUILD, ADA, Button.TAKE, HIGH_MESSAGE)


async def test_when_the_one_who_is_listened_to_goes_people_read_who_it_is_now(autojump_clock: MockClock) -> None:
    async with open_world(audiences=make_audiences(mode=Mode.ONE)) as world:
        await enter(world, ADA, BOB, CAL)
        assert world.said == [one(ADA, is_starter=True)]
        world.discord.go(ADA)
        await trio.sleep(0.5)

        assert world.said[1:] == [one(BOB)]
        assert [await is_answered(world, person) for person in (BOB, CAL)] == [True, False]


async def test_what_a_server_has_chosen_is_in_force_in_its_next_conversation(autojump_clock: MockClock) -> None:
    store = MemoryChoices({f"discord:{GUILD}": "one"}, {f"discord:{GUILD}": {f"discord:{ADA}": 0}}, delay_seconds=0.01)
    async with open_world(audiences=make_audiences(store)) as world:
        await enter(world, ADA, BOB)

        assert world.said == [one(ADA, is_starter=True)]
        assert [await is_answered(world, person) for person in (ADA, BOB)] == [False, False]


async def test_a_choice_that_is_read_slowly_does_not_replace_a_newer_one(autojump_clock: MockClock) -> None:
    store = MemoryChoices({f"discord:{GUILD}": "one"}, delay_seconds=1.0)
    audiences = make_audiences(store)
    async with open_world(audiences=audiences) as world:
        world.discord.enter(ADA, CHANNEL)
        await trio.sleep(0.5)
        store.delay_seconds = 0.0
        await audiences.set_attention(GUILD, Mode.FLOOR)
        await world.wait_live()
        await enter(world, BOB)

        assert boards(world) == [floor_of(ADA)]


@pytest.mark.parametrize(("fault", "delay_seconds"), [(StoreError("broken"), 0.0), (None, 1_000.0)])
async def test_choices_that_can_not_be_read_keep_nobody_waiting(
    fault: StoreError | None, delay_seconds: float, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryChoices({f"discord:{GUILD}": "one"}, fault=fault, delay_seconds=delay_seconds)
    async with open_world(audiences=make_audiences(store)) as world:
        await enter(world, ADA)
        seconds = trio.current_time()
        await enter(world, BOB)

        assert seconds < LOAD_SECONDS + 2.0
        assert world.said == [EVERYONE_SENTENCE]
    assert "has chosen about being heard can't be read" in caplog.text


async def test_a_volume_is_in_force_at_once_and_stands_in_the_status(autojump_clock: MockClock) -> None:
    audiences = make_audiences()
    async with open_world(audiences=audiences) as world:
        await enter(world, ADA, BOB)
        await audiences.set_volume(GUILD, BOB, 0)
        await audiences.set_volume(GUILD, ADA, 50)
        await audiences.set_volume(GUILD, CAL, 100)

        assert [await is_answered(world, person) for person in (ADA, BOB)] == [True, False]
        status = world.status()
        assert status.listening.percents == {ADA: 50, BOB: 0}
        await audiences.set_volume(GUILD, BOB, 200)

        assert await is_answered(world, BOB)


async def test_who_asks_not_to_be_heard_is_not_and_is_again_when_they_take_it_back(autojump_clock: MockClock) -> None:
    audiences = make_audiences()
    async with open_world(audiences=audiences) as world:
        await enter(world, ADA, BOB)
        await audiences.set_ignored(BOB, is_ignored=True)
        await trio.sleep(0.1)

        people = world.talks[-1].people
        assert isinstance(people, DiscordPeople)
        before = people.heard()
        assert [await is_answered(world, person) for person in (ADA, BOB)] == [True, False]
        after = people.heard()
        assert after.unheard - before.unheard == len(TONE), "dropped before they are decrypted"
        status = world.status()
        assert {each.user_id: each.hearing for each in status.people} == {ADA: Hearing.HEARD, BOB: Hearing.IGNORED}
        await audiences.set_ignored(BOB, is_ignored=False)
        await trio.sleep(0.1)

        assert await is_answered(world, BOB)
        assert world.said == [EVERYONE_SENTENCE]


async def test_people_who_are_not_to_be_heard_have_no_conversation_of_their_own(autojump_clock: MockClock) -> None:
    audiences = make_audiences(MemoryChoices(ignored={f"discord:{ADA}"}))
    await audiences.read_ignored()
    async with open_world(audiences=audiences) as world:
        world.discord.enter(ADA, CHANNEL)
        await trio.sleep(1.0)
        assert world.discord.joins == 0
        with pytest.raises(RequestError, match="has asked not to be heard"):
            await world.rooms.join(GUILD, CHANNEL, ADA)
        await enter(world, BOB)
        assert [await is_answered(world, person) for person in (ADA, BOB)] == [False, True]
        assert world.said == [], "there is only one to listen to"
        world.discord.go(BOB)
        await trio.sleep(1.0)

        world.assert_empty()


async def test_who_is_not_to_be_heard_may_ask_for_a_conversation_of_others(autojump_clock: MockClock) -> None:
    audiences = make_audiences(MemoryChoices(ignored={f"discord:{ADA}"}), mode=Mode.ONE)
    await audiences.read_ignored()
    async with open_world(audiences=audiences, auto_join=False) as world:
        world.discord.enter(ADA, CHANNEL)
        world.discord.enter(BOB, CHANNEL)
        await trio.sleep(0.1)
        await world.rooms.join(GUILD, CHANNEL, ADA)
        await world.wait_live()
        await trio.sleep(0.5)

        assert [await is_answered(world, person) for person in (ADA, BOB)] == [False, True]


async def test_the_last_one_who_asks_not_to_be_heard_is_left(autojump_clock: MockClock) -> None:
    audiences = make_audiences()
    async with open_world(audiences=audiences) as world:
        await enter(world, ADA)
        await audiences.set_ignored(ADA, is_ignored=True)
        await trio.sleep(1.0)
        world.assert_empty()
        await audiences.set_ignored(ADA, is_ignored=False)
        await trio.sleep(1.0)

        assert world.voice.channel_id == CHANNEL


async def test_a_conversation_that_has_ended_has_no_buttons_any_more(autojump_clock: MockClock) -> None:
    audiences = make_audiences(mode=Mode.FLOOR)
    async with open_world(audiences=audiences) as world:
        await enter(world, ADA, BOB)
        assert boards(world) == [floor_of(ADA)]
        world.rooms.leave(GUILD)
        await trio.sleep(1.0)

        world.assert_empty()
        assert boards(world) == []
        assert [text for _, text in world.discord.messages] == [ENDED_SENTENCE]
        with pytest.raises(RequestError, match="no conversation in this server any more"):
            audiences.press(GUILD, ADA, Button.TAKE, 0)


async def test_a_conversation_that_is_moved_has_its_buttons_where_it_is(autojump_clock: MockClock) -> None:
    async with open_world(audiences=make_audiences(mode=Mode.FLOOR)) as world:
        await enter(world, ADA, BOB)
        world.discord.bot_places[GUILD] = CHANNEL
        await world.rooms.changed()
        await trio.sleep(0.1)
        world.discord.bot_places[GUILD] = OTHER_CHANNEL
        world.discord.enter(ADA, OTHER_CHANNEL)
        world.discord.enter(BOB, OTHER_CHANNEL)
        await trio.sleep(1.0)

        last = max(world.discord.buttons)
        assert world.discord.messages[last][0] == OTHER_CHANNEL
        assert world.discord.buttons[last] == FLOOR_BUTTONS


async def test_buttons_that_can_not_be_written_disturb_nothing(autojump_clock: MockClock) -> None:
    audiences = make_audiences(mode=Mode.FLOOR)
    async with open_world(audiences=audiences) as world:
        world.discord.write_fault = DiscordError("no")
        await enter(world, ADA, BOB)
        attempts = world.discord.write_attempts
        world.discord.write_fault = None

        assert attempts == 1
        assert await press(world, audiences, BOB, Button.TAKE, HIGH_MESSAGE) == "You have the floor."
        assert boards(world) == [floor_of(BOB)]


# Nobody says anything


async def test_a_room_in_which_nobody_says_anything_is_left_with_a_warning_and_a_goodbye(
    autojump_clock: MockClock,
) -> None:
    async with open_world(audiences=make_audiences(idle_seconds=IDLE_SECONDS)) as world:
        await enter(world, ADA)
        assert await is_answered(world, ADA)
        await trio.sleep(IDLE_SECONDS / 2 - 2.0)
        assert world.said == []
        await trio.sleep(2.0)
        assert world.said == [WARNING]
        assert await is_answered(world, ADA)
        await trio.sleep(IDLE_SECONDS - 2.0)
        assert world.said == [WARNING, WARNING]
        await trio.sleep(2.0)

        assert world.said == [WARNING, WARNING, FAREWELL]
        world.assert_empty()
        await trio.sleep(100.0)
        assert world.discord.joins == 1, "it comes back when somebody enters or asks"
        await world.rooms.join(GUILD, CHANNEL, ADA)
        await trio.sleep(1.0)
        assert world.discord.joins == 2


async def test_who_enters_while_the_bot_says_goodbye_is_talked_to(autojump_clock: MockClock) -> None:
    async with open_world(audiences=make_audiences(idle_seconds=IDLE_SECONDS)) as world:
        await enter(world, ADA)
        while world.discord.write_attempts < 2:  # noqa: ASYNC110  # a counter, no event
            await trio.sleep(0.005)
        world.discord.enter(BOB, CHANNEL)
        await trio.sleep(2.0)

        assert world.discord.joins == 2
        assert await is_answered(world, BOB)


async def test_without_a_model_nobody_is_left_for_being_silent(autojump_clock: MockClock) -> None:
    async with open_world(audiences=make_audiences(idle_seconds=IDLE_SECONDS)) as world:
        await enter(world, ADA)
        world.model.is_gone = True
        for stream in world.model.streams:
            await stream.aclose()
        await trio.sleep(IDLE_SECONDS)

        assert WARNING not in world.said
