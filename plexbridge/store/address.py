"""Where the store is: the two kinds of addresses that `store.url` may hold, written as SQLAlchemy writes them.

Parsed here and not by SQLAlchemy, whose import takes a fifth of a second that most commands need not spend; and so
that the password is known as exactly what it is, to be kept out of everything that is shown.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

EXPECTED = "sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"

_SQLITE = "sqlite:///"
_POSTGRESQL = re.compile(
    r"""
    postgresql\+psycopg://
    (?P<user>[^:/@\s]+ (?: :(?P<password>[^@\s]*) )? @)?
    (?P<place> (?: \[[0-9A-Fa-f:.]+\] | [^:/@?#\[\]\s]* ) (?: :\d{1,5} )? / [^/?#\s]+ )
    (?: \?(?P<query>\S*) )?
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class SqliteAddress:
    """A SQLite file; a relative path is relative to the working directory."""

    path: Path

    @property
    def shown(self) -> str:
        """The address as others may see it."""
        return f"{_SQLITE}{self.path}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must stand in no log."""
        return ()


@dataclass(frozen=True, slots=True)
class PostgresqlAddress:
    """A database of a PostgreSQL server."""

    url: str = field(repr=False)
    shown: str
    secrets: tuple[str, ...] = field(repr=False)


Address = SqliteAddress | PostgresqlAddress


def parse_store_url(url: str) -> Address | None:
    """Return where the store is, None if `url` is none of the addresses that plexbridge can use."""
    if url.startswith(_SQLITE):
        name = url.removeprefix(_SQLITE)
        # Neither a database that ends with the process nor SQLite's options, which include "read-only".
        is_file = name.strip() and name.isprintable() and "?" not in name and not name.startswith((":", "file:"))
        return SqliteAddress(Path(name)) if is_file else None
    parts = _POSTGRESQL.fullmatch(url)
    if parts is None or not url.isprintable():
        return None
    user, password, query = (parts[name] or "" for name in ("user", "password", "query"))
    passwords = [password, *(value for key, value in parse_qsl(query) if "password" in key)]
    # As it is written, and as the server is sent it.
    secrets = dict.fromkeys(text for each in passwords for text in (each, unquote(each)) if text)
    shown = "postgresql+psycopg://" + ("***@" if user else "") + parts["place"] + ("?***" if query else "")
    return PostgresqlAddress(url, shown, tuple(secrets))


def in_folder(url: str, folder: Path) -> str:
    """Return `url` with a relative path of a SQLite file taken relative to `folder`."""
    address = parse_store_url(url)
    return f"{_SQLITE}{folder / address.path}" if isinstance(address, SqliteAddress) else url
