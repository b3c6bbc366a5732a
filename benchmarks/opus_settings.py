"""Which Opus encoder settings to use towards the model and towards people: `python -m benchmarks.opus_settings`.

This is the part `opus` of `python -m benchmarks` too.

Speech is encoded with every candidate in 20 ms packets and decoded again, at 24 kHz as a PersonaPlex server does and
at 48 kHz as people's devices do. Printed per candidate: computing time of one frame, bytes of one packet, lookahead,
and the log-spectral distance to the speech itself in three bands (dB, lower is better), once with every packet and
once with some lost and concealed. The distance is taken over 32 ms windows in which somebody speaks. It says how much
of the spectrum survives, not how pleasant it sounds.
"""

import itertools
import random
import statistics
import time
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import scipy.signal
import soundfile
import soxr
from numpy.typing import NDArray

from plexbridge.audio.opus import (
    MODEL_UPLINK,
    PEOPLE_DOWNLINK,
    Application,
    Decoder,
    Encoder,
    EncoderSettings,
    library_version,
)
from plexbridge.audio.pcm import FRAMES_PER_SECOND, MODEL_RATE_HZ, PEOPLE_RATE_HZ, Samples

SPEECH_FILE = files("plexbridge.model") / "loopback_sentence.wav"
COMPLEXITIES = (0, 5, 10)
BITRATES_BPS = (24_000, 32_000, 48_000, 64_000, 96_000)
BANDS_HZ = ((0, 4_000), (4_000, 8_000), (8_000, 12_000))

ROUNDS = 3
"""The fastest of so many rounds counts, since other programs can only make one slower."""

LOSS_SHARE = 0.03
LOSS_SEED = 1

WINDOWS_PER_SECOND = 1_000 / 32
ACTIVE_DB = -40.0
"""Windows more than this below the loudest one are pauses and don't count."""

FLOOR_DB = -80.0
"""What is further than this below the strongest bin is inaudible, so that differences there don't count."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one candidate costs and keeps."""

    frame_microseconds: float
    packet_bytes: float
    lookahead_milliseconds: float
    distances_db: tuple[float, ...]
    lossy_distances_db: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One combination of settings."""

    application: str
    complexity: int
    bitrate_bps: int
    is_chosen: bool
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class Table:
    """All candidates of one direction."""

    title: str
    rate_hz: int
    speech_seconds: float
    candidates: tuple[Candidate, ...]


def measure(speech: Samples, *, rate_hz: int, settings: EncoderSettings) -> Measurement:
    """Encode and decode `speech` (whole 20 ms frames at `rate_hz`) with one candidate."""
    frame_samples = rate_hz // FRAMES_PER_SECOND
    frames = np.split(speech, speech.size // frame_samples)
    seconds = []
    for _ in range(ROUNDS):
        with Encoder(rate_hz=rate_hz, settings=settings) as encoder:
            lag_samples = encoder.lookahead_samples
            start = time.process_time()
            packets = [encoder.encode(frame) for frame in frames]
            seconds.append(time.process_time() - start)

    def distances_db(loss_share: float) -> tuple[float, ...]:
        decoded = decode(packets, rate_hz=rate_hz, loss_share=loss_share)
        return spectral_distances(speech[: speech.size - lag_samples], decoded[lag_samples:], rate_hz)

    return Measurement(
        frame_microseconds=min(seconds) / len(frames) * 1e6,
        packet_bytes=statistics.fmean(map(len, packets)),
        lookahead_milliseconds=lag_samples / rate_hz * 1e3,
        distances_db=distances_db(0),
        lossy_distances_db=distances_db(LOSS_SHARE),
    )


def decode(packets: list[bytes], *, rate_hz: int, loss_share: float) -> Samples:
    """Decode 20 ms packets, of which a share is lost and concealed, the same ones every time."""
    dice = random.Random(LOSS_SEED)
    with Decoder(rate_hz=rate_hz) as decoder:
        return np.concatenate(
            [
                decoder.conceal(rate_hz // FRAMES_PER_SECOND) if dice.random() < loss_share else decoder.decode(packet)
                for packet in packets
            ]
        )


def spectral_distances(original: Samples, coded: Samples, rate_hz: int) -> tuple[float, ...]:
    """Return the mean log-spectral distance of two aligned signals in each of `BANDS_HZ`, in dB."""
    window = int(rate_hz / WINDOWS_PER_SECOND)
    frequencies, _, spectrum = scipy.signal.stft(original, rate_hz, nperseg=window)
    power = np.abs(spectrum) ** 2
    coded_power = np.abs(scipy.signal.stft(coded, rate_hz, nperseg=window)[2]) ** 2
    loudness = power.sum(axis=0)
    active = loudness > loudness.max() * 10 ** (ACTIVE_DB / 10)
    floor = power.max() * 10 ** (FLOOR_DB / 10)
    difference = 10 * (_log(power[:, active], floor) - _log(coded_power[:, active], floor))
    distances = []
    for low, high in BANDS_HZ:
        band = difference[(frequencies >= low) & (frequencies < high)]
        distances.append(float(np.sqrt((band**2).mean(axis=0)).mean()))
    return tuple(distances)


def _log(power: NDArray[np.floating], floor: float) -> NDArray[np.floating]:
    logarithm: NDArray[np.floating] = np.log10(np.maximum(power, floor))
    return logarithm


def measure_table(title: str, speech: Samples, *, rate_hz: int, chosen: EncoderSettings) -> Table:
    """Measure every candidate on `speech`, cut to whole frames."""
    frame_samples = rate_hz // FRAMES_PER_SECOND
    speech = speech[: speech.size // frame_samples * frame_samples]
    candidates = []
    for application, complexity, bitrate_bps in itertools.product(Application, COMPLEXITIES, BITRATES_BPS):
        settings = EncoderSettings(application, complexity, bitrate_bps)
        measurement = measure(speech, rate_hz=rate_hz, settings=settings)
        candidates.append(Candidate(application.name.lower(), complexity, bitrate_bps, settings == chosen, measurement))
    return Table(title, rate_hz, speech.size / rate_hz, tuple(candidates))


def measure_opus_settings() -> tuple[Table, ...]:
    """Measure all candidates in both directions."""
    with SPEECH_FILE.open("rb") as file:
        speech, rate_hz = soundfile.read(file, dtype="float32")
    uplink = soxr.resample(speech, rate_hz, MODEL_RATE_HZ)
    downlink = soxr.resample(speech, rate_hz, PEOPLE_RATE_HZ)
    return (
        measure_table("Towards the model", uplink, rate_hz=MODEL_RATE_HZ, chosen=MODEL_UPLINK),
        measure_table("Towards people", downlink, rate_hz=PEOPLE_RATE_HZ, chosen=PEOPLE_DOWNLINK),
    )


def print_opus_settings(tables: tuple[Table, ...]) -> None:
    """Print one line for each candidate; the settings in use are marked."""
    print(f"{library_version()}; > marks the settings in plexbridge/audio/opus.py")
    bands = "".join(f"{f'{low // 1000}-{high // 1000}k':>7}" for low, high in BANDS_HZ)
    for table in tables:
        print(
            f"\n{table.title}: {table.rate_hz} Hz mono, {table.speech_seconds:.1f} s of speech, distances in dB, ",
            end="",
        )
        print(f"on the right with {LOSS_SHARE:.0%} of the packets lost")
        print(
            f"  {'application':<20}{'complexity':>10}{'kbps':>6}{'us/frame':>10}{'bytes':>7}{'ms':>5}{bands} |{bands}"
        )
        for candidate in table.candidates:
            print(_line(candidate))


def _line(candidate: Candidate) -> str:
    result = candidate.measurement
    distances = " |".join(
        "".join(f"{distance:7.2f}" for distance in bands_db)
        for bands_db in (result.distances_db, result.lossy_distances_db)
    )
    return (
        f"{'>' if candidate.is_chosen else ' '} {candidate.application:<20}{candidate.complexity:>10}"
        f"{candidate.bitrate_bps // 1000:>6}{result.frame_microseconds:>10.1f}{result.packet_bytes:>7.0f}"
        f"{result.lookahead_milliseconds:>5.1f}{distances}"
    )


if __name__ == "__main__":
    print_opus_settings(measure_opus_settings())
