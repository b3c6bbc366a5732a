"""One session of the PersonaPlex dialect, on sphn 0.1: the prompts, then three loops until one of them ends.

The shape follows what is known of NVIDIA's handler, because its faults follow from it. Prompts run model steps that
block the event loop, and between two steps one message of the client is taken and lost. The receive loop feeds sphn's
decoder thread; the Opus loop asks it every millisecond and steps the model as long as there is a whole frame, however
late; the send loop asks sphn's encoder every millisecond. An exception anywhere ends the session with close code 1000.
"""

# mypy: disable-error-code="import-not-found"

import asyncio
from collections.abc import Iterable

import numpy as np
import sphn
from aiohttp import WSMsgType
from numpy.typing import NDArray

from tests.interop.connection import ENDED, Connection
from tests.interop.downlink import Downlink
from tests.interop.echo_model import FRAME_SAMPLES, SILENCE_STEPS, EchoModel
from tests.interop.flags import Flags
from tests.interop.observer import RATE_HZ, Observer
from tests.interop.timed_faults import Shutdown, TimedFaults

POLL_SECONDS = 0.001
ALIVE_SECONDS = 0.01
"""How long a prompt step waits for a message of the client."""

AUDIO_KIND = 1


def to_pcm16(pcm: NDArray[np.float32]) -> bytes:
    """Return 16-bit samples for the recording."""
    pcm16: NDArray[np.int16] = np.clip(np.rint(pcm * 32767.0), -32768, 32767).astype("<i2")
    return pcm16.tobytes()


class PersonaplexSession:
    """A connection that holds the lock."""

    def __init__(
        self, connection: Connection, model: EchoModel, flags: Flags, observer: Observer, shutdown: Shutdown
    ) -> None:
        self._connection = connection
        self._model = model
        self._observer = observer
        self._downlink = Downlink(connection, model, flags, observer)
        self._faults = TimedFaults(connection, flags, shutdown)
        self._writer = sphn.OpusStreamWriter(RATE_HZ)
        self._reader = sphn.OpusStreamReader(RATE_HZ)
        self._is_over = False

    async def run(self) -> None:
        """Hold the session to its end; what fails in the prompts is raised, what fails later closes with 1000."""
        self._observer.start_recording()
        self._model.reset()
        await self._run_prompts()
        if not await self._is_alive() or not await self._downlink.shake_hands(self._is_alive):
            return
        with self._faults:
            await self._run_loops()
        await self._connection.close()

    async def _run_prompts(self) -> None:
        with self._observer.update() as state:
            state.voice, state.text_prompt = self._model.voice, self._model.text_prompt or ""
        silence = [0.0] * SILENCE_STEPS
        await self._run_phase(self._model.voice_step_seconds())
        await self._run_phase(silence)
        tokens = self._model.text_tokens
        if tokens is None:
            raise TypeError("the text prompt has no tokens to go through")
        await self._run_phase([0.0] * len(tokens))
        await self._run_phase(silence)

    async def _run_phase(self, step_seconds: Iterable[float]) -> None:
        """Run the steps of one phase; a client that left ends this phase only."""
        for seconds in step_seconds:
            self._model.prompt_step(seconds)
            with self._observer.update() as state:
                state.prompt_steps += 1
            if not await self._is_alive():
                break

    async def _is_alive(self) -> bool:
        """Tell whether the client is still there, at the price of one of its messages."""
        if self._connection.is_closed:
            return False
        try:
            message = await asyncio.wait_for(self._connection.receive(), ALIVE_SECONDS)
        except TimeoutError:
            return True
        if message.type in ENDED:
            return False
        with self._observer.update() as state:
            state.messages_eaten += 1
            if message.type is WSMsgType.BINARY and message.data[:1] == bytes([AUDIO_KIND]):
                state.audio_before_handshake = True
        return True

    async def _run_loops(self) -> None:
        loops = [asyncio.create_task(loop()) for loop in (self._receive_loop, self._opus_loop, self._send_loop)]
        done, pending = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
        for loop in pending:
            loop.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        with self._observer.update() as state:
            state.failures += [type(error).__name__ for error in map(asyncio.Task.exception, done) if error]

    async def _receive_loop(self) -> None:
        try:
            while (message := await self._connection.receive()).type not in ENDED:
                if message.type is WSMsgType.BINARY and message.data[:1] == bytes([AUDIO_KIND]):
                    self._reader.append_bytes(message.data[1:])
                    continue
                with self._observer.update() as state:
                    state.ignored_messages += 1
        finally:
            self._is_over = True

    async def _opus_loop(self) -> None:
        unread = np.zeros(0, np.float32)
        while not self._is_over:
            await asyncio.sleep(POLL_SECONDS)
            # A dead decoder thread gives None here, which ends the session.
            pcm: NDArray[np.float32] = self._reader.read_pcm()
            if not pcm.shape[-1]:
                continue
            self._observer.hear(to_pcm16(pcm))
            unread = np.concatenate((unread, pcm))
            while len(unread) >= FRAME_SAMPLES:
                if self._faults.is_hung:
                    await asyncio.Event().wait()
                frame, unread = unread[:FRAME_SAMPLES], unread[FRAME_SAMPLES:]
                await self._step(frame)

    async def _step(self, frame: NDArray[np.float32]) -> None:
        self._faults.before_step()
        answer, token = self._model.step(frame)
        self._writer.append_pcm(answer)
        with self._observer.update() as state:
            state.samples_out += len(answer)
        await self._downlink.send_text(token)

    async def _send_loop(self) -> None:
        while not self._is_over:
            await asyncio.sleep(POLL_SECONDS)
            data = self._writer.read_bytes()
            if data:
                await self._downlink.send_audio(bytes(data))
