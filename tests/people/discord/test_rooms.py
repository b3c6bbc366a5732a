"""Rooms: conversations that start and end with people's coming and going, in simulated time."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from plexbridge.config import ModelConfig, PersonaConfig
from plexbridge.errors import DiscordError, ModelBusy, ModelUnreachable, PlexbridgeError, VoiceRefused
from plexbridge.model.answers import Turns
from plexbridge.model.request import ModelAddress
from plexbridge.people.discord.attendance import Attendance
from plexbridge.people.discord.chat import REFUSAL_LIMIT
from plexbridge.people.discord.rooms import Rooms
from plexbridge.people.discord.spurts import OPUS_SILENCE
from plexbridge.service import Backend, hold_conversation
from plexbridge.session.ledger import Ledger
from plexbridge.session.people import People
from tests.people.discord.memory_portal import open_memory_portal
from tests.people.discord.simulation import (
    ADA,
    BOB,
    CHANNEL,
    FAR_CHANNEL,
    GUILD,
    OTHER_CHANNEL,
    FakeDiscord,
    FakeVoice,
    tone_packets,
)
from tests.session.simulation import SETTINGS, SimulatedModel

TONE = tone_packets(20)


@dataclass
class World:
    """Everything that there is: Discord, the model, and plexbridge's rooms between them."""

    discord: FakeDiscord
    model: SimulatedModel
    rooms: Rooms
    ledgers: list[Ledger]

    @property
    def voice(self) -> FakeVoice:
        """The bot's one voice connection."""
        (voice,) = self.discord.voices
        return voice

    async def wait_live(self) -> None:
        """Wait until a conversation has begun to be heard."""
        while not (self.ledgers and self.ledgers[-1].messages_received):  # noqa: ASYNC110  # a counter, no event
            await trio.sleep(0.01)

    def assert_empty(self) -> None:
        """Fail when the bot or a conversation is still anywhere."""
        assert not self.discord.voices, "the bot is still in a voice channel"
        assert not self.rooms.rooms
        assert not self.model.server.is_busy
        assert all(stream.is_closed for stream in self.model.streams)


def personaplex(url: str = "ws://model/api/chat") -> ModelConfig:
    return ModelConfig(url=url)


@asynccontextmanager
async def open_world(
    *,
    model: SimulatedModel | None = None,
    sessions: int = 1,
    auto_join: bool = True,
    channels: frozenset[int] = frozenset(),
    text_channel: int | None = None,
) -> AsyncIterator[World]:
    async with open_memory_portal() as portal, trio.open_nursery() as nursery:
        model = model or SimulatedModel(nursery)
        backend = Backend(personaplex(), "ws://model/api/chat", model.dial)
        ledgers: list[Ledger] = []

        async def converse(people: People) -> PlexbridgeError | None:
            ledgers.append(Ledger())
            return await hold_conversation(
                backend,
                people,
                persona=PersonaConfig(),
                settings=SETTINGS,
                ledger=ledgers[-1],
                on_open=lambda link: None,
            )

        discord = FakeDiscord(nursery)
        attendance = Attendance(auto_join=auto_join, guilds=frozenset(), channels=channels, sessions=sessions)
        rooms = Rooms(portal, discord, attendance, converse, text_channel=text_channel)
        discord.changed = partial(portal.into_trio, rooms.changed)
        nursery.start_soon(rooms.run)
        yield World(discord, model, rooms, ledgers)
        nursery.cancel_scope.cancel(reason="the test has ended")


async def test_who_enters_a_channel_is_answered_with_their_own_voice_by_the_loopback_model(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        await world.discord.speak(ADA, TONE)
        await trio.sleep(1)
        voice = world.voice
        world.discord.go(ADA)
        await trio.sleep(1)

        world.assert_empty()
    sound = [packet for _, packet in voice.sent if packet != OPUS_SILENCE]
    assert 20 <= len(sound) <= 40
    assert [packet for _, packet in voice.sent[-5:]] == [OPUS_SILENCE] * 5
    assert voice.lights == [True, False]
    times = [at for at, _ in voice.sent]
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == pytest.approx([0.02] * (len(times) - 1))


async def test_the_bot_has_gone_within_a_second_of_the_last_human(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.discord.enter(ADA, CHANNEL)
        world.discord.enter(BOB, CHANNEL)
        await world.wait_live()
        world.discord.go(ADA)
        await trio.sleep(5)
        assert world.discord.voices, "Bob is still there"

        world.discord.go(BOB)
        await trio.sleep(1)

        world.assert_empty()


async def test_only_people_who_are_in_the_channel_are_heard(autojump_clock: MockClock) -> None:
    another_bot = 666
    async with open_world() as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        await world.discord.speak(another_bot, TONE)
        await trio.sleep(1)
        assert not [packet for _, packet in world.voice.sent if packet != OPUS_SILENCE]

        world.discord.enter(BOB, CHANNEL)
        await trio.sleep(0.1)
        await world.discord.speak(BOB, TONE)
        await trio.sleep(1)

        assert [packet for _, packet in world.voice.sent if packet != OPUS_SILENCE]


async def test_a_second_channel_is_told_that_the_model_is_busy_and_the_first_goes_on(
    autojump_clock: MockClock,
) -> None:
    async with open_world() as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        world.discord.enter(BOB, OTHER_CHANNEL)
        await trio.sleep(1)

        assert world.discord.messages == [(OTHER_CHANNEL, ModelBusy.user_message)]
        assert world.voice.channel_id == CHANNEL

        world.discord.enter(BOB, FAR_CHANNEL)
        await trio.sleep(1)

        assert world.discord.messages[1:] == [(FAR_CHANNEL, ModelBusy.user_message)]
        assert world.voice.channel_id == CHANNEL


async def test_a_model_that_another_process_uses_is_reported_as_busy_after_joining(autojump_clock: MockClock) -> None:
    async with open_world(sessions=2) as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        world.discord.enter(BOB, FAR_CHANNEL)
        await trio.sleep(1)

        assert world.discord.messages == [(FAR_CHANNEL, ModelBusy.user_message)]
        assert world.voice.channel_id == CHANNEL


async def test_who_changes_channels_is_followed(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        world.discord.enter(ADA, OTHER_CHANNEL)
        await trio.sleep(1)

        assert world.voice.channel_id == OTHER_CHANNEL
        assert world.discord.messages == []


async def test_channels_that_are_not_allowed_are_left_alone(autojump_clock: MockClock) -> None:
    async with open_world(channels=frozenset((OTHER_CHANNEL,))) as world:
        world.discord.enter(ADA, CHANNEL)
        await trio.sleep(1)
        assert world.discord.joins == 0

        world.discord.enter(ADA, OTHER_CHANNEL)
        await world.wait_live()

        assert world.discord.joins == 1


async def test_without_auto_join_nothing_happens(autojump_clock: MockClock) -> None:
    async with open_world(auto_join=False) as world:
        world.discord.enter(ADA, CHANNEL)
        await trio.sleep(1)

        assert world.discord.joins == 0
        assert world.discord.messages == []


async def test_a_model_that_can_not_be_reached_is_told_in_words_and_tried_again_with_the_next_entry(
    autojump_clock: MockClock,
) -> None:
    class Unreachable(SimulatedModel):
        async def dial(self, address: ModelAddress) -> trio.abc.Stream:
            raise ModelUnreachable("refused")

    async with trio.open_nursery() as nursery, open_world(model=Unreachable(nursery)) as world:
        world.discord.enter(ADA, CHANNEL)
        await trio.sleep(1)
        assert world.discord.messages == [(CHANNEL, ModelUnreachable.user_message)]
        world.assert_empty()
        assert world.discord.joins == 1

        world.discord.enter(BOB, CHANNEL)
        await trio.sleep(1)

        assert world.discord.joins == 2


async def test_a_model_that_is_lost_in_mid_sentence_is_told_in_words(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        await world.model.streams[1].aclose()
        await trio.sleep(1)

        assert world.discord.messages == [(CHANNEL, "The connection to the speech model was lost.")]
        world.assert_empty()


async def test_a_message_that_is_on_its_way_when_everybody_leaves_is_written_once(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        await world.model.streams[1].aclose()
        while not world.discord.write_attempts:  # noqa: ASYNC110  # a counter, no event
            await trio.sleep(0.001)
        world.discord.go(ADA)
        await trio.sleep(1)

        assert world.discord.messages == [(CHANNEL, "The connection to the speech model was lost.")]
        assert world.discord.write_attempts == 1
        world.assert_empty()


async def test_a_voice_channel_that_can_not_be_joined_is_told_in_words(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.discord.join_fault = VoiceRefused("no permission")
        world.discord.enter(ADA, CHANNEL)
        await trio.sleep(1)

        assert world.discord.messages == [(CHANNEL, VoiceRefused.user_message)]
        world.assert_empty()


async def test_a_bot_that_was_thrown_out_of_the_channel_ends_the_conversation(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        world.voice.is_ended = True
        await trio.sleep(1)

        world.assert_empty()
        assert world.discord.messages == []


async def test_a_fault_of_ours_ends_one_conversation_with_the_generic_sentence(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_world() as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        world.voice.open_frame = None  # type: ignore[assignment]  # what it would be after a mistake
        await world.discord.speak(ADA, TONE)
        await trio.sleep(1)

        assert world.discord.messages == [(CHANNEL, PlexbridgeError.user_message)]
        world.assert_empty()
        assert "through a fault in plexbridge" in caplog.text

        world.discord.enter(BOB, CHANNEL)
        await trio.sleep(2)
        assert world.voice.channel_id == CHANNEL


async def test_the_models_words_stand_in_the_text_channel_that_the_operator_chose(autojump_clock: MockClock) -> None:
    async with (
        trio.open_nursery() as nursery,
        open_world(model=SimulatedModel(nursery, Turns), text_channel=77) as world,
    ):
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        await world.discord.speak(ADA, tone_packets(50))
        await trio.sleep(10)

        assert [channel for channel, _ in world.discord.messages] == [77]
        (text,) = (text for _, text in world.discord.messages)
        assert text.endswith(".")
        assert len(text.split()) > 2


async def test_a_channel_that_can_not_be_written_to_does_not_disturb_the_conversation(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery, open_world(model=SimulatedModel(nursery, Turns)) as world:
        world.discord.write_fault = DiscordError("forbidden")
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        for _ in range(5):
            await world.discord.speak(ADA, tone_packets(50))
            await trio.sleep(5)

        assert world.discord.write_attempts == REFUSAL_LIMIT, "then the channel is left alone"
        assert world.rooms.rooms[GUILD].people is not None
        assert [packet for _, packet in world.voice.sent if packet != OPUS_SILENCE]
