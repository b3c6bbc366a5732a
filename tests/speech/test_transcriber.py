"""Several speakers at the same time, each apart, whatever becomes of the others."""

from collections.abc import Iterable, Mapping

import numpy as np
import pytest
import trio
import trio.testing

from plexbridge.audio.pcm import FRAME_SECONDS, UPLINK_FRAME_SAMPLES, Samples
from plexbridge.speech.engine import Gap, Recognized, Show, Sound
from plexbridge.speech.transcriber import SPEAKER_LIMIT, Transcriber
from tests.speech.scripted import VOICE, Scripted, Told, attentive, hanging

ADA, BOB = 1, 2
Spans = Iterable[tuple[float, float]]


def sound_of(speaker: int) -> Samples:
    return np.full(UPLINK_FRAME_SAMPLES, speaker, np.float32)


async def talk(transcriber: Transcriber, speech: Mapping[int, Spans], seconds: float) -> None:
    """Let people speak in these spans, in real time."""
    start_seconds = trio.current_time()
    for tick in range(round(seconds / FRAME_SECONDS)):
        at = tick * FRAME_SECONDS
        speaking = [who for who, spans in speech.items() if any(start <= at + 1e-9 < end for start, end in spans)]
        transcriber.hear({who: sound_of(who) for who in speaking}, speaking, start_seconds + at)
        await trio.sleep_until(start_seconds + (tick + 1) * FRAME_SECONDS)


async def whose(sound: Sound, show: Show) -> Recognized:
    """Say whose sound an utterance has."""
    reader, speakers = sound.reader(24_000), set[int]()
    while (chunk := await reader.read()) is not None:
        speakers |= {int(value) for value in np.unique(chunk)}
    return Recognized(" ".join(map(str, sorted(speakers - {0}))))


async def test_two_people_who_speak_at_the_same_time_are_told_apart(autojump_clock: trio.testing.MockClock) -> None:
    told = Told()
    transcriber = Transcriber(Scripted(whose), told, answer_seconds=5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transcriber.run)
        await talk(transcriber, {ADA: [(1, 3), (5, 6)], BOB: [(2, 4), (5, 6)]}, 8)
        assert len(told.finals) == 4  # silence has told that they are over
        transcriber.close()

    told.check_one_outcome_each()
    found = {(each.speaker, each.text): (each.start_seconds, each.end_seconds) for each in told.finals}
    assert len(told.finals) == 4
    assert {speaker for speaker, text in found if text == str(speaker)} == {ADA, BOB}
    times = sorted((each.speaker, each.start_seconds, each.end_seconds) for each in told.finals)
    assert np.array(times) == pytest.approx(np.array([(1, 1, 3), (1, 5, 6), (2, 2, 4), (2, 5, 6)]))


async def test_an_engine_that_hangs_for_one_has_the_other_s_text(autojump_clock: trio.testing.MockClock) -> None:
    async def fair_to_bob(sound: Sound, show: Show) -> Recognized:
        chunk = await sound.reader(24_000).read()
        assert chunk is not None
        return await (hanging if int(chunk[0]) == ADA else attentive)(sound, show)

    told = Told()
    transcriber = Transcriber(Scripted(fair_to_bob), told, answer_seconds=5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transcriber.run)
        await talk(transcriber, {ADA: [(0, 2)], BOB: [(0, 2)]}, 4)
        transcriber.close()

    assert [each.speaker for each in told.finals] == [BOB]
    assert [(each.speaker, each.reason) for each in told.missing] == [(ADA, Gap.UNANSWERED)]


async def test_the_audio_s_side_never_waits_for_an_engine(autojump_clock: trio.testing.MockClock) -> None:
    ticks_seconds: list[float] = []

    async def run_with(engine: Scripted) -> None:
        transcriber = Transcriber(engine, Told(), answer_seconds=5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transcriber.run)
            start_seconds = trio.current_time()
            for tick in range(3_000):
                before_seconds = trio.current_time()
                transcriber.hear({ADA: VOICE}, {ADA}, before_seconds)
                assert trio.current_time() == before_seconds
                await trio.sleep_until(start_seconds + (tick + 1) * FRAME_SECONDS)
            ticks_seconds.append(trio.current_time() - start_seconds)
            nursery.cancel_scope.cancel()

    await run_with(Scripted(attentive))
    await run_with(Scripted(hanging))

    assert ticks_seconds == pytest.approx([60.0, 60.0])


async def test_who_leaves_in_a_sentence_has_it_transcribed(autojump_clock: trio.testing.MockClock) -> None:
    told = Told()
    transcriber = Transcriber(Scripted(whose), told, answer_seconds=5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transcriber.run)
        await talk(transcriber, {ADA: [(0, 2)], BOB: [(0, 2)]}, 1)
        transcriber.leave(ADA)
        transcriber.leave(99)
        await trio.testing.wait_all_tasks_blocked()
        assert [(each.speaker, each.text) for each in told.finals] == [(ADA, "1")]
        assert set(transcriber.statistics()) == {BOB}
        nursery.cancel_scope.cancel()

    assert [(each.speaker, each.reason) for each in told.missing] == [(BOB, Gap.STOPPED)]


async def test_who_comes_back_is_transcribed_again(autojump_clock: trio.testing.MockClock) -> None:
    told = Told()
    transcriber = Transcriber(Scripted(whose), told, answer_seconds=5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transcriber.run)
        await talk(transcriber, {ADA: [(0, 1)]}, 2)
        transcriber.leave(ADA)
        await talk(transcriber, {ADA: [(0, 1)]}, 2)
        transcriber.close()

    assert [each.speaker for each in told.finals] == [ADA, ADA]


async def test_more_people_than_the_limit_are_counted_and_not_heard(autojump_clock: trio.testing.MockClock) -> None:
    told = Told()
    transcriber = Transcriber(Scripted(attentive), told, answer_seconds=5)
    everybody = dict.fromkeys(range(SPEAKER_LIMIT + 2), VOICE)

    transcriber.hear(everybody, set(everybody), 0)
    transcriber.hear(everybody, set(everybody), FRAME_SECONDS)

    assert transcriber.unheard_frames == 4
    assert len(told.begun) == SPEAKER_LIMIT


async def test_nothing_is_heard_after_the_end(autojump_clock: trio.testing.MockClock) -> None:
    told = Told()
    transcriber = Transcriber(Scripted(attentive), told, answer_seconds=5)
    transcriber.close()

    transcriber.hear({ADA: VOICE}, {ADA}, 0)
    with trio.fail_after(1):
        await transcriber.run()

    assert not told.events
