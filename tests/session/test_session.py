"""A whole call in simulated time: what people hear, when, and how it ends."""

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from plexbridge.audio.pcm import FRAME_SECONDS, PEOPLE_FRAME_SAMPLES, level_dbfs
from plexbridge.errors import LinkError
from plexbridge.model.answers import SENTENCE, Turns
from plexbridge.model.conversation import State
from plexbridge.session.ledger import Ledger
from tests.session.simulation import ScriptedPeople, SimulatedModel, hold_call, tone


async def test_a_call_sends_a_frame_every_20_ms_and_plays_one_every_20_ms(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    people, ledger = ScriptedPeople(ticks=500), Ledger()

    await hold_call(SimulatedModel(nursery), people, ledger)

    assert ledger.frames_sent == 500
    assert [tick for tick, _ in people.played] == list(range(len(people.played)))
    assert len(people.played) == pytest.approx(500, abs=1)
    assert {samples.size for _, samples in people.played} == {PEOPLE_FRAME_SAMPLES}
    assert trio.current_time() == pytest.approx(500 * FRAME_SECONDS, abs=0.1)


async def test_what_was_said_comes_back_whole_and_at_one_constant_delay(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    people, ledger = ScriptedPeople(ticks=500), Ledger()

    await hold_call(SimulatedModel(nursery), people, ledger)

    levels = [level_dbfs(samples) for _, samples in people.played]
    onset = next(index for index, level in enumerate(levels) if level > -40)
    assert 80 <= onset * 20 <= 140, "one model frame and the playout buffer"
    assert all(level == pytest.approx(-12, abs=1) for level in levels[onset + 2 :])
    assert not ledger.shed_frames
    assert ledger.playout.concealed_samples == 0


async def test_silence_is_sent_like_speech_because_the_model_moves_only_when_it_is_fed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    people, ledger = ScriptedPeople(ticks=200, script=lambda tick: None), Ledger()

    await hold_call(SimulatedModel(nursery), people, ledger)

    assert ledger.frames_sent == 200
    assert ledger.samples_received == pytest.approx(200 * 480, abs=1920)


async def test_the_words_of_the_model_arrive_as_they_are_said(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    people = ScriptedPeople(ticks=500, script=lambda tick: tone(tick) if tick < 50 else None)

    await hold_call(SimulatedModel(nursery, Turns), people, Ledger())

    assert "".join(people.shown).strip() == SENTENCE


async def test_people_are_told_the_states_on_the_way_to_a_live_conversation(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    people = ScriptedPeople(ticks=5)

    await hold_call(SimulatedModel(nursery), people, Ledger())

    assert people.told == [State.CONNECTING, State.WAITING, State.LIVE]


async def test_a_second_caller_waits_until_the_first_has_left_and_is_served_then(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    model = SimulatedModel(nursery)
    first, second = ScriptedPeople(ticks=100), ScriptedPeople(ticks=10)
    ended: list[str] = []

    async def hold(name: str, people: ScriptedPeople) -> None:
        await hold_call(model, people, Ledger())
        ended.append(name)

    async with trio.open_nursery() as callers:
        callers.start_soon(hold, "first", first)
        await trio.sleep(1)
        callers.start_soon(hold, "second", second)

    assert ended == ["first", "second"]
    assert len(second.played) == pytest.approx(10, abs=1)
    assert trio.current_time() >= 100 * FRAME_SECONDS


@pytest.mark.parametrize("delay_seconds", [0.1, 0.4, 1.0, 2.0])
async def test_a_delayed_model_is_no_slow_model(
    delay_seconds: float, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    people, ledger = ScriptedPeople(ticks=500), Ledger()

    await hold_call(SimulatedModel(nursery, delay_seconds=delay_seconds), people, ledger)

    assert ledger.frames_sent == 500
    assert not ledger.shed_frames
    assert State.TOO_SLOW not in people.told


async def test_a_stalled_capture_sheds_what_it_missed_and_never_makes_it_up(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    stalls = {100: 0.3}

    def script(tick: int) -> np.ndarray:
        if tick in stalls:  # something holds the whole process up
            autojump_clock.jump(stalls.pop(tick))
        return tone(tick)

    people, ledger = ScriptedPeople(ticks=400, script=script), Ledger()

    await hold_call(SimulatedModel(nursery), people, ledger)

    assert people.skipped == pytest.approx(14, abs=1), "the ticks due within 0.3 s, but for the one that stalled"
    assert ledger.frames_sent == 400 - people.skipped
    assert trio.current_time() == pytest.approx(400 * FRAME_SECONDS, abs=0.1)


async def test_the_death_of_the_server_ends_the_call_with_a_link_error(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    model, people = SimulatedModel(nursery), ScriptedPeople(ticks=500)

    async def kill() -> None:
        await trio.sleep(1)
        await model.streams[1].aclose()

    nursery.start_soon(kill)
    with pytest.raises(ExceptionGroup) as caught:
        await hold_call(model, people, Ledger())

    assert caught.group_contains(LinkError)
    assert len(people.played) == pytest.approx(50, abs=2)
    assert not model.server.is_busy
