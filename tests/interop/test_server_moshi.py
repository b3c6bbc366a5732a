"""The Moshi dialect on sphn 0.2: the handshake at once, no query, no prompts, packets of 40 ms.

That an exception drops the connection is not in the written facts; kyutai's published handler catches none.
"""

from dataclasses import replace

import pytest
import trio

from tests.interop import libopus
from tests.interop.conversation import (
    AUDIO,
    FRAME_SAMPLES,
    HANDSHAKE,
    PACKET_SAMPLES,
    RATE_HZ,
    audio_messages,
    frames_until_quiet,
    open_session,
    packets_of,
    send_at_once,
    speech,
    spoken_messages,
    talk,
)
from tests.interop.environment import run_model_server
from tests.interop.pages import audio_pages, header_pages
from tests.interop.wire import BINARY, DROPPED, open_wire

pytestmark = pytest.mark.live

LIMIT_SECONDS = 30
QUICK = 8.0
"""How fast to send where time does not matter."""


async def test_the_moshi_dialect_shakes_hands_at_once_and_needs_no_query() -> None:
    with run_model_server(sphn="0.2.1") as server, trio.fail_after(LIMIT_SECONDS):
        began = trio.current_time()
        async with open_wire(server.url) as wire:
            first = await wire.receive()
        async with open_wire(server.url, {"seed": "1"}) as wire:
            with_seed = await wire.receive()
        state = server.state()

    assert first.payload == with_seed.payload == HANDSHAKE
    assert first.at_seconds - began < 0.15
    assert state.prompt_steps == 0


async def test_the_moshi_dialect_skips_the_first_frame_and_sends_packets_of_40_ms() -> None:
    """The headers come in one message with the first audio, which has two pages of its own."""
    messages = spoken_messages(2)
    frames_sent = 2 * RATE_HZ // FRAME_SAMPLES

    with run_model_server(sphn="0.2.1") as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url, {}) as wire:
            talked = await talk(wire, messages, speed=QUICK)
        state = server.state()

    audio = [frame for frame in talked.frames if frame.opcode == BINARY and frame.payload[0] == AUDIO]
    packets = packets_of(audio)
    assert len(audio) == frames_sent - 1
    assert [packet[:8] for packet in packets[:2]] == [b"OpusHead", b"OpusTags"]
    assert len(packets[2:]) == 2 * (frames_sent - 1)
    assert len(libopus.decode(packets[2:])) == (frames_sent - 1) * FRAME_SAMPLES == state.samples_out


async def test_the_moshi_dialect_eats_nothing_before_the_handshake() -> None:
    messages = spoken_messages(2)

    with run_model_server(sphn="0.2.1") as server, trio.fail_after(LIMIT_SECONDS):
        async with open_wire(server.url) as wire:
            await send_at_once(wire, messages)
            await frames_until_quiet(wire)
        state = server.state()

    assert state.samples_in == 2 * RATE_HZ
    assert (state.messages_eaten, state.audio_before_handshake) == (0, False)


async def test_an_exception_in_the_moshi_dialect_drops_the_connection() -> None:
    with run_model_server(sphn="0.2.1") as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url, {}) as wire:
            await wire.send(bytes([AUDIO]) + b"no page at all, and longer than the header of one would be")
            code = await wire.receive_to_end([])
        state = server.wait_state(sessions_ended=1)

    assert code == DROPPED
    assert state.failures == ["ValueError"]


async def test_the_moshi_dialect_takes_pages_that_the_other_dies_of() -> None:
    pages = [*header_pages(), *audio_pages(libopus.encode(speech(1), packet_samples=PACKET_SAMPLES))]
    unannounced = [replace(page, serial=77) for page in pages[2:]]

    with run_model_server(sphn="0.2.1") as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url, {}) as wire:
            await send_at_once(wire, audio_messages(unannounced))
            state = server.wait_state(samples_in=RATE_HZ)

    assert state.failures == []
