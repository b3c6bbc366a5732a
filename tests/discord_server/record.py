"""The record of what the client did: one bounded, ordered list that tests wait on and read.

Kinds: `rest`, `gateway`, `voice` (voice gateway), `dave`, `media`, `interaction`, `person`, and `violation` for each
breach of Discord's rules by a client. Times are seconds of the monotonic clock, as all arrival times of packets are.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

RECORD_LIMIT = 50_000
"""Entries kept; the oldest go first. Audio packets are counted elsewhere and make no entries."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened; `index` grows by one and is never reused."""

    index: int
    at_seconds: float
    kind: str
    name: str
    data: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the entry as the control interface hands it out."""
        return {
            "index": self.index,
            "at_seconds": self.at_seconds,
            "kind": self.kind,
            "name": self.name,
            "data": self.data,
        }


class Record:
    """All entries of one server, with waiting for new ones."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=RECORD_LIMIT)
        self._next_index = 0
        self._changed = asyncio.Event()
        self.counters: Counter[str] = Counter()

    def add(self, kind: str, name: str, **data: Any) -> None:
        """Append an entry and wake who waits."""
        self._entries.append(Entry(self._next_index, time.monotonic(), kind, name, data))
        self._next_index += 1
        self.counters[f"{kind}.{name}"] += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def violation(self, name: str, **data: Any) -> None:
        """Record a breach of Discord's rules by a client; `name` is a sentence."""
        self.add("violation", name, **data)

    def select(self, *, after: int = -1, kind: str | None = None, name: str | None = None) -> list[Entry]:
        """Return the entries with an index above `after` that match."""
        return [
            entry
            for entry in self._entries
            if entry.index > after and (kind is None or entry.kind == kind) and (name is None or entry.name == name)
        ]

    async def wait(self, matches: Callable[[], list[Entry]], seconds: float) -> list[Entry]:
        """Return what `matches` finds as soon as it finds something, or the empty list after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    changed = self._changed
                    found = matches()
                    if found:
                        return found
                    await changed.wait()
        except TimeoutError:
            return []

    @property
    def last_index(self) -> int:
        """The index of the newest entry, -1 when there is none."""
        return self._next_index - 1
