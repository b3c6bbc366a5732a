"""One session of the Moshi dialect, on sphn 0.2: the handshake at once, then one loop that answers as it receives.

There are no prompts and no query. The model says nothing to the first frame. Unlike PersonaPlex's, an exception is not
caught, so the connection just drops.
"""

# mypy: disable-error-code="import-not-found"

import numpy as np
import sphn
from aiohttp import WSMsgType
from numpy.typing import NDArray

from tests.interop.connection import ENDED, Connection
from tests.interop.downlink import Downlink
from tests.interop.echo_model import FRAME_SAMPLES, EchoModel, ModelFailure
from tests.interop.flags import Flags
from tests.interop.observer import RATE_HZ, Observer
from tests.interop.personaplex import AUDIO_KIND, to_pcm16
from tests.interop.timed_faults import Shutdown, TimedFaults

SKIPPED_FRAMES = 1


class MoshiSession:
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
        self._unread = np.zeros(0, np.float32)
        self._frames = 0

    async def run(self) -> None:
        """Hold the session until the client leaves or something fails."""
        self._observer.start_recording()
        self._model.reset()
        if not await self._downlink.shake_hands(self._is_alive):
            return
        with self._faults:
            try:
                await self._receive_loop()
            except ModelFailure:
                # What kyutai's Rust server does at its time limit.
                await self._connection.close()

    async def _is_alive(self) -> bool:
        return (await self._connection.receive()).type not in ENDED

    async def _receive_loop(self) -> None:
        while (message := await self._connection.receive()).type not in ENDED:
            if self._faults.is_hung:
                continue
            if message.type is WSMsgType.BINARY and message.data[:1] == bytes([AUDIO_KIND]):
                await self._take(self._reader.append_bytes(message.data[1:]))
                continue
            with self._observer.update() as state:
                state.ignored_messages += 1

    async def _take(self, pcm: NDArray[np.float32]) -> None:
        self._observer.hear(to_pcm16(pcm))
        self._unread = np.concatenate((self._unread, pcm))
        while len(self._unread) >= FRAME_SAMPLES:
            frame, self._unread = self._unread[:FRAME_SAMPLES], self._unread[FRAME_SAMPLES:]
            self._faults.before_step()
            answer, token = self._model.step(frame)
            self._frames += 1
            if self._frames <= SKIPPED_FRAMES:
                continue
            with self._observer.update() as state:
                state.samples_out += len(answer)
            data = bytes(self._writer.append_pcm(answer))
            if data:
                await self._downlink.send_audio(data)
            await self._downlink.send_text(token)
