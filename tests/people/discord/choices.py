"""A store in memory of what servers and people have chosen about being heard, which takes its time, or fails."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

import trio

from plexbridge.people.discord.attention import Mode
from plexbridge.people.discord.audiences import Audiences


@dataclass(frozen=True)
class Chosen:
    """What one server has chosen."""

    attention: str | None
    percents: Mapping[str, int]


@dataclass
class MemoryChoices:
    """Implements `audiences.ChoiceStore`."""

    attention: dict[str, str] = field(default_factory=dict)
    percents: dict[str, dict[str, int]] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)
    fault: Exception | None = None
    delay_seconds: float = 0.0

    async def load_server(self, server_id: str) -> Chosen:
        """Return what is kept."""
        chosen = Chosen(self.attention.get(server_id), dict(self.percents.get(server_id, {})))
        await self._work()
        return chosen

    async def set_attention(self, server_id: str, attention: str) -> None:
        """Keep it."""
        await self._work()
        self.attention[server_id] = attention

    async def set_volume(self, server_id: str, person_id: str, percent: int) -> None:
        """Keep it."""
        await self._work()
        self.percents.setdefault(server_id, {})[person_id] = percent

    async def load_ignored(self) -> frozenset[str]:
        """Return what is kept."""
        await self._work()
        return frozenset(self.ignored)

    async def set_ignored(self, person_id: str, *, is_ignored: bool) -> None:
        """Keep it."""
        await self._work()
        (self.ignored.add if is_ignored else self.ignored.discard)(person_id)

    async def _work(self) -> None:
        await trio.sleep(self.delay_seconds)
        if self.fault is not None:
            raise self.fault


def make_audiences(
    store: MemoryChoices | None = None, *, mode: Mode = Mode.EVERYONE, idle_seconds: float = inf
) -> Audiences:
    """Return audiences that are kept in memory."""
    return Audiences(store or MemoryChoices(), mode=mode, idle_seconds=idle_seconds)
