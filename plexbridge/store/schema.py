"""The tables of the database and the statements on them, each of which is whole by itself.

Nothing is read in order to be written again: so two changes at once, by two tasks or two processes, lose nothing.
The tables stand here as they are now; how a database of an earlier version gets there is in `migrations`.
Types of statements stand in quotes where SQLAlchemy 2.0 knows them with another number of parameters.
"""

from sqlalchemy import Column, MetaData, Table, Text, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Delete
from sqlalchemy.sql.selectable import Select

METADATA = MetaData()

PERSON_SETTINGS = Table(
    "person_settings",
    METADATA,
    Column("person_id", Text, primary_key=True),
    # What a person has not set is NULL.
    Column("voice", Text),
    Column("prompt", Text),
)


def select_person(person_id: str) -> "Select[str | None, str | None]":
    """Return the statement that reads a person's voice and prompt."""
    columns = PERSON_SETTINGS.c
    return select(columns.voice, columns.prompt).where(columns.person_id == person_id)


def upsert_person(dialect: str, person_id: str, **fields: str) -> sqlite.Insert | postgresql.Insert:
    """Return the statement that sets these fields of a person, known or not, and touches no others."""
    # Both have ON CONFLICT, and in SQLAlchemy each has its own.
    statement = sqlite.insert(PERSON_SETTINGS) if dialect == "sqlite" else postgresql.insert(PERSON_SETTINGS)
    statement = statement.values(person_id=person_id, **fields)
    return statement.on_conflict_do_update(
        index_elements=[PERSON_SETTINGS.c.person_id], set_={name: statement.excluded[name] for name in fields}
    )


def delete_person(person_id: str) -> Delete:
    """Return the statement that forgets a person."""
    return delete(PERSON_SETTINGS).where(PERSON_SETTINGS.c.person_id == person_id)


def count_persons() -> "Select[int]":
    """Return the statement that counts the people of whom something is stored."""
    return select(func.count()).select_from(PERSON_SETTINGS)
