"""The folder in which recordings are kept: whether it can be, and that it holds no more than it may; on a thread.

Only what a recording consists of is ever deleted: folders that are named like one, and in them its own kinds of files.
"""

import os
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from plexbridge.errors import ConfigError
from plexbridge.recording.files import FOLDER_MODE
from plexbridge.recording.index import Kept, expired, is_full, start_of

RUNNING_SECONDS = 60.0
"""What was written so recently is taken to be running, by another process perhaps: an index is written every 10 s."""
SUFFIXES = frozenset((".opus", ".json", ".new"))


@dataclass(frozen=True, slots=True)
class Keeping:
    """What may be kept, where."""

    folder: Path
    keep_days: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What was deleted, and whether that was enough."""

    deleted: int = 0
    is_full: bool = False
    """The recordings that are running are too much by themselves."""


def prepare_folder(folder: Path) -> None:
    """Make the folder if it is missing; raises ConfigError when it can't be used."""
    try:
        folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        fault = f"recording.folder: found {folder}, which can't be used ({reason}), expected a folder to write to"
        raise ConfigError((fault,)) from error


def sweep(keeping: Keeping, now: datetime, running: Collection[Path]) -> Swept:
    """Delete the recordings that have to go, none of those in `running`; what can't be deleted stays."""
    kept = list(_kept(keeping.folder, now, running))
    gone = expired(kept, now, keep_days=keeping.keep_days, limit_bytes=keeping.limit_bytes)
    deleted = sum(_delete(keeping.folder / each.name) for each in gone)
    return Swept(deleted, is_full(kept, limit_bytes=keeping.limit_bytes))


def _kept(folder: Path, now: datetime, running: Collection[Path]) -> Iterator[Kept]:
    for path in folder.iterdir():
        started = start_of(path.name)
        if started is None or path.is_symlink() or not path.is_dir():
            continue
        size_bytes, changed_seconds = 0, 0.0
        for file in os.scandir(path):
            try:
                status = file.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # deleted or renamed meanwhile
            size_bytes += status.st_size
            changed_seconds = max(changed_seconds, status.st_mtime)
        is_fresh = now - datetime.fromtimestamp(changed_seconds, UTC) < timedelta(seconds=RUNNING_SECONDS)
        yield Kept(path.name, started, size_bytes, is_running=is_fresh or path in running)


def _delete(path: Path) -> bool:
    """Delete a recording; return whether it is gone."""
    try:
        for file in list(path.iterdir()):
            if file.suffix in SUFFIXES:
                file.unlink(missing_ok=True)
        path.rmdir()
    except OSError:
        return False  # somebody has put something else there, or it can't be deleted: the next sweep tries again
    return True
