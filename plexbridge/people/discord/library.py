"""The check that the package `discord` is the discord.py whose insides `internals` knows.

Several libraries install a package of that name, and a pinned version can still be overridden by hand; so before
anything of it is used, plexbridge looks, and says in words what it found.
"""

import importlib
import warnings
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from plexbridge.errors import LibraryUnfit

VERSION = "2.7.1"
"""The only version of discord.py whose insides were read and tried."""

CURE = f'pip install --force-reinstall "discord.py[voice]=={VERSION}"'


def check_library() -> str:
    """Return what was found, if it is what is needed; raises LibraryUnfit, whose sentence names the cure."""
    try:
        installed = version("discord.py")
    except PackageNotFoundError:
        raise LibraryUnfit(f"discord.py is not installed: {CURE}") from None
    for name in ("discord", "davey", "nacl", "cryptography"):
        try:
            module = _imported(name)
        except ImportError as exc:
            raise LibraryUnfit(f"discord.py can't be used for voice, as {name} can't be imported: {CURE}") from exc
        if name == "discord":
            _check_discord(module)
    return f"discord.py {installed}"


def _check_discord(module: ModuleType) -> None:
    title, found = getattr(module, "__title__", "?"), getattr(module, "__version__", "?")
    if title != "discord":
        raise LibraryUnfit(
            f"The package `discord` is {title} {found}, not discord.py: uninstall {title}, which has taken its place, "
            f"then {CURE}"
        )
    if found != VERSION:
        raise LibraryUnfit(f"discord.py is version {found}, and plexbridge needs exactly {VERSION}: {CURE}")


def _imported(name: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # discord.py imports audioop, which Python 3.13 drops
        return importlib.import_module(name)
