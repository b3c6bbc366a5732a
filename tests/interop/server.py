"""A PersonaPlex-like (or Moshi-like) model server on other people's code: sphn and aiohttp, nothing of plexbridge.

It behaves as the servers in the field do, down to their faults, with an echo in place of the model. Run it with
`python -m tests.interop.server FLAGS` in an environment that holds sphn, aiohttp and numpy (see `environment.py`).
It prints `SIDE http://...`, the address of the side door (see `observer.py`), then `READY ws://...`. Unlike the real
server it listens on 127.0.0.1 unless told otherwise, and ends within two seconds of a SIGTERM, sessions or not.

Of a connection, in this order: the upgrade is accepted; the query is read, and any fault in it drops the connection;
the prompts are stored on the one shared model; the connection waits for the one lock, reading nothing; its session
runs.
"""

# mypy: disable-error-code="import-not-found"

import asyncio
import os
import signal
import socket
import ssl
import sys
import tempfile
import wave
from importlib.metadata import version
from pathlib import Path

from aiohttp import web

from tests.interop.connection import Connection
from tests.interop.echo_model import VOICE_MAGIC, EchoModel
from tests.interop.flags import Flags, parse_flags
from tests.interop.moshi import MoshiSession
from tests.interop.observer import RATE_HZ, Observer, SideDoor
from tests.interop.personaplex import PersonaplexSession
from tests.interop.timed_faults import Shutdown

SPHN_OF_DIALECT = {"personaplex": "0.1.", "moshi": "0.2."}
SHUTDOWN_SECONDS = 0.5
"""How long open sessions may take to end after a SIGTERM; aiohttp's default is a minute."""


def make_voices(directory: Path, flags: Flags) -> None:
    """Write the voice prompt files that the flags name."""
    for name in filter(None, flags.voices.split(",")):
        path = directory / name
        if name.endswith(".pt"):
            path.write_bytes(VOICE_MAGIC + name.encode())
            continue
        with wave.open(str(path), "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(RATE_HZ)
            wav.writeframes(bytes(RATE_HZ))
    for name in filter(None, flags.broken_voices.split(",")):
        (directory / name).write_bytes(b"neither embeddings nor sound")


class ModelServer:
    """The handler of `/api/chat`: one model, one lock, any number of connections."""

    def __init__(self, flags: Flags, voices: Path, observer: Observer, shutdown: Shutdown) -> None:
        self._flags = flags
        self._voices = voices
        self._observer = observer
        self._shutdown = shutdown
        self._model = EchoModel(flags)
        self._lock = asyncio.Lock()
        self._sessions = 0

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection; exceptions reach aiohttp, which drops the connection without a close frame."""
        connection = Connection(request, self._flags, self._observer)
        await connection.accept()
        with self._observer.update() as state:
            state.connections += 1
        failure: BaseException | None = None
        try:
            if self._flags.dialect == "personaplex":
                self._take_prompts(request)
            await self._wait_and_run(connection)
        except BaseException as exc:
            failure = exc
            raise
        finally:
            self._observer.note_end(None if failure else connection.close_code, failure)
        return connection.websocket

    def _take_prompts(self, request: web.Request) -> None:
        """Read the query; what is missing or wrong raises, after the upgrade."""
        path = os.path.join(self._voices, request.query["voice_prompt"])
        if not os.path.exists(path):
            raise FileNotFoundError("no such voice prompt")
        self._model.load_voice(path)
        self._model.take_text(request.query["text_prompt"])
        if "seed" in request.query:
            # The real handler looks for the value on the request itself, where there is none.
            raise KeyError("seed")

    async def _wait_and_run(self, connection: Connection) -> None:
        with self._observer.update() as state:
            state.waiting += 1
        try:
            await self._lock.acquire()
        finally:
            with self._observer.update() as state:
                state.waiting -= 1
        try:
            self._sessions += 1
            with self._observer.update() as state:
                state.lock_held = True
                state.sessions_started += 1
            is_faulty = self._flags.faulty_sessions < 0 or self._sessions <= self._flags.faulty_sessions
            flags = self._flags if is_faulty else self._flags.without_faults()
            session = PersonaplexSession if flags.dialect == "personaplex" else MoshiSession
            await session(connection, self._model, flags, self._observer, self._shutdown).run()
        finally:
            self._lock.release()
            with self._observer.update() as state:
                state.lock_held = False
                state.sessions_ended += 1


async def serve(flags: Flags, voices: Path) -> None:
    """Listen, say so, and serve until SIGTERM or SIGINT."""
    observer, shutdown, stop = Observer(), Shutdown(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask_to_stop(*_: object) -> None:
        shutdown.is_asked = True
        loop.call_soon_threadsafe(stop.set)

    # Not loop.add_signal_handler: that one waits for the loop, which a frozen model blocks.
    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)

    app = web.Application()
    app.router.add_get("/api/chat", ModelServer(flags, voices, observer, shutdown).handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    listener = socket.create_server((flags.host, flags.port))
    context = None
    if flags.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(flags.cert, flags.key)
    await web.SockSite(runner, listener, ssl_context=context).start()
    with SideDoor(observer) as side_door:
        asyncio.get_running_loop().run_in_executor(None, side_door.serve_forever, 0.05)
        scheme = "wss" if flags.tls else "ws"
        print(f"SIDE {side_door.url}", flush=True)
        print(f"READY {scheme}://{flags.host}:{listener.getsockname()[1]}/api/chat", flush=True)
        await stop.wait()
        await runner.cleanup()
        side_door.shutdown()


def main() -> None:
    """Run the server that the command line describes."""
    flags = parse_flags(sys.argv[1:])
    wanted = SPHN_OF_DIALECT[flags.dialect]
    if not version("sphn").startswith(wanted):
        sys.exit(f"the dialect {flags.dialect} needs sphn {wanted}x, found {version('sphn')}")
    with tempfile.TemporaryDirectory() as directory:
        voices = Path(directory) / "voices"
        voices.mkdir()
        make_voices(voices, flags)
        asyncio.run(serve(flags, voices))


if __name__ == "__main__":
    main()
