"""A conversation that outlives the context of its model: links to it, one after the other, and the people stay.

Each link has a *leg*: a task that opens it, waits for its turn, holds the session and says goodbye. `Renewal` says when
a leg's turn is over. Where the model has room for a second link (`Places.spare`), the next leg stands ready before:
the old session ends, the new one begins with the next tick, and only then the old link says goodbye. Otherwise the old
link is closed first, and people are told by the mark that nobody listens for a moment; a server that serves one session
never has two connections.

The first link of all may fail like any other's. When the next one can't be opened, with the old one closed, the
conversation has lost its model, and this returns the failure.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from math import inf
from typing import Protocol

import trio

from plexbridge import logs
from plexbridge.audio.mark import mark
from plexbridge.config import PersonaConfig, RenewalConfig
from plexbridge.errors import ModelLost, PlexbridgeError, RequestError
from plexbridge.leg import Leg
from plexbridge.model.conversation import State
from plexbridge.model.request import build_request
from plexbridge.service import Backend, Failures, Progress
from plexbridge.session.link import Link
from plexbridge.session.people import People
from plexbridge.session.recap import with_recap
from plexbridge.session.relayed import RelayedPeople
from plexbridge.session.renewal import Renewal, Successor
from plexbridge.session.session import SessionSettings

logger = logging.getLogger(__name__)

MARK_SENTENCE = "I am refreshing my memory; one moment."


class Places(Protocol):
    """Where a second link may go for the time of a renewal."""

    def spare(self) -> AbstractAsyncContextManager[Backend | None]:
        """Hold room for a second link for the length of the block; None where there is none."""

    def swap(self) -> None:
        """The second link is the one that is kept: with the end of `spare`'s block, the room of the first is free."""

    def lost(self, backend: Backend, failure: PlexbridgeError | None) -> None:
        """Take note of what became of a link that the conversation does without: the first one, or the second."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What stays the same from link to link."""

    persona: PersonaConfig
    settings: SessionSettings
    renewal: RenewalConfig
    say: Callable[[str], None]
    """Tells the people a sentence."""
    progress: Progress
    """To be kept up to date."""


async def hold_relay(
    backend: Backend, places: Places, people: People, terms: Terms, *, listens: Callable[[], None]
) -> PlexbridgeError | None:
    """Hold one conversation over as many links as it takes; return what failed, like `service.hold_conversation`.

    `listens` is called when the first link's model listens.
    """
    async with trio.open_nursery() as nursery:
        failure = await _Relay(places, people, terms, listens=listens).hold(nursery, backend)
        nursery.cancel_scope.cancel(reason="the conversation has ended")
    return failure


class _Relay:
    """The row of legs; each is a task in the nursery that the methods are handed."""

    def __init__(self, places: Places, people: People, terms: Terms, *, listens: Callable[[], None]) -> None:
        self._places = places
        self._people = RelayedPeople(people)
        self._terms = terms
        self._listens = listens
        self._limit_seconds: float | None = None
        """When the conversation ends by its model's limit; None before it has begun."""
        self._successor: Leg | None = None
        """The leg that stands ready, if one does."""

    async def hold(self, nursery: trio.Nursery, backend: Backend) -> PlexbridgeError | None:
        """Let one leg follow the other; return what the last one failed with."""
        leg: Leg | None = self._open(nursery, backend)
        while leg is not None:
            await leg.settled.wait()
            if leg.link is None or leg.failure is not None:
                return leg.failure
            renewal = self._begin(leg, leg.link, await self._people.wait_turn())
            preparing = trio.CancelScope()
            nursery.start_soon(self._prepare, nursery, leg, renewal, preparing)
            await leg.left.wait()
            successor, self._successor = self._successor, None
            if successor is not None and (leg.is_renewed or isinstance(leg.failure, ModelLost)):
                leg = successor
                self._count(moved=1)
                continue
            preparing.cancel(reason="the turn of the present link is over")
            if not leg.is_renewed:
                await leg.closed.wait()
                return leg.failure
            leg = await self._reopen(nursery, leg)
        return None

    def _open(self, nursery: trio.Nursery, backend: Backend) -> Leg:
        """Start a leg; only what becomes of the first link is told to the people while it is opened."""
        is_first = self._limit_seconds is None
        leg = Leg(backend, is_first=is_first)
        persona = self._terms.persona if is_first else self._persona_with_recap(backend)
        watch = self._people.tell if is_first else _ignore
        nursery.start_soon(leg.run, self._people, persona, self._terms.settings, watch)
        return leg

    def _begin(self, leg: Leg, link: Link, gap_seconds: float) -> Renewal:
        """Give a leg its turn: from now on it is what the people talk with. Return when it is to be left."""
        now_seconds, model, progress = trio.current_time(), leg.backend.model, self._terms.progress
        progress.ledger, progress.conversation = leg.ledger, link.conversation
        progress.voice = self._terms.persona.voice
        if self._limit_seconds is None:
            self._limit_seconds = now_seconds + (inf if model.limit_seconds is None else model.limit_seconds)
            logger.info("talking to model %s", model.name)
            self._listens()
        else:
            self._note_gap(leg, gap_seconds)
            self._people.tell(State.LIVE)
        renewal = Renewal(
            began_seconds=now_seconds,
            renew_seconds=model.renew_seconds,
            handshake_seconds=link.handshake_seconds,
        )
        self._people.watch(renewal, leg.leave)
        leg.begin(self._limit_seconds)
        return renewal

    async def _prepare(self, nursery: trio.Nursery, present: Leg, renewal: Renewal, scope: trio.CancelScope) -> None:
        """Open the next link in time if there is room, and keep the room until the present one is closed."""
        if renewal.deadline_seconds >= (self._limit_seconds or inf):
            return
        failures = Failures("the opening of a second link")
        with scope, failures.collect():
            await trio.sleep_until(renewal.prepare_seconds)
            async with self._places.spare() as backend:
                if backend is None:
                    renewal.successor = Successor.NONE
                    return
                fresh = self._open(nursery, backend)
                if await self._offer(fresh, renewal):
                    self._places.swap()
                    self._places.lost(present.backend, present.failure)
                    await present.closed.wait()
                    return
                self._places.lost(backend, fresh.failure)
        if not scope.cancelled_caught:
            renewal.successor = Successor.FAILED
            self._count(failed=1)

    async def _offer(self, fresh: Leg, renewal: Renewal) -> bool:
        """Have a leg ready until its turn has come; return False when its link can't be had."""
        try:
            await fresh.settled.wait()
            if fresh.failure is None:
                renewal.successor, self._successor = Successor.READY, fresh
                await _wait_any(fresh.turn, fresh.closed)
            return fresh.turn.is_set()
        finally:
            if not fresh.turn.is_set():
                self._successor = None
                fresh.give_up()
                with trio.CancelScope(shield=True):  # as bounded as the goodbye is
                    await fresh.closed.wait()

    async def _reopen(self, nursery: trio.Nursery, leg: Leg) -> Leg | None:
        """Close the link and open another one in its place; return None when the people have left meanwhile."""
        self._terms.progress.conversation = None
        if self._terms.renewal.mark == "sentence":
            self._terms.say(MARK_SENTENCE)
        self._sound_mark(is_rising=False)
        unheard_before = self._people.unheard_frames
        fresh = None
        async with trio.open_nursery() as pause:
            pause.start_soon(self._pause, pause.cancel_scope)
            await leg.closed.wait()
            opening = self._open(nursery, leg.backend)
            await opening.settled.wait()
            fresh = opening
            pause.cancel_scope.cancel(reason="the model is back, or lost")
        if fresh is not None and fresh.failure is None:
            unheard_frames = self._people.unheard_frames - unheard_before
            fresh.ledger.missed_in_renewal(unheard_frames)
            self._count(reopened=1, unheard_frames=unheard_frames)
            self._sound_mark(is_rising=True)
        return fresh

    async def _pause(self, opening: trio.CancelScope) -> None:
        """Be there for the people; when they have left, nothing needs to be opened any more."""
        await self._people.pause()
        opening.cancel(reason="the people have left")

    def _sound_mark(self, *, is_rising: bool) -> None:
        if self._terms.renewal.mark == "sound":
            self._people.sound(mark(is_rising=is_rising))

    def _persona_with_recap(self, backend: Backend) -> PersonaConfig:
        """Return the persona, with the model's last words behind its prompt if that is wanted and they fit."""
        persona = self._terms.persona
        words = self._people.words.recall(trio.current_time()) if self._terms.renewal.recap else ""
        logs.redact(words, is_chosen=True)
        prompt = with_recap(persona.prompt, words)
        try:
            build_request(dialect=backend.model.dialect, url=backend.url, voice=persona.voice, prompt=prompt)
        except RequestError:
            return persona
        return persona.model_copy(update={"prompt": prompt})

    def _note_gap(self, leg: Leg, gap_seconds: float) -> None:
        progress = self._terms.progress
        longest_seconds = max(progress.renewals.longest_gap_seconds, gap_seconds)
        progress.renewals = replace(progress.renewals, longest_gap_seconds=longest_seconds)
        logger.info("the link to model %s is renewed, after %.2f s without one", leg.backend.model.name, gap_seconds)

    def _count(self, **increments: int) -> None:
        before = self._terms.progress.renewals
        counted = {name: getattr(before, name) + value for name, value in increments.items()}
        self._terms.progress.renewals = replace(before, **counted)


async def _wait_any(*events: trio.Event) -> None:
    """Wait until one of the events has happened."""

    async def wait(event: trio.Event) -> None:
        await event.wait()
        nursery.cancel_scope.cancel(reason="one is enough")

    async with trio.open_nursery() as nursery:
        for each in events:
            nursery.start_soon(wait, each)


def _ignore(state: State) -> None:
    """Tell nobody of the state of a link that is opened while another one is in use, or was a moment ago."""
