"""Barge-in: when somebody has taken over, what the rest of an answer is, and that it is never played."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from plexbridge.audio.ogg import OggOpusWriter
from plexbridge.audio.opus import Application, Encoder, EncoderSettings
from plexbridge.audio.pcm import FRAME_SECONDS, MODEL_FRAME_SAMPLES, MODEL_RATE_HZ, Samples, level_dbfs, silence
from plexbridge.model.protocol import Audio
from plexbridge.session.exchange import Reply
from plexbridge.session.ledger import Ledger, Shed
from plexbridge.session.playback import play
from plexbridge.session.takeover import PAUSE_FRAMES, TAKEOVER_FRAMES, Takeover
from tests.session.simulation import ScriptedPeople

SPEECH, PAUSE = True, False


def take(*said: tuple[bool, int]) -> Takeover:
    """Return what has heard so many ticks of speech or silence, one run after the other."""
    takeover = Takeover()
    for is_speech, ticks in said:
        for _ in range(ticks):
            takeover.heard(is_silent=not is_speech)
    return takeover


@pytest.mark.parametrize(
    ("said", "is_taken"),
    [
        ((), False),
        (((SPEECH, TAKEOVER_FRAMES - 1),), False),
        (((SPEECH, TAKEOVER_FRAMES),), True),
        (((SPEECH, 5), (PAUSE, PAUSE_FRAMES), (SPEECH, 5)), True),
        (((SPEECH, 5), (PAUSE, PAUSE_FRAMES + 1), (SPEECH, 5)), False),
        (((SPEECH, 50), (PAUSE, PAUSE_FRAMES + 1)), False),
    ],
)
def test_who_has_spoken_for_200_ms_without_a_real_pause_has_taken_over(
    said: tuple[tuple[bool, int], ...], is_taken: bool
) -> None:
    assert take(*said).is_taken is is_taken


class Mouth:
    """A model's audio, message by message."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._writer = OggOpusWriter(serial=1, input_rate_hz=MODEL_RATE_HZ, pre_skip_samples=312)
        self._head = b"".join(self._writer.headers())
        self._position = 0

    def say(self, *, is_speech: bool) -> Audio:
        """Return the next 80 ms."""
        positions = self._position + np.arange(MODEL_FRAME_SAMPLES)
        self._position += MODEL_FRAME_SAMPLES
        tone: Samples = (0.3 * np.sin(2 * np.pi * 300 * positions / MODEL_RATE_HZ)).astype(np.float32)
        page = self._writer.page(self._encoder.encode(tone if is_speech else silence(MODEL_FRAME_SAMPLES)))
        head, self._head = self._head, b""
        return Audio(head + page)


@dataclass
class Played:
    """What came of a script for playback."""

    people: ScriptedPeople = field(default_factory=lambda: ScriptedPeople(ticks=0))
    ledger: Ledger = field(default_factory=Ledger)
    takeover: Takeover = field(default_factory=Takeover)

    @property
    def speech_ms(self) -> int:
        """How long a tone was heard."""
        return 20 * sum(level_dbfs(samples) > -40 for _, samples in self.people.played)


async def play_answer(
    *, spoken_ticks: int | None, stale: int = 0, packets: tuple[bool, ...] = (SPEECH, PAUSE, PAUSE, PAUSE)
) -> Played:
    """Play an answer, three messages of it at once, to somebody who has spoken for so many ticks and goes on.

    None: nobody speaks. And `stale` more messages of speech come late: before the answer is cut short, but they are
    read only 100 ms after that.
    """
    result = Played()
    with Encoder(rate_hz=MODEL_RATE_HZ, settings=EncoderSettings(Application.VOIP, 5, 26_000)) as encoder:
        mouth = Mouth(encoder)
        to_playback, replies = trio.open_memory_channel[Reply](20)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_play, replies, result)
            for _ in range(spoken_ticks or 0):
                result.takeover.heard(is_silent=False)
            async with to_playback:
                epoch = result.takeover.epoch
                for number, is_speech in enumerate(packets):
                    if number == 3:
                        await trio.sleep(3 * FRAME_SECONDS)
                    to_playback.send_nowait(Reply(mouth.say(is_speech=is_speech), trio.current_time(), epoch))
                for tick in range(20):
                    result.takeover.heard(is_silent=spoken_ticks is None)
                    await trio.sleep(FRAME_SECONDS)
                    if tick == 12:
                        for _ in range(stale):
                            to_playback.send_nowait(Reply(mouth.say(is_speech=True), trio.current_time(), epoch))
    return result


async def _play(replies: trio.MemoryReceiveChannel[Reply], result: Played) -> None:
    await play(
        replies,
        result.people,
        start_seconds=trio.current_time(),
        minimum_seconds=0.1,
        maximum_seconds=0.12,
        ledger=result.ledger,
        takeover=result.takeover,
    )


async def test_the_rest_of_an_answer_is_dropped_when_somebody_takes_over_and_the_model_has_fallen_silent(
    autojump_clock: MockClock,
) -> None:
    undisturbed = await play_answer(spoken_ticks=None)
    cut_short = await play_answer(spoken_ticks=6)

    assert undisturbed.takeover.epoch == 0
    assert undisturbed.speech_ms >= 80
    assert Shed.DOWNLINK_FLUSHED not in undisturbed.ledger.shed_frames
    assert cut_short.takeover.epoch == 1
    assert cut_short.speech_ms <= undisturbed.speech_ms - 40
    assert cut_short.ledger.shed_frames[Shed.DOWNLINK_FLUSHED] >= 2


async def test_what_came_before_an_answer_was_cut_short_is_never_played_however_late(autojump_clock: MockClock) -> None:
    without = await play_answer(spoken_ticks=6)
    late = await play_answer(spoken_ticks=6, stale=3)

    assert late.takeover.epoch == without.takeover.epoch == 1
    assert late.speech_ms == without.speech_ms
    assert late.ledger.samples_received == without.ledger.samples_received + 3 * MODEL_FRAME_SAMPLES, "it was answered"
    flushed = [played.ledger.shed_frames[Shed.DOWNLINK_FLUSHED] for played in (without, late)]
    assert flushed[1] == flushed[0] + 12


async def test_speech_over_a_model_that_goes_on_speaking_cuts_nothing(autojump_clock: MockClock) -> None:
    result = await play_answer(spoken_ticks=6, packets=(SPEECH,) * 4)

    assert result.takeover.epoch == 0
    assert not result.ledger.shed_frames
