"""`python -m benchmarks.echo`: ten minutes with somebody whose loudspeakers the microphone hears, in several rooms.

Everything between the model and its ear is real and deterministic, and runs as fast as it can: `Turns` speaks, its
voice is coded as for people, comes out of a loudspeaker, crosses a room, is coded by the person's client, and goes
through `Hearing` and the mixer back to the model. Between its turns the person says a sentence. A turn that nobody has
asked for is one that the model took by itself.
"""

import time
from dataclasses import dataclass
from functools import cache

import click
import numpy as np
import soundfile
import soxr
from rich.console import Console
from rich.table import Table

from plexbridge.audio.hearing import Hearing, HearingSettings
from plexbridge.audio.mixer import mix
from plexbridge.audio.opus import PEOPLE_DOWNLINK, Application, Decoder, Encoder, EncoderSettings
from plexbridge.audio.pcm import (
    FRAME_SECONDS,
    MODEL_RATE_HZ,
    PEOPLE_FRAME_SAMPLES,
    PEOPLE_RATE_HZ,
    UPLINK_FRAME_SAMPLES,
    Samples,
    level_dbfs,
    silence,
)
from plexbridge.audio.playout import SILENT_DBFS
from plexbridge.model.answers import SPEECH_DBFS, Turns
from tests.command import SPEECH

PERSON = 7
MODEL_FRAMES = 4
"""Frames of 20 ms in one of the model's."""
SENTENCE_SECONDS = 1.5
EVERY_SECONDS = 12.0
"""How often the person says one; the model's own has 5 s."""
_CLIENT = EncoderSettings(Application.VOIP, complexity=5, bitrate_bps=64_000)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """How the bot's voice comes back."""

    delay_seconds: float = 0.25
    """Of everything but coding."""
    gain_db: float = -20.0
    reverberation_seconds: float = 0.0
    """To fall by 60 dB; 0 is a cable."""
    noise_dbfs: float = -65.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of it."""

    sentences: int
    turns: int
    leaked_frames: int
    """Of the bot's voice, louder than what the model takes for speech, while the person was silent."""
    frame_microseconds: float
    """CPU time of `Hearing`, for each 20 ms."""

    @property
    def own_turns(self) -> int:
        """Turns that the model took by itself."""
        return max(0, self.turns - self.sentences)


@cache
def speech(seconds: float) -> Samples:
    """Return the beginning of the speech that plexbridge ships, at 48 kHz, in whole frames."""
    samples, rate_hz = soundfile.read(SPEECH, dtype="float32")
    resampled = np.asarray(soxr.resample(samples, rate_hz, PEOPLE_RATE_HZ), np.float32)
    resampled = resampled[np.flatnonzero(np.abs(resampled) > 0.01)[0] :]
    return resampled[: round(seconds / FRAME_SECONDS) * PEOPLE_FRAME_SAMPLES]


class Room:
    """The way from what is played to what the person's client sends; frame by frame, at 48 kHz."""

    def __init__(self, surroundings: Surroundings) -> None:
        chance = np.random.default_rng(1)
        count = round(surroundings.reverberation_seconds * PEOPLE_RATE_HZ)
        fall = 10 ** (-3 * np.arange(count) / max(count, 1))
        response = np.concatenate((np.ones(1), 0.03 * fall * chance.standard_normal(count)))
        response *= 10 ** (surroundings.gain_db / 20) / np.sqrt(np.square(response).sum())
        self._size = 1 << int(np.ceil(np.log2(response.size + PEOPLE_FRAME_SAMPLES)))
        self._response = np.fft.rfft(response, self._size)
        self._delay_samples = round(surroundings.delay_seconds * PEOPLE_RATE_HZ)
        self._coming = np.zeros(self._delay_samples + self._size, np.float32)
        self._noise = np.asarray(
            10 ** (surroundings.noise_dbfs / 20) * chance.standard_normal((50, PEOPLE_FRAME_SAMPLES)), np.float32
        )
        self._tick = 0

    def pass_frame(self, played: Samples | None) -> Samples:
        """Let 20 ms sound in it, or nothing; return what reaches the microphone meanwhile."""
        if played is not None:
            echo = np.fft.irfft(np.fft.rfft(played, self._size) * self._response, self._size)
            self._coming[self._delay_samples :] += echo.astype(np.float32)
        self._tick += 1
        come: Samples = self._coming[:PEOPLE_FRAME_SAMPLES] + self._noise[self._tick % 50]
        self._coming[:-PEOPLE_FRAME_SAMPLES] = self._coming[PEOPLE_FRAME_SAMPLES:]
        self._coming[-PEOPLE_FRAME_SAMPLES:] = 0
        return come


def converse(surroundings: Surroundings, *, seconds: float, is_guarded: bool = True) -> Heard:
    """Let a person and `Turns` converse; without the guard nothing is known of what was played."""
    settings = HearingSettings()
    settings.networks.make()
    hearing, room, model = Hearing(settings), Room(surroundings), Turns()
    resampler = soxr.ResampleStream(MODEL_RATE_HZ, PEOPLE_RATE_HZ, 1, dtype="float32")
    sentence = speech(SENTENCE_SECONDS).reshape(-1, PEOPLE_FRAME_SAMPLES)
    every_frames = round(EVERY_SECONDS / FRAME_SECONDS)
    to_play, to_hear = silence(0), []
    sentences = turns = leaked = 0
    spent_seconds = 0.0
    with (
        Encoder(rate_hz=PEOPLE_RATE_HZ, settings=PEOPLE_DOWNLINK) as down_encoder,
        Decoder(rate_hz=PEOPLE_RATE_HZ) as down_decoder,
        Encoder(rate_hz=PEOPLE_RATE_HZ, settings=_CLIENT) as up_encoder,
        Decoder(rate_hz=MODEL_RATE_HZ) as up_decoder,
    ):
        for tick in range(round(seconds / FRAME_SECONDS)):
            frame, to_play = to_play[:PEOPLE_FRAME_SAMPLES], to_play[PEOPLE_FRAME_SAMPLES:]
            is_audible = level_dbfs(frame) > SILENT_DBFS
            sound = down_decoder.decode(down_encoder.encode(frame)) if is_audible else None
            microphone = room.pass_frame(sound)
            place = tick % every_frames
            if place < len(sentence):
                sentences += place == 0
                microphone = microphone + sentence[place]
            come = up_decoder.decode(up_encoder.encode(microphone))
            began_seconds = time.process_time()
            heard = hearing.hear({PERSON: come}, tick * FRAME_SECONDS)
            if is_audible and is_guarded:
                hearing.played(frame)
            spent_seconds += time.process_time() - began_seconds
            to_hear.append(mix(heard.values(), UPLINK_FRAME_SAMPLES))
            leaked += place > len(sentence) + 5 and level_dbfs(to_hear[-1]) > SPEECH_DBFS
            if len(to_hear) == MODEL_FRAMES:
                answer = model.answer(np.concatenate(to_hear))
                to_hear.clear()
                turns += answer.pieces[:1] == (" I",)
                to_play = np.concatenate((to_play, resampler.resample_chunk(answer.samples)))
                if to_play.size < MODEL_FRAMES * PEOPLE_FRAME_SAMPLES:  # the resampler's own delay, once
                    to_play = np.concatenate((silence(MODEL_FRAMES * PEOPLE_FRAME_SAMPLES - to_play.size), to_play))
    hearing.close()
    return Heard(sentences, turns, leaked, spent_seconds / (seconds / FRAME_SECONDS) * 1e6)


ROOMS = (
    Surroundings(delay_seconds=0.15, reverberation_seconds=0.2),
    Surroundings(delay_seconds=0.25, reverberation_seconds=0.3),
    Surroundings(delay_seconds=0.4, reverberation_seconds=0.5),
    Surroundings(delay_seconds=0.3, gain_db=-14, reverberation_seconds=0.4, noise_dbfs=-55),
)


@click.command()
@click.option("--seconds", default=600.0, show_default=True, help="How long each conversation lasts.")
def main(seconds: float) -> None:
    """Count the turns that a model takes because it hears itself."""
    table = Table(box=None)
    for column in (
        "delay",
        "gain",
        "reverberation",
        "sentences",
        "own turns",
        "unguarded",
        "leaked frames",
        "us/frame",
    ):
        table.add_column(column, justify="right")
    for each in ROOMS:
        heard = converse(each, seconds=seconds)
        unguarded = converse(each, seconds=min(seconds, 60.0), is_guarded=False)
        table.add_row(
            f"{each.delay_seconds * 1000:.0f} ms",
            f"{each.gain_db:.0f} dB",
            f"{each.reverberation_seconds:.1f} s",
            str(heard.sentences),
            str(heard.own_turns),
            f"{unguarded.own_turns} in {min(seconds, 60.0):.0f} s",
            str(heard.leaked_frames),
            f"{heard.frame_microseconds:.0f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
