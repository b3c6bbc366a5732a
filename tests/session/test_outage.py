"""Outages: a model that is lost is tried again, with the people told once, in simulated time."""

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import pytest
import trio
from trio.testing import MockClock

from plexbridge.errors import (
    ConfigError,
    DiscordLost,
    LinkError,
    LocalProtocolError,
    ModelBusy,
    ModelLimit,
    ModelLost,
    ModelRefused,
    ModelSilent,
    ModelUnreachable,
    ModelUntrusted,
    PlexbridgeError,
    RemoteProtocolError,
    RequestError,
)
from plexbridge.session.outage import (
    BACK_SENTENCE,
    LOST_SENTENCE,
    SILENT_SENTENCE,
    UNSTEADY_SENTENCE,
    converse_through_outages,
)
from tests.session.test_cancellation import CancelAfterSteps

LOST = ModelLost("closed with 1006")
UNREACHABLE = ModelUnreachable("refused")
LEFT = None
"""How a conversation ends that the people have left."""

OUTAGES = [
    LOST,
    ModelSilent("nothing for 10 s"),
    UNREACHABLE,
    ModelBusy("it serves another call"),
    ModelRefused("closed before its handshake"),
    RemoteProtocolError("audio before the handshake"),
]
FINAL = [
    ModelLimit("the limit was reached"),
    ModelUntrusted("unknown certificate"),
    LinkError("something new"),
    RequestError("There is no such voice."),
    ConfigError(("ca_file: none",)),
    DiscordLost("gone"),
    LocalProtocolError("a bug"),
    PlexbridgeError("KeyError"),
]


def name(failure: PlexbridgeError) -> str:
    return type(failure).__name__


@dataclass(frozen=True)
class Conversation:
    """What becomes of one attempt."""

    failure: PlexbridgeError | None
    listening_seconds: float | None = None
    """How long the model listens before that; None when it never does."""
    handshake_seconds: float = 0.0


def unreachable() -> Conversation:
    return Conversation(UNREACHABLE)


@dataclass
class Script:
    """The attempts that there will be, the last one again and again, and what was said meanwhile."""

    conversations: Sequence[Conversation]
    random: Random = field(default_factory=lambda: Random(1))
    said: list[tuple[float, str]] = field(default_factory=list)
    attempts_seconds: list[float] = field(default_factory=list)
    ends_seconds: list[float] = field(default_factory=list)

    async def attempt(self, listens: Callable[[], None]) -> PlexbridgeError | None:
        """Hold the next conversation."""
        conversation = self.conversations[min(len(self.attempts_seconds), len(self.conversations) - 1)]
        self.attempts_seconds.append(trio.current_time())
        await trio.sleep(conversation.handshake_seconds)
        if conversation.listening_seconds is not None:
            listens()
            await trio.sleep(conversation.listening_seconds)
        self.ends_seconds.append(trio.current_time())
        return conversation.failure

    async def converse(self) -> PlexbridgeError | None:
        """Converse until it is over for good."""
        return await converse_through_outages(
            self.attempt, lambda words: self.said.append((trio.current_time(), words)), random=self.random
        )

    @property
    def sentences(self) -> list[str]:
        """What was said, without when."""
        return [words for _, words in self.said]

    @property
    def waits_seconds(self) -> list[float]:
        """How long it took from each failure to the next attempt."""
        return [later - earlier for earlier, later in zip(self.ends_seconds, self.attempts_seconds[1:], strict=False)]


# The first attempt


async def test_a_conversation_that_the_people_leave_is_the_end_of_it(autojump_clock: MockClock) -> None:
    script = Script([Conversation(LEFT, listening_seconds=60)])

    assert await script.converse() is None

    assert len(script.attempts_seconds) == 1
    assert script.said == []


@pytest.mark.parametrize("failure", [*OUTAGES, *FINAL], ids=name)
async def test_what_fails_before_the_model_has_ever_listened_is_returned_at_once(
    failure: PlexbridgeError, autojump_clock: MockClock
) -> None:
    script = Script([Conversation(failure, handshake_seconds=30)])

    assert await script.converse() is failure

    assert len(script.attempts_seconds) == 1
    assert script.said == []


# An outage


@pytest.mark.parametrize("failure", OUTAGES, ids=name)
async def test_a_model_that_is_lost_is_announced_and_gets_another_attempt(
    failure: PlexbridgeError, autojump_clock: MockClock
) -> None:
    script = Script([Conversation(failure, 60), Conversation(LEFT, 60)])

    assert await script.converse() is None

    assert script.sentences == [
        SILENT_SENTENCE if isinstance(failure, ModelSilent) else LOST_SENTENCE,
        BACK_SENTENCE,
    ]


@pytest.mark.parametrize("failure", FINAL, ids=name)
async def test_what_no_other_attempt_would_mend_is_returned_at_once(
    failure: PlexbridgeError, autojump_clock: MockClock
) -> None:
    at_first, in_an_outage = (
        Script([Conversation(failure, 60)]),
        Script([Conversation(LOST, 60), Conversation(failure)]),
    )

    assert await at_first.converse() is failure
    assert await in_an_outage.converse() is failure

    assert at_first.said == []
    assert in_an_outage.sentences == [LOST_SENTENCE]


@pytest.mark.parametrize("failure", OUTAGES, ids=name)
async def test_whatever_a_restarting_server_does_prolongs_the_outage(
    failure: PlexbridgeError, autojump_clock: MockClock
) -> None:
    script = Script([Conversation(LOST, 60), *[Conversation(failure)] * 5, Conversation(LEFT, 60)])

    assert await script.converse() is None

    assert script.sentences == [LOST_SENTENCE, BACK_SENTENCE]
    assert len(script.attempts_seconds) == 7


async def test_people_are_told_when_it_happens(autojump_clock: MockClock) -> None:
    started_seconds = trio.current_time()
    script = Script([Conversation(LOST, 60), Conversation(LEFT, 60, handshake_seconds=20)])

    await script.converse()

    (lost_seconds, _), (back_seconds, _) = script.said
    assert lost_seconds == pytest.approx(started_seconds + 60)
    assert lost_seconds + 20.25 <= back_seconds <= lost_seconds + 20.5


async def test_waits_grow_from_half_a_second_to_five(autojump_clock: MockClock) -> None:
    script = Script([Conversation(LOST, 60), *[unreachable()] * 9, Conversation(LEFT, 60)])

    await script.converse()

    wholes = [0.5, 1.0, 2.0, 4.0, *[5.0] * 6]
    assert len(script.waits_seconds) == len(wholes)
    for wait_seconds, whole_seconds in zip(script.waits_seconds, wholes, strict=True):
        assert whole_seconds / 2 - 1e-6 <= wait_seconds <= whole_seconds + 1e-6


async def test_after_300_seconds_the_last_failure_is_returned(autojump_clock: MockClock) -> None:
    last = ModelRefused("no such voice any more")
    refuses_seconds = trio.current_time() + 60 + 299

    async def attempt(listens: Callable[[], None]) -> PlexbridgeError | None:
        if trio.current_time() >= refuses_seconds:
            return last
        return await script.attempt(listens)

    script = Script([Conversation(LOST, 60), unreachable()])
    started_seconds = trio.current_time()

    assert await converse_through_outages(attempt, lambda words: None, random=Random(1)) is last

    assert trio.current_time() == pytest.approx(started_seconds + 60 + 300)


async def test_an_attempt_that_is_under_way_at_the_limit_may_still_succeed(autojump_clock: MockClock) -> None:
    script = Script([Conversation(LOST, 60), Conversation(LEFT, 60, handshake_seconds=400)])

    assert await script.converse() is None

    assert script.sentences == [LOST_SENTENCE, BACK_SENTENCE]


# What belongs to one outage


async def test_a_model_that_comes_and_goes_is_one_outage_of_few_sentences_and_growing_waits(
    autojump_clock: MockClock,
) -> None:
    script = Script([Conversation(LOST, 60), Conversation(ModelSilent("nothing for 9 s"), 9)])
    started_seconds = trio.current_time()

    assert isinstance(await script.converse(), ModelSilent)

    pairs = [LOST_SENTENCE, BACK_SENTENCE, SILENT_SENTENCE, BACK_SENTENCE, SILENT_SENTENCE, BACK_SENTENCE]
    assert script.sentences == [*pairs, UNSTEADY_SENTENCE]
    assert script.waits_seconds[5] >= 2.5
    assert 360 <= trio.current_time() - started_seconds <= 370


async def test_ten_seconds_of_listening_end_an_outage(autojump_clock: MockClock) -> None:
    script = Script(
        [Conversation(LOST, 60), *[unreachable()] * 8, *[Conversation(LOST, 10.1)] * 100, Conversation(LEFT)]
    )

    assert await script.converse() is None

    assert script.sentences == [LOST_SENTENCE, BACK_SENTENCE] * 100 + [LOST_SENTENCE]
    assert max(script.waits_seconds[9:]) <= 0.5 + 1e-6, "the waits begin anew"


async def test_a_long_handshake_is_no_listening(autojump_clock: MockClock) -> None:
    script = Script([Conversation(LOST, 60), Conversation(LOST, 5, handshake_seconds=30), Conversation(LEFT, 60)])

    await script.converse()

    assert script.sentences == [LOST_SENTENCE, BACK_SENTENCE, LOST_SENTENCE, BACK_SENTENCE]
    assert script.waits_seconds[1] >= 0.5, "the waits go on growing"


async def test_a_model_that_says_twice_that_it_listens_has_done_so_since_the_first(autojump_clock: MockClock) -> None:
    said: list[str] = []
    attempts = itertools.count()

    async def attempt(listens: Callable[[], None]) -> PlexbridgeError | None:
        if next(attempts) == 3:
            return LEFT
        listens()
        await trio.sleep(9)
        listens()
        await trio.sleep(2)
        return LOST

    assert await converse_through_outages(attempt, said.append, random=Random(1)) is None

    assert said == [LOST_SENTENCE, BACK_SENTENCE, LOST_SENTENCE, BACK_SENTENCE, LOST_SENTENCE]


async def test_each_retry_and_the_return_are_one_line_in_the_log(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    script = Script([Conversation(LOST, 60), unreachable(), Conversation(LEFT, 60)])

    await script.converse()

    first_seconds, second_seconds = script.waits_seconds
    assert caplog.messages == [
        f"ModelLost: trying again in {first_seconds:.1f} s",
        f"ModelUnreachable: trying again in {second_seconds:.1f} s",
        f"the speech model is back after {first_seconds + second_seconds:.1f} s",
    ]


# Cancellation


async def run_cancelled(number: int | None) -> tuple[int, bool]:
    """Cancel the course of an outage after step `number`; return the steps it took and whether it was cut short."""
    script = Script(
        [Conversation(LOST, 60, handshake_seconds=1), unreachable(), unreachable(), Conversation(LEFT, 60)],
    )
    with trio.CancelScope() as scope:
        instrument = CancelAfterSteps(number, lambda: scope.cancel(reason="the sweep"))
        instrument.watch(trio.lowlevel.current_task())
        trio.lowlevel.add_instrument(instrument)
        try:
            await script.converse()
        finally:
            trio.lowlevel.remove_instrument(instrument)
    if scope.cancelled_caught:
        attempts = len(script.attempts_seconds)
        await trio.sleep(1000)
        assert len(script.attempts_seconds) == attempts, "nothing goes on"
    return instrument.steps, scope.cancelled_caught


@pytest.mark.cancellation
def test_cancellation_passes_at_any_point() -> None:
    def run(number: int | None) -> tuple[int, bool]:
        return trio.run(run_cancelled, number, clock=MockClock(autojump_threshold=0))

    checkpoints, was_cut = run(None)
    assert not was_cut
    assert checkpoints > 8

    cut_short = [run(number)[1] for number in range(1, checkpoints)]

    assert all(cut_short)
