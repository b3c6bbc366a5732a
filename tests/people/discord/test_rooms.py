"""Rooms: conversations that start and end with people's coming and going, in simulated time."""

import itertools
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random

import pytest
import trio
from trio.testing import MockClock

from plexbridge.audio.hearing import USUAL, HearingSettings
from plexbridge.config import Mark, ModelConfig, PersonaConfig, RenewalConfig
from plexbridge.errors import (
    DiscordError,
    ModelBusy,
    ModelUnreachable,
    PlexbridgeError,
    RequestError,
    VoiceForbidden,
    VoiceRefused,
)
from plexbridge.model.answers import Turns
from plexbridge.model.conversation import State
from plexbridge.model.health import Trouble
from plexbridge.model.lock import hold_model
from plexbridge.model.pool import Pool
from plexbridge.model.request import ModelAddress
from plexbridge.people.discord.attendance import Attendance
from plexbridge.people.discord.audiences import Audiences
from plexbridge.people.discord.chat import REFUSAL_LIMIT
from plexbridge.people.discord.endings import FAREWELLS, Cause, Ending
from plexbridge.people.discord.line import JOIN_SECONDS
from plexbridge.people.discord.muteness import MUTE_SECONDS, MUTE_SENTENCE
from plexbridge.people.discord.recordings import Recordings
from plexbridge.people.discord.rooms import Rooms
from plexbridge.people.discord.spurts import OPUS_SILENCE
from plexbridge.people.discord.status import Hearing, RoomStatus
from plexbridge.relay import MARK_SENTENCE
from plexbridge.service import Backend, probe_model
from plexbridge.session.ledger import Ledger, Shed
from plexbridge.session.outage import BACK_SENTENCE, LIMIT_SECONDS, LOST_SENTENCE
from plexbridge.talk import Talk, hold_talk
from tests.audio.test_vad import NETWORKS
from tests.people.discord.choices import make_audiences, make_recordings
from tests.people.discord.memory_portal import open_memory_portal
from tests.people.discord.simulation import (
    ADA,
    BOB,
    CHANNEL,
    GUILD,
    OTHER_CHANNEL,
    FakeDiscord,
    FakeVoice,
    spoken_packets,
    tone_packets,
)
from tests.session.simulation import SETTINGS, SimulatedModel

TONE = tone_packets(20)
PLACE_SECONDS = 12.0


def model_url(number: int = 1) -> str:
    """Return a model's address, which no other run of these tests has: the host's lock is real."""
    return f"ws://model-{number}-{os.getpid()}/api/chat"


@dataclass
class World:
    """Everything that there is: Discord, the model, and plexbridge's rooms between them."""

    discord: FakeDiscord
    models: list[SimulatedModel]
    rooms: Rooms
    talks: list[Talk]
    starter_ids: list[int]

    @property
    def model(self) -> SimulatedModel:
        """The preferred model."""
        return self.models[0]

    @property
    def voice(self) -> FakeVoice:
        """The bot's one voice connection."""
        (voice,) = self.discord.voices
        return voice

    @property
    def ledger(self) -> Ledger:
        """The books of the latest conversation."""
        return self.talks[-1].progress.ledger or Ledger()

    @property
    def calls(self) -> int:
        """How often the model was called."""
        return len(self.model.streams) // 2

    @property
    def said(self) -> list[str]:
        """What people have read, but for the model's own words."""
        return [text for _, text in self.discord.messages if not text.startswith("You said")]

    def status(self, guild_id: int = GUILD) -> RoomStatus:
        """Return how the conversation in a server stands, which there has to be."""
        status = self.rooms.status(guild_id)
        assert status is not None
        return status

    async def wait_live(self) -> None:
        """Wait until a conversation has begun to be heard."""
        while not (self.talks and self.ledger.messages_received):  # noqa: ASYNC110  # a counter, no event
            await trio.sleep(0.01)

    def assert_empty(self) -> None:
        """Fail when the bot or a conversation is still anywhere."""
        assert not self.discord.voices, "the bot is still in a voice channel"
        assert not self.rooms.rooms
        for model in self.models:
            assert not model.server.is_busy
            assert all(stream.is_closed for stream in model.streams)


@asynccontextmanager
async def open_world(
    *,
    model: SimulatedModel | None = None,
    model_count: int = 1,
    slot_seconds: float = 0.0,
    auto_join: bool = True,
    channels: frozenset[int] = frozenset(),
    text_channel: int | None = None,
    audiences: Audiences | None = None,
    recordings: Recordings | None = None,
    renew_seconds: float = 240.0,
    mark: Mark = "sound",
    hearing: HearingSettings = USUAL,
    voices: Mapping[int, str] | None = None,
) -> AsyncIterator[World]:
    """Run it for the length of the block; `voices` are those of people who have chosen one."""
    async with open_memory_portal() as portal, trio.open_nursery() as nursery:
        models = [model] if model is not None else [SimulatedModel(nursery) for _ in range(model_count)]
        backends = [
            Backend(
                ModelConfig(name=f"m{number}", url=model_url(number), renew_seconds=renew_seconds),
                model_url(number),
                each.dial,
            )
            for number, each in enumerate(models, 1)
        ]
        probe = partial(probe_model, persona=PersonaConfig())
        pool = Pool(backends, slot_seconds=slot_seconds, probe=probe, random=Random(1))
        nursery.start_soon(pool.run)
        talks: list[Talk] = []
        starter_ids: list[int] = []

        async def converse(talk: Talk, starter_id: int) -> PlexbridgeError | None:
            talks.append(talk)
            starter_ids.append(starter_id)
            return await hold_talk(
                talk,
                persona=PersonaConfig(**{"voice": voices[starter_id]} if voices and starter_id in voices else {}),
                settings=SETTINGS,
                renewal=RenewalConfig(mark=mark),
                random=Random(1),
            )

        discord = FakeDiscord(nursery)
        attendance = Attendance(auto_join=auto_join, guilds=frozenset(), channels=channels)
        rooms = Rooms(
            portal,
            discord,
            attendance,
            pool,
            converse,
            text_channel=text_channel,
            place_seconds=PLACE_SECONDS,
            clock=trio.current_time,
            audiences=audiences or make_audiences(),
            recordings=recordings or make_recordings(),
            hearing=hearing,
        )
        discord.changed = partial(portal.into_trio, rooms.changed)
        nursery.start_soon(rooms.run)
        yield World(discord, models, rooms, talks, starter_ids)
        nursery.cancel_scope.cancel(reason="the test has ended")


@asynccontextmanager
async def open_talk(
    *,
    model: SimulatedModel | None = None,
    model_count: int = 1,
    text_channel: int | None = None,
    renew_seconds: float = 240.0,
    mark: Mark = "sound",
    hearing: HearingSettings = USUAL,
) -> AsyncIterator[World]:
    """Open a world in which Ada has entered a channel, and a model listens to her."""
    async with open_world(
        model=model,
        model_count=model_count,
        text_channel=text_channel,
        renew_seconds=renew_seconds,
        mark=mark,
        hearing=hearing,
    ) as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        yield world


async def test_who_enters_a_channel_is_answered_with_their_own_voice_by_the_loopback_model(
    autojump_clock: MockClock,
) -> None:
    async with open_talk() as world:
        await world.discord.speak(ADA, TONE)
        await trio.sleep(1)
        voice = world.voice
        world.discord.go(ADA)
        await trio.sleep(1)

        world.assert_empty()
    sound = [packet for _, packet in voice.sent if packet != OPUS_SILENCE]
    assert 20 <= len(sound) <= 40
    assert [packet for _, packet in voice.sent[-5:]] == [OPUS_SILENCE] * 5
    assert voice.lights == [False, True, False], "off when it joins"
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
    async with open_talk() as world:
        await world.discord.speak(another_bot, TONE)
        await trio.sleep(1)
        assert not [packet for _, packet in world.voice.sent if packet != OPUS_SILENCE]

        world.discord.enter(BOB, CHANNEL)
        await trio.sleep(0.1)
        await world.discord.speak(BOB, TONE)
        await trio.sleep(1)

        assert [packet for _, packet in world.voice.sent if packet != OPUS_SILENCE]


@pytest.mark.parametrize(("has_noise_gate", "is_heard"), [(True, False), (False, True)])
async def test_a_whistle_goes_to_the_model_only_where_noise_is_not_kept_from_it(
    has_noise_gate: bool, is_heard: bool, autojump_clock: MockClock
) -> None:
    async with open_talk(hearing=HearingSettings(has_noise_gate=has_noise_gate, networks=NETWORKS)) as world:
        await world.discord.speak(ADA, TONE * 5)
        whistled_seconds = trio.current_time()
        await trio.sleep(1)

        assert bool(sound(world.voice, whistled_seconds - 0.5, trio.current_time())) is is_heard


async def test_a_second_channel_of_the_server_is_told_where_the_bot_is_and_the_first_goes_on(
    autojump_clock: MockClock,
) -> None:
    async with open_talk() as world:
        world.discord.enter(BOB, OTHER_CHANNEL)
        await trio.sleep(1)

        assert world.discord.messages == [(OTHER_CHANNEL, f"I am with others in <#{CHANNEL}>. You may join us there.")]
        assert world.voice.channel_id == CHANNEL


async def test_a_model_that_another_process_uses_is_reported_as_busy_after_joining(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        with hold_model(model_url()):
            world.discord.enter(ADA, CHANNEL)
            await trio.sleep(1)

        assert world.discord.messages == [(CHANNEL, ModelBusy.user_message)]
        assert world.calls == 0
        world.assert_empty()


async def test_who_changes_channels_is_followed(autojump_clock: MockClock) -> None:
    async with open_talk() as world:
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


async def test_a_model_that_does_not_return_ends_the_conversation_in_the_end(
    autojump_clock: MockClock,
) -> None:
    async with open_talk() as world:
        world.model.is_gone = True
        await world.model.streams[1].aclose()
        await trio.sleep(LIMIT_SECONDS - 1)
        assert world.discord.voices, "so long it is tried"
        await trio.sleep(30)

        assert world.said == [LOST_SENTENCE, ModelUnreachable.user_message]
        world.assert_empty()


async def test_a_message_that_is_on_its_way_when_everybody_leaves_is_written_once(autojump_clock: MockClock) -> None:
    async with open_talk() as world:
        await world.model.streams[1].aclose()
        while not world.discord.write_attempts:  # noqa: ASYNC110  # a counter, no event
            await trio.sleep(0.001)
        world.discord.go(ADA)
        await trio.sleep(1)

        assert world.discord.messages == [(CHANNEL, LOST_SENTENCE)]
        assert world.discord.write_attempts == 1
        world.assert_empty()


async def test_a_voice_channel_that_can_not_be_joined_is_told_in_words(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.discord.join_fault = VoiceRefused("no answer")
        world.discord.enter(ADA, CHANNEL)
        await trio.sleep(JOIN_SECONDS + 10)

        assert world.discord.messages == [(CHANNEL, VoiceRefused.user_message)]
        world.assert_empty()


async def test_a_missing_permission_is_named_at_once(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.discord.join_fault = VoiceForbidden("I lack the permission Connect.")
        world.discord.enter(ADA, CHANNEL)
        await trio.sleep(1)

        assert world.discord.messages == [(CHANNEL, "I lack the permission Connect.")]
        world.assert_empty()


async def test_a_bot_that_was_thrown_out_of_the_channel_ends_the_conversation_and_says_why(
    autojump_clock: MockClock,
) -> None:
    async with open_talk() as world:
        world.voice.end(Ending(Cause.THROWN_OUT))
        await trio.sleep(1)

        world.assert_empty()
        assert world.discord.messages == [(CHANNEL, FAREWELLS[Cause.THROWN_OUT])]


async def test_the_conversation_with_the_model_goes_on_through_ten_broken_voice_connections(
    autojump_clock: MockClock,
) -> None:
    async with open_talk() as world:
        for _ in range(10):
            first = world.voice
            first.end(Ending(Cause.BROKEN))
            await trio.sleep(0.5)
            assert world.voice is not first
            await world.discord.speak(ADA, TONE)
            await trio.sleep(0.5)

            sound = [packet for _, packet in world.voice.sent if packet != OPUS_SILENCE]
            assert len(sound) >= 15, "Ada is heard and answered"
        assert world.calls == 1, "it is the same conversation"
        assert world.ledger.samples_sent >= 10 * 1.3 * 24_000, "silence was sent meanwhile"
        assert world.said == []


async def test_people_who_are_not_understood_read_so_and_are_heard_again_after_new_keys(
    autojump_clock: MockClock,
) -> None:
    async with open_talk() as world:
        await trio.sleep(3)
        world.voice.is_secret = True
        await world.discord.speak(ADA, TONE * 10)
        deaf = world.rooms.status(GUILD)
        await world.discord.speak(ADA, TONE * 5)
        await trio.sleep(2)

        assert deaf is not None
        said = world.said
        assert said[0].startswith("I cannot hear you: what you say arrives, but can't be decrypted.")
        assert said[1:] == ["I can hear you again."]
        assert world.voice.renewals == 1


async def test_people_who_are_never_understood_read_that_it_was_given_up_after_five_attempts(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_world() as world:
        world.discord.are_secret = True
        world.discord.heals_by_renewal = False
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        await world.discord.speak(ADA, TONE * 100)
        status = world.rooms.status(GUILD)
        await trio.sleep(2)

        said = world.said
        assert len(said) == 2, "once at the beginning, and once at the end"
        assert said[1].startswith("I still cannot hear you, and have given up trying")
        assert world.discord.joins == 1 + 4, "the first attempt keeps the connection"
        assert status is not None
        assert status.is_deaf
        assert [person.hearing for person in status.people] == [Hearing.ENCRYPTED]
    assert sum("Rebuild" in record.message for record in caplog.records) == 5


async def test_a_bot_that_can_not_speak_gets_another_connection_and_says_so(autojump_clock: MockClock) -> None:
    async with open_talk() as world:
        world.voice.can_send = False
        await trio.sleep(MUTE_SECONDS + 2)

        assert world.discord.joins == 2
        assert world.voice.can_send
        assert world.said == [MUTE_SENTENCE]


async def test_a_conversation_that_was_asked_for_is_the_one_of_who_asked(autojump_clock: MockClock) -> None:
    async with open_world(auto_join=False) as world:
        world.discord.enter(ADA, CHANNEL)
        world.discord.enter(BOB, CHANNEL)
        await trio.sleep(1)
        assert not world.rooms.rooms

        await world.rooms.join(GUILD, CHANNEL, BOB)
        await world.wait_live()

        assert world.starter_ids == [BOB]
        with pytest.raises(RequestError, match="already"):
            await world.rooms.join(GUILD, CHANNEL, ADA)
        world.rooms.leave(GUILD)
        await trio.sleep(1)
        world.assert_empty()
        world.rooms.leave(GUILD)


async def test_what_is_missing_is_named_before_a_conversation_that_was_asked_for(autojump_clock: MockClock) -> None:
    async with open_world(auto_join=False) as world:
        world.discord.enter(ADA, CHANNEL)
        await trio.sleep(0.1)
        world.discord.check_fault = VoiceForbidden("I lack the permission Speak.")
        with pytest.raises(VoiceForbidden, match="Speak"):
            await world.rooms.join(GUILD, CHANNEL, ADA)

        assert world.discord.joins == 0
        assert not world.rooms.rooms


async def test_a_wish_that_is_taken_back_at_once_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    async with open_world(auto_join=False) as world:
        world.discord.enter(ADA, CHANNEL)
        await trio.sleep(0.1)
        await world.rooms.join(GUILD, CHANNEL, ADA)
        world.rooms.leave(GUILD)
        await trio.sleep(1)

        world.assert_empty()


async def test_where_the_bot_is_moved_to_it_goes_on_with_the_people_there(autojump_clock: MockClock) -> None:
    async with open_talk() as world:
        world.discord.bot_places = {GUILD: CHANNEL}
        world.discord.enter(BOB, OTHER_CHANNEL)
        await trio.sleep(1)
        world.discord.bot_places = {GUILD: OTHER_CHANNEL}
        await world.rooms.changed()
        await trio.sleep(0.5)

        status = world.status()
        assert status.channel_id == OTHER_CHANNEL
        assert [person.user_id for person in status.people] == [BOB]
        world.voice.end(Ending(Cause.BROKEN))
        await trio.sleep(0.5)
        assert world.voice.channel_id == OTHER_CHANNEL, "that is where it returns to"
        world.discord.go(BOB)
        await trio.sleep(1)
        world.assert_empty()


async def test_where_the_bot_is_moved_to_an_empty_channel_the_conversation_ends(autojump_clock: MockClock) -> None:
    async with open_talk() as world:
        world.discord.bot_places = {GUILD: CHANNEL}
        await world.rooms.changed()
        await trio.sleep(0.1)
        world.discord.bot_places = {GUILD: OTHER_CHANNEL}
        await world.rooms.changed()
        await trio.sleep(1)

        world.assert_empty()


async def test_who_speaks_while_the_model_is_away_is_not_taken_for_unheard(autojump_clock: MockClock) -> None:
    async with open_talk() as world:
        world.model.is_gone = True
        await trio.aclose_forcefully(world.model.streams[-1])
        await trio.sleep(1)
        await world.discord.speak(ADA, TONE)
        await trio.sleep(3)
        world.model.is_gone = False
        await trio.sleep(20)

        assert world.said == [LOST_SENTENCE, BACK_SENTENCE]
        assert world.discord.joins == 1


async def test_the_status_tells_who_is_heard_and_who_is_not(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        assert world.rooms.status(GUILD) is None
        world.discord.muted = {BOB}
        world.discord.enter(ADA, CHANNEL)
        world.discord.enter(BOB, CHANNEL)
        await trio.sleep(0.05)
        early = world.rooms.status(GUILD)
        await world.wait_live()
        await world.discord.speak(ADA, TONE)
        late = world.rooms.status(GUILD)

        assert early is not None
        assert (early.encryption, early.model_state, early.delay) == (None, None, None)
        assert late is not None
        assert [(person.user_id, person.hearing) for person in late.people] == [
            (ADA, Hearing.HEARD),
            (BOB, Hearing.MUTED),
        ]
        assert late.model_state is State.LIVE
        assert late.encryption is not None
        assert late.delay is not None
        assert late.seconds > 0
        assert not late.is_deaf


async def test_the_status_tells_how_soon_answers_begin(autojump_clock: MockClock) -> None:
    async with (
        trio.open_nursery() as nursery,
        open_talk(model=SimulatedModel(nursery, Turns), hearing=HearingSettings(networks=NETWORKS)) as world,
    ):
        assert world.status().answers is None
        await world.discord.speak(ADA, spoken_packets(2.0))
        await trio.sleep(5)

        answers = world.status().answers
        assert answers is not None
        assert 0 < answers[0] == answers[1] < 2


async def test_a_model_that_restarts_is_talked_to_again_over_the_same_voice_connection(
    autojump_clock: MockClock,
) -> None:
    async with open_talk() as world:
        voice = world.voice
        await world.discord.speak(ADA, TONE)
        await trio.aclose_forcefully(world.model.streams[-1])
        await trio.sleep(3)
        await world.discord.speak(ADA, TONE)
        await trio.sleep(1)

        assert world.voice is voice
        assert world.calls >= 2
        assert world.ledger.messages_received > 10
        assert world.said == [LOST_SENTENCE, BACK_SENTENCE]
        assert voice.lights[-1] is False, "the light is off when nobody speaks"


async def test_a_fault_of_ours_ends_one_conversation_with_the_generic_sentence(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_talk() as world:
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
        open_talk(model=SimulatedModel(nursery, Turns), text_channel=77) as world,
    ):
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
        assert world.talks[0].progress.state is State.LIVE
        assert [packet for _, packet in world.voice.sent if packet != OPUS_SILENCE]


# Planned renewal


def sound(voice: FakeVoice, start_seconds: float, end_seconds: float) -> list[float]:
    """Return when sound was sent, between two times."""
    return [at for at, packet in voice.sent if packet != OPUS_SILENCE and start_seconds <= at < end_seconds]


async def speak_on(world: World) -> None:
    """Have Ada talk without a pause."""
    while True:
        await world.discord.speak(ADA, TONE)


async def test_a_renewal_is_no_outage_and_the_voice_connection_stays(autojump_clock: MockClock) -> None:
    async with open_talk(renew_seconds=4, mark="sentence") as world, trio.open_nursery() as people:
        began_seconds = trio.current_time()
        people.start_soon(speak_on, world)
        voice = world.voice
        await trio.sleep(14)

        assert world.voice is voice
        assert world.said == [MARK_SENTENCE] * 3
        assert world.calls == 4
        assert world.talks[-1].progress.renewals.reopened == 3
        for second in range(1, 14):
            assert sound(voice, began_seconds + second, began_seconds + second + 1), "each second somebody is answered"
        times = [at for at, _ in voice.sent]
        assert min(later - earlier for earlier, later in itertools.pairwise(times)) > 0.019, "on one beat"
        people.cancel_scope.cancel()


async def test_what_people_say_while_the_link_is_renewed_is_dropped_counted_and_never_replayed(
    autojump_clock: MockClock,
) -> None:
    class Slow(SimulatedModel):
        async def dial(self, address: ModelAddress) -> trio.abc.Stream:
            await trio.sleep(2.0)
            return await super().dial(address)

    async with trio.open_nursery() as nursery, open_talk(model=Slow(nursery), renew_seconds=4, mark="none") as world:
        began_seconds = trio.current_time()
        voice = world.voice
        await trio.sleep(3.6)  # in silence the link is left within the last second
        while world.talks[-1].progress.conversation is not None:  # noqa: ASYNC110  # a value, no event
            await trio.sleep(0.01)
        await world.discord.speak(ADA, TONE)
        await trio.sleep(3.5)

        renewals = world.talks[-1].progress.renewals
        assert renewals.reopened == 1
        assert renewals.unheard_frames == pytest.approx(len(TONE), abs=3)
        assert sound(voice, began_seconds, trio.current_time()) == []
        assert world.ledger.shed_frames[Shed.RENEWAL] == renewals.unheard_frames
        status = world.status()
        assert status.unheard_seconds == pytest.approx(renewals.unheard_frames * 0.02)
        assert world.said == []


async def test_a_model_that_is_gone_when_the_link_is_renewed_is_an_outage_from_then_on(
    autojump_clock: MockClock,
) -> None:
    async with open_talk(renew_seconds=11, mark="none") as world:
        world.model.is_gone = True
        await trio.sleep(13)
        assert world.said == [LOST_SENTENCE]
        world.model.is_gone = False
        await trio.sleep(6)

        assert world.said == [LOST_SENTENCE, BACK_SENTENCE]
        await world.discord.speak(ADA, TONE)
        await trio.sleep(0.5)
        assert sound(world.voice, trio.current_time() - 1, trio.current_time())


async def test_a_link_is_renewed_though_the_voice_connection_is_being_restored(autojump_clock: MockClock) -> None:
    async with open_talk(renew_seconds=4, mark="none") as world, trio.open_nursery() as people:
        people.start_soon(speak_on, world)
        await trio.sleep(3.9)
        world.voice.end(Ending(Cause.BROKEN))
        await trio.sleep(3)

        assert world.discord.joins == 2
        assert world.talks[-1].progress.renewals.reopened == 1
        assert sound(world.voice, trio.current_time() - 1, trio.current_time())
        assert world.said == []
        people.cancel_scope.cancel()


async def test_with_a_second_free_model_in_the_pool_a_room_moves_to_it_and_frees_the_first(
    autojump_clock: MockClock,
) -> None:
    async with open_talk(model_count=2, renew_seconds=4) as world, trio.open_nursery() as people:
        people.start_soon(speak_on, world)
        await trio.sleep(5)
        assert [model.server.is_busy for model in world.models] == [False, True]
        assert world.talks[-1].ticket.model == "m2"
        await trio.sleep(4)

        renewals = world.talks[-1].progress.renewals
        assert (renewals.moved, renewals.reopened) == (2, 0)
        assert renewals.longest_gap_seconds == pytest.approx(0.02)
        assert [model.server.is_busy for model in world.models] == [True, False]
        assert world.talks[-1].ticket.model == "m1"
        assert world.said == []
        people.cancel_scope.cancel()


async def test_a_model_that_dies_when_the_next_link_stands_is_left_without_a_word_and_not_used_for_a_while(
    autojump_clock: MockClock,
) -> None:
    async with open_talk(model_count=2, renew_seconds=8) as world, trio.open_nursery() as people:
        people.start_soon(speak_on, world)
        await trio.sleep(7)
        assert [model.server.is_busy for model in world.models] == [True, True], "no silence to change in"
        world.model.is_gone = True
        await world.model.streams[1].aclose()
        await trio.sleep(2)

        status = world.status()
        assert status.model == "m2"
        assert [each.trouble for each in status.models] == [Trouble.LOST, None]
        assert world.said == []
        people.cancel_scope.cancel()
