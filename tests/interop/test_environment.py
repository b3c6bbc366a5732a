"""The environments and the process: started, watched and ended within stated times."""

import time

import pytest
import trio

from tests.interop.conversation import PERSONA, open_session, spoken_messages, talk
from tests.interop.environment import (
    EXIT_GRACE_SECONDS,
    EXIT_SECONDS,
    SphnVersion,
    interop_python,
    run_model_server,
    run_script,
)
from tests.interop.wire import open_wire

pytestmark = pytest.mark.live

LIMIT_SECONDS = 30


@pytest.mark.parametrize("version", ["0.1.12", "0.2.1"])
def test_an_environment_is_made_once(version: SphnVersion) -> None:
    python = interop_python(version)
    made_at = python.lstat().st_mtime_ns

    again = interop_python(version)

    assert again == python
    assert again.lstat().st_mtime_ns == made_at


def test_a_server_that_can_not_start_is_reported_with_its_words() -> None:
    with pytest.raises(RuntimeError, match=r"needs sphn 0\.2"), run_model_server("--dialect", "moshi"):
        pass


def test_unknown_flags_are_reported() -> None:
    with pytest.raises(RuntimeError, match="--no-such-flag"), run_model_server("--no-such-flag"):
        pass


@pytest.mark.parametrize("flags", [(), ("--freeze-after", "0.2"), ("--hang-on-close",), ("--prompt-seconds", "20")])
async def test_sigterm_ends_the_server_within_two_seconds_whatever_runs(flags: tuple[str, ...]) -> None:
    """Unlike the real server, which can take a minute with a session open."""
    messages = spoken_messages(1)

    with run_model_server(*flags) as server, trio.fail_after(LIMIT_SECONDS):
        async with open_wire(server.url, PERSONA) as wire, open_wire(server.url, PERSONA):
            server.wait_state(waiting=1)
            if "--prompt-seconds" not in flags:
                await wire.receive()
                await talk(wire, messages, speed=4, tail_seconds=0)
            if "--hang-on-close" in flags:
                await wire.send_close()
            asked_at = time.monotonic()
            server.stop()
            ended_at = time.monotonic()

    assert ended_at - asked_at < EXIT_SECONDS + EXIT_GRACE_SECONDS / 3


async def test_waiting_for_a_state_gives_up_with_the_state_in_words() -> None:
    with run_model_server() as server, pytest.raises(TimeoutError, match="sessions_started=0"):
        server.wait_state(timeout_seconds=0.1, sessions_started=1)


async def test_a_killed_server_is_gone_and_the_context_ends() -> None:
    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        server.kill()
        with pytest.raises(OSError, match="all attempts to connect"):
            async with open_session(server.url):
                pass

    assert server.has_ended


def test_two_servers_run_side_by_side() -> None:
    with run_model_server() as first, run_model_server(sphn="0.2.1") as second:
        assert first.url != second.url
        assert first.state().connections == second.state().connections == 0


def test_a_script_that_fails_is_reported() -> None:
    with pytest.raises(RuntimeError, match="KeyError"):
        run_script("tests.interop.sphn_probe", {}, sphn="0.1.12")


def test_the_log_holds_the_traceback_of_a_failed_connection() -> None:
    async def connect_without_a_voice(url: str) -> None:
        async with open_wire(url, {"text_prompt": "You are kind."}) as wire:
            await wire.receive_to_end([])

    with run_model_server() as server:
        trio.run(connect_without_a_voice, server.url)
        log = server.log()

    assert "KeyError: 'voice_prompt'" in log
