"""One lock per model and host, so that two processes here never use a single-session model at the same time.

A second connection to PersonaPlex would wait without a word, and would put its own voice and persona into the call
that is running. A model has as many slots as it takes sessions; each slot is a file in one folder of the host, locked
by the kernel, which frees it when its process ends, however it ends. What a file holds means nothing, and files that
are left behind lock nothing. `identity` says which addresses are one model.
"""

import hashlib
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from plexbridge.errors import ConfigError, ModelBusy
from plexbridge.model.identity import model_key

LOCK_FOLDER = "plexbridge-locks"
"""Stands in the host's folder for temporary files; like that, everybody may write in it and delete only their own."""

_FOLDER_MODE = stat.S_ISVTX | 0o777
_FILE_MODE = 0o666


@contextmanager
def hold_model(url: str, *, sessions: int = 1) -> Iterator[None]:
    """Occupy one of the model's `sessions` slots for the length of the block.

    Raises `ModelBusy` at once when all are taken, by other processes or by this one, and `ConfigError`, naming the
    path, when the lock folder can't be used.
    """
    key = model_key(url)
    folder = _open_folder()
    # The name is a digest, as a path may be long, and everybody on the host can read it.
    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    with ExitStack() as stack:
        for slot in range(sessions):
            # A lock may be let go by another thread than took it: a context manager promises nothing else.
            lock = FileLock(folder / f"{digest}-{slot}.lock", mode=_FILE_MODE, thread_local=False)
            try:
                stack.enter_context(lock.acquire(blocking=False))
                break
            except Timeout:
                continue
            except OSError as error:
                raise _unusable(Path(lock.lock_file), error) from error
        else:
            raise ModelBusy(f"all of the model's slots ({sessions}) are taken by plexbridge on this host")
        yield


def _open_folder() -> Path:
    """Return the host's lock folder, made if it is missing, for all users of the host.

    Raises `ConfigError` when it can't be made or something else has its name; a link could lead anywhere.
    """
    folder = Path(tempfile.gettempdir()) / LOCK_FOLDER
    try:
        try:
            folder.mkdir()
            folder.chmod(_FOLDER_MODE)  # what mkdir is asked for is cut by the umask
        except FileExistsError:
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise
    except OSError as error:
        raise _unusable(folder, error) from error
    return folder


def _unusable(path: Path, error: OSError) -> ConfigError:
    """Return the fault of a lock folder or file that can't be used, and what to do about it."""
    folder = Path(tempfile.gettempdir()) / LOCK_FOLDER
    return ConfigError(
        (
            f"{path}: found a lock that can't be used ({error.strerror}), expected {folder} to be a folder that "
            "every user may write in: remove it, or set TMPDIR to another place for every plexbridge on this host",
        )
    )
