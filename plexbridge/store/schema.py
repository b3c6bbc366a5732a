"""The tables of the database and the statements on them, each of which is whole by itself.

Nothing is read in order to be written again: so two changes at once, by two tasks or two processes, lose nothing.
The tables stand here as they are now; how a database of an earlier version gets there is in `migrations`.
Types of statements stand in quotes where SQLAlchemy 2.0 knows them with another number of parameters.
"""

from collections.abc import Iterable, Mapping

from sqlalchemy import Column, Integer, MetaData, Table, Text, delete, func, select, union
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Delete
from sqlalchemy.sql.selectable import Select

METADATA = MetaData()
Insert = sqlite.Insert | postgresql.Insert

PERSON_SETTINGS = Table(
    "person_settings",
    METADATA,
    Column("person_id", Text, primary_key=True),
    # What a person has not set is NULL.
    Column("voice", Text),
    Column("prompt", Text),
)

SERVER_SETTINGS = Table(
    "server_settings",
    METADATA,
    Column("server_id", Text, primary_key=True),
    Column("attention", Text, nullable=False),
)

VOLUMES = Table(
    "volumes",
    METADATA,
    Column("server_id", Text, primary_key=True),
    Column("person_id", Text, primary_key=True),
    Column("percent", Integer, nullable=False),
)

IGNORED_PERSONS = Table(
    "ignored_persons",
    METADATA,
    # Apart from the settings, so that forgetting those does not undo it.
    Column("person_id", Text, primary_key=True),
)

RECORDED_SERVERS = Table(
    "recorded_servers",
    METADATA,
    # Only those that want it: who has said nothing is not recorded.
    Column("server_id", Text, primary_key=True),
)

PERSONS_TABLES = (PERSON_SETTINGS, VOLUMES, IGNORED_PERSONS)


def select_person(person_id: str) -> "Select[str | None, str | None]":
    """Return the statement that reads a person's voice and prompt."""
    columns = PERSON_SETTINGS.c
    return select(columns.voice, columns.prompt).where(columns.person_id == person_id)


def upsert_person(dialect: str, person_id: str, **fields: str) -> Insert:
    """Return the statement that sets these fields of a person, known or not, and touches no others."""
    return _upsert(dialect, PERSON_SETTINGS, {"person_id": person_id}, fields)


def delete_person(person_id: str) -> Delete:
    """Return the statement that forgets a person."""
    return delete(PERSON_SETTINGS).where(PERSON_SETTINGS.c.person_id == person_id)


def count_persons(tables: Iterable[Table]) -> "Select[int]":
    """Return the statement that counts the people of whom something is stored in these of `PERSONS_TABLES`."""
    return select(func.count()).select_from(union(*(select(table.c.person_id) for table in tables)).subquery())


def select_attention(server_id: str) -> "Select[str]":
    """Return the statement that reads a server's attention."""
    return select(SERVER_SETTINGS.c.attention).where(SERVER_SETTINGS.c.server_id == server_id)


def upsert_attention(dialect: str, server_id: str, attention: str) -> Insert:
    """Return the statement that sets a server's attention."""
    return _upsert(dialect, SERVER_SETTINGS, {"server_id": server_id}, {"attention": attention})


def select_volumes(server_id: str) -> "Select[str, int]":
    """Return the statement that reads all volumes in a server."""
    return select(VOLUMES.c.person_id, VOLUMES.c.percent).where(VOLUMES.c.server_id == server_id)


def upsert_volume(dialect: str, server_id: str, person_id: str, percent: int) -> Insert:
    """Return the statement that sets a person's volume in a server."""
    return _upsert(dialect, VOLUMES, {"server_id": server_id, "person_id": person_id}, {"percent": percent})


def delete_volume(server_id: str, person_id: str) -> Delete:
    """Return the statement that forgets a person's volume in a server."""
    return delete(VOLUMES).where(VOLUMES.c.server_id == server_id, VOLUMES.c.person_id == person_id)


def select_ignored() -> "Select[str]":
    """Return the statement that reads who has asked not to be heard."""
    return select(IGNORED_PERSONS.c.person_id)


def insert_ignored(dialect: str, person_id: str) -> Insert:
    """Return the statement that keeps that somebody has asked not to be heard."""
    return _upsert(dialect, IGNORED_PERSONS, {"person_id": person_id}, {})


def delete_ignored(person_id: str) -> Delete:
    """Return the statement that forgets that somebody has asked not to be heard."""
    return delete(IGNORED_PERSONS).where(IGNORED_PERSONS.c.person_id == person_id)


def select_recorded() -> "Select[str]":
    """Return the statement that reads which servers' conversations are recorded."""
    return select(RECORDED_SERVERS.c.server_id)


def insert_recorded(dialect: str, server_id: str) -> Insert:
    """Return the statement that keeps that a server's conversations are recorded."""
    return _upsert(dialect, RECORDED_SERVERS, {"server_id": server_id}, {})


def delete_recorded(server_id: str) -> Delete:
    """Return the statement that forgets that a server's conversations are recorded."""
    return delete(RECORDED_SERVERS).where(RECORDED_SERVERS.c.server_id == server_id)


def _upsert(dialect: str, table: Table, key: Mapping[str, str], fields: Mapping[str, str | int]) -> Insert:
    """Return the statement that sets these fields of the row with this key, there or not, and touches no others."""
    # Both have ON CONFLICT, and in SQLAlchemy each has its own.
    statement = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    statement = statement.values(**key, **fields)
    if not fields:
        return statement.on_conflict_do_nothing(index_elements=list(key))
    return statement.on_conflict_do_update(
        index_elements=list(key), set_={name: statement.excluded[name] for name in fields}
    )
