"""Exchange, the third task: messages out, messages in, and the signs of life of a link that is open.

The model answers every 80 ms that it is fed, speaking or not, so silence on the wire means that it hangs. Pings
besides measure the round trip; they begin only here, behind the handshake.
"""

from dataclasses import dataclass

import trio

from plexbridge.model.protocol import Audio, Text
from plexbridge.session.encode import Outgoing
from plexbridge.session.handover import hand_over
from plexbridge.session.ledger import Ledger
from plexbridge.session.link import Link
from plexbridge.session.takeover import Takeover

SILENT_SECONDS = 10.0
"""Without any message for so long, the model hangs; the browser client of PersonaPlex gives up after the same time."""
PING_EVERY_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said, sound or words, and when it came."""

    event: Audio | Text
    arrived_seconds: float
    epoch: int
    """Of `Takeover`, when it came."""


async def exchange(
    link: Link,
    outgoing: trio.MemoryReceiveChannel[Outgoing],
    to_playback: trio.MemorySendChannel[Reply],
    *,
    ledger: Ledger,
    takeover: Takeover,
) -> None:
    """Move messages both ways until there are no more to send; raises LinkError when the link ends before."""
    async with outgoing, to_playback, trio.open_nursery() as nursery:
        nursery.start_soon(_receive, link, to_playback, takeover)
        nursery.start_soon(_ping, link, ledger)
        async for message in outgoing:
            await link.send_audio(message.page)
            if message.samples:
                now_seconds = trio.current_time()
                waited_seconds = now_seconds - message.arrived_seconds
                ledger.sent(message.samples, waited_seconds=waited_seconds, now_seconds=now_seconds)
        nursery.cancel_scope.cancel(reason="nothing more to send")


async def _receive(link: Link, to_playback: trio.MemorySendChannel[Reply], takeover: Takeover) -> None:
    while True:
        with trio.move_on_after(SILENT_SECONDS) as patience:
            event = await link.receive()
        if patience.cancelled_caught:
            raise link.conversation.silent(SILENT_SECONDS)
        if isinstance(event, Audio | Text):
            await hand_over(to_playback, Reply(event, trio.current_time(), takeover.epoch))


async def _ping(link: Link, ledger: Ledger) -> None:
    while True:
        ledger.round_trip_seconds = await link.ping()
        await trio.sleep(PING_EVERY_SECONDS)
