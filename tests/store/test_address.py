"""`parse_store_url`: the two kinds of addresses, and what of them may be seen."""

from pathlib import Path

import pytest
from sqlalchemy import make_url

from plexbridge.store.address import PostgresqlAddress, SqliteAddress, in_folder, parse_store_url


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///plexbridge.db", "plexbridge.db"),
        ("sqlite:///data/people.db", "data/people.db"),
        ("sqlite:////var/lib/people.db", "/var/lib/people.db"),
        ("sqlite:////srv/me@home/100%25 #1.db", "/srv/me@home/100%25 #1.db"),
    ],
)
def test_a_file_is_named_as_it_is(url: str, path: str) -> None:
    address = parse_store_url(url)

    assert address == SqliteAddress(Path(path))
    assert address is not None
    assert (address.shown, address.secrets) == (url, ())


@pytest.mark.parametrize(
    ("url", "shown", "secrets"),
    [
        ("postgresql+psycopg://host/db", "postgresql+psycopg://host/db", ()),
        ("postgresql+psycopg:///db", "postgresql+psycopg:///db", ()),
        ("postgresql+psycopg://me@[::1]:5432/db", "postgresql+psycopg://***@[::1]:5432/db", ()),
        ("postgresql+psycopg://me:sesame@h:1/db", "postgresql+psycopg://***@h:1/db", ("sesame",)),
        ("postgresql+psycopg://me:se%40me@h/db", "postgresql+psycopg://***@h/db", ("se%40me", "se@me")),
        ("postgresql+psycopg://me:a/b?c#d@h/db", "postgresql+psycopg://***@h/db", ("a/b?c#d",)),
        ("postgresql+psycopg://h/db?sslmode=require", "postgresql+psycopg://h/db?***", ()),
        ("postgresql+psycopg://h/db?sslpassword=geheim&x=1", "postgresql+psycopg://h/db?***", ("geheim",)),
    ],
)
def test_a_server_is_shown_without_user_password_and_query(url: str, shown: str, secrets: tuple[str, ...]) -> None:
    address = parse_store_url(url)

    assert isinstance(address, PostgresqlAddress)
    assert (address.url, address.shown, address.secrets) == (url, shown, secrets)
    assert not any(secret in repr(address) for secret in secrets)


def test_the_password_is_the_one_that_sqlalchemy_will_use() -> None:
    for url in ("postgresql+psycopg://me:se%40me@h/db", "postgresql+psycopg://me:a/b?c#d@h/db"):
        address = parse_store_url(url)

        assert isinstance(address, PostgresqlAddress)
        assert make_url(url).password == address.secrets[-1]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "plexbridge.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:/// ",
        "sqlite:///:memory:",
        "sqlite:///file:a.db",
        "sqlite:///a.db?mode=ro",
        "sqlite:///a\0.db",
        "sqlite://host/a.db",
        "sqlite+aiosqlite:///a.db",
        "postgresql://h/db",
        "postgresql+psycopg2://h/db",
        "postgresql+psycopg://h",
        "postgresql+psycopg://h/",
        "postgresql+psycopg://h:port/db",
        "postgresql+psycopg://h/d b",
        "postgresql+psycopg://h/db\u200b",
        "mysql://h/db",
    ],
)
def test_anything_else_is_no_address(url: str) -> None:
    assert parse_store_url(url) is None


def test_a_relative_file_is_taken_relative_to_a_folder_and_nothing_else_is_changed() -> None:
    folder = Path("/etc/plexbridge")

    assert in_folder("sqlite:///a/b.db", folder) == "sqlite:////etc/plexbridge/a/b.db"
    assert in_folder("sqlite:////a.db", folder) == "sqlite:////a.db"
    assert in_folder("postgresql+psycopg://h/db", folder) == "postgresql+psycopg://h/db"
