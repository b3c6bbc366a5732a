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

import trio

from plexbridge.errors import LocalProtocolError, PlexbridgeError
from plexbridge.model.health import Health, ModelStatus, Trouble, trouble_of
from plexbridge.model.placement import Placement
from plexbridge.model.standing import Standing, expect_wait
from plexbridge.model.ticket import Ticket
from plexbridge.model.turns import Turn, Turns, to_end
from plexbridge.service import Backend

logger = logging.getLogger(__name__)

Probe = Callable[[Backend], Awaitable[float | PlexbridgeError]]
"""Connects to a model, waits for its handshake and hangs up: `service.probe_model`."""


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
        """The time of everybody with a place, from when its model works: who has none yet is trying it."""
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
        """Return somebody's place in the queue, also while a model is probed for it; None for who has one to use."""
        seats = self.placement.seats
        only = seats[number].only
        is_placed = seats[number].model is not None and not seats[number].is_lost
        # Whoever wants another model only is in nobody's way.
        queue = [each for each in self._waiting() if only is None or seats[each].accepts(only)]
        if is_placed or number not in queue:
            return None
        place = queue.index(number) + 1
        useful = self._useful()
        turns = [
            turn
            for each, turn in self._turns.items()
            if only in (None, seats[each].model) and (turn.end_seconds is not None or seats[each].model in useful)
        ]
        ends_seconds = self._rules.expect_ends(turns, trio.current_time())
        wait_seconds = expect_wait(place, ends_seconds, self._rules.slot_seconds)
        is_outage = not any(seats[number].accepts(model) for model in self.working())
        is_known = wait_seconds is not None and isfinite(wait_seconds) and not is_outage
        return Standing(place, wait_seconds if is_known else None, is_outage=is_outage, only=only)

    def resume(self, number: int) -> Backend:
        """Return the model that somebody connects to."""
        self.placement.resume(number)
        return self._backends[self._model(number)]

    def disconnect(self, number: int) -> None:
        """Somebody's connection to the model of the place, or of the place before, is closed."""
        if self.placement.disconnect(number):
            self._settle()

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
        self.placement.connect(number)
        try:
            self.placement.lose(number)
            self._settle()
            result = await self._probe(self._backends[name])
        finally:
            self.disconnect(number)
        if not isinstance(result, PlexbridgeError):
            self._works(name)
            return
        self._leave_alone(name, trouble_of(result) or Trouble.FAILED)
        self._settle()
        if self.placement.seats[number].is_lost:
            self.requeue(number, is_first=True)

    def succeeded(self, number: int) -> None:
        """Somebody's model works."""
        self._works(self._model(number))

    def failed(self, number: int, failure: PlexbridgeError | None) -> bool:
        """Somebody's use of a model has ended; return whether there is another model to use at once."""
        trouble = trouble_of(failure)
        if trouble is None:
            return False
        self._leave_alone(self._model(number), trouble)
        self.placement.lose(number)
        self._settle()
        return not self.placement.seats[number].is_lost

    def lost(self, number: int, name: str, failure: PlexbridgeError | None) -> None:
        """A call has ended of somebody who holds another one, which proves that the other one's model works."""
        trouble = trouble_of(failure)
        if trouble is not None and name != self._model(number):
            self._leave_alone(name, trouble)
            self._settle()

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

    def _works(self, name: str) -> None:
        if self._healths[name].trouble is not None:
            logger.info("model %s works again", name)
        self._healths[name].succeeded(trio.current_time())
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
        for number, seat in self.placement.seats.items():
            if seat.model in working:
                self._turns.setdefault(number, Turn(now_seconds))
        ending = self._ending()
        for number in self._rules.to_pardon(self._turns, ending):
            self._turns[number] = replace(self._turns[number], end_seconds=None)
        for number in self._rules.to_warn(self._turns, ending, now_seconds):
            self._turns[number] = replace(self._turns[number], end_seconds=now_seconds + self._rules.lead_seconds)
        for number in self._rules.over(self._turns, now_seconds):
            self._tickets[number].end_turn()
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
        wishes = [self.placement.seats[number].only for number in self._waiting()]
        return to_end(self._turns, models, wishes, self._useful())

    def _useful(self) -> frozenset[str]:
        """Return the models whose places are good for anything: a slow one is better than none."""
        return self.working() | {name for name, each in self._healths.items() if each.trouble is Trouble.SLOW}

    def _waiting(self) -> list[int]:
        """Return who waits, in their order, and with them who tries a model: that one may not work."""
        seats = self.placement.seats
        trying = {number for number, seat in seats.items() if seat.model is not None and number not in self._turns}
        return self.placement.queue(trying)


@asynccontextmanager
async def open_pool(backends: Sequence[Backend], *, slot_seconds: float, probe: Probe) -> AsyncIterator[Pool]:
    """Run a pool of `backends` for the length of the block."""
    pool = Pool(backends, slot_seconds=slot_seconds, probe=probe, random=Random())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run)
        yield pool
        nursery.cancel_scope.cancel(reason="the pool closes")
