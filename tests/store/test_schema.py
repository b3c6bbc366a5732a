"""The statements, in the SQL of both dialects."""

import pytest
from sqlalchemy import Dialect, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.expression import ClauseElement

from plexbridge.store.schema import (
    METADATA,
    PERSON_SETTINGS,
    count_persons,
    delete_ignored,
    delete_person,
    delete_recorded,
    delete_volume,
    insert_ignored,
    insert_recorded,
    select_attention,
    select_ignored,
    select_person,
    select_recorded,
    select_volumes,
    upsert_attention,
    upsert_person,
    upsert_volume,
)

# PostgreSQL's texts in the form without a driver: psycopg is not needed to write them.
DIALECTS = [sqlite.dialect(), postgresql.dialect(paramstyle="named")]  # type: ignore[no-untyped-call]  # SQLAlchemy's


def sql(statement: ClauseElement, dialect: Dialect) -> str:
    return " ".join(str(statement.compile(dialect=dialect)).replace("?", ":x").split())


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_field_is_set_by_one_statement_which_touches_no_other(dialect: Dialect) -> None:
    statement = upsert_person(dialect.name, "discord:1", voice="NATM1")

    text = sql(statement, dialect)

    assert text.startswith("INSERT INTO person_settings (person_id, voice) VALUES (")
    assert text.endswith(") ON CONFLICT (person_id) DO UPDATE SET voice = excluded.voice")


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_all_statements_can_be_said_in_both_dialects(dialect: Dialect) -> None:
    assert sql(select_person("a"), dialect).startswith(
        "SELECT person_settings.voice, person_settings.prompt FROM person_settings WHERE person_settings.person_id = "
    )
    assert sql(delete_person("a"), dialect).startswith("DELETE FROM person_settings WHERE person_settings.person_id = ")
    assert sql(count_persons([PERSON_SETTINGS]), dialect).startswith("SELECT count(*) AS count_1 FROM (SELECT person_")
    assert sql(select_attention("s"), dialect).startswith("SELECT server_settings.attention FROM server_settings WHERE")
    assert sql(upsert_attention(dialect.name, "s", "one"), dialect).endswith(
        ") ON CONFLICT (server_id) DO UPDATE SET attention = excluded.attention"
    )
    assert sql(upsert_volume(dialect.name, "s", "a", 50), dialect).endswith(
        ") ON CONFLICT (server_id, person_id) DO UPDATE SET percent = excluded.percent"
    )
    assert sql(insert_ignored(dialect.name, "a"), dialect).endswith(") ON CONFLICT (person_id) DO NOTHING")
    assert "WHERE volumes.server_id = " in sql(select_volumes("s"), dialect)
    assert " AND volumes.person_id = " in sql(delete_volume("s", "a"), dialect)
    assert sql(select_ignored(), dialect) == "SELECT ignored_persons.person_id FROM ignored_persons"
    assert sql(delete_ignored("a"), dialect).startswith(
        "DELETE FROM ignored_persons WHERE ignored_persons.person_id = "
    )
    assert sql(select_recorded(), dialect) == "SELECT recorded_servers.server_id FROM recorded_servers"
    assert sql(insert_recorded(dialect.name, "s"), dialect).endswith(") ON CONFLICT (server_id) DO NOTHING")
    assert sql(delete_recorded("s"), dialect).startswith(
        "DELETE FROM recorded_servers WHERE recorded_servers.server_id = "
    )


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_no_value_is_in_the_text_of_a_statement(dialect: Dialect) -> None:
    assert "sesame" not in sql(upsert_person(dialect.name, "sesame", prompt="sesame"), dialect)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("table", METADATA.sorted_tables, ids=str)
def test_all_tables_can_be_made_in_both_dialects(dialect: Dialect, table: Table) -> None:
    text = sql(CreateTable(table), dialect)

    assert text.startswith(f"CREATE TABLE {table.name} (")
    assert "PRIMARY KEY (" in text
