"""What people and servers have set: read at the start of a conversation, written when somebody says so."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from sqlalchemy import Connection, inspect
from sqlalchemy.sql.dml import Delete

from plexbridge.store.address import SqliteAddress
from plexbridge.store.database import Database, connect, open_database, parse_address, run_first
from plexbridge.store.file import find_file
from plexbridge.store.revision import find_revision
from plexbridge.store.schema import (
    PERSONS_TABLES,
    Insert,
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

USUAL_PERCENT = 100


@dataclass(frozen=True, slots=True)
class PersonSettings:
    """What one person has set; None is the configured default."""

    voice: str | None = None
    prompt: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What one server has set."""

    attention: str | None = None
    """Whom a model listens to there; None is the configured default."""
    percents: Mapping[str, int] = field(default_factory=dict)
    """The volumes that are not the usual one, by person."""


class SettingsStore:
    """The settings of everybody, by the id of a person or a server such as `discord:1234567`; `open_store` makes it.

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

    async def load_server(self, server_id: str) -> ServerSettings:
        """Return what the server has set; the defaults for an unknown one."""

        def read(connection: Connection) -> ServerSettings:
            attention = connection.execute(select_attention(server_id)).scalar_one_or_none()
            percents = {row[0]: row[1] for row in connection.execute(select_volumes(server_id))}
            return ServerSettings(attention, percents)

        return await self._database.run(read)

    async def set_attention(self, server_id: str, attention: str) -> None:
        """Store whom a model listens to in the server."""
        await self._execute(upsert_attention(self._database.dialect, server_id, attention))

    async def set_volume(self, server_id: str, person_id: str, percent: int) -> None:
        """Store how loud the person is heard in the server; the usual volume need not be."""
        if percent == USUAL_PERCENT:
            await self._execute(delete_volume(server_id, person_id))
        else:
            await self._execute(upsert_volume(self._database.dialect, server_id, person_id, percent))

    async def load_ignored(self) -> frozenset[str]:
        """Return everybody who has asked not to be heard."""

        def read(connection: Connection) -> frozenset[str]:
            return frozenset(connection.execute(select_ignored()).scalars())

        return await self._database.run(read)

    async def set_ignored(self, person_id: str, *, is_ignored: bool) -> None:
        """Store whether the person has asked not to be heard."""
        insert = insert_ignored(self._database.dialect, person_id)
        await self._execute(insert if is_ignored else delete_ignored(person_id))

    async def load_recorded(self) -> frozenset[str]:
        """Return all servers whose conversations are recorded."""

        def read(connection: Connection) -> frozenset[str]:
            return frozenset(connection.execute(select_recorded()).scalars())

        return await self._database.run(read)

    async def set_recorded(self, server_id: str, *, is_recorded: bool) -> None:
        """Store whether a server's conversations are recorded."""
        insert = insert_recorded(self._database.dialect, server_id)
        await self._execute(insert if is_recorded else delete_recorded(server_id))

    async def _set(self, person_id: str, **fields: str) -> None:
        await self._execute(upsert_person(self._database.dialect, person_id, **fields))

    async def _execute(self, statement: Insert | Delete) -> None:
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
        if find_revision(connection, address) is None:
            return 0
        # An earlier revision, which is left as it is, has not all of them.
        tables = [table for table in PERSONS_TABLES if inspect(connection).has_table(table.name)]
        return int(connection.execute(count_persons(tables)).scalar_one())

    async with connect(address) as database:
        return await run_first(database, address, count)
