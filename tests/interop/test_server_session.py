"""A running PersonaPlex session: what is answered, what is ignored, and that all failures end alike.

Measured difference to the written facts: a message of exactly 4 MiB is too big already.
"""

import numpy as np
import pytest
import trio

from tests.interop import libopus
from tests.interop.conversation import (
    AUDIO,
    FRAME_SAMPLES,
    HANDSHAKE,
    PERSONA,
    RATE_HZ,
    audio_messages,
    audio_of,
    frames_until_quiet,
    frames_within,
    lag_and_likeness,
    open_session,
    send_at_once,
    speech,
    spoken_messages,
    talk,
)
from tests.interop.environment import run_model_server
from tests.interop.pages import audio_pages, header_pages, page_of
from tests.interop.wire import PING, PONG, TEXT, open_wire

pytestmark = pytest.mark.live

LIMIT_SECONDS = 30
OPUS_LOOKAHEAD_SAMPLES = 156
MIB = 1024 * 1024
QUICK = 8.0
"""How fast to send where time does not matter."""


async def test_without_input_not_one_sample_comes_out() -> None:
    messages = spoken_messages(1)

    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url) as wire:
            talked = await talk(wire, messages)
            afterwards = await frames_until_quiet(wire, 1.0)
        state = server.state()

    assert len(talked.audio) == RATE_HZ // FRAME_SAMPLES
    assert afterwards == []
    assert state.samples_in == RATE_HZ
    assert state.samples_out == RATE_HZ // FRAME_SAMPLES * FRAME_SAMPLES


async def test_the_recording_is_what_the_decoder_got_in_the_latest_session() -> None:
    messages = spoken_messages(2)

    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        for _ in range(2):
            async with open_session(server.url) as wire:
                await send_at_once(wire, messages)
                server.wait_state(samples_in=2 * RATE_HZ)
                await wire.send_close()
                await wire.receive_to_end([])
        received = server.received().astype(np.float32)

    assert len(received) == 2 * RATE_HZ
    lag_samples, likeness = lag_and_likeness(speech(2), received)
    assert lag_samples == pytest.approx(OPUS_LOOKAHEAD_SAMPLES, abs=2)
    assert likeness > 0.95


async def test_text_comes_in_raw_pieces_and_bytes_in_words() -> None:
    messages = spoken_messages(2)
    frames_sent = 2 * RATE_HZ // FRAME_SAMPLES

    with run_model_server("--text-every", "1", "--byte-pieces") as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url) as wire:
            talked = await talk(wire, messages, speed=QUICK)

    pieces = talked.pieces()
    emoji = ["<0xF0>", "<0x9F>", "<0x99>", "<0x82>"]
    at = pieces.index("<0xF0>")
    assert len(pieces) == frames_sent
    assert pieces[at : at + 4] == emoji
    assert " café" in pieces
    assert not any("▁" in piece for piece in pieces)


async def test_tokens_without_a_piece_are_not_sent() -> None:
    messages = spoken_messages(2)

    with run_model_server("--text-every", "5") as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url) as wire:
            talked = await talk(wire, messages, speed=QUICK)
        state = server.state()

    assert len(talked.pieces()) == 5
    assert state.tokens_suppressed == 20


async def test_whatever_is_no_audio_is_ignored() -> None:
    messages = spoken_messages(1)
    strange = [b"", *(bytes([kind]) + b"x" for kind in (0, 2, 3, 4, 5, 6, 7, 8, 9, 200, 255))]

    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url) as wire:
            for message in strange:
                await wire.send(message)
            await wire.send(b"a text frame", TEXT)
            talked = await talk(wire, messages, speed=QUICK)
        state = server.state()

    assert len(talked.audio) == RATE_HZ // FRAME_SAMPLES
    assert state.ignored_messages == len(strange) + 1


async def test_pings_are_answered_at_once_in_the_session() -> None:
    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url) as wire:
            await frames_until_quiet(wire)
            began = trio.current_time()
            await wire.send(b"", PING)
            answer = await wire.receive()

    assert answer.opcode == PONG
    assert answer.at_seconds - began < 0.1


@pytest.mark.parametrize(("size_bytes", "close_code"), [(4 * MIB - 1, 0), (4 * MIB, 1009), (4 * MIB + 1, 1009)])
async def test_a_message_of_4_mib_is_too_big(size_bytes: int, close_code: int) -> None:
    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url) as wire:
            await wire.send(b"\x09" + bytes(size_bytes - 1))
            await wire.send(b"", PING)
            frames, code = await frames_within(wire, 1)

    assert code == close_code
    assert (PONG in {frame.opcode for frame in frames}) == (close_code == 0)


async def test_compression_is_used_when_offered_and_not_otherwise() -> None:
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate"}

    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        async with open_wire(server.url, PERSONA, headers=offer) as wire:
            offered = wire.headers.get("sec-websocket-extensions", "")
            compressed = await wire.receive()
        async with open_wire(server.url, PERSONA) as wire:
            not_offered = wire.headers.get("sec-websocket-extensions", "")
            plain = await wire.receive()

    assert offered.startswith("permessage-deflate")
    assert compressed.is_compressed
    assert not_offered == ""
    assert (plain.is_compressed, plain.payload) == (False, HANDSHAKE)


async def test_an_exception_in_the_model_looks_like_a_normal_end() -> None:
    messages = spoken_messages(6)

    with run_model_server("--close-1000-after", "0.5") as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url) as wire:
            talked = await talk(wire, messages)
            reason = wire.close_reason
        state = server.wait_state(sessions_ended=1)

    assert (talked.close_code, reason) == (1000, b"")
    assert 3 <= len(talked.audio) <= 8
    assert state.failures == ["ModelFailure"]


async def test_one_damaged_page_ends_the_session_normally() -> None:
    messages = list(spoken_messages(1))
    messages[30] = messages[30][:-1] + bytes([messages[30][-1] ^ 0xFF])

    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url) as wire:
            await send_at_once(wire, messages)
            code = await wire.receive_to_end([])
            reason = wire.close_reason
        state = server.wait_state(sessions_ended=1)

    assert (code, reason) == (1000, b"")
    assert state.failures[0] in ("AttributeError", "ValueError")


async def test_a_zero_length_packet_adds_ten_seconds_of_audio() -> None:
    messages = spoken_messages(4)
    empty = bytes([AUDIO]) + page_of(b"", sequence=len(messages)).encode()

    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url) as wire:
            await send_at_once(wire, [*messages, empty])
            frames = await frames_until_quiet(wire)

    assert len(audio_of(frames)) == 14 * RATE_HZ // FRAME_SAMPLES


async def test_stereo_packets_of_discord_pass_unchanged() -> None:
    stereo = np.repeat(speech(2), 4)
    packets = libopus.encode(stereo, rate_hz=48_000, channels=2, packet_samples=960, application=libopus.AUDIO)
    messages = audio_messages([*header_pages(channels=2), *audio_pages(packets)])

    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url) as wire:
            await send_at_once(wire, messages)
            frames = await frames_until_quiet(wire)

    assert len(audio_of(frames)) == 2 * RATE_HZ // FRAME_SAMPLES
