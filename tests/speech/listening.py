"""Recordings as people's speech: cut by the real detector, fed as fast as a line has room."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import soxr
import trio

from plexbridge.audio.pcm import FRAME_SECONDS, MODEL_RATE_HZ, UPLINK_FRAME_SAMPLES, Samples, level_dbfs
from plexbridge.audio.vad import QUIET_DBFS, Networks, VoiceDetector
from plexbridge.speech.engine import Final, SpeechEngine
from plexbridge.speech.line import SpeechLine
from tests.sentences import RATE_HZ, Said
from tests.speech.scripted import Told

TOLERANCE_SECONDS = 0.2
"""How far a time may be from the truth."""


def frames_of(recording: Samples) -> Iterator[tuple[Samples, bool]]:
    """Yield a recording at 16 kHz as frames of 20 ms at 24 kHz, and whether each is speech."""
    networks = Networks()
    networks.make()
    detector = VoiceDetector(networks)
    samples = np.asarray(soxr.resample(recording, RATE_HZ, MODEL_RATE_HZ), np.float32)
    for frame in samples[: samples.size // UPLINK_FRAME_SAMPLES * UPLINK_FRAME_SAMPLES].reshape(
        -1, UPLINK_FRAME_SAMPLES
    ):
        if level_dbfs(frame) < QUIET_DBFS:
            detector.pause()
        else:
            detector.push(frame)
        yield frame, detector.is_voice
    detector.close()


async def feed(line: SpeechLine, recording: Samples) -> None:
    """Let the line hear a whole recording, and close it."""
    for number, (frame, has_voice) in enumerate(frames_of(recording)):
        line.hear(frame, has_voice=has_voice, now_seconds=number * FRAME_SECONDS)
        if number % 10 == 0:
            await trio.lowlevel.checkpoint()
        await line.wait_room()
    line.close()


async def transcribe(engine: SpeechEngine, *recordings: Samples, answer_seconds: float = 20.0) -> Told:
    """Let speakers 0, 1 and so on say these recordings at the same time; return what was told of them."""
    told = Told()
    async with trio.open_nursery() as nursery:
        for speaker, recording in enumerate(recordings):
            line = SpeechLine(speaker, engine, told, answer_seconds=answer_seconds)
            nursery.start_soon(line.run)
            nursery.start_soon(feed, line, recording)
    told.check_one_outcome_each()
    return told


def check_said(finals: Sequence[Final], said: Sequence[Said]) -> None:
    """Each sentence was understood, and its times are right."""
    assert [each.text for each in finals] == [each.text for each in said]
    for final, truth in zip(finals, said, strict=True):
        assert final.start_seconds == pytest.approx(truth.start_seconds, abs=TOLERANCE_SECONDS)
        assert final.end_seconds == pytest.approx(truth.end_seconds, abs=TOLERANCE_SECONDS)
