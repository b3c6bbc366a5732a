"""The people as one link after another sees them: one beat, one grid, and no click where a link is left."""

from itertools import pairwise

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from plexbridge.audio.pcm import FRAME_SECONDS, PEOPLE_FRAME_SAMPLES, PEOPLE_RATE_HZ, Samples
from plexbridge.session.beat import Beat
from plexbridge.session.relayed import RelayedPeople
from plexbridge.session.renewal import Renewal, Successor
from tests.session.simulation import ScriptedPeople, tone


def hum(tick: int) -> Samples:
    """Return 20 ms at 48 kHz of a low tone, continued from tick to tick."""
    positions = np.arange(PEOPLE_FRAME_SAMPLES) + tick * PEOPLE_FRAME_SAMPLES
    return (0.5 * np.sin(2 * np.pi * 200 * positions / PEOPLE_RATE_HZ)).astype(np.float32)


def never() -> Renewal:
    return Renewal(began_seconds=0.0, renew_seconds=None, handshake_seconds=0.0)


async def session(relayed: RelayedPeople, ticks: int, *, lags_behind: bool = False) -> float:
    """Hold a session of so many ticks, as capture and playback do; one that lags has not listened in its last tick."""
    gap_seconds = await relayed.wait_turn()
    relayed.watch(never(), lambda: None)
    beat = Beat(trio.current_time())
    for tick in range(ticks):
        await beat.wait_tick()
        if not (lags_behind and tick == ticks - 1):
            relayed.listen(beat.due_seconds)
        relayed.play(hum(tick), tick)
    return gap_seconds


async def test_sessions_that_follow_each_other_at_once_share_one_grid(autojump_clock: MockClock) -> None:
    people = ScriptedPeople(ticks=1000)
    relayed = RelayedPeople(people)

    gaps = [await session(relayed, ticks, lags_behind=True) for ticks in (5, 7, 3)]

    assert gaps == [0.0, pytest.approx(FRAME_SECONDS), pytest.approx(FRAME_SECONDS)]
    assert [tick for tick, _ in people.played] == list(range(15))
    assert people.said == 14, "what one has not listened to, the next one does not hear"
    assert relayed.unheard_frames == 2
    assert trio.current_time() == pytest.approx(14 * FRAME_SECONDS)


async def test_after_a_gap_the_next_session_begins_on_the_grid_and_the_gap_is_told(autojump_clock: MockClock) -> None:
    people = ScriptedPeople(ticks=1000, script=lambda tick: tone(tick) if tick >= 8 else None)
    relayed = RelayedPeople(people)
    await session(relayed, 5)
    await trio.sleep(0.0951)

    gap_seconds = await session(relayed, 5)

    assert gap_seconds == pytest.approx(5 * FRAME_SECONDS)
    assert [tick for tick, _ in people.played] == [*range(5), *range(9, 14)]
    assert people.said == 14
    assert relayed.unheard_frames == 1, "of four ticks, somebody spoke in one"


async def test_in_a_pause_the_beat_goes_on_and_speech_is_counted_until_the_people_leave(
    autojump_clock: MockClock,
) -> None:
    people = ScriptedPeople(ticks=30, script=lambda tick: tone(tick) if tick % 2 else None)
    relayed = RelayedPeople(people)
    await session(relayed, 5)

    await relayed.pause()

    assert [tick for tick, _ in people.played] == list(range(30))
    assert relayed.unheard_frames == 13
    assert not any(samples.any() for _, samples in people.played[5:])


async def test_a_pause_that_begins_late_stays_on_the_grid(autojump_clock: MockClock) -> None:
    def script(tick: int) -> Samples | None:
        if tick == 5:  # dropped just before the first one of the pause
            autojump_clock.jump(0.007)
        ticks_due.append(trio.current_time() / FRAME_SECONDS)
        return None

    ticks_due: list[float] = []
    relayed = RelayedPeople(ScriptedPeople(ticks=30, script=script))
    await session(relayed, 5)
    await trio.sleep(0.0351)

    await relayed.pause()

    assert ticks_due[7:] == pytest.approx(range(7, 30))


async def test_a_stalled_pause_makes_nothing_up(autojump_clock: MockClock) -> None:
    def script(tick: int) -> Samples | None:
        if tick == 10:  # something holds the whole process up
            autojump_clock.jump(0.3)
        return None

    people = ScriptedPeople(ticks=60, script=script)
    relayed = RelayedPeople(people)
    await session(relayed, 5)

    await relayed.pause()

    assert people.skipped == pytest.approx(14, abs=1)
    assert trio.current_time() == pytest.approx(60 * FRAME_SECONDS, abs=FRAME_SECONDS)


async def test_the_last_frame_of_a_link_fades_out_and_says_that_it_was_the_last(autojump_clock: MockClock) -> None:
    people, left = ScriptedPeople(ticks=1000), list[float]()
    relayed = RelayedPeople(people)
    await relayed.wait_turn()
    renewal = Renewal(began_seconds=trio.current_time(), renew_seconds=0.1, handshake_seconds=0.0)
    renewal.successor = Successor.UNKNOWN
    relayed.watch(renewal, lambda: left.append(trio.current_time()))

    for tick in range(6):
        await trio.sleep_until(tick * FRAME_SECONDS)
        relayed.play(hum(tick), tick)
    await session(relayed, 2)

    assert left == [pytest.approx(0.1)]
    heard = np.concatenate([samples for _, samples in people.played[:6]])
    assert not people.played[5][1][240:].any()
    assert (
        max(abs(later - earlier) for earlier, later in pairwise(heard.tolist())) < 1.5 * np.abs(np.diff(hum(1))).max()
    )


async def test_a_sound_is_added_to_whatever_is_played_within_full_scale(autojump_clock: MockClock) -> None:
    people = ScriptedPeople(ticks=1000)
    relayed = RelayedPeople(people)
    relayed.sound([np.full(PEOPLE_FRAME_SAMPLES, 0.25, np.float32), np.full(PEOPLE_FRAME_SAMPLES, 0.9, np.float32)])

    await session(relayed, 3)

    first, second, third = (samples for _, samples in people.played)
    assert np.array_equal(first, hum(0) + np.float32(0.25))
    assert second.max() == 1.0
    assert np.array_equal(third, hum(2))
