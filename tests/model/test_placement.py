"""Placement: who gets which model, and who waits; by cases, and by a machine that tries everything."""

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plexbridge.model.placement import REMEMBERED_ROOMS, Placement

A, B = "a", "b"
BOTH = frozenset((A, B))
NONE = frozenset[str]()


def placement(**slots: int) -> Placement:
    return Placement(slots or {A: 1, B: 1})


def enter(core: Placement, *numbers: int, guilds: dict[int, int] | None = None) -> None:
    """Let rooms come in, each of a server of its own unless it is said, and numbered like it."""
    for number in numbers:
        core.enter(number, room=number, guild=(guilds or {}).get(number, number))


def settle(core: Placement, working: frozenset[str] = BOTH, ready: frozenset[str] = NONE) -> list[int]:
    return core.settle(working=working, ready=ready)


def model(core: Placement, number: int) -> str | None:
    return core.seats[number].model


def test_rooms_get_the_models_in_their_order_and_the_rest_wait_in_theirs() -> None:
    core = placement()
    enter(core, 1, 2, 3, 4)

    assert settle(core) == [1, 2]
    assert [model(core, number) for number in (1, 2, 3, 4)] == [A, B, None, None]
    assert core.queue() == [3, 4]
    assert settle(core) == [], "a place is given once"


def test_a_free_place_goes_to_who_has_waited_longest() -> None:
    core = placement()
    enter(core, 1, 2, 3, 4)
    settle(core)
    core.leave(2)

    assert settle(core) == [3]
    assert model(core, 3) == B
    assert core.queue() == [4]


def test_a_model_serves_as_many_rooms_as_it_has_places() -> None:
    core = placement(a=3)
    enter(core, 1, 2, 3, 4)

    assert settle(core, frozenset((A,))) == [1, 2, 3]
    assert core.holders(A) == 3


def test_a_server_with_fewer_conversations_comes_first_however_long_others_have_waited() -> None:
    core = placement()
    guilds = {1: 10, 2: 10, 3: 10, 4: 40}
    enter(core, 1, 2, guilds=guilds)
    settle(core)
    enter(core, 3, 4, guilds=guilds)

    assert core.queue() == [4, 3]
    core.leave(1)
    assert settle(core) == [4]


def test_servers_take_turns_in_the_queue() -> None:
    core = placement(a=1)
    enter(core, 1, 2, 3, 4, 5, guilds={1: 10, 2: 20, 3: 20, 4: 20, 5: 30})
    settle(core)

    assert core.queue() == [2, 5, 3, 4], "the server of 1 has a place, but that of 2 to 4 has more after its first"


def test_a_room_that_comes_again_gets_the_model_that_it_had() -> None:
    core = placement()
    enter(core, 1, 2)
    settle(core)
    core.leave(1)
    core.leave(2)
    core.enter(3, room=2, guild=2)

    assert settle(core) == [3]
    assert model(core, 3) == B


def test_a_room_does_not_wait_for_the_model_that_it_had() -> None:
    core = placement()
    enter(core, 1, 2)
    settle(core)
    core.leave(1)
    core.enter(3, room=1, guild=1)
    core.leave(2)
    core.enter(4, room=2, guild=2)
    settle(core, frozenset((A,)))

    assert model(core, 3) == A
    core.leave(3)
    assert settle(core, frozenset((A,))) == [4]


def test_of_a_thousand_rooms_the_model_is_remembered_and_of_no_more() -> None:
    core = placement()
    for number in range(REMEMBERED_ROOMS + 1):
        enter(core, number)
        settle(core, frozenset((B,)))
        core.leave(number)
    core.enter(-1, room=0, guild=1)
    core.enter(-2, room=1, guild=2)
    settle(core)

    assert (model(core, -1), model(core, -2)) == (A, B)


def test_who_gives_the_place_up_waits_behind_all_others_or_before_them() -> None:
    core = placement(a=1)
    enter(core, 1, 2, 3)
    settle(core)
    core.requeue(1)
    assert core.queue() == [2, 3, 1]

    assert settle(core) == [2]
    core.requeue(2, is_first=True)
    assert core.queue() == [2, 3, 1]


def test_a_room_that_lost_its_model_moves_to_another_before_those_who_wait() -> None:
    core = placement()
    enter(core, 1, 2, 3)
    settle(core)
    core.lose(1)
    working = frozenset((B,))

    assert settle(core, working) == [], "there is none"
    assert model(core, 1) == A, "it keeps its place"
    core.leave(2)
    assert settle(core, working) == [1]
    assert model(core, 1) == B
    assert settle(core, working, ready=frozenset((A,))) == [3], "the other one sees whether the lost model works again"


def test_a_room_whose_lost_model_works_again_stays() -> None:
    core = placement(a=2, b=1)
    enter(core, 1)
    settle(core)
    core.lose(1)

    assert settle(core) == []
    core.resume(1)
    assert model(core, 1) == A


def test_a_model_that_does_not_work_is_tried_by_one_room_when_its_pause_is_over_and_no_other_is_free() -> None:
    core = placement(a=3, b=1)
    enter(core, 1, 2, 3)
    working = frozenset((B,))

    assert settle(core, working) == [1]
    assert settle(core, working, ready=frozenset((A,))) == [2]
    assert settle(core, working, ready=frozenset((A,))) == [], "it has three places, and one of them is taken"


def test_a_model_that_does_not_work_is_left_alone_while_another_is_free() -> None:
    core = placement()
    enter(core, 1)

    assert settle(core, frozenset((B,)), ready=frozenset((A,))) == [1]
    assert model(core, 1) == B


def test_a_second_place_is_to_be_had_while_nobody_waits() -> None:
    core = placement(a=1, b=2)
    enter(core, 1, 2)
    settle(core)
    assert core.take_spare(1, working=BOTH) == B
    assert core.take_spare(1, working=BOTH) is None, "one is enough"
    assert core.take_spare(2, working=BOTH) is None, "nothing is free"
    enter(core, 3)
    assert settle(core) == []
    core.swap(1)
    assert model(core, 1) == B
    core.drop_spare(1)
    assert settle(core) == [3], "in the place that was given up"
    assert model(core, 3) == A
    enter(core, 4)
    assert core.take_spare(1, working=BOTH) is None, "somebody waits"


def test_a_free_place_is_nobodys_second_one_while_somebody_waits_for_it() -> None:
    core = placement()
    enter(core, 1)
    settle(core)
    enter(core, 2)

    assert core.take_spare(1, working=BOTH) is None
    assert settle(core) == [2]


def test_a_second_place_is_one_of_the_same_model_if_that_has_one() -> None:
    core = placement(a=1, b=2)
    enter(core, 1, 2)
    settle(core)
    core.leave(1)

    assert core.take_spare(2, working=BOTH) == B


def test_who_wants_one_model_only_waits_for_it_and_holds_up_nobody() -> None:
    core = placement()
    enter(core, 1)
    core.enter(2, room=2, guild=2, only=A)
    core.enter(3, room=3, guild=3)

    assert settle(core) == [1, 3], "the other model is free for who takes any"
    assert core.queue() == [2]
    core.leave(3)
    assert settle(core) == []
    core.leave(1)
    assert settle(core) == [2]
    assert model(core, 2) == A


def test_who_wants_a_model_only_that_is_lost_does_not_move_to_another() -> None:
    core = placement()
    core.enter(1, room=1, guild=1, only=A)
    settle(core)
    core.lose(1)
    working = frozenset((B,))

    assert settle(core, working) == []
    assert model(core, 1) == A
    assert not core.has_free(1, working)
    enter(core, 2)
    assert core.has_free(2, working)


def test_a_model_that_does_not_work_is_tried_by_who_wants_it_only_though_another_is_free() -> None:
    core = placement()
    core.enter(1, room=1, guild=1, only=A)

    assert settle(core, frozenset((B,))) == []
    assert settle(core, frozenset((B,)), ready=frozenset((A,))) == [1]
    assert model(core, 1) == A


def test_a_second_place_is_to_be_had_while_those_wait_only_who_have_no_use_for_it() -> None:
    core = placement(a=1, b=2)
    enter(core, 1, 2)
    settle(core)
    core.enter(3, room=3, guild=3, only=A)
    settle(core)

    assert model(core, 2) == B
    assert core.take_spare(2, working=BOTH) == B
    core.drop_spare(2)
    core.leave(1)
    settle(core)
    assert model(core, 3) == A
    assert core.take_spare(3, working=BOTH) is None, "the one that is free is not the one it wants"


class Rooms(RuleBasedStateMachine):
    """Rooms come, go, lose their models and take second places, and models fail and return."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = {"a": 1, "b": 2, "c": 1}
        self.core = Placement(self.slots)
        self.working = frozenset(self.slots)
        self.ready = NONE
        self.present: set[int] = set()
        self.before: dict[int, str | None] = {}
        self.numbers = 0

    @rule(guild=st.integers(1, 3), room=st.integers(1, 6), only=st.sampled_from((None, None, "a", "b")))
    def come(self, guild: int, room: int, only: str | None) -> None:
        """Somebody wants a model."""
        self.numbers += 1
        self.present.add(self.numbers)
        self.core.enter(self.numbers, room=room, guild=guild, only=only)
        self.settle()

    @precondition(lambda self: self.present)
    @rule(
        data=st.data(),
        how=st.sampled_from(["leave", "requeue", "first", "lose", "resume", "spare", "swap", "drop", "end"]),
    )
    def act(self, data: st.DataObject, how: str) -> None:
        """Somebody who is there does something."""
        number = data.draw(st.sampled_from(sorted(self.present)))
        is_placed = self.core.seats[number].model is not None
        if how == "leave":
            self.present.discard(number)
            self.core.leave(number)
        elif is_placed and how in ("requeue", "first"):
            self.core.requeue(number, is_first=how == "first")
            assert number in self.core.queue()
        elif is_placed and how == "lose":
            self.core.lose(number)
        elif is_placed and how == "resume":
            self.core.resume(number)
        elif is_placed and how == "spare":
            spare = self.core.take_spare(number, working=self.working)
            assert spare is None or not any(self.core.seats[each].accepts(spare) for each in self.core.queue())
        elif how == "swap":
            self.core.swap(number)
        elif how == "end":
            self.core.disconnect(number)
        elif how == "drop":
            self.core.drop_spare(number)
        self.settle()

    @rule(model=st.sampled_from("abc"), how=st.sampled_from(["fails", "is ready", "works"]))
    def change(self, model: str, how: str) -> None:
        """A model's health changes."""
        self.working -= {model}
        self.ready -= {model}
        if how == "works":
            self.working |= {model}
        elif how == "is ready":
            self.ready |= {model}
        self.settle()

    def settle(self) -> None:
        """Settle, and see that what was given was right."""
        queue = self.core.queue()
        before = {number: seat.model for number, seat in self.core.seats.items()}
        placed = self.core.settle(working=self.working, ready=self.ready)
        fresh = [number for number in placed if before[number] is None]
        if all(self.core.seats[number].only is None for number in queue):
            assert fresh == queue[: len(fresh)], "in the order that people were told"
        places = Counter(self.core.seats[number].guild for number, model in before.items() if model is not None)
        for index, number in enumerate(fresh):
            seat = self.core.seats[number]
            rivals = {*queue} - {*fresh[: index + 1]}
            for rival in (self.core.seats[each] for each in rivals):
                if seat.model is not None and rival.accepts(seat.model):
                    assert (places[seat.guild], seat.order) <= (places[rival.guild], rival.order)
            places[seat.guild] += 1
        for number in placed:
            model = self.core.seats[number].model
            assert model is not None
            assert self.core.seats[number].accepts(model)
            if model not in self.working:
                assert model in self.ready
                assert self.core.holders(model) == 1, "a model that is taken is not touched"
                assert before[number] is None, "a lost room does not move to another model that is lost"

    @invariant()
    def nobody_is_lost(self) -> None:
        assert set(self.core.seats) == self.present
        assert set(self.core.queue()) == {number for number in self.present if self.core.seats[number].model is None}

    @invariant()
    def no_model_has_more_rooms_than_places(self) -> None:
        held = Counter(seat.model for seat in self.core.seats.values() if seat.model)
        held += Counter(seat.spare for seat in self.core.seats.values() if seat.spare)
        held += Counter(
            seat.connected
            for seat in self.core.seats.values()
            if seat.connected and seat.connected not in (seat.model, seat.spare)
        )
        for model, slots in self.slots.items():
            assert held[model] == self.core.holders(model) <= slots

    @invariant()
    def nobody_waits_while_a_model_is_free(self) -> None:
        if self.core.queue():
            assert not any(self.core.has_free(number, self.working) for number in self.core.queue())
            for model in self.ready:
                is_wanted = any(self.core.seats[number].accepts(model) for number in self.core.queue())
                assert self.core.holders(model) or not is_wanted

    @invariant()
    def the_queue_is_fair(self) -> None:
        places = Counter(seat.guild for seat in self.core.seats.values() if seat.model is not None)
        queue = [self.core.seats[number] for number in self.core.queue()]
        for index, seat in enumerate(queue):
            for later in queue[index + 1 :]:
                assert (places[seat.guild], seat.order) <= (places[later.guild], later.order)
            places[seat.guild] += 1


TestRooms = Rooms.TestCase
