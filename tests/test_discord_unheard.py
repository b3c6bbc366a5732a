"""People on Discord who talk and are not heard, for as long as it takes: what they read, and that it has an end."""

from collections.abc import Iterator

import pytest

from tests.discord_server.control import Faults
from tests.discord_server.probing import wait_until
from tests.discord_stage import Stage, run_stage

pytestmark = pytest.mark.live

GIVE_UP_SECONDS = 60.0
HEARD_AGAIN = "I can hear you again."


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with run_stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.fixture
def stage(opened: Stage) -> Iterator[Stage]:
    """A stage in mid-conversation."""
    opened.converse()
    yield opened
    opened.control.set_faults(Faults(), sender_id=opened.ada, receiver_id=opened.bot)
    opened.empty()
    opened.assert_lawful()


def test_who_can_never_be_decrypted_reads_that_five_attempts_were_in_vain(stage: Stage) -> None:
    talker, rebuilds = stage.talker, stage.bridge.log.count("Rebuild ")
    stage.control.set_faults(Faults(dave_garbage=1), sender_id=stage.ada, receiver_id=stage.bot)

    def say_and_read() -> bool:
        # Each sentence is announced, so that it is known whose it is after a rejoin.
        stage.control.speak_tone(stage.ada, seconds=1)
        return len(talker.read()) == 2

    wait_until(say_and_read, GIVE_UP_SECONDS)

    first, last = talker.read()
    assert first == (
        "I cannot hear you: what you say arrives, but can't be decrypted. I am setting up the encryption anew."
    )
    assert last.startswith("I still cannot hear you, and have given up trying: what you say arrives, but can't be dec")
    assert stage.bridge.log.count("Rebuild ") - rebuilds == 5
    assert stage.bridge.log.count("GiveUp") == 1

    stage.control.set_faults(Faults(), sender_id=stage.ada, receiver_id=stage.bot)

    assert talker.says()
    wait_until(lambda: talker.read()[2:] == [HEARD_AGAIN])


def test_who_is_said_to_speak_and_sends_nothing_reads_so_and_is_heard_over_a_new_connection(stage: Stage) -> None:
    talker = stage.talker
    assert talker.says()
    after = stage.control.last_index
    wait_until(lambda: stage.control.sent(stage.ada) != [])

    def announce() -> bool:
        # The last packets of the sentence before may still be on their way, and then it does not count.
        stage.control.announce_speaking(stage.ada)
        return bool(talker.read())

    wait_until(announce, 20)

    assert talker.read() == ["I cannot hear you: you speak, but nothing arrives. I am trying to mend that."]
    stage.control.wait("voice", "op 0", after=after, user_id=stage.bot)
    assert talker.says()
    wait_until(lambda: talker.read()[1:] == [HEARD_AGAIN])
