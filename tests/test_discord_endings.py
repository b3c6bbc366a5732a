"""A conversation on Discord that ends by design, and recoveries that are long: what people read; all is freed."""

import time
from collections.abc import Callable, Iterator

import pytest

from plexbridge.people.discord.line import ATTEMPT_SECONDS, AWAY_SENTENCE, BACK_SENTENCE
from tests.discord_bridge import members, wait_bot
from tests.discord_faults import ENDS, Scene, closed
from tests.discord_server.probing import wait_until
from tests.discord_stage import Stage, run_stage
from tests.discord_talker import Talker

pytestmark = pytest.mark.live

LEFT_SECONDS = 5.0
"""For the bot to be gone after somebody left; mostly it is a tenth of a second."""
ANSWER_SECONDS = 3.0
"""Discord waits so long for the answer to a command."""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with run_stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.fixture
def stage(opened: Stage) -> Iterator[Stage]:
    """A stage in mid-conversation; the next one can begin afterwards."""
    opened.converse()
    yield opened
    opened.control.refuse_voice(opened.bot, 4006, times=0)
    opened.empty()
    opened.assert_lawful()


@pytest.mark.parametrize("name", ENDS)
def test_what_ends_a_conversation_is_said_where_people_can_still_read_it(name: str, stage: Stage) -> None:
    partings, talker = stage.partings, stage.talker

    ENDS[name].act(stage.scene)

    seconds = stage.wait_parted(partings)
    assert seconds < LEFT_SECONDS
    wait_until(lambda: talker.read() == [words for words in (ENDS[name].read,) if words is not None])
    stage.control.leave(stage.ada)
    stage.converse()
    assert stage.talker.says(), "a new conversation can begin"


def refuse(scene: Scene) -> None:
    """The voice gateway turns the bot away for as long as it tries."""
    scene.control.refuse_voice(scene.bot_id, 4006, times=50)
    closed(4006)(scene)


def stall(scene: Scene) -> None:
    """The voice gateway does not answer the bot."""
    scene.control.stall_voice(scene.bot_id, times=50)
    closed(4006)(scene)


def outage(scene: Scene) -> None:
    """The voice server can't be reached."""
    scene.control.close_voice(scene.bot_id, 1006, outage_seconds=3)


def gateway_outage(scene: Scene) -> None:
    """Nothing can be reached."""
    scene.control.close_gateway(1006, outage_seconds=3)
    outage(scene)


@pytest.mark.parametrize("trouble", [refuse, stall, outage])
def test_who_leaves_while_the_bot_is_joining_again_is_not_waited_for(
    trouble: Callable[[Scene], None], stage: Stage
) -> None:
    partings = stage.partings
    trouble(stage.scene)
    time.sleep(1)  # into the middle of the attempts to join again

    stage.control.leave(stage.ada)

    assert stage.wait_parted(partings) < LEFT_SECONDS
    stage.control.refuse_voice(stage.bot, 4006, times=0)
    stage.converse()
    assert stage.talker.says()


def test_with_the_gateway_away_too_the_bot_comes_back(stage: Stage) -> None:
    felt = stage.talker.feel_sentence(lambda: gateway_outage(stage.scene), within_seconds=20)

    assert felt.answered_seconds is not None, felt
    assert felt.read in ([], [AWAY_SENTENCE, BACK_SENTENCE])


def test_a_long_recovery_is_spoken_of_and_commands_are_answered_meanwhile(stage: Stage) -> None:
    answers = []

    def stall_and_ask() -> None:
        stage.control.stall_voice(stage.bot, times=2)
        closed(4006)(stage.scene)
        time.sleep(0.5)  # into the middle of the attempt that stalls
        answers.append(stage.control.use_command(stage.ada, stage.channel, "status"))
        wait_until(lambda: stage.control.interaction(answers[0])["original"] is not None)

    felt = stage.talker.feel_sentence(stall_and_ask, within_seconds=20)

    assert felt.answered_seconds is not None, felt
    assert felt.answered_seconds < 3 * ATTEMPT_SECONDS, "an attempt takes no longer than it may"
    assert felt.read == [AWAY_SENTENCE, BACK_SENTENCE]
    assert stage.control.interaction(answers[0])["callback_seconds"] < ANSWER_SECONDS


def test_a_wish_to_join_while_the_bot_is_joining_changes_nothing(stage: Stage) -> None:
    stage.empty()
    channel, conversations = stage.new_channel(), stage.conversations
    stage.control.refuse_voice(stage.bot, 4006, times=2)
    stage.control.join(stage.ada, channel)
    used = [stage.control.use_command(stage.ada, channel, "join") for _ in range(2)]

    wait_until(lambda: stage.conversations > conversations)
    wait_until(lambda: all(stage.control.interaction(each)["original"] for each in used))

    for each in used:
        assert "on my way there" in stage.control.interaction(each)["original"]["content"]
    assert stage.talker.says()
    assert stage.conversations == conversations + 1


def test_the_bot_follows_where_a_moderator_moves_it_to_people(stage: Stage) -> None:
    there = stage.control.add_channel("There", is_voice=True)
    stage.control.join(stage.bob, there)

    stage.control.move_user(stage.bot, there)

    wait_bot(stage.control, there, is_there=True)
    assert stage.control.wait_secure(stage.bob)
    conversations = stage.conversations
    assert Talker(stage.control, stage.bob, there).says()
    assert not Talker(stage.control, stage.ada, stage.channel).says(1), "she is not there"
    assert stage.conversations == conversations


def test_where_nobody_is_a_moved_bot_does_not_stay(stage: Stage) -> None:
    partings, there = stage.partings, stage.control.add_channel("Empty", is_voice=True)

    stage.control.move_user(stage.bot, there)

    stage.wait_parted(partings)
    wait_bot(stage.control, there, is_there=False)
    assert members(stage.control, stage.channel) == [stage.ada]


def test_a_call_that_begins_in_clear_is_encrypted_as_soon_as_it_can_be(stage: Stage) -> None:
    stage.empty()
    channel, conversations = stage.new_channel(), stage.conversations
    stage.control.set_dave(channel, is_on=False)
    stage.control.join(stage.ada, channel)
    wait_until(lambda: stage.conversations > conversations)
    stage.control.forget_heard(stage.ada)
    assert stage.talker.says()
    assert "dave" not in {packet.protection for packet in stage.control.heard(stage.ada, stage.bot)}

    felt = stage.talker.feel_new_sentence(lambda: stage.control.set_dave(channel, is_on=True))

    assert felt.answered_seconds is not None, felt
    stage.control.forget_heard(stage.ada)
    assert stage.talker.says()
    assert "clear" not in {packet.protection for packet in stage.control.heard(stage.ada, stage.bot)}
