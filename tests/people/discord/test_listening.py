"""The commands about being heard: who may use them, what they keep, and what people read."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from plexbridge.config import ModelConfig, PersonaConfig, RecordingConfig
from plexbridge.errors import ForgetfulStore, StoreError
from plexbridge.people.discord.asking import Answer, Command, Press, Request
from plexbridge.people.discord.attention import Button
from plexbridge.people.discord.commands import STORE_SECONDS, Commands
from tests.people.discord.choices import MemoryChoices, make_audiences, make_recordings
from tests.people.discord.simulation import ADA, BOB, CHANNEL, GUILD, OTHER_CHANNEL
from tests.people.discord.test_commands import ROOM, FakeConversations, FakeSettings

SERVER, ADAS = f"discord:{GUILD}", f"discord:{ADA}"


class Desk:
    """Commands, and where choices are kept."""

    def __init__(self, *, is_recording_allowed: bool = True) -> None:
        self.store = MemoryChoices(delay_seconds=0.01)
        self.audiences = make_audiences(self.store)
        self.conversations = FakeConversations(ROOM)
        model = ModelConfig(url="ws://model/api/chat")
        self.recordings = make_recordings(
            self.store, audiences=self.audiences, config=RecordingConfig(enabled=is_recording_allowed)
        )
        self.commands = Commands(
            self.conversations,
            FakeSettings(),
            self.audiences,
            self.recordings,
            persona=PersonaConfig(),
            models=[model],
        )

    async def ask(
        self, command: Command, text: str, *, user_id: int = ADA, manages: bool = False, mutes: bool = False
    ) -> Answer:
        """Ask for something."""
        request = Request(
            command, text, GUILD, user_id, CHANNEL, False, may_manage_server=manages, may_mute_members=mutes
        )
        return await self.commands.answer(request)

    async def press(self, *, user_id: int = ADA, channel_id: int | None = CHANNEL) -> Answer:
        """Press a button."""
        return await self.commands.answer(Press(Button.TAKE, 1, GUILD, user_id, channel_id))


async def test_attention_is_for_who_manages_the_server_and_is_kept(autojump_clock: MockClock) -> None:
    desk = Desk()

    refused = await desk.ask(Command.ATTENTION, "floor", mutes=True)
    unknown = await desk.ask(Command.ATTENTION, "all", manages=True)
    assert desk.store.attention == {}
    answer = await desk.ask(Command.ATTENTION, "Floor", manages=True)

    assert refused.text == "Only people who may manage this server can choose whom I listen to."
    assert unknown.text.startswith("Say whom I am to listen to")
    assert answer.text.startswith("In this server I listen to who has the floor")
    assert all(each.is_private for each in (refused, unknown, answer))
    assert desk.store.attention == {SERVER: "floor"}


@pytest.mark.parametrize(
    ("rights", "person", "is_allowed"),
    [((), ADA, True), ((), BOB, False), (("manages",), BOB, True), (("mutes",), BOB, True)],
)
async def test_a_volume_is_for_oneself_and_for_who_may_mute(
    rights: tuple[str, ...], person: int, is_allowed: bool, autojump_clock: MockClock
) -> None:
    desk = Desk()

    answer = await desk.ask(Command.VOLUME, f"<@{person}> 50", **dict.fromkeys(rights, True))

    assert (desk.store.percents == {SERVER: {f"discord:{person}": 50}}) is is_allowed
    assert answer.is_private
    expected = f"In this server the speech model hears <@{person}> at 50 % of their volume."
    assert (answer.text == expected) is is_allowed
    assert "may mute members" in answer.text or is_allowed


async def test_recording_is_for_who_manages_the_server_and_is_kept(autojump_clock: MockClock) -> None:
    desk = Desk()

    refused = await desk.ask(Command.RECORD, "on", mutes=True)
    unknown = await desk.ask(Command.RECORD, "maybe", manages=True)
    assert desk.store.recorded == set()
    answers = [await desk.ask(Command.RECORD, "on", manages=True)]
    assert desk.store.recorded == {SERVER}
    answers.append(await desk.ask(Command.RECORD, "off", manages=True))

    assert refused.text == "Only people who may manage this server can choose whether conversations are recorded."
    assert unknown.text.startswith("Say /record on if")
    assert [answer.text for answer in answers] == [
        "Conversations in this server are recorded from now on, one that runs too. Everybody in it reads and hears "
        "that. /record off ends it.",
        "Conversations in this server are not recorded any more.",
    ]
    assert desk.store.recorded == set()
    assert all(each.is_private for each in (refused, unknown, *answers))


async def test_where_an_operator_has_not_allowed_it_nobody_can_turn_recording_on(autojump_clock: MockClock) -> None:
    desk = Desk(is_recording_allowed=False)

    answer = await desk.ask(Command.RECORD, "on", manages=True)

    assert answer.text == (
        "Recording is not allowed here. Whoever runs me can allow it, with [recording] in my configuration."
    )
    assert desk.store.recorded == set()


async def test_that_recording_ends_holds_even_if_it_can_not_be_kept(autojump_clock: MockClock) -> None:
    desk = Desk()
    desk.store.fault = StoreError("broken")

    assert (await desk.ask(Command.RECORD, "on", manages=True)).text == StoreError.user_message
    assert (await desk.ask(Command.RECORD, "off", manages=True)).text == StoreError.user_message


async def test_who_asks_not_to_be_heard_reads_what_becomes_of_a_recording(autojump_clock: MockClock) -> None:
    desk = Desk()
    desk.conversations.room = replace(ROOM, is_recorded=True)

    answer = await desk.ask(Command.IGNORE_ME, "on")

    assert answer.text.endswith("What the recording that runs here holds of you is deleted.")


async def test_who_asks_not_to_be_heard_is_not_until_they_take_it_back(autojump_clock: MockClock) -> None:
    desk = Desk()
    changes: list[bool] = []
    desk.audiences.watch(lambda: changes.append(desk.audiences.is_ignored(ADA)))

    answer = await desk.ask(Command.IGNORE_ME, "on")
    assert answer.text.startswith("I don't hear you any more, in any server")
    assert desk.store.ignored == {ADAS}
    again = make_audiences(desk.store)
    await again.read_ignored()
    assert again.is_ignored(ADA)
    assert not again.is_ignored(BOB)
    answer = await desk.ask(Command.IGNORE_ME, "off")

    assert answer.text == "I hear you again, from now on and in all servers."
    assert desk.store.ignored == set()
    assert not desk.audiences.is_ignored(ADA)
    assert changes[0] is True
    assert changes[-1] is False


async def test_who_asks_not_to_be_heard_is_not_even_if_that_can_not_be_kept(autojump_clock: MockClock) -> None:
    desk = Desk()
    desk.store.fault = StoreError("broken")

    answer = await desk.ask(Command.IGNORE_ME, "on")
    assert answer.text == ForgetfulStore.user_message
    assert desk.audiences.is_ignored(ADA)
    answer = await desk.ask(Command.IGNORE_ME, "off")

    assert answer.text == StoreError.user_message
    assert desk.audiences.is_ignored(ADA), "it is taken back when that is stored"


async def test_who_asks_not_to_be_heard_is_not_from_that_moment_on(autojump_clock: MockClock) -> None:
    desk = Desk()
    desk.store.delay_seconds = 1.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.ask, Command.IGNORE_ME, "on")
        await trio.sleep(0.001)

        assert desk.audiences.is_ignored(ADA)


@pytest.mark.parametrize("last", [True, False])
async def test_the_last_word_counts_for_memory_and_store_alike(last: bool, autojump_clock: MockClock) -> None:
    desk = Desk()
    async with trio.open_nursery() as nursery:
        for is_on in (not last, last):
            nursery.start_soon(desk.ask, Command.IGNORE_ME, "on" if is_on else "off")
            await trio.sleep(0.001)

    assert desk.audiences.is_ignored(ADA) is (ADAS in desk.store.ignored) is last


async def test_a_store_that_hangs_is_given_up(autojump_clock: MockClock) -> None:
    desk = Desk()
    desk.store.delay_seconds = 1_000.0

    answer = await desk.ask(Command.ATTENTION, "one", manages=True)

    assert answer.text == "That took too long, so it may not be stored. Please try again."
    assert trio.current_time() == pytest.approx(STORE_SECONDS)


async def test_a_join_of_who_is_not_to_be_heard_says_so_and_changes_nothing(autojump_clock: MockClock) -> None:
    desk = Desk()
    desk.conversations.room = None
    await desk.ask(Command.IGNORE_ME, "on")

    answer = await desk.ask(Command.JOIN, "")

    assert answer.text == (
        f"Joining <#{CHANNEL}>. You have asked not to be heard, and that stays so; /ignore-me off changes it."
    )
    assert desk.audiences.is_ignored(ADA)
    assert desk.conversations.joins == [(GUILD, CHANNEL, ADA)]


async def test_a_button_is_for_those_in_the_conversation_who_are_to_be_heard(autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.ask(Command.IGNORE_ME, "on", user_id=BOB)

    elsewhere = [await desk.press(channel_id=None), await desk.press(channel_id=OTHER_CHANNEL)]
    ignored = await desk.press(user_id=BOB)
    desk.conversations.room = None
    late = await desk.press()

    assert [answer.text for answer in elsewhere] == [f"The floor is for people in <#{CHANNEL}>. Enter it first."] * 2
    assert ignored.text.startswith("You have asked not to be heard")
    assert late.text == "This conversation has ended. With /join I come again."
    assert all(answer.is_private for answer in (*elsewhere, ignored, late))


async def test_a_button_while_a_conversation_comes_to_its_end_is_answered_too(autojump_clock: MockClock) -> None:
    answer = await Desk().press()

    assert answer.text == "There is no conversation in this server any more."
