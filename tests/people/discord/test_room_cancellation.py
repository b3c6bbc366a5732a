"""The sweep on Discord: people leave, or plexbridge stops, at every step of a conversation, one by one.

The portal is the one in memory, so that simulated time can run everything: rooms, session, link and model. Steps of
Discord's side count too. Wherever it happens, afterwards the bot is in no channel, nothing of the conversation is
left, and all that within a second.
"""

import gc
import os
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from random import Random

import pytest
import trio
from trio.testing import MockClock

from plexbridge.config import ModelConfig, PersonaConfig, RenewalConfig
from plexbridge.errors import PlexbridgeError
from plexbridge.model.pool import Pool
from plexbridge.people.discord.attendance import Attendance
from plexbridge.people.discord.endings import Cause, Ending
from plexbridge.people.discord.notice import GRACE_SECONDS
from plexbridge.people.discord.rooms import Rooms
from plexbridge.service import Backend, hold_conversation, probe_model
from plexbridge.session.ledger import Ledger
from plexbridge.talk import Talk, hold_talk
from tests.people.discord.choices import make_audiences, make_recordings
from tests.people.discord.memory_portal import open_memory_portal
from tests.people.discord.simulation import ADA, CHANNEL, GUILD, FakeDiscord, tone_packets
from tests.session.simulation import SETTINGS, SimulatedModel
from tests.session.test_cancellation import CancelAfterSteps, RecordedChannels, assert_no_codec_is_open

# The host's lock is real: another run of these tests at the same time must not make this one find its model busy.
MODEL_URL = f"ws://model-{os.getpid()}/api/chat"
TONE = tone_packets(10)
TALK_SECONDS = 0.4
"""From the entry to the ordinary end of the sweep's conversation: joining takes a quarter of it."""
END_SECONDS = 1.0
PLACE_SECONDS = 0.3
QUEUE_SECONDS = GRACE_SECONDS + 0.1
SHORT_SECONDS = 0.1
RENEWAL_POINTS = 50
"""Steps that are tried of a conversation with renewals; that they leave nothing behind is tested closer in the relay's
own tests."""


class Interruption:
    """What happens at the step that a run is about; `happened` wakes whoever does it."""

    def __init__(self) -> None:
        self.happened = trio.Event()
        self.at_seconds = 0.0

    def cause(self) -> None:
        """Now; called between two steps."""
        self.at_seconds = trio.current_time()
        self.happened.set()


async def go(discord: FakeDiscord) -> None:
    """The last human leaves."""
    discord.go(ADA)


async def go_and_return(discord: FakeDiscord) -> None:
    """The last human leaves and is back at once, and leaves again."""
    discord.go(ADA)
    discord.enter(ADA, CHANNEL)
    await trio.sleep(TALK_SECONDS)
    assert discord.voices, "who returns is talked to, in another conversation unless nobody has noticed"
    discord.go(ADA)


async def run_room(
    number: int | None,
    interrupt: Callable[[FakeDiscord], Awaitable[None]] | None,
    *,
    breaks: Cause | None,
    is_sent_away: bool = False,
    is_queued: bool = False,
    renew_seconds: float | None = None,
) -> int:
    """Hold a conversation, interrupted after step `number`; without `interrupt`, plexbridge stops. Return the steps.

    With `breaks` the voice connection ends in its midst for that cause. With `is_sent_away` the interruption is
    somebody who asks for the end, between two steps. With `is_queued` the model is taken at first, and the talk short.
    With `renew_seconds` the link to the model is renewed again and again.
    """
    interruption = Interruption()
    async with open_memory_portal() as portal, trio.open_nursery() as world:
        model = SimulatedModel(world)
        discord = FakeDiscord(world)
        backend = Backend(ModelConfig(url=MODEL_URL, renew_seconds=renew_seconds), MODEL_URL, model.dial)

        async def converse(talk: Talk, starter_id: int) -> PlexbridgeError | None:
            if renew_seconds is not None:
                return await hold_talk(
                    talk,
                    persona=PersonaConfig(),
                    settings=SETTINGS,
                    renewal=RenewalConfig(),
                    random=Random(1),
                )
            async with talk.ticket.use() as model_of_ticket:
                return await hold_conversation(
                    model_of_ticket,
                    talk.people,
                    persona=PersonaConfig(),
                    settings=SETTINGS,
                    ledger=Ledger(),
                    on_open=lambda link: None,
                )

        attendance = Attendance(auto_join=True, guilds=frozenset(), channels=frozenset())
        pool = Pool([backend], slot_seconds=0, probe=partial(probe_model, persona=PersonaConfig()), random=Random(1))
        rooms = Rooms(
            portal,
            discord,
            attendance,
            pool,
            converse,
            text_channel=None,
            place_seconds=PLACE_SECONDS,
            clock=trio.current_time,
            audiences=make_audiences(),
            recordings=make_recordings(),
        )
        discord.changed = partial(portal.into_trio, rooms.changed)
        taken = ExitStack()
        if is_queued:
            taken.enter_context(pool.request(0, 0))
        service = trio.CancelScope()
        instrument = CancelAfterSteps(number, partial(rooms.leave, GUILD) if is_sent_away else interruption.cause)

        async def serve() -> None:
            with service:
                await rooms.run()

        async def play_ada() -> None:
            """Enter, talk, and leave at the latest when the sweep's conversation is over."""
            discord.enter(ADA, CHANNEL)
            async with trio.open_nursery() as talk:
                talk.start_soon(discord.speak, ADA, TONE * 10)
                if breaks is not None:
                    talk.start_soon(break_voice, discord, breaks)
                with taken, trio.move_on_after(QUEUE_SECONDS if is_queued else 0):
                    await interruption.happened.wait()
                with trio.move_on_after(SHORT_SECONDS if is_queued else TALK_SECONDS):
                    await interruption.happened.wait()
                talk.cancel_scope.cancel(reason="enough was said")
            if not interruption.happened.is_set():
                discord.go(ADA)
            elif interrupt is None:
                service.cancel(reason="the sweep")
            else:
                await interrupt(discord)

        trio.lowlevel.add_instrument(instrument)
        instrument.watch(trio.lowlevel.current_task())
        try:
            async with trio.open_nursery() as played:
                world.start_soon(serve)
                played.start_soon(play_ada)
            await trio.sleep(END_SECONDS)
        finally:
            trio.lowlevel.remove_instrument(instrument)

        assert not discord.voices, "the bot is still in the channel"
        assert not rooms.rooms
        assert not model.server.is_busy
        assert all(stream.is_closed for stream in model.streams)
        assert_no_codec_is_open()
        assert len(world.child_tasks) == (0 if service.cancel_called else 1), "only the service is left"
        world.cancel_scope.cancel(reason="the run is over")
    return instrument.steps


async def break_voice(discord: FakeDiscord, cause: Cause) -> None:
    """End the voice connection when the conversation is under way."""
    await trio.sleep(TALK_SECONDS / 2)
    for voice in discord.voices:
        voice.end(Ending(cause))


def sweep(
    number: int | None,
    interrupt: Callable[[FakeDiscord], Awaitable[None]] | None,
    *,
    breaks: Cause | None = None,
    is_sent_away: bool = False,
    is_queued: bool = False,
    renew_seconds: float | None = None,
) -> int:
    """Make one run by itself, in simulated time."""
    channels = RecordedChannels()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio, "open_memory_channel", channels)
        run = partial(
            run_room,
            number,
            interrupt,
            breaks=breaks,
            is_sent_away=is_sent_away,
            is_queued=is_queued,
            renew_seconds=renew_seconds,
        )
        steps = trio.run(run, clock=MockClock(autojump_threshold=0))
    channels.assert_closed()
    return steps


@pytest.mark.cancellation
@pytest.mark.no_cover  # thousands of runs of the same lines, which other tests cover
@pytest.mark.parametrize(
    ("interrupt", "breaks"),
    [(go, None), (go_and_return, None), (None, None), (go, Cause.BROKEN), (None, Cause.BROKEN)],
    ids=["leave", "leave and return", "stop", "leave around a recovery", "stop around a recovery"],
)
def test_a_conversation_on_discord_leaves_nothing_behind_wherever_it_is_interrupted(
    interrupt: Callable[[FakeDiscord], Awaitable[None]] | None,
    breaks: Cause | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = sweep(None, interrupt, breaks=breaks)

    gc.collect()
    gc.freeze()  # what was there before is no codec of these runs, and need not be looked at 500 times
    try:
        for number in range(1, steps + 1):
            sweep(number, interrupt, breaks=breaks)
    finally:
        gc.unfreeze()

    name = "stop" if interrupt is None else interrupt.__name__
    with capsys.disabled():
        name += " around a recovery" if breaks else ""
        print(f"\ncancellation on Discord: {name} at each of {steps} steps")
    assert steps > 300


@pytest.mark.cancellation
@pytest.mark.no_cover  # thousands of runs of the same lines, which other tests cover
@pytest.mark.parametrize("interrupt", [go, None], ids=["leave", "stop"])
def test_a_conversation_whose_link_is_renewed_leaves_nothing_behind_either(
    interrupt: Callable[[FakeDiscord], Awaitable[None]] | None,
) -> None:
    steps = sweep(None, interrupt, renew_seconds=0.1)

    gc.collect()
    gc.freeze()
    try:
        for point in range(RENEWAL_POINTS):
            sweep(1 + point * steps // RENEWAL_POINTS, interrupt, renew_seconds=0.1)
    finally:
        gc.unfreeze()
    assert steps > 300


@pytest.mark.cancellation
@pytest.mark.no_cover  # thousands of runs of the same lines, which other tests cover
def test_who_asks_for_the_end_of_a_conversation_that_ends_by_itself_ends_nothing_else() -> None:
    steps = sweep(None, go, breaks=Cause.THROWN_OUT)

    gc.collect()
    gc.freeze()
    try:
        for number in range(1, steps + 1):
            sweep(number, go, breaks=Cause.THROWN_OUT, is_sent_away=True)
    finally:
        gc.unfreeze()


@pytest.mark.cancellation
@pytest.mark.no_cover  # thousands of runs of the same lines, which other tests cover
@pytest.mark.parametrize("interrupt", [go, None], ids=["leave", "stop"])
def test_who_waits_for_a_model_leaves_nothing_behind_wherever_that_is_interrupted(
    interrupt: Callable[[FakeDiscord], Awaitable[None]] | None,
) -> None:
    steps = sweep(None, interrupt, is_queued=True)

    gc.collect()
    gc.freeze()
    try:
        for number in range(1, steps + 1):
            sweep(number, interrupt, is_queued=True)
    finally:
        gc.unfreeze()
    assert steps > 100
