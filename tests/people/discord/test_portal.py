"""The portal: one contract for the real one and its double in memory, and what only real threads can show."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psutil
import pytest
import trio

from plexbridge.errors import DiscordLost
from plexbridge.people.discord.portal import STOP_SECONDS, Portal, ThreadPortal, open_portal, trio_clock
from tests.people.discord.memory_portal import open_memory_portal


@dataclass(frozen=True)
class Side:
    """A portal, and how its far side waits."""

    portal: Portal
    sleep: Callable[[float], Awaitable[None]]
    cancelled: type[BaseException]

    async def sleep_forever(self) -> None:
        """Wait for cancellation."""
        await self.sleep(1000)


@asynccontextmanager
async def open_side(kind: str) -> AsyncIterator[Side]:
    if kind == "memory":
        async with open_memory_portal() as memory:
            yield Side(memory, trio.sleep, trio.Cancelled)
    else:
        async with open_portal() as portal:
            yield Side(portal, asyncio.sleep, asyncio.CancelledError)


@pytest.fixture(params=["threads", "memory"])
async def side(request: pytest.FixtureRequest) -> AsyncIterator[Side]:
    async with open_side(request.param) as opened:
        yield opened


async def test_a_call_into_discord_returns_its_result(side: Side) -> None:
    async def add(first: int, second: int) -> int:
        await side.sleep(0)
        return first + second

    assert await side.portal.into_discord(add, 2, 3) == 5


async def test_what_fails_on_the_other_side_is_raised_here_as_it_is(side: Side) -> None:
    async def fail(text: str) -> None:
        await side.sleep(0)
        raise LookupError(text)

    with pytest.raises(LookupError, match="nobody"):
        await side.portal.into_discord(fail, "nobody")


async def test_cancelling_a_call_cancels_it_on_the_other_side_and_waits_for_its_end(side: Side) -> None:
    seen: list[str] = []
    started = trio.Event()

    async def set_started() -> None:
        started.set()

    async def work() -> None:
        try:
            await side.portal.into_trio(set_started)
            await side.sleep_forever()
        except side.cancelled:
            seen.append("cancelled")
            raise
        finally:
            seen.append("ended")

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(side.portal.into_discord, work)
            await started.wait()
            scope.cancel(reason="the test")

    assert scope.cancelled_caught
    assert seen == ["cancelled", "ended"]


async def test_a_result_that_was_there_before_the_cancellation_is_not_lost(side: Side) -> None:
    kept: list[str] = []
    started = trio.Event()

    async def set_started() -> None:
        started.set()

    async def stubborn() -> str:
        try:
            await side.portal.into_trio(set_started)
            await side.sleep_forever()
        except side.cancelled:
            return "voice connection"
        return "slept"

    async def call() -> None:
        kept.append(await side.portal.into_discord(stubborn))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await started.wait()
        nursery.cancel_scope.cancel(reason="the test")

    # In memory, swallowing a cancellation leaves the scope's verdict as it was; both ways nothing is lost.
    assert kept == ["voice connection"]


async def test_a_call_that_is_cancelled_before_it_starts_does_nothing_lasting(side: Side) -> None:
    async def work() -> None:
        await side.sleep_forever()

    with trio.CancelScope() as scope:
        scope.cancel(reason="the test")
        await side.portal.into_discord(work)

    assert scope.cancelled_caught


async def test_many_calls_run_at_the_same_time(side: Side) -> None:
    results: list[int] = []

    async def wait(number: int) -> int:
        await side.sleep(0.01)
        return number

    async def call(number: int) -> None:
        results.append(await side.portal.into_discord(wait, number))

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(call, number)

    assert sorted(results) == list(range(50))


async def test_the_other_side_can_call_back_into_trio(side: Side) -> None:
    async def here(number: int) -> int:
        await trio.lowlevel.checkpoint()
        return number + 1

    async def there() -> int:
        return await side.portal.into_trio(here, 41)

    assert await side.portal.into_discord(there) == 42


async def test_what_fails_in_trio_is_raised_on_the_other_side(side: Side) -> None:
    async def here() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("here")

    async def there() -> str:
        try:
            await side.portal.into_trio(here)
        except LookupError as error:
            return str(error)
        return "nothing"

    assert await side.portal.into_discord(there) == "here"


async def test_cancelling_a_call_reaches_through_it_back_into_trio(side: Side) -> None:
    seen: list[str] = []
    started = trio.Event()

    async def here() -> None:
        try:
            started.set()
            await trio.sleep_forever()
        finally:
            seen.append("ended in trio")

    async def there() -> None:
        await side.portal.into_trio(here)

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(side.portal.into_discord, there)
            await started.wait()
            scope.cancel(reason="the test")

    assert scope.cancelled_caught
    assert seen == ["ended in trio"]


async def test_calls_that_nobody_waits_for_start_in_order(side: Side) -> None:
    seen: list[int] = []

    async def note(number: int) -> None:
        seen.append(number)

    async def nothing() -> None:
        await side.sleep(0)

    for number in range(20):
        side.portal.into_discord_soon(note, number)
        await side.portal.into_discord(nothing)

    assert seen == list(range(20))


@pytest.mark.parametrize("kind", ["threads", "memory"])
async def test_closing_the_portal_cancels_what_still_runs_on_both_sides(kind: str) -> None:
    seen: list[str] = []
    waiting = trio.Event()

    async with open_side(kind) as side:

        async def here() -> None:
            try:
                waiting.set()
                await trio.sleep_forever()
            finally:
                seen.append("trio")

        async def there() -> None:
            try:
                await side.portal.into_trio(here)
            finally:
                seen.append("discord")

        side.portal.into_discord_soon(there)
        await waiting.wait()

    assert seen == ["trio", "discord"]


async def test_the_far_side_runs_in_one_thread_that_is_gone_afterwards() -> None:
    async def name() -> str:
        return threading.current_thread().name

    threads = set(threading.enumerate())
    async with open_portal() as portal:
        names = {await portal.into_discord(name) for _ in range(5)}

    assert names == {"discord"}
    assert {thread.name for thread in set(threading.enumerate()) - threads} <= {
        thread.name for thread in threading.enumerate() if thread.name.startswith("Trio")
    }


async def test_a_call_into_trio_does_not_stop_the_loop_that_makes_it() -> None:
    """Heartbeats go on while Trio takes its time."""
    beats: list[float] = []

    async def slow() -> None:
        await trio.sleep(0.2)

    async def beat() -> None:
        while True:
            beats.append(time.perf_counter())
            await asyncio.sleep(0.01)

    async with open_portal() as portal:

        async def there() -> None:
            await portal.into_trio(slow)

        portal.into_discord_soon(beat)
        await portal.into_discord(there)

    assert len(beats) > 10


async def test_discords_thread_that_dies_is_reported_to_everybody_who_waits() -> None:
    errors: list[BaseException | None] = []

    async def sleep_forever() -> None:
        await asyncio.sleep(1000)

    async def die() -> None:
        raise SystemExit("the loop is gone")

    async def call(portal: ThreadPortal) -> None:
        with pytest.raises(DiscordLost) as caught:
            await portal.into_discord(sleep_forever)
        errors.append(caught.value.__cause__)

    with pytest.RaisesGroup(DiscordLost):
        async with open_portal() as portal:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(call, portal)
                    await portal.into_discord(asyncio.sleep, 0)
                    portal.into_discord_soon(die)
            with pytest.raises(DiscordLost):
                await portal.into_discord(sleep_forever)
            await trio.sleep_forever()

    assert [type(error) for error in errors] == [SystemExit]


async def test_an_error_in_trio_ends_discords_thread_too() -> None:
    with pytest.RaisesGroup(ValueError):
        async with open_portal() as portal:
            raise ValueError("of the block")

    assert portal.ended.is_set()


async def test_a_loop_that_is_stuck_is_given_up_within_the_stated_time(caplog: pytest.LogCaptureFixture) -> None:
    async def block(seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  # the very fault

    started = trio.current_time()
    async with open_portal() as portal:
        portal.into_discord_soon(block, STOP_SECONDS + 1)

    assert STOP_SECONDS <= trio.current_time() - started < STOP_SECONDS + 0.5
    assert "did not end" in caplog.text
    with trio.fail_after(5):
        await portal.ended.wait()


async def test_a_hundred_portals_leave_no_descriptor_behind() -> None:
    async with open_portal():
        pass
    process = psutil.Process()
    before = process.num_fds()

    for _ in range(100):
        async with open_portal():
            pass

    assert process.num_fds() == before


async def test_the_clock_reads_the_same_in_every_thread() -> None:
    clock = trio_clock()

    before = trio.current_time()
    elsewhere = await trio.to_thread.run_sync(clock)
    after = trio.current_time()

    assert before <= elsewhere <= after
