"""The connection to the database: opened with everything checked, used on threads, closed without leaving any behind.

A database may wait for a lock, a disk or a network, so each transaction runs on a thread. Whoever asked for one may be
cancelled meanwhile, or lose patience, and goes on at once: the transaction is taken back, which means that it will not
be committed, however late its thread gets to that. Otherwise a change that somebody has given up could later undo a
newer one that was confirmed. Only in the moment of the commit itself the caller waits for how that ends.
"""

import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Generic, TypeVar

import trio
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from plexbridge.errors import ConfigError, StoreError
from plexbridge.store.address import EXPECTED, Address, SqliteAddress, parse_store_url
from plexbridge.store.faults import BUSY_SECONDS, code_of, driver_fault, fault_of
from plexbridge.store.file import make_file
from plexbridge.store.revision import migrate

MAX_THREADS = 4
"""Transactions at the same time, and connections. They take a millisecond, so more are only there to wait."""

ANSWER_SECONDS = 10.0
"""How long somebody waits for the database; above `BUSY_SECONDS`, so that an ordinary lock is told as what it is."""

CLOSE_SECONDS = 5.0
"""How long transactions that are running, and a commit whose caller was cancelled, are waited for."""

_ALONE = {
    # WAL, which stays with the file: readers and the writer do not wait for each other.
    "sqlite": ("PRAGMA journal_mode = WAL", "BEGIN IMMEDIATE"),
    "postgresql": ("SELECT pg_advisory_xact_lock(7565107217)",),  # an arbitrary number, held to the transaction's end
}
"""How a migration makes sure that no other process migrates meanwhile, by the dialect."""

_IS_ALONE = "plexbridge_is_alone"

Result = TypeVar("Result")
Work = Callable[[Connection], Result]
logger = logging.getLogger(__name__)


class Database:
    """An open database; `open_database` makes it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = trio.CapacityLimiter(MAX_THREADS)

    @property
    def dialect(self) -> str:
        """Whose SQL it speaks: "sqlite" or "postgresql"."""
        return self._engine.dialect.name

    async def run(self, work: Work[Result]) -> Result:
        """Return what `work` returns from a transaction of its own, which is committed then.

        Raises `StoreError`; and if cancelled, the transaction has either happened or never will.
        """
        try:
            with trio.fail_after(ANSWER_SECONDS):
                return await self.run_unbounded(work)
        except trio.TooSlowError as error:
            raise StoreError(f"the database gave no answer for {ANSWER_SECONDS:g} s") from error
        except SQLAlchemyError as error:
            raise StoreError(f"the database failed: {code_of(error)}") from error
        except UnicodeError as error:
            # Half of a surrogate pair, as a JSON text can hold; it is the driver that finds it.
            raise StoreError("a text that is no Unicode can't be stored") from error

    async def run_unbounded(self, work: Work[Result]) -> Result:
        """Do as `run` does, for as long as it takes, and with SQLAlchemy's own exceptions."""
        transaction = _Transaction(self._engine, work)
        try:
            return await trio.to_thread.run_sync(transaction.run, abandon_on_cancel=True, limiter=self._threads)
        except trio.Cancelled:
            if not transaction.take_back():
                with trio.move_on_after(CLOSE_SECONDS, shield=True):
                    await transaction.ended.wait()
            raise

    async def close(self) -> None:
        """Wait for the threads, those of cancelled callers too, and close the connections; later use fails."""
        with trio.move_on_after(CLOSE_SECONDS, shield=True) as patience:
            for _ in range(MAX_THREADS):  # a thread gives its token back when it ends, abandoned or not
                await self._threads.acquire_on_behalf_of(object())
        if patience.cancelled_caught:
            logger.warning("the database does not answer; it is left without waiting any longer")
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            limiter = trio.CapacityLimiter(1)
            await trio.to_thread.run_sync(self._engine.dispose, abandon_on_cancel=True, limiter=limiter)


class _Transaction(Generic[Result]):
    """One transaction and its thread; may be taken back until the moment when it is committed."""

    def __init__(self, engine: Engine, work: Work[Result]) -> None:
        self._engine = engine
        self._work = work
        self._decision = threading.Lock()  # belongs to who takes it first: to commit, or to take back
        self._trio_token = trio.lowlevel.current_trio_token()
        self.ended = trio.Event()

    def run(self) -> Result:
        """Hold the transaction, on a thread."""
        is_ours = False
        try:
            with self._engine.connect() as connection:
                try:
                    result = self._work(connection)
                    is_ours = self._decision.acquire(blocking=False)
                    if is_ours:
                        connection.commit()
                    return result
                finally:
                    if not is_ours and not connection.invalidated:
                        connection.detach()  # closed below, not returned to a pool that may be closed by now
        finally:
            with suppress(trio.RunFinishedError):  # nobody is left who could wait
                self._trio_token.run_sync_soon(self.ended.set)

    def take_back(self) -> bool:
        """Keep the transaction from being committed; False if it is too late for that."""
        return self._decision.acquire(blocking=False)


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """Hold the database open, made if it is missing and migrated if it is old.

    Raises `ConfigError` with one line when it can't be used.
    """
    address = parse_address(url)
    if isinstance(address, SqliteAddress):
        await trio.to_thread.run_sync(make_file, address, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
    async with connect(address) as database:

        def prepare(connection: Connection) -> None:
            connection.execution_options(**{_IS_ALONE: True})
            for statement in _ALONE[connection.dialect.name]:
                connection.exec_driver_sql(statement)
            migrate(connection, address)

        await run_first(database, address, prepare)
        yield database


@asynccontextmanager
async def connect(address: Address) -> AsyncIterator[Database]:
    """Hold the database as it is; nothing is done with it yet."""
    database = Database(_make_engine(address))
    try:
        yield database
    finally:
        await database.close()


async def run_first(database: Database, address: Address, work: Work[Result]) -> Result:
    """Do as `run` does, for as long as a migration may take, and with a `ConfigError` that says what is wrong."""
    try:
        return await database.run_unbounded(work)
    except SQLAlchemyError as error:
        raise fault_of(address, error) from error


def parse_address(url: str) -> Address:
    """Return where the store is; raises `ConfigError`."""
    address = parse_store_url(url)
    if address is None:
        raise ConfigError((f"store.url: found what is no address of a database, expected {EXPECTED}",))
    return address


def _make_engine(address: Address) -> Engine:
    is_sqlite = isinstance(address, SqliteAddress)
    # Not as text: a file's name may hold what means something else in an address.
    place = URL.create("sqlite", database=str(address.path)) if isinstance(address, SqliteAddress) else address.url
    timeouts = {"timeout": BUSY_SECONDS} if is_sqlite else {"connect_timeout": int(BUSY_SECONDS)}
    try:
        engine = create_engine(
            place,
            connect_args=timeouts,
            hide_parameters=True,  # they are prompts
            pool_size=MAX_THREADS,
            max_overflow=0,
            pool_pre_ping=not is_sqlite,  # a server may have been restarted
        )
    except ImportError as error:
        raise driver_fault(address) from error
    if is_sqlite:
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, record: object) -> None:
    connection.isolation_level = None  # transactions are begun below, as sqlite3 itself begins none for migrations
    connection.execute("PRAGMA synchronous = FULL").close()  # what was confirmed outlives a power failure


def _begin_sqlite(connection: Connection) -> None:
    if not connection.get_execution_options().get(_IS_ALONE):
        connection.exec_driver_sql("BEGIN")
