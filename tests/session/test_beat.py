"""The beat: ticks every 20 ms however long the work between them takes, and never a burst after a stall."""

import pytest
import trio

from plexbridge.session.beat import GRID_SECONDS, LATE_SECONDS, Beat, next_start_seconds


async def test_ticks_come_every_20_ms_beginning_at_the_start(autojump_clock: trio.testing.MockClock) -> None:
    start_seconds = trio.current_time() + 1
    beat = Beat(start_seconds)
    at_seconds = []

    for _ in range(5):
        assert await beat.wait_tick() == 0
        at_seconds.append(trio.current_time() - start_seconds)

    assert at_seconds == pytest.approx([0, 0.02, 0.04, 0.06, 0.08])
    assert beat.tick == 5
    assert beat.due_seconds == pytest.approx(start_seconds + 0.08)
    assert beat.deadline_seconds == pytest.approx(start_seconds + 0.1)


async def test_work_between_the_ticks_does_not_shift_them(autojump_clock: trio.testing.MockClock) -> None:
    start_seconds = trio.current_time()
    beat = Beat(start_seconds)
    at_seconds = []

    for _ in range(100):
        await beat.wait_tick()
        at_seconds.append(trio.current_time() - start_seconds)
        await trio.sleep(0.019)

    assert at_seconds == pytest.approx([0.02 * tick for tick in range(100)])


async def test_an_hour_of_ticks_adds_up_to_an_hour(autojump_clock: trio.testing.MockClock) -> None:
    start_seconds = trio.current_time()
    beat = Beat(start_seconds)
    beat.tick = 50 * 3600

    await beat.wait_tick()

    assert trio.current_time() - start_seconds == pytest.approx(3600, abs=1e-6)


@pytest.mark.parametrize(
    ("stall_seconds", "missed"),
    [(0.01, 0), (0.03, 0), (0.055, 0), (0.065, 2), (0.075, 2), (0.085, 3), (0.105, 4), (5.03, 250)],
)
async def test_after_a_stall_of_more_than_40_ms_the_missed_ticks_are_reported_and_not_made_up(
    autojump_clock: trio.testing.MockClock, stall_seconds: float, missed: int
) -> None:
    start_seconds = trio.current_time()
    beat = Beat(start_seconds)
    await beat.wait_tick()

    await trio.sleep(stall_seconds)
    assert await beat.wait_tick() == missed

    late_seconds = trio.current_time() - beat.due_seconds
    assert beat.tick == 2 + missed
    # Never early, and after a stall within the present tick: what lies before it is given up.
    assert 0 <= round(late_seconds, 6) <= (0.02 if missed else LATE_SECONDS)


async def test_a_tick_up_to_40_ms_late_is_made_up_and_the_beat_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    start_seconds = trio.current_time()
    beat = Beat(start_seconds)
    at_seconds = []

    for tick in range(6):
        assert await beat.wait_tick() == 0
        at_seconds.append(round(trio.current_time() - start_seconds, 6))
        if tick == 1:
            await trio.sleep(0.055)

    assert at_seconds == [0, 0.02, 0.075, 0.075, 0.08, 0.1]


async def test_after_a_stall_ticks_are_20_ms_apart_again(autojump_clock: trio.testing.MockClock) -> None:
    start_seconds = trio.current_time()
    beat = Beat(start_seconds)
    await beat.wait_tick()
    await trio.sleep(1.01)

    at_seconds = []
    for _ in range(4):
        await beat.wait_tick()
        at_seconds.append(round(trio.current_time() - start_seconds, 6))

    assert at_seconds == [1.01, 1.02, 1.04, 1.06]


async def test_a_cancelled_wait_leaves_the_tick_to_come(autojump_clock: trio.testing.MockClock) -> None:
    beat = Beat(trio.current_time() + 1)

    with trio.move_on_after(0.5) as patience:
        await beat.wait_tick()

    assert patience.cancelled_caught
    assert beat.tick == 0
    assert await beat.wait_tick() == 0
    assert beat.tick == 1


@pytest.mark.parametrize("now_seconds", [0.0, 0.001, 0.0049, 0.005, 1234.5678, 987654.3219])
def test_a_session_begins_within_a_quarter_of_a_beat_on_the_grid_of_all_sessions(now_seconds: float) -> None:
    start_seconds = next_start_seconds(now_seconds)

    assert 0 <= start_seconds - now_seconds < GRID_SECONDS
    assert start_seconds / GRID_SECONDS == pytest.approx(round(start_seconds / GRID_SECONDS), abs=1e-6)


async def test_all_who_wait_for_one_moment_are_woken_then_and_only_one_of_them_sleeps(
    autojump_clock: trio.testing.MockClock,
) -> None:
    start_seconds = trio.current_time() + 1
    woken_seconds = []

    async def wait(start_seconds: float) -> None:
        beat = Beat(start_seconds)
        for _ in range(3):
            await beat.wait_tick()
            woken_seconds.append(round(trio.current_time() - start_seconds, 6))

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(wait, start_seconds + number * 1e-9)  # the grid's points are computed, and may differ
        await trio.testing.wait_all_tasks_blocked()
        deadlines = trio.lowlevel.current_statistics().seconds_to_next_deadline
        assert deadlines == pytest.approx(1)

    assert sorted(woken_seconds) == [0] * 5 + [0.02] * 5 + [0.04] * 5


@pytest.mark.parametrize("cancelled", range(3))
async def test_when_one_of_those_who_wait_is_cancelled_the_others_are_woken_all_the_same(
    autojump_clock: trio.testing.MockClock, cancelled: int
) -> None:
    start_seconds = trio.current_time() + 1
    scopes = [trio.CancelScope() for _ in range(3)]
    woken_seconds = []

    async def wait(scope: trio.CancelScope) -> None:
        with scope:
            await Beat(start_seconds).wait_tick()
            woken_seconds.append(trio.current_time() - start_seconds)

    async with trio.open_nursery() as nursery:
        for scope in scopes:
            nursery.start_soon(wait, scope)
            await trio.testing.wait_all_tasks_blocked()
        scopes[cancelled].cancel()

    assert woken_seconds == pytest.approx([0, 0])


async def test_who_is_woken_and_cancelled_at_once_leaves_nobody_behind(autojump_clock: trio.testing.MockClock) -> None:
    start_seconds = trio.current_time() + 1

    with trio.move_on_at(start_seconds):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(Beat(start_seconds).wait_tick)

    assert await Beat(start_seconds).wait_tick() == 0
