"""Capture, the first task: at every tick one frame of whoever speaks, silence included.

This is the uplink's real-time door. What was missed because plexbridge itself was held up, and what a model that is
behind must not be sent, ends here and is counted; behind this door nothing is dropped.
"""

import trio

from plexbridge.model.conversation import Conversation
from plexbridge.session.beat import Beat
from plexbridge.session.handover import hand_over
from plexbridge.session.ledger import Ledger
from plexbridge.session.people import Frame, People
from plexbridge.session.takeover import Takeover


async def capture(
    people: People,
    to_encode: trio.MemorySendChannel[Frame],
    *,
    start_seconds: float,
    ledger: Ledger,
    conversation: Conversation,
    takeover: Takeover,
) -> None:
    """Send a frame for every 20 ms from `start_seconds` on, until the people leave.

    `conversation` is told when the model falls behind and when it keeps up again; so are the people.
    """
    beat = Beat(start_seconds)
    is_slow = False
    async with to_encode:
        while True:
            missed = await beat.wait_tick()
            if missed:
                people.skip(missed)
                ledger.missed_uplink(missed)
            frame = people.listen(beat.due_seconds)
            if frame is None:
                return
            takeover.heard(is_silent=frame.is_silent)
            now_seconds = trio.current_time()
            is_withheld = ledger.withholds(is_silent=frame.is_silent, now_seconds=now_seconds)
            if is_slow != ledger.is_model_slow(now_seconds):
                is_slow = not is_slow
                conversation.set_behind(is_slow)
                people.tell(conversation.state)
            if not is_withheld:
                await hand_over(to_encode, frame)
