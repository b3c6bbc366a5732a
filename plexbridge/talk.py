"""What people and the models have to do with each other: one talk, over as many links as it takes.

A talk lasts as long as its people are there and its ticket for a model holds. When the model is lost, the talk goes on
with a new conversation, of the same persona, at another model if one is free, else as soon as the model is back. The
people read when their time is nearly up because others wait.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

import trio

from plexbridge.config import PersonaConfig, RenewalConfig
from plexbridge.errors import ModelSlow, PlexbridgeError, TurnOver
from plexbridge.model.standing import about
from plexbridge.model.ticket import Ticket
from plexbridge.relay import Terms, hold_relay
from plexbridge.service import Backend, Progress
from plexbridge.session.outage import converse_through_outages
from plexbridge.session.people import People
from plexbridge.session.renewal import RenewalStatistics
from plexbridge.session.session import SessionSettings

logger = logging.getLogger(__name__)

OBSERVE_SECONDS = 0.5
"""How often the pool is told whether the model keeps up."""
PARDON_SENTENCE = "You may go on: nobody is waiting any more."


class Guests(People, Protocol):
    """People who stay when the model is lost: those of a Discord channel, or of the web page."""

    def rest(self) -> None:
        """The model says no more for now."""


@dataclass(frozen=True, slots=True)
class Talk:
    """What whoever holds a talk is handed."""

    people: Guests
    say: Callable[[str], None]
    """Tells the people a sentence."""
    progress: Progress
    """To be kept up to date."""
    ticket: Ticket
    """For the model: it has a place at one."""


async def hold_talk(
    talk: Talk, *, persona: PersonaConfig, settings: SessionSettings, renewal: RenewalConfig, random: Random
) -> PlexbridgeError | None:
    """Let the people talk with a model until one of them has gone for good; return what failed, as `hold_conversation`.

    TurnOver is returned when the talk's time is up. `random` spreads the attempts to reach a model that was lost.
    """
    terms = Terms(persona, settings, renewal, talk.say, talk.progress)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch_model, talk)
        nursery.start_soon(_announce_end, talk)
        try:
            failure = await converse_through_outages(_Conversations(talk, terms).hold, talk.say, random=random)
        finally:
            if talk.progress.renewals != RenewalStatistics():
                logger.info("renewals: %s", talk.progress.renewals)
        nursery.cancel_scope.cancel(reason="the talk has ended")
    return failure


class _Conversations:
    """Those of one talk, one after the other."""

    def __init__(self, talk: Talk, terms: Terms) -> None:
        self._talk = talk
        self._terms = terms
        self._has_listened = False
        """Whether a model has, at any time."""

    async def hold(self, listens: Callable[[], None]) -> PlexbridgeError | None:
        """Hold a conversation; a first one that never begins is tried with each model that is free."""
        ticket = self._talk.ticket
        while True:
            try:
                async with ticket.use() as backend:
                    failure = await self._converse(backend, listens)
            except (ModelSlow, TurnOver) as error:
                return error
            if not ticket.failed(failure) or self._has_listened:
                return failure

    async def _converse(self, backend: Backend, listens: Callable[[], None]) -> PlexbridgeError | None:
        talk = self._talk

        def listened() -> None:
            self._has_listened = True
            talk.ticket.listens()
            listens()

        try:
            return await hold_relay(backend, talk.ticket, talk.people, self._terms, listens=listened)
        finally:
            talk.progress.conversation = None
            talk.people.rest()


async def _watch_model(talk: Talk) -> None:
    """Have the pool know whether the model keeps up."""
    while True:
        await trio.sleep(OBSERVE_SECONDS)
        talk.ticket.observe(talk.progress.state)


async def _announce_end(talk: Talk) -> None:
    """Tell the people that their time is nearly up, and when it no longer is."""
    while True:
        left_seconds = await talk.ticket.wait_warning()
        talk.say(f"Others are waiting for a speech model: your time is up in {about(left_seconds)}.")
        await talk.ticket.wait_pardon()
        talk.say(PARDON_SENTENCE)
