"""Personas: whose it is, even when that can't be found out."""

from dataclasses import dataclass

import trio
from trio.testing import MockClock

from plexbridge.config import PersonaConfig
from plexbridge.errors import StoreError
from plexbridge.people.discord.personas import SETTINGS_SECONDS, UNREADABLE_SENTENCE, find_persona
from plexbridge.store.settings import PersonSettings
from tests.people.discord.simulation import ADA

USUAL = PersonaConfig(voice="VARF1", prompt="You are brief.")


@dataclass
class Shelf:
    """Settings in memory, which may fail or take their time. Implements `commands.Settings`."""

    settings: dict[str, PersonSettings]
    fault: StoreError | None = None
    wait_seconds: float = 0.0

    async def load(self, person_id: str) -> PersonSettings:
        """Return what is there."""
        await trio.sleep(self.wait_seconds)
        if self.fault is not None:
            raise self.fault
        return self.settings.get(person_id, PersonSettings())

    async def set_voice(self, person_id: str, voice: str) -> None:
        """Nobody sets anything in a talk."""
        raise AssertionError

    async def set_prompt(self, person_id: str, prompt: str) -> None:
        """Nobody sets anything in a talk."""
        raise AssertionError

    async def reset(self, person_id: str) -> bool:
        """Nobody resets anything in a talk."""
        raise AssertionError


async def found(shelf: Shelf) -> tuple[PersonaConfig, list[str]]:
    """Return whom Ada gets, and what she reads."""
    said: list[str] = []
    return await find_persona(ADA, shelf, USUAL, say=said.append), said


async def test_a_talk_takes_what_its_starter_has_set_and_the_usual_for_the_rest() -> None:
    shelf = Shelf({f"discord:{ADA}": PersonSettings(voice="NATM1"), "discord:5": PersonSettings(prompt="no")})

    persona, said = await found(shelf)

    assert (persona.voice, persona.prompt) == ("NATM1", USUAL.prompt)
    assert said == []


async def test_a_persona_of_ones_own_is_taken_with_the_usual_voice() -> None:
    persona, _ = await found(Shelf({f"discord:{ADA}": PersonSettings(prompt="You sing.")}))

    assert (persona.voice, persona.prompt) == (USUAL.voice, "You sing.")


async def test_who_has_set_nothing_gets_the_usual_persona() -> None:
    assert await found(Shelf({})) == (USUAL, [])


async def test_a_database_that_fails_is_told_and_disturbs_nothing() -> None:
    assert await found(Shelf({}, fault=StoreError("gone"))) == (USUAL, [UNREADABLE_SENTENCE])


async def test_a_database_that_hangs_keeps_nobody_waiting_for_long(autojump_clock: MockClock) -> None:
    started_seconds = trio.current_time()

    assert await found(Shelf({}, wait_seconds=1000)) == (USUAL, [UNREADABLE_SENTENCE])
    assert trio.current_time() - started_seconds == SETTINGS_SECONDS
