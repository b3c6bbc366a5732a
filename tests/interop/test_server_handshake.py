"""The prompts before the handshake, and the lock that lets one session run at a time.

Not reproduced here: a client that vanished without a FIN. To the server it is the same as a silent one, which has a
test. The time that such a client holds the lock is cut to seconds.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio

from tests.interop.conversation import (
    HANDSHAKE,
    PERSONA,
    frames_within,
    open_session,
    say,
    send_at_once,
    spoken_messages,
)
from tests.interop.environment import run_model_server
from tests.interop.pages import BEGIN_OF_STREAM, parse_pages
from tests.interop.wire import CLOSE, PING, PONG, Frame, Wire, open_wire

pytestmark = pytest.mark.live

LIMIT_SECONDS = 30
SILENT_STEP_SECONDS = 0.01
PROMPT_STEPS = 4 + 6 + 5 + 6
"""Voice, silence, the words of the persona with two tags, silence."""

ALL_STEPS_OF_2_SECONDS = 25 + 6 + 5 + 6
"""The same with a voice prompt of two seconds."""

WATCH_SECONDS = 0.7
"""How long nothing has to come before a test says that nothing comes."""


async def test_the_handshake_is_a_single_zero_byte_after_all_prompt_steps() -> None:
    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        began = trio.current_time()
        async with open_wire(server.url, PERSONA) as wire:
            first = await wire.receive()
        state = server.state()

    assert first.payload == b"\x00"
    assert state.prompt_steps == PROMPT_STEPS
    assert first.at_seconds - began > PROMPT_STEPS * SILENT_STEP_SECONDS


async def test_a_slow_voice_prompt_delays_the_handshake() -> None:
    with run_model_server("--prompt-seconds", "1") as server, trio.fail_after(LIMIT_SECONDS):
        began = trio.current_time()
        async with open_wire(server.url, PERSONA) as wire:
            first = await wire.receive()

    assert first.payload == HANDSHAKE
    assert first.at_seconds - began > 1.0


async def test_both_headers_follow_the_handshake_before_any_audio_of_the_client_and_then_nothing() -> None:
    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url) as wire:
            frames, _ = await frames_within(wire, WATCH_SECONDS)

    pages = [list(parse_pages(frame.payload[1:])) for frame in frames]
    assert [frame.payload[0] for frame in frames] == [1, 1]
    assert [page.packets()[0][:8] for group in pages for page in group] == [b"OpusHead", b"OpusTags"]
    assert [page.header_type for group in pages for page in group] == [BEGIN_OF_STREAM, 0]


async def send_headers_only(wire: Wire) -> None:
    """The audio proper comes after the handshake; a second is enough, since the first of it ends the session."""
    messages = spoken_messages(6)
    await say(wire, messages[:2])
    await trio.sleep(1)
    await say(wire, messages[2:])


async def send_in_real_time(wire: Wire) -> None:
    await say(wire, spoken_messages(6))


async def send_302_messages_at_once(wire: Wire) -> None:
    messages = spoken_messages(6)
    assert len(messages) == 302
    await send_at_once(wire, messages)


@pytest.mark.parametrize("send_early", [send_headers_only, send_in_real_time, send_302_messages_at_once])
async def test_audio_before_the_handshake_is_eaten_and_the_first_audio_after_it_ends_the_session(
    send_early: Callable[[Wire], Awaitable[None]],
) -> None:
    """The close is a normal one: sphn's reader died of a stream without a head.

    Which loop meets that first is a matter of timing: reading from a dead reader gives None, feeding it raises.
    """

    async def send(wire: Wire) -> None:
        # The server stops reading in the middle of it.
        with suppress(trio.BrokenResourceError):
            await send_early(wire)

    frames: list[Frame] = []
    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        async with open_wire(server.url, PERSONA) as wire, trio.open_nursery() as nursery:
            nursery.start_soon(send, wire)
            first = await wire.receive()
            close_code = await wire.receive_to_end(frames)
            nursery.cancel_scope.cancel()
        state = server.state()

    assert first.payload == HANDSHAKE
    assert close_code == 1000
    assert [page.packets()[0][:4] for frame in frames for page in parse_pages(frame.payload[1:])] == [b"Opus"] * len(
        frames
    )
    assert state.audio_before_handshake
    assert 2 <= state.messages_eaten <= PROMPT_STEPS + 1
    assert set(state.failures) <= {"AttributeError", "ValueError"}
    assert state.failures
    assert state.samples_in == state.samples_out == 0


async def test_each_prompt_step_eats_one_message() -> None:
    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        async with open_wire(server.url, PERSONA) as wire:
            for _ in range(PROMPT_STEPS + 11):
                await wire.send(b"\x06")
            await wire.receive()
            state = server.wait_state(ignored_messages=1)
            state = server.wait_state(ignored_messages=10)

    assert state.messages_eaten == PROMPT_STEPS + 1
    assert state.ignored_messages == 10


async def test_a_queue_of_messages_makes_the_prompts_shorter() -> None:
    words = {"text_prompt": "go " * 60}

    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        began = trio.current_time()
        async with open_wire(server.url, PERSONA | words) as wire:
            silent_seconds = (await wire.receive()).at_seconds - began
        server.wait_state(lock_held=False)
        began = trio.current_time()
        async with open_wire(server.url, PERSONA | words) as wire:
            for _ in range(60):
                await wire.send(b"\x06")
            busy_seconds = (await wire.receive()).at_seconds - began

    assert busy_seconds < 0.7 * silent_seconds


async def test_pings_are_answered_in_the_prompt() -> None:
    with run_model_server("--prompt-seconds", "1") as server, trio.fail_after(LIMIT_SECONDS):
        async with open_wire(server.url, PERSONA) as wire:
            await wire.send(b"are you there", PING)
            first = await wire.receive()
            state = server.state()

    assert (first.opcode, first.payload) == (PONG, b"are you there")
    assert (state.handshakes, state.pings_received) == (0, 1)


async def test_a_close_in_the_prompt_is_seen_at_the_next_step_but_each_later_phase_still_begins() -> None:
    with run_model_server("--prompt-seconds", "2") as server, trio.fail_after(LIMIT_SECONDS):
        async with open_wire(server.url, PERSONA) as wire:
            await wire.send_close()
            first = await wire.receive()
            state = server.wait_state(sessions_ended=1)

    phases = 4
    assert first.opcode == CLOSE
    assert state.handshakes == 0
    assert phases <= state.prompt_steps < ALL_STEPS_OF_2_SECONDS / 2


async def test_a_second_client_waits_in_silence_until_the_first_is_gone() -> None:
    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url) as first, open_wire(server.url, PERSONA) as second:
            status = second.status
            while_waiting, _ = await frames_within(second, WATCH_SECONDS)
            waiting = server.state().waiting
            await first.send_close()
            after = await second.receive()
        steps = server.state().prompt_steps

    assert status == 101
    assert while_waiting == []
    assert waiting == 1
    assert after.payload == HANDSHAKE
    assert steps == PROMPT_STEPS


async def test_neither_pings_nor_closes_are_answered_while_waiting() -> None:
    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url) as first, open_wire(server.url, PERSONA) as second:
            await second.send(b"are you there", PING)
            await second.send_close()
            while_waiting, _ = await frames_within(second, WATCH_SECONDS)
            pings_while_waiting = server.state().pings_received
            await first.send_close()
            afterwards: list[Frame] = []
            close_code = await second.receive_to_end(afterwards)
        state = server.wait_state(sessions_ended=2)

    assert while_waiting == []
    assert pings_while_waiting == 0
    assert [frame.opcode for frame in afterwards] == [PONG]
    assert close_code == 1000
    assert state.handshakes == 1


async def test_prompts_of_the_last_who_queued_are_used_by_the_first() -> None:
    def persona(voice: str, text: str) -> dict[str, str]:
        return {"voice_prompt": voice, "text_prompt": text}

    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        async with (
            open_session(server.url, persona("NATF0.pt", "first")) as talking,
            open_wire(server.url, persona("NATF1.pt", "second")) as second,
            open_wire(server.url, persona("NATM0.pt", "third")),
        ):
            server.wait_state(waiting=2)
            await talking.send_close()
            handshake = await second.receive()
            state = server.state()

    assert handshake.payload == HANDSHAKE
    assert state.waiting == 1
    assert (state.voice, state.text_prompt) == ("NATM0.pt", "<system> third <system>")


async def test_a_silent_client_keeps_the_lock() -> None:
    silence_seconds = 2

    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url) as silent, open_wire(server.url, PERSONA) as second:
            headers = [await silent.receive(), await silent.receive()]
            nothing, _ = await frames_within(second, silence_seconds)
            to_the_silent, _ = await frames_within(silent, 0.1)
            state = server.state()

    assert len(headers) == 2
    assert nothing == to_the_silent == []
    assert (state.lock_held, state.waiting) == (True, 1)


async def leave_with_close(wire: Wire) -> None:
    await wire.send_close()


async def leave_with_fin(wire: Wire) -> None:
    await wire.vanish()


async def leave_with_rst(wire: Wire) -> None:
    wire.reset()
    await wire.vanish()


@pytest.mark.parametrize("leave", [leave_with_close, leave_with_fin, leave_with_rst])
@pytest.mark.parametrize("prompt_seconds", [4, 0], ids=["in the prompt", "in the session"])
async def test_whoever_leaves_frees_the_lock_in_about_a_step(
    leave: Callable[[Wire], Awaitable[None]], prompt_seconds: int
) -> None:
    with run_model_server("--prompt-seconds", str(prompt_seconds)) as server, trio.fail_after(LIMIT_SECONDS):
        async with open_wire(server.url, PERSONA) as wire:
            if prompt_seconds:
                server.wait_state(prompt_steps=2)
            else:
                await wire.receive()
            await leave(wire)
            state = server.wait_state(timeout_seconds=1, sessions_ended=1)

    assert not state.lock_held
    assert state.handshakes == (0 if prompt_seconds else 1)


async def test_a_session_with_one_connection_at_a_time_can_follow_another() -> None:
    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        for _ in range(3):
            async with open_session(server.url) as wire:
                await wire.send_close()
                await wire.receive_to_end([])
        state = server.wait_state(sessions_ended=3)

    assert state.handshakes == 3
    assert state.close_codes == [1000] * 3
