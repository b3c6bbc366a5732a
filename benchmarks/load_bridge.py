"""plexbridge with many sessions at once, in a process of its own: what `benchmarks.load` measures.

Each session is the real one: a line with a voice connection, its people, a link to a model, the four tasks. This
module watches from inside what it costs and whether it works.
"""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from multiprocessing.connection import Connection

import numpy as np
import psutil
import trio

from benchmarks.load_generator import BRIDGE_CORE, HOST, Address, Heard, Ports, Talk, keep_to_core
from benchmarks.load_passing import Passing
from benchmarks.load_voice import PERSON_ID, Call, WiredLink
from plexbridge.audio.opus import Decoder
from plexbridge.audio.pcm import FRAMES_PER_SECOND, PEOPLE_RATE_HZ, level_dbfs
from plexbridge.config import AudioConfig
from plexbridge.model.conversation import State
from plexbridge.model.request import build_request
from plexbridge.people.discord.inbox import Inbox
from plexbridge.people.discord.internals.patches import prepare
from plexbridge.people.discord.line import open_line
from plexbridge.people.discord.portal import open_portal, trio_clock
from plexbridge.people.discord.voice import DiscordPeople, Voice
from plexbridge.service import session_settings
from plexbridge.session.ledger import Ledger, Shed
from plexbridge.session.link import network_dial, open_link, tls_context
from plexbridge.session.people import Frame
from plexbridge.session.session import run_session

WARM_UP_SECONDS = 3.0
"""Jitter buffers and playout buffers have found their depth by then."""
SPARE_SECONDS = 5.0
"""What people have to say longer than it is listened to."""
HANDSHAKE_SECONDS = 30.0
NOWHERE = "https://discord.invalid"
AUDIBLE_DBFS = -50.0
LEAST_SHARE = 0.9
"""Of the frames of a session, so many must have come and gone, or the run says nothing."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be measured."""

    sessions: int
    seconds: float
    packets: tuple[bytes, ...]
    """What each person says, again and again: Opus, 20 ms each."""
    passed_on: tuple[bytes, ...] | None
    """What the models say: Opus, 80 ms each, to be cut and sent on; None to encode anew, as plexbridge does."""


@dataclass(frozen=True, slots=True)
class Load:
    """What was found, over the seconds that count."""

    sessions: int
    seconds: float
    cpu_share: float
    """Of one core, the whole process, all threads."""
    system_share: float
    """The part of it that was spent in the system."""
    generator_share: float
    """Of one core, the generator's."""
    late_ms: tuple[float, float, float]
    """How late a tick came: p50, p99 and the latest."""
    missed_ticks: float
    heard_per_second: float
    """Packets decoded of the person who was heard least."""
    sent_per_second: float
    """Packets with sound, of the session that sent fewest."""
    threads: int
    rss_mib: float

    @property
    def session_share(self) -> float:
        """Of one core, for each session."""
        return self.cpu_share / self.sessions


class _WatchedPeople(DiscordPeople):
    """The people of a session, with a watch on its beat."""

    def __init__(self, voice: Voice, passed_on: tuple[bytes, ...] | None) -> None:
        super().__init__(voice, _NoWords())
        self.set_heard([PERSON_ID])
        if passed_on is not None:
            self._encoder.close()
            self._encoder = Passing(passed_on)
        self.late_seconds: list[float] = []

    def listen(self, due_seconds: float) -> Frame:
        """Hear, and note how late that is."""
        self.late_seconds.append(trio.current_time() - due_seconds)
        return super().listen(due_seconds)


class _NoWords:
    """Nobody reads; implements `voice.Words`."""

    def show(self, text: str) -> None:
        """Nothing is said in words."""

    def tell(self, state: State) -> None:
        """Nobody is told."""

    def rest(self) -> None:
        """Nothing to end."""


@dataclass(frozen=True, slots=True)
class _Session:
    call: Call
    link: WiredLink
    people: _WatchedPeople
    ledger: Ledger


@dataclass(frozen=True, slots=True)
class _Look:
    """All counters at one moment."""

    at_seconds: float
    user_seconds: float
    system_seconds: float
    generator_seconds: float
    heard: tuple[int, ...]
    sent: tuple[int, ...]
    missed: float


def bridge(to_generator: Connection, to_parent: Connection, order: Order, generator_id: int) -> None:
    """Measure, and send a `Load`, or words for what went wrong: the process's whole work."""
    ports = to_generator.recv()
    assert isinstance(ports, Ports)
    keep_to_core(BRIDGE_CORE)
    prepare(api_base=NOWHERE, gateway=NOWHERE)
    try:
        load = trio.run(_measure, to_generator, ports, order, psutil.Process(generator_id))
    except RuntimeError as error:
        to_parent.send(str(error))
    else:
        to_parent.send(load)


class _Discord:
    """Makes voice connections on Discord's thread; implements `line.Joining`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.calls: dict[int, Call] = {}
        self.links: dict[int, WiredLink] = {}

    async def join(self, channel_id: int, inbox: Inbox, within_seconds: float) -> WiredLink:
        """Connect."""
        call = self.calls[channel_id] = Call(channel_id)
        link = self.links[channel_id] = WiredLink(call, inbox, (HOST, self._port))
        return link


async def _measure(to_generator: Connection, ports: Ports, order: Order, generator: psutil.Process) -> Load:
    talk_seconds = WARM_UP_SECONDS + order.seconds + SPARE_SECONDS
    packets = list(islice(cycle(order.packets), round(talk_seconds * FRAMES_PER_SECOND)))
    async with _open_sessions(ports, order) as sessions:
        to_generator.send(Talk({each.link.address: each.call.say(packets) for each in sessions}))
        await trio.sleep(WARM_UP_SECONDS)
        for session in sessions:
            session.people.late_seconds.clear()
        before = _look(sessions, generator)
        await trio.sleep(order.seconds)
        after = _look(sessions, generator)
        process = psutil.Process()
        threads, rss_bytes = process.num_threads(), process.memory_info().rss
        late_ms = np.concatenate([np.array(each.people.late_seconds) for each in sessions]) * 1000
    to_generator.send(None)
    heard = to_generator.recv()
    seconds = after.at_seconds - before.at_seconds
    system_seconds = after.system_seconds - before.system_seconds
    load = Load(
        sessions=order.sessions,
        seconds=seconds,
        cpu_share=(after.user_seconds - before.user_seconds + system_seconds) / seconds,
        system_share=system_seconds / seconds,
        generator_share=(after.generator_seconds - before.generator_seconds) / seconds,
        late_ms=(float(np.median(late_ms)), float(np.percentile(late_ms, 99)), float(late_ms.max())),
        missed_ticks=after.missed - before.missed,
        heard_per_second=min(_differences(before.heard, after.heard)) / seconds,
        sent_per_second=min(_differences(before.sent, after.sent)) / seconds,
        threads=threads,
        rss_mib=rss_bytes / 2**20,
    )
    least = LEAST_SHARE * FRAMES_PER_SECOND
    if min(load.heard_per_second, load.sent_per_second) < least:
        raise RuntimeError(
            f"the audio does not flow: {load.heard_per_second:.1f} frames a second heard, {load.sent_per_second:.1f}"
            f" sent, at {load.cpu_share:.0%} of a core"
        )
    _check_heard(sessions, heard)
    return load


@asynccontextmanager
async def _open_sessions(ports: Ports, order: Order) -> AsyncIterator[list[_Session]]:
    """Run so many sessions for the length of the block."""
    discord = _Discord(ports.udp)
    dial = network_dial(tls_context(ca_file=None, is_verified=True))
    request = build_request(
        dialect="personaplex", url=f"ws://{HOST}:{ports.tcp}/api/chat", voice="NATF0", prompt="Benchmark."
    )
    settings = session_settings(AudioConfig())
    async with AsyncExitStack() as stack:
        portal = await stack.enter_async_context(open_portal())
        nursery = await stack.enter_async_context(trio.open_nursery())
        sessions = []

        async def hold(channel_id: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            async with open_line(portal, discord, channel_id, clock=trio_clock()) as line:
                with _WatchedPeople(line, order.passed_on) as people:
                    async with open_link(request, dial, handshake_seconds=HANDSHAKE_SECONDS, watch=people.tell) as link:
                        ledger = Ledger()
                        sessions.append(_Session(discord.calls[channel_id], discord.links[channel_id], people, ledger))
                        task_status.started()
                        await run_session(link, people, settings, ledger=ledger, serial=channel_id)

        for channel_id in range(1, order.sessions + 1):
            await nursery.start(hold, channel_id)
            await trio.sleep(0.0137)  # people do not come all at the same moment of a beat
        yield sessions
        nursery.cancel_scope.cancel(reason="all is measured")


def _look(sessions: list[_Session], generator: psutil.Process) -> _Look:
    own, other = psutil.Process().cpu_times(), generator.cpu_times()
    return _Look(
        at_seconds=time.perf_counter(),
        user_seconds=own.user,
        system_seconds=own.system,
        generator_seconds=other.user + other.system,
        heard=tuple(each.people.heard().total.decoded for each in sessions),
        sent=tuple(each.people.sent().sound for each in sessions),
        missed=sum(each.ledger.shed_frames.get(Shed.UPLINK_LATE, 0) for each in sessions),
    )


def _differences(before: tuple[int, ...], after: tuple[int, ...]) -> Iterator[int]:
    return (later - earlier for earlier, later in zip(before, after, strict=True))


def _check_heard(sessions: list[_Session], heard: dict[Address, Heard]) -> None:
    """Make sure that every person could decrypt and hear what came; raises RuntimeError."""
    for session in sessions:
        with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
            sound = [decoder.decode(session.call.hear(datagram)) for datagram in heard[session.link.address].latest]
        if level_dbfs(np.concatenate(sound)) < AUDIBLE_DBFS:
            raise RuntimeError(f"nothing is heard in channel {session.call.channel_id}")
