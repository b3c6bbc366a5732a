"""The store of what people set: what is kept, by whom, and that nobody's change is lost."""

import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from plexbridge.errors import ConfigError
from plexbridge.store.settings import PersonSettings, ServerSettings, SettingsStore, count_people, open_store
from tests.store.disk import modes, read, write

ANNA, BEN = "discord:1", "discord:2"
SERVER, OTHER_SERVER = "discord:8", "discord:9"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[SettingsStore]:
    async with open_store(url) as store:
        yield store


async def test_somebody_unknown_has_the_defaults(store: SettingsStore) -> None:
    assert await store.load(ANNA) == PersonSettings(voice=None, prompt=None)


async def test_what_is_set_is_kept_per_person_and_outlives_the_store(url: str) -> None:
    async with open_store(url) as store:
        await store.set_voice(ANNA, "NATM1")
        await store.set_prompt(ANNA, "a poet")
        await store.set_prompt(BEN, "a cook")

    async with open_store(url) as store:
        assert await store.load(ANNA) == PersonSettings("NATM1", "a poet")
        assert await store.load(BEN) == PersonSettings(None, "a cook")


async def test_setting_one_thing_leaves_the_other_and_replaces_its_own(store: SettingsStore) -> None:
    await store.set_voice(ANNA, "NATM1")
    await store.set_prompt(ANNA, "a poet")

    await store.set_voice(ANNA, "NATF2")

    assert await store.load(ANNA) == PersonSettings("NATF2", "a poet")


async def test_a_reset_forgets_one_person_and_tells_whether_there_was_anything(store: SettingsStore) -> None:
    await store.set_voice(ANNA, "NATM1")
    await store.set_voice(BEN, "NATM2")

    assert await store.reset(ANNA) is True
    assert await store.reset(ANNA) is False

    assert await store.load(ANNA) == PersonSettings()
    assert await store.load(BEN) == PersonSettings("NATM2")


async def test_what_a_server_sets_is_its_own_and_outlives_the_store(url: str) -> None:
    async with open_store(url) as store:
        assert await store.load_server(SERVER) == ServerSettings(attention=None, percents={})
        await store.set_attention(SERVER, "floor")
        await store.set_attention(SERVER, "one")
        await store.set_volume(SERVER, ANNA, 50)
        await store.set_volume(SERVER, BEN, 0)
        await store.set_volume(SERVER, ANNA, 150)
        await store.set_volume(OTHER_SERVER, ANNA, 10)

    async with open_store(url) as store:
        assert await store.load_server(SERVER) == ServerSettings("one", {ANNA: 150, BEN: 0})
        assert await store.load_server(OTHER_SERVER) == ServerSettings(None, {ANNA: 10})


async def test_the_usual_volume_is_not_kept(store: SettingsStore) -> None:
    await store.set_volume(SERVER, ANNA, 50)
    await store.set_volume(SERVER, ANNA, 100)
    await store.set_volume(SERVER, BEN, 100)

    assert await store.load_server(SERVER) == ServerSettings()


async def test_who_asks_not_to_be_heard_is_remembered_also_after_a_reset_until_they_take_it_back(url: str) -> None:
    async with open_store(url) as store:
        for person in (ANNA, ANNA, BEN):
            await store.set_ignored(person, is_ignored=True)
        await store.set_voice(ANNA, "NATM1")
        await store.reset(ANNA)
        await store.set_ignored(BEN, is_ignored=False)
        await store.set_ignored(BEN, is_ignored=False)

    async with open_store(url) as store:
        assert await store.load_ignored() == {ANNA}


async def test_which_servers_are_recorded_is_kept_until_they_take_it_back(url: str) -> None:
    async with open_store(url) as store:
        assert await store.load_recorded() == frozenset()
        for server in (SERVER, SERVER, OTHER_SERVER):
            await store.set_recorded(server, is_recorded=True)
        await store.set_recorded(OTHER_SERVER, is_recorded=False)
        await store.set_recorded(OTHER_SERVER, is_recorded=False)

    async with open_store(url) as store:
        assert await store.load_recorded() == {SERVER}
        assert await store.load_server(SERVER) == ServerSettings()


async def test_people_of_whom_anything_is_stored_are_counted_once(url: str) -> None:
    async with open_store(url) as store:
        await store.set_voice(ANNA, "NATM1")
        await store.set_ignored(ANNA, is_ignored=True)
        await store.set_volume(SERVER, ANNA, 50)
        await store.set_volume(OTHER_SERVER, ANNA, 50)
        await store.set_ignored(BEN, is_ignored=True)

    assert await count_people(url) == 2


@pytest.mark.parametrize("text", ["", "'; DROP TABLE person_settings; --", "äöü 語 🎧\n\t%s :x ?", "x" * 100_000])
async def test_any_text_is_kept_as_it_is(text: str, store: SettingsStore) -> None:
    await store.set_prompt(text, text)

    assert (await store.load(text)).prompt == text


def test_a_prompt_is_in_no_repr() -> None:
    assert "sesame" not in repr(PersonSettings("NATM1", "sesame"))


async def test_many_changes_at_once_lose_nothing(store: SettingsStore) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(store.set_voice, f"discord:{number}", f"voice {number}")
            nursery.start_soon(store.set_prompt, f"discord:{number}", f"prompt {number}")

    for number in range(50):
        assert await store.load(f"discord:{number}") == PersonSettings(f"voice {number}", f"prompt {number}")


async def test_two_stores_on_one_file_lose_nothing_and_see_each_other(url: str) -> None:
    async with open_store(url) as one, open_store(url) as two, trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(one.set_voice, f"discord:{number}", f"voice {number}")
            nursery.start_soon(two.set_prompt, f"discord:{number}", f"prompt {number}")

    async with open_store(url) as one, open_store(url) as two:
        assert await one.load("discord:7") == await two.load("discord:7") == PersonSettings("voice 7", "prompt 7")
        await one.set_voice("discord:7", "NATF0")
        assert (await two.load("discord:7")).voice == "NATF0"


async def test_many_stores_may_be_opened_at_once_on_a_file_that_is_not_there_yet(url: str) -> None:
    async def open_and_set(number: int) -> None:
        async with open_store(url) as store:
            await store.set_voice(f"discord:{number}", "NATM1")

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(open_and_set, number)

    assert await count_people(url) == 10


async def test_people_are_counted_without_making_or_changing_a_file(url: str, path: Path, tmp_path: Path) -> None:
    assert await count_people(url) is None
    assert modes(tmp_path) == {}

    write(path, "")
    assert await count_people(url) == 0
    assert read(path) == b""

    async with open_store(url) as store:
        await store.set_voice(ANNA, "NATM1")
        await store.set_prompt(ANNA, "a poet")
        await store.set_prompt(BEN, "a cook")
        assert await count_people(url) == 2


async def test_people_can_not_be_counted_in_what_is_no_database(url: str, path: Path) -> None:
    write(path, "no database " * 100)

    with pytest.raises(ConfigError, match="found a damaged database, or none of SQLite"):
        await count_people(url)


async def test_people_of_a_server_can_not_be_counted_without_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(ConfigError, match="found PostgreSQL without its driver"):
        await count_people("postgresql+psycopg://h/db")


async def test_the_files_are_for_nobody_elses_eyes(store: SettingsStore, path: Path) -> None:
    await store.set_prompt(ANNA, "a poet")

    assert modes(path.parent) == {"a.db": 0o600, "a.db-shm": 0o600, "a.db-wal": 0o600}


async def test_closing_leaves_one_file_with_everything_in_it(url: str, path: Path) -> None:
    async with open_store(url) as store:
        await store.set_voice(ANNA, "NATM1")

    assert modes(path.parent) == {"a.db": 0o600}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM person_settings").fetchall() == [(ANNA, "NATM1", None)]
