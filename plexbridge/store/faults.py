"""What is wrong with a database, in words: which of its errors means what, and the cure.

SQLAlchemy's own texts hold statements, the drivers' texts hold what a server says; neither is repeated. What is told is
the address without its password, and the error's code.
"""

from pathlib import Path

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from plexbridge.config_faults import quoted
from plexbridge.errors import ConfigError
from plexbridge.store.address import Address, SqliteAddress

BUSY_SECONDS = 5.0
"""How long a database may be locked by others before that is a failure; a change takes milliseconds."""

_ACCESS = "read and write access to the file and its folder: correct their owner or mode"
_DAMAGED = "one that plexbridge made: restore it, or move it away to begin with an empty one"
_FULL = ("a full disk", "room for the database: delete something else")
_UNLOCKED = "one that is locked for moments only: end that program"

_SQLITE_FAULTS = {
    "SQLITE_NOTADB": ("a damaged database, or none of SQLite", _DAMAGED),
    "SQLITE_CORRUPT": ("a damaged database", _DAMAGED),
    "SQLITE_READONLY": ("a database that can't be written", _ACCESS),
    "SQLITE_PERM": ("a database that can't be written", _ACCESS),
    "SQLITE_CANTOPEN": ("a database that can't be opened", _ACCESS),
    "SQLITE_FULL": _FULL,
    "SQLITE_IOERR_SHMSIZE": _FULL,  # so it is called when there is no room for the first file beside the database
    "SQLITE_BUSY": (f"a database that another program keeps locked for over {BUSY_SECONDS:.0f} s", _UNLOCKED),
}
"""What was found and what was expected, by SQLite's error codes; a primary one stands for all that begin with it."""


def code_of(error: SQLAlchemyError) -> str:
    """Return the error's code for the log: SQLite's name, PostgreSQL's SQLSTATE, or at least its class."""
    origin = getattr(error, "orig", None)
    code = getattr(origin, "sqlite_errorname", None) or getattr(origin, "sqlstate", None)
    return str(code) if code else type(origin or error).__name__


def fault_of(address: Address, error: SQLAlchemyError) -> ConfigError:
    """Return why the database at `address` can't be used."""
    code = code_of(error)
    if isinstance(address, SqliteAddress):
        words = _SQLITE_FAULTS.get(code) or _SQLITE_FAULTS.get("_".join(code.split("_")[:2]))
        if words is not None:
            return _fault(address, *words)
    elif isinstance(error, OperationalError | InterfaceError):
        expected = "one that answers and lets plexbridge in: start it, or correct host, user, password or database"
        return _fault(address, f"no usable PostgreSQL server ({code})", expected)
    expected = "one that plexbridge can read and write: see that its disk is well, or name another database"
    return _fault(address, f"a database that can't be used ({code})", expected)


def revision_fault(address: Address, found: str, *, known: str) -> ConfigError:
    """Return the fault of a database that a newer version has changed."""
    expected = f"{quoted(known)} or an older one: use the newer plexbridge, or name another database"
    return _fault(address, f"the revision {quoted(found)} of a newer plexbridge", expected)


def driver_fault(address: Address) -> ConfigError:
    """Return the fault of an address whose driver can't be imported."""
    return _fault(address, "PostgreSQL without its driver", 'psycopg: pip install "psycopg[binary]"')


def folder_fault(folder: Path) -> ConfigError:
    """Return the fault of a file whose folder is missing."""
    return ConfigError(
        (f"store.url: found no folder {quoted(str(folder))}, expected one: make it, or name another place",)
    )


def kind_fault(address: SqliteAddress) -> ConfigError:
    """Return the fault of a directory, a device or the like in the file's place."""
    return _fault(address, "something that is no file", "a database file: name another place")


def access_fault(address: SqliteAddress, reason: str) -> ConfigError:
    """Return the fault of a file that can't be written, or can't be made."""
    return _fault(address, f"a file that can't be made or written ({reason})", _ACCESS)


def _fault(address: Address, found: str, expected: str) -> ConfigError:
    return ConfigError((f"store.url: found {found} at {quoted(address.shown)}, expected {expected}",))
