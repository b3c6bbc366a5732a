"""The embedded model seen by a client that shares no code with ours: trio-websocket over memory, in simulated time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import numpy as np
import pytest
import trio
import trio_websocket
from trio.testing import MockClock

from plexbridge.audio.ogg import OggOpusReader, OggOpusWriter
from plexbridge.audio.opus import MODEL_UPLINK, Decoder, Encoder
from plexbridge.audio.opus_packet import duration_samples
from plexbridge.audio.pcm import MODEL_RATE_HZ, UPLINK_FRAME_SAMPLES, level_dbfs
from plexbridge.errors import RequestError
from plexbridge.model.answers import Echo
from plexbridge.model.loopback import PATH, REQUEST_SECONDS, LoopbackServer, listen_loopback
from tests.session.simulation import tone

GOOD_QUERY = urlencode({"voice_prompt": "NATF0.pt", "text_prompt": "Be kind."})


@asynccontextmanager
async def connected(
    server: LoopbackServer, nursery: trio.Nursery, target: str = f"{PATH}?{GOOD_QUERY}"
) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """Connect over memory and upgrade."""
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(server.serve_stream, theirs)
    async with trio.open_nursery() as reader:
        yield await trio_websocket.wrap_client_stream(reader, ours, "model", target)  # type: ignore[arg-type]  # it takes any stream
        await ours.aclose()
        reader.cancel_scope.cancel()


def speech_messages(frames: int) -> list[bytes]:
    """Return the two header pages and `frames` packets of a tone, as a client sends them."""
    writer = OggOpusWriter(serial=7, input_rate_hz=MODEL_RATE_HZ, pre_skip_samples=120)
    with Encoder(rate_hz=MODEL_RATE_HZ, settings=MODEL_UPLINK) as encoder:
        pages = [*writer.headers(), *(writer.page(encoder.encode(tone(tick))) for tick in range(frames))]
    return [b"\x01" + page for page in pages]


async def test_it_shakes_hands_and_sends_its_two_header_pages_before_it_hears_anything(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with connected(LoopbackServer(Echo), nursery) as websocket:
        messages = [await websocket.get_message() for _ in range(3)]

    assert messages[0] == b"\x00"
    assert [message[:5] for message in messages[1:]] == [b"\x01OggS"] * 2
    assert b"OpusHead" in messages[1]
    assert b"OpusTags" in messages[2]


async def test_each_80_ms_that_it_hears_are_answered_with_80_ms_in_one_packet_and_nothing_else(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    audio: list[bytes] = []

    async with connected(LoopbackServer(Echo), nursery) as websocket:
        for message in speech_messages(43):
            await websocket.send_message(message)
        with trio.move_on_after(5):
            while True:
                reply = await websocket.get_message()
                audio += [reply[1:]] if isinstance(reply, bytes) and reply[0] == 1 else []

    reader = OggOpusReader()
    packets = [packet.data for data in audio for packet in reader.feed(data)]
    assert [duration_samples(packet) for packet in packets] == [3840] * 10, "40 of 43 frames make ten model frames"
    with Decoder(rate_hz=MODEL_RATE_HZ) as decoder:
        heard = np.concatenate([decoder.decode(packet) for packet in packets])
    assert level_dbfs(heard[UPLINK_FRAME_SAMPLES:]) == pytest.approx(level_dbfs(tone(0)), abs=1)


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"voice_prompt": "NATF0.pt"},
        {"text_prompt": "Be kind."},
        {"voice_prompt": "", "text_prompt": "Be kind."},
        {"voice_prompt": "NATF0.pt", "text_prompt": ""},
        {"voice_prompt": "NATF0.pt", "text_prompt": "Be kind.", "seed": "-1"},
    ],
)
async def test_a_query_that_personaplex_fails_on_is_upgraded_and_dropped_without_a_word(
    query: dict[str, str], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = LoopbackServer(Echo)

    async with connected(server, nursery, f"{PATH}?{urlencode(query)}") as websocket:
        with pytest.raises(trio_websocket.ConnectionClosed) as caught:
            await websocket.get_message()

    assert caught.value.reason is not None
    assert caught.value.reason.code == 1006
    assert not server.is_busy


async def test_another_path_is_not_found(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def connect() -> None:
        async with connected(LoopbackServer(Echo), nursery, f"/elsewhere?{GOOD_QUERY}"):
            pass

    with pytest.raises(ExceptionGroup) as caught:
        await connect()

    assert caught.group_contains(trio_websocket.ConnectionRejected)


async def test_a_caller_who_leaves_the_queue_never_comes_to_hold_the_session(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = LoopbackServer(Echo)

    async with connected(server, nursery) as first:
        assert await first.get_message() == b"\x00"
        async with connected(server, nursery) as second:
            with trio.move_on_after(60) as silence:
                await second.get_message()
        assert silence.cancelled_caught, "who waits hears nothing at all"
    await trio.testing.wait_all_tasks_blocked()

    assert not server.is_busy
    assert not nursery.child_tasks


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /api/chat HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: model\r\n\r\n" * 20,
        b"POST /api/chat HTTP/1.1\r\nHost: model\r\nContent-Length: 4\r\n\r\nabcd",
        bytes(range(256)) * 40,
    ],
    ids=["nothing", "TLS", "no host", "pipelined", "a post", "noise"],
)
@pytest.mark.parametrize("leaves", [True, False], ids=["leaves", "stays"])
async def test_a_client_that_speaks_something_else_costs_only_itself(
    sent: bytes, leaves: bool, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    server = LoopbackServer(Echo)
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(server.serve_stream, theirs)

    await ours.send_all(sent)
    if leaves:
        await ours.aclose()
    await trio.sleep(REQUEST_SECONDS + 1)

    assert not nursery.child_tasks, "its connection has ended"
    async with connected(server, nursery) as websocket:
        assert await websocket.get_message() == b"\x00"


async def test_damaged_audio_and_other_kinds_are_passed_over(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    answered = 0

    async with connected(LoopbackServer(Echo), nursery) as websocket:
        for message in speech_messages(8):
            await websocket.send_message(message)
            await websocket.send_message(b"\x01OggS and then nothing")
            await websocket.send_message(b"\x06")
            await websocket.send_message("text")
        with trio.move_on_after(5):
            while True:
                answered += (await websocket.get_message())[0] == 1

    assert answered == 2 + 2, "two header pages and two model frames"


async def test_an_address_that_cannot_be_served_on_is_named() -> None:
    with pytest.raises(RequestError, match=r"192\.0\.2\.1"):
        await listen_loopback("192.0.2.1", 0)
