"""What people have set for themselves: read at the start of a conversation, written when somebody says so."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from sqlalchemy import Connection

from plexbridge.store.address import SqliteAddress
from plexbridge.store.database import Database, connect, open_database, parse_address, run_first
from plexbridge.store.file import find_file
from plexbridge.store.revision import find_revision
from plexbridge.store.schema import count_persons, delete_person, select_person, upsert_person


@dataclass(frozen=True, slots=True)
class PersonSettings:
    """What one person has set; None is the configured default."""

    voice: str | None = None
    prompt: str | None = field(default=None, repr=False)


class SettingsStore:
    """The settings of everybody, by a person's id such as `discord:1234567`; `open_store` makes it.

    A change that has returned is stored for good. All methods raise `StoreError`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, person_id: str) -> PersonSettings:
        """Return what the person has set; the defaults for somebody unknown."""

        def read(connection: Connection) -> PersonSettings:
            row = connection.execute(select_person(person_id)).one_or_none()
            return PersonSettings() if row is None else PersonSettings(voice=row[0], prompt=row[1])

        return await self._database.run(read)

    async def set_voice(self, person_id: str, voice: str) -> None:
        """Store the person's voice, and leave the rest as it is."""
        await self._set(person_id, voice=voice)

    async def set_prompt(self, person_id: str, prompt: str) -> None:
        """Store the person's prompt, and leave the rest as it is."""
        await self._set(person_id, prompt=prompt)

    async def reset(self, person_id: str) -> bool:
        """Forget all that the person has set; return whether there was anything."""

        def forget(connection: Connection) -> bool:
            return connection.execute(delete_person(person_id)).rowcount > 0

        return await self._database.run(forget)

    async def _set(self, person_id: str, **fields: str) -> None:
        statement = upsert_person(self._database.dialect, person_id, **fields)

        def write(connection: Connection) -> None:
            connection.execute(statement)

        await self._database.run(write)


@asynccontextmanager
async def open_store(url: str) -> AsyncIterator[SettingsStore]:
    """Hold the store at `url` open, made if it is missing; closing waits a bounded time for what is running.

    Raises `ConfigError` with one line when its database can't be used.
    """
    async with open_database(url) as database:
        yield SettingsStore(database)


async def count_people(url: str) -> int | None:
    """Return of how many people something is stored, None where no database is yet; nothing is made or changed.

    Raises `ConfigError` as `open_store` would.
    """
    address = parse_address(url)
    if isinstance(address, SqliteAddress):
        limiter = trio.CapacityLimiter(1)
        if not await trio.to_thread.run_sync(find_file, address, abandon_on_cancel=True, limiter=limiter):
            return None

    def count(connection: Connection) -> int:
        has_table = find_revision(connection, address) is not None
        return int(connection.execute(count_persons()).scalar_one()) if has_table else 0

    async with connect(address) as database:
        return await run_first(database, address, count)
