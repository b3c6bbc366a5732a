"""The web server: connections, what they may ask for, and how they all end. A conversation closes its WebSocket itself.

Each connection is served in its own guard, so that whatever a client does costs only itself. A client that asks
nothing, or does not take its answer, gives way to one that comes when there are too many, the longest waiting first; so
does a WebSocket without a hello.
"""

import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from math import inf
from typing import TypeVar

import trio
import trio_websocket
import wsproto.utilities

from plexbridge.people.web.access import Access
from plexbridge.people.web.http import (
    REQUEST_SECONDS,
    HttpConnection,
    Refused,
    Request,
    Response,
    linger,
    sentence_response,
)
from plexbridge.people.web.pace import Pace
from plexbridge.people.web.upgrade import find_key, open_websocket

logger = logging.getLogger(__name__)

CONNECTION_LIMIT = 128
"""Besides WebSockets."""
REQUESTS_PER_SECOND = 50
REQUESTS_BURST = 100
"""On one connection: a page with all its files, a few times."""
GOODBYE_SECONDS = 1.0
"""For all conversations together, when the service stops."""
SILENT_SECONDS = 60.0
"""After a fault of ours has been logged: a client may be able to repeat it as often as it likes."""
SHOWN_CHARS = 100
"""So much of what a client has sent stands in the log."""

SECURITY_HEADERS: Mapping[str, str] = {
    # 'self' includes the WebSocket, in Chrome from 71 and Safari from 16 on. For older ones its address would have to
    # be named, in a header made of what the client has sent as Host.
    "content-security-policy": "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
    "img-src 'self'; media-src 'self'; manifest-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

Result = TypeVar("Result")
Route = Callable[[Request], Awaitable[Response]]
Converse = Callable[[trio_websocket.WebSocketConnection, Callable[[], None]], Awaitable[None]]
"""Holds a conversation; calls its second argument when the client has said hello and may stay."""


class GivenWay(Exception):
    """A connection that has to end because there is no room for it."""


_CLIENT_FAULTS = (
    GivenWay,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.TooSlowError,
    trio_websocket.ConnectionClosed,
    wsproto.utilities.ProtocolError,
)
"""What connections end with that clients have broken."""


class Server:
    """Serves connections, of at most `clients` WebSockets, over whatever streams they come."""

    def __init__(
        self,
        access: Access,
        routes: Mapping[str, Route],
        websockets: Mapping[str, Converse],
        *,
        clients: int,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._access = access
        self._routes = routes
        self._conversation_routes = websockets
        self._clients = clients
        self._tls = tls
        self._waiting: dict[trio.CancelScope, bool] = {}
        """Those that wait for their client, the longest first, and whether they are between two requests."""
        self._connections = 0
        self._places: dict[trio.abc.Stream, bool] = {}
        """Those of WebSockets, the longest first, and whether their client may stay."""
        self._conversations: set[trio.CancelScope] = set()
        self._has_ended = trio.Event()
        self._listening = trio.CancelScope()
        self._is_closing = False
        self._silent_until_seconds = -inf
        self._untold_faults = 0
        self._refusals_told: dict[str, float] = {}
        """When each kind of refusal was last logged."""

    async def serve(self, listeners: Sequence[trio.abc.Listener[trio.abc.Stream]]) -> None:
        """Serve until cancelled, or until `say_goodbye` and the end of the last connection; closes the listeners."""
        async with trio.open_nursery() as nursery:
            with self._listening:
                await trio.serve_listeners(self.serve_stream, list(listeners), handler_nursery=nursery)

    async def say_goodbye(self) -> None:
        """Take nobody in any more, and cancel all conversations; they have GOODBYE_SECONDS to end."""
        self._is_closing = True
        idle = [scope for scope, is_idle in self._waiting.items() if is_idle]
        for scope in (self._listening, *idle, *self._conversations):
            scope.cancel(reason="the service stops")
        with trio.move_on_after(GOODBYE_SECONDS):
            while self._conversations:
                self._has_ended = trio.Event()
                await self._has_ended.wait()

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection until it ends, and close its stream; nothing is raised for what goes wrong with it."""
        self._connections += 1
        try:
            self._make_room()
            if self._tls is not None:
                stream = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
            await self._serve_connection(stream)
        except* _CLIENT_FAULTS as group:
            logger.debug("a connection to the web front broke: %s", type(group.exceptions[0]).__name__)
        except* Exception as group:
            # Clients choose what they send, and the libraries that read it let errors of many kinds escape. None of
            # them may end the calls of others.
            self._report(group)
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(stream)

    def _make_room(self) -> None:
        """Let the connection that has waited for its client for longest give way where there are too many.

        Raises GivenWay where plexbridge is at work on all of them.
        """
        if self._connections - len(self._places) > CONNECTION_LIMIT:
            longest = next(iter(self._waiting), None)
            if longest is None:
                raise GivenWay
            del self._waiting[longest]
            longest.cancel(reason="too many connections")

    def _report(self, group: BaseExceptionGroup[Exception]) -> None:
        now_seconds = trio.current_time()
        if now_seconds < self._silent_until_seconds:
            self._untold_faults += 1
            return
        more = f", as have {self._untold_faults} since the last one told" if self._untold_faults else ""
        logger.error("a connection to the web front has failed through a fault in plexbridge%s", more, exc_info=group)
        self._silent_until_seconds = now_seconds + SILENT_SECONDS
        self._untold_faults = 0

    def _tell_refusal(self, kind: str, key: str, told: str | None = None) -> None:
        """Log, at most once in SILENT_SECONDS, that a client was refused, and the key that may have to be changed."""
        now_seconds = trio.current_time()
        if now_seconds - self._refusals_told.get(kind, -inf) < SILENT_SECONDS:
            return
        self._refusals_told[kind] = now_seconds
        shown = "".join(char if char.isprintable() else "?" for char in (told or "")[:SHOWN_CHARS])
        logger.warning("the web front refuses a client: %s%s; see %s", kind, f' "{shown}"' if told else "", key)

    async def _serve_connection(self, stream: trio.abc.Stream) -> None:
        http = HttpConnection(stream, SECURITY_HEADERS)
        pace = Pace(per_second=REQUESTS_PER_SECOND, burst=REQUESTS_BURST)
        if isinstance(stream, trio.SSLStream):
            await self._await_client(partial(_shake_hands, stream))
        try:
            while (request := await self._await_client(http.receive_request)) is not None:
                self._check_host(request)
                if request.path in self._conversation_routes:
                    await self._serve_websocket(stream, request, http.early_bytes)
                    break
                response = await self._answer(request)
                if not await self._await_client(partial(http.send_response, response), is_idle=False):
                    break
                await trio.sleep_until(pace.take(1, trio.current_time()))
        except Refused as refusal:
            await self._await_client(partial(http.send_response, refusal.response, is_last=True), is_idle=False)
        await self._await_client(partial(linger, stream), is_idle=False)

    async def _await_client(self, act: Callable[[], Awaitable[Result]], *, is_idle: bool = True) -> Result:
        """Await what is the client's to do, as long as there is room for its connection.

        An answer, which is not idle, is still sent when the service stops. Raises GivenWay.
        """
        with trio.CancelScope() as scope:
            if is_idle and self._is_closing:
                raise GivenWay
            self._waiting[scope] = is_idle
            try:
                return await act()
            finally:
                self._waiting.pop(scope, None)
        raise GivenWay

    def _check_host(self, request: Request) -> None:
        if not self._access.allows_host(request.headers.get("host")):
            self._tell_refusal("it asks for the name", "web.origins", request.headers.get("host"))
            raise Refused(
                HTTPStatus.MISDIRECTED_REQUEST,
                "plexbridge does not answer to this name. Its operator can add the page's address to web.origins.",
            )

    async def _answer(self, request: Request) -> Response:
        route = self._routes.get(request.path)
        if route is None:
            return sentence_response(HTTPStatus.NOT_FOUND, "There is nothing here.")
        if request.method not in ("GET", "HEAD"):
            return sentence_response(
                HTTPStatus.METHOD_NOT_ALLOWED, "This can only be read.", headers={"allow": "GET, HEAD"}
            )
        return await route(request)

    async def _serve_websocket(self, stream: trio.abc.Stream, request: Request, early_bytes: bytes) -> None:
        converse = self._conversation_routes[request.path]
        key = find_key(request)
        origin, host = request.headers.get("origin"), request.headers.get("host")
        if not self._access.allows_origin(origin, host=host):
            self._tell_refusal("its page is of the origin", "web.origins", origin)
            raise Refused(HTTPStatus.FORBIDDEN, "Pages of this origin may not talk here; see web.origins.")
        longest = self._take_place(stream)
        try:
            if longest is not None:
                await trio.aclose_forcefully(longest)
            async with open_websocket(stream, key, early_bytes) as websocket:
                with trio.CancelScope() as conversation:
                    self._conversations.add(conversation)
                    if self._is_closing:
                        conversation.cancel(reason="the service stops")
                    try:
                        await converse(websocket, partial(self._greet, stream))
                    finally:
                        self._conversations.remove(conversation)
                        self._has_ended.set()
        finally:
            self._places.pop(stream, None)

    def _take_place(self, stream: trio.abc.Stream) -> trio.abc.Stream | None:
        """Take a place for a WebSocket; return the one that has to be closed for it, the longest without a hello.

        Raises Refused.
        """
        longest = None
        if len(self._places) >= self._clients:
            longest = next((each for each, may_stay in self._places.items() if not may_stay), None)
            if longest is None:
                self._tell_refusal("all places are taken", "web.clients")
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "Too many people are connected. Please try again later.")
            del self._places[longest]
        self._places[stream] = False
        return longest

    def _greet(self, stream: trio.abc.Stream) -> None:
        if stream in self._places:
            self._places[stream] = True


async def _shake_hands(stream: trio.SSLStream[trio.abc.Stream]) -> None:
    with trio.fail_after(REQUEST_SECONDS):
        await stream.do_handshake()
