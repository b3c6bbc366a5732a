"""Which revision a database has, and how it is brought to that of this code.

The whole migration is one transaction, which SQLite can do too once it is begun by hand: a process that dies in the
middle leaves the database as it was. Alembic keeps the running migration in global variables, so one runs at a time.
It is imported where it is used: it logs as it is imported, and must be told before that nobody wants to know.
"""

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from plexbridge.store.address import Address
from plexbridge.store.faults import revision_fault

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "plexbridge_version"
"""Not Alembic's own name, which another program in the same PostgreSQL database may use."""

_FOLDER = Path(__file__).parent / "migrations"
_one_at_a_time = threading.Lock()
logger = logging.getLogger(__name__)
logging.getLogger("alembic").setLevel(logging.WARNING)


def migrate(connection: Connection, address: Address) -> None:
    """Bring the database to the newest revision, in the transaction that the connection is in.

    Raises `ConfigError` for a database that a newer version has changed.
    """
    from alembic import command

    config = _config()
    found, newest = _found(connection, address, config)
    if found == newest:
        return
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSION_TABLE
    with _one_at_a_time:
        command.upgrade(config, "head")
    logger.info("the database was brought from revision %s to %s", found or "nothing", newest)


def find_revision(connection: Connection, address: Address) -> str | None:
    """Return the revision of the database, None where plexbridge has made nothing yet.

    Raises `ConfigError` for a database that a newer version has changed.
    """
    return _found(connection, address, _config())[0]


def _found(connection: Connection, address: Address, config: "Config") -> tuple[str | None, str]:
    """Return the revision of the database, and the newest one that this code knows."""
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(config)
    known = [script.revision for script in scripts.walk_revisions()]  # from the newest on
    found = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    if found is not None and found not in known:
        raise revision_fault(address, found, known=known[0])
    return found, known[0]


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))  # a format string, by its parser
    return config
