"""Plain 16-bit frames as sound: the filter, the seams between frames, and what stands in for what is missing."""

import numpy as np
import pytest

from plexbridge.audio.pcm import Samples, level_dbfs
from plexbridge.audio.pcm16 import FRAME_BYTES, Pcm16Decoder, frame_samples, pcm16_frame
from plexbridge.audio.speaker import Speaker
from plexbridge.errors import PacketError

DELAY_SAMPLES = 30.5 / 2
"""Of the filter, at 24 kHz."""


def tone(frequency_hz: float, count: int, rate_hz: int = 48_000) -> Samples:
    return (0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(count) / rate_hz)).astype(np.float32)


def frames(samples: Samples) -> list[bytes]:
    return [pcm16_frame(frame) for frame in samples.reshape(-1, 960)]


def decoded(samples: Samples) -> Samples:
    decoder = Pcm16Decoder()
    return np.concatenate([decoder.decode(frame) for frame in frames(samples)])


@pytest.mark.parametrize("frequency_hz", [50, 440, 3_000, 9_000])
def test_speech_passes_as_it_is_and_without_seams(frequency_hz: float) -> None:
    sound = decoded(tone(frequency_hz, 48_000))

    times = (np.arange(24_000) - DELAY_SAMPLES) / 24_000
    expected = 0.5 * np.sin(2 * np.pi * frequency_hz * times)
    assert sound.size == 24_000
    assert np.abs(sound[100:] - expected[100:]).max() < 0.003


@pytest.mark.parametrize("frequency_hz", [13_000, 15_000, 20_000])
def test_what_24_khz_can_not_hold_is_gone_and_does_not_fold_back(frequency_hz: float) -> None:
    assert level_dbfs(decoded(tone(frequency_hz, 48_000))[100:]) < -60


def test_a_frame_has_one_size() -> None:
    assert frame_samples(bytes(FRAME_BYTES)) == 960
    for size in (0, FRAME_BYTES - 2, FRAME_BYTES + 1):
        with pytest.raises(PacketError):
            frame_samples(bytes(size))
        with pytest.raises(PacketError):
            Pcm16Decoder().decode(bytes(size))


def test_what_is_missing_is_faded_out_without_a_click() -> None:
    decoder = Pcm16Decoder()
    before = np.concatenate([decoder.decode(frame) for frame in frames(tone(440, 4_800))])
    guess = decoder.conceal(480)
    later = decoder.conceal(480)

    joined = np.concatenate((before, guess))
    assert np.abs(np.diff(joined[-600:])).max() < 1.1 * np.abs(np.diff(before)).max()
    assert guess[:60].any()
    assert not guess[120:].any()
    assert not later.any()


def test_a_speaker_plays_plain_frames_by_the_rules_of_opus_packets() -> None:
    speaker = Speaker(Pcm16Decoder(), measure=frame_samples)
    sounds = frames(tone(440, 960 * 50))
    for sequence in range(30):
        speaker.push(sequence, sequence * 960, sounds[sequence], arrived_seconds=sequence * 0.02)
    heard = [speaker.frame() for _ in range(30)]

    statistics = speaker.statistics()
    assert sum(spoken is not None and spoken.arrived_seconds is not None for spoken in heard) == 6, "120 ms of a burst"
    assert statistics.jitter.shed == 24
    assert statistics.decoded_packets == 6
