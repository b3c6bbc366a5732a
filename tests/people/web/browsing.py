"""A client of the web server in memory, and the server's rules without any."""

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import h11
import trio
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from plexbridge.people.web.access import Access
from plexbridge.people.web.http import Request, Response
from plexbridge.people.web.server import Server

HOST = "127.0.0.1:8080"
HELLO = b"GET /hello HTTP/1.1\r\nHost: " + HOST.encode() + b"\r\n\r\n"


async def answer_hello(request: Request) -> Response:
    return Response(HTTPStatus.OK, b"hello")


async def echo(websocket: WebSocketConnection) -> None:
    """Send back what comes, until the client has gone."""
    try:
        while True:
            await websocket.send_message(await websocket.get_message())
    except ConnectionClosed:
        return
    except trio.Cancelled:
        with trio.move_on_after(1, shield=True):
            await websocket.aclose(1001)
        raise


def make_server(
    *,
    access: Access | None = None,
    routes: Mapping[str, Callable[[Request], Awaitable[Response]]] | None = None,
    converse: Callable[[WebSocketConnection], Awaitable[None]] = echo,
    clients: int = 2,
    tls: ssl.SSLContext | None = None,
    greets: bool = True,
) -> Server:
    """Return one whose clients have said hello at once, or never do."""

    async def serve(websocket: WebSocketConnection, greet: Callable[[], None]) -> None:
        if greets:
            greet()
        await converse(websocket)

    return Server(
        access or Access(token=None, origins=(), is_encrypted=False),
        {"/hello": answer_hello, **(routes or {})},
        {"/ws": serve},
        clients=clients,
        tls=tls,
    )


@dataclass(frozen=True)
class Answer:
    """A response as it came in."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """One connection of a client that writes what it likes; with a `stream`, somebody else serves its other end."""

    def __init__(self, server: Server | None, nursery: trio.Nursery, *, stream: trio.abc.Stream | None = None) -> None:
        ours, self._far_stream = memory_stream_pair()
        self.stream: trio.abc.Stream = ours if stream is None else stream
        self._nursery = nursery
        self._server = server
        self._unread = b""

    def connect(self) -> "Client":
        """Have the server serve the connection."""
        if self._server is not None:
            self._nursery.start_soon(self._server.serve_stream, self._far_stream)
        return self

    async def ask(self, request: bytes, *, method: str = "GET") -> Answer:
        """Send a request and return the response."""
        await self.stream.send_all(request)
        return await self.receive(method=method)

    async def receive(self, *, method: str = "GET") -> Answer:
        """Return the next response."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", HOST)]))
        parser.send(h11.EndOfMessage())
        if self._unread:
            parser.receive_data(self._unread)
        status, body = 0, b""
        headers: dict[str, str] = {}
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                parser.receive_data(bytes(await self.stream.receive_some()))
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                raise AssertionError(f"no response but {event!r}")
        self._unread = parser.trailing_data[0]
        return Answer(status, headers, body)

    async def is_closed(self) -> bool:
        """Wait for the server's end of the connection, and say whether nothing came before it."""
        try:
            return await self.stream.receive_some() == b""
        except trio.BrokenResourceError:
            return True

    async def open_websocket(self, *, path: str = "/ws", origin: str | None = None) -> WebSocketConnection:
        """Upgrade the connection, as a library does."""
        headers = [] if origin is None else [(b"Origin", origin.encode())]
        self.connect()
        stream = self.stream
        return await wrap_client_stream(self._nursery, stream, HOST, path, extra_headers=headers)  # type: ignore[arg-type]
