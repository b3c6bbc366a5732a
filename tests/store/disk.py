"""What the tests do to a store's file behind its back; apart from them, as async functions should not touch a disk."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

NOBODY = 65534


def write(path: Path, content: str | bytes) -> None:
    """Replace a file's content."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def read(path: Path) -> bytes:
    """Return a file's content."""
    return path.read_bytes()


def modes(folder: Path) -> dict[str, int]:
    """Return the names and the modes of all files in a folder."""
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


def execute(path: Path, script: str) -> None:
    """Run SQL on a database."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


def tables(path: Path) -> set[str]:
    """Return the names of the tables of a database."""
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep everybody else from writing to a database."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def write_protected(path: Path) -> Iterator[None]:
    """Take the right to write a file, and to make others beside it, from everybody.

    From root too, which no mode keeps out: it becomes nobody meanwhile.
    """
    is_root = os.geteuid() == 0
    path.chmod(0o444)
    path.parent.chmod(0o555)
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        path.parent.chmod(0o700)
