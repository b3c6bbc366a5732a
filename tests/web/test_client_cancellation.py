"""The sweep on the web: a connection breaks, or plexbridge stops, at every step of a visit, or at very many.

Wherever it happens, within a second nothing of the connection is left: no task, no stream, no codec, no channel, no
place in the pool, and no call at the model.
"""

import gc
from collections.abc import Callable
from functools import partial

import pytest
import trio
import trio_websocket
from trio.testing import MockClock

from tests.session.test_cancellation import CancelAfterSteps, RecordedChannels, assert_no_codec_is_open
from tests.web.simulation import World, open_world, opus_packets
from tests.web.visitor import open_visitor

PACKETS = opus_packets(10)
TALK_SECONDS = 0.3
END_SECONDS = 1.0
POINTS = 150
"""Steps that are tried, at most; the insides of a talk have sweeps of their own."""
QUEUE_SECONDS = 0.2


def stop(world: World) -> None:
    """The service stops."""
    world.held[0].cancel(reason="the sweep")


def lose(world: World) -> None:
    """The connection breaks."""
    world.nursery.start_soon(world.valves[0].aclose)


def stall_and_stop(world: World) -> None:
    """The connection takes no more, and the service stops."""
    world.valves[0].shut()
    stop(world)


async def run_visit(number: int | None, interrupt: Callable[[World], None], mode: str, is_queued: bool) -> int:
    """Serve one page, interrupted after step `number` of what serves it; return how many steps that has."""
    async with open_world() as world:
        pool = world.around.pool
        instrument = CancelAfterSteps(number, lambda: interrupt(world))
        trio.lowlevel.add_instrument(instrument)
        world.on_serving = instrument.watch
        try:
            with pool.request(0, 0) if is_queued else trio.CancelScope():
                websocket = await world.nursery.start(world.connect)
                try:
                    async with open_visitor(websocket, mode, "opus", token=world.token) as visitor:
                        with trio.move_on_after(QUEUE_SECONDS if is_queued else 0):
                            await visitor.wait_closed()
                        if visitor.close_code is None:
                            await visitor.say(PACKETS)
                            await trio.sleep(TALK_SECONDS)
                            await visitor.send({"type": "bye"})
                            await visitor.wait_closed()
                except* trio_websocket.ConnectionClosed:
                    pass  # as it may at any point
            await trio.sleep(END_SECONDS)
        finally:
            trio.lowlevel.remove_instrument(instrument)

        assert world.served == 1
        assert all(valve.is_closed for valve in world.valves)
        assert not pool.placement.seats
        assert not world.models["a"].server.is_busy
        assert all(stream.is_closed for stream in world.models["a"].streams)
        assert_no_codec_is_open()
    return instrument.steps


def sweep(number: int | None, interrupt: Callable[[World], None], mode: str, is_queued: bool) -> int:
    """Make one run by itself, in simulated time."""
    channels = RecordedChannels()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio, "open_memory_channel", channels)
        run = partial(run_visit, number, interrupt, mode, is_queued)
        steps = trio.run(run, clock=MockClock(autojump_threshold=0))
    channels.assert_closed()
    return steps


@pytest.mark.cancellation
@pytest.mark.no_cover  # thousands of runs of the same lines, which other tests cover
@pytest.mark.parametrize(
    ("mode", "is_queued"),
    [("loopback", False), ("model", False), ("model", True)],
    ids=["loopback", "model", "queue"],
)
@pytest.mark.parametrize("interrupt", [stop, lose, stall_and_stop], ids=lambda interrupt: interrupt.__name__)
def test_a_visit_leaves_nothing_behind_wherever_it_is_interrupted(
    interrupt: Callable[[World], None], mode: str, is_queued: bool
) -> None:
    steps = sweep(None, interrupt, mode, is_queued)

    gc.collect()
    gc.freeze()  # what was there before is no codec of these runs, and need not be looked at 500 times
    try:
        for number in sorted({1 + point * steps // POINTS for point in range(POINTS)}):
            sweep(number, interrupt, mode, is_queued)
    finally:
        gc.unfreeze()
    assert steps > 50
