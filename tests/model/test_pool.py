"""The pool and its tickets, in simulated time: three rooms and two models. Waiting stands for a conversation."""

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random

import pytest
import trio
from trio.testing import MockClock

from plexbridge.config import ModelConfig
from plexbridge.errors import (
    LocalProtocolError,
    ModelLost,
    ModelSlow,
    ModelUnreachable,
    PlexbridgeError,
    RequestError,
    TurnOver,
)
from plexbridge.model.conversation import State
from plexbridge.model.health import Trouble
from plexbridge.model.pool import Pool
from plexbridge.model.request import ModelAddress
from plexbridge.model.standing import Standing
from plexbridge.model.ticket import SLOW_SECONDS, Ticket
from plexbridge.service import Backend

SLOT_SECONDS = 600.0
FIRST, SECOND, THIRD = 1, 2, 3
LOST = ModelLost("closed with 1006")
UNREACHABLE = ModelUnreachable("refused")


@dataclass
class Probes:
    """How models are tried; they work when `failure` is None."""

    failure: PlexbridgeError | None = None
    seconds: float = 1.0
    times_seconds: list[float] = field(default_factory=list)

    async def __call__(self, backend: Backend) -> float | PlexbridgeError:
        """Take some time."""
        self.times_seconds.append(trio.current_time())
        await trio.sleep(self.seconds)
        return self.failure or self.seconds


async def nowhere(address: ModelAddress) -> trio.abc.Stream:
    """Fail: the pool itself connects to nothing, not even to see whether a model is free."""
    raise AssertionError


@asynccontextmanager
async def open_two_models(*, slot_seconds: float = 0.0, probes: Probes | None = None) -> AsyncIterator[Pool]:
    """Run a pool of the models a and b."""
    models = [ModelConfig(name=name, url=f"ws://{name}/api/chat") for name in "ab"]
    backends = [Backend(model, model.url, nowhere) for model in models]
    pool = Pool(backends, slot_seconds=slot_seconds, probe=probes or Probes(), random=Random(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run)
        yield pool
        nursery.cancel_scope.cancel()


@dataclass
class Room:
    """Takes its turns at models, and writes down with when it was: `b 0` is model b from the start."""

    pool: Pool
    number: int
    story: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    ticket: Ticket | None = None
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    _began_seconds: float = field(default_factory=trio.current_time)

    async def live(self) -> None:
        """Be there until `go`."""
        with self._scope, self.pool.request(self.number, self.number) as self.ticket:
            while True:
                await self.ticket.wait_turn(self._note_place)
                await self._use(self.ticket)
                self.note("over")
                self.ticket.requeue()

    async def _use(self, ticket: Ticket) -> None:
        """Use the model until the time is up."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_warnings, ticket)
            with suppress(TurnOver):
                async with ticket.use() as backend:
                    self.note(backend.model.name)
                    ticket.listens()
                    await trio.sleep_forever()
            nursery.cancel_scope.cancel()

    async def _read_warnings(self, ticket: Ticket) -> None:
        while True:
            left_seconds = await ticket.wait_warning()
            self.warnings.append(f"{left_seconds:.0f} at {trio.current_time() - self._began_seconds:.0f}")
            await ticket.wait_pardon()
            self.warnings.append("pardon")

    def _note_place(self, standing: Standing) -> None:
        if not self.story or not self.story[-1].startswith(f"{standing.place}. "):
            self.note(f"{standing.place}.")

    def go(self) -> None:
        """Leave."""
        self._scope.cancel()

    def note(self, what: str) -> None:
        """Write something down."""
        self.story.append(f"{what} {trio.current_time() - self._began_seconds:.0f}")


@asynccontextmanager
async def open_rooms(pool: Pool, count: int = 3) -> AsyncIterator[list[Room]]:
    """Let rooms come in, in their order."""
    rooms = [Room(pool, number) for number in range(1, count + 1)]
    async with trio.open_nursery() as nursery:
        for room in rooms:
            nursery.start_soon(room.live)
            await trio.testing.wait_all_tasks_blocked()
        yield rooms
        for room in rooms:
            room.go()


async def test_two_rooms_are_served_and_the_third_one_gets_the_model_of_the_first_that_leaves(
    autojump_clock: MockClock,
) -> None:
    async with open_two_models() as pool, open_rooms(pool) as (first, second, third):
        await trio.sleep(100)
        second.go()
        await trio.sleep(100)

        assert first.story == ["a 0"]
        assert third.story == ["1. 0", "b 100"]
        assert [(each.name, each.taken, each.slots) for each in pool.statuses()] == [("a", 1, 1), ("b", 1, 1)]


async def test_who_waits_is_told_when_the_place_changes_and_may_go(autojump_clock: MockClock) -> None:
    async with open_two_models() as pool, open_rooms(pool, 5) as (first, _, third, fourth, fifth):
        await trio.sleep(10)
        third.go()
        await trio.sleep(10)
        first.go()
        await trio.sleep(10)

        assert fourth.story == ["2. 0", "1. 10", "a 20"]
        assert fifth.story == ["3. 0", "2. 10", "1. 20"]
    assert not pool.placement.seats, "nobody is forgotten"
    assert [each.taken for each in pool.statuses()] == [0, 0]


async def test_the_expected_wait_counts_down(autojump_clock: MockClock) -> None:
    async with open_two_models(slot_seconds=SLOT_SECONDS) as pool, open_rooms(pool, 2):
        await trio.sleep(400)
        told: list[str] = []
        with pool.request(THIRD, THIRD) as ticket:
            await ticket.wait_turn(lambda standing: told.append(str(standing).rpartition(", ")[2]))

    minutes = [f"about {number} minutes." for number in (4, 3, 2)]
    seconds = [f"about {number} seconds." for number in (50, 40, 30, 25, 20, 15, 10, 5)]
    assert told == [*minutes, "about a minute.", *seconds]


async def test_the_place_of_the_longest_conversation_is_handed_over_when_its_time_is_up(
    autojump_clock: MockClock,
) -> None:
    async with open_two_models(slot_seconds=SLOT_SECONDS) as pool, open_rooms(pool) as (first, second, third):
        await trio.sleep(1_100)

        assert first.warnings == ["60 at 540"]
        assert first.story == ["a 0", "over 600", "1. 600", "b 660"]
        assert third.story == ["1. 0", "a 600"]
        assert second.story[:2] == ["b 0", "over 660"], "warned when the first room began to wait, and not before"
        assert second.warnings == ["60 at 600"]


async def test_a_conversation_has_no_limit_while_nobody_waits_and_the_whole_warning_when_somebody_comes(
    autojump_clock: MockClock,
) -> None:
    async with open_two_models(slot_seconds=SLOT_SECONDS) as pool, open_rooms(pool, 2) as (first, second):
        await trio.sleep(3_000)
        with pool.request(THIRD, THIRD) as ticket:
            started_seconds = trio.current_time()
            await ticket.wait_turn(lambda standing: None)

            assert trio.current_time() - started_seconds == pytest.approx(60)
            assert ticket.model == "a"
            await trio.sleep(1)
        await trio.sleep(1)
        assert first.story[:2] == ["a 0", "over 3060"]
        assert second.story == ["b 0"]
        assert second.warnings == ["60 at 3060", "pardon"], "until the third room had gone"


async def test_who_is_warned_goes_on_when_nobody_waits_any_more(autojump_clock: MockClock) -> None:
    async with open_two_models(slot_seconds=SLOT_SECONDS) as pool, open_rooms(pool) as (first, _, third):
        await trio.sleep(570)
        third.go()
        await trio.sleep(1_000)

        assert first.warnings == ["60 at 540", "pardon"]
        assert first.story == ["a 0"]


async def test_without_a_limit_nobody_is_ended_or_expected_to_end(autojump_clock: MockClock) -> None:
    async with open_two_models() as pool, open_rooms(pool) as (first, _, third):
        await trio.sleep(80_000)

        assert first.warnings == []
        assert first.story == ["a 0"]
        assert third.ticket is not None
        assert str(third.ticket.standing) == "All models are taken. You are 1st in the queue."


async def end_use(ticket: Ticket, failure: PlexbridgeError, *, listened: bool = True) -> bool:
    """Use the model until `failure`; return whether there is another one."""
    async with ticket.use():
        if listened:
            ticket.listens()
    return ticket.failed(failure)


async def test_a_room_whose_model_dies_moves_to_the_other_one(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_two_models() as pool:
        with pool.request(FIRST, FIRST) as ticket:
            assert await end_use(ticket, LOST)
            async with ticket.use() as backend:
                assert backend.model.name == "b"

        assert [each.trouble for each in pool.statuses()] == [Trouble.LOST, None]
    assert "model a is left alone" in caplog.text
    assert "1006" not in caplog.text, "in words for people"


async def test_a_room_whose_model_dies_while_others_wait_keeps_its_place_and_is_the_next_to_be_served(
    autojump_clock: MockClock,
) -> None:
    async with open_two_models() as pool, open_rooms(pool, 1) as (at_a,):
        with pool.request(SECOND, SECOND) as lost, pool.request(THIRD, THIRD) as waiting:
            assert not await end_use(lost, LOST)
            assert lost.model == "b", "it may try the same one again at once"
            await trio.sleep(300)
            assert waiting.model is None, "nobody else tries a model that somebody has a place at"

            at_a.go()
            await trio.sleep(1)

            assert [lost.model, waiting.model] == ["a", "b"]


async def test_a_model_that_returns_is_found_by_who_waits_after_growing_pauses(autojump_clock: MockClock) -> None:
    probes = Probes(UNREACHABLE)
    async with open_two_models(probes=probes) as pool, open_rooms(pool, 1):
        with pool.request(SECOND, SECOND) as ticket:
            assert not await end_use(ticket, UNREACHABLE, listened=False)
            ticket.requeue(is_first=True)
            async with trio.open_nursery() as nursery:
                told: list[str] = []
                nursery.start_soon(ticket.wait_turn, lambda standing: told.append(str(standing)))
                await trio.sleep(20)
                assert ticket.standing is not None
                probes.failure = None

            assert ticket.model == "b"
            assert told == ["All models are taken. You are 1st in the queue."], "and nothing of the attempts"
            assert [each.trouble for each in pool.statuses()] == [None, None]
    pauses = [later - earlier - probes.seconds for earlier, later in itertools.pairwise(probes.times_seconds)]
    assert [0.5 * 2**number <= each <= 1.0 * 2**number for number, each in enumerate(pauses)] == [True] * len(pauses)
    assert len(pauses) >= 3


async def test_a_trial_that_fails_for_another_reason_is_not_repeated_at_once(autojump_clock: MockClock) -> None:
    probes = Probes(RequestError("The persona is too long."), seconds=0.0)
    async with open_two_models(probes=probes) as pool, open_rooms(pool, 1):
        with pool.request(SECOND, SECOND) as ticket:
            await end_use(ticket, UNREACHABLE, listened=False)
            ticket.requeue(is_first=True)
            with trio.move_on_after(10):
                await ticket.wait_turn(lambda standing: None)

            assert 3 <= len(probes.times_seconds) <= 5
            assert [each.trouble for each in pool.statuses()] == [None, Trouble.FAILED]


async def test_who_tries_a_model_leaves_it_for_one_that_works(autojump_clock: MockClock) -> None:
    probes = Probes(UNREACHABLE, seconds=60.0)
    async with open_two_models(probes=probes) as pool, open_rooms(pool, 1) as (first,):
        with pool.request(SECOND, SECOND) as ticket:
            await end_use(ticket, UNREACHABLE, listened=False)
            ticket.requeue(is_first=True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ticket.wait_turn, lambda standing: None)
                await trio.sleep(5)
                assert len(probes.times_seconds) == 1
                first.go()
                await trio.sleep(0.1)

                assert not nursery.child_tasks, "it has its turn"
            assert ticket.model == "a"


@pytest.mark.parametrize("probe_seconds", [0.0, 1.0, 20.0])
async def test_who_tries_a_dead_model_again_and_again_gets_the_place_of_the_longest_conversation_all_the_same(
    probe_seconds: float, autojump_clock: MockClock
) -> None:
    probes = Probes(UNREACHABLE, seconds=probe_seconds)
    async with open_two_models(slot_seconds=SLOT_SECONDS, probes=probes) as pool, open_rooms(pool, 1) as (first,):
        with pool.request(SECOND, SECOND) as ticket:
            await end_use(ticket, UNREACHABLE, listened=False)
            ticket.requeue(is_first=True)
            with trio.move_on_after(2 * SLOT_SECONDS):
                await ticket.wait_turn(lambda standing: None)

            assert (ticket.model, trio.current_time()) == ("a", SLOT_SECONDS)
            assert len(probes.times_seconds) > 10
            assert first.warnings == ["60 at 540"], "one that holds"


async def test_a_turn_begins_when_the_trial_has_succeeded(autojump_clock: MockClock) -> None:
    probes = Probes(UNREACHABLE, seconds=40.0)
    async with open_two_models(slot_seconds=SLOT_SECONDS, probes=probes) as pool, open_rooms(pool, 1) as (first,):
        with pool.request(SECOND, SECOND) as ticket:
            await end_use(ticket, UNREACHABLE, listened=False)
            ticket.requeue(is_first=True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ticket.wait_turn, lambda standing: None)
                await trio.sleep(530)
                probes.failure = None
            began_seconds = trio.current_time()

            assert ticket.model == "b"
            assert first.warnings == ["60 at 540", "pardon"], "as nobody waits any more"
            first.go()
            await trio.sleep(1)
            with pool.request(THIRD, THIRD, only="b") as third:
                assert third.standing is not None
                assert third.standing.wait_seconds == began_seconds + SLOT_SECONDS - trio.current_time()


async def test_the_turn_that_ends_is_one_at_a_model_that_works(autojump_clock: MockClock) -> None:
    async with open_two_models(slot_seconds=SLOT_SECONDS, probes=Probes(UNREACHABLE)) as pool:
        with pool.request(FIRST, FIRST) as first:
            await trio.sleep(10)
            with pool.request(SECOND, SECOND), pool.request(THIRD, THIRD) as third:
                assert not first.failed(LOST)
                assert third.standing == Standing(1, 600.0)
                await trio.sleep(539.9)
                assert pool.end_seconds(1) is None, "its place is good for nothing"
                await trio.sleep(0.2)

                assert [pool.end_seconds(number) for number in (1, 2)] == [None, pytest.approx(610)]


async def test_a_model_that_fails_now_and_then_does_not_save_who_is_warned(autojump_clock: MockClock) -> None:
    async with open_two_models(slot_seconds=SLOT_SECONDS) as pool:
        with pool.request(FIRST, FIRST, only="a") as first, pool.request(SECOND, SECOND, only="a") as second:
            for _ in range(12):
                await trio.sleep(49)
                first.failed(LOST)
                await trio.sleep(1)
                first.listens()

            assert pool.end_seconds(1) == SLOT_SECONDS
            assert second.standing == Standing(1, 0.0, only="a")


async def test_a_turn_at_a_slow_model_ends_too(autojump_clock: MockClock) -> None:
    async with open_two_models(slot_seconds=SLOT_SECONDS) as pool:
        with pool.request(FIRST, FIRST, only="a") as first, pool.request(SECOND, SECOND, only="a"):
            await observe(first, 550, lambda: State.TOO_SLOW)

            assert pool.statuses()[0].trouble is Trouble.SLOW
            assert pool.end_seconds(1) == SLOT_SECONDS


async def test_who_tries_a_model_keeps_the_place_in_the_queue_and_so_do_those_behind(
    autojump_clock: MockClock,
) -> None:
    probes = Probes(UNREACHABLE, seconds=60.0)
    async with open_two_models(slot_seconds=SLOT_SECONDS, probes=probes) as pool, open_rooms(pool, 1):
        with pool.request(SECOND, SECOND) as ticket, pool.request(THIRD, THIRD) as other:
            await end_use(ticket, UNREACHABLE, listened=False)
            ticket.requeue(is_first=True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ticket.wait_turn, lambda standing: None)
                await trio.sleep(10)

                assert len(probes.times_seconds) == 1
                assert (ticket.standing, other.standing) == (Standing(1, 590.0), Standing(2, 1190.0))
                nursery.cancel_scope.cancel()


async def test_a_model_that_is_left_stays_taken_until_its_connection_is_closed(autojump_clock: MockClock) -> None:
    goodbye_seconds = 30.0

    async def probe(backend: Backend) -> float | PlexbridgeError:
        try:
            await trio.sleep(60)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(goodbye_seconds)
        return UNREACHABLE

    models = [ModelConfig(name=name, url=f"ws://{name}/api/chat") for name in "ab"]
    backends = [Backend(model, model.url, nowhere) for model in models]
    pool = Pool(backends, slot_seconds=0.0, probe=probe, random=Random(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run)
        with pool.request(SECOND, SECOND, only="b") as ticket, pool.request(FIRST, FIRST) as first:
            await end_use(first, UNREACHABLE, listened=False)
            first.requeue()
            nursery.start_soon(first.wait_turn, lambda standing: None)
            await trio.sleep(5)
            assert first.model == "a", "it tries it"
            with pool.request(THIRD, THIRD) as third:
                ticket.requeue()
                await trio.sleep(1)
                assert first.model == "b"
                assert third.model is None, "its connection says goodbye"
                await trio.sleep(goodbye_seconds)
                assert third.model == "a"
            nursery.cancel_scope.cancel()


async def test_a_model_that_failed_is_tried_only_when_somebody_waits_and_no_other_is_free(
    autojump_clock: MockClock,
) -> None:
    async with open_two_models() as pool:
        with pool.request(FIRST, FIRST) as ticket:
            await end_use(ticket, LOST)
        await trio.sleep(1_000)
        assert [each.trouble for each in pool.statuses()] == [Trouble.LOST, None]

        with pool.request(SECOND, SECOND) as ticket:
            assert ticket.model == "b"
            with pool.request(THIRD, THIRD) as other:
                assert other.model == "a", "now somebody needs it"


async def test_where_no_model_works_who_waits_is_told_so(autojump_clock: MockClock) -> None:
    async with open_two_models() as pool:
        with pool.request(FIRST, FIRST) as ticket:
            assert await end_use(ticket, LOST)
            assert not await end_use(ticket, LOST)
            with pool.request(SECOND, SECOND) as waiting:
                assert str(waiting.standing).startswith("No speech model can be reached at the moment. You are 1st")
                assert not waiting.may_wait


@pytest.mark.parametrize("failure", [None, RequestError("There is no such voice.")])
async def test_what_is_not_the_models_fault_costs_it_nothing(
    failure: PlexbridgeError | None, autojump_clock: MockClock
) -> None:
    async with open_two_models() as pool:
        with pool.request(FIRST, FIRST) as ticket:
            async with ticket.use():
                pass
            assert not ticket.failed(failure)

            assert [each.trouble for each in pool.statuses()] == [None, None]


async def observe(ticket: Ticket, seconds: float, state: Callable[[], State]) -> None:
    """Look at a model twice a second."""
    for _ in range(int(seconds * 2)):
        await trio.sleep(0.5)
        ticket.observe(state())


async def test_a_model_that_stays_too_slow_is_left_for_another(autojump_clock: MockClock) -> None:
    async with open_two_models() as pool:
        with pool.request(FIRST, FIRST) as ticket:
            with pytest.raises(ModelSlow):  # noqa: PT012  # it takes its time
                async with ticket.use():
                    await observe(ticket, SLOW_SECONDS - 1, lambda: State.TOO_SLOW)
                    ticket.observe(State.LIVE)
                    await observe(ticket, SLOW_SECONDS, lambda: State.TOO_SLOW)
                    assert ticket.model == "a", "with a break in between"
                    await observe(ticket, 2, lambda: State.TOO_SLOW)
            async with ticket.use() as backend:
                assert backend.model.name == "b"

        assert [each.trouble for each in pool.statuses()] == [Trouble.SLOW, None]


async def test_a_slow_model_is_better_than_none_and_may_recover(autojump_clock: MockClock) -> None:
    async with open_two_models() as pool, open_rooms(pool, 1):
        with pool.request(SECOND, SECOND) as ticket:
            async with ticket.use():
                await observe(ticket, 60, lambda: State.TOO_SLOW)
                assert [each.trouble for each in pool.statuses()] == [None, Trouble.SLOW]
                await observe(ticket, SLOW_SECONDS + 1, lambda: State.LIVE)

            assert [each.trouble for each in pool.statuses()] == [None, None]


async def test_a_turn_that_ends_between_two_uses_ends_the_next_one(autojump_clock: MockClock) -> None:
    async with open_two_models(slot_seconds=SLOT_SECONDS) as pool, open_rooms(pool, 2):
        await trio.sleep(1)
        with pool.request(THIRD, THIRD) as ticket:
            await ticket.wait_turn(lambda standing: None)
            async with ticket.use():
                ticket.listens()
            await trio.sleep(SLOT_SECONDS)
            with pytest.raises(TurnOver):
                async with ticket.use():
                    pass


async def test_who_waits_can_not_use_a_model(autojump_clock: MockClock) -> None:
    async with open_two_models() as pool, open_rooms(pool, 2):
        with pool.request(THIRD, THIRD) as ticket, pytest.raises(LocalProtocolError):
            async with ticket.use():
                pass


async def test_a_second_place_is_to_be_had_while_one_is_free_and_is_kept_instead_of_the_first(
    autojump_clock: MockClock,
) -> None:
    async with open_two_models() as pool, open_rooms(pool, 1) as (first,):
        ticket = first.ticket
        assert ticket is not None
        async with ticket.spare() as spare:
            assert spare is not None
            assert spare.model.name == "b"
            with pool.request(SECOND, SECOND) as waiting:
                assert waiting.model is None
                async with ticket.spare() as another:
                    assert another is None
                ticket.swap()
        assert ticket.model == "b"
        with pool.request(SECOND, SECOND) as other:
            assert other.model == "a", "which was given up"
            async with ticket.spare() as none:
                assert none is None


async def test_a_second_place_is_left_when_the_time_is_up(autojump_clock: MockClock) -> None:
    async with open_two_models(slot_seconds=SLOT_SECONDS) as pool:
        with pool.request(FIRST, FIRST) as ticket:
            with pytest.raises(TurnOver):  # noqa: PT012  # it takes its time
                async with ticket.spare() as spare:
                    assert spare is not None
                    await trio.sleep(SLOT_SECONDS)
                    with pool.request(SECOND, SECOND):
                        await trio.sleep(SLOT_SECONDS)
            assert [each.taken for each in pool.statuses()] == [1, 0]


async def test_a_model_whose_call_is_lost_beside_another_one_is_left_alone(autojump_clock: MockClock) -> None:
    async with open_two_models() as pool:
        with pool.request(FIRST, FIRST) as ticket:
            async with ticket.use() as first, ticket.spare():
                ticket.swap()
                ticket.lost(first, LOST)
            assert ticket.model == "b"
            assert [each.trouble for each in pool.statuses()] == [Trouble.LOST, None]


async def test_a_model_that_could_not_be_had_as_the_second_one_is_left_alone(autojump_clock: MockClock) -> None:
    async with open_two_models() as pool:
        with pool.request(FIRST, FIRST) as ticket:
            async with ticket.use():
                async with ticket.spare() as spare:
                    assert spare is not None
                    ticket.lost(spare, UNREACHABLE)
                async with ticket.spare() as again:
                    assert again is None, "during its cool-down"
            assert [each.trouble for each in pool.statuses()] == [None, Trouble.UNREACHABLE]


async def test_a_call_that_is_lost_beside_another_one_at_the_same_model_shows_that_it_works(
    autojump_clock: MockClock,
) -> None:
    model = ModelConfig(name="a", url="ws://a/api/chat", sessions=2)
    pool = Pool([Backend(model, model.url, nowhere)], slot_seconds=0.0, probe=Probes(), random=Random(1))
    with pool.request(FIRST, FIRST) as ticket:
        async with ticket.use() as first, ticket.spare():
            ticket.swap()
            ticket.lost(first, LOST)

    assert [each.trouble for each in pool.statuses()] == [None]


async def test_for_who_wants_one_model_only_the_conversation_there_ends_however_long_another_has_lasted(
    autojump_clock: MockClock,
) -> None:
    async with open_two_models(slot_seconds=SLOT_SECONDS) as pool:
        with pool.request(FIRST, FIRST, only="b"):
            await trio.sleep(100)
            with pool.request(SECOND, SECOND) as second, pool.request(THIRD, THIRD, only="b") as third:
                assert second.model == "a"
                assert str(third.standing) == "Model b is taken. You are 1st in the queue, about 9 minutes."
                await trio.sleep(441)
                assert [pool.end_seconds(number) is not None for number in (1, 2)] == [True, False]
                with pool.request(4, 4) as fourth:
                    assert (fourth.standing, third.standing) == (Standing(2, 159.0), Standing(1, 59.0, only="b"))


async def test_who_wants_a_model_only_that_fails_has_nothing_to_wait_for(autojump_clock: MockClock) -> None:
    async with open_two_models() as pool:
        with pool.request(FIRST, FIRST, only="a") as ticket:
            assert not ticket.failed(UNREACHABLE), "there is no other one to use at once"
            assert not ticket.may_wait
        with pool.request(SECOND, SECOND, only="a") as ticket:
            assert ticket.standing == Standing(1, None, is_outage=True, only="a")
        with pytest.raises(LocalProtocolError):
            pool.request(THIRD, THIRD, only="c")
