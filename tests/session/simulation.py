"""A whole call in simulated time: scripted people, the real session and link, and the loopback model over memory.

Nothing here is a thread, a socket or a process, so the autojump clock can run it: minutes in a fraction of a second.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import trio

from plexbridge.audio.opus import MODEL_UPLINK
from plexbridge.audio.pcm import UPLINK_FRAME_SAMPLES, Samples, silence
from plexbridge.errors import ModelUnreachable
from plexbridge.model.answers import Answerer, Echo
from plexbridge.model.conversation import State
from plexbridge.model.loopback import LoopbackServer
from plexbridge.model.request import ModelAddress, ModelRequest, build_request
from plexbridge.session.ledger import Ledger
from plexbridge.session.link import open_link
from plexbridge.session.people import Frame
from plexbridge.session.session import SessionSettings, run_session

SETTINGS = SessionSettings(encoder=MODEL_UPLINK, playout_minimum_seconds=0.02, playout_maximum_seconds=0.12)


def loopback_request() -> ModelRequest:
    """Return the request of an ordinary call to a model with PersonaPlex's protocol."""
    return build_request(dialect="personaplex", url="ws://model/api/chat", voice="NATF0", prompt="Be kind.")


def tone(tick: int, *, frequency_hz: float = 440.0) -> Samples:
    """Return 20 ms at 24 kHz of a steady tone at -12 dBFS, continued from tick to tick."""
    positions = np.arange(UPLINK_FRAME_SAMPLES) + tick * UPLINK_FRAME_SAMPLES
    return (0.35 * np.sin(2 * np.pi * frequency_hz * positions / 24_000)).astype(np.float32)


@dataclass
class ScriptedPeople:
    """People who say `script(tick)` for `ticks` ticks and write down all that they are given."""

    ticks: int
    script: Callable[[int], Samples | None] = tone
    said: int = 0
    skipped: int = 0
    played: list[tuple[int, Samples]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    told: list[State] = field(default_factory=list)

    def listen(self, due_seconds: float) -> Frame | None:
        """Say the next frame; a script that returns None is silent in that tick."""
        if self.said >= self.ticks:
            return None
        samples = self.script(self.said)
        self.said += 1
        return Frame(silence(UPLINK_FRAME_SAMPLES) if samples is None else samples, due_seconds, samples is None)

    def skip(self, frames: int) -> None:
        """Go on as if the frames had been heard."""
        self.said += frames
        self.skipped += frames

    def play(self, samples: Samples, tick: int) -> None:
        """Hear a frame."""
        self.played.append((tick, samples))

    def show(self, text: str) -> None:
        """Read a piece."""
        self.shown.append(text)

    def tell(self, state: State) -> None:
        """Be told."""
        self.told.append(state)

    @property
    def heard(self) -> Samples:
        """All that was played, joined."""
        return np.concatenate([samples for _, samples in self.played]) if self.played else silence(0)


class TrackedStream(trio.abc.Stream):
    """One end of a memory stream that knows whether it was closed."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.is_closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        self.is_closed = True
        await self._stream.aclose()


class SimulatedModel:
    """A loopback server that is reached over memory; it serves in the nursery that it is given."""

    def __init__(
        self, nursery: trio.Nursery, make_answerer: Callable[[], Answerer] = Echo, *, delay_seconds: float = 0.0
    ) -> None:
        self._nursery = nursery
        self.server = LoopbackServer(make_answerer, delay_seconds=delay_seconds)
        self.streams: list[TrackedStream] = []
        self.is_gone = False
        """Nobody answers any more."""

    async def dial(self, address: ModelAddress) -> trio.abc.Stream:
        """Connect, at once, and with the checkpoints that a network has."""
        await trio.lowlevel.checkpoint()
        if self.is_gone:
            raise ModelUnreachable("nobody answers")
        ours, theirs = trio.testing.memory_stream_pair()
        tracked = [TrackedStream(ours), TrackedStream(theirs)]
        self.streams += tracked
        self._nursery.start_soon(self.server.serve_stream, tracked[1])
        return tracked[0]


async def hold_call(model: SimulatedModel, people: ScriptedPeople, ledger: Ledger) -> None:
    """Hold one call from the first packet to the goodbye."""
    link_open = open_link(loopback_request(), model.dial, handshake_seconds=60, watch=people.tell)
    async with link_open as link:
        await run_session(link, people, SETTINGS, ledger=ledger, serial=1)
