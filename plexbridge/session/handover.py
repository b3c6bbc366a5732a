"""A value from one stage to the next, without a step of the scheduler where there is room for it."""

from typing import TypeVar

import trio

Value = TypeVar("Value")


async def hand_over(channel: trio.MemorySendChannel[Value], value: Value) -> None:
    """Send, and wait only while the channel is full: `send` gives up the turn each time, which costs as much as work.

    So it is no checkpoint where there is room; the sender's loop has another one.
    """
    try:
        channel.send_nowait(value)
    except trio.WouldBlock:
        await channel.send(value)
