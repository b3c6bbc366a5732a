"""A recording that runs: every frame is taken at once, whatever the disk does, in simulated time."""

import logging

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from plexbridge.audio.pcm import FRAME_SECONDS, PEOPLE_FRAME_SAMPLES, UPLINK_FRAME_SAMPLES, Samples, silence
from plexbridge.errors import RecordingError
from plexbridge.recording.files import Dropped, Forget, Sound
from plexbridge.recording.recorder import (
    CLOSE_SECONDS,
    QUEUE_LIMIT_FRAMES,
    SLOW_SENTENCE,
    WRITE_SECONDS,
    Ending,
    Recorder,
)
from tests.recording.disk import ADA, BOB, FakeDisk

WORD: Samples = np.ones(UPLINK_FRAME_SAMPLES, np.float32)
ANSWER: Samples = np.ones(PEOPLE_FRAME_SAMPLES, np.float32)


async def talk(recorder: Recorder, seconds: float, *people: str) -> None:
    """Let people talk, and the model answer."""
    start_seconds = trio.current_time()
    for tick in range(round(seconds / FRAME_SECONDS)):
        due_seconds = start_seconds + tick * FRAME_SECONDS
        await trio.sleep_until(due_seconds)
        for person in people:
            recorder.spoke(person, WORD, is_speech=True, now_seconds=due_seconds)
        recorder.played(ANSWER, due_seconds)
    await trio.sleep_until(start_seconds + seconds)


async def test_each_frame_lies_where_it_was_said(autojump_clock: MockClock) -> None:
    disk = FakeDisk()
    await trio.sleep(7)
    recorder = disk.recorder()
    recorder.spoke(ADA, WORD, is_speech=False, now_seconds=7.0)
    recorder.spoke(BOB, WORD, is_speech=True, now_seconds=7.5)
    recorder.played(ANSWER, 7.01)
    recorder.played(silence(PEOPLE_FRAME_SAMPLES), 7.03)
    recorder.played(1e-6 * ANSWER, 7.05)
    recorder.spoke(ADA, WORD, is_speech=True, now_seconds=6.5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        await trio.sleep(2)
        recorder.stop()

    assert disk.sounds == [(ADA, "Ada", 0.0), (BOB, "Bob", 25.0), (None, "model", 0.5)]
    assert recorder.people == {ADA, BOB}
    assert disk.closed_frame == 100


async def test_what_has_come_is_written_at_least_once_a_second(autojump_clock: MockClock) -> None:
    disk = FakeDisk()
    recorder = disk.recorder()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        await talk(recorder, 10.2, ADA)

        assert WRITE_SECONDS < 1
        assert disk.sounds[-1][2] >= 510 - 25 - 2
        assert disk.frames == [25 * number for number in range(1, 21)]
        nursery.cancel_scope.cancel()


async def test_it_ends_with_all_that_was_said_when_it_is_cancelled(autojump_clock: MockClock) -> None:
    disk = FakeDisk()
    recorder = disk.recorder()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        await talk(recorder, 3.3, ADA)
        nursery.cancel_scope.cancel()

    assert [place for person, _, place in disk.sounds if person == ADA] == pytest.approx(range(165))
    assert disk.closed_frame == pytest.approx(165, abs=1)


async def test_a_disk_that_hangs_holds_nobody_up_and_what_is_missing_is_counted_and_told_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FakeDisk()
    recorder = disk.recorder()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        await talk(recorder, 1, ADA)
        for _ in range(2):
            disk.delay_seconds = 90.0
            await talk(recorder, 1, ADA)
            disk.delay_seconds = 0.0  # for those that come after the one that hangs now
            await talk(recorder, 149, ADA)
        recorder.stop()

    assert disk.said == [SLOW_SENTENCE]
    gaps = [event for event in disk.events if isinstance(event, Dropped)]
    assert len(gaps) == 2
    assert sum(gap.count for gap in gaps) == recorder.dropped_frames
    assert recorder.dropped_frames == pytest.approx(2 * (90 * 100 - QUEUE_LIMIT_FRAMES), abs=200)
    assert len(disk.sounds) + recorder.dropped_frames == 2 * 301 * 50
    missing = {place for gap in gaps for place in range(round(gap.from_frames), round(gap.to_frames))}
    assert {round(place) for _, _, place in disk.sounds} == set(range(301 * 50)) - missing
    logged = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(logged) == 2, "when it begins, and how much it was at the end"
    assert f"lacks {recorder.dropped_frames} frames" in logged[1]


async def test_a_disk_that_hangs_at_the_end_is_left(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FakeDisk(delay_seconds=1_000.0)
    recorder = disk.recorder()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(recorder.run)
        await talk(recorder, 3, ADA)
        nursery.cancel_scope.cancel()

    assert trio.current_time() == pytest.approx(3 + CLOSE_SECONDS, abs=0.05)
    assert "the disk does not answer" in caplog.text


async def test_a_disk_that_refuses_ends_the_recording_and_no_more(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FakeDisk()
    recorder = disk.recorder()
    endings: list[Ending] = []

    async def run() -> None:
        endings.append(await recorder.run())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await talk(recorder, 1, ADA)
        disk.fault = RecordingError("No space left on device")
        await talk(recorder, 2, ADA)
        recorder.forget(ADA)

    assert endings == [Ending.FAILED]
    assert disk.is_abandoned
    assert caplog.text.count("No space left on device") == 1


async def test_a_disk_that_refuses_only_the_end_is_a_failure_too(autojump_clock: MockClock) -> None:
    disk = FakeDisk()
    recorder = disk.recorder()
    disk.fault = RecordingError("gone")
    recorder.stop()

    assert await recorder.run() is Ending.FAILED


async def test_it_ends_at_its_limit(autojump_clock: MockClock) -> None:
    disk = FakeDisk()
    recorder = disk.recorder(limit_seconds=60)

    assert await recorder.run() is Ending.TOO_LONG

    assert disk.closed_frame == pytest.approx(3_000, abs=30)


async def test_the_first_reason_to_end_counts(autojump_clock: MockClock) -> None:
    recorder = FakeDisk().recorder()
    recorder.stop(Ending.TOO_LARGE)
    recorder.stop()

    assert await recorder.run() is Ending.TOO_LARGE


async def test_who_is_forgotten_is_deleted_once_and_taken_again_when_they_speak(autojump_clock: MockClock) -> None:
    disk = FakeDisk()
    recorder = disk.recorder()
    recorder.spoke(ADA, WORD, is_speech=True, now_seconds=0.0)
    recorder.forget(ADA)
    recorder.forget(ADA)
    recorder.forget(BOB)
    assert recorder.people == frozenset()
    recorder.spoke(ADA, WORD, is_speech=True, now_seconds=1.0)
    recorder.stop()
    await recorder.run()

    assert [type(event) for event in disk.events] == [Sound, Forget, Sound]
    assert recorder.people == {ADA}


async def test_who_is_forgotten_is_so_though_the_queue_is_full(autojump_clock: MockClock) -> None:
    disk = FakeDisk()
    recorder = disk.recorder()
    for tick in range(QUEUE_LIMIT_FRAMES + 10):
        recorder.spoke(ADA, WORD, is_speech=True, now_seconds=tick * FRAME_SECONDS)
    recorder.forget(ADA)
    recorder.stop()
    await recorder.run()

    assert Forget(ADA) in disk.events
