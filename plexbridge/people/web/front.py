"""The web front as one block: the page, its options, and the conversations at `/ws/voice`.

Its connections are shielded from a cancellation that comes from outside, so that everybody who talks is told before
they end; they are cancelled here, a second later at most, whatever a client does.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import trio

from plexbridge.config import Config, WebConfig
from plexbridge.model.pool import Pool
from plexbridge.model.voices import VOICES
from plexbridge.people.web.access import Access
from plexbridge.people.web.door import Door
from plexbridge.people.web.files import read_page
from plexbridge.people.web.http import Request, Response, sentence_response
from plexbridge.people.web.server import GOODBYE_SECONDS, Server, WebSocketRoute
from plexbridge.people.web.thin import converse

MODES = ("loopback", "model")


class Front:
    """The running front."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @property
    def description(self) -> str:
        """One line for people."""
        return f"page at {self._door.address}"


@asynccontextmanager
async def open_front(config: Config, pool: Pool, door: Door) -> AsyncIterator[Front]:
    """Serve who comes through `door` for the length of the block."""
    access = make_access(config.web)
    server = Server(
        access,
        {"/healthz": _answer_healthy, "/options": Options(config, access).answer}
        | {path: file.answer for path, file in read_page().items()},
        {"/ws/voice": WebSocketRoute(converse, json.dumps({"type": "bye", "message": "plexbridge is stopping."}))},
        clients=config.web.clients,
        tls=door.tls,
    )
    connections = trio.CancelScope(shield=True)

    async def serve() -> None:
        with connections:
            await server.serve(door.listeners)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        try:
            yield Front(door)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 2 * GOODBYE_SECONDS):
                await server.say_goodbye()
            connections.cancel(reason="the front closes")


def make_access(web: WebConfig) -> Access:
    """Return the rules that the configuration makes."""
    return Access(
        token=None if web.token is None else web.token.get_secret_value(),
        origins=web.origins,
        is_encrypted=web.certificate is not None or web.tls_proxy,
    )


class Options:
    """What the page can offer for a choice; for those who have the token."""

    def __init__(self, config: Config, access: Access) -> None:
        self._access = access
        default = config.persona.voice
        options = {
            "version": 1,
            "models": [model.name for model in config.model],
            "voices": [*VOICES, *(() if default in VOICES else (default,))],
            "default_voice": default,
            "modes": MODES,
        }
        self._body = json.dumps(options).encode()

    async def answer(self, request: Request) -> Response:
        """Return them as JSON."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not self._access.is_token(token.strip() if scheme.lower() == "bearer" else None):
            return sentence_response(
                HTTPStatus.UNAUTHORIZED, "The token is missing or wrong.", headers={"www-authenticate": "Bearer"}
            )
        return Response(HTTPStatus.OK, self._body, "application/json", {"cache-control": "no-store"})


async def _answer_healthy(request: Request) -> Response:
    return Response(HTTPStatus.OK, b"ok", headers={"cache-control": "no-store"})
