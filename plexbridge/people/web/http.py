"""HTTP/1.1 as far as a page needs it: requests without content on one connection, one after the other.

h11 knows the protocol; here are the limits, each against a client that costs without asking for anything: the size of
what it sends, the time it takes for it, and the time it takes to read the answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus

import h11
import trio

HEADER_LIMIT_BYTES = 16 * 1024
BODY_LIMIT_BYTES = 64 * 1024
"""No route takes a body; one of this size is read and ignored, as a client may send one with any request."""
READ_BYTES = 4 * 1024
IDLE_SECONDS = 30.0
"""Before a request begins."""
REQUEST_SECONDS = 15.0
"""From its first byte until all of it is there."""
SEND_SECONDS = 5.0
"""For a client to read an answer."""
LINGER_SECONDS = 1.0
LINGER_LIMIT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for; names of headers are in lower case, the path is without a query."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """What it gets."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """A request that can't be served; the connection ends with the response that says so."""

    def __init__(self, status: HTTPStatus, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.response = sentence_response(status, sentence, headers)


def sentence_response(status: HTTPStatus, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response that is a sentence."""
    return Response(status, f"{sentence}\n".encode(), headers=headers or {})


class HttpConnection:
    """The server's end of one connection; `headers` go with every response."""

    def __init__(self, stream: trio.abc.Stream, headers: Mapping[str, str]) -> None:
        self._stream = stream
        self._headers = headers
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_LIMIT_BYTES)
        self._patience = trio.CancelScope()
        self._has_begun = False
        self._method = ""

    async def receive_request(self) -> Request | None:
        """Return the next request; None when the client has left, or has asked nothing for too long.

        Raises Refused.
        """
        if self._h11.our_state is h11.DONE:
            self._h11.start_next_cycle()
        self._has_begun = bool(self.early_bytes)
        with trio.move_on_after(REQUEST_SECONDS if self._has_begun else IDLE_SECONDS) as self._patience:
            return await self._receive_request()
        if self._has_begun:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, "The request took too long.")
        return None

    async def _receive_request(self) -> Request | None:
        try:
            event = await self._next_event()
            if not isinstance(event, h11.Request):
                return None  # the client has closed
            self._method = event.method.decode("ascii")
            target = event.target.decode("ascii")
            body_bytes = 0
            while not isinstance(piece := await self._next_event(), h11.EndOfMessage):
                body_bytes += len(piece.data) if isinstance(piece, h11.Data) else 0
                if body_bytes > BODY_LIMIT_BYTES:
                    raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "No request here has so much content.")
        except h11.RemoteProtocolError as exc:
            raise Refused(HTTPStatus(exc.error_status_hint), "That is no HTTP request that can be served.") from exc
        if not target.startswith("/"):
            raise Refused(HTTPStatus.BAD_REQUEST, "A request here names a path.")
        headers: dict[str, str] = {}
        for name, value in event.headers:
            key, text = name.decode("ascii"), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        return Request(self._method, target.partition("?")[0], headers)

    async def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            event = self._h11.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._h11.they_are_waiting_for_100_continue:
                raise Refused(HTTPStatus.EXPECTATION_FAILED, "No request here has content.")
            data = await self._stream.receive_some(READ_BYTES)
            if not self._has_begun:
                self._has_begun = True
                self._patience.deadline = trio.current_time() + REQUEST_SECONDS
            self._h11.receive_data(bytes(data))

    async def send_response(self, response: Response, *, is_last: bool = False) -> bool:
        """Send it; return whether the client may ask for more on this connection.

        Raises TooSlowError, and what the stream raises.
        """
        has_body = response.status is not HTTPStatus.NOT_MODIFIED
        own = {"date": formatdate(usegmt=True)}
        if has_body:
            own |= {"content-type": response.content_type, "content-length": str(len(response.body))}
        if is_last:
            own["connection"] = "close"
        headers = list((own | dict(self._headers) | dict(response.headers)).items())
        reason = response.status.phrase.encode()
        parts = [self._h11.send(h11.Response(status_code=response.status, headers=headers, reason=reason))]
        if has_body and self._method != "HEAD":
            parts.append(self._h11.send(h11.Data(data=response.body)))
        parts.append(self._h11.send(h11.EndOfMessage()))
        with trio.fail_after(SEND_SECONDS):
            await self._stream.send_all(b"".join(part for part in parts if part))
        return self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE

    @property
    def early_bytes(self) -> bytes:
        """What has come in behind the latest request."""
        return self._h11.trailing_data[0]


async def linger(stream: trio.abc.Stream) -> None:
    """Say that nothing more will come, and wait a moment for the client's end.

    A connection closed with something unread is reset, and a reset takes with it what the client has not read yet.
    """
    with trio.move_on_after(LINGER_SECONDS):
        try:
            if isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()
            left_bytes = LINGER_LIMIT_BYTES
            while left_bytes > 0 and (data := await stream.receive_some(READ_BYTES)):
                left_bytes -= len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it has gone already
