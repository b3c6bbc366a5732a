"""What breaks under a conversation on Discord, and is mended: people are heard again, and nothing is left behind."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from plexbridge.people.discord.attention import EVERYONE_SENTENCE
from plexbridge.people.discord.line import AWAY_SENTENCE, BACK_SENTENCE
from tests.discord_faults import FAULTS, closed
from tests.discord_server.control import ControlError
from tests.discord_stage import Stage, run_stage

pytestmark = pytest.mark.live

OTHER_CODES = (1000, 1001, 4001, 4002, 4003, 4004, 4005, 4011, 4012, 4016, 4017, 4020)
"""All others with which the voice gateway closes, but for those that end the conversation."""
SHORT_HOLE_SECONDS = 1.5
"""What these take is a tenth of it; other programs may use the computer."""
LONG_HOLE_SECONDS = 10.0
LONG = {"op 9 false", "deaf: dave", "deaf: transport"}
"""Until these are noticed, or mended by discord.py, a few seconds pass."""
CALM_SECONDS = 30.0
"""How long an answer without a hole is waited for: a busy computer makes holes of its own."""
UNHEARD = "I cannot hear you: "
SEED_VARIABLE = "PLEXBRIDGE_TEST_SEED"
SEQUENCE_FAULTS = 8


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with run_stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.fixture
def stage(opened: Stage) -> Iterator[Stage]:
    """A stage in mid-conversation; afterwards it is the same conversation, and has as many tasks as before."""
    opened.converse()
    conversations, before = opened.conversations, opened.bridge.count()
    yield opened
    assert opened.conversations == conversations
    opened.assert_lawful()
    opened.assert_nothing_left(before)


def assert_read(name: str, read: list[str]) -> None:
    """Compare what was read with what should be: nothing, but when nobody was heard for seconds."""
    read = [words for words in read if words != EVERYONE_SENTENCE]  # a guest came
    if name.startswith("deaf"):
        assert len(read) == 2
        assert read[0].startswith(UNHEARD)
        assert read[1] == "I can hear you again."
    else:
        assert [words for words in read if words not in (AWAY_SENTENCE, BACK_SENTENCE)] == []
        assert name in LONG or read == []


@pytest.mark.parametrize("name", FAULTS)
def test_who_talks_on_is_heard_again(name: str, stage: Stage) -> None:
    FAULTS[name].prepare(stage.scene)

    felt = stage.talker.feel_sentence(lambda: FAULTS[name].act(stage.scene), within_seconds=CALM_SECONDS)

    FAULTS[name].clean_up(stage.scene)
    assert felt.answered_seconds is not None, felt
    assert felt.hole_seconds < (LONG_HOLE_SECONDS if name in LONG else SHORT_HOLE_SECONDS), felt
    assert_read(name, felt.read)


@pytest.mark.parametrize("name", [name for name in FAULTS if not name.startswith("deaf")])
def test_a_new_sentence_is_answered(name: str, stage: Stage) -> None:
    FAULTS[name].prepare(stage.scene)

    felt = stage.talker.feel_new_sentence(lambda: FAULTS[name].act(stage.scene))

    FAULTS[name].clean_up(stage.scene)
    assert felt.answered_seconds is not None, felt
    assert_read(name, felt.read)


@pytest.mark.parametrize("code", OTHER_CODES)
def test_whatever_the_voice_gateway_closes_with_people_are_heard_again(code: int, stage: Stage) -> None:
    felt = stage.talker.feel_sentence(lambda: closed(code)(stage.scene), within_seconds=CALM_SECONDS)

    assert felt.answered_seconds is not None, felt
    assert felt.hole_seconds < SHORT_HOLE_SECONDS, felt
    assert felt.read == []
    assert stage.talker.says()


def test_two_moves_after_a_reconnect_are_followed(stage: Stage) -> None:
    def reconnect_and_move() -> None:
        after = stage.control.last_index
        closed(4006)(stage.scene)
        stage.control.wait("voice", "joined", after=after, user_id=stage.bot)
        assert stage.control.wait_secure(stage.ada)
        FAULTS["servers"].act(stage.scene)

    felt = stage.talker.feel_sentence(reconnect_and_move, within_seconds=CALM_SECONDS)

    assert felt.hole_seconds < SHORT_HOLE_SECONDS, felt
    assert felt.read == []
    assert stage.talker.says()


def test_faults_in_any_order_and_before_the_last_one_is_mended(stage: Stage) -> None:
    seed = int(os.environ.get(SEED_VARIABLE, random.randrange(1 << 16)))
    chance = random.Random(seed)
    names = chance.choices([name for name in FAULTS if not name.startswith("deaf")], k=SEQUENCE_FAULTS)
    print(f"{SEED_VARIABLE}={seed}: {names}")

    def suffer() -> None:
        for name in names:
            FAULTS[name].prepare(stage.scene)
            with suppress(ControlError):  # there is no connection that could be closed
                FAULTS[name].act(stage.scene)
            time.sleep(chance.uniform(0.0, 1.0))  # before, during or after the recovery: part of the sequence
            FAULTS[name].clean_up(stage.scene)

    felt = stage.talker.feel_sentence(suffer, within_seconds=60)

    print(felt)
    assert felt.answered_seconds is not None, felt
    # A guest comes and goes in some of the faults.
    assert set(felt.read) <= {AWAY_SENTENCE, BACK_SENTENCE, EVERYONE_SENTENCE}
    assert stage.talker.says()
