"""A portal whose far side is Trio too: no thread, so that simulated time can run whatever crosses it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar, TypeVarTuple

import trio

from plexbridge.people.discord.portal import Crossing

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class MemoryPortal:
    """Implements `portal.Portal`; coroutine functions for "Discord" are async functions of Trio here."""

    def __init__(self, discord_side: trio.Nursery) -> None:
        self._discord_side = discord_side

    async def into_discord(
        self, function: Callable[[*Arguments], Coroutine[Any, Any, Result]], *args: *Arguments
    ) -> Result:
        """Run a function on the far side."""
        scope = trio.CancelScope()
        crossing: Crossing[Result] = Crossing(lambda: scope.cancel(reason="its caller was cancelled"))

        async def run() -> None:
            results: list[Result] = []
            error: BaseException | None = None
            try:
                with scope:
                    results.append(await function(*args))
            except Exception as exc:  # handed to the caller, as a task of asyncio does
                error = exc
            finally:
                crossing.settle(results, error)

        self._discord_side.start_soon(run)
        return await crossing.wait()

    def into_discord_soon(self, function: Callable[[*Arguments], Coroutine[Any, Any, None]], *args: *Arguments) -> None:
        """Start a function on the far side."""
        self._discord_side.start_soon(function, *args)

    async def into_trio(self, function: Callable[[*Arguments], Awaitable[Result]], *args: *Arguments) -> Result:
        """Run a function on this side: here it is the same."""
        await trio.lowlevel.checkpoint()
        return await function(*args)


@asynccontextmanager
async def open_memory_portal() -> AsyncIterator[MemoryPortal]:
    """Run the far side for the length of the block."""
    async with trio.open_nursery() as discord_side:
        # Like the real one, the far side goes on until the block itself has ended, cancelled or not.
        discord_side.cancel_scope.shield = True
        try:
            yield MemoryPortal(discord_side)
        finally:
            discord_side.cancel_scope.cancel(reason="the portal's block has ended")
