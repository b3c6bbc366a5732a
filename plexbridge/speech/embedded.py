"""The engines that run on this machine, in processes of their own: pocketsphinx and sherpa-onnx.

A worker has one decoder, and is lent to one utterance at a time: 118 MB (pocketsphinx) for each person who speaks at
the same moment, not for each who is there. One process for several decoders would save none of that, as decoders share
nothing, would make them wait for one another, as each keeps the interpreter to itself, and would take all along when
one crashes. An utterance that finds all workers lent waits, and catches up: decoding takes a fifth of real time.

A worker whose utterance was given up, because it hangs or nobody wants the answer any more, is killed; so is one that
says what it should not. The next one is started when it is needed, after a pause that grows with the failures in a row.
"""

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from math import inf
from random import Random
from subprocess import DEVNULL, PIPE

import trio

from plexbridge.audio.pcm import to_int16
from plexbridge.errors import RemoteProtocolError, SpeechError
from plexbridge.session.retry import Retry
from plexbridge.speech.engine import Recognized, Show, Sound
from plexbridge.speech.frames import RATE_HZ, Message, MessageReader, Tag, decode_final

START_SECONDS = 30.0
"""Loading takes 0.3 s; a busy machine, and a large model, more."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 10.0
END_SECONDS = 2.0
"""For a killed process to be gone."""
READ_BYTES = 65_536
WORKER = (sys.executable, "-m", "plexbridge.speech.worker")


class Worker:
    """One process, which is ready."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._to_worker = process.stdin
        self._from_worker = process.stdout
        self._reader = MessageReader()
        self._messages: list[Message] = []
        self.description = ""

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process runs, as far as is known."""
        return self._process.poll() is None

    async def load(self, setup: Mapping[str, str]) -> None:
        """Have the worker load its decoder; raises SpeechError."""
        try:
            await self._send(Tag.SETUP, json.dumps(setup).encode())
            message = await self._receive()
        except (trio.BrokenResourceError, RemoteProtocolError) as exc:
            raise self._failed(exc) from exc
        text = message.content.decode(errors="replace")
        if message.tag is Tag.BROKEN:
            raise SpeechError(text)
        self.description = text

    async def decode(self, sound: Sound, show: Show) -> Recognized:
        """Have one utterance decoded; raises SpeechError, after which the worker can't be used."""
        is_sent = False

        async def send() -> None:
            nonlocal is_sent
            reader = sound.reader(RATE_HZ)
            try:
                await self._send(Tag.BEGIN)
                while (samples := await reader.read()) is not None:
                    await self._send(Tag.SOUND, to_int16(samples).astype("<i2").tobytes())
                await self._send(Tag.END)
            except trio.BrokenResourceError:
                return  # it has died, which shows where its answers are read
            is_sent = True

        outcome: Recognized | SpeechError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            outcome = await self._answer(show)
            nursery.cancel_scope.cancel(reason="the worker has answered")
        if isinstance(outcome, SpeechError):
            raise outcome
        if not is_sent:
            raise SpeechError("the worker answered before it was asked", is_passing=True)
        return outcome

    async def kill(self) -> None:
        """End the process at once, whatever it does; also when cancelled."""
        self._process.kill()
        with trio.move_on_after(END_SECONDS, shield=True):
            await self._process.wait()
            await self._to_worker.aclose()
            await self._from_worker.aclose()

    async def _answer(self, show: Show) -> Recognized | SpeechError:
        """Wait for the final; an error is returned, so that no nursery wraps it."""
        try:
            while True:
                message = await self._receive()
                if message.tag is Tag.FINAL:
                    return decode_final(message)
                if message.tag is Tag.PARTIAL:
                    show(message.content.decode(errors="replace"))
        except (trio.BrokenResourceError, RemoteProtocolError) as exc:
            return self._failed(exc)

    async def _send(self, tag: Tag, content: bytes = b"") -> None:
        await self._to_worker.send_all(Message(tag, content).encoded())

    async def _receive(self) -> Message:
        while not self._messages:
            data = await self._from_worker.receive_some(READ_BYTES)
            if not data:
                raise trio.BrokenResourceError
            self._messages = self._reader.push(data)
        return self._messages.pop(0)

    def _failed(self, cause: Exception) -> SpeechError:
        what = "sends what it should not" if isinstance(cause, RemoteProtocolError) else "has ended"
        return SpeechError(f"the worker {what}", is_passing=True)


class EmbeddedEngine:
    """Decodes on this machine; implements `engine.SpeechEngine`. `setup` says what workers load."""

    def __init__(self, setup: Mapping[str, str], *, workers: int, command: tuple[str, ...] = WORKER) -> None:
        self._setup = setup
        self._command = command
        self._slots = trio.Semaphore(workers)
        self._free: list[Worker] = []
        self._all: set[Worker] = set()
        self._retry = Retry(
            Random(), first_seconds=FIRST_PAUSE_SECONDS, longest_seconds=LONGEST_PAUSE_SECONDS, limit_seconds=inf
        )
        self._start_seconds = -inf
        """When the next worker may be started."""

    @property
    def worker_pids(self) -> frozenset[int]:
        """The processes that there are."""
        return frozenset(worker.pid for worker in self._all)

    async def recognize(self, sound: Sound, show: Show) -> Recognized:
        """Return what is said; raises SpeechError."""
        async with self._lent() as worker:
            return await worker.decode(sound, show)

    async def prove(self) -> str:
        """Start a worker if there is none; raises SpeechError."""
        async with self._lent() as worker:
            return worker.description

    async def aclose(self) -> None:
        """End all workers."""
        for worker in tuple(self._all):
            await self._end(worker)

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Worker]:
        """Lend a worker for the length of the block, which must not fail if the worker is to be used again."""
        async with self._slots:
            worker = await self._borrow()
            try:
                yield worker
            except BaseException:
                self._delay_next()
                await self._end(worker)
                raise
            self._retry.succeeded()
            self._free.append(worker)

    async def _borrow(self) -> Worker:
        while self._free:
            worker = self._free.pop()
            if worker.is_alive:
                return worker
            await self._end(worker)
        await trio.sleep_until(self._start_seconds)
        try:
            process = await trio.lowlevel.open_process(self._command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        except OSError as exc:
            self._delay_next()
            raise SpeechError(f"no process can be started: {exc.strerror}", is_passing=True) from exc
        worker = Worker(process)
        self._all.add(worker)
        try:
            with trio.move_on_after(START_SECONDS) as scope:
                await worker.load(self._setup)
            if scope.cancelled_caught:
                raise SpeechError(f"the worker was not ready within {START_SECONDS:.0f} s", is_passing=True)
        except BaseException:
            self._delay_next()
            await self._end(worker)
            raise
        return worker

    def _delay_next(self) -> None:
        pause_seconds = self._retry.failed(trio.current_time())
        assert pause_seconds is not None  # there is no limit
        self._start_seconds = trio.current_time() + pause_seconds

    async def _end(self, worker: Worker) -> None:
        self._all.discard(worker)
        await worker.kill()


@asynccontextmanager
async def open_embedded(setup: Mapping[str, str], *, workers: int) -> AsyncIterator[EmbeddedEngine]:
    """Run an embedded engine for the length of the block; its workers start as they are needed."""
    engine = EmbeddedEngine(setup, workers=workers)
    try:
        yield engine
    finally:
        await engine.aclose()
