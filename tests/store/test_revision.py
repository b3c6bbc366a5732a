"""Migrations: from nothing, from each earlier revision, and from one that this code does not know."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from plexbridge.errors import ConfigError
from plexbridge.store.revision import VERSION_TABLE
from plexbridge.store.schema import METADATA
from plexbridge.store.settings import PersonSettings, ServerSettings, count_people, open_store
from tests.store.disk import execute, tables, write

FIRST_REVISION = """
CREATE TABLE plexbridge_version (
    version_num VARCHAR(32) NOT NULL, CONSTRAINT plexbridge_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE person_settings (person_id TEXT NOT NULL, voice TEXT, prompt TEXT, PRIMARY KEY (person_id));
INSERT INTO plexbridge_version (version_num) VALUES ('0001');
INSERT INTO person_settings VALUES ('discord:1', 'NATM1', NULL), ('discord:2', NULL, 'a poet');
"""
"""A database as the first revision made it; never changed, as such files are in use."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


async def test_a_database_is_made_whole_and_opening_it_again_changes_nothing(path: Path, url: str) -> None:
    async with open_store(url) as store:
        await store.set_voice("discord:1", "NATM1")
    made = tables(path)

    async with open_store(url) as store:
        settings = await store.load("discord:1")

    assert settings == PersonSettings(voice="NATM1")
    assert tables(path) == made == {*METADATA.tables, VERSION_TABLE}


async def test_an_empty_file_is_taken_as_a_new_database(path: Path, url: str) -> None:
    write(path, "")

    async with open_store(url) as store:
        assert await store.load("discord:1") == PersonSettings()


async def test_a_file_of_the_first_revision_keeps_its_data(path: Path, url: str) -> None:
    execute(path, FIRST_REVISION)

    async with open_store(url) as store:
        assert await store.load("discord:1") == PersonSettings(voice="NATM1")
        assert await store.load("discord:2") == PersonSettings(prompt="a poet")
        assert await store.load_server("discord:3") == ServerSettings()
        assert await store.load_ignored() == frozenset()


async def test_the_people_in_a_file_of_the_first_revision_are_counted_and_it_stays_what_it_is(
    path: Path, url: str
) -> None:
    execute(path, FIRST_REVISION)

    assert await count_people(url) == 2

    assert tables(path) == {"person_settings", VERSION_TABLE}


async def test_the_migrations_arrive_at_the_tables_that_the_code_uses(path: Path, url: str) -> None:
    async with open_store(url):
        pass

    with create_engine(url, poolclass=NullPool).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        differences = compare_metadata(context, METADATA)

    assert differences == []


async def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(path: Path, url: str) -> None:
    execute(path, FIRST_REVISION + "UPDATE plexbridge_version SET version_num = '0042'; DROP TABLE person_settings")

    for attempt in (open_store(url).__aenter__, lambda: count_people(url)):
        with pytest.raises(ConfigError) as caught:
            await attempt()

        assert caught.value.faults == (
            f'store.url: found the revision "0042" of a newer plexbridge at "{url}", expected "0003" or an older one: '
            "use the newer plexbridge, or name another database",
        )
    assert tables(path) == {VERSION_TABLE}


async def test_a_migration_that_fails_in_the_middle_leaves_nothing_behind(path: Path, url: str) -> None:
    execute(path, "CREATE TABLE person_settings (other TEXT)")

    with pytest.raises(ConfigError) as caught:
        async with open_store(url):
            pass  # pragma: no cover - it is not opened

    assert str(caught.value).startswith("store.url: found a database that can't be used (SQLITE_ERROR) at ")
    assert tables(path) == {"person_settings"}
