"""`plexbridge run` itself, on the loopback Discord: how it starts and ends, and models of which something is wrong."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import SPEECH, model_at, run, start
from tests.discord_bridge import (
    discord_at,
    enter,
    members,
    run_bridge,
    wait_bot,
    wait_talking,
)
from tests.discord_server.control import Control, run_discord_server
from tests.interop.environment import run_model_server

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def opened() -> Iterator[Control]:
    with run_discord_server() as control:
        yield control


@pytest.fixture
def discord_server(opened: Control) -> Iterator[Control]:
    """A Discord where nobody is in voice; afterwards the bot has broken no rule."""
    after = opened.last_index
    yield opened
    for room in opened.state()["rooms"]:
        for user in set(room["user_ids"]) - {opened.ready.bot_id}:
            opened.leave(user)
    breaches = opened.record(kind="violation", after=after)
    assert [entry for entry in breaches if entry.data.get("user_id") == opened.ready.bot_id] == []


@pytest.fixture
def channel(discord_server: Control, request: pytest.FixtureRequest) -> int:
    """A voice channel that nobody has been in."""
    return discord_server.add_channel(request.node.name, is_voice=True)


def test_a_model_that_can_not_be_reached_is_told_in_words(
    discord_server: Control, channel: int, tmp_path: Path
) -> None:
    with run_bridge(discord_server, tmp_path, model_at("ws://127.0.0.1:9/api/chat")) as bridge:
        enter(discord_server, "Ada", channel)
        discord_server.wait("rest", f"POST /channels/{channel}/messages")
        wait_bot(discord_server, channel, is_there=False)
        bridge.stop()

    assert [message["content"] for message in discord_server.messages(channel)] == [
        "The speech model can't be reached. Please try again later."
    ]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--die-after", "0.5"], "The connection to the speech model was lost."),
        (["--speed", "0.6"], "The speech model is too slow at the moment; some of what you say is skipped."),
        (
            ["--prompt-seconds", "4"],
            "Waiting for the speech model: it may be busy with another call, or still loading.",
        ),
        (["--close-before-handshake", "1000"], "The speech model refused the call. Its voice or persona may not exist"),
    ],
    ids=["lost", "too slow", "loading", "refused"],
)
def test_what_is_wrong_with_the_model_is_told_in_words(
    flags: list[str], sentence: str, discord_server: Control, channel: int, tmp_path: Path
) -> None:
    with run_model_server(*flags) as model, run_bridge(discord_server, tmp_path, model_at(model.url)) as bridge:
        ada = enter(discord_server, "Ada", channel)
        wait_bot(discord_server, channel, is_there=True)
        discord_server.wait_secure(ada)
        discord_server.speak_wav(ada, SPEECH, wait=False)
        discord_server.wait("rest", f"POST /channels/{channel}/messages", seconds=15)
        deadline = time.monotonic() + 15
        while not (told := [m for m in discord_server.messages(channel) if m["content"].startswith(sentence)]):
            assert time.monotonic() < deadline, discord_server.messages(channel)
            time.sleep(0.05)  # between two looks at another process
        bridge.stop()

    assert len(told) == 1


@pytest.mark.parametrize("point", ["idle", "joining", "mid-sentence"])
def test_the_service_stops_at_any_point_and_the_bot_says_goodbye(
    point: str, discord_server: Control, channel: int, tmp_path: Path
) -> None:
    with run_bridge(discord_server, tmp_path) as bridge:
        if point != "idle":
            ada = enter(discord_server, "Ada", channel)
        if point == "mid-sentence":
            wait_talking(discord_server, bridge, channel, ada)
            discord_server.speak_wav(ada, SPEECH, wait=False)
            time.sleep(1)  # into the middle of the speech
        ended = bridge.stop()

    assert ended.code == 0
    assert ended.seconds < 3
    assert "Traceback" not in ended.stderr
    assert discord_server.ready.bot_id not in members(discord_server, channel)
    assert discord_server.state()["gateway_is_online"] is False


def test_a_refused_token_ends_the_service_with_one_sentence(discord_server: Control, tmp_path: Path) -> None:
    ended = run("run", cwd=tmp_path, settings=discord_at(discord_server, TOKEN="not-the-token"))

    assert ended.code == 1
    assert ended.stderr.splitlines()[-1] == (
        "plexbridge: Discord does not accept the bot's token. Set discord.token to the one of your application."
    )
    assert "not-the-token" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_discord_that_can_not_be_reached_ends_the_service_with_one_sentence(
    discord_server: Control, tmp_path: Path
) -> None:
    settings = discord_at(discord_server, API_BASE="http://127.0.0.1:9/api/v10")
    ended = run("run", cwd=tmp_path, settings=settings)

    assert ended.code == 1
    assert ended.stderr.splitlines()[-1] == "plexbridge: Discord can't be reached."


def test_no_secret_is_in_the_log_at_any_level(discord_server: Control, channel: int, tmp_path: Path) -> None:
    prompt = "You are the canary that nobody may read about."
    settings = {"PLEXBRIDGE_LOG_LEVEL": "debug", "PLEXBRIDGE_PERSONA_PROMPT": prompt}
    with run_bridge(discord_server, tmp_path, settings) as bridge:
        ada = enter(discord_server, "Ada", channel)
        wait_talking(discord_server, bridge, channel, ada)
        discord_server.speak_tone(ada, seconds=0.5)
        ended = bridge.stop()

    for secret in (discord_server.ready.token, prompt, "canary"):
        assert secret not in ended.stderr
    assert "secret_key" not in ended.stderr


def test_without_a_token_the_service_says_how_to_turn_discord_on(tmp_path: Path) -> None:
    with start("run", cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        line = process.stderr.readline()
        process.terminate()
        process.wait(10)

    assert "PLEXBRIDGE_DISCORD_TOKEN" in line
