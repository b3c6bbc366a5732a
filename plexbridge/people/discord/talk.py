"""What people of a voice channel and a model have to do with each other: one talk, over as many links as it takes.

A room holds a talk as long as it has people. When the model is lost, the room stays and the talk goes on with a new
conversation, of the same persona, at another model if one is free, else as soon as the model is back.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import trio

from plexbridge.config import PersonaConfig, RenewalConfig
from plexbridge.errors import ModelSlow, PlexbridgeError, StoreError, TurnOver
from plexbridge.model.pool import Ticket
from plexbridge.people.discord.asking import person_id
from plexbridge.people.discord.commands import Settings
from plexbridge.people.discord.voice import DiscordPeople
from plexbridge.relay import Terms, hold_relay
from plexbridge.service import Backend, Progress
from plexbridge.session.outage import converse_through_outages
from plexbridge.session.renewal import RenewalStatistics
from plexbridge.session.session import SessionSettings

logger = logging.getLogger(__name__)

SETTINGS_SECONDS = 2.0
"""For a person's settings; a healthy database takes a hundredth of a second."""
UNREADABLE_SENTENCE = "Your settings can't be read at the moment, so you get the usual voice and persona."


@dataclass(frozen=True, slots=True)
class Talk:
    """What a room hands to whoever holds its talk."""

    people: DiscordPeople
    starter_id: int
    """Whose settings it takes."""
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


async def find_persona(talk: Talk, settings: Settings, persona: PersonaConfig) -> PersonaConfig:
    """Return who the model is for the person who started the talk: `persona`, but for what they have set.

    A database that fails or hangs keeps nobody waiting; then people read that it is the usual one.
    """
    failure = f"no answer within {SETTINGS_SECONDS} s"
    with trio.move_on_after(SETTINGS_SECONDS):
        try:
            wishes = await settings.load(person_id(talk.starter_id))
        except StoreError as error:
            failure = str(error)
        else:
            return persona.model_copy(
                update={"voice": wishes.voice or persona.voice, "prompt": wishes.prompt or persona.prompt}
            )
    logger.warning("the settings of who started the conversation can't be read: %s", failure)
    talk.say(UNREADABLE_SENTENCE)
    return persona
