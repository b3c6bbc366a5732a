"""Who the model is for people on Discord: the configured persona, with what they have set for themselves."""

import logging
from collections.abc import Callable

import trio

from plexbridge.config import PersonaConfig
from plexbridge.errors import StoreError
from plexbridge.people.discord.asking import person_id
from plexbridge.people.discord.commands import Settings

logger = logging.getLogger(__name__)

SETTINGS_SECONDS = 2.0
"""For a person's settings; a healthy database takes a hundredth of a second."""
UNREADABLE_SENTENCE = "Your settings can't be read at the moment, so you get the usual voice and persona."


async def find_persona(
    user_id: int, settings: Settings, persona: PersonaConfig, *, say: Callable[[str], None]
) -> PersonaConfig:
    """Return who the model is for the person who starts a talk: `persona`, but for what they have set.

    A database that fails or hangs keeps nobody waiting; then people read that it is the usual one.
    """
    failure = f"no answer within {SETTINGS_SECONDS} s"
    with trio.move_on_after(SETTINGS_SECONDS):
        try:
            wishes = await settings.load(person_id(user_id))
        except StoreError as error:
            failure = str(error)
        else:
            return persona.model_copy(
                update={"voice": wishes.voice or persona.voice, "prompt": wishes.prompt or persona.prompt}
            )
    logger.warning("the settings of who started the conversation can't be read: %s", failure)
    say(UNREADABLE_SENTENCE)
    return persona
