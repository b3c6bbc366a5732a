"""What a recording is called and says of itself, and which recordings are kept: names, `recording.json`, limits.

A recording is a folder of its own, whose name is its start (UTC) and where it was. In it are a file for each person,
whose name is theirs as far as a file's may be, with their id, one for the model, and the index.
"""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

INDEX_FILE = "recording.json"
MODEL_FILE = "model.opus"
NAME_CHARS = 40
"""At most 160 bytes, so that with an id it is a name for every file system."""
ID_CHARS = 64
"""Enough for two of Discord's ids, and letters of one byte."""
_TIME_FORMAT = "%Y-%m-%dT%H-%M-%SZ"
_TIME_CHARS = len("2026-11-21T17-40-05Z")


@dataclass(frozen=True, slots=True)
class IndexedTrack:
    """One file; all begin with the recording, so there is no other offset than that of the first sound."""

    file: str
    person: str | None
    """Whose it is, such as `discord:1234567`; None for the model's."""
    name: str
    """As people were shown it."""
    first_sound_seconds: float | None
    sound_seconds: float


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which sound was dropped, as the disk was too slow."""

    from_seconds: float
    to_seconds: float
    dropped_frames: int
    """Of 20 ms, of everybody together."""


@dataclass(frozen=True, slots=True)
class Index:
    """What stands in a recording's index."""

    started: datetime
    """Sample 0 of every file; in UTC."""
    place: str
    """Where it was, such as `discord-123-456`: a server and a channel."""
    seconds: float
    """Up to where it goes, so far."""
    is_ended: bool
    """False while it runs, and for one that broke off."""
    tracks: Sequence[IndexedTrack]
    gaps: Sequence[Gap]
    dropped_frames: int

    def text(self) -> str:
        """Return it as the file's text."""
        content = {"version": 1, **asdict(self), "started": self.started.isoformat()}
        return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def safe(name: str, limit_chars: int = NAME_CHARS) -> str:
    """Return a name as part of a file's: letters and digits of any script, hyphens, and an underscore for the rest."""
    plain = unicodedata.normalize("NFKC", name[: 4 * limit_chars])
    kept = "".join(char if char.isalnum() or char == "-" else "_" for char in plain)
    return "_".join(part for part in kept.split("_") if part)[:limit_chars] or "_"


def track_file(person: str, name: str) -> str:
    """Return the name of a person's file, which no other person has."""
    return f"{safe(name)}-{safe(person, ID_CHARS)}.opus"


def folder_name(started: datetime, place: str) -> str:
    """Return the name of a recording's folder."""
    return f"{started.astimezone(UTC).strftime(_TIME_FORMAT)}-{safe(place, ID_CHARS)}"


def start_of(folder_name: str) -> datetime | None:
    """Return when a recording began by its folder's name; None for a folder of something else."""
    try:
        started = datetime.strptime(folder_name[:_TIME_CHARS], _TIME_FORMAT)
    except ValueError:
        return None
    return started.replace(tzinfo=UTC) if folder_name[_TIME_CHARS:].startswith("-") else None


@dataclass(frozen=True, slots=True)
class Kept:
    """A recording that there is."""

    name: str
    """Of its folder."""
    started: datetime
    size_bytes: int
    is_running: bool


def expired(kept: Iterable[Kept], now: datetime, *, keep_days: int, limit_bytes: int) -> list[Kept]:
    """Return which recordings have to go, oldest first: those that are too old, and as many as are too much.

    None that is running; whether those alone are too much is `is_full`.
    """
    oldest_first = sorted(kept, key=lambda each: (each.started, each.name))
    total_bytes = sum(each.size_bytes for each in oldest_first)
    gone = []
    for each in oldest_first:
        is_old = now - each.started > timedelta(days=keep_days)
        if not each.is_running and (is_old or total_bytes > limit_bytes):
            gone.append(each)
            total_bytes -= each.size_bytes
    return gone


def is_full(kept: Iterable[Kept], *, limit_bytes: int) -> bool:
    """Say whether the recordings that are running have no room, even with all others gone."""
    return sum(each.size_bytes for each in kept if each.is_running) > limit_bytes
