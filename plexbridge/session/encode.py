"""Encode, the second task: frames to Ogg Opus pages, one packet to a page and one page to a message."""

from typing import NamedTuple

import trio

from plexbridge.audio.ogg import OggOpusWriter
from plexbridge.audio.opus import Encoder, EncoderSettings
from plexbridge.audio.pcm import MODEL_RATE_HZ, PEOPLE_RATE_HZ
from plexbridge.session.handover import hand_over
from plexbridge.session.people import Frame


class Outgoing(NamedTuple):
    """One message to the model, with what the ledger wants to know when it has gone."""

    page: bytes
    samples: int
    """Samples at 24 kHz in it; 0 for a header page."""
    arrived_seconds: float


async def encode(
    frames: trio.MemoryReceiveChannel[Frame],
    to_exchange: trio.MemorySendChannel[Outgoing],
    *,
    settings: EncoderSettings,
    serial: int,
) -> None:
    """Write one Ogg stream, its two header pages first, until there are no more frames.

    A stream belongs to one connection: sphn 0.1 needs the headers, once, and first of all.
    """
    async with frames, to_exchange:
        with Encoder(rate_hz=MODEL_RATE_HZ, settings=settings) as encoder:
            pre_skip_samples = encoder.lookahead_samples * PEOPLE_RATE_HZ // MODEL_RATE_HZ
            writer = OggOpusWriter(serial=serial, input_rate_hz=MODEL_RATE_HZ, pre_skip_samples=pre_skip_samples)
            for page in writer.headers():
                await to_exchange.send(Outgoing(page, samples=0, arrived_seconds=trio.current_time()))
            async for frame in frames:
                page = writer.page(encoder.encode(frame.samples))
                await hand_over(to_exchange, Outgoing(page, frame.samples.size, frame.arrived_seconds))
