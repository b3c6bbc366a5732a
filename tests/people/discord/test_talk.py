"""Talks: whose persona it is, even when that can't be found out."""

from dataclasses import dataclass
from functools import partial
from random import Random

import trio
from trio.testing import MockClock

from plexbridge.config import ModelConfig, PersonaConfig
from plexbridge.errors import StoreError
from plexbridge.model.pool import Pool
from plexbridge.people.discord.talk import SETTINGS_SECONDS, UNREADABLE_SENTENCE, Talk, find_persona
from plexbridge.people.discord.voice import DiscordPeople
from plexbridge.service import Backend, Progress, probe_model
from plexbridge.store.settings import PersonSettings
from tests.people.discord.simulation import ADA, CHANNEL, GUILD, FakeDiscord, FakeVoice
from tests.people.discord.test_voice import Notebook
from tests.session.simulation import SimulatedModel

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


async def found(shelf: Shelf, nursery: trio.Nursery) -> tuple[PersonaConfig, list[str]]:
    """Return whom Ada gets, and what she reads."""
    said: list[str] = []
    with DiscordPeople(FakeVoice(FakeDiscord(nursery), CHANNEL), Notebook()) as people:
        backend = Backend(ModelConfig(url="ws://model/api/chat"), "ws://model/api/chat", SimulatedModel(nursery).dial)
        pool = Pool([backend], slot_seconds=0, probe=partial(probe_model, persona=USUAL), random=Random(1))
        with pool.request(CHANNEL, GUILD) as ticket:
            return await find_persona(Talk(people, ADA, said.append, Progress(), ticket), shelf, USUAL), said


async def test_a_talk_takes_what_its_starter_has_set_and_the_usual_for_the_rest(nursery: trio.Nursery) -> None:
    shelf = Shelf({f"discord:{ADA}": PersonSettings(voice="NATM1"), "discord:5": PersonSettings(prompt="no")})

    persona, said = await found(shelf, nursery)

    assert (persona.voice, persona.prompt) == ("NATM1", USUAL.prompt)
    assert said == []


async def test_a_persona_of_ones_own_is_taken_with_the_usual_voice(nursery: trio.Nursery) -> None:
    persona, _ = await found(Shelf({f"discord:{ADA}": PersonSettings(prompt="You sing.")}), nursery)

    assert (persona.voice, persona.prompt) == (USUAL.voice, "You sing.")


async def test_who_has_set_nothing_gets_the_usual_persona(nursery: trio.Nursery) -> None:
    assert await found(Shelf({}), nursery) == (USUAL, [])


async def test_a_database_that_fails_is_told_and_disturbs_nothing(nursery: trio.Nursery) -> None:
    assert await found(Shelf({}, fault=StoreError("gone")), nursery) == (USUAL, [UNREADABLE_SENTENCE])


async def test_a_database_that_hangs_keeps_nobody_waiting_for_long(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    started_seconds = trio.current_time()

    assert await found(Shelf({}, wait_seconds=1000), nursery) == (USUAL, [UNREADABLE_SENTENCE])
    assert trio.current_time() - started_seconds == SETTINGS_SECONDS
