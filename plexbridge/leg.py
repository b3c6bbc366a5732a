"""One link in a row of links to the same people: opened ahead of its turn, used in its turn, closed after it.

A leg is a task of its own, since the next link is opened before the present one is left, and a link that is left takes
its time to say goodbye while the next one is in use already. Who runs the legs (`relay`) gives them their turns, one at
a time.
"""

import secrets
from collections.abc import Callable

import trio

from plexbridge import logs
from plexbridge.config import PersonaConfig
from plexbridge.errors import ModelLimit, PlexbridgeError
from plexbridge.model.conversation import State
from plexbridge.service import Backend, Failures, reserve_link
from plexbridge.session.ledger import Ledger
from plexbridge.session.link import Link
from plexbridge.session.relayed import RelayedPeople
from plexbridge.session.session import SessionSettings, run_session


class Leg:
    """One link of the relay, and its turn. What is awaited here comes about whichever way `run` ends."""

    def __init__(self, backend: Backend, *, is_first: bool) -> None:
        self.backend = backend
        self.ledger = Ledger()
        self.link: Link | None = None
        self.failure: PlexbridgeError | None = None
        self.settled = trio.Event()
        """The link is open, or can't be opened: `failure` says why."""
        self.left = trio.Event()
        """The session is over."""
        self.closed = trio.Event()
        """The link is, and its slot at the model is free."""
        self.turn = trio.Event()
        """The session may begin."""
        self._is_first = is_first
        self._is_to_leave = False
        self._session = trio.CancelScope()
        self._whole = trio.CancelScope()

    @property
    def is_renewed(self) -> bool:
        """Whether the session was ended so that the next one may begin."""
        return self._is_to_leave and self._session.cancelled_caught

    def begin(self, limit_seconds: float) -> None:
        """Begin the session, which ends at the model's limit if not before."""
        self._session.deadline = limit_seconds
        self.turn.set()

    def leave(self) -> None:
        """End the session, as another one goes on."""
        self._is_to_leave = True
        self._session.cancel(reason="the link is renewed")

    def give_up(self) -> None:
        """End everything."""
        self._whole.cancel(reason="the link is not needed")

    async def run(
        self, people: RelayedPeople, persona: PersonaConfig, settings: SessionSettings, watch: Callable[[State], None]
    ) -> None:
        """Open the link, hold the session when it is its turn, and close the link."""
        logs.session_id.set(secrets.token_hex(3))
        failures = Failures("a conversation" if self._is_first else "a renewed link")
        try:
            with self._whole, failures.collect():
                await self._hold(people, persona, settings, watch)
            self.failure = failures.principal()
        finally:
            for event in (self.settled, self.left, self.closed):
                event.set()

    async def _hold(
        self, people: RelayedPeople, persona: PersonaConfig, settings: SessionSettings, watch: Callable[[State], None]
    ) -> None:
        async with reserve_link(self.backend, persona, watch) as link:
            self.link = link
            self.settled.set()
            await self._wait_turn(link)
            with self._session:
                await run_session(
                    link,
                    people,
                    settings,
                    ledger=self.ledger,
                    serial=secrets.randbits(32),
                    start_seconds=people.start_seconds,
                )
            if self._session.cancelled_caught and not self._is_to_leave:
                raise ModelLimit(f"the limit of {self.backend.model.limit_seconds} s was reached")
            self.left.set()

    async def _wait_turn(self, link: Link) -> None:
        """Wait until the session may begin; raises LinkError when the link is lost before."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.wait_lost)
            await self.turn.wait()
            nursery.cancel_scope.cancel(reason="its turn has come")
