"""The model's server goes and comes while people are in a voice channel; and Discord is slow with what is written."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from plexbridge.session.outage import BACK_SENTENCE, LOST_SENTENCE
from tests.command import model_at
from tests.discord_server.control import Control
from tests.discord_server.probing import wait_until
from tests.discord_stage import Stage, run_stage
from tests.interop.environment import ModelServer, run_model_server

pytestmark = pytest.mark.live

LEFT_SECONDS = 5.0
FEW_WORDS = ("--text-every", "12")
"""The test server writes a word about once a second."""


class Model:
    """A server that can be killed and started again at the same address."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.server: ModelServer = stack.enter_context(run_model_server(*FEW_WORDS))

    def restart(self) -> None:
        """Start it again after it was killed."""
        self.server = self._stack.enter_context(run_model_server(*FEW_WORDS, "--port", str(self.server.port)))


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with ExitStack() as stack:
        yield Model(stack)


@pytest.fixture(scope="module")
def opened(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with run_stage(tmp_path_factory.mktemp("stage"), model_at(model.server.url)) as stage:
        yield stage


@pytest.fixture
def stage(opened: Stage) -> Iterator[Stage]:
    """A stage in mid-conversation."""
    opened.converse()
    yield opened
    opened.empty()
    opened.assert_lawful()


def notices(stage: Stage) -> list[str]:
    """Return what the bot has said itself about the model."""
    return [words for words in stage.talker.read() if words in (LOST_SENTENCE, BACK_SENTENCE)]


def connections(control: Control, user_id: int, after: int) -> list[str]:
    """Return what has been done since to be in a voice channel."""
    entries = [*control.record(kind="voice", name="op 0", after=after), *control.record(kind="gateway", after=after)]
    return [entry.name for entry in entries if entry.name == "op 4" or entry.data.get("user_id") == user_id]


def test_people_stay_connected_while_the_model_is_away_and_read_of_it_twice(stage: Stage, model: Model) -> None:
    after, conversations = stage.control.last_index, stage.conversations

    def restart() -> None:
        model.server.kill()
        time.sleep(1)  # so long the outage lasts at least
        model.restart()

    felt = stage.talker.feel_sentence(restart, within_seconds=30)

    assert felt.answered_seconds is not None, felt
    assert notices(stage) == [LOST_SENTENCE, BACK_SENTENCE]
    assert stage.conversations == conversations + 1
    assert connections(stage.control, stage.bot, after) == []
    spoken = stage.control.record(kind="voice", name="op 5")
    assert len({entry.data["data"]["ssrc"] for entry in spoken[-3:] if entry.data["user_id"] == stage.bot}) == 1
    assert stage.talker.says()


def test_who_leaves_while_the_model_is_away_is_not_waited_for(stage: Stage, model: Model) -> None:
    partings = stage.partings
    model.server.kill()
    wait_until(lambda: notices(stage) == [LOST_SENTENCE])

    stage.control.leave(stage.ada)

    assert stage.wait_parted(partings) < LEFT_SECONDS
    model.restart()
    stage.converse()
    assert stage.talker.says()


@pytest.mark.parametrize("slowness", ["limited", "late"])
def test_a_discord_that_is_slow_with_words_does_not_disturb_the_talk(slowness: str, stage: Stage) -> None:
    """Messages, their changes and a command's answer are late or refused for a while (429)."""
    rule = partial(stage.control.add_rest_rule, times=2)
    if slowness == "limited":
        rule = partial(rule, status=429, retry_after_seconds=1.0)
    else:
        rule = partial(rule, delay_seconds=2.0)
    used = []

    def slow() -> None:
        for method, path in (("POST", "/channels/.*"), ("PATCH", "/channels/.*"), ("POST", "/interactions/.*")):
            rule(method, path)
        used.append(stage.control.use_command(stage.ada, stage.channel, "status"))

    felt = stage.talker.feel_sentence(slow)

    assert felt.answered_seconds == 0.0, felt
    wait_until(lambda: stage.control.interaction(used[0])["original"] is not None)
    written = len("".join(stage.talker.read()))
    wait_until(lambda: len("".join(stage.talker.read())) > written, 15)
