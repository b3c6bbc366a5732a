"""Planned renewal, in simulated time: when the links change, what people notice of it, and what is left afterwards."""

import gc
import itertools
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qs, urlsplit

import pytest
import trio
from trio.testing import MockClock

from plexbridge.audio.pcm import FRAME_SECONDS, Samples, level_dbfs
from plexbridge.config import Mark, ModelConfig, PersonaConfig, RenewalConfig
from plexbridge.errors import ModelLimit, ModelLost, ModelUnreachable, PlexbridgeError
from plexbridge.model.conversation import State
from plexbridge.model.request import ModelAddress
from plexbridge.relay import MARK_SENTENCE, Places, Terms, hold_relay
from plexbridge.service import Backend, Progress
from plexbridge.session.ledger import Ledger, Shed
from tests.session.simulation import SETTINGS, ScriptedPeople, SimulatedModel, TrackedStream, tone
from tests.session.test_cancellation import CancelAfterSteps, RecordedChannels, assert_no_codec_is_open

NUMBERS = itertools.count()
PERSONA = PersonaConfig(prompt="You are brief.")
POINTS = 40
"""Steps of a call that are tried; of all, the search takes minutes."""
RENEW_SECONDS = 8.0
SEARCH_SECONDS = 6.0
"""When the search for a silent moment begins: a quarter of the time before."""


class Model(SimulatedModel):
    """A server that takes one call, and some time for the handshake; it notes what it is asked for."""

    def __init__(self, nursery: trio.Nursery, *, connect_seconds: float = 0.0) -> None:
        super().__init__(nursery)
        self.connect_seconds = connect_seconds
        self.dialled_seconds: list[float] = []
        self.requests: list[str] = []

    async def dial(self, address: ModelAddress) -> trio.abc.Stream:
        """Connect; whoever does so while another link is open has broken the rule of one session."""
        assert all(stream.is_closed for stream in self.streams[::2]), "a second connection"
        self.dialled_seconds.append(trio.current_time())
        await trio.sleep(self.connect_seconds)
        return _Noted(await super().dial(address), self.requests)

    async def die(self, after_seconds: float) -> None:
        """Break the first call off after a while."""
        await trio.sleep(after_seconds)
        await self.streams[1].aclose()

    def backend(self, *, renew_seconds: float = RENEW_SECONDS, limit_seconds: float | None = None) -> Backend:
        """Return where it is: a host of its own, as the lock of the machine is real."""
        url = f"ws://relay-{os.getpid()}-{next(NUMBERS)}/api/chat"
        model = ModelConfig(url=url, renew_seconds=renew_seconds, limit_seconds=limit_seconds)
        return Backend(model, url, self.dial)


class _Noted(TrackedStream):
    """A stream whose first message, the request, is noted."""

    def __init__(self, stream: trio.abc.Stream, requests: list[str]) -> None:
        super().__init__(stream)
        self._requests = requests
        self._is_first = True

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_first:
            self._requests.append(bytes(data).split(b" ", 2)[1].decode())
            self._is_first = False
        await super().send_all(data)


class OnePlace:
    """Implements `relay.Places` for a model that has no room for a second link."""

    @asynccontextmanager
    async def spare(self) -> AsyncIterator[Backend | None]:
        """Offer nothing."""
        yield None

    def swap(self) -> None:
        """There is no second link that could be kept."""

    def lost(self, backend: Backend, failure: PlexbridgeError | None) -> None:
        """There is none that could be done without."""


@dataclass
class TwoPlaces:
    """Room for a second link at the other of two models. Implements `relay.Places`."""

    backends: list[Backend]
    """The present one, and the other."""
    present: int = 0
    events: list[str] = field(default_factory=list)
    failures: list[tuple[Backend, PlexbridgeError]] = field(default_factory=list)
    """Of links that the conversation went on without."""

    @asynccontextmanager
    async def spare(self) -> AsyncIterator[Backend | None]:
        """Hold the other one."""
        self.events.append("taken")
        try:
            yield self.backends[1 - self.present]
        finally:
            self.events.append("freed")

    def swap(self) -> None:
        """Keep the other one."""
        self.present = 1 - self.present
        self.events.append("kept")

    def lost(self, backend: Backend, failure: PlexbridgeError | None) -> None:
        """Write failures down."""
        if failure is not None:
            self.failures.append((backend, failure))


@dataclass
class Call:
    """One conversation, and all that can be seen of it."""

    people: ScriptedPeople
    said: list[str] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)
    ledgers: list[Ledger] = field(default_factory=list)
    began_seconds: list[float] = field(default_factory=list)
    """When each link's turn began, from the start of the call."""
    failure: PlexbridgeError | None = None

    async def hold(
        self, backend: Backend, places: Places | None = None, *, mark: Mark = "none", recap: bool = False
    ) -> None:
        """Hold it to its end."""
        started_seconds = trio.current_time()
        terms = Terms(PERSONA, SETTINGS, RenewalConfig(mark=mark, recap=recap), self.said.append, self.progress)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, started_seconds)
            self.failure = await hold_relay(backend, places or OnePlace(), self.people, terms, listens=lambda: None)
            nursery.cancel_scope.cancel()

    async def _watch(self, started_seconds: float) -> None:
        while True:
            ledger = self.progress.ledger
            if ledger is not None and ledger not in self.ledgers:
                self.ledgers.append(ledger)
                self.began_seconds.append(trio.current_time() - started_seconds)
            await trio.sleep(0.005)

    @property
    def ticks(self) -> list[int]:
        """Of all frames that were played."""
        return [tick for tick, _ in self.people.played]

    def heard(self, start_seconds: float, end_seconds: float) -> list[float]:
        """Return the levels of what was played between two times."""
        return [
            level_dbfs(samples)
            for tick, samples in self.people.played
            if start_seconds <= tick * FRAME_SECONDS < end_seconds
        ]


def speak(*spans: tuple[float, float]) -> Callable[[int], Samples | None]:
    """Return the script of people who speak in these spans, in seconds."""
    return lambda tick: tone(tick) if any(a <= tick * FRAME_SECONDS < b for a, b in spans) else None


def talk(seconds: float, script: Callable[[int], Samples | None] = tone) -> Call:
    return Call(ScriptedPeople(round(seconds / FRAME_SECONDS), script))


def assert_grid(call: Call) -> None:
    """Fail when a tick was played twice, or left out."""
    assert call.ticks == list(range(call.ticks[0], call.ticks[0] + len(call.ticks)))


# One slot


async def test_in_a_silent_moment_the_link_is_closed_and_opened_anew_and_nobody_was_speaking(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    model, call = Model(nursery, connect_seconds=2.0), talk(15, speak((0, 6.9), (11, 15)))

    await call.hold(model.backend())

    assert call.failure is None
    assert call.progress.renewals.reopened == 1
    assert call.progress.renewals.unheard_frames == 0
    left_seconds = model.dialled_seconds[1] - model.dialled_seconds[0] - 2.0
    assert 7.3 <= left_seconds < 7.8, "the model has had the last word, and has been silent for 400 ms"
    assert call.began_seconds[1] == pytest.approx(left_seconds + 4.0, abs=0.1)
    assert max(call.heard(11.3, 14.8)) > -15, "who speaks afterwards is answered"
    assert_grid(call)
    assert State.WAITING not in call.people.told[3:]


async def test_at_the_deadline_the_change_is_made_though_somebody_speaks_and_what_they_say_is_dropped_and_counted(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    said_in_the_gap = (RENEW_SECONDS + 0.2, RENEW_SECONDS + 1.8)

    def script(tick: int) -> Samples:
        is_gap = said_in_the_gap[0] <= tick * FRAME_SECONDS < said_in_the_gap[1]
        return tone(tick) * (0.1 if is_gap else 1.0)

    model, call = Model(nursery, connect_seconds=2.0), talk(15, script)

    await call.hold(model.backend())

    renewals = call.progress.renewals
    assert (renewals.moved, renewals.reopened, renewals.failed) == (0, 1, 0)
    assert renewals.unheard_frames == pytest.approx(100, abs=5)
    assert renewals.longest_gap_seconds == pytest.approx(2.0, abs=0.1)
    assert call.ledgers[1].shed_frames == {Shed.RENEWAL: renewals.unheard_frames}
    assert sum(ledger.frames_sent for ledger in call.ledgers) + renewals.unheard_frames == pytest.approx(750, abs=4)
    quiet = [level for _, samples in call.people.played if -45 < (level := level_dbfs(samples)) < -25]
    assert len(quiet) <= 2, "the echo of what was said in the gap was never heard"
    assert max(call.heard(RENEW_SECONDS + 0.1, RENEW_SECONDS + 2)) < -50
    assert min(call.heard(RENEW_SECONDS + 2.3, 14.8)) > -15
    assert_grid(call)
    assert "the link to model personaplex is renewed, after 2." in caplog.text


async def test_delay_is_the_same_before_and_after_a_renewal(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    model, call = Model(nursery, connect_seconds=1.0), talk(15)

    await call.hold(model.backend(renew_seconds=3))

    assert call.progress.renewals.reopened == 3
    assert {ledger.total.percentile_seconds(50) for ledger in call.ledgers} == {
        call.ledgers[0].total.percentile_seconds(50)
    }
    assert {ledger.playout.depth_samples > 9600 for ledger in call.ledgers} == {False}


@pytest.mark.parametrize(("mark", "words"), [("sentence", [MARK_SENTENCE]), ("none", []), ("sound", [])])
async def test_the_pause_is_marked_as_it_is_configured(
    mark: Mark, words: list[str], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    model, call = Model(nursery, connect_seconds=1.0), talk(7, lambda tick: None)

    await call.hold(model.backend(renew_seconds=4), mark=mark)

    began_seconds = call.began_seconds[1] - 1.0
    before, behind = (
        call.heard(began_seconds - 1.0, began_seconds - 0.3),
        call.heard(began_seconds, began_seconds + 0.4),
    )
    assert call.said == words
    assert (max(before) > -35, max(behind) > -35) == (mark == "sound", mark == "sound")
    assert not [state for state in call.people.told[3:] if state is not State.LIVE]


async def test_who_leaves_in_the_pause_is_not_waited_for(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    model, call = Model(nursery, connect_seconds=5.0), talk(7)

    await call.hold(model.backend(renew_seconds=4))

    assert call.failure is None
    assert trio.current_time() == pytest.approx(5 + 7, abs=0.6)
    assert all(stream.is_closed for stream in model.streams)


async def test_a_model_that_does_not_come_back_is_returned_as_the_failure_of_the_conversation(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    model, call = Model(nursery), talk(30)

    async def kill() -> None:
        await trio.sleep(3)
        model.is_gone = True

    nursery.start_soon(kill)
    await call.hold(model.backend(renew_seconds=4))

    assert isinstance(call.failure, ModelUnreachable)
    assert call.progress.renewals.reopened == 0
    assert trio.current_time() == pytest.approx(4, abs=0.6)


async def test_the_first_link_fails_like_that_of_any_conversation(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    model, call = Model(nursery), talk(30)
    model.is_gone = True

    await call.hold(model.backend())

    assert isinstance(call.failure, ModelUnreachable)
    assert call.people.told == [State.CONNECTING]


async def test_the_models_limit_counts_over_all_links_and_ends_the_conversation(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    model, call = Model(nursery), talk(30)

    await call.hold(model.backend(renew_seconds=4, limit_seconds=10))

    assert isinstance(call.failure, ModelLimit)
    assert call.progress.renewals.reopened == 2
    assert trio.current_time() == pytest.approx(10, abs=0.6)


async def test_a_limit_before_the_deadline_leaves_nothing_to_renew(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    first, second, call = Model(nursery), Model(nursery), talk(30, lambda tick: None)
    places = TwoPlaces([first.backend(renew_seconds=4, limit_seconds=3.9), second.backend()])

    await call.hold(places.backends[0], places)

    assert isinstance(call.failure, ModelLimit)
    assert places.events == []


# A second slot


async def test_with_a_second_slot_the_next_link_stands_before_the_old_one_is_left_and_no_tick_is_lost(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    models, call = [Model(nursery, connect_seconds=1.0), Model(nursery, connect_seconds=1.0)], talk(17)
    places = TwoPlaces([model.backend(renew_seconds=5) for model in models])

    await call.hold(places.backends[0], places, mark="sound")

    renewals = call.progress.renewals
    assert (renewals.moved, renewals.reopened, renewals.failed, renewals.unheard_frames) == (3, 0, 0, 0)
    assert renewals.longest_gap_seconds == pytest.approx(FRAME_SECONDS)
    assert [len(model.requests) for model in models] == [2, 2]
    assert places.events == ["taken", "kept", "freed"] * 3
    assert places.failures == []
    assert sum(ledger.frames_sent for ledger in call.ledgers) == pytest.approx(17 * 50, abs=4)
    assert call.people.told.count(State.WAITING) == 1
    assert_grid(call)
    began_seconds = call.began_seconds[1] - 1.0
    gap = [level for level in call.heard(began_seconds - 0.5, began_seconds + 0.5) if level < -40]
    assert len(gap) <= 7, "140 ms: what the model has not answered yet, and the new one's first 80 ms"


async def test_with_a_second_slot_the_change_waits_for_a_silent_moment_too(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    models, call = [Model(nursery), Model(nursery)], talk(10, speak((0, 6.6), (7.4, 10)))
    places = TwoPlaces([model.backend() for model in models])

    await call.hold(places.backends[0], places)

    assert call.progress.renewals.moved == 1
    assert 7.0 < call.began_seconds[1] < 7.5


async def test_a_second_link_that_can_not_be_opened_leaves_the_old_one_until_the_deadline(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    models, call = [Model(nursery), Model(nursery)], talk(10, lambda tick: None)
    models[1].is_gone = True
    places = TwoPlaces([model.backend() for model in models])

    await call.hold(places.backends[0], places)

    renewals = call.progress.renewals
    assert (renewals.moved, renewals.reopened, renewals.failed) == (0, 1, 1)
    assert call.began_seconds[1] == pytest.approx(RENEW_SECONDS, abs=0.6)
    assert places.events == ["taken", "freed"]
    assert [(backend, type(failure)) for backend, failure in places.failures] == [
        (places.backends[1], ModelUnreachable)
    ]
    assert "a renewed link failed: ModelUnreachable: nobody answers" in caplog.text
    assert len(models[0].requests) == 2


async def test_a_second_link_that_is_not_open_at_the_deadline_is_given_up(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    models, call = [Model(nursery), Model(nursery, connect_seconds=5)], talk(10)
    places = TwoPlaces([model.backend() for model in models])

    await call.hold(places.backends[0], places)

    assert (call.progress.renewals.moved, call.progress.renewals.reopened) == (0, 1)
    assert places.events == ["taken", "freed"]
    assert places.failures == [], "it was not waited for any longer, which is not its model's fault"
    assert call.began_seconds[1] == pytest.approx(RENEW_SECONDS, abs=0.6)
    assert models[1].requests == []


async def test_a_link_that_is_lost_while_it_waits_for_its_turn_is_no_successor(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    models, call = [Model(nursery), Model(nursery)], talk(10)
    places = TwoPlaces([model.backend() for model in models])

    nursery.start_soon(models[1].die, SEARCH_SECONDS + 1)
    await call.hold(places.backends[0], places)

    renewals = call.progress.renewals
    assert (renewals.moved, renewals.reopened, renewals.failed) == (0, 1, 1)
    assert places.events == ["taken", "freed"]
    assert [(backend, type(failure)) for backend, failure in places.failures] == [(places.backends[1], ModelLost)]


async def test_a_model_that_is_lost_when_the_next_link_stands_is_left_for_it(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    models, call = [Model(nursery), Model(nursery)], talk(10)
    places = TwoPlaces([model.backend() for model in models])

    nursery.start_soon(models[0].die, SEARCH_SECONDS + 1)
    await call.hold(places.backends[0], places)

    assert call.failure is None
    assert call.progress.renewals.moved == 1
    assert call.began_seconds[1] == pytest.approx(SEARCH_SECONDS + 1, abs=0.7)
    assert places.events == ["taken", "kept", "freed"]
    assert [(backend, type(failure)) for backend, failure in places.failures] == [(places.backends[0], ModelLost)]


async def test_a_model_that_is_lost_before_any_renewal_ends_the_conversation(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    model, call = Model(nursery), talk(10)

    nursery.start_soon(model.die, 3)
    await call.hold(model.backend())

    assert isinstance(call.failure, ModelLost)


# The recap


def prompts(model: Model) -> list[str]:
    """Return the personas that a model was asked for."""
    return [parse_qs(urlsplit(request).query)["text_prompt"][0] for request in model.requests]


@pytest.mark.parametrize("recap", [False, True])
async def test_the_next_model_is_told_what_the_last_one_said_only_if_that_is_wanted(
    recap: bool, nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    model, call = Model(nursery), talk(7, speak((1, 2)))

    await call.hold(model.backend(renew_seconds=5), recap=recap)

    first, second = prompts(model)
    assert first == PERSONA.prompt
    expected = f'{PERSONA.prompt} You are in the middle of this call. You have just said: "You said something."'
    assert second == (expected if recap else PERSONA.prompt)
    voices = {parse_qs(urlsplit(request).query)["voice_prompt"][0] for request in model.requests}
    assert voices == {"NATF0.pt"}


async def test_a_recap_that_does_not_fit_is_left_out(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    model, call = Model(nursery), talk(7, speak((1, 2)))
    call.progress = Progress()
    long = PERSONA.model_copy(update={"prompt": "word " * 1580})
    terms = Terms(long, SETTINGS, RenewalConfig(mark="none", recap=True), call.said.append, call.progress)

    failure = await hold_relay(model.backend(renew_seconds=5), OnePlace(), call.people, terms, listens=lambda: None)

    assert failure is None
    assert len(set(prompts(model))) == 1
    assert len(prompts(model)) == 2


# What is left


async def test_a_long_call_of_many_renewals_grows_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    models, call = [Model(nursery, connect_seconds=0.2) for _ in range(2)], talk(40)
    places = TwoPlaces([model.backend(renew_seconds=4) for model in models])
    tasks: list[int] = []

    async def count() -> None:
        while True:
            await trio.sleep(4)
            tasks.append(trio.lowlevel.current_statistics().tasks_living)

    async with trio.open_nursery() as counting:
        counting.start_soon(count)
        await call.hold(places.backends[0], places)
        counting.cancel_scope.cancel()

    assert call.progress.renewals.moved == 9
    assert call.progress.renewals.longest_gap_seconds == pytest.approx(FRAME_SECONDS)
    assert max(tasks[2:-1]) <= max(tasks[:2]), "but for a link that says goodbye"
    assert sum(not stream.is_closed for model in models for stream in model.streams) == 0
    delays = [ledger.total.percentile_seconds(99) for ledger in call.ledgers]
    assert max(delay or 0 for delay in delays) <= (delays[0] or 0) + FRAME_SECONDS
    assert_grid(call)


async def run_cancelled(number: int | None, *, are_two: bool, is_lost: bool) -> int:
    """Cancel a call with a renewal after step `number`, or have everybody leave; return the steps it took."""
    async with trio.open_nursery() as world:
        models = [Model(world, connect_seconds=0.05), Model(world, connect_seconds=0.05)]
        places = TwoPlaces([model.backend(renew_seconds=0.2) for model in models])
        models[1].is_gone = is_lost
        call = talk(0.4)
        with trio.CancelScope() as scope:
            instrument = CancelAfterSteps(number, lambda: scope.cancel(reason="the sweep"))
            instrument.watch(trio.lowlevel.current_task())
            trio.lowlevel.add_instrument(instrument)
            try:
                await call.hold(places.backends[0], places if are_two else None, mark="sound")
            finally:
                trio.lowlevel.remove_instrument(instrument)
        await trio.testing.wait_all_tasks_blocked()

        assert_no_codec_is_open()
        assert not world.child_tasks, "a task of a server outlived the call, so its connection is still open"
        assert all(stream.is_closed for model in models for stream in model.streams)
        assert not any(model.server.is_busy for model in models)
        assert places.events.count("taken") == places.events.count("freed")
        world.cancel_scope.cancel()
    return instrument.steps


@pytest.mark.cancellation
@pytest.mark.no_cover  # thousands of runs of the same lines, which other tests cover
@pytest.mark.parametrize(
    ("are_two", "is_lost"),
    [(False, False), (True, False), (True, True)],
    ids=["one slot", "two slots", "two, one gone"],
)
def test_a_renewal_leaves_nothing_behind_wherever_it_is_cancelled(are_two: bool, is_lost: bool) -> None:
    def run(number: int | None) -> int:
        channels = RecordedChannels()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trio, "open_memory_channel", channels)
            steps = trio.run(
                partial(run_cancelled, number, are_two=are_two, is_lost=is_lost), clock=MockClock(autojump_threshold=0)
            )
        channels.assert_closed()
        return steps

    steps = run(None)
    assert steps > 300
    gc.collect()
    gc.freeze()  # what is there already need not be looked through for every step
    try:
        for point in range(POINTS):
            run(1 + point * steps // POINTS)
    finally:
        gc.unfreeze()
