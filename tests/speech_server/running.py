"""An aiohttp application in a thread of its own, for the length of a test."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

READY_SECONDS = 10.0


@contextmanager
def running(application: web.Application) -> Iterator[int]:
    """Serve on 127.0.0.1; yield the port. Nobody who still waits for an answer keeps it from ending."""
    loop, ports, is_ready = asyncio.new_event_loop(), list[int](), threading.Event()
    stop = asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ports.append(runner.addresses[0][1])
        is_ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert is_ready.wait(READY_SECONDS)
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(READY_SECONDS)
        assert not thread.is_alive()
        loop.close()
