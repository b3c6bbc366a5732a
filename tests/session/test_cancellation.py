"""The sweep: one call, cancelled at every checkpoint that it passes, one by one, from join to goodbye.

A Trio instrument counts the steps of all tasks that belong to the call, and cancels the call after the one that the
run is about; a step ends at a checkpoint, so each is met while its task waits there. Afterwards nothing may be left:
no task, no open stream, no open channel end, no codec that still works, and the server's slot is free.

In simulated time the sweep is complete. Over real sockets it meets 50 points that are spread over the call.
"""

import gc
import sys
import threading
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import trio
from trio.testing import MockClock

from plexbridge.audio.opus import Decoder, Encoder
from plexbridge.audio.pcm import PEOPLE_FRAME_SAMPLES, UPLINK_FRAME_SAMPLES, silence
from plexbridge.errors import LocalProtocolError
from plexbridge.model.answers import Echo
from plexbridge.model.loopback import LoopbackServer, listen_loopback, serve_loopback
from plexbridge.model.request import build_request
from plexbridge.session.ledger import Ledger
from plexbridge.session.link import network_dial, open_link, tls_context
from plexbridge.session.session import run_session
from tests.session.simulation import SETTINGS, ScriptedPeople, SimulatedModel, hold_call

TICKS = 20
"""0.4 s of audio."""


class CancelAfterSteps(trio.abc.Instrument):
    """Calls `cancel` after the `number`th step of any task below `root`; counts on afterwards."""

    def __init__(self, number: int | None, cancel: Callable[[], None]) -> None:
        self._number = number
        self._cancel = cancel
        self._tasks: set[trio.lowlevel.Task] = set()
        self.steps = 0

    def watch(self, task: trio.lowlevel.Task) -> None:
        """Count the steps of `task` and of all tasks that it and they spawn."""
        self._tasks.add(task)

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """Watch the children of what is watched."""
        parent = task.parent_nursery.parent_task if task.parent_nursery is not None else None
        if parent in self._tasks:
            self._tasks.add(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count a step, and cancel when it is the one."""
        if task not in self._tasks:
            return
        self.steps += 1
        if self.steps == self._number:
            self._cancel()


class RecordedChannels:
    """Stands in for `trio.open_memory_channel` and keeps every pair of ends that plexbridge has made.

    trio-websocket's own are left out: it leaves the receiving end of a connection that the peer has closed to the
    garbage collector.
    """

    def __init__(self) -> None:
        self._open: Any = trio.open_memory_channel
        self.ends: list[trio.MemorySendChannel[object]] = []

    def __getitem__(self, kind: object) -> Callable[[float], object]:
        is_ours = sys._getframe(1).f_globals["__name__"].startswith("plexbridge.")

        def open_channel(capacity: float) -> object:
            pair = self._open(capacity)
            if is_ours:
                self.ends.append(pair[0])
            return pair

        return open_channel

    def assert_closed(self) -> None:
        """Fail when either end of any channel is still open."""
        for end in self.ends:
            channel = end.statistics()
            assert (channel.open_send_channels, channel.open_receive_channels) == (0, 0), "a channel end is open"


def assert_no_codec_is_open() -> None:
    """Look at every codec that exists, wherever it is."""
    for thing in gc.get_objects():
        if isinstance(thing, Decoder):
            with pytest.raises(LocalProtocolError):
                thing.conceal(PEOPLE_FRAME_SAMPLES)
        elif isinstance(thing, Encoder):
            with pytest.raises(LocalProtocolError):
                thing.encode(silence(UPLINK_FRAME_SAMPLES))


async def run_cancelled(number: int | None) -> tuple[int, bool]:
    """Hold a call and cancel it after step `number`; return the steps it took and whether it was cut short."""
    async with trio.open_nursery() as world:
        model = SimulatedModel(world)
        people = ScriptedPeople(ticks=TICKS)
        with trio.CancelScope() as call_scope:
            instrument = CancelAfterSteps(number, lambda: call_scope.cancel(reason="the sweep"))
            instrument.watch(trio.lowlevel.current_task())
            trio.lowlevel.add_instrument(instrument)
            try:
                await hold_call(model, people, Ledger())
            finally:
                trio.lowlevel.remove_instrument(instrument)
        await trio.testing.wait_all_tasks_blocked()

        assert_no_codec_is_open()
        assert not world.child_tasks, "a task of the server outlived the call, so its connection is still open"
        assert all(stream.is_closed for stream in model.streams)
        assert not model.server.is_busy
        world.cancel_scope.cancel()
    return instrument.steps, call_scope.cancelled_caught


def run_in_simulated_time(number: int | None) -> tuple[int, bool]:
    """Run one call of the sweep by itself, so that whatever it leaves behind shows."""
    channels = RecordedChannels()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio, "open_memory_channel", channels)
        result = trio.run(run_cancelled, number, clock=MockClock(autojump_threshold=0))
    assert len(channels.ends) >= (0 if number is not None else 4), "three of the session, one of the loopback model"
    channels.assert_closed()
    return result


@pytest.mark.cancellation
@pytest.mark.no_cover  # thousands of runs of the same lines, which other tests cover
def test_a_call_leaves_nothing_behind_wherever_it_is_cancelled(capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints, was_cut = run_in_simulated_time(None)
    assert not was_cut

    cut_short = 0
    gc.collect()
    gc.freeze()  # what is there already need not be looked through a thousand times
    try:
        for number in range(1, checkpoints + 1):
            _, was_cut = run_in_simulated_time(number)
            cut_short += was_cut
    finally:
        gc.unfreeze()

    with capsys.disabled():
        print(f"\ncancellation sweep: {checkpoints} checkpoints, {cut_short} of them cut the call short")
    assert checkpoints > 200
    assert cut_short > 0.9 * checkpoints


REAL_POINTS = 50


async def run_cancelled_for_real(number: int | None) -> tuple[int, bool]:
    """Hold a call over TCP and cancel it after step `number`, in real time; what is left must be gone at once."""
    server = LoopbackServer(Echo)
    listeners, url = await listen_loopback("127.0.0.1", 0)
    request = build_request(dialect="personaplex", url=url, voice="NATF0", prompt="Be kind.")
    dial = network_dial(tls_context(ca_file=None, is_verified=True))
    people = ScriptedPeople(ticks=TICKS)
    async with trio.open_nursery() as world:
        world.start_soon(serve_loopback, server, listeners)
        with trio.CancelScope() as call_scope:
            instrument = CancelAfterSteps(number, lambda: call_scope.cancel(reason="the sweep"))
            instrument.watch(trio.lowlevel.current_task())
            trio.lowlevel.add_instrument(instrument)
            try:
                async with open_link(request, dial, handshake_seconds=60, watch=people.tell) as link:
                    await run_session(link, people, SETTINGS, ledger=Ledger(), serial=1)
            finally:
                trio.lowlevel.remove_instrument(instrument)
        with trio.fail_after(5):
            next_people = ScriptedPeople(ticks=1)
            async with open_link(request, dial, handshake_seconds=60, watch=next_people.tell) as link:
                await run_session(link, next_people, SETTINGS, ledger=Ledger(), serial=2)
        world.cancel_scope.cancel()
    return instrument.steps, call_scope.cancelled_caught


def open_descriptors() -> int:
    """Return how many files and sockets this process has open."""
    return psutil.Process().num_fds()


@pytest.mark.live
@pytest.mark.cancellation
def test_a_call_over_real_sockets_leaves_nothing_behind_at_50_points(capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints, _ = trio.run(run_cancelled_for_real, None)
    gc.collect()
    descriptors, threads = open_descriptors(), threading.active_count()

    cut_short = 0
    for point in range(REAL_POINTS):
        _, was_cut = trio.run(run_cancelled_for_real, 1 + point * checkpoints // REAL_POINTS)
        cut_short += was_cut

    gc.collect()
    with capsys.disabled():
        print(f"\ncancellation over real sockets: {REAL_POINTS} of {checkpoints} checkpoints, {cut_short} cut short")
    assert cut_short > 0.8 * REAL_POINTS
    assert open_descriptors() == descriptors
    assert threading.active_count() == threads
