"""The rules of a line: whatever the engine does, each utterance has one outcome, and nothing grows."""

import logging
import tracemalloc

import numpy as np
import pytest
import trio
import trio.testing

from plexbridge.audio.pcm import FRAME_SECONDS
from plexbridge.errors import SpeechError
from plexbridge.speech.engine import TEXT_LIMIT_CHARS, Gap, Recognized, Show, Sound, Word
from plexbridge.speech.line import ATTEMPTS, BACKLOG_SECONDS, PARTIAL_SECONDS, LineStatistics, SpeechLine
from plexbridge.speech.utterances import LONGEST_FRAMES, SILENT_FRAME
from tests.speech.scripted import VOICE, Script, Scripted, Told, attentive, hanging, heard, speak

SPEAKER = 7
ANSWER_SECONDS = 5.0


def open_line(engine: Scripted, told: Told) -> SpeechLine:
    return SpeechLine(SPEAKER, engine, told, answer_seconds=ANSWER_SECONDS)


async def transcribe(*scripts: Script, spans_seconds: tuple[float, ...] = (1.0,)) -> tuple[Told, Scripted, SpeechLine]:
    """Say something to an engine that plays these scripts; return what was told when all of it has its outcome."""
    told, engine = Told(), Scripted(*scripts)
    line = open_line(engine, told)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.run)
        await speak(line, *spans_seconds)
        line.close()
    told.check_one_outcome_each()
    return told, engine, line


async def failing(sound: Sound, show: Show) -> Recognized:
    raise SpeechError("a passing failure", is_passing=True)


async def refusing(sound: Sound, show: Show) -> Recognized:
    raise SpeechError("never")


async def buggy(sound: Sound, show: Show) -> Recognized:
    raise ZeroDivisionError("a bug")


async def test_an_utterance_becomes_a_final_with_its_times(autojump_clock: trio.testing.MockClock) -> None:
    told, _, line = await transcribe(attentive, spans_seconds=(1.0, 2.0))

    first, second = told.finals
    assert (first.speaker, first.utterance, second.utterance) == (SPEAKER, 1, 2)
    assert (first.start_seconds, first.end_seconds) == pytest.approx((0, 1))
    assert (second.start_seconds, second.end_seconds) == pytest.approx((2, 4))
    assert first.text == "80 frames"
    assert line.statistics() == LineStatistics(begun=2, final=2)


async def test_an_utterance_is_read_while_it_is_spoken(autojump_clock: trio.testing.MockClock) -> None:
    arrived_seconds: list[float] = []

    async def reading(sound: Sound, show: Show) -> Recognized:
        reader = sound.reader(24_000)
        while await reader.read() is not None:
            arrived_seconds.append(trio.current_time())
        return Recognized("")

    await transcribe(reading)

    assert arrived_seconds[0] < 0.1
    assert np.diff(arrived_seconds).max() < 0.1


async def test_the_sound_is_resampled_to_what_the_engine_wants(autojump_clock: trio.testing.MockClock) -> None:
    counts: list[int] = []

    async def at_16_khz(sound: Sound, show: Show) -> Recognized:
        reader, count = sound.reader(16_000), 0
        while (chunk := await reader.read()) is not None:
            assert chunk.dtype == np.float32
            count += chunk.size
        counts.append(count)
        return Recognized("")

    await transcribe(at_16_khz)

    assert counts == [80 * 320]


async def test_partial_texts_come_no_more_often_than_stated(autojump_clock: trio.testing.MockClock) -> None:
    async def flooding(sound: Sound, show: Show) -> Recognized:
        reader = sound.reader(24_000)
        while await reader.read() is not None:
            for number in range(1_000):
                show(f"word {number}" + "x" * 100_000)
        return Recognized("done")

    told, _, _ = await transcribe(flooding, spans_seconds=(3.0,))

    assert 10 < len(told.partials) <= 4.0 / PARTIAL_SECONDS
    assert max(len(each.text) for each in told.partials) == TEXT_LIMIT_CHARS
    assert told.partials[0].end_seconds < 0.2


async def test_a_text_without_end_is_not_believed(autojump_clock: trio.testing.MockClock) -> None:
    async def endless(sound: Sound, show: Show) -> Recognized:
        return Recognized("x" * (TEXT_LIMIT_CHARS + 1))

    told, _, _ = await transcribe(endless)

    assert [each.reason for each in told.missing] == [Gap.FAILED]


async def test_words_are_on_the_scale_of_the_utterance(autojump_clock: trio.testing.MockClock) -> None:
    async def exact(sound: Sound, show: Show) -> Recognized:
        await heard(sound)
        return Recognized("yes", (Word("yes", 0.25, 0.5),))

    told, _, _ = await transcribe(attentive, exact, spans_seconds=(1.0, 1.0))

    (word,) = told.finals[1].words
    assert (word.start_seconds, word.end_seconds) == pytest.approx((2.25, 2.5))


async def test_an_engine_that_hangs_costs_what_it_hangs_on_and_the_next_utterance_has_its_text(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told, _, line = await transcribe(hanging, attentive, spans_seconds=(2.0, 1.0))

    assert [(each.utterance, each.reason) for each in told.missing] == [(1, Gap.UNANSWERED)]
    assert (told.missing[0].start_seconds, told.missing[0].end_seconds) == pytest.approx((0, 2))
    assert [each.utterance for each in told.finals] == [2]
    assert line.statistics() == LineStatistics(begun=2, final=1, unanswered=1)


async def test_an_engine_that_hangs_on_an_utterance_that_had_to_wait_has_no_more_time_for_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def slow(sound: Sound, show: Show) -> Recognized:
        await heard(sound)
        await trio.sleep(4)
        return Recognized("late")

    with trio.fail_after(60):
        told, _, _ = await transcribe(slow, hanging, attentive, spans_seconds=(1.0, 1.0, 1.0))

    assert [(each.utterance, each.reason) for each in told.missing] == [(2, Gap.UNANSWERED)]
    assert [each.utterance for each in told.finals] == [1, 3]


async def test_an_engine_has_the_stated_time_and_the_utterance_s_length(autojump_clock: trio.testing.MockClock) -> None:
    async def slow(sound: Sound, show: Show) -> Recognized:
        frames = await heard(sound)
        await trio.sleep(ANSWER_SECONDS + frames * FRAME_SECONDS + late_seconds)
        return Recognized("at last")

    late_seconds = -0.05
    assert [each.text for each in (await transcribe(slow))[0].finals] == ["at last"]

    late_seconds = 0.05
    assert [each.reason for each in (await transcribe(slow))[0].missing] == [Gap.UNANSWERED]


async def test_an_engine_that_hangs_for_good_holds_no_more_than_the_backlog(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told, engine = Told(), Scripted(hanging)
    line = SpeechLine(SPEAKER, engine, told, answer_seconds=10_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.run)
        await speak(line, *[9.4] * 30)
        behind = line.statistics().behind
        # One is with the engine; the others that were not dropped wait, each 10 s long with its hangover.
        assert behind == 30 - 1 - int(BACKLOG_SECONDS // 10)
        assert [(each.utterance, each.reason) for each in told.missing] == [
            (number, Gap.BEHIND) for number in range(2, 2 + behind)
        ]
        nursery.cancel_scope.cancel()

    told.check_one_outcome_each()
    assert line.statistics() == LineStatistics(begun=30, behind=behind, stopped=30 - behind)


async def test_twenty_minutes_with_a_hanging_engine_do_not_grow_memory(autojump_clock: trio.testing.MockClock) -> None:
    told = Told()
    line = SpeechLine(SPEAKER, Scripted(hanging), told, answer_seconds=100_000)
    tick = 0

    def talk(minutes: int) -> None:
        nonlocal tick
        for _ in range(minutes * 60 * 50):
            # New sound every time, as it is when it comes from people.
            has_voice = tick % 500 < 400
            line.hear(VOICE.copy() if has_voice else None, has_voice=has_voice, now_seconds=tick * FRAME_SECONDS)
            tick += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.run)
        await trio.testing.wait_all_tasks_blocked()
        talk(3)
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        talk(17)
        growth_bytes = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        nursery.cancel_scope.cancel()

    assert line.statistics().begun == 120
    # What waits now was made while memory was traced; what was told takes 300 bytes each.
    assert growth_bytes < (BACKLOG_SECONDS + 30) * 50 * VOICE.nbytes * 1.3 + 1_000 * 120


async def test_a_passing_failure_is_tried_again_with_the_whole_sound(autojump_clock: trio.testing.MockClock) -> None:
    async def dying(sound: Sound, show: Show) -> Recognized:
        reader = sound.reader(24_000)
        await reader.read()
        await reader.read()
        raise SpeechError("died", is_passing=True)

    told, engine, _ = await transcribe(dying, dying, attentive)

    assert [each.text for each in told.finals] == ["80 frames"]
    assert engine.attempts == ATTEMPTS


async def test_what_fails_every_time_is_a_gap(autojump_clock: trio.testing.MockClock) -> None:
    told, engine, line = await transcribe(failing)

    assert [each.reason for each in told.missing] == [Gap.FAILED]
    assert engine.attempts == ATTEMPTS
    assert line.statistics() == LineStatistics(begun=1, failed=1)


async def test_what_fails_for_good_is_not_tried_again(autojump_clock: trio.testing.MockClock) -> None:
    told, engine, _ = await transcribe(refusing, attentive, spans_seconds=(1.0, 1.0))

    assert [each.utterance for each in told.missing] == [1]
    assert [each.utterance for each in told.finals] == [2]
    assert engine.attempts == 2


async def test_an_engine_that_asks_for_a_pause_gets_it(autojump_clock: trio.testing.MockClock) -> None:
    tried_seconds: list[float] = []

    async def busy(sound: Sound, show: Show) -> Recognized:
        tried_seconds.append(trio.current_time())
        raise SpeechError("busy", is_passing=True, retry_seconds=1.7)

    await transcribe(busy)

    assert np.diff(tried_seconds) == pytest.approx([1.7, 2.0])


async def test_a_bug_of_an_engine_costs_its_utterance_only(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    told, _, _ = await transcribe(buggy, attentive, spans_seconds=(1.0, 1.0))

    assert [each.utterance for each in told.missing] == [1]
    assert [each.utterance for each in told.finals] == [2]
    assert "ZeroDivisionError" in caplog.text


async def test_a_row_of_failures_is_logged_once_and_so_is_its_end(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "plexbridge")

    await transcribe(*[refusing] * 20, attentive, spans_seconds=(0.5,) * 22)

    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "the speech engine failed: never",
        "speech is not transcribed: the speech engine failed",
        "speech is transcribed again",
    ]


async def test_a_line_that_is_stopped_says_what_is_missing(autojump_clock: trio.testing.MockClock) -> None:
    told = Told()
    line = open_line(Scripted(hanging), told)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.run)
        await speak(line, 1.0, 1.0)
        await speak(line, 1.0, pause_seconds=0)
        nursery.cancel_scope.cancel()

    assert [(each.utterance, each.reason) for each in told.missing] == [
        (1, Gap.STOPPED),
        (2, Gap.STOPPED),
        (3, Gap.STOPPED),
    ]
    told.check_one_outcome_each()
    await speak(line, 1.0, 1.0)
    assert len(told.begun) == 3


async def test_a_line_that_is_closed_in_a_sentence_transcribes_it_and_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told = Told()
    line = open_line(Scripted(attentive), told)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.run)
            await speak(line, 1.0, pause_seconds=0)
            line.close()

    assert [each.text for each in told.finals] == ["50 frames"]
    assert told.finals[0].end_seconds == pytest.approx(1.0)


async def test_who_can_wait_for_room_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async def slow(sound: Sound, show: Show) -> Recognized:
        frames = await heard(sound)
        await trio.sleep(frames * FRAME_SECONDS)
        return Recognized(f"{frames}")

    told = Told()
    line = open_line(Scripted(slow), told)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.run)
        for tick in range(20 * 700):
            has_voice = tick % 700 < 600
            line.hear(VOICE, has_voice=has_voice, now_seconds=tick * FRAME_SECONDS)
            await line.wait_room()
        line.close()

    assert len(told.finals) == 20
    assert not told.missing


async def test_speech_without_a_pause_is_cut_into_utterances_of_half_a_minute(
    autojump_clock: trio.testing.MockClock,
) -> None:
    told, _, _ = await transcribe(attentive, spans_seconds=(70.0,))

    assert [round(each.end_seconds - each.start_seconds) for each in told.finals] == [30, 30, 10]
    assert told.finals[0].text == f"{LONGEST_FRAMES} frames"


async def test_an_idle_line_is_idle(autojump_clock: trio.testing.MockClock) -> None:
    line = open_line(Scripted(attentive), Told())
    assert line.is_idle

    line.hear(SILENT_FRAME, has_voice=True, now_seconds=0)

    assert not line.is_idle
