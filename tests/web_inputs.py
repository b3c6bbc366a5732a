"""What broken, hostile and unlucky clients send to a web server: each a function of its own connections.

Some of it has ended servers that are in wide use: a frame in the segment of its upgrade, requests in a row with a reset
behind them, a client that stops reading. Who breaks the rules of a frame is disconnected without a close code, which is
trio-websocket's way.
"""

import json
import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.web_caller import HELLO

TIMEOUT_SECONDS = 10.0
KEY = b"AAAAAAAAAAAAAAAAAAAAAA=="
CLOSE_FRAME = re.compile(rb"\x88[\x02-\x7a]([\x03\x11].)", re.DOTALL)
"""With a code from 1000 to 1015, or from 4400 on; no text that is sent here has its first byte, nor has silence."""
TEXT, BINARY, CLOSE, PING = 0x1, 0x2, 0x8, 0x9


def frame(
    opcode: int, payload: bytes = b"", *, is_final: bool = True, is_masked: bool = True, reserved: int = 0
) -> bytes:
    """Return a WebSocket frame; the mask is all zeros."""
    length = len(payload)
    mask = 0x80 if is_masked else 0
    if length < 126:
        size = bytes([mask | length])
    elif length < 65_536:
        size = bytes([mask | 126]) + length.to_bytes(2)
    else:
        size = bytes([mask | 127]) + length.to_bytes(8)
    return bytes([(0x80 if is_final else 0) | reserved << 4 | opcode]) + size + bytes(4 if is_masked else 0) + payload


def audio(sequence: int) -> bytes:
    """Return a packet of the loopback."""
    return frame(BINARY, b"\x01" + sequence.to_bytes(4) + bytes(1920))


def report(played: int) -> bytes:
    """Return what a page says that has played all of it."""
    return frame(TEXT, json.dumps({"type": "stats", "clock_ms": 0, "played": played, "depth_ms": 0}).encode())


class Peer:
    """One connection."""

    def __init__(self, port: int, *, receive_buffer_bytes: int | None = None) -> None:
        self.port = port
        self.socket = socket.socket()
        self.socket.settimeout(TIMEOUT_SECONDS)
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.connect(("127.0.0.1", port))

    def request(self, first: str, *lines: str, host: str | None = None) -> bytes:
        """Return a request."""
        head = (f"{first} HTTP/1.1", f"Host: {host or f'127.0.0.1:{self.port}'}", *lines, "", "")
        return "\r\n".join(head).encode("latin-1")

    def upgrade(self, *lines: str, host: str | None = None) -> bytes:
        """Return the request for a WebSocket."""
        return self.request(
            "GET /ws/voice",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {KEY.decode()}",
            *lines,
            host=host,
        )

    def send(self, data: bytes) -> None:
        """Send all of it, unless the server has closed."""
        with suppress(BrokenPipeError, ConnectionResetError):  # which is an answer too
            self.socket.sendall(data)

    def read_to_end(self) -> bytes:
        """Return all that comes until the server closes; fails if it does not."""
        received = b""
        try:
            while data := self.socket.recv(65_536):
                received += data
        except ConnectionResetError:
            pass
        return received

    def read_until(self, ending: bytes) -> bytes:
        """Return what comes up to `ending`."""
        received = b""
        while ending not in received:
            data = self.socket.recv(65_536)
            assert data, received
            received += data
        return received

    def read_close_code(self) -> int:
        """Return the code of the first close frame."""
        received = b""
        while (found := CLOSE_FRAME.search(received)) is None:
            data = self.socket.recv(65_536)
            assert data, received
            received += data
        return int.from_bytes(found[1])

    def open_websocket(self, *, says_hello: bool = True) -> None:
        """Upgrade, and begin a loopback."""
        self.send(self.upgrade())
        assert b" 101 " in self.read_until(b"\r\n\r\n")
        if says_hello:
            self.send(frame(TEXT, HELLO.encode()))
            self.read_until(b'"ready"')

    def reset(self) -> None:
        """Close with a reset instead of an end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Input = Callable[[int], None]
INPUTS: dict[str, Input] = {}


def on_connection(exchange: Callable[[Peer], None]) -> Callable[[Peer], None]:
    """Add an input of one connection, which is closed behind it."""

    def act(port: int) -> None:
        with connect(port) as peer:
            exchange(peer)

    INPUTS[exchange.__name__] = act
    return exchange


@contextmanager
def connect(port: int) -> Iterator[Peer]:
    """Yield a connection that is closed at the end."""
    peer = Peer(port)
    with peer.socket:
        yield peer


def status(received: bytes) -> int:
    """Return the status of the first response."""
    return int(received.split()[1])


@on_connection
def a_frame_in_the_segment_of_its_upgrade(peer: Peer) -> None:
    peer.send(peer.upgrade() + frame(TEXT, HELLO.encode()))
    assert b" 101 " in peer.read_until(b'"ready"')


@on_connection
def an_upgrade_with_more_behind_it_than_a_message_may_have(peer: Peer) -> None:
    peer.send(peer.upgrade() + frame(TEXT, bytes(100_000)))
    assert peer.read_close_code() == 1009


@on_connection
def garbage_behind_an_upgrade(peer: Peer) -> None:
    peer.send(peer.upgrade() + b"\xff" * 1000)
    assert b" 101 " in peer.read_to_end()


@on_connection
def requests_in_a_row_and_a_reset(peer: Peer) -> None:
    peer.send(peer.request("GET /") * 20)
    peer.reset()


@on_connection
def requests_in_a_row_and_an_upgrade(peer: Peer) -> None:
    peer.send(peer.request("GET /healthz") * 20 + peer.upgrade() + frame(TEXT, HELLO.encode()))
    assert peer.read_until(b'"ready"').count(b" 200 ") == 20


@on_connection
def an_upgrade_and_a_reset(peer: Peer) -> None:
    peer.send(peer.upgrade())
    peer.reset()


@on_connection
def a_conversation_and_a_reset(peer: Peer) -> None:
    peer.open_websocket()
    peer.send(b"".join(map(audio, range(20))))
    peer.reset()


@on_connection
def a_conversation_and_an_end_in_the_middle_of_a_frame(peer: Peer) -> None:
    peer.open_websocket()
    peer.send(audio(0)[:-1])
    peer.socket.shutdown(socket.SHUT_WR)
    peer.read_to_end()


@on_connection
def a_frame_that_claims_a_terabyte_in_small_pieces(peer: Peer) -> None:
    peer.open_websocket()
    peer.send(b"\x82\xff" + (1 << 40).to_bytes(8) + bytes(4))
    for _ in range(100):
        peer.send(bytes(200))
    assert peer.read_close_code() == 1009


@on_connection
def a_message_that_is_too_long(peer: Peer) -> None:
    peer.open_websocket()
    peer.send(frame(BINARY, bytes(8 * 1024 + 1)))
    assert peer.read_close_code() == 1009


@on_connection
def a_message_that_is_too_long_in_fragments(peer: Peer) -> None:
    peer.open_websocket()
    peer.send(frame(TEXT, b"x" * 1000, is_final=False) + frame(0, b"x" * 1000, is_final=False) * 20)
    assert peer.read_close_code() == 1009


@on_connection
def garbage(peer: Peer) -> None:
    peer.send(bytes(range(128, 256)) * 10 + b"\r\n\r\n")
    assert status(peer.read_to_end()) == 400


@on_connection
def nothing_and_an_end(peer: Peer) -> None:
    peer.socket.shutdown(socket.SHUT_WR)
    assert peer.read_to_end() == b""


@on_connection
def tls_where_there_is_none(peer: Peer) -> None:
    context = ssl.create_default_context()
    try:
        context.wrap_socket(peer.socket, server_hostname="localhost")
    except (ssl.SSLError, ConnectionError):
        return
    raise AssertionError("there is TLS")


@on_connection
def the_preface_of_http_2(peer: Peer) -> None:
    peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
    assert status(peer.read_to_end()) == 400


@on_connection
def a_line_that_is_too_long(peer: Peer) -> None:
    peer.send(peer.request("GET /" + "x" * 40_000))
    assert status(peer.read_to_end()) == 431


@on_connection
def too_many_headers(peer: Peer) -> None:
    peer.send(peer.request("GET /", *(f"X-{number}: {number}" for number in range(3_000))))
    assert status(peer.read_to_end()) == 431


@on_connection
def two_lengths(peer: Peer) -> None:
    peer.send(peer.request("GET /", "Content-Length: 3", "Content-Length: 4") + b"abc")
    assert status(peer.read_to_end()) == 400


@on_connection
def a_length_and_chunks(peer: Peer) -> None:
    peer.send(peer.request("POST /", "Content-Length: 3", "Transfer-Encoding: chunked") + b"-1\r\nabc\r\n")
    assert status(peer.read_to_end()) in (400, 405)


@on_connection
def a_body_of_a_megabyte(peer: Peer) -> None:
    peer.send(peer.request("POST /", "Content-Length: 1000000") + bytes(1_000_000))
    assert status(peer.read_to_end()) == 413


@on_connection
def a_path_out_of_the_page(peer: Peer) -> None:
    for path in ("/page/../../server.py", "/page/%2e%2e/server.py", "//etc/passwd", "/page/", "/page/\x00", "/../../x"):
        with connect(peer.port) as other:
            other.send(other.request(f"GET {path}", "Connection: close"))
            assert status(other.read_to_end()) in (400, 404), path


@on_connection
def methods_that_nobody_has(peer: Peer) -> None:
    for method in ("CONNECT", "TRACE", "DELETE", "BREW"):
        with connect(peer.port) as other:
            other.send(other.request(f"{method} /", "Connection: close"))
            assert status(other.read_to_end()) == 405, method


@on_connection
def a_page_of_another_origin(peer: Peer) -> None:
    peer.send(peer.upgrade("Origin: http://attacker.example"))
    assert status(peer.read_to_end()) == 403


@on_connection
def a_name_that_was_bent_to_this_machine(peer: Peer) -> None:
    peer.send(peer.upgrade("Origin: http://attacker.example", host="attacker.example"))
    assert status(peer.read_to_end()) == 421


@on_connection
def an_upgrade_without_a_key(peer: Peer) -> None:
    peer.send(peer.upgrade().replace(KEY, b"short"))
    assert status(peer.read_to_end()) == 400


@on_connection
def an_unmasked_frame(peer: Peer) -> None:
    peer.open_websocket()
    peer.send(frame(BINARY, b"x" * 100, is_masked=False))
    peer.read_to_end()


@on_connection
def reserved_bits(peer: Peer) -> None:
    peer.open_websocket()
    peer.send(frame(BINARY, b"x", reserved=7))
    peer.read_to_end()


@on_connection
def an_opcode_that_nobody_has(peer: Peer) -> None:
    peer.open_websocket()
    peer.send(frame(0x7, b"x"))
    peer.read_to_end()


@on_connection
def a_ping_that_is_too_long(peer: Peer) -> None:
    peer.open_websocket()
    peer.send(frame(PING, bytes(126)))
    peer.read_to_end()


@on_connection
def a_ping_in_fragments(peer: Peer) -> None:
    peer.open_websocket()
    peer.send(frame(PING, b"x", is_final=False))
    peer.read_to_end()


@on_connection
def a_fragment_of_nothing(peer: Peer) -> None:
    peer.open_websocket()
    peer.send(frame(0, b"x"))
    peer.read_to_end()


@on_connection
def text_that_is_none(peer: Peer) -> None:
    peer.open_websocket()
    peer.send(frame(TEXT, b"\xff\xfe\xfd"))
    peer.read_to_end()


@on_connection
def close_frames_that_may_not_be(peer: Peer) -> None:
    for payload in (b"\x03", b"\x03\xed", b"\x00\x00", b"\xff\xff", b"\x03\xe8\xff"):
        with connect(peer.port) as other:
            other.open_websocket()
            other.send(frame(CLOSE, payload))
            other.read_to_end()


@on_connection
def frames_behind_a_close(peer: Peer) -> None:
    peer.open_websocket()
    peer.send(frame(CLOSE, b"\x03\xe8") + audio(0) + frame(PING) + frame(CLOSE, b"\x03\xe8"))
    peer.read_to_end()


@on_connection
def pings_without_end_and_nobody_who_reads(peer: Peer) -> None:
    peer.open_websocket()
    peer.socket.settimeout(1.0)
    with suppress(TimeoutError):  # it is not read any more, which is what should become of it
        peer.send(frame(PING, bytes(100)) * 20_000)


@on_connection
def fragments_without_content_and_end(peer: Peer) -> None:
    peer.open_websocket()
    peer.socket.settimeout(1.0)
    with suppress(TimeoutError):  # it is not read any more, which is what should become of it
        peer.send(frame(TEXT, is_final=False) + frame(0, is_final=False) * 500_000)


@on_connection
def a_hello_that_is_none(peer: Peer) -> None:
    for hello in (
        b"",
        b"hello",
        b"[]",
        b"{}",
        b"null",
        b"[" * 8_000,
        b'{"type":"hello"}',
        b'{"type":1e999}',
        b'"\\ud800"',
    ):
        with connect(peer.port) as other:
            other.open_websocket(says_hello=False)
            other.send(frame(TEXT, hello))
            assert other.read_close_code() == 4400, hello


@on_connection
def sound_before_hello(peer: Peer) -> None:
    peer.open_websocket(says_hello=False)
    peer.send(audio(0))
    assert peer.read_close_code() == 4400


@on_connection
def messages_that_are_none(peer: Peer) -> None:
    for message in (
        frame(TEXT, HELLO.encode()),
        frame(TEXT, b'{"type":"dance"}'),
        frame(TEXT, json.dumps({"type": "stats", "clock_ms": "x", "played": None, "depth_ms": 1}).encode()),
        frame(BINARY, b""),
        frame(BINARY, b"\x02\x00\x00\x00\x00" + bytes(1920)),
        frame(BINARY, b"\x01\x00\x00\x00\x00" + bytes(7)),
    ):
        with connect(peer.port) as other:
            other.open_websocket()
            other.send(message)
            assert other.read_close_code() == 4400, message


@on_connection
def more_sound_than_anybody_makes(peer: Peer) -> None:
    peer.open_websocket()
    peer.send(b"".join(map(audio, range(1_400))))
    assert peer.read_close_code() == 4429


def _hold_many(port: int, connections: int, first_bytes: bytes) -> None:
    peers = [Peer(port) for _ in range(connections)]
    for peer in peers:
        peer.send(first_bytes)
    with connect(port) as other:
        other.send(other.request("GET /healthz", "Connection: close"))
        assert status(other.read_to_end()) == 200
    for peer in peers:
        peer.socket.close()


def many_connections_that_say_nothing(port: int) -> None:
    _hold_many(port, 300, b"")


def many_connections_that_never_finish_their_request(port: int) -> None:
    _hold_many(port, 300, b"GET / HTTP/1.1\r\nX-Slow: ")


def more_callers_than_there_are_places(port: int) -> None:
    peers = [Peer(port) for _ in range(12)]
    statuses = []
    for peer in peers:
        peer.send(peer.upgrade() + frame(TEXT, HELLO.encode()))
        statuses.append(status(peer.read_until(b"\r\n\r\n")))
        if statuses[-1] == 101:
            peer.read_until(b'"ready"')  # without a hello it would give way
    for peer in peers:
        peer.socket.close()
    assert set(statuses) == {101, 503}


INPUTS |= {
    each.__name__: each
    for each in (
        many_connections_that_say_nothing,
        many_connections_that_never_finish_their_request,
        more_callers_than_there_are_places,
    )
}
