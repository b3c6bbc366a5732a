"""Commands from end to end: `plexbridge run` on the loopback Discord, before, during and after a conversation."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.discord_bridge import Bridge, run_bridge, wait_bot, wait_talking
from tests.discord_server.control import Control, run_discord_server
from tests.discord_server.probing import wait_until

pytestmark = pytest.mark.live

SETTINGS = {"PLEXBRIDGE_DISCORD_AUTO_JOIN": "false", "PLEXBRIDGE_DISCORD_PREFIX_COMMANDS": "true"}
EPHEMERAL = 1 << 6


@pytest.fixture
def discord_server() -> Iterator[Control]:
    with run_discord_server() as control:
        yield control
        assert control.violations(control.ready.bot_id) == []


@pytest.fixture
def bridge(discord_server: Control, tmp_path: Path) -> Iterator[Bridge]:
    with run_commands(discord_server, tmp_path) as running:
        yield running
        ended = running.stop()
        assert ended.code == 0
        assert "fault in plexbridge" not in ended.stderr
        assert "Traceback" not in ended.stderr


@contextmanager
def run_commands(control: Control, folder: Path) -> Iterator[Bridge]:
    """Run a bridge whose commands are known to Discord, which it tells them beside everything else."""
    after = control.last_index
    with run_bridge(control, folder, SETTINGS) as running:
        control.wait("rest", f"PUT /applications/{control.ready.application_id}/commands", after=after)
        yield running


def ask(control: Control, person: int, path: str, **options: str) -> Any:
    """Let a person use a command; return the message that answers it."""
    used = control.use_command(person, control.ready.channels["general"], path, **options)
    control.wait("interaction", "callback", interaction_id=used)
    wait_until(lambda: control.interaction(used)["original"] is not None)
    return control.interaction(used)["original"]


def talk(control: Control, bridge: Bridge, person: int, channel: int) -> None:
    """Have the bot in a channel with a person, both of them encrypted."""
    control.join(person, channel)
    wait_until(lambda: "Joining" in ask(control, person, "join")["content"])
    wait_talking(control, bridge, channel, person)


def test_the_bot_is_called_and_sent_away_and_says_meanwhile_how_it_fares(
    discord_server: Control, bridge: Bridge
) -> None:
    control, channel = discord_server, discord_server.voice_channel()
    ada, bob = control.add_person("Ada"), control.add_person("Bob")
    before = ask(control, ada, "status")
    nowhere = ask(control, ada, "join")
    talk(control, bridge, ada, channel)
    control.speak_tone(ada, seconds=1.0)
    during = ask(control, ada, "status")
    again = ask(control, ada, "join")
    of_bob = ask(control, bob, "leave")
    left = ask(control, ada, "leave")
    seconds = wait_bot(control, channel, is_there=False)

    assert before["content"].startswith("No conversation is running in this server.")
    assert nowhere["content"] == "Enter a voice channel first. Then use /join, if I am not there already."
    assert f"In <#{channel}> for " in during["content"]
    assert f"\nHeard: <@{ada}>\n" in during["content"]
    code = re.search(r"voice privacy code: ([0-9 ]+)", during["content"])
    assert code is not None
    assert "\nSpeech model loopback, with the voice NATF0: listening\nDelay: quick (" in during["content"]
    assert f"I am in <#{channel}> already" in again["content"]
    assert of_bob["content"].startswith(f"Only people in <#{channel}>")
    assert left["content"] == f"Leaving <#{channel}>. With /join I come again."
    assert not left["flags"] & EPHEMERAL
    assert all(message["flags"] & EPHEMERAL for message in (before, nowhere, during, again, of_bob))
    assert seconds <= 1.0


def test_commands_are_answered_while_the_voice_connection_is_restored(discord_server: Control, bridge: Bridge) -> None:
    control, channel = discord_server, discord_server.voice_channel()
    ada = control.add_person("Ada")
    talk(control, bridge, ada, channel)

    control.close_voice(control.ready.bot_id, 4006, outage_seconds=3.0)
    time.sleep(0.5)  # the outage has begun, and lasts
    status, voice = ask(control, ada, "status"), ask(control, ada, "voice", name="natm1")
    wait_until(lambda: "The voice connection does not stand" not in ask(control, ada, "status")["content"])

    assert "The voice connection does not stand at the moment; I am working on it." in status["content"]
    assert voice["content"] == (
        "I speak with the voice NATM1 from the next conversation on that you start. The present one keeps its voice."
    )


def test_settings_outlive_the_process_and_a_personas_text_is_read_nowhere(
    discord_server: Control, tmp_path: Path
) -> None:
    control, general = discord_server, discord_server.ready.channels["general"]
    ada = control.add_person("Ada")
    with run_commands(control, tmp_path) as first:
        answers = [ask(control, ada, "voice", name="varm3"), ask(control, ada, "persona", text="You are a walrus.")]
        first.stop()
    with run_commands(control, tmp_path) as second:
        answers.append(ask(control, ada, "voices"))
        control.say(ada, general, "!status")
        wait_until(lambda: len(control.messages(general)) > 1 and control.messages(general)[-1]["content"] != "!status")
        reply = control.messages(general)[-1]["content"]
        second.stop()

    assert "**VARM3** (yours)" in answers[2]["content"]
    assert reply.endswith("The voice in conversations that you start: VARM3, with a persona of your own")
    assert "walrus" not in "".join([first.log, second.log, reply, *(answer["content"] for answer in answers)])
