"""Line: the bot's place in a voice channel over many connections, in simulated time."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from plexbridge.errors import DiscordError, VoiceEnded, VoiceForbidden, VoiceLost, VoiceRefused
from plexbridge.people.discord.endings import FAREWELLS, Cause, Ending
from plexbridge.people.discord.line import (
    AWAY_SENTENCE,
    BACK_SENTENCE,
    JOIN_SECONDS,
    PATIENCE_SECONDS,
    RECOVERY_SECONDS,
    Line,
    open_line,
)
from plexbridge.people.discord.stream import FrameRefused, Refusal
from tests.people.discord.memory_portal import open_memory_portal
from tests.people.discord.simulation import ADA, CHANNEL, OTHER_CHANNEL, REQUEST_SECONDS, FakeDiscord, FakeVoice

BROKEN = Ending(Cause.BROKEN, "close code 4006")


class Kept:
    """A line with its supervisor at work."""

    def __init__(self, discord: FakeDiscord, line: Line) -> None:
        self.discord = discord
        self.line = line
        self.said: list[tuple[float, str]] = []

    def say(self, sentence: str) -> None:
        """Note a sentence, and when it was said."""
        self.said.append((trio.current_time(), sentence))

    @property
    def voice(self) -> FakeVoice:
        """The only connection."""
        (voice,) = self.discord.voices
        return voice


@asynccontextmanager
async def open_kept() -> AsyncIterator[Kept]:
    async with open_memory_portal() as portal, trio.open_nursery() as nursery:
        discord = FakeDiscord(nursery)
        async with open_line(portal, discord, CHANNEL, clock=trio.current_time) as line:
            kept = Kept(discord, line)
            nursery.start_soon(line.keep, kept.say)
            yield kept
            nursery.cancel_scope.cancel(reason="the test has ended")
    assert not discord.voices, "the bot is still in the channel"


@pytest.mark.parametrize("cause", [cause for cause in Cause if Ending(cause).farewell is None])
async def test_a_connection_that_ends_without_being_meant_to_is_replaced_at_once(
    cause: Cause, autojump_clock: MockClock
) -> None:
    async with open_kept() as kept:
        first = kept.voice
        first.end(Ending(cause))
        await trio.sleep(0.5)

        assert kept.voice is not first
        assert kept.line.is_connected
        assert kept.line.recoveries == 1
        assert kept.voice.inbox is first.inbox, "the conversation goes on with the inbox that it has"
        assert kept.said == [], "a short gap is not worth a word"


async def test_ten_connections_in_a_row_are_replaced(autojump_clock: MockClock) -> None:
    async with open_kept() as kept:
        for number in range(10):
            kept.voice.end(BROKEN)
            await trio.sleep(0.5)

            assert kept.line.recoveries == number + 1


@pytest.mark.parametrize("cause", FAREWELLS)
async def test_an_end_that_was_meant_comes_out_with_its_farewell(cause: Cause, autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(VoiceEnded), flatten_subgroups=True) as raised:
        async with open_kept() as kept:
            kept.voice.end(Ending(cause))
            await trio.sleep(1)

    (error,) = _leaves(raised.value)
    assert isinstance(error, VoiceEnded)
    assert error.user_message == FAREWELLS[cause]
    assert not kept.discord.voices


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


async def test_between_two_connections_nothing_is_sent_and_nothing_fails(autojump_clock: MockClock) -> None:
    async with open_kept() as kept:
        kept.discord.join_fault = VoiceRefused("not now")
        kept.voice.end(BROKEN)
        await trio.sleep(0.5)

        assert not kept.line.is_connected
        assert not kept.line.can_send
        assert not kept.line.send_opus(b"x")
        kept.line.pass_time(1)
        kept.line.set_speaking(False)
        kept.line.renew(is_whole=True)
        assert kept.line.encryption() is None
        with pytest.raises(FrameRefused) as refused:
            kept.line.open_frame(ADA, b"x")
        assert refused.value.reason is Refusal.NOT_READY


async def test_a_gap_that_is_long_is_spoken_of_once_and_so_is_its_end(autojump_clock: MockClock) -> None:
    async with open_kept() as kept:
        kept.discord.join_fault = VoiceRefused("not now")
        broken_seconds = trio.current_time()
        kept.voice.end(BROKEN)
        await trio.sleep(20)
        kept.discord.join_fault = None
        await trio.sleep(10)

        assert [sentence for _, sentence in kept.said] == [AWAY_SENTENCE, BACK_SENTENCE]
        assert kept.said[0][0] - broken_seconds == pytest.approx(PATIENCE_SECONDS, abs=0.1)
        assert kept.line.is_connected
        assert kept.discord.joins < 20, "attempts don't come ever faster"


async def test_a_connection_that_can_not_be_restored_is_given_up_in_time(autojump_clock: MockClock) -> None:
    started_seconds = trio.current_time()
    with pytest.RaisesGroup(pytest.RaisesExc(VoiceLost), flatten_subgroups=True):
        async with open_kept() as kept:
            kept.discord.join_fault = VoiceRefused("never again")
            kept.voice.end(BROKEN)
            await trio.sleep_forever()
    assert RECOVERY_SECONDS - 6 <= trio.current_time() - started_seconds <= RECOVERY_SECONDS + 6


@pytest.mark.parametrize(
    "fault", [VoiceForbidden("I lack the permission Connect."), VoiceEnded("taken out again", "I was taken out.")]
)
async def test_what_is_forbidden_or_unwanted_is_not_tried_again(fault: DiscordError, autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(type(fault)), flatten_subgroups=True):
        async with open_kept() as kept:
            kept.discord.join_fault = fault
            kept.voice.end(BROKEN)
            await trio.sleep_forever()
    assert kept.discord.joins == 2


async def test_the_first_join_is_tried_for_its_time_and_then_fails_as_it_is(autojump_clock: MockClock) -> None:
    async with open_memory_portal() as portal, trio.open_nursery() as nursery:
        discord = FakeDiscord(nursery)
        discord.join_fault = VoiceRefused("close code 4006")
        with pytest.raises(VoiceRefused, match="4006"):
            async with open_line(portal, discord, CHANNEL, clock=trio.current_time):
                pytest.fail("there is no line")

    assert trio.current_time() == pytest.approx(JOIN_SECONDS, abs=5.5)
    assert discord.joins > 3
    assert not discord.voices


async def test_the_speaking_light_stays_on_over_a_new_connection(autojump_clock: MockClock) -> None:
    async with open_kept() as kept:
        kept.line.set_speaking(True)
        kept.voice.end(BROKEN)
        await trio.sleep(0.5)

        assert kept.voice.lights == [True]
        kept.line.set_speaking(False)
        await wait_all_tasks_blocked()
        assert kept.voice.lights == [True, False]


async def test_only_the_encryption_is_renewed_or_the_whole_connection(autojump_clock: MockClock) -> None:
    async with open_kept() as kept:
        first = kept.voice
        kept.line.renew(is_whole=False)
        await trio.sleep(0.5)
        assert (kept.voice, first.renewals) == (first, 1)

        kept.line.renew(is_whole=True)
        await trio.sleep(0.5)
        assert kept.voice is not first
        assert kept.line.recoveries == 1


async def test_a_rejoin_goes_to_where_the_bot_was_moved(autojump_clock: MockClock) -> None:
    async with open_kept() as kept:
        kept.line.channel_id = OTHER_CHANNEL
        kept.voice.end(BROKEN)
        await trio.sleep(0.5)

        assert kept.voice.channel_id == OTHER_CHANNEL


async def test_a_move_in_the_moment_of_the_end_is_followed(autojump_clock: MockClock) -> None:
    async with open_kept() as kept:
        first = kept.voice
        first.end(BROKEN)
        first.channel_id = OTHER_CHANNEL
        await trio.sleep(0.5)

        assert kept.voice is not first
        assert kept.voice.channel_id == kept.line.channel_id == OTHER_CHANNEL


@pytest.mark.parametrize("seed", range(50))
async def test_leaving_at_any_moment_of_a_recovery_leaves_nothing_behind(seed: int, autojump_clock: MockClock) -> None:
    async with open_kept() as kept:
        kept.voice.end(BROKEN)
        await trio.sleep(random.Random(seed).uniform(0, 8 * REQUEST_SECONDS))
