"""`Server` over streams in memory: what it answers, what it refuses, and that no client costs more than itself."""

import logging
from http import HTTPStatus

import pytest
import trio
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked
from trio_websocket import ConnectionClosed, WebSocketConnection

from plexbridge.people.web.access import Access
from plexbridge.people.web.http import IDLE_SECONDS, REQUEST_SECONDS, SEND_SECONDS, Request, Response
from plexbridge.people.web.server import CONNECTION_LIMIT, GOODBYE_SECONDS, SILENT_SECONDS, Server
from plexbridge.people.web.upgrade import FRAMES_BURST, MESSAGE_LIMIT_BYTES
from tests.people.web.browsing import HELLO, HOST, Client, echo, make_server

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def get(path: str, *lines: str, method: str = "GET", host: str = HOST) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", "")).encode("latin-1")


async def fail(request: Request) -> Response:
    raise ValueError("a fault of ours")


@pytest.fixture
def server() -> Server:
    return make_server(routes={"/fails": fail})


@pytest.fixture
def client(server: Server, nursery: trio.Nursery) -> Client:
    return Client(server, nursery).connect()


async def test_a_route_is_answered_with_its_length_and_the_rules_for_browsers(client: Client) -> None:
    answer = await client.ask(HELLO)

    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"hello", "5")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; ")
    assert "connect-src 'self'; " in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["permissions-policy"].startswith("microphone=(self)")


async def test_a_head_is_answered_without_the_body(client: Client) -> None:
    answer = await client.ask(get("/hello", method="HEAD"), method="HEAD")

    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "5")
    assert (await client.ask(HELLO)).body == b"hello"


async def test_a_connection_serves_one_request_after_the_other(client: Client) -> None:
    for _ in range(3):
        assert (await client.ask(HELLO)).body == b"hello"


async def test_requests_sent_at_once_are_answered_in_order(client: Client) -> None:
    answers = [await client.ask(HELLO + get("/nothing") + HELLO), await client.receive(), await client.receive()]

    assert [answer.status for answer in answers] == [200, 404, 200]


async def test_a_request_in_single_bytes_is_understood(client: Client) -> None:
    for byte in HELLO:
        await client.stream.send_all(bytes([byte]))
        await wait_all_tasks_blocked()

    assert (await client.receive()).status == 200


async def test_a_connection_that_is_to_be_closed_is(client: Client) -> None:
    answer = await client.ask(get("/hello", "Connection: close"))

    assert answer.headers["connection"] == "close"
    assert await client.is_closed()


async def test_an_old_client_without_a_host_is_served_once(client: Client) -> None:
    assert (await client.ask(b"GET /hello HTTP/1.0\r\n\r\n")).status == 200
    assert await client.is_closed()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get("/nothing"), 404),
        (get("/hello/"), 404),
        (get("/../hello"), 404),
        (get("/%68ello"), 404),
        (get("/hello?a=b"), 200),
        (get("/hello", method="POST"), 405),
        (get("/hello", method="OPTIONS"), 405),
        (get("/hello", method="DELETE"), 405),
        (get("/hello", "Content-Length: 65536") + bytes(65_536), 200),
        (get("/hello", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n", 200),
        (get("/ws"), 426),
    ],
)
async def test_what_can_be_asked_leaves_the_connection_open(request_bytes: bytes, status: int, client: Client) -> None:
    answer = await client.ask(request_bytes)

    assert answer.status == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    if status != 426:
        assert (await client.ask(HELLO)).status == 200


async def test_a_method_that_can_not_be_used_is_told_which_ones_can(client: Client) -> None:
    assert (await client.ask(get("/hello", method="POST"))).headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), 400),
        (b"GET /hello HTTP/1.1\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET http://a/hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
        (get("/hello", "Content-Length: 1", "Content-Length: 2"), 400),
        (get("/hello", "Content-Length: x"), 400),
        (get("/hello", "Transfer-Encoding: gzip"), 501),
        (get("/hello", "Transfer-Encoding: chunked") + b"zzz\r\n", 400),
        (get("/" + "x" * 24_000), 431),
        (get("/hello", *(f"X-{number}: {'y' * 100}" for number in range(200))), 431),
        (get("/hello", "Content-Length: 65537") + bytes(65_537), 413),
        (get("/hello", "Content-Length: 9999999999999", "Expect: 100-continue"), 417),
        (get("/hello", host="attacker.example"), 421),
        (get("/hello", host="192.168.1.5:8080"), 421),
        (get("/hello", host=""), 421),
    ],
)
async def test_what_can_not_be_served_is_refused_and_ends_the_connection(
    request_bytes: bytes, status: int, client: Client
) -> None:
    answer = await client.ask(request_bytes)

    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert await client.is_closed()


async def test_a_request_that_is_not_finished_in_time_is_refused(client: Client, autojump_clock: object) -> None:
    await client.stream.send_all(HELLO[:5])
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trickle, client)
        answer = await client.receive()
        nursery.cancel_scope.cancel()

    assert answer.status == 408
    assert trio.current_time() - started == pytest.approx(REQUEST_SECONDS)


async def trickle(client: Client) -> None:
    while True:
        await trio.sleep(1)
        await client.stream.send_all(b"x")


async def test_the_body_of_a_request_is_part_of_it(client: Client, autojump_clock: object) -> None:
    await client.stream.send_all(get("/hello", "Content-Length: 5"))

    assert (await client.receive()).status == 408
    assert trio.current_time() == pytest.approx(REQUEST_SECONDS)


async def test_who_asks_nothing_is_closed_without_a_word(client: Client, autojump_clock: object) -> None:
    assert await client.is_closed()
    assert trio.current_time() == pytest.approx(IDLE_SECONDS)


async def test_a_connection_may_rest_between_two_requests(client: Client, autojump_clock: object) -> None:
    for _ in range(3):
        await client.ask(HELLO)
        await trio.sleep(IDLE_SECONDS - 1)
    await client.ask(HELLO)
    rested = trio.current_time()

    assert await client.is_closed()
    assert trio.current_time() - rested == pytest.approx(IDLE_SECONDS)


async def test_who_does_not_read_the_answer_is_given_up(server: Server, autojump_clock: object) -> None:
    stream, far_stream = lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, far_stream)
        await stream.send_all(HELLO)

    assert trio.current_time() == pytest.approx(SEND_SECONDS)


async def test_a_client_that_asks_without_pause_is_slowed_down(client: Client, autojump_clock: object) -> None:
    for _ in range(200):
        await client.ask(HELLO)

    assert trio.current_time() == pytest.approx(2.0, abs=0.1), "a hundred at once, then 50 a second"


async def test_a_fault_of_ours_ends_one_connection_and_is_logged_with_its_traceback(
    server: Server, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    other = Client(server, nursery).connect()
    await other.ask(HELLO)
    failing = Client(server, nursery).connect()

    await failing.stream.send_all(get("/fails"))

    assert await failing.is_closed()
    assert (await other.ask(HELLO)).status == 200
    assert (await Client(server, nursery).connect().ask(HELLO)).status == 200
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


async def test_a_fault_that_comes_again_and_again_is_logged_once_a_minute_with_its_number(
    server: Server, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, autojump_clock: object
) -> None:
    async def cause(times: int) -> None:
        for _ in range(times):
            client = Client(server, nursery).connect()
            await client.stream.send_all(get("/fails"))
            await client.is_closed()

    await cause(5)
    assert len(caplog.records) == 1
    await trio.sleep(SILENT_SECONDS)
    await cause(2)

    assert [" 4 " in record.getMessage() for record in caplog.records] == [False, True]


async def test_refusals_are_logged_once_a_minute_with_what_was_asked_and_the_key_to_change(
    server: Server, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, autojump_clock: object
) -> None:
    async def refuse() -> list[str]:
        caplog.clear()
        for request in (
            get("/hello", host="voice.example" + "x" * 200),
            UPGRADE.replace(b"Host:", b"Origin: http://other.example\xad\r\nHost:"),
            UPGRADE,
        ):
            assert (await Client(server, nursery).connect().ask(request)).status in (403, 421, 503)
        return [record.getMessage().removeprefix("the web front refuses a client: ") for record in caplog.records]

    for _ in range(2):
        await Client(server, nursery).open_websocket()
    told = [
        f'it asks for the name "voice.example{"x" * 87}"; see web.origins',
        'its page is of the origin "http://other.example?"; see web.origins',
        "all places are taken; see web.clients",
    ]

    assert await refuse() == told
    assert await refuse() == []
    await trio.sleep(SILENT_SECONDS)
    assert await refuse() == told


async def test_when_there_are_too_many_connections_the_one_that_has_waited_longest_gives_way(
    server: Server, nursery: trio.Nursery
) -> None:
    talking = await Client(server, nursery).open_websocket()
    clients = []
    for _ in range(CONNECTION_LIMIT + 2):
        clients.append(Client(server, nursery).connect())
        await wait_all_tasks_blocked()

    assert [await client.is_closed() for client in clients[:2]] == [True, True]
    assert [(await client.ask(HELLO)).status for client in clients[2:]] == [200] * CONNECTION_LIMIT
    await talking.send_message("still here")
    assert await talking.get_message() == "still here"


async def test_clients_that_do_not_read_their_answers_give_way_the_longest_first(
    server: Server, nursery: trio.Nursery, autojump_clock: object
) -> None:
    streams = []
    for _ in range(CONNECTION_LIMIT):
        stream, far_stream = lockstep_stream_pair()
        nursery.start_soon(server.serve_stream, far_stream)
        await stream.send_all(HELLO)
        await wait_all_tasks_blocked()
        streams.append(stream)

    answer = await Client(server, nursery).connect().ask(HELLO)

    assert (answer.status, trio.current_time()) == (200, 0)
    await streams[0].receive_some()
    assert (await streams[0].receive_some(), trio.current_time()) == (b"", 0), "closed behind what was on its way"
    for _ in range(2):
        assert (await streams[1].receive_some()).startswith(b"HTTP/1.1 200 ")
        await streams[1].send_all(HELLO)


async def test_when_all_connections_are_being_answered_a_new_one_is_turned_away(nursery: trio.Nursery) -> None:
    finish = trio.Event()

    async def wait(request: Request) -> Response:
        await finish.wait()
        return Response(HTTPStatus.OK, b"at last")

    server = make_server(routes={"/slow": wait})
    clients = [Client(server, nursery).connect() for _ in range(CONNECTION_LIMIT)]
    for client in clients:
        await client.stream.send_all(get("/slow"))
    await wait_all_tasks_blocked()

    assert await Client(server, nursery).connect().is_closed()
    finish.set()
    assert (await clients[0].receive()).body == b"at last"


async def test_a_websocket_without_a_hello_gives_way_to_one_that_comes(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    server = make_server(greets=False)
    first, second = [await Client(server, nursery).open_websocket() for _ in range(2)]

    third = await Client(server, nursery).open_websocket()

    with pytest.raises(ConnectionClosed):
        await first.get_message()
    for websocket in (second, third):
        await websocket.send_message("here")
        assert await websocket.get_message() == "here"


async def test_messages_pass_a_websocket_both_ways(server: Server, nursery: trio.Nursery) -> None:
    websocket = await Client(server, nursery).open_websocket(origin=f"http://{HOST}")

    for message in ("text", b"\x00binary"):
        await websocket.send_message(message)
        assert await websocket.get_message() == message


async def test_what_a_client_sends_with_its_upgrade_is_not_lost(client: Client) -> None:
    await client.stream.send_all(UPGRADE + b"\x82\x82\x00\x00\x00\x00hi" + b"\x82\x81\x00\x00\x00\x00!")

    received = b""
    while not received.endswith(b"\x82\x01!"):
        received += await client.stream.receive_some()

    assert received.startswith(b"HTTP/1.1 101 ")
    assert received.endswith(b"\r\n\r\n\x82\x02hi\x82\x01!")


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 8", 426),
        (b"Upgrade: WebSocket", b"Upgrade: h2c", 426),
        (b"keep-alive, Upgrade", b"keep-alive", 426),
        (b"GET", b"POST", 426),
        (b"Key: AAAA", b"Key: AAA", 400),
        (b"Key: AAAA", b"Key: \xff\xff\xff\xff", 400),
        (b"Sec-WebSocket-Key", b"X-Key", 400),
        (b"Host: 127.0.0.1:8080", b"Host: attacker.example", 421),
        (b"Host:", b"Origin: http://attacker.example\r\nHost:", 403),
        (b"Host:", b"Origin: null\r\nHost:", 403),
        (b"Host:", b"Origin: http://127.0.0.1:8081\r\nHost:", 403),
        (b"/ws ", b"/other ", 404),
    ],
)
async def test_an_upgrade_that_is_none_or_not_allowed_is_refused(
    old: bytes, new: bytes, status: int, client: Client
) -> None:
    assert (await client.ask(UPGRADE.replace(old, new))).status == status


async def test_who_asks_for_something_else_is_told_what_an_upgrade_is_made_of(client: Client) -> None:
    headers = (await client.ask(get("/ws"))).headers

    assert (headers["upgrade"], headers["sec-websocket-version"]) == ("websocket", "13")


async def test_a_conversation_that_begins_while_the_service_stops_is_cancelled_too(
    server: Server, nursery: trio.Nursery, autojump_clock: object
) -> None:
    stream, far_stream = lockstep_stream_pair()
    nursery.start_soon(server.serve_stream, far_stream)
    await stream.send_all(UPGRADE)
    await wait_all_tasks_blocked()  # the answer to the upgrade is on its way
    nursery.start_soon(server.say_goodbye)
    await wait_all_tasks_blocked()

    received = b""
    while data := await stream.receive_some():
        received += data

    assert received.endswith(b"\x88\x02\x03\xe9")


async def test_a_page_of_the_list_may_talk_and_with_a_token_the_name_does_not_matter(nursery: trio.Nursery) -> None:
    access = Access(token="a token", origins=("https://elsewhere.example",), is_encrypted=False)
    server = make_server(access=access)
    listed = get("/ws", "Origin: https://elsewhere.example", *UPGRADE.decode().split("\r\n")[2:-2], host="any.example")

    assert (await Client(server, nursery).connect().ask(get("/hello", host="any.example"))).status == 200
    await (client := Client(server, nursery).connect()).stream.send_all(listed)
    assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 101 ")


async def test_who_comes_when_all_places_are_taken_is_told_so_until_one_is_free(
    server: Server, nursery: trio.Nursery
) -> None:
    first = await Client(server, nursery).open_websocket()
    await Client(server, nursery).open_websocket()

    refused = await Client(server, nursery).connect().ask(UPGRADE)
    await first.aclose()
    third = await Client(server, nursery).open_websocket()

    assert (refused.status, b"Too many" in refused.body) == (503, True)
    await third.send_message("in")
    assert await third.get_message() == "in"


@pytest.mark.parametrize("message", [bytes(MESSAGE_LIMIT_BYTES + 1), "x" * (MESSAGE_LIMIT_BYTES + 1)])
async def test_a_message_that_is_too_long_closes_its_websocket_with_1009(
    message: str | bytes, server: Server, nursery: trio.Nursery
) -> None:
    websocket = await Client(server, nursery).open_websocket()

    await websocket.send_message(message[:-1])
    assert await websocket.get_message() == message[:-1]
    await websocket.send_message(message)

    with pytest.raises(ConnectionClosed) as closed:
        await websocket.get_message()
    assert closed.value.reason is not None
    assert closed.value.reason.code == 1009


async def test_a_conversation_that_fails_ends_alone(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, autojump_clock: object
) -> None:
    async def converse(websocket: WebSocketConnection) -> None:
        if await websocket.get_message() == "fail":
            raise ValueError("a fault of ours")
        await echo(websocket)

    server = make_server(converse=converse)
    failing, other = [await Client(server, nursery).open_websocket() for _ in range(2)]
    await other.send_message("begin")
    await failing.send_message("fail")

    with pytest.raises(ConnectionClosed):
        await failing.get_message()
    await other.send_message("still here")
    assert await other.get_message() == "still here"
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert await Client(server, nursery).open_websocket()


@pytest.mark.parametrize("frame", [b"\x89\x80\x00\x00\x00\x00", b"\x00\x80\x00\x00\x00\x00"], ids=["ping", "fragment"])
async def test_a_flood_of_frames_that_are_no_messages_is_slowed_down(
    frame: bytes, client: Client, autojump_clock: object
) -> None:
    begin = b"\x01\x80\x00\x00\x00\x00" if frame[0] == 0 else b""
    await client.stream.send_all(UPGRADE + begin + frame * (FRAMES_BURST + 2_000) + b"\x80\x81\x00\x00\x00\x00!")
    if frame[0] == 0:
        received = b""
        while not received.endswith(b"\x81\x01!"):
            received += await client.stream.receive_some()
    else:
        received = b""
        while received.count(b"\x8a\x00") < FRAMES_BURST + 2_000:
            received += await client.stream.receive_some()

    assert trio.current_time() == pytest.approx(10.0, abs=1.0), "two thousand, at 200 a second"


async def test_all_conversations_are_cancelled_and_have_time_for_their_goodbye(
    server: Server, nursery: trio.Nursery
) -> None:
    websockets = [await Client(server, nursery).open_websocket() for _ in range(2)]
    await wait_all_tasks_blocked()

    await server.say_goodbye()

    for websocket in websockets:
        with pytest.raises(ConnectionClosed) as closed:
            await websocket.get_message()
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1001


async def test_a_goodbye_closes_connections_that_ask_nothing_and_takes_nobody_in(
    client: Client, server: Server, nursery: trio.Nursery, autojump_clock: object
) -> None:
    await client.ask(HELLO)

    await server.say_goodbye()

    assert await client.is_closed()
    assert await Client(server, nursery).connect().is_closed()
    assert trio.current_time() == 0, "they were not closed for saying nothing"


async def test_conversations_that_do_not_end_delay_the_goodbye_by_a_second_all_together(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    async def talk(websocket: WebSocketConnection) -> None:
        with trio.CancelScope(shield=True):
            while True:
                await websocket.send_message("words")

    server = make_server(converse=talk, clients=9)
    streams = []
    for _ in range(9):
        stream, far_stream = lockstep_stream_pair()
        nursery.start_soon(server.serve_stream, far_stream)
        await stream.send_all(UPGRADE)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
        streams.append(stream)
    await wait_all_tasks_blocked()
    started = trio.current_time()

    await server.say_goodbye()

    assert trio.current_time() - started == pytest.approx(GOODBYE_SECONDS)
    for stream in streams:
        await stream.aclose()


async def test_a_cancelled_server_ends_all_its_connections(server: Server) -> None:
    async with trio.open_nursery() as serving:
        talking = Client(server, serving).connect()
        await talking.stream.send_all(UPGRADE)
        assert (await talking.stream.receive_some()).startswith(b"HTTP/1.1 101 ")
        waiting = Client(server, serving).connect()
        await wait_all_tasks_blocked()
        serving.cancel_scope.cancel()

    with trio.fail_after(1):
        while await talking.stream.receive_some():
            pass  # a close frame, perhaps
        assert await waiting.is_closed()
