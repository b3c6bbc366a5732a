"""What people and the models have to do with each other: one talk, over as many links as it takes.

A talk lasts as long as its people are there and its ticket for a model holds. When the model is lost, the talk goes on
with a new conversation, of the same persona, at another model if one is free, else as soon as the model is back.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from plexbridge.config import PersonaConfig, RenewalConfig
from plexbridge.errors import ModelSlow, PlexbridgeError, TurnOver
from plexbridge.model.ticket import Ticket
from plexbridge.relay import Terms, hold_relay
from plexbridge.service import Backend, Progress
from plexbridge.session.outage import converse_through_outages
from plexbridge.session.people import People
from plexbridge.session.renewal import RenewalStatistics
from plexbridge.session.session import SessionSettings

logger = logging.getLogger(__name__)


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
    ticket = talk.ticket
    terms = Terms(persona, settings, renewal, talk.say, talk.progress)
    has_listened = False

    async def attempt(listens: Callable[[], None]) -> PlexbridgeError | None:
        """Hold a conversation; a first one that never begins is tried with each model that is free."""
        while True:
            try:
                async with ticket.use() as backend:
                    failure = await converse(backend, listens)
            except (ModelSlow, TurnOver) as error:
                return error
            if not ticket.failed(failure) or has_listened:
                return failure

    async def converse(backend: Backend, listens: Callable[[], None]) -> PlexbridgeError | None:
        def listened() -> None:
            nonlocal has_listened
            has_listened = True
            ticket.listens()
            listens()

        try:
            return await hold_relay(backend, ticket, talk.people, terms, listens=listened)
        finally:
            talk.progress.conversation = None
            talk.people.rest()

    try:
        return await converse_through_outages(attempt, talk.say, random=random)
    finally:
        if talk.progress.renewals != RenewalStatistics():
            logger.info("renewals: %s", talk.progress.renewals)
