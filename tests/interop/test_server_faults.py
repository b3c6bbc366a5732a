"""Every fault that the flags offer is on the wire, and only there: the next session of the same server is sound."""

import json
import struct
from collections.abc import Sequence

import pytest
import trio

from tests.interop.conversation import (
    AUDIO,
    HANDSHAKE,
    PERSONA,
    Conversation,
    audio_of,
    frames_within,
    open_session,
    packets_of,
    spoken_messages,
    talk,
)
from tests.interop.environment import SphnVersion, run_model_server
from tests.interop.pages import HEADER, parse_pages
from tests.interop.tampering import ERROR_TEXT, PAYLOAD_OFFSET_TO_DAMAGE
from tests.interop.wire import BINARY, CLOSE, DROPPED, PING, PONG, TEXT, Frame, open_wire

pytestmark = pytest.mark.live

LIMIT_SECONDS = 30
WATCH_SECONDS = 0.7
MIB = 1024 * 1024

RESET = -1
"""Stands for an end by an RST, which is a kind of being dropped."""

QUERIES: dict[SphnVersion, dict[str, str]] = {"0.1.12": PERSONA, "0.2.1": {}}


async def opening(*flags: str, sphn: SphnVersion = "0.1.12") -> tuple[list[Frame], int]:
    """Return what a client that says nothing gets, and how it ends."""
    with run_model_server(*flags, sphn=sphn) as server, trio.fail_after(LIMIT_SECONDS):
        async with open_wire(server.url, QUERIES[sphn]) as wire:
            frames, code = await frames_within(wire, 1.5)
            return frames, RESET if wire.was_reset else code


async def conversation_with(*flags: str, speed: float = 8.0, sphn: SphnVersion = "0.1.12") -> Conversation:
    """Talk to a server whose first session has the faults, then see that its second one is sound."""
    messages, check = spoken_messages(2.4), spoken_messages(0.4)
    with run_model_server(*flags, "--faulty-sessions", "1", sphn=sphn) as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url, QUERIES[sphn]) as wire:
            faulty = await talk(wire, messages, speed=speed)
        async with open_session(server.url, QUERIES[sphn]) as wire:
            sound = await talk(wire, check, speed=8)
        state = server.state()
    assert sound.close_code == 0
    assert len(packets_of(audio_messages_of(sound.frames))) == (2 + 5 if sphn == "0.1.12" else 2 + 8)
    assert state.sessions_started == 2
    return faulty


def audio_messages_of(frames: Sequence[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame.opcode == BINARY and frame.payload[:1] == bytes([AUDIO])]


def payload_bytes(frames: Sequence[Frame]) -> bytes:
    return b"".join(frame.payload[1:] for frame in frames)


def is_sound(frame: Frame) -> bool:
    try:
        return bool(list(parse_pages(frame.payload[1:])))
    except ValueError:
        return False


def sequence_numbers(frames: Sequence[Frame]) -> list[int]:
    return [page.sequence for page in parse_pages(payload_bytes(frames))]


FRAMES = 30
"""Model frames in the conversations below."""


@pytest.mark.parametrize("sphn", ["0.1.12", "0.2.1"])
async def test_never_handshake_stays_in_the_prompt_and_answers_pings(sphn: SphnVersion) -> None:
    with run_model_server("--never-handshake", sphn=sphn) as server, trio.fail_after(LIMIT_SECONDS):
        async with open_wire(server.url, QUERIES[sphn]) as wire:
            await wire.send(b"", PING)
            frames, code = await frames_within(wire, WATCH_SECONDS)
            held = server.state().lock_held
            await wire.send_close()
            state = server.wait_state(sessions_ended=1)

    assert ([frame.opcode for frame in frames], code) == ([PONG], 0)
    assert held
    assert state.handshakes == 0


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--close-before-handshake"], 1000),
        (["--close-before-handshake", "4003"], 4003),
        (["--close-before-handshake", "1006"], RESET),
    ],
    ids=["default", "own code", "reset"],
)
async def test_close_before_handshake_says_nothing_else(flags: list[str], expected: int) -> None:
    assert await opening(*flags) == ([], expected)


async def test_metadata_first_sends_json_of_kind_4_before_the_handshake() -> None:
    frames, _ = await opening("--metadata-first")

    assert frames[0].payload[0] == 4
    assert json.loads(frames[0].payload[1:])
    assert frames[1].payload == HANDSHAKE


@pytest.mark.parametrize("sphn", ["0.1.12", "0.2.1"])
async def test_handshake_bytes_adds_two_version_numbers(sphn: SphnVersion) -> None:
    frames, _ = await opening("--handshake-bytes", "8", sphn=sphn)

    assert frames[0].payload[:1] == HANDSHAKE
    assert struct.unpack("<II", frames[0].payload[1:]) == (1, 1)


async def test_error_kind_before_the_handshake_is_all_there_is() -> None:
    frames, code = await opening("--error-kind", "before")

    assert [frame.payload for frame in frames] == [b"\x05" + ERROR_TEXT.encode()]
    assert code == 1000


@pytest.mark.parametrize(("sphn", "code"), [("0.1.12", 1000), ("0.2.1", 1000)])
async def test_error_kind_during_the_session_comes_after_some_audio_and_ends_it(sphn: SphnVersion, code: int) -> None:
    faulty = await conversation_with("--error-kind", sphn=sphn)

    last = [frame for frame in faulty.frames if frame.payload[:1] != b"\x02"][-1]
    assert last.payload == b"\x05" + ERROR_TEXT.encode()
    assert audio_of(faulty.frames)
    assert faulty.close_code == code


async def test_garbage_kinds_come_between_sound_audio() -> None:
    faulty = await conversation_with("--garbage-kinds")

    audio = [frame for frame in audio_messages_of(faulty.frames) if len(frame.payload) > 1]
    kinds = {frame.payload[0] for frame in faulty.frames if frame.opcode == BINARY and frame.payload}
    assert sequence_numbers(audio) == list(range(2 + FRAMES))
    assert {3, 4, 5, 6, 7, 8, 9, 10, 127, 255} <= kinds
    assert any(frame.opcode == BINARY and not frame.payload for frame in faulty.frames)
    assert {frame.payload for frame in faulty.frames if frame.opcode == TEXT} == {b"", b"a text frame"}
    assert {b"\x01", b"\x02"} <= {frame.payload for frame in faulty.frames}


async def test_damage_pages_flips_a_byte_of_every_tenth() -> None:
    faulty = await conversation_with("--damage-pages")

    assert [is_sound(frame) for frame in faulty.audio] == [number % 10 != 0 for number in range(1, FRAMES + 1)]


async def test_lose_pages_leaves_gaps_in_the_sequence() -> None:
    faulty = await conversation_with("--lose-pages", "5")

    lost = {1 + number for number in range(5, FRAMES + 1, 5)}
    assert sequence_numbers(faulty.audio) == [number for number in range(2, 2 + FRAMES) if number not in lost]


@pytest.mark.parametrize("sphn", ["0.1.12", "0.2.1"])
async def test_split_pages_cuts_each_page_over_three_messages(sphn: SphnVersion) -> None:
    faulty = await conversation_with("--split-pages", sphn=sphn)

    audio = audio_messages_of(faulty.frames)
    pages = len(sequence_numbers(audio))
    assert sequence_numbers(audio) == list(range(pages))
    assert len(audio) == 2 + 3 * (pages - 2)


async def test_join_pages_puts_several_into_one_message() -> None:
    faulty = await conversation_with("--join-pages", "3")

    assert [len(list(parse_pages(frame.payload[1:]))) for frame in faulty.audio] == [3] * (FRAMES // 3)


async def test_zero_length_packet_adds_an_empty_packet_to_a_sound_page() -> None:
    faulty = await conversation_with("--zero-length-packet", "10")

    sizes = [
        [len(packet) for page in parse_pages(frame.payload[1:]) for packet in page.packets()] for frame in faulty.audio
    ]
    assert [row[1:] for row in sizes] == [[0] if number % 10 == 0 else [] for number in range(1, FRAMES + 1)]
    assert all(row[0] > 100 for row in sizes)


@pytest.mark.parametrize(("flags", "kind"), [(["--big-message"], 2), (["--big-message", "4"], 4)])
async def test_big_message_is_2_mib_in_one_frame(flags: list[str], kind: int) -> None:
    faulty = await conversation_with(*flags)

    big = [frame.payload for frame in faulty.frames if len(frame.payload) > MIB]
    assert [(len(payload), payload[0]) for payload in big] == [(2 * MIB, kind)]
    assert len(faulty.audio) == FRAMES


@pytest.mark.parametrize("sphn", ["0.1.12", "0.2.1"])
async def test_hang_after_stops_the_audio_but_not_the_pongs(sphn: SphnVersion) -> None:
    messages = spoken_messages(1.6)

    with run_model_server("--hang-after", "0.5", sphn=sphn) as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url, QUERIES[sphn]) as wire:
            talked = await talk(wire, messages, tail_seconds=0)
            await wire.send(b"", PING)
            frames, code = await frames_within(wire, WATCH_SECONDS)
            held = server.state().lock_held
            await wire.send_close()
            state = server.wait_state(sessions_ended=1)

    assert 2 <= len(talked.audio) <= 9
    assert ([frame.opcode for frame in frames], code) == ([PONG], 0)
    assert held
    assert state.samples_out < state.samples_in or sphn == "0.2.1"


async def test_freeze_after_blocks_the_server_but_not_the_side_door_nor_its_end() -> None:
    messages = spoken_messages(1.6)

    with run_model_server("--freeze-after", "0.5") as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url) as wire:
            talked = await talk(wire, messages, tail_seconds=0)
            await wire.send(b"", PING)
            await wire.send_close()
            frames, code = await frames_within(wire, WATCH_SECONDS)
            state = server.state()

    assert 2 <= len(talked.audio) <= 9
    assert (frames, code) == ([], 0)
    assert state.lock_held


@pytest.mark.parametrize("sphn", ["0.1.12", "0.2.1"])
async def test_hang_on_close_answers_no_close_and_an_rst_frees_the_lock(sphn: SphnVersion) -> None:
    with run_model_server("--hang-on-close", sphn=sphn) as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url, QUERIES[sphn]) as wire:
            await wire.send_close()
            frames, code = await frames_within(wire, WATCH_SECONDS)
            held = server.state().lock_held
            wire.reset()
        state = server.wait_state(timeout_seconds=1, sessions_ended=1)

    assert (CLOSE not in {frame.opcode for frame in frames}, code) == (True, 0)
    assert held
    assert not state.lock_held


async def test_hang_on_close_in_the_prompt_goes_on_with_it() -> None:
    with run_model_server("--hang-on-close", "--prompt-seconds", "0.5") as server, trio.fail_after(LIMIT_SECONDS):
        async with open_wire(server.url, PERSONA) as wire:
            await wire.send_close()
            frames, code = await frames_within(wire, WATCH_SECONDS)
            held = server.state().lock_held
            wire.reset()
        server.wait_state(sessions_ended=1)

    assert code == 0
    assert CLOSE not in {frame.opcode for frame in frames}
    assert held


@pytest.mark.parametrize("sphn", ["0.1.12", "0.2.1"])
async def test_die_after_resets_the_connection_in_the_middle(sphn: SphnVersion) -> None:
    faulty = await conversation_with("--die-after", "0.6", speed=1, sphn=sphn)

    assert 3 <= len(faulty.audio) <= 12
    assert faulty.close_code == DROPPED


async def test_die_after_is_an_rst_even_for_a_client_that_says_nothing() -> None:
    frames, code = await opening("--die-after", "0.3")

    assert frames[0].payload == HANDSHAKE
    assert code == RESET


@pytest.mark.parametrize("sphn", ["0.1.12", "0.2.1"])
async def test_close_1000_after_closes_in_the_middle(sphn: SphnVersion) -> None:
    faulty = await conversation_with("--close-1000-after", "0.6", speed=1, sphn=sphn)

    assert 3 <= len(faulty.audio) <= 12
    assert faulty.close_code == 1000


async def test_the_death_of_the_process_drops_the_connection() -> None:
    messages = spoken_messages(2)

    with run_model_server() as server, trio.fail_after(LIMIT_SECONDS):
        async with open_session(server.url) as wire, trio.open_nursery() as nursery:
            conversations: list[Conversation] = []

            async def converse() -> None:
                conversations.append(await talk(wire, messages))

            nursery.start_soon(converse)
            await trio.to_thread.run_sync(lambda: server.wait_state(samples_out=9_600))
            server.kill()

    assert conversations[0].close_code == DROPPED


def test_damage_hits_the_payload_of_a_page_not_its_header() -> None:
    """Otherwise the fault would be another one: a page that is not found, or whose end is elsewhere."""
    largest_header = HEADER.size + 3

    assert largest_header <= PAYLOAD_OFFSET_TO_DAMAGE
