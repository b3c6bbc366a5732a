"""`python -m benchmarks.hearing`: what listening to one person costs, and how well speech is told from noise.

The material is what plexbridge ships: one spoken text and one spoken sentence, with pauses between them, clean and in
generated noises. What is speech is known from the level of the clean sound.
"""

import time
from collections.abc import Callable, Mapping
from importlib.resources import files

import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from plexbridge.audio.hearing import Hearing, HearingSettings
from plexbridge.audio.pcm import (
    FRAME_SECONDS,
    MODEL_RATE_HZ,
    PEOPLE_FRAME_SAMPLES,
    UPLINK_FRAME_SAMPLES,
    Samples,
    level_dbfs,
    silence,
)
from plexbridge.audio.vad import Networks, VoiceDetector
from tests.command import SPEECH

PAUSE_SECONDS = 2.0
SPOKEN_DBFS = -45.0
"""What is louder in the clean sound is speech."""
ROUNDS = 5
PERSON = 7


def spoken() -> Samples:
    """Return both texts with pauses around them, at 24 kHz, in whole frames."""
    pause = silence(round(PAUSE_SECONDS * MODEL_RATE_HZ))
    parts = [pause]
    for file in (SPEECH, files("plexbridge.model") / "loopback_sentence.wav"):
        samples, rate_hz = soundfile.read(str(file), dtype="float32")
        if rate_hz != MODEL_RATE_HZ:
            raise AssertionError(f"{file} is not at 24 kHz")
        parts += [samples, pause]
    sound = np.concatenate(parts)
    return sound[: sound.size // UPLINK_FRAME_SAMPLES * UPLINK_FRAME_SAMPLES]


def noises(count: int) -> Mapping[str, Samples]:
    """Return `count` samples of each noise."""
    chance, clock = np.random.default_rng(5), np.arange(count) / MODEL_RATE_HZ
    white = chance.standard_normal(count)
    falling = np.fft.rfft(white) / np.sqrt(np.maximum(np.arange(count // 2 + 1), 1))
    pink = np.fft.irfft(falling, count)
    clicks = np.zeros(count)
    for start in chance.integers(0, count - 400, count * 6 // MODEL_RATE_HZ):
        clicks[start : start + 400] += 0.3 * chance.standard_normal(400) * np.exp(-np.arange(400) / 60)
    sounds = {
        "clean": np.zeros(count),
        "white, -45 dBFS": white * 10 ** (-45 / 20),
        "pink, -35 dBFS": pink / np.sqrt(np.mean(pink**2)) * 10 ** (-35 / 20),
        "hum of 50 Hz": 0.02 * np.sin(2 * np.pi * 50 * clock) + 0.01 * np.sin(2 * np.pi * 150 * clock),
        "typing": clicks,
        "a whistle": 0.1 * np.sin(2 * np.pi * 440 * clock),
    }
    return {name: sound.astype(np.float32) for name, sound in sounds.items()}


def frames(samples: Samples) -> list[Samples]:
    """Return frames of 20 ms."""
    return list(samples.reshape(-1, UPLINK_FRAME_SAMPLES))


def microseconds(work: Callable[[], object], count: int) -> float:
    """Return the CPU time of one of `count` steps of `work`, the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began_seconds = time.process_time()
        work()
        best = min(best, time.process_time() - began_seconds)
    return best / count * 1e6


def costs(networks: Networks) -> Mapping[str, float]:
    """Return what a frame of 20 ms costs in each situation."""
    speech, hum = frames(spoken())[100:500], frames(noises(400 * UPLINK_FRAME_SAMPLES)["hum of 50 Hz"])
    echo = ([silence(UPLINK_FRAME_SAMPLES)] * 12 + [frame * np.float32(0.1) for frame in speech])[:400]
    played = np.repeat(np.concatenate(speech), 2).reshape(-1, PEOPLE_FRAME_SAMPLES)

    def listen(sound: list[Samples] | None, *, is_bot_speaking: bool = False) -> float:
        hearing = Hearing(HearingSettings(networks=networks))

        def work() -> None:
            for tick in range(400):
                hearing.hear({} if sound is None else {PERSON: sound[tick]}, tick * FRAME_SECONDS)
                if is_bot_speaking:
                    hearing.played(played[tick])

        cost = microseconds(work, 400)
        hearing.close()
        return cost

    return {
        "nobody sends anything": listen(None),
        "and the bot speaks": listen(None, is_bot_speaking=True),
        "a person sends digital silence": listen([silence(UPLINK_FRAME_SAMPLES)] * 400),
        "a person hums": listen(hum),
        "a person speaks": listen(speech),
        "and so does the bot": listen([frame[::-1].copy() for frame in speech], is_bot_speaking=True),
        "the bot's voice comes back": listen(echo, is_bot_speaking=True),
    }


def judge(networks: Networks, noise: Samples) -> tuple[float, float, float]:
    """Return precision and recall of speech in a noise, and the share of the noise alone that is taken for speech."""
    clean = spoken()
    truth = np.array([level_dbfs(frame) > SPOKEN_DBFS for frame in frames(clean)])
    found = _found(networks, clean + noise)
    both = np.count_nonzero(found & truth)
    return both / max(1, found.sum()), both / truth.sum(), float(_found(networks, noise).mean())


def _found(networks: Networks, sound: Samples) -> NDArray[np.bool_]:
    detector = VoiceDetector(networks)
    found = []
    for frame in frames(sound):
        detector.push(frame)
        found.append(detector.is_voice)
    detector.close()
    return np.array(found)


def main() -> None:
    """Print both tables."""
    networks = Networks()
    networks.make()
    console = Console(width=100)
    table = Table("CPU of a frame of 20 ms", "us", box=None)
    for situation, cost in costs(networks).items():
        table.add_row(situation, f"{cost:.0f}")
    console.print(table)
    table = Table("speech in", "precision", "recall", "false alarms without speech", box=None)
    for name, noise in noises(spoken().size).items():
        precision, recall, false = judge(networks, noise)
        table.add_row(name, f"{precision:.2f}", f"{recall:.2f}", f"{false:.1%}")
    console.print()
    console.print(table)


if __name__ == "__main__":
    main()
