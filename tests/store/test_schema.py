"""The statements, in the SQL of both dialects."""

import pytest
from sqlalchemy import Dialect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import ClauseElement

from plexbridge.store.schema import count_persons, delete_person, select_person, upsert_person

# PostgreSQL's texts in the form without a driver: psycopg is not needed to write them.
DIALECTS = [sqlite.dialect(), postgresql.dialect(paramstyle="named")]  # type: ignore[no-untyped-call]


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
    assert sql(count_persons(), dialect) == "SELECT count(*) AS count_1 FROM person_settings"


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_no_value_is_in_the_text_of_a_statement(dialect: Dialect) -> None:
    assert "sesame" not in sql(upsert_person(dialect.name, "sesame", prompt="sesame"), dialect)
