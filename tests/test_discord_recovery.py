"""Recoveries that meet a second fault: a server that refuses or is silent is no goodbye, and costs little time."""

import time
from collections.abc import Iterator

import pytest

from tests.discord_bridge import Bridge, run_bridge, wait_bot, wait_talking
from tests.discord_server.control import Control, ControlError, run_discord_server
from tests.discord_server.probing import wait_until

pytestmark = pytest.mark.live

RECOVERY_SECONDS = 8.0
"""The goal is 5 s, which the benchmark holds plexbridge to; here other tests may run beside it."""


@pytest.fixture(scope="module")
def discord_server() -> Iterator[Control]:
    with run_discord_server() as control:
        yield control


@pytest.fixture(scope="module")
def bridge(discord_server: Control, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with run_bridge(discord_server, tmp_path_factory.mktemp("bridge")) as running:
        yield running
        ended = running.stop()
        assert ended.code == 0
        assert "Traceback" not in ended.stderr
        assert "never retrieved" not in ended.stderr


@pytest.fixture
def ada(discord_server: Control, bridge: Bridge) -> Iterator[int]:
    """A person in a conversation."""
    person = discord_server.add_person("Ada")
    discord_server.join(person, discord_server.voice_channel())
    wait_talking(discord_server, bridge, discord_server.voice_channel(), person)
    yield person
    discord_server.leave(person)
    wait_bot(discord_server, discord_server.voice_channel(), is_there=False)


def is_moved(control: Control, user: int, channel: int) -> bool:
    """Move a user; return whether that was possible, as it is not while the user is nowhere."""
    try:
        control.move_user(user, channel)
    except ControlError:
        return False
    return True


def answered_seconds(control: Control, person: int) -> float:
    """Let a person talk until the bot answers; return how long that took."""
    started = time.monotonic()
    control.forget_heard(person)
    while time.monotonic() < started + 20:
        control.speak_tone(person, seconds=0.6)
        heard = control.heard(person, control.ready.bot_id, "dave", "clear")
        if any(packet.at_seconds > started + 0.3 for packet in heard):
            return time.monotonic() - started
    raise AssertionError("the person was not answered")


@pytest.mark.parametrize("trouble", ["4006", "4015", "1006", "stalled"])
@pytest.mark.parametrize("fault", ["moved", "closed"])
def test_a_new_connection_that_fails_at_first_is_tried_again(
    discord_server: Control, bridge: Bridge, ada: int, fault: str, trouble: str
) -> None:
    channel, bot = discord_server.voice_channel(), discord_server.ready.bot_id
    conversations, after = bridge.log.count("talking to model"), discord_server.last_index
    if trouble == "stalled":
        discord_server.stall_voice(bot, 1)
    else:
        discord_server.refuse_voice(bot, int(trouble), 1)
    if fault == "moved":
        discord_server.move_voice_server(channel)
    else:
        discord_server.close_voice(bot, 4006)
    discord_server.wait("voice", "closed", after=after, user_id=bot)
    seconds = answered_seconds(discord_server, ada)

    assert seconds < RECOVERY_SECONDS
    assert bridge.log.count("talking to model") == conversations, "it is the same conversation"


def test_a_moderator_who_moves_the_bot_while_it_joins_again_is_followed(
    discord_server: Control, bridge: Bridge, ada: int
) -> None:
    channel, bot = discord_server.voice_channel(), discord_server.ready.bot_id
    other = discord_server.add_channel("Other", is_voice=True)
    discord_server.join(ada, other)
    wait_until(lambda: bot not in (discord_server.room(channel) or {"user_ids": []})["user_ids"], seconds=10)
    discord_server.refuse_voice(bot, 0, 0)
    wait_talking(discord_server, bridge, other, ada)
    bob = discord_server.add_person("Bob")
    discord_server.join(bob, channel)
    discord_server.close_voice(bot, 4006)
    wait_until(lambda: is_moved(discord_server, bot, channel))
    wait_bot(discord_server, channel, is_there=True, seconds=15)

    assert answered_seconds(discord_server, bob) < 15
    discord_server.leave(bob)
