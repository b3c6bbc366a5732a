"""A store in memory of what servers and people have chosen about being heard, which takes its time, or fails."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf

import trio

from plexbridge.config import RecordingConfig
from plexbridge.people.discord.attention import Mode
from plexbridge.people.discord.audiences import Audiences
from plexbridge.people.discord.recordings import Recordings, StartRecorder
from plexbridge.recording.recorder import Recorder


@dataclass(frozen=True)
class Chosen:
    """What one server has chosen."""

    attention: str | None
    percents: Mapping[str, int]


@dataclass
class MemoryChoices:
    """Implements `audiences.ChoiceStore` and `recordings.RecordedStore`."""

    attention: dict[str, str] = field(default_factory=dict)
    percents: dict[str, dict[str, int]] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)
    recorded: set[str] = field(default_factory=set)
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

    async def load_recorded(self) -> frozenset[str]:
        """Return what is kept."""
        await self._work()
        return frozenset(self.recorded)

    async def set_recorded(self, server_id: str, *, is_recorded: bool) -> None:
        """Keep it."""
        await self._work()
        (self.recorded.add if is_recorded else self.recorded.discard)(server_id)

    async def _work(self) -> None:
        await trio.sleep(self.delay_seconds)
        if self.fault is not None:
            raise self.fault


def make_audiences(
    store: MemoryChoices | None = None, *, mode: Mode = Mode.EVERYONE, idle_seconds: float = inf
) -> Audiences:
    """Return audiences that are kept in memory."""
    return Audiences(store or MemoryChoices(), mode=mode, idle_seconds=idle_seconds)


def make_recordings(
    store: MemoryChoices | None = None,
    *,
    audiences: Audiences | None = None,
    start: StartRecorder | None = None,
    config: RecordingConfig | None = None,
) -> Recordings:
    """Return recordings that are allowed where there is something to start them with; that needs no disk."""

    def refuse(place: str, say: Callable[[str], None]) -> Recorder:
        raise AssertionError("nobody wants a recording here")

    config = config or RecordingConfig(enabled=start is not None)
    is_ignored = (audiences or make_audiences()).is_ignored
    return Recordings(store or MemoryChoices(), config, start or refuse, is_ignored=is_ignored)
