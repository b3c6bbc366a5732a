"""Voice activity: speech is found, what is no speech is not, and silence costs nothing."""

from collections.abc import Iterable
from functools import cache

import numpy as np
import pytest
import soundfile

from plexbridge.audio.pcm import MODEL_RATE_HZ, UPLINK_FRAME_SAMPLES, Samples, level_dbfs, silence
from plexbridge.audio.vad import HANGOVER_FRAMES, Networks, VoiceDetector
from tests.command import SPEECH

NETWORKS = Networks()
NETWORKS.make(2)
SECOND = MODEL_RATE_HZ


@cache
def speech() -> Samples:
    samples, rate_hz = soundfile.read(SPEECH, dtype="float32")
    assert rate_hz == MODEL_RATE_HZ
    return np.asarray(samples, np.float32)


def frames(samples: Samples) -> list[Samples]:
    whole = samples.size // UPLINK_FRAME_SAMPLES * UPLINK_FRAME_SAMPLES
    return list(samples[:whole].reshape(-1, UPLINK_FRAME_SAMPLES))


def noises(seconds: float) -> dict[str, Samples]:
    """Return what is no speech."""
    count = round(seconds * SECOND)
    chance, clock = np.random.default_rng(5), np.arange(count) / SECOND
    click = chance.standard_normal(400) * np.exp(-np.arange(400) / 60) * 0.3
    clicks = np.zeros(count)
    for start in chance.integers(0, count - 400, round(6 * seconds)):
        clicks[start : start + 400] += click
    kinds = {
        "white noise": 0.02 * chance.standard_normal(count),
        "typing": clicks,
        "hum": 0.02 * np.sin(2 * np.pi * 50 * clock) + 0.01 * np.sin(2 * np.pi * 150 * clock),
        "a whistle": 0.3 * np.sin(2 * np.pi * 440 * clock),
    }
    return {name: sound.astype(np.float32) for name, sound in kinds.items()}


def judged(detector: VoiceDetector, sound: Iterable[Samples | None]) -> list[bool]:
    """Return of each frame whether it was speech; None is a tick in which nothing came."""
    found = []
    for frame in sound:
        if frame is None:
            detector.pause()
        else:
            detector.push(frame)
        found.append(detector.is_voice)
    return found


def test_speech_is_found_within_60_ms_and_to_its_end() -> None:
    detector = VoiceDetector(NETWORKS)
    loud = [level_dbfs(frame) > -40 for frame in frames(speech())]

    found = judged(detector, frames(speech()))
    detector.close()

    assert 0 <= found.index(True) - loud.index(True) <= 3
    both = sum(one and other for one, other in zip(found, loud, strict=True))
    assert both / sum(loud) > 0.95
    assert both / sum(found) > 0.8, "between words it may go on"


@pytest.mark.parametrize("kind", noises(1))
def test_noise_is_no_speech(kind: str) -> None:
    detector = VoiceDetector(NETWORKS)

    assert not any(judged(detector, frames(noises(10)[kind])))
    assert not detector.is_speaking
    detector.close()


@pytest.mark.parametrize("kind", noises(1))
def test_speech_is_found_in_noise(kind: str) -> None:
    detector = VoiceDetector(NETWORKS)
    mixed = speech() + noises(speech().size / SECOND)[kind][: speech().size] * np.float32(0.5)
    loud = [level_dbfs(frame) > -40 for frame in frames(speech())]

    found = judged(detector, frames(mixed))
    detector.close()

    assert sum(one and other for one, other in zip(found, loud, strict=True)) / sum(loud) > 0.9


def test_a_sentence_goes_on_over_a_pause_and_ends_after_a_longer_one() -> None:
    detector = VoiceDetector(NETWORKS)
    word = frames(speech()[: SECOND // 2])
    judged(detector, word)
    assert detector.is_speaking

    states = []
    for _ in range(HANGOVER_FRAMES + 5):
        detector.pause()
        states.append(detector.is_speaking)
        assert not detector.is_voice
    detector.close()

    assert states == [True] * (HANGOVER_FRAMES - 1) + [False] * 6


def test_a_network_is_lent_for_as_long_as_there_is_a_sound() -> None:
    networks = Networks(limit=1)
    networks.make()
    first, second = VoiceDetector(networks), VoiceDetector(networks)

    judged(first, frames(speech()[:SECOND]))
    assert networks.borrow() is None
    judged(first, [None] * 100)
    found = judged(second, frames(speech()[:SECOND]))

    assert second.probability > 0
    assert any(found)
    second.close()
    second.close()
    assert networks.borrow() is not None


def test_networks_are_scarce_until_some_are_spare_or_the_limit_is_reached() -> None:
    networks = Networks(limit=3)
    seen = []
    lent = []
    for _ in range(5):
        seen.append(networks.are_scarce)
        if networks.are_scarce:
            networks.make()
    for _ in range(3):
        lent.append(networks.borrow())
        seen.append(networks.are_scarce)
        networks.make()

    assert seen == [True, True, False, False, False, True, False, False]
    assert [network is None for network in lent] == [False, False, False]
    assert networks.borrow() is None


def test_a_network_that_comes_while_somebody_speaks_is_taken_at_once() -> None:
    networks = Networks(limit=1)
    detector = VoiceDetector(networks)
    judged(detector, frames(speech()[:SECOND]))
    assert detector.probability == 0

    networks.make()
    judged(detector, frames(speech()[SECOND : 2 * SECOND]))

    assert detector.probability > 0
    detector.close()


def test_where_all_networks_are_lent_the_pre_gate_decides() -> None:
    detector = VoiceDetector(Networks())

    assert any(judged(detector, frames(speech()[:SECOND])))
    assert not any(judged(detector, [silence(UPLINK_FRAME_SAMPLES)] * 50)[20:])


def test_who_borrows_a_network_hears_nothing_of_what_it_heard_before() -> None:
    networks, others = Networks(limit=1), Networks(limit=1)
    networks.make()
    others.make()
    fresh = VoiceDetector(others)
    used, next_one = VoiceDetector(networks), VoiceDetector(networks)
    judged(used, frames(speech()[::-1][: 2 * SECOND]))
    used.close()

    probabilities = []
    for frame in frames(speech()[:SECOND]):
        next_one.push(frame)
        fresh.push(frame)
        probabilities.append((next_one.probability, fresh.probability))

    assert all(one == other for one, other in probabilities)
