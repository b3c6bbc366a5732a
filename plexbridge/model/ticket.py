"""One room's right to a model, from its wish to its end: a place in the queue, and then one at a model.

What a room does with it, it does through the pool, which knows about all the others.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

import trio

from plexbridge.errors import ModelRefused, ModelSlow, PlexbridgeError, TurnOver
from plexbridge.model.conversation import State
from plexbridge.model.health import trouble_of
from plexbridge.model.standing import Standing
from plexbridge.service import Backend

if TYPE_CHECKING:
    from plexbridge.model.pool import Pool

REFRESH_SECONDS = 5.0
"""How often it is looked at whether what a waiting person was told still holds."""
SLOW_SECONDS = 15.0
"""A model that is too slow for so long without a break is not going to catch up."""
VAIN_LIMIT = 3
"""So many talks in a row that failed before a model listened, though it was found to work before each, have a cause of
their own, such as a persona that no model takes."""


class Ticket:
    """The right, which has to be given back: a context manager. `Pool.request` makes it."""

    def __init__(self, pool: "Pool", number: int) -> None:
        self._pool = pool
        self._number = number
        self._scopes: list[trio.CancelScope] = []
        self._is_slow = False
        self._pace_since_seconds = 0.0
        """Since when it is so slow, or is not."""
        self._cause: PlexbridgeError | None = None
        """Why the present use of a model was ended."""
        self._vain_talks = 0
        """How many have failed in a row without a model that listened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.leave(self._number)

    @property
    def model(self) -> str | None:
        """The name of the model that it has a place at; None while it waits."""
        return self._pool.placement.seats[self._number].model

    @property
    def standing(self) -> Standing | None:
        """The place in the queue; None with a place at a model."""
        return self._pool.standing(self._number)

    @property
    def may_wait(self) -> bool:
        """Whether some model works that will do, so that it is worth waiting for one."""
        return any(self._pool.placement.seats[self._number].accepts(model) for model in self._pool.working())

    def may_wait_after(self, failure: PlexbridgeError | None) -> bool:
        """Whether to wait for another model after a talk that has ended so.

        Not after what would happen there too: a refusal is for the persona, which a probe with the configured one
        does not find, so that who waited would have the model tried for ever, and keep it from others.
        """
        if trouble_of(failure) is None or isinstance(failure, ModelRefused):
            return False
        self._vain_talks += 1
        return self._vain_talks < VAIN_LIMIT and self.may_wait

    async def wait_turn(self, tell: Callable[[Standing], None]) -> None:
        """Wait until there is a place at a model that works; `tell` is given the place in the queue when it changes.

        Whoever is given a model that did not work finds out whether it does, and else goes on waiting.
        """
        told = None
        while (model := self.model) not in self._pool.working():
            standing = self.standing
            if standing is not None and str(standing) != told:
                told = str(standing)
                tell(standing)
            if model is not None:
                await self._try(model)
                continue
            with trio.move_on_after(REFRESH_SECONDS):
                await self._pool.wait_change()

    async def _try(self, model: str) -> None:
        """Find out whether a model works again, unless there is a better place meanwhile."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._leave_for_better, model, nursery.cancel_scope)
            await self._pool.try_model(self._number)
            nursery.cancel_scope.cancel(reason="the model was tried")

    async def _leave_for_better(self, model: str, trial: trio.CancelScope) -> None:
        while self.model == model:
            await self._pool.wait_change()
        trial.cancel(reason="another model is free")

    async def wait_warning(self) -> float:
        """Wait until the end of the turn is near, because others wait; return how many seconds are left."""
        while (end_seconds := self._pool.end_seconds(self._number)) is None:
            await self._pool.wait_change()
        return end_seconds - trio.current_time()

    async def wait_pardon(self) -> None:
        """Wait until nobody is left whom the turn would have to end for."""
        while self._pool.end_seconds(self._number) is not None:
            await self._pool.wait_change()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Backend]:
        """Yield where to connect to: the model of the place, which may be another one after it was lost.

        The block is cancelled when the place is to be left; then, or when that was before, this raises TurnOver, or
        ModelSlow for a model to be left for a better one.
        """
        end_seconds = self._pool.end_seconds(self._number)
        if end_seconds is not None and end_seconds <= trio.current_time():
            raise _turn_over()
        self._cause = None
        self._is_slow, self._pace_since_seconds = False, trio.current_time()
        try:
            async with self._occupied(self._pool.resume(self._number)) as backend:
                yield backend
        finally:
            self._pool.disconnect(self._number)

    @asynccontextmanager
    async def spare(self) -> AsyncIterator[Backend | None]:
        """Yield where to make a second connection for as long as the block lasts; None where there is no room for it.

        Raises like `use`. With `swap` the second place becomes the one that is kept.
        """
        backend = self._pool.take_spare(self._number)
        if backend is None:
            yield None
            return
        try:
            async with self._occupied(backend):
                yield backend
        finally:
            self._pool.drop_spare(self._number)

    def swap(self) -> None:
        """Keep the second place, and give the first one up with the end of `spare`'s block."""
        self._pool.placement.swap(self._number)

    def lost(self, backend: Backend, failure: PlexbridgeError | None) -> None:
        """Note how a call ended that was held beside the one that goes on, or before it."""
        self._pool.lost(self._number, backend.model.name, failure)

    def listens(self) -> None:
        """The model of the place has shaken hands."""
        self._vain_talks = 0
        self._pool.succeeded(self._number)

    def failed(self, failure: PlexbridgeError | None) -> bool:
        """Note how the use of the model ended; return whether there is another one to use at once."""
        return self._pool.failed(self._number, failure)

    def observe(self, state: State | None) -> None:
        """Take note of the model's state, once or twice a second; one that stays too slow is left, if another is free.

        None is a model that is not there.
        """
        now_seconds = trio.current_time()
        is_slow = state is State.TOO_SLOW
        if is_slow is not self._is_slow or state is None:
            self._is_slow, self._pace_since_seconds = is_slow, now_seconds
        if now_seconds - self._pace_since_seconds < SLOW_SECONDS:
            return
        if not is_slow:
            self._pool.keeps_up(self._number)
        elif self._pool.is_to_leave(self._number):
            self._end(ModelSlow(f"it was too slow for more than {SLOW_SECONDS:.0f} s"))

    def requeue(self, *, is_first: bool = False) -> None:
        """Give the place up and wait, as the last of all or as the first of the server."""
        self._cause = None
        self._pool.requeue(self._number, is_first=is_first)

    def end_turn(self) -> None:
        """Have the present use of the model end, since others wait."""
        self._end(_turn_over())

    def _end(self, cause: PlexbridgeError) -> None:
        """Have the present use of the model end with `cause`; the first cause stays."""
        if self._cause is None:
            self._cause = cause
            for scope in self._scopes:
                scope.cancel(reason="the place is to be left")

    @asynccontextmanager
    async def _occupied(self, backend: Backend) -> AsyncIterator[Backend]:
        with trio.CancelScope() as scope:
            self._scopes.append(scope)
            try:
                yield backend
            finally:
                self._scopes.remove(scope)
        if scope.cancelled_caught and self._cause is not None:
            raise self._cause


def _turn_over() -> TurnOver:
    return TurnOver("its time is up, and others wait")
