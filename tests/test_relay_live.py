"""Planned renewal over real sockets, in real time, with servers of one session each that are built on others' code."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from plexbridge.audio.pcm import FRAME_SECONDS, level_dbfs
from plexbridge.config import ModelConfig, PersonaConfig, RenewalConfig
from plexbridge.errors import PlexbridgeError
from plexbridge.relay import Places, Terms, hold_relay
from plexbridge.service import Backend, Progress, open_backend
from tests.interop.environment import ModelServer, run_model_server
from tests.session.simulation import SETTINGS, ScriptedPeople
from tests.test_relay import OnePlace, TwoPlaces

pytestmark = pytest.mark.live

RENEW_SECONDS = 4.0
CALL_SECONDS = 10.0
LOOK_SECONDS = 0.02
HANDSHAKE = ("--prompt-seconds", "0.3")


class Call:
    """Somebody who talks without a pause, and all that is seen of their call."""

    def __init__(self) -> None:
        self.people = ScriptedPeople(round(CALL_SECONDS / FRAME_SECONDS))
        self.progress = Progress()
        self.waiting: list[int] = []
        """How many connections waited for a server's one session, whenever it was looked at."""

    async def hold(self, backend: Backend, places: Places, *servers: ModelServer) -> PlexbridgeError | None:
        """Hold it to its end."""
        terms = Terms(PersonaConfig(), SETTINGS, RenewalConfig(mark="none"), lambda words: None, self.progress)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, servers)
            failure = await hold_relay(backend, places, self.people, terms, listens=lambda: None)
            nursery.cancel_scope.cancel()
        return failure

    async def _watch(self, servers: tuple[ModelServer, ...]) -> None:
        while True:
            for server in servers:
                self.waiting.append((await trio.to_thread.run_sync(server.state)).waiting)
            await trio.sleep(LOOK_SECONDS)

    @property
    def unanswered_seconds(self) -> float:
        """How long nothing was heard, all in all."""
        silent = [samples for _, samples in self.people.played if level_dbfs(samples) <= -20]
        return len(silent) * FRAME_SECONDS

    def assert_answered(self, *seconds: int) -> None:
        """Fail when nothing was heard in one of these seconds."""
        loud = {int(tick * FRAME_SECONDS) for tick, samples in self.people.played if level_dbfs(samples) > -20}
        assert loud >= set(seconds)


@asynccontextmanager
async def reach(server: ModelServer) -> AsyncIterator[Backend]:
    """Yield a server as a model whose link is to be renewed soon."""
    async with open_backend(ModelConfig(url=server.url, renew_seconds=RENEW_SECONDS)) as backend:
        yield backend


async def test_a_server_of_one_session_never_has_two_and_answers_before_and_after_each_renewal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    call = Call()
    with run_model_server(*HANDSHAKE) as server:
        async with reach(server) as backend:
            failure = await call.hold(backend, OnePlace(), server)
        state = server.wait_state(sessions_ended=3)

    renewals = call.progress.renewals
    with capsys.disabled():
        print(f"\none slot: {renewals}; {call.unanswered_seconds:.2f} s of {CALL_SECONDS:.0f} s without an answer")
    assert failure is None
    assert (renewals.moved, renewals.reopened, renewals.failed) == (0, 2, 0)
    assert (state.connections, state.handshakes, state.sessions_started) == (3, 3, 3)
    assert len(call.waiting) > 50
    assert max(call.waiting) == 0, "a second connection was there while the session of the first one ran"
    assert renewals.longest_gap_seconds < 2
    assert call.unanswered_seconds < renewals.unheard_frames * FRAME_SECONDS + 3 * 0.3
    call.assert_answered(1, 3, 6, 8)


async def test_with_two_servers_the_change_takes_no_longer_than_a_tick_or_two(
    capsys: pytest.CaptureFixture[str],
) -> None:
    call = Call()
    with run_model_server(*HANDSHAKE) as first, run_model_server(*HANDSHAKE) as second:
        async with reach(first) as one, reach(second) as other:
            places = TwoPlaces([one, other])
            failure = await call.hold(one, places, first, second)
        states = [first.wait_state(sessions_ended=2), second.wait_state(sessions_ended=1)]

    renewals = call.progress.renewals
    with capsys.disabled():
        print(f"\ntwo slots: {renewals}; {call.unanswered_seconds:.2f} s of {CALL_SECONDS:.0f} s without an answer")
    assert failure is None
    assert (renewals.moved, renewals.reopened, renewals.failed) == (2, 0, 0)
    assert [state.connections for state in states] == [2, 1]
    assert max(call.waiting) == 0
    assert renewals.longest_gap_seconds <= 2.5 * FRAME_SECONDS
    assert renewals.unheard_frames == 0
    assert call.unanswered_seconds < 3 * 0.3
    call.assert_answered(*range(1, 9))
