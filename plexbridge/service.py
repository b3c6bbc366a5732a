"""Conversations from start to end: which model, over which link, and what its failures mean to a person.

This is where a session's errors end. Sessions and links fail in exception groups, since several tasks may fail at
once; `hold_conversation` looks at the leaves and returns the one error that a person should hear of: it returns it,
because an error raised through the nurseries of its callers would come out in a group again.
"""

import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from math import inf
from typing import NoReturn

import trio

from plexbridge import logs
from plexbridge.audio.hearing import HearingSettings
from plexbridge.audio.opus import MODEL_UPLINK
from plexbridge.audio.vad import Networks
from plexbridge.config import AudioConfig, HearingConfig, ModelConfig, PersonaConfig
from plexbridge.errors import ConfigError, LinkError, ModelLimit, PlexbridgeError
from plexbridge.model.answers import Echo
from plexbridge.model.conversation import Conversation, State
from plexbridge.model.lock import hold_model
from plexbridge.model.loopback import LoopbackServer, listen_loopback, serve_loopback
from plexbridge.model.request import build_request
from plexbridge.session.ledger import Ledger
from plexbridge.session.link import Dial, Link, network_dial, open_link, tls_context
from plexbridge.session.people import People
from plexbridge.session.renewal import RenewalStatistics
from plexbridge.session.session import SessionSettings, run_session

logger = logging.getLogger(__name__)

LOOPBACK_HOST = "127.0.0.1"
NETWORKS_SECONDS = 0.5
"""How often it is looked whether more people speak than there are networks to listen to them; so long one of them is
listened to less well."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A model that a conversation can be held with: its configuration, and where it is now."""

    model: ModelConfig
    url: str
    dial: Dial


@asynccontextmanager
async def open_backend(model: ModelConfig) -> AsyncIterator[Backend]:
    """Yield where `model` is; for the dialect `loopback`, start the embedded server on a free port first.

    Raises ConfigError when its `ca_file` can't be used.
    """
    dial = network_dial(tls_context(ca_file=model.ca_file, is_verified=model.verify))
    if model.dialect != "loopback":
        yield Backend(model, model.url, dial)
        return
    listeners, url = await listen_loopback(LOOPBACK_HOST, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_loopback, LoopbackServer(Echo), listeners)
        yield Backend(model, url, dial)
        nursery.cancel_scope.cancel(reason="its user has finished")


@asynccontextmanager
async def open_hearing(hearing: HearingConfig) -> AsyncIterator[HearingSettings]:
    """Yield how people are listened to, on whatever front; meanwhile there are networks enough for who speaks."""
    settings = HearingSettings(has_noise_gate=hearing.noise_gate)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_keep_networks, settings.networks)
        yield settings
        nursery.cancel_scope.cancel(reason="nobody listens any more")


async def _keep_networks(networks: Networks) -> NoReturn:
    """Have enough of them, made where nobody waits for it."""
    while True:
        while networks.are_scarce:
            await trio.to_thread.run_sync(networks.make)
        await trio.sleep(NETWORKS_SECONDS)


@dataclass(slots=True)
class Progress:
    """What others may see of a conversation while it lasts."""

    ledger: Ledger | None = None
    """Of the present or latest link to the model."""
    conversation: Conversation | None = None
    """None while the model is not there."""
    voice: str | None = None
    """The voice that was asked for."""
    renewals: RenewalStatistics = field(default_factory=RenewalStatistics)
    """Of all links since the conversation began."""

    @property
    def state(self) -> State | None:
        """The model's state; None while it is not there."""
        return None if self.conversation is None else self.conversation.state


def session_settings(audio: AudioConfig) -> SessionSettings:
    """Return the session's settings for the configured ones."""
    return SessionSettings(
        encoder=replace(MODEL_UPLINK, bitrate_bps=audio.bitrate),
        playout_minimum_seconds=audio.playout_min_ms / 1000,
        playout_maximum_seconds=audio.playout_max_ms / 1000,
    )


async def hold_conversation(
    backend: Backend,
    people: People,
    *,
    persona: PersonaConfig,
    settings: SessionSettings,
    ledger: Ledger,
    on_open: Callable[[Link], None],
) -> PlexbridgeError | None:
    """Hold one conversation between `people` and a model; return None when the people have left, else what failed.

    `on_open` is handed the link when the model has shaken hands. What can fail: ModelBusy when this host already talks
    to the model, RequestError for a voice or a persona that can't be used, LinkError for what became of the link,
    ModelLimit when the model's time is up; and PlexbridgeError itself for a bug of ours, which is logged.
    """
    logs.session_id.set(secrets.token_hex(3))
    model = backend.model
    failures = Failures()
    with failures.collect():
        async with reserve_link(backend, persona, people.tell) as link:
            logger.info("talking to model %s", model.name)
            on_open(link)
            with trio.move_on_after(inf if model.limit_seconds is None else model.limit_seconds) as limit:
                await run_session(link, people, settings, ledger=ledger, serial=secrets.randbits(32))
            if limit.cancelled_caught:
                raise ModelLimit(f"the limit of {model.limit_seconds} s for model {model.name} was reached")
    return failures.principal()


async def probe_model(backend: Backend, *, persona: PersonaConfig) -> float | PlexbridgeError:
    """Connect, wait for the handshake and hang up; return the seconds that it took, or what failed."""
    failures = Failures()
    with failures.collect():
        async with reserve_link(backend, persona, lambda state: None) as link:
            seconds = link.handshake_seconds
    return failures.principal() or seconds


@asynccontextmanager
async def reserve_link(backend: Backend, persona: PersonaConfig, watch: Callable[[State], None]) -> AsyncIterator[Link]:
    """Open the link to a model that no other process of this host talks to meanwhile.

    Raises ModelBusy, RequestError and LinkError, some of it in exception groups: see `Failures`.
    """
    model = backend.model
    logs.redact(persona.prompt, is_chosen=True)
    request = build_request(dialect=model.dialect, url=backend.url, voice=persona.voice, prompt=persona.prompt)
    with hold_model(backend.url, sessions=model.sessions):
        async with open_link(request, backend.dial, handshake_seconds=model.handshake_seconds, watch=watch) as link:
            yield link


class Failures:
    """What failed, alone or in groups, reduced to the one error to report."""

    def __init__(self, what: str = "a conversation") -> None:
        self._what = what
        self._leaves: list[Exception] = []

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Swallow what fails inside; cancellation passes through."""
        try:
            yield
        except* Exception as group:
            self._leaves = _leaves(group)

    def principal(self) -> PlexbridgeError | None:
        """Return what to report: our own bugs, which are logged here, then the link, then the rest."""
        bugs = [error for error in self._leaves if not isinstance(error, PlexbridgeError)]
        for bug in bugs:
            logger.error("%s failed through a fault in plexbridge", self._what, exc_info=bug)
        if bugs:
            return PlexbridgeError(type(bugs[0]).__name__)
        known = [error for error in self._leaves if isinstance(error, PlexbridgeError)]
        known.sort(key=lambda error: not isinstance(error, LinkError))
        for error in known[:1]:
            if not isinstance(error, ConfigError):  # which is told to the operator as it is, once
                logger.warning("%s failed: %s: %s", self._what, type(error).__name__, error)
            return error
        return None


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    leaves: list[Exception] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
