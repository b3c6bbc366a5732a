"""Conversations from start to end over real sockets: what they return, and what a person and a log are told."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from plexbridge.config import AudioConfig, ModelConfig, PersonaConfig
from plexbridge.errors import (
    ModelBusy,
    ModelLimit,
    ModelRefused,
    ModelUnreachable,
    PlexbridgeError,
    RequestError,
)
from plexbridge.service import Backend, hold_conversation, open_backend, probe_model, session_settings
from plexbridge.session.ledger import Ledger
from plexbridge.session.link import Link
from plexbridge.session.people import Frame
from tests.session.simulation import ScriptedPeople

pytestmark = pytest.mark.live

PERSONA = PersonaConfig()
SETTINGS = session_settings(AudioConfig())


async def hold(
    backend: Backend, people: ScriptedPeople, *, persona: PersonaConfig = PERSONA, links: list[Link] | None = None
) -> PlexbridgeError | None:
    """Hold one conversation and return how it ended."""
    opened: list[Link] = [] if links is None else links
    return await hold_conversation(
        backend, people, persona=persona, settings=SETTINGS, ledger=Ledger(), on_open=opened.append
    )


@asynccontextmanager
async def embedded() -> AsyncIterator[Backend]:
    """Start the embedded model."""
    async with open_backend(ModelConfig(dialect="loopback")) as backend:
        yield backend


async def test_a_conversation_that_people_leave_ends_without_an_error() -> None:
    people, links = ScriptedPeople(ticks=20), list[Link]()

    async with embedded() as backend:
        failure = await hold(backend, people, links=links)

    assert failure is None
    assert len(people.played) == pytest.approx(20, abs=2)
    assert len(links) == 1


async def test_a_model_that_this_host_talks_to_already_is_busy_and_is_not_even_connected_to() -> None:
    first, second = ScriptedPeople(ticks=100_000), ScriptedPeople(ticks=10)

    async with embedded() as backend, trio.open_nursery() as nursery:
        opened = trio.Event()
        nursery.start_soon(_hold_until_cancelled, backend, first, opened)
        await opened.wait()
        failure = await hold(backend, second)
        probed = await probe_model(backend, persona=PERSONA)
        nursery.cancel_scope.cancel()

    assert isinstance(failure, ModelBusy)
    assert isinstance(probed, ModelBusy)
    assert second.told == []


async def _hold_until_cancelled(backend: Backend, people: ScriptedPeople, opened: trio.Event) -> None:
    await hold_conversation(
        backend, people, persona=PERSONA, settings=SETTINGS, ledger=Ledger(), on_open=lambda link: opened.set()
    )


async def test_the_models_time_limit_ends_the_conversation_with_a_sentence() -> None:
    async with embedded() as backend:
        limited = ModelConfig(dialect="personaplex", url=backend.url, limit_seconds=0.5)
        failure = await hold(Backend(limited, backend.url, backend.dial), ScriptedPeople(ticks=100_000))

    assert isinstance(failure, ModelLimit)


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    model = ModelConfig(dialect="personaplex", url="ws://127.0.0.1:9/api/chat")

    async with open_backend(model) as backend:
        failure = await hold(backend, ScriptedPeople(ticks=10))
        probed = await probe_model(backend, persona=PERSONA)

    assert isinstance(failure, ModelUnreachable)
    assert isinstance(probed, ModelUnreachable)


async def test_a_probe_returns_the_seconds_to_the_handshake() -> None:
    async with embedded() as backend:
        seconds = await probe_model(backend, persona=PERSONA)

    assert isinstance(seconds, float)
    assert 0 < seconds < 5


async def test_a_fault_of_ours_is_logged_with_its_traceback_once_and_told_in_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class FaultyPeople(ScriptedPeople):
        def listen(self, due_seconds: float) -> Frame | None:
            raise ZeroDivisionError("a bug")

    async with embedded() as backend:
        with caplog.at_level(logging.INFO):
            failure = await hold(backend, FaultyPeople(ticks=10))

    assert type(failure) is PlexbridgeError
    assert failure.user_message == PlexbridgeError.user_message
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert errors[0].exc_info is not None
    assert errors[0].exc_info[0] is ZeroDivisionError


async def test_after_a_failure_the_model_can_be_called_again() -> None:
    class FaultyPeople(ScriptedPeople):
        def listen(self, due_seconds: float) -> Frame | None:
            raise ZeroDivisionError("a bug")

    async with embedded() as backend:
        await hold(backend, FaultyPeople(ticks=10))
        failure = await hold(backend, ScriptedPeople(ticks=10))

    assert failure is None


async def test_a_persona_that_does_not_fit_is_refused_before_anything_is_connected() -> None:
    people = ScriptedPeople(ticks=10)

    async with embedded() as backend:
        persona = PERSONA.model_copy(update={"prompt": "word " * 5_000})
        failure = await hold(backend, people, persona=persona)

    assert isinstance(failure, RequestError)
    assert people.told == []


async def test_a_refusal_is_one_warning_in_the_log_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    async with embedded() as backend:
        elsewhere = ModelConfig(dialect="moshi", url=backend.url)  # moshi's query lacks what PersonaPlex wants
        with caplog.at_level(logging.WARNING):
            failure = await hold(Backend(elsewhere, backend.url, backend.dial), ScriptedPeople(ticks=10))

    assert isinstance(failure, ModelRefused)
    warnings = [record.getMessage() for record in caplog.records if record.name == "plexbridge.service"]
    assert len(warnings) == 1
    assert "close 1006" in warnings[0]
