"""The pool: every model there is, shared by all rooms; who waits, and for how long those who talk may go on.

What is decided is decided in pure cores: `placement` (who gets what), `health` (which models work), `turns` (whose time
is up) and `standing` (what people are told). The pool keeps them up to date: after everything that happens, and by
`run` when it is time for something. A room holds a `Ticket` from its wish to its end. To find out whether a model is
free the pool asks nobody but itself; below it, `lock` keeps other processes of this host from a model that is taken.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf, isfinite
from random import Random
from types import TracebackType
from typing import Self

import trio

from plexbridge.errors import LocalProtocolError, ModelSlow, PlexbridgeError, TurnOver
from plexbridge.model.conversation import State
from plexbridge.model.health import Health, ModelStatus, Trouble, trouble_of
from plexbridge.model.placement import Placement
from plexbridge.model.standing import Standing, expect_wait
from plexbridge.model.turns import Turn, Turns, to_end
from plexbridge.service import Backend

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 5.0
"""How often it is looked at whether what a waiting person was told still holds."""
SLOW_SECONDS = 15.0
"""A model that is too slow for so long without a break is not going to catch up."""

Probe = Callable[[Backend], Awaitable[float | PlexbridgeError]]
"""Connects to a model, waits for its handshake and hangs up: `service.probe_model`."""

_TURN_OVER = "its time is up, and others wait"


class Ticket:
    """One room's right to a model: a place in the queue, and then one at a model. A context manager, as it has to be
    given back. `pool.request` makes it.
    """

    def __init__(self, pool: "Pool", number: int) -> None:
        self._pool = pool
        self._number = number
        self._scopes: list[trio.CancelScope] = []
        self._is_slow = False
        self._pace_since_seconds = 0.0
        """Since when it is so slow, or is not."""
        self._cause: PlexbridgeError | None = None
        """Why the present use of a model was ended."""

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
            raise TurnOver(_TURN_OVER)
        self._cause = None
        self._is_slow, self._pace_since_seconds = False, trio.current_time()
        async with self._occupied(self._pool.resume(self._number)) as backend:
            yield backend

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

    def listens(self) -> None:
        """The model of the place has shaken hands."""
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
            self.end(ModelSlow(f"it was too slow for more than {SLOW_SECONDS:.0f} s"))

    def requeue(self, *, is_first: bool = False) -> None:
        """Give the place up and wait, as the last of all or as the first of the server."""
        self._cause = None
        self._pool.requeue(self._number, is_first=is_first)

    def end(self, cause: PlexbridgeError) -> None:
        """Have the present use of the model end, with `cause`; the first cause stays."""
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


class Pool:
    """Shares `backends` out, the preferred one first; `slot_seconds` is a conversation's time while others wait.

    0 is without a limit; `probe` finds out whether a model works again. What is public here beside `request`, `run` and
    `statuses` is for tickets.
    """

    def __init__(self, backends: Sequence[Backend], *, slot_seconds: float, probe: Probe, random: Random) -> None:
        self._backends = {backend.model.name: backend for backend in backends}
        self._healths = {name: Health(random) for name in self._backends}
        self._rules = Turns(slot_seconds)
        self._probe = probe
        self._turns: dict[int, Turn] = {}
        """The time of everybody with a place."""
        self._tickets: dict[int, Ticket] = {}
        self._changed = trio.Event()
        self._requests = 0
        self.placement = Placement({name: each.model.sessions for name, each in self._backends.items()})

    def request(self, room: int, guild: int, *, only: str | None = None) -> Ticket:
        """Return a ticket, with a place at a model if one is free, else with one in the queue.

        `room` is what it is known by when it comes again, `guild` whom it counts for; `only` is the name of the one
        model that will do. Raises LocalProtocolError when there is none of that name.
        """
        if only is not None and only not in self._backends:
            raise LocalProtocolError("there is no model of that name to wait for")
        self._requests += 1
        ticket = self._tickets[self._requests] = Ticket(self, self._requests)
        self.placement.enter(self._requests, room=room, guild=guild, only=only)
        self._settle()
        if ticket.model is None:
            logger.info("no model is free for room %s: %s", room, ticket.standing)
        return ticket

    async def run(self) -> None:
        """Do what is due at a time, until cancelled."""
        while True:
            with trio.move_on_at(self._due_seconds()) as pause:
                await self._changed.wait()
            if pause.cancelled_caught:
                self._settle()

    def statuses(self) -> tuple[ModelStatus, ...]:
        """Return how each model stands."""
        now_seconds = trio.current_time()
        return tuple(
            ModelStatus(
                name=name,
                taken=self.placement.holders(name),
                slots=self._backends[name].model.sessions,
                trouble=health.trouble,
                pause_seconds=max(0.0, health.ready_seconds - now_seconds),
            )
            for name, health in self._healths.items()
        )

    async def wait_change(self) -> None:
        """Wait until something has changed."""
        await self._changed.wait()

    def working(self) -> frozenset[str]:
        """Return the models that work, as far as is known."""
        return frozenset(name for name, health in self._healths.items() if health.trouble is None)

    def end_seconds(self, number: int) -> float | None:
        """Return when a turn ends, if that is settled."""
        turn = self._turns.get(number)
        return None if turn is None else turn.end_seconds

    def standing(self, number: int) -> Standing | None:
        """Return somebody's place in the queue; None for who has a place at a model."""
        seats = self.placement.seats
        only = seats[number].only
        # Whoever wants another model only is in nobody's way.
        queue = [each for each in self.placement.queue() if only is None or seats[each].accepts(only)]
        if number not in queue:
            return None
        place = queue.index(number) + 1
        turns = [turn for each, turn in self._turns.items() if only in (None, seats[each].model)]
        ends_seconds = self._rules.expect_ends(turns, trio.current_time())
        wait_seconds = expect_wait(place, ends_seconds, self._rules.slot_seconds)
        is_outage = not any(seats[number].accepts(model) for model in self.working())
        is_known = wait_seconds is not None and isfinite(wait_seconds) and not is_outage
        return Standing(place, wait_seconds if is_known else None, is_outage=is_outage, only=only)

    def resume(self, number: int) -> Backend:
        """Return the model that somebody connects to."""
        self.placement.resume(number)
        return self._backends[self._model(number)]

    def take_spare(self, number: int) -> Backend | None:
        """Return where somebody has a second place, if there is one."""
        name = self.placement.take_spare(number, working=self.working())
        return None if name is None else self._backends[name]

    def drop_spare(self, number: int) -> None:
        """Somebody gives up the second place."""
        self.placement.drop_spare(number)
        self._settle()

    async def try_model(self, number: int) -> None:
        """Try the model that somebody was given; who finds it dead waits again, unless there is another one by then."""
        name = self._model(number)
        self.placement.lose(number)
        self._settle()
        result = await self._probe(self._backends[name])
        if not isinstance(result, PlexbridgeError):
            self.succeeded(number)
            return
        self._leave_alone(name, trouble_of(result) or Trouble.FAILED)
        self._settle()
        if self.placement.seats[number].is_lost:
            self.requeue(number, is_first=True)

    def succeeded(self, number: int) -> None:
        """Somebody's model works."""
        name = self._model(number)
        if self._healths[name].trouble is not None:
            logger.info("model %s works again", name)
        self._healths[name].succeeded(trio.current_time())
        self._settle()

    def failed(self, number: int, failure: PlexbridgeError | None) -> bool:
        """Somebody's use of a model has ended; return whether there is another model to use at once."""
        trouble = trouble_of(failure)
        if trouble is None:
            return False
        self._leave_alone(self._model(number), trouble)
        self.placement.lose(number)
        self._settle()
        return not self.placement.seats[number].is_lost

    def is_to_leave(self, number: int) -> bool:
        """Somebody's model is too slow; give them another one if there is one for them, and return whether."""
        name = self._model(number)
        if self._healths[name].trouble is None:
            self._leave_alone(name, Trouble.SLOW)
            self._settle()
        if not self.placement.has_free(number, self.working()):
            return False  # a slow model is better than none
        self.placement.lose(number)
        self._settle()
        return True

    def keeps_up(self, number: int) -> None:
        """Somebody's model is not too slow, or not any more."""
        if self._healths[self._model(number)].trouble is Trouble.SLOW:
            self.succeeded(number)

    def requeue(self, number: int, *, is_first: bool) -> None:
        """Somebody gives the place up and waits again."""
        self._turns.pop(number, None)
        self.placement.requeue(number, is_first=is_first)
        self._settle()

    def leave(self, number: int) -> None:
        """Somebody has gone."""
        self._turns.pop(number, None)
        del self._tickets[number]
        self.placement.leave(number)
        self._settle()

    def _leave_alone(self, name: str, trouble: Trouble) -> None:
        health = self._healths[name]
        is_news = health.trouble is not trouble
        pause_seconds = health.failed(trouble, trio.current_time())
        if is_news:
            logger.warning("model %s is left alone for %.1f s at first: %s", name, pause_seconds, trouble.value)

    def _model(self, number: int) -> str:
        name = self.placement.seats[number].model
        if name is None:
            raise LocalProtocolError("who waits has no model to use")
        return name

    def _settle(self) -> None:
        """Bring everything up to date, and wake up whom it may concern."""
        now_seconds = trio.current_time()
        working = self.working()
        ready = frozenset(
            name for name, health in self._healths.items() if health.trouble and health.ready_seconds <= now_seconds
        )
        for number in self.placement.settle(working=working, ready=ready):
            logger.info("room %s has a place at model %s", self.placement.seats[number].room, self._model(number))
            self._turns.setdefault(number, Turn(now_seconds))
        ending = self._ending()
        for number in self._rules.to_pardon(self._turns, ending):
            self._turns[number] = replace(self._turns[number], end_seconds=None)
        for number in self._rules.to_warn(self._turns, ending, now_seconds):
            self._turns[number] = replace(self._turns[number], end_seconds=now_seconds + self._rules.lead_seconds)
        for number in self._rules.over(self._turns, now_seconds):
            self._tickets[number].end(TurnOver(_TURN_OVER))
        self._changed.set()
        self._changed = trio.Event()

    def _due_seconds(self) -> float:
        """Return when time itself changes something next."""
        now_seconds = trio.current_time()
        due_seconds = [health.ready_seconds for health in self._healths.values()] if self.placement.queue() else []
        due_seconds += self._rules.dues(self._turns, self._ending())
        return min((each for each in due_seconds if each > now_seconds), default=inf)

    def _ending(self) -> list[int]:
        """Return whose turns have to end for those who wait."""
        models = {number: self._model(number) for number in self._turns}
        return to_end(self._turns, models, [self.placement.seats[number].only for number in self.placement.queue()])


@asynccontextmanager
async def open_pool(backends: Sequence[Backend], *, slot_seconds: float, probe: Probe) -> AsyncIterator[Pool]:
    """Run a pool of `backends` for the length of the block."""
    pool = Pool(backends, slot_seconds=slot_seconds, probe=probe, random=Random())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run)
        yield pool
        nursery.cancel_scope.cancel(reason="the pool closes")
