"""What each command does and answers, whatever is the matter, in simulated time."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from plexbridge.config import ModelConfig, PersonaConfig
from plexbridge.errors import (
    DiscordError,
    DiscordLost,
    PlexbridgeError,
    RequestError,
    StoreError,
    VoiceForbidden,
    VoiceRefused,
)
from plexbridge.model.conversation import State
from plexbridge.model.health import ModelStatus, Trouble
from plexbridge.model.request import build_request
from plexbridge.model.standing import Standing
from plexbridge.people.discord.asking import Answer, Command, Request, person_id
from plexbridge.people.discord.audiences import Audiences
from plexbridge.people.discord.commands import GLANCE_SECONDS, JOIN_SECONDS, STORE_SECONDS, Commands
from plexbridge.people.discord.status import Encryption, Hearing, Listening, PersonStatus, RoomStatus
from tests.people.discord.choices import MemoryChoices, make_audiences, make_recordings
from tests.people.discord.simulation import ADA, BOB, CHANNEL, GUILD, OTHER_CHANNEL

SECRET = "You are a very secretive walrus."
ROOM = RoomStatus(
    channel_id=CHANNEL,
    starter_id=ADA,
    seconds=60.0,
    people=(PersonStatus(ADA, Hearing.HEARD),),
    listening=Listening("I listen to everyone.", {}, ()),
    encryption=Encryption(0, is_ready=False, privacy_code=""),
    model="personaplex",
    model_state=State.LIVE,
    voice="NATF0",
    delay=None,
    is_deaf=False,
)


@dataclass
class FakeConversations:
    """At most one conversation."""

    room: RoomStatus | None = None
    fault: Exception | None = None
    delay_seconds: float = 0.0
    joins: list[tuple[int, int, int]] = field(default_factory=list)
    leaves: list[int] = field(default_factory=list)
    statuses: tuple[ModelStatus, ...] = ()

    async def join(self, guild_id: int, channel_id: int, user_id: int) -> None:
        """Take note, and fail if that is wanted."""
        await trio.sleep(self.delay_seconds)
        if self.fault is not None:
            raise self.fault
        self.joins.append((guild_id, channel_id, user_id))

    def leave(self, guild_id: int) -> None:
        """Take note."""
        self.leaves.append(guild_id)

    def status(self, guild_id: int) -> RoomStatus | None:
        """Return the one conversation."""
        return self.room if guild_id == GUILD else None

    def models(self) -> tuple[ModelStatus, ...]:
        """Return how the models stand."""
        return self.statuses


@dataclass
class Wishes:
    """What one person has set."""

    voice: str | None = None
    prompt: str | None = None


@dataclass
class FakeSettings:
    """Settings in memory, which take their time, or fail."""

    wishes: dict[str, Wishes] = field(default_factory=dict)
    fault: Exception | None = None
    delay_seconds: float = 0.01

    async def load(self, person_id: str) -> Wishes:
        """Return a copy."""
        await self._work()
        return replace(self.wishes.get(person_id, Wishes()))

    async def set_voice(self, person_id: str, voice: str) -> None:
        """Keep a voice."""
        await self._work()
        self.wishes.setdefault(person_id, Wishes()).voice = voice

    async def set_prompt(self, person_id: str, prompt: str) -> None:
        """Keep a persona."""
        await self._work()
        self.wishes.setdefault(person_id, Wishes()).prompt = prompt

    async def reset(self, person_id: str) -> bool:
        """Forget both."""
        await self._work()
        return self.wishes.pop(person_id, None) is not None

    async def _work(self) -> None:
        await trio.sleep(self.delay_seconds)
        if self.fault is not None:
            raise self.fault

    def of(self, user_id: int) -> Wishes:
        """Return what a Discord user has set."""
        return self.wishes.get(person_id(user_id), Wishes())


@dataclass
class Desk:
    """Commands, and what they work on."""

    conversations: FakeConversations
    settings: FakeSettings
    choices: MemoryChoices
    audiences: Audiences
    commands: Commands

    async def ask(
        self,
        command: Command,
        text: str = "",
        *,
        user_id: int = ADA,
        channel_id: int | None = CHANNEL,
        may_move_members: bool = False,
        may_manage_server: bool = False,
        may_mute_members: bool = False,
        guild_id: int = GUILD,
    ) -> Answer:
        """Ask for something."""
        request = Request(
            command, text, guild_id, user_id, channel_id, may_move_members, may_manage_server, may_mute_members
        )
        return await self.commands.answer(request)


def make_desk(
    *,
    room: RoomStatus | None = None,
    models: Sequence[ModelConfig] = (ModelConfig(url="ws://model/api/chat"),),
    persona: PersonaConfig | None = None,
) -> Desk:
    conversations, settings, choices = FakeConversations(room), FakeSettings(), MemoryChoices()
    audiences = make_audiences(choices)
    persona = persona or PersonaConfig()
    commands = Commands(conversations, settings, audiences, make_recordings(), persona=persona, models=models)
    return Desk(conversations, settings, choices, audiences, commands)


MOSHI = ModelConfig(dialect="moshi", url="ws://model/api/chat")
WAITING = replace(ROOM, standing=Standing(1, 60.0), model="", voice=None, model_state=None)
TAKEN = ModelStatus("big", 1, 1, None, 0.0)
AWAY = ModelStatus("small", 0, 1, Trouble.UNREACHABLE, 5.0)


# Coming and going


async def test_join_brings_the_bot_to_where_the_person_is_and_everybody_reads_it() -> None:
    desk = make_desk()

    answer = await desk.ask(Command.JOIN)

    assert answer == Answer(f"Joining <#{CHANNEL}>.", is_private=False)
    assert desk.conversations.joins == [(GUILD, CHANNEL, ADA)]


@pytest.mark.parametrize(
    ("statuses", "is_queued"), [((TAKEN,), True), ((TAKEN, AWAY), True), ((TAKEN, replace(TAKEN, slots=2)), False)]
)
async def test_join_says_when_all_models_are_taken(statuses: tuple[ModelStatus, ...], is_queued: bool) -> None:
    desk = make_desk()
    desk.conversations.statuses = statuses

    answer = await desk.ask(Command.JOIN)

    queued = f"Joining <#{CHANNEL}> when it is your turn: all models are taken."
    assert answer.text == (queued if is_queued else f"Joining <#{CHANNEL}>.")


async def test_leave_gives_up_the_place_in_the_queue() -> None:
    desk = make_desk(room=WAITING)

    answer = await desk.ask(Command.LEAVE)

    assert answer.text == f"I don't wait for <#{CHANNEL}> any more. With /join you get another place."
    assert desk.conversations.leaves == [GUILD]


async def test_the_status_of_who_waits_shows_the_place() -> None:
    answer = await make_desk(room=WAITING).ask(Command.STATUS)

    assert "You are 1st in the queue, about a minute." in answer.text


async def test_the_status_without_a_conversation_shows_models_that_fail() -> None:
    desk = make_desk()
    desk.conversations.statuses = (AWAY,)

    assert "Model small: out of order" in (await desk.ask(Command.STATUS)).text


async def test_who_is_in_no_voice_channel_is_told_to_enter_one_first() -> None:
    desk = make_desk()

    answer = await desk.ask(Command.JOIN, channel_id=None)

    assert answer == Answer("Enter a voice channel first. Then use /join, if I am not there already.", is_private=True)
    assert desk.conversations.joins == []


@pytest.mark.parametrize(
    "fault",
    [
        RequestError("I am talking with others in <#11>. You may join us there."),
        VoiceForbidden("I lack the permission Connect in <#10>."),
        VoiceRefused("no answer"),
        DiscordLost("the loop has ended"),
    ],
)
async def test_why_the_bot_does_not_join_is_told_to_who_asked(fault: RequestError | DiscordError) -> None:
    desk = make_desk()
    desk.conversations.fault = fault

    assert await desk.ask(Command.JOIN) == Answer(fault.user_message, is_private=True)


async def test_a_join_without_an_end_is_given_up(autojump_clock: MockClock) -> None:
    desk = make_desk()
    desk.conversations.delay_seconds = 1e6

    answer = await desk.ask(Command.JOIN)

    assert answer == Answer(f"Joining <#{CHANNEL}> took too long. Please try again.", is_private=True)
    assert trio.current_time() == pytest.approx(JOIN_SECONDS)


@pytest.mark.parametrize(
    ("channel_id", "may_move_members"), [(CHANNEL, False), (OTHER_CHANNEL, True), (None, True), (CHANNEL, True)]
)
async def test_who_is_with_the_bot_or_may_move_members_sends_it_away(
    channel_id: int | None, may_move_members: bool
) -> None:
    desk = make_desk(room=ROOM)

    answer = await desk.ask(Command.LEAVE, channel_id=channel_id, may_move_members=may_move_members)

    assert answer == Answer(f"Leaving <#{CHANNEL}>. With /join I come again.", is_private=False)
    assert desk.conversations.leaves == [GUILD]


@pytest.mark.parametrize("channel_id", [OTHER_CHANNEL, None])
async def test_others_can_not_send_it_away_and_read_why(channel_id: int | None) -> None:
    desk = make_desk(room=ROOM)

    answer = await desk.ask(Command.LEAVE, channel_id=channel_id)

    sentence = f"Only people in <#{CHANNEL}>, and moderators who may move members, can send me away from there."
    assert answer == Answer(sentence, is_private=True)
    assert desk.conversations.leaves == []


async def test_a_bot_that_is_nowhere_can_not_leave() -> None:
    desk = make_desk()

    answer = await desk.ask(Command.LEAVE, may_move_members=True)

    assert answer == Answer("I am in no voice channel of this server.", is_private=True)
    assert desk.conversations.leaves == []


# Voices


@pytest.mark.parametrize(
    ("typed", "voice"), [("natm1", "NATM1"), ("VARF4.pt", "VARF4"), ("myvoice.wav", "myvoice.wav")]
)
async def test_a_voice_is_kept_for_the_next_conversation(typed: str, voice: str) -> None:
    desk = make_desk()

    answer = await desk.ask(Command.VOICE, typed)

    assert answer == Answer(
        f"I speak with the voice {voice} from the next conversation on that you start.", is_private=True
    )
    assert desk.settings.of(ADA) == Wishes(voice)


async def test_who_is_in_a_conversation_reads_that_it_keeps_its_voice() -> None:
    desk = make_desk(room=ROOM)

    answer = await desk.ask(Command.VOICE, "NATM1")
    elsewhere = await desk.ask(Command.VOICE, "NATM1", channel_id=OTHER_CHANNEL)

    sentence = "I speak with the voice NATM1 from the next conversation on that you start."
    assert answer.text == f"{sentence} The present one keeps its voice."
    assert elsewhere.text == sentence


@pytest.mark.parametrize("typed", ["NATF9", "../secret", "voice with blanks", "x" * 1_000, "<@1>"])
async def test_a_voice_that_does_not_exist_is_refused_with_the_nearest_ones(typed: str) -> None:
    desk = make_desk()

    answer = await desk.ask(Command.VOICE, typed)

    assert answer.text.startswith(("There is no voice called ", "There is no such voice."))
    assert answer.is_private
    assert "<@1>" not in answer.text
    assert desk.settings.wishes == {}


async def test_a_voice_without_a_name_is_asked_for() -> None:
    desk = make_desk()

    answer = await desk.ask(Command.VOICE)

    assert answer.text == "Name a voice, as in /voice NATF0. You can read with /voices which there are."


async def test_the_voices_are_listed_in_their_groups_with_ones_own_and_the_default() -> None:
    desk = make_desk()
    await desk.ask(Command.VOICE, "VARM2")

    answer = await desk.ask(Command.VOICES)

    assert answer.text.splitlines() == [
        "Natural female: **NATF0** (the default), NATF1, NATF2, NATF3",
        "Natural male: NATM0, NATM1, NATM2, NATM3",
        "Varied female: VARF0, VARF1, VARF2, VARF3, VARF4",
        "Varied male: VARM0, VARM1, **VARM2** (yours), VARM3, VARM4",
        "Choose one with /voice, as in /voice NATM1.",
    ]
    assert answer.is_private


async def test_a_voice_that_is_both_chosen_and_the_default_is_marked_as_both() -> None:
    desk = make_desk()
    await desk.ask(Command.VOICE, "natf0")

    assert "**NATF0** (yours, the default), NATF1" in (await desk.ask(Command.VOICES)).text


async def test_own_voices_stand_in_the_list_too() -> None:
    desk = make_desk(persona=PersonaConfig(voice="house_voice.pt"))
    await desk.ask(Command.VOICE, "myvoice.pt")

    lines = (await desk.ask(Command.VOICES)).text.splitlines()

    assert lines[4:6] == [r"Own voice: **myvoice.pt** (yours)", r"Own voice: **house\_voice.pt** (the default)"]


# Personas


async def test_a_persona_is_kept_and_neither_repeated_nor_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    desk = make_desk(room=ROOM)

    answer = await desk.ask(Command.PERSONA, f"  {SECRET}\n ")

    sentence = (
        "Your persona is stored, and holds from the next conversation on that you start. "
        "The present one keeps its persona."
    )
    assert answer == Answer(sentence, is_private=True)
    assert desk.settings.of(ADA) == Wishes(prompt=SECRET)
    assert "walrus" not in caplog.text


@pytest.mark.parametrize("text", ["", "  \n", "\x00\x07"])
async def test_a_persona_of_nothing_is_asked_for(text: str) -> None:
    desk = make_desk()

    answer = await desk.ask(Command.PERSONA, text)

    assert answer.text == "Say who the speech model is to be, as in /persona You are a patient teacher."
    assert desk.settings.wishes == {}


@pytest.mark.parametrize("model", [ModelConfig(url="ws://model/api/chat"), ModelConfig(dialect="loopback"), MOSHI])
async def test_a_persona_that_is_too_long_is_refused_with_the_number_of_characters(model: ModelConfig) -> None:
    desk = make_desk(models=[model])

    answer = await desk.ask(Command.PERSONA, "ä" * 2_000)

    assert answer.text.startswith("The persona text is too long for the speech model. Please shorten it")
    assert desk.settings.wishes == {}


async def test_a_persona_that_is_accepted_fits_beside_any_voice() -> None:
    desk = make_desk()
    own_voice = "v" * 61 + ".pt"

    def fits(chars: int) -> bool:
        try:
            build_request(dialect="personaplex", url="ws://model/api/chat", voice=own_voice, prompt="x" * chars)
        except RequestError:
            return False
        return True

    longest = next(chars for chars in range(8_000, 0, -1) if fits(chars))
    await desk.ask(Command.PERSONA, "x" * (longest + 1))
    refused = desk.settings.of(ADA)
    await desk.ask(Command.PERSONA, "x" * longest)

    assert refused == Wishes()
    assert desk.settings.of(ADA) == Wishes(prompt="x" * longest)


# Going back


async def test_reset_forgets_both_and_says_so() -> None:
    desk = make_desk()
    await desk.ask(Command.VOICE, "NATM1")
    await desk.ask(Command.PERSONA, SECRET)

    first, second = await desk.ask(Command.RESET), await desk.ask(Command.RESET)

    assert first.text == "You have the usual voice and persona again, from the next conversation on that you start."
    assert second.text == "You have set nothing: you have the usual voice and persona."
    assert first.is_private
    assert second.is_private
    assert desk.settings.wishes == {}


async def test_reset_in_a_conversation_says_that_it_goes_on_unchanged() -> None:
    desk = make_desk(room=ROOM)
    await desk.ask(Command.VOICE, "NATM1")

    assert (await desk.ask(Command.RESET)).text.endswith(" The present one keeps its voice and persona.")


@pytest.mark.parametrize(
    ("command", "text"), [(Command.VOICE, "NATM1"), (Command.PERSONA, SECRET), (Command.VOICES, "")]
)
async def test_that_only_some_models_have_voices_and_personas_is_said(command: Command, text: str) -> None:
    desk = make_desk(models=[ModelConfig(url="ws://model/api/chat"), MOSHI])

    answer = await desk.ask(command, text)

    assert answer.text.endswith(
        "Some of the speech models in use have neither a choice of voices nor a persona, so this has no effect on them."
    )


@pytest.mark.parametrize(
    ("command", "text"), [(Command.VOICE, "NATM1"), (Command.PERSONA, SECRET), (Command.VOICES, "")]
)
async def test_a_model_without_voices_and_personas_is_named_as_such(command: Command, text: str) -> None:
    desk = make_desk(models=[MOSHI])

    answer = await desk.ask(command, text)

    assert answer.text.endswith(
        "The speech model in use has neither a choice of voices nor a persona, so this has no effect on it."
    )


async def test_two_people_who_change_their_settings_at_once_get_their_own(autojump_clock: MockClock) -> None:
    desk = make_desk()

    async with trio.open_nursery() as nursery:
        for user_id, voice in ((ADA, "NATF1"), (BOB, "NATM2")):
            nursery.start_soon(partial(desk.ask, Command.VOICE, voice, user_id=user_id))
            nursery.start_soon(partial(desk.ask, Command.PERSONA, f"I am {user_id}.", user_id=user_id))

    assert desk.settings.of(ADA) == Wishes("NATF1", f"I am {ADA}.")
    assert desk.settings.of(BOB) == Wishes("NATM2", f"I am {BOB}.")


# The status


async def test_status_describes_the_conversation_and_the_persons_own_voice() -> None:
    desk = make_desk(room=ROOM)
    await desk.ask(Command.VOICE, "my_voice.pt", user_id=BOB)
    await desk.ask(Command.PERSONA, SECRET, user_id=BOB)

    of_ada, of_bob = await desk.ask(Command.STATUS), await desk.ask(Command.STATUS, user_id=BOB)

    assert of_ada.text.startswith(f"In <#{CHANNEL}> for 1 minute; <@{ADA}> started it.\nHeard: <@{ADA}>\n")
    assert of_ada.text.endswith("\nThe voice in conversations that you start: NATF0 (the usual one)")
    assert of_bob.text.endswith(
        "\nThe voice in conversations that you start: my\\_voice.pt, with a persona of your own"
    )
    assert of_ada.is_private
    assert "walrus" not in of_bob.text


async def test_status_without_a_conversation_names_the_model_and_the_way_to_one() -> None:
    desk = make_desk(room=ROOM)

    answer = await desk.ask(Command.STATUS, guild_id=GUILD + 1)

    assert answer.text == (
        "No conversation is running in this server. Enter a voice channel and use /join to talk with the speech model "
        "personaplex.\nThe voice in conversations that you start: NATF0 (the usual one)"
    )


async def test_status_works_while_the_voice_connection_is_restored_and_says_so() -> None:
    desk = make_desk(room=replace(ROOM, encryption=None))

    answer = await desk.ask(Command.STATUS)

    assert "The voice connection does not stand at the moment; I am working on it." in answer.text.splitlines()


# What fails


@pytest.mark.parametrize("fault", [StoreError("the database is locked"), None])
@pytest.mark.parametrize("command", [Command.STATUS, Command.VOICES])
async def test_a_look_at_settings_that_fails_or_hangs_leaves_the_rest_of_the_answer(
    command: Command, fault: StoreError | None, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    desk = make_desk(room=ROOM)
    desk.settings.fault, desk.settings.delay_seconds = fault, 0.01 if fault else 1e6

    answer = await desk.ask(command)

    assert "Your own settings can't be read at the moment." in answer.text.splitlines()
    assert len(answer.text.splitlines()) >= 4
    assert trio.current_time() <= GLANCE_SECONDS
    assert [record.levelname for record in caplog.records] == ["WARNING"]


CHANGES = [(Command.VOICE, "NATM1"), (Command.PERSONA, SECRET), (Command.RESET, "")]


@pytest.mark.parametrize(("command", "text"), CHANGES)
async def test_a_change_that_fails_is_told_in_the_stores_words(
    command: Command, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk = make_desk()
    desk.settings.fault = StoreError("the database is locked")

    answer = await desk.ask(command, text)

    assert answer == Answer(StoreError.user_message, is_private=True)
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert "the database is locked" in record.getMessage()


@pytest.mark.parametrize(("command", "text"), CHANGES)
async def test_a_change_that_hangs_is_given_up(command: Command, text: str, autojump_clock: MockClock) -> None:
    desk = make_desk()
    desk.settings.delay_seconds = 1e6

    answer = await desk.ask(command, text)

    assert answer == Answer("That took too long, so it may not be stored. Please try again.", is_private=True)
    assert trio.current_time() == pytest.approx(STORE_SECONDS)


@pytest.mark.parametrize(("command", "text"), [*CHANGES, (Command.STATUS, ""), (Command.VOICES, "")])
async def test_a_bug_is_logged_once_with_its_traceback_and_told_without_its_text(
    command: Command, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk = make_desk()
    desk.settings.fault = ZeroDivisionError("a detail")

    answer = await desk.ask(command, text)

    assert answer == Answer(PlexbridgeError.user_message, is_private=True)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_a_wish_that_can_not_be_fulfilled_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    desk = make_desk()

    await desk.ask(Command.JOIN, channel_id=None)

    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("INFO", None)]


async def test_a_cancelled_command_ends_at_once(autojump_clock: MockClock) -> None:
    desk = make_desk()
    desk.conversations.delay_seconds = 1e6

    with trio.move_on_after(0.5) as scope:
        await desk.ask(Command.JOIN)

    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(0.5)


async def test_every_command_has_an_answer_within_a_message(autojump_clock: MockClock) -> None:
    desk = make_desk(models=[MOSHI], persona=PersonaConfig(voice=f"{'v' * 61}.pt"))
    desk.settings.wishes[person_id(ADA)] = Wishes(f"{'w' * 61}.pt")

    for command in Command:
        for text in ("", "x" * 10_000, "natm1"):
            answer = await desk.ask(command, text)
            assert 0 < len(answer.text) <= 2_000
