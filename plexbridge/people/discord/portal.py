"""The only crossing between Trio and Discord's event loop, which runs in one thread of its own.

Towards Discord a call is a task on that loop; whoever waits for it in Trio may be cancelled, which cancels the task
and waits for its end, so that nothing goes on behind the caller's back. A result that was there first is not lost: it
is returned, and the cancellation is met at the next checkpoint. Towards Trio a call goes through `trio.from_thread` on
a worker thread, because on Discord's loop itself it would stop the heartbeats until Trio answers.

Audio does not cross here: packets come in through an inbox and go out through the voice client's socket.

A portal ends with its block: calls into Trio are cancelled, tasks on Discord's loop too, and the thread is joined, all
within `STOP_SECONDS`. When Discord's thread ends by itself, everybody who waits for it gets `DiscordLost`, and so does
the block.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar, TypeVarTuple

import trio

from plexbridge.errors import DiscordLost

logger = logging.getLogger(__name__)

CANCEL_SECONDS = 2.0
"""How long the end of a cancelled task on Discord's loop is waited for: a goodbye takes 0.5 s at most."""
STOP_SECONDS = 5.0
WORKERS = 4
"""Calls into Trio at the same time; each is short, and what is too much waits."""

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class Portal(Protocol):
    """What both sides see of the crossing."""

    async def into_discord(
        self, function: Callable[[*Arguments], Coroutine[Any, Any, Result]], *args: *Arguments
    ) -> Result:
        """In Trio: run a coroutine function on Discord's loop and return its result."""

    def into_discord_soon(self, function: Callable[[*Arguments], Coroutine[Any, Any, None]], *args: *Arguments) -> None:
        """In Trio: start a coroutine function on Discord's loop, in order, and don't wait; its failure is logged."""

    async def into_trio(self, function: Callable[[*Arguments], Awaitable[Result]], *args: *Arguments) -> Result:
        """On Discord's loop: run an async function in Trio and return its result; cancelling cancels it."""


class Crossing(Generic[Result]):
    """One call from Trio to the other side: who waits for it, and what became of it."""

    def __init__(self, cancel: Callable[[], object]) -> None:
        self._cancel = cancel
        self._done = trio.Event()
        self._results: list[Result] = []
        self._error: BaseException | None = None

    def settle(self, results: list[Result], error: BaseException | None) -> None:
        """In Trio: the call has ended, with a result, with an error, or (neither) cancelled; the first word counts."""
        if not self._done.is_set():
            self._results, self._error = results, error
            self._done.set()

    async def wait(self) -> Result:
        """Wait for the end and return the result, or raise; when cancelled, cancel the call and wait for its end."""
        try:
            await self._done.wait()
        except trio.Cancelled:
            self._cancel()
            with trio.move_on_after(CANCEL_SECONDS, shield=True) as patience:
                await self._done.wait()
            if patience.cancelled_caught:
                logger.error("a call into Discord's loop did not end within %s s of its cancellation", CANCEL_SECONDS)
            if not self._results and self._error is None:
                raise
        if self._error is not None:
            raise self._error
        if not self._results:
            raise DiscordLost("a call was cancelled by Discord's side")
        return self._results[0]


class ThreadPortal:
    """A portal to an asyncio loop in a thread; `open_portal` makes it."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.Thread(target=self._run, name="discord")
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="into-trio")
        self._started = trio.Event()
        self.ended = trio.Event()
        """Discord's thread has come to its end."""
        self._crossings: set[Crossing[Any]] = set()
        self._scopes: set[trio.CancelScope] = set()
        self._is_stopping = False
        self._crash: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_requested: asyncio.Event | None = None
        self._background: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Start the thread and its loop."""
        self._thread.start()
        await self._started.wait()

    async def stop(self) -> None:
        """End everything on both sides and join the thread."""
        self._is_stopping = True
        for scope in self._scopes:
            scope.cancel(reason="the portal closes")
        if self._stop_requested is not None and not self.ended.is_set():
            self._post(self._stop_requested.set)
        with trio.move_on_after(STOP_SECONDS, shield=True) as patience:
            await self.ended.wait()
            # The thread's last act was to say so, therefore this takes microseconds.
            self._thread.join()
        if patience.cancelled_caught:
            logger.error("Discord's thread did not end within %s s", STOP_SECONDS)

    def lost(self) -> DiscordLost:
        """Return the error of a loop that has ended without being asked."""
        error = DiscordLost("Discord's event loop has ended")
        error.__cause__ = self._crash
        return error

    # Trio's side

    async def into_discord(
        self, function: Callable[[*Arguments], Coroutine[Any, Any, Result]], *args: *Arguments
    ) -> Result:
        """Run a coroutine function on Discord's loop; raises what it raises, and `DiscordLost` without a loop."""
        tasks: list[asyncio.Task[Result]] = []
        crossing: Crossing[Result] = Crossing(lambda: self._post(lambda: [task.cancel() for task in tasks]))

        def start() -> None:
            task = asyncio.ensure_future(function(*args))
            tasks.append(task)
            task.add_done_callback(finish)

        def finish(task: asyncio.Task[Result]) -> None:
            if task.cancelled():
                self._tell_trio(crossing.settle, [], None if self._crash is None else self.lost())
            elif (error := task.exception()) is not None:
                self._tell_trio(crossing.settle, [], error)
            else:
                self._tell_trio(crossing.settle, [task.result()], None)

        self._crossings.add(crossing)
        try:
            if not self._post(start):
                raise self.lost()
            return await crossing.wait()
        finally:
            self._crossings.discard(crossing)

    def into_discord_soon(self, function: Callable[[*Arguments], Coroutine[Any, Any, None]], *args: *Arguments) -> None:
        """Start a coroutine function on Discord's loop; without a loop nothing happens."""

        def start() -> None:
            task = asyncio.ensure_future(function(*args))
            self._background.add(task)
            task.add_done_callback(self._log_failure)

        self._post(start)

    def _post(self, callback: Callable[[], object]) -> bool:
        """Have `callback` called on Discord's loop; say whether there is one."""
        if self._loop is None or self.ended.is_set():
            return False
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # closed a moment ago; `ended` follows
            return False
        return True

    def _settle_all(self) -> None:
        """Discord's thread is about to end: nobody must wait for it any longer."""
        for crossing in tuple(self._crossings):
            crossing.settle([], self.lost())
        self.ended.set()

    # Discord's side

    async def into_trio(self, function: Callable[[*Arguments], Awaitable[Result]], *args: *Arguments) -> Result:
        """Run an async function in Trio; raises what it raises, and `CancelledError` when the portal closes."""
        scope = trio.CancelScope()

        async def enter() -> list[Result]:
            if self._is_stopping:
                return []
            self._scopes.add(scope)
            try:
                with scope:
                    return [await function(*args)]
                return []
            finally:
                self._scopes.discard(scope)

        def cross() -> list[Result]:
            try:
                return trio.from_thread.run(enter, trio_token=self._token)
            except (trio.RunFinishedError, trio.Cancelled):
                return []

        crossed = asyncio.get_running_loop().run_in_executor(self._workers, cross)
        try:
            results = await asyncio.shield(crossed)
        except asyncio.CancelledError:
            self._tell_trio(scope.cancel)
            await asyncio.wait((crossed,))
            raise
        if not results:
            raise asyncio.CancelledError
        return results[0]

    def _run(self) -> None:
        """Run the loop: all of Discord's thread."""
        try:
            # On Windows the ordinary loop has no `sock_connect` for UDP, which discord.py needs.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                try:
                    runner.run(self._serve())
                except BaseException as exc:  # whatever it was ends this thread and is raised in Trio
                    self._crash = exc
        finally:
            self._workers.shutdown()
            self._tell_trio(self._settle_all)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop_requested = asyncio.Event()
        self._tell_trio(self._started.set)
        await self._stop_requested.wait()

    def _tell_trio(self, callback: Callable[[*Arguments], object], *args: *Arguments) -> None:
        """Have `callback`, which must not raise, called in Trio; it may have ended."""
        try:
            self._token.run_sync_soon(callback, *args)
        except trio.RunFinishedError:
            logger.error("Trio has ended before Discord's thread")

    def _log_failure(self, task: "asyncio.Task[Any]") -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("a call into Discord's loop failed: %s: %s", type(error).__name__, error)


@asynccontextmanager
async def open_portal() -> AsyncIterator[ThreadPortal]:
    """Run Discord's loop in a thread for the length of the block; raises `DiscordLost` when it ends before.

    Fails in an exception group, as the watch over the thread is a task.
    """
    portal = ThreadPortal()
    await portal.start()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, portal)
            yield portal
            nursery.cancel_scope.cancel(reason="the portal's block has ended")
    finally:
        await portal.stop()


async def _watch(portal: ThreadPortal) -> None:
    await portal.ended.wait()
    raise portal.lost()


def trio_clock() -> Callable[[], float]:
    """Return a function that reads Trio's clock from any thread; called in Trio, whose clock must be the real one.

    Trio counts like `time.perf_counter`, from a random start.
    """
    offset_seconds = trio.current_time() - time.perf_counter()
    return lambda: time.perf_counter() + offset_seconds
