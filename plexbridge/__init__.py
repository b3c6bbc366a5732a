"""plexbridge joins people to a full-duplex speech model: out loud, in both directions at once."""

from importlib.metadata import version

__version__ = version("plexbridge")
