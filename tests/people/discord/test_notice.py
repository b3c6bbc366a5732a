"""Notices: one message that is kept up to date, and one that calls, in simulated time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock

from plexbridge.errors import DiscordError
from plexbridge.people.discord.chat import REFUSAL_LIMIT
from plexbridge.people.discord.notice import EDIT_SECONDS, GRACE_SECONDS, Notice
from tests.people.discord.memory_portal import open_memory_portal
from tests.people.discord.simulation import ADA, CHANNEL, OTHER_CHANNEL, FakeDiscord


@asynccontextmanager
async def open_notice() -> AsyncIterator[tuple[Notice, FakeDiscord]]:
    """Write a notice, and finish it at the end."""
    async with open_memory_portal() as portal, trio.open_nursery() as nursery:
        discord = FakeDiscord(nursery)
        notice = Notice(portal, discord, CHANNEL)
        nursery.start_soon(notice.run)
        yield notice, discord
        notice.finish(within_seconds=1)


async def test_who_waits_for_a_moment_only_reads_nothing(autojump_clock: MockClock) -> None:
    async with open_notice() as (notice, discord):
        notice.show("1st")
        await trio.sleep(GRACE_SECONDS / 2)

    assert discord.messages == []


async def test_one_message_says_the_latest_at_most_every_five_seconds(autojump_clock: MockClock) -> None:
    async with open_notice() as (notice, discord):
        notice.show("3rd")
        await trio.sleep(GRACE_SECONDS + 0.1)
        assert discord.messages == [(CHANNEL, "3rd")]
        for place in ("2nd", "1st"):
            notice.show(place)
            await trio.sleep(0.1)
        assert discord.messages == [(CHANNEL, "3rd")]
        await trio.sleep(EDIT_SECONDS)
        assert discord.messages == [(CHANNEL, "1st")]
        notice.show("over")

    assert discord.messages == [(CHANNEL, "over")]


async def test_a_call_is_a_message_of_its_own_at_once_and_only_one(autojump_clock: MockClock) -> None:
    async with open_notice() as (notice, discord):
        notice.show("1st")
        await trio.sleep(10)
        notice.call("your turn", ADA)
        notice.call("your turn", ADA)
        await trio.sleep(0.1)
        assert discord.messages == [(CHANNEL, "1st"), (CHANNEL, "your turn")]
        assert discord.called == [ADA]


async def test_a_notice_that_moves_is_written_anew(autojump_clock: MockClock) -> None:
    async with open_notice() as (notice, discord):
        notice.show("1st")
        await trio.sleep(10)
        notice.move(OTHER_CHANNEL)
        await trio.sleep(10)

    assert discord.messages == [(CHANNEL, "1st"), (OTHER_CHANNEL, "1st")]


async def test_a_channel_that_can_not_be_written_to_is_left_alone(autojump_clock: MockClock) -> None:
    async with open_notice() as (notice, discord):
        discord.write_fault = DiscordError("forbidden")
        for place in range(10):
            notice.show(f"{place}")
            await trio.sleep(10)

    assert discord.write_attempts == REFUSAL_LIMIT


async def test_a_finished_notice_does_not_wait_for_a_slow_discord(autojump_clock: MockClock) -> None:
    async with open_notice() as (notice, discord):
        notice.show("1st")
        await trio.sleep(10)
        notice.show("over")
        notice.finish(within_seconds=0.0)
        await trio.sleep(0.1)
        notice.finish(within_seconds=60.0)

    assert discord.messages == [(CHANNEL, "1st")]
