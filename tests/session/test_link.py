"""The link in simulated time: servers that behave badly while it opens, while it is open, and when it closes."""

from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from hashlib import sha1

import pytest
import trio
import trio_websocket
from trio.testing import MockClock

from plexbridge.errors import (
    LinkError,
    ModelBusy,
    ModelLost,
    ModelRefused,
    ModelSilent,
    ModelUnreachable,
    ModelUntrusted,
    PlexbridgeError,
    RemoteProtocolError,
)
from plexbridge.model.conversation import State
from plexbridge.model.protocol import Audio, Event, audio_message, fault_message, handshake_message, metadata_message
from plexbridge.model.request import ModelAddress
from plexbridge.session.link import CONNECT_SECONDS, GOODBYE_SECONDS, PONG_SECONDS, Dial, Link, open_link
from tests.session.simulation import TrackedStream, loopback_request

Script = Callable[[trio_websocket.WebSocketConnection], Awaitable[None]]


def open_to(dial: Dial) -> AbstractAsyncContextManager[Link]:
    """Open the link to a server; nobody watches it."""
    return open_link(loopback_request(), dial, handshake_seconds=60, watch=lambda state: None)


def websocket_dial(nursery: trio.Nursery, script: Script, streams: list[TrackedStream]) -> Dial:
    """Return a dial to a server that accepts every WebSocket and then does what the script says."""

    async def serve(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as connection:
            request = await trio_websocket.wrap_server_stream(connection, stream)
            await script(await request.accept())
            connection.cancel_scope.cancel()
        await trio.aclose_forcefully(stream)

    return raw_dial(nursery, serve, streams)


def raw_dial(
    nursery: trio.Nursery, serve: Callable[[trio.abc.Stream], Awaitable[None]], streams: list[TrackedStream]
) -> Dial:
    """Return a dial to a server that is handed each byte stream as it is."""

    async def dial(address: ModelAddress) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        streams.append(TrackedStream(ours))
        nursery.start_soon(serve, theirs)
        return streams[-1]

    return dial


HANDSHAKE_FRAME = b"\x82\x01\x00"


async def upgrade(stream: trio.abc.Stream) -> None:
    """Accept a WebSocket by hand (RFC 6455, section 4.2.2), for servers that do nothing more by the rules."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += await stream.receive_some()
    key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    digest = b64encode(sha1(key.split(b": ")[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    await stream.send_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + digest + b"\r\n\r\n"
    )


async def failure_to_open(dial: Dial, *, handshake_seconds: float = 60) -> PlexbridgeError:
    """Return the one plain error with which the link fails to open."""
    try:
        async with open_link(loopback_request(), dial, handshake_seconds=handshake_seconds, watch=lambda state: None):
            pass
    except PlexbridgeError as exc:
        return exc
    raise AssertionError("the link opened")


async def wait_for_ever(websocket: trio_websocket.WebSocketConnection) -> None:
    await trio.sleep_forever()


async def close_at_once(websocket: trio_websocket.WebSocketConnection) -> None:
    return


async def close_normally(websocket: trio_websocket.WebSocketConnection) -> None:
    await websocket.aclose(1000)


async def say_it_is_full(websocket: trio_websocket.WebSocketConnection) -> None:
    await websocket.send_message(fault_message("no free channels"))
    await websocket.aclose(1000)


async def speak_too_early(websocket: trio_websocket.WebSocketConnection) -> None:
    await websocket.send_message(audio_message(b"OggS"))
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (wait_for_ever, ModelBusy),
        (close_at_once, ModelRefused),
        (close_normally, ModelRefused),
        (say_it_is_full, ModelBusy),
        (speak_too_early, RemoteProtocolError),
    ],
)
async def test_a_server_that_never_shakes_hands_is_one_plain_error_and_its_stream_is_closed(
    script: Script, error: type[PlexbridgeError], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    streams: list[TrackedStream] = []

    failure = await failure_to_open(websocket_dial(nursery, script, streams))

    assert type(failure) is error
    assert [stream.is_closed for stream in streams] == [True]
    nursery.cancel_scope.cancel()


async def test_the_handshake_is_waited_for_as_long_as_configured_and_no_longer(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    await failure_to_open(websocket_dial(nursery, wait_for_ever, []), handshake_seconds=33)

    assert trio.current_time() == pytest.approx(33, abs=0.1)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", ModelUnreachable, "404"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ModelRefused, "400"),
        (b"HTTP/1.1 503 Unavailable\r\n\r\n", ModelBusy, "503"),
        (b"\x15\x03\x01\x00\x02\x02\x46", ModelUnreachable, "wss://"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ModelUnreachable, "does not speak HTTP"),
        (b"", ModelUnreachable, "closed the connection"),
        (b"HTT", ModelUnreachable, "does not speak HTTP"),
    ],
)
async def test_an_answer_that_is_no_upgrade_is_named_at_once(
    answer: bytes, error: type[LinkError], words: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        with suppress(trio.BrokenResourceError):  # it hangs up as soon as it has seen enough
            for byte in answer:
                await stream.send_all(bytes([byte]))
        await stream.aclose()

    streams: list[TrackedStream] = []

    failure = await failure_to_open(raw_dial(nursery, serve, streams))

    assert type(failure) is error
    assert words in str(failure)
    assert trio.current_time() < 1
    assert [stream.is_closed for stream in streams] == [True]


async def test_a_server_that_does_not_answer_the_upgrade_is_unreachable(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    failure = await failure_to_open(raw_dial(nursery, serve, []))

    assert type(failure) is ModelUnreachable
    assert trio.current_time() == pytest.approx(CONNECT_SECONDS)
    nursery.cancel_scope.cancel()


async def test_a_dial_that_fails_is_passed_on_as_it_is(autojump_clock: MockClock) -> None:
    async def dial(address: ModelAddress) -> trio.abc.Stream:
        raise ModelUntrusted("who is this?")

    assert type(await failure_to_open(dial)) is ModelUntrusted


@pytest.mark.parametrize("first", [[], [metadata_message("{}")], [b""], [b"\x06"], [b"\xff?"], ["text"]])
@pytest.mark.parametrize("handshake", [handshake_message(), handshake_message((1, 2))])
async def test_the_link_opens_with_either_handshake_whatever_else_comes_first(
    first: list[bytes | str], handshake: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def shake_hands(websocket: trio_websocket.WebSocketConnection) -> None:
        for message in first:
            await websocket.send_message(message)
        await trio.sleep(5)
        await websocket.send_message(handshake)
        await trio.sleep_forever()

    told: list[State] = []
    dial = websocket_dial(nursery, shake_hands, [])

    async with open_link(loopback_request(), dial, handshake_seconds=60, watch=told.append) as link:
        assert link.conversation.state is State.LIVE
        assert link.handshake_seconds == pytest.approx(5)

    assert told == [State.CONNECTING, State.WAITING, State.LIVE]
    nursery.cancel_scope.cancel()


async def test_nothing_is_sent_before_the_handshake_not_even_a_ping(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    received: list[bytes | bytearray] = []

    async def serve(stream: trio.abc.Stream) -> None:
        await upgrade(stream)
        while data := await stream.receive_some():
            received.append(data)
        await stream.aclose()

    await failure_to_open(raw_dial(nursery, serve, []), handshake_seconds=300)

    goodbye = b"".join(received)
    assert len(goodbye) == 8, "a close frame with its code, masked, and nothing else"
    assert goodbye[0] == 0x88


async def live(websocket: trio_websocket.WebSocketConnection) -> None:
    await websocket.send_message(handshake_message())


async def test_a_ping_that_is_not_answered_ends_in_a_silent_model(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await upgrade(stream)
        await stream.send_all(HANDSHAKE_FRAME)
        await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        async with open_to(raw_dial(nursery, serve, [])) as link:
            await link.ping()

    assert caught.group_contains(ModelSilent)
    assert trio.current_time() == pytest.approx(PONG_SECONDS + GOODBYE_SECONDS, abs=0.1)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("code", [1000, 1001, 1011])
async def test_a_close_by_the_server_is_a_lost_model_whatever_its_code(
    code: int, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def talk_and_close(websocket: trio_websocket.WebSocketConnection) -> None:
        await live(websocket)
        await websocket.send_message(audio_message(b"OggS"))
        await websocket.aclose(code)

    received: list[Event] = []

    async def listen() -> None:
        dial = websocket_dial(nursery, talk_and_close, [])
        async with open_to(dial) as link:
            while True:
                received.append(await link.receive())

    with pytest.raises(ExceptionGroup) as caught:
        await listen()

    assert received == [Audio(b"OggS")]
    assert caught.group_contains(ModelLost, match=str(code))


async def test_a_message_over_the_limit_ends_the_link(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    async def flood(websocket: trio_websocket.WebSocketConnection) -> None:
        await live(websocket)
        await websocket.send_message(bytes(2_000_000))
        await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        async with open_to(websocket_dial(nursery, flood, [])) as link:
            await link.receive()

    assert caught.group_contains(ModelLost, match="1009")
    nursery.cancel_scope.cancel()


async def test_a_server_that_breaks_the_websocket_rules_and_dies_is_a_lost_model(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await upgrade(stream)
        await stream.send_all(HANDSHAKE_FRAME)
        await stream.send_all(b"\xff" * 50)
        await stream.aclose()

    with pytest.raises(ExceptionGroup) as caught:
        async with open_to(raw_dial(nursery, serve, [])) as link:
            await link.receive()

    assert caught.group_contains(ModelLost)


async def test_a_server_that_does_not_say_goodbye_costs_a_bounded_time(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        await upgrade(stream)
        await stream.send_all(HANDSHAKE_FRAME)
        await trio.sleep_forever()

    streams: list[TrackedStream] = []

    async with open_to(raw_dial(nursery, serve, streams)):
        pass

    assert trio.current_time() == pytest.approx(GOODBYE_SECONDS, abs=0.1)
    assert streams[0].is_closed
    nursery.cancel_scope.cancel()


async def test_a_cancelled_user_still_says_goodbye_and_waits_for_the_answer_only(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    reasons: list[object] = []

    async def listen(websocket: trio_websocket.WebSocketConnection) -> None:
        await live(websocket)
        with suppress(trio_websocket.ConnectionClosed):
            await websocket.get_message()
        reasons.append(websocket.closed.code if websocket.closed else None)

    dial = websocket_dial(nursery, listen, [])
    with trio.move_on_after(5):
        async with open_to(dial):
            await trio.sleep_forever()
    ended_seconds = trio.current_time()
    await trio.testing.wait_all_tasks_blocked()

    assert reasons == [1000]
    assert ended_seconds == pytest.approx(5)
