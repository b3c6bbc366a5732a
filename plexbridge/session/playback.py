"""Playback, the fourth task: what the model says, decoded and smoothed, one frame to the people at every tick.

This is the downlink's real-time door: the playout buffer gives back delay that built up, and what was missed because
plexbridge itself was held up is thrown away, never played late.
"""

import trio

from plexbridge.audio.ogg import OggOpusReader
from plexbridge.audio.opus import Decoder
from plexbridge.audio.pcm import MODEL_RATE_HZ, PEOPLE_RATE_HZ, level_dbfs
from plexbridge.audio.playout import SILENT_DBFS, Playout
from plexbridge.model.protocol import Text
from plexbridge.model.text import TextJoiner
from plexbridge.session.beat import Beat
from plexbridge.session.exchange import Reply
from plexbridge.session.ledger import Ledger
from plexbridge.session.people import People
from plexbridge.session.takeover import Takeover


async def play(
    replies: trio.MemoryReceiveChannel[Reply],
    people: People,
    *,
    start_seconds: float,
    minimum_seconds: float,
    maximum_seconds: float,
    ledger: Ledger,
    takeover: Takeover,
) -> None:
    """Play a frame every 20 ms from `start_seconds` on, until there are no more replies.

    `minimum_seconds` and `maximum_seconds` bound the depth of the playout buffer.
    """
    beat = Beat(start_seconds)
    reader = OggOpusReader()
    joiner = TextJoiner()
    async with replies:
        with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
            playout = Playout(decoder, minimum_seconds=minimum_seconds, maximum_seconds=maximum_seconds)
            ledger.follow(playout.statistics, reader.statistics)
            while True:
                missed = await beat.wait_tick()
                try:
                    while True:
                        reply = replies.receive_nowait()
                        if isinstance(reply.event, Text):
                            _show(joiner.push(reply.event.piece), people)
                        else:
                            is_flushed = reply.epoch < takeover.epoch
                            _take(reply.event.data, reply.arrived_seconds, reader, playout, ledger, is_flushed)
                except trio.WouldBlock:
                    pass  # all that has come is taken
                except trio.EndOfChannel:
                    _show(joiner.flush(), people)
                    return
                if missed:
                    playout.discard(missed)
                if takeover.is_taken and playout.has_fallen_silent:
                    takeover.end_epoch()
                    playout.flush()
                _play(playout, people, ledger, beat.tick - 1)


def _show(text: str, people: People) -> None:
    if text:
        people.show(text)


def _take(
    data: bytes, arrived_seconds: float, reader: OggOpusReader, playout: Playout, ledger: Ledger, is_flushed: bool
) -> None:
    for packet in reader.feed(data):
        samples = playout.push(
            packet.data, arrived_seconds=arrived_seconds, lost_packets=packet.lost_pages, is_flushed=is_flushed
        )
        ledger.received(samples * MODEL_RATE_HZ // PEOPLE_RATE_HZ, now_seconds=arrived_seconds)


def _play(playout: Playout, people: People, ledger: Ledger, tick: int) -> None:
    now_seconds = trio.current_time()
    played = playout.pop(is_model_slow=ledger.is_model_behind(now_seconds))
    people.play(played.samples, tick)
    ledger.played(
        arrived_seconds=played.arrived_seconds,
        message_arrivals=played.message_arrivals,
        is_audible=level_dbfs(played.samples) > SILENT_DBFS,
        now_seconds=now_seconds,
    )
