"""What a database's own errors are told as; SQLite's are real ones."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, ProgrammingError

from plexbridge.store.address import Address, PostgresqlAddress, SqliteAddress
from plexbridge.store.faults import code_of, driver_fault, fault_of, revision_fault

FILE = SqliteAddress(Path("/a.db"))
SERVER = PostgresqlAddress("postgresql+psycopg://me:sesame@h/db", "postgresql+psycopg://***@h/db", ("sesame",))


def write_without_right(connection: sqlite3.Connection) -> None:
    connection.executescript("CREATE TABLE t (x); PRAGMA query_only = ON")
    connection.execute("INSERT INTO t VALUES (1)")


def write_without_room(connection: sqlite3.Connection) -> None:
    connection.executescript("CREATE TABLE t (x); PRAGMA max_page_count = 2")
    connection.execute("INSERT INTO t VALUES (zeroblob(100000))")


def write_without_table(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO none VALUES (1)")


def write_while_locked(connection: sqlite3.Connection) -> None:
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    connection.execute("BEGIN EXCLUSIVE")
    with closing(sqlite3.connect(path, timeout=0)) as other:
        other.execute("CREATE TABLE t (x)")


def open_missing(connection: sqlite3.Connection) -> None:
    sqlite3.connect("/nowhere/a.db")


def open_other(connection: sqlite3.Connection) -> None:
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    Path(path).write_bytes(b"this is no database, however long it is " * 100)
    connection.execute("CREATE TABLE t (x)")


def fail(work: Callable[[sqlite3.Connection], None], folder: Path) -> DBAPIError:
    with closing(sqlite3.connect(folder / "a.db")) as connection, pytest.raises(sqlite3.Error) as caught:
        work(connection)
    return OperationalError("INSERT", {"prompt": "sesame"}, caught.value, hide_parameters=True)


@pytest.mark.parametrize(
    ("work", "found", "cure"),
    [
        (write_without_right, "a database that can't be written", "correct their owner or mode"),
        (write_without_room, "a full disk", "delete something else"),
        (write_while_locked, "a database that another program keeps locked for over 5 s", "end that program"),
        (open_missing, "a database that can't be opened", "correct their owner or mode"),
        (open_other, "a damaged database, or none of SQLite", "move it away to begin with an empty one"),
        (write_without_table, "a database that can't be used (SQLITE_ERROR)", "name another database"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_sqlite_reports_is_told_in_one_line_with_the_cure(
    work: Callable[[sqlite3.Connection], None], found: str, cure: str, tmp_path: Path
) -> None:
    (fault,) = fault_of(FILE, fail(work, tmp_path)).faults

    assert fault.startswith(f'store.url: found {found} at "sqlite:////a.db", expected ')
    assert fault.endswith(cure)
    assert len(fault.splitlines()) == 1
    assert "sesame" not in fault


class NoRoomBeside(sqlite3.OperationalError):
    """What a real full disk makes of the first access, as it was seen; SQLite alone can't be brought to it."""

    sqlite_errorname = "SQLITE_IOERR_SHMSIZE"


def test_no_room_for_the_files_beside_the_database_is_a_full_disk_too() -> None:
    (fault,) = fault_of(FILE, OperationalError(None, None, NoRoomBeside("disk I/O error"))).faults

    assert fault == (
        'store.url: found a full disk at "sqlite:////a.db", expected room for the database: delete something else'
    )


class Refused(Exception):
    """What a driver of PostgreSQL raises."""

    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("password sesame refused")
        self.sqlstate = sqlstate


def test_a_server_that_can_not_be_used_is_told_without_its_own_words_and_the_password() -> None:
    unreachable = fault_of(SERVER, OperationalError(None, None, Refused(None)))
    unfit = fault_of(SERVER, ProgrammingError(None, None, Refused("42501")))

    assert str(unreachable) == (
        'store.url: found no usable PostgreSQL server (Refused) at "postgresql+psycopg://***@h/db", expected one that '
        "answers and lets plexbridge in: start it, or correct host, user, password or database"
    )
    assert str(unfit) == (
        'store.url: found a database that can\'t be used (42501) at "postgresql+psycopg://***@h/db", expected one '
        "that plexbridge can read and write: see that its disk is well, or name another database"
    )


def test_a_missing_driver_is_named_with_how_to_get_it() -> None:
    assert str(driver_fault(SERVER)) == (
        'store.url: found PostgreSQL without its driver at "postgresql+psycopg://***@h/db", expected psycopg: '
        'pip install "psycopg[binary]"'
    )


@pytest.mark.parametrize("address", [FILE, SERVER])
def test_a_newer_revision_is_named_with_the_known_one(address: Address) -> None:
    (fault,) = revision_fault(address, "0009\n", known="0001").faults

    assert fault == (
        f'store.url: found the revision "0009\\n" of a newer plexbridge at "{address.shown}", expected "0001" or an '
        "older one: use the newer plexbridge, or name another database"
    )


def test_an_error_without_a_code_is_named_by_its_class() -> None:
    assert code_of(ArgumentError("sesame")) == "ArgumentError"
