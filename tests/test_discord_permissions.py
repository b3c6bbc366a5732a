"""What the bot lacks is named before anything is tried: permissions, a place in a full channel, and an intent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.discord_bridge import Bridge, discord_at, run_bridge, wait_bot
from tests.discord_server.control import Control, run_discord_server
from tests.discord_server.options import PRIVILEGED_INTENTS
from tests.discord_server.probing import wait_until

pytestmark = pytest.mark.live

MESSAGE_CONTENT = 1 << 15
ON_REQUEST = {"PLEXBRIDGE_DISCORD_AUTO_JOIN": "false"}


@pytest.fixture(scope="module")
def discord_server() -> Iterator[Control]:
    with run_discord_server() as control:
        yield control
        assert control.violations(control.ready.bot_id) == []


@pytest.fixture(scope="module")
def bridge(discord_server: Control, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    after = discord_server.last_index
    with run_bridge(discord_server, tmp_path_factory.mktemp("bridge"), ON_REQUEST) as running:
        wait_commands(discord_server, after)
        yield running
        ended = running.stop()
        assert ended.code == 0
        assert "Traceback" not in ended.stderr


@pytest.fixture
def ada(discord_server: Control, bridge: Bridge) -> Iterator[int]:
    """A person in the voice channel; the bot's permissions are all there before and after."""
    person = discord_server.add_person("Ada")
    discord_server.join(person, discord_server.voice_channel())
    yield person
    discord_server.set_bot_permissions()
    discord_server.set_bot_permissions(channel_id=discord_server.voice_channel())
    discord_server.set_user_limit(discord_server.voice_channel(), 0)
    discord_server.leave(person)
    wait_bot(discord_server, discord_server.voice_channel(), is_there=False)


def wait_commands(control: Control, after: int) -> None:
    """Wait until Discord has been told which commands there are."""
    control.wait("rest", f"PUT /applications/{control.ready.application_id}/commands", after=after)


def ask(control: Control, person: int, path: str) -> Any:
    """Let a person use a command; return the message that answers it."""
    used = control.use_command(person, control.ready.channels["general"], path)
    wait_until(lambda: control.interaction(used)["original"] is not None)
    return control.interaction(used)["original"]


def attempts(control: Control, after: int) -> list[Any]:
    """Return the bot's attempts to join voice."""
    op_4 = [entry for entry in control.record(kind="gateway", after=after) if entry.name == "op 4"]
    return [*op_4, *control.record(kind="voice", name="join refused", after=after)]


@pytest.mark.parametrize(
    ("denied", "name"),
    [("connect", "Connect"), ("speak", "Speak"), ("view_channel", "View Channel"), ("send_messages", "Send Messages")],
)
@pytest.mark.parametrize("is_in_channel_only", [False, True], ids=["in the server", "in the channel"])
def test_a_missing_permission_is_named_and_nothing_is_tried(
    discord_server: Control, ada: int, denied: str, name: str, is_in_channel_only: bool
) -> None:
    channel = discord_server.voice_channel()
    discord_server.set_bot_permissions(denied, channel_id=channel if is_in_channel_only else None)
    wait_until(lambda: name in ask(discord_server, ada, "join")["content"])
    after = discord_server.last_index
    answer = ask(discord_server, ada, "join")

    assert answer["content"].startswith(f"I lack the permission {name} in <#{channel}>. ")
    assert "can grant it to my role" in answer["content"]
    assert answer["flags"] & (1 << 6), "only who asks reads it"
    assert attempts(discord_server, after) == []


def test_a_full_channel_is_named_and_nothing_is_tried(discord_server: Control, ada: int) -> None:
    channel = discord_server.voice_channel()
    discord_server.set_bot_permissions("move_members")
    discord_server.set_user_limit(channel, 1)
    wait_until(lambda: "is full" in ask(discord_server, ada, "join")["content"])
    after = discord_server.last_index

    assert ask(discord_server, ada, "join")["content"] == f"<#{channel}> is full: its user limit is 1."
    assert attempts(discord_server, after) == []


def test_with_all_permissions_the_bot_comes(discord_server: Control, ada: int) -> None:
    wait_until(lambda: ask(discord_server, ada, "join")["content"].startswith("Joining"))
    wait_bot(discord_server, discord_server.voice_channel(), is_there=True)


def test_who_enters_a_channel_that_the_bot_may_not_join_reads_why(discord_server: Control, tmp_path: Path) -> None:
    with run_discord_server() as control:
        channel = control.voice_channel()
        control.set_bot_permissions("connect")
        with run_bridge(control, tmp_path):
            person = control.add_person("Ada")
            control.join(person, channel)
            wait_until(lambda: bool(control.messages(channel)))

            (message,) = control.messages(channel)
            assert message["content"].startswith(f"I lack the permission Connect in <#{channel}>.")
            assert control.record(kind="voice", name="join refused") == []


def test_a_missing_intent_is_named_with_where_to_grant_it_and_slash_commands_work(tmp_path: Path) -> None:
    with run_discord_server("--allowed-privileged-intents", str(PRIVILEGED_INTENTS & ~MESSAGE_CONTENT)) as control:
        settings = {**ON_REQUEST, "PLEXBRIDGE_DISCORD_PREFIX_COMMANDS": "true"}
        after = control.last_index
        with run_bridge(control, tmp_path, {**settings, **discord_at(control)}) as running:
            wait_commands(control, after)
            person = control.add_person("Ada")
            control.say(person, control.ready.channels["general"], "!status")
            answer = ask(control, person, "status")

            assert "discord.prefix_commands needs the Message Content Intent" in running.log
            assert f"https://discord.com/developers/applications/{control.ready.application_id}/bot" in running.log
            assert "No conversation is running" in answer["content"]
            replies = [
                message
                for message in control.messages(control.ready.channels["general"])
                if message.get("message_reference")
            ]
            assert replies == [], "what was written is not read"
