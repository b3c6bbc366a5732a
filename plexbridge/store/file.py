"""The file of a SQLite database, before SQLite sees it: whether it can be there, and who may read it."""

import errno
import os
import stat
from contextlib import suppress

from plexbridge.store.address import SqliteAddress
from plexbridge.store.faults import access_fault, folder_fault, kind_fault

_MODE = 0o600
"""What people set is private; SQLite gives the file's mode to those that it makes beside it."""


def find_file(address: SqliteAddress) -> bool:
    """Return whether there is a file, which can be written, or else one can be made.

    Raises `ConfigError` for anything else that stands in the way.
    """
    path = address.path.absolute()
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if not path.parent.is_dir():
            raise folder_fault(path.parent) from None
        mode = None
    except OSError as error:
        raise access_fault(address, str(error.strerror)) from error
    if mode is not None and not stat.S_ISREG(mode):
        raise kind_fault(address)
    needed = [path.parent] if mode is None else [path, path.parent]  # SQLite makes files beside this one
    if not all(os.access(each, os.W_OK) for each in needed):
        raise access_fault(address, os.strerror(errno.EACCES))
    return mode is not None


def make_file(address: SqliteAddress) -> None:
    """Make the file if it is missing. Raises `ConfigError` as `find_file` does."""
    if find_file(address):
        # Not opened even for a moment: closing it again would drop the locks of all its connections in this process.
        return
    place = os.path.realpath(address.path)  # a link that leads to nothing yet is followed
    try:
        with suppress(FileExistsError):  # another process was faster
            os.close(os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL, _MODE))
    except OSError as error:
        raise access_fault(address, str(error.strerror)) from error
