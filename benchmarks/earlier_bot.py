"""The pipeline of the earlier asyncio bot, stage by stage: what plexbridge's codec work is compared with.

Up: discord.py's decoder, the mean of both channels, `resample_poly` for every packet, sphn's encoder. Down: sphn's
decoder, `resample_poly` for every message, 16-bit stereo, discord.py's encoder with its defaults. What the earlier bot
needed beside it (an event loop, queues, locks) is left out, in its favour.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import sphn
from numpy.typing import NDArray
from scipy.signal import resample_poly

from benchmarks.material import MODEL_FRAMES, Material
from benchmarks.stage import Pipeline, Stage, Way, cpu_seconds
from plexbridge.audio.pcm import MODEL_RATE_HZ, PEOPLE_FRAME_SAMPLES, Samples

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # discord.py imports audioop, which Python 3.13 drops
    from discord import opus as discord_opus

STEREO_FRAME_BYTES = PEOPLE_FRAME_SAMPLES * 2 * 2
SPHN_POLL_SECONDS = 0.001
"""sphn 0.1 decodes in a thread of its own and has to be asked for the result; so often it costs next to nothing."""


def earlier_stages(material: Material) -> Iterator[Stage]:
    """Yield the stages of both ways; each works on what the one before it makes of the material."""
    yield from _up(material)
    yield from _down(material)


def _stage(way: Way, name: str, work: Callable[[], object]) -> Stage:
    return Stage(Pipeline.EARLIER, way, name, is_codec=True, measure=partial(cpu_seconds, work))


def _up(material: Material) -> Iterator[Stage]:
    decoder = discord_opus.Decoder()  # type: ignore[no-untyped-call]  # discord.py has no annotation there
    writer = sphn.OpusStreamWriter(MODEL_RATE_HZ)
    packets = material.discord_packets
    decoded = [decoder.decode(packet, fec=False) for packet in packets]
    mixed = [_mean(pcm) for pcm in decoded]
    resampled = [_half_rate(samples) for samples in mixed]

    def encode() -> None:
        for samples in resampled:
            writer.append_pcm(samples)
            writer.read_bytes()

    yield _stage(Way.UP, "decode (discord.py)", lambda: [decoder.decode(packet, fec=False) for packet in packets])
    yield _stage(Way.UP, "mean of both channels", lambda: [_mean(pcm) for pcm in decoded])
    yield _stage(Way.UP, "resample_poly to 24 kHz", lambda: [_half_rate(samples) for samples in mixed])
    yield _stage(Way.UP, "encode, Ogg write (sphn)", encode)


def _down(material: Material) -> Iterator[Stage]:
    encoder = discord_opus.Encoder()
    decoded = _read(sphn.OpusStreamReader(MODEL_RATE_HZ), material.server_pages)
    resampled = [_double_rate(samples) for samples in decoded]
    stereo = [frame for samples in resampled for frame in _stereo_frames(samples)]

    def read() -> float:
        reader = sphn.OpusStreamReader(MODEL_RATE_HZ)
        return cpu_seconds(lambda: _read(reader, material.server_pages))

    yield Stage(Pipeline.EARLIER, Way.DOWN, "Ogg read, decode (sphn)", is_codec=True, measure=read)
    yield _stage(Way.DOWN, "resample_poly to 48 kHz", lambda: [_double_rate(samples) for samples in decoded])
    yield _stage(Way.DOWN, "16-bit stereo", lambda: [_stereo_frames(samples) for samples in resampled])
    yield _stage(
        Way.DOWN, "encode (discord.py)", lambda: [encoder.encode(frame, PEOPLE_FRAME_SAMPLES) for frame in stereo]
    )


def _mean(pcm: bytes) -> Samples:
    mono: NDArray[np.float64] = np.frombuffer(pcm, np.int16).reshape(-1, 2).mean(axis=1)
    return (mono / 32768.0).astype(np.float32)


def _half_rate(samples: Samples) -> Samples:
    resampled: Samples = resample_poly(samples, 1, 2)
    return resampled


def _double_rate(samples: Samples) -> Samples:
    resampled: Samples = resample_poly(samples, 2, 1)
    return resampled


def _stereo_frames(samples: Samples) -> list[bytes]:
    """Return 16-bit stereo, cut to frames of 20 ms."""
    pcm = np.clip(samples * 32767.0, -32768, 32767).astype(np.int16)
    stereo = np.repeat(pcm, 2).tobytes()
    return [stereo[start : start + STEREO_FRAME_BYTES] for start in range(0, len(stereo), STEREO_FRAME_BYTES)]


def _read(reader: sphn.OpusStreamReader, pages: tuple[bytes, ...]) -> list[Samples]:
    """Return the model frames in `pages`."""
    for page in pages:
        reader.append_bytes(page)
    frames: list[Samples] = []
    while len(frames) < MODEL_FRAMES:
        samples = reader.read_pcm()
        if samples is None:
            raise AssertionError("sphn can't read its own pages")
        if samples.size:
            frames.append(samples)
        else:
            time.sleep(SPHN_POLL_SECONDS)
    return frames
