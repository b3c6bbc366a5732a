"""Who gets which model, and who waits: places at models, and one queue for all of them.

A pure core. A room that wants a model is a *seat*: it waits, or it has a place at a model, from the moment its turn
comes until it leaves, through every outage of the model. It may want one model *only*; then no other is free to it,
and those behind it in the queue don't wait for it where others are. `settle` hands out what is free, in this order:

1. A room whose model was lost under it moves to another model that works, unless it wants that one only.
2. Of those who wait, one whose server has the fewest places comes first, and of these the one who has waited longest.
   It gets the model that its room had before, else the first one of the configuration that works.
3. While somebody waits and no model that works is free, one that does not work is given to the first of them, to see
   whether it works again: but only if nobody has a place at it, and its cool-down is over.

A place that is left for a better one stays taken until its connection is closed.

So a model that is taken is never touched, and nobody waits while one that works and will do is free. Which models work
is the caller's knowledge (`health`). A *spare* is a second place, for the change to a fresh connection; it is to be had
only while nobody waits whom it would do for.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

REMEMBERED_ROOMS = 1_000
"""Whose model is known for when they come again; of more, the oldest are forgotten."""


@dataclass(slots=True)
class Seat:
    """One room that wants a model, or has one. Only `Placement` changes it."""

    room: int
    guild: int
    order: int
    """Who waits with a lower number has waited longer."""
    only: str | None = None
    """The one model that it wants; None: any will do."""
    model: str | None = None
    """Where its place is; None while it waits."""
    spare: str | None = None
    """Where its second place is."""
    connected: str | None = None
    """Where the connection of its first place is made, stands or says goodbye: taken, though the place may be another
    one by now."""
    is_lost: bool = False
    """It has a place at a model that was lost under it, and no connection."""

    def accepts(self, model: str) -> bool:
        """Whether a model will do."""
        return self.only is None or self.only == model


class Placement:
    """All seats; `slots` says how many places each model has, the preferred model first."""

    def __init__(self, slots: Mapping[str, int]) -> None:
        self._slots = dict(slots)
        self._seats: dict[int, Seat] = {}
        self._first = self._last = 0
        self._before: OrderedDict[int, str] = OrderedDict()
        """The model that a room had, by room."""

    @property
    def seats(self) -> Mapping[int, Seat]:
        """Everybody who waits or has a place, by number."""
        return self._seats

    def enter(self, number: int, *, room: int, guild: int, only: str | None = None) -> None:
        """Somebody new waits, behind all others."""
        self._last += 1
        self._seats[number] = Seat(room, guild, self._last, only)

    def leave(self, number: int) -> None:
        """Somebody gives up their places, or their waiting."""
        self._remember(self._seats.pop(number))

    def requeue(self, number: int, *, is_first: bool = False) -> None:
        """Somebody gives up their places and waits as the last of all, or as the first of their server."""
        seat = self._seats[number]
        self._remember(seat)
        if is_first:
            self._first -= 1
        else:
            self._last += 1
        seat.order = self._first if is_first else self._last
        seat.model = seat.spare = None
        seat.is_lost = False

    def lose(self, number: int) -> None:
        """The model of somebody with a place was lost; they keep the place until there is a better one."""
        self._seats[number].is_lost = True

    def resume(self, number: int) -> None:
        """Somebody connects to the model that they have a place at."""
        self._seats[number].is_lost = False
        self.connect(number)

    def connect(self, number: int) -> None:
        """The model of somebody's place is taken until `disconnect`, even if they move to another one before."""
        self._seats[number].connected = self._seats[number].model

    def disconnect(self, number: int) -> bool:
        """Somebody's connection is closed; return whether it was what kept a model taken."""
        seat = self._seats[number]
        closed, seat.connected = seat.connected, None
        return closed not in (None, seat.model, seat.spare)

    def settle(self, *, working: Set[str], ready: Set[str]) -> list[int]:
        """Hand out what is free; return the numbers of those who were given a place.

        `working` are the models that work; `ready` those that don't, and whose cool-down is over.
        """
        placed = [number for number, seat in self._lost() if seat.model not in working and self._place(seat, working)]
        while (waiting := self._next(self._free(working))) is not None:
            self._place(self._seats[waiting], working)
            placed.append(waiting)
        for model in self._slots:
            waiting = self._next([model])
            if waiting is not None and model in ready and not self.holders(model):
                self._give(self._seats[waiting], model)
                placed.append(waiting)
        return placed

    def take_spare(self, number: int, *, working: Set[str]) -> str | None:
        """Return where somebody with a place now has a second one; None where there is none for them."""
        seat = self._seats[number]
        if seat.model is None or seat.spare is not None:
            return None
        free = [model for model in self._free(working) if seat.accepts(model) and self._next([model]) is None]
        seat.spare = seat.model if seat.model in free else next(iter(free), None)
        return seat.spare

    def swap(self, number: int) -> None:
        """The second place becomes the first one, and the first one the second."""
        seat = self._seats[number]
        if seat.spare is None:
            return
        if seat.connected == seat.model:
            seat.connected = seat.spare
        seat.model, seat.spare = seat.spare, seat.model

    def drop_spare(self, number: int) -> None:
        """Give the second place up; without one nothing happens."""
        self._seats[number].spare = None

    def holders(self, model: str) -> int:
        """Return how many places at a model are taken."""
        return sum(
            (seat.model == model)
            + (seat.spare == model)
            + (seat.connected == model and model not in (seat.model, seat.spare))
            for seat in self._seats.values()
        )

    def queue(self, trying: Set[int] = frozenset()) -> list[int]:
        """Return the numbers of those who wait, in the order in which they will get places.

        `trying` are those with a place that may be good for nothing: they count as if they waited. Others may come, and
        who waits for a certain model may have to let others go first.
        """
        waiting = {number: seat for number, seat in self._seats.items() if seat.model is None or number in trying}
        places = Counter(seat.guild for number, seat in self._seats.items() if number not in waiting)
        order: list[int] = []
        while waiting:
            number = min(waiting, key=lambda each: (places[waiting[each].guild], waiting[each].order))
            places[waiting.pop(number).guild] += 1
            order.append(number)
        return order

    def has_free(self, number: int, working: Set[str]) -> bool:
        """Say whether a model that works, and will do for somebody, has a place left."""
        return any(self._seats[number].accepts(model) for model in self._free(working))

    def _lost(self) -> Iterator[tuple[int, Seat]]:
        lost = [(number, seat) for number, seat in self._seats.items() if seat.is_lost]
        yield from sorted(lost, key=lambda each: each[1].order)

    def _next(self, models: Sequence[str]) -> int | None:
        """Return who is the next to be given a place at one of `models`."""
        places = self._places_by_guild()
        waiting = (
            number
            for number, seat in self._seats.items()
            if seat.model is None and any(seat.accepts(model) for model in models)
        )
        return min(waiting, key=lambda each: (places[self._seats[each].guild], self._seats[each].order), default=None)

    def _places_by_guild(self) -> Counter[int]:
        return Counter(seat.guild for seat in self._seats.values() if seat.model is not None)

    def _free(self, working: Set[str]) -> list[str]:
        return [model for model, slots in self._slots.items() if model in working and self.holders(model) < slots]

    def _place(self, seat: Seat, working: Set[str]) -> bool:
        """Give a seat one of the models that work, if one is free that will do."""
        free = [model for model in self._free(working) if seat.accepts(model)]
        if not free:
            return False
        before = self._before.get(seat.room)
        self._give(seat, before if before in free else free[0])
        return True

    def _give(self, seat: Seat, model: str) -> None:
        self._remember(seat)
        seat.model, seat.is_lost = model, False

    def _remember(self, seat: Seat) -> None:
        if seat.model is None:
            return
        self._before[seat.room] = seat.model
        self._before.move_to_end(seat.room)
        if len(self._before) > REMEMBERED_ROOMS:
            self._before.popitem(last=False)
