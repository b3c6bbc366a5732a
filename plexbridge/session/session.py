"""One conversation: the channels, the nursery and the four tasks that join people to an open link.

    people ──> capture ──frames──> encode ──messages──> exchange ──> model
    people <── playback <────────replies───────────────  exchange <── model

Each channel end belongs to the task that it is handed to, which closes it; so when the people leave, capture ends and
the others end one after the other, and when a task fails, the nursery ends them all. Nothing outlives `run_session`;
the people and the link are the caller's.
"""

from dataclasses import dataclass
from functools import partial

import trio

from plexbridge.audio.opus import EncoderSettings
from plexbridge.session.beat import next_start_seconds
from plexbridge.session.capture import capture
from plexbridge.session.encode import Outgoing, encode
from plexbridge.session.exchange import Reply, exchange
from plexbridge.session.ledger import Ledger
from plexbridge.session.link import Link
from plexbridge.session.people import Frame, People
from plexbridge.session.playback import play
from plexbridge.session.takeover import Takeover

QUEUED_FRAMES = 1
"""Frames between capture and encode: 20 ms. Encoding takes a fraction of a tick, so one is room enough."""
QUEUED_MESSAGES = 2
"""Messages between encode and exchange: 40 ms, the two header pages of the start among them."""
QUEUED_REPLIES = 4
"""Replies between exchange and playback: 320 ms of a PersonaPlex server's messages."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How a session encodes and how deep it buffers."""

    encoder: EncoderSettings
    playout_minimum_seconds: float
    playout_maximum_seconds: float


async def run_session(
    link: Link,
    people: People,
    settings: SessionSettings,
    *,
    ledger: Ledger,
    serial: int,
    start_seconds: float | None = None,
) -> None:
    """Hold one conversation until the people leave, the link fails or it is cancelled.

    `ledger` is the caller's and new; `serial` numbers the Ogg stream, and differs from connection to connection.
    `start_seconds` is when the first tick is due, which is soon where nothing else is said.
    Failures arrive in an exception group, LinkError for those of the link.
    """
    to_encode, frames = trio.open_memory_channel[Frame](QUEUED_FRAMES)
    to_exchange, outgoing = trio.open_memory_channel[Outgoing](QUEUED_MESSAGES)
    to_playback, replies = trio.open_memory_channel[Reply](QUEUED_REPLIES)
    if start_seconds is None:
        start_seconds = next_start_seconds(trio.current_time())
    takeover = Takeover()

    stages = (
        partial(
            capture,
            people,
            to_encode,
            start_seconds=start_seconds,
            ledger=ledger,
            conversation=link.conversation,
            takeover=takeover,
        ),
        partial(encode, frames, to_exchange, settings=settings.encoder, serial=serial),
        partial(exchange, link, outgoing, to_playback, ledger=ledger, takeover=takeover),
        partial(
            play,
            replies,
            people,
            start_seconds=start_seconds,
            minimum_seconds=settings.playout_minimum_seconds,
            maximum_seconds=settings.playout_maximum_seconds,
            ledger=ledger,
            takeover=takeover,
        ),
    )
    async with trio.open_nursery() as nursery:
        for stage in stages:
            nursery.start_soon(stage)
