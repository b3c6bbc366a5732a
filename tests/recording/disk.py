"""A disk that records what it is told to, at the speed that a test wants, in simulated time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from plexbridge.errors import RecordingError
from plexbridge.recording.files import Event, Forget, Sound
from plexbridge.recording.recorder import Recorder

ADA, BOB = "discord:1", "discord:2"
NAMES: Mapping[str, str] = {ADA: "Ada", BOB: "Bob"}


@dataclass
class FakeDisk:
    """Implements `recorder.Files`, and runs what is done with it, as slowly as is wanted."""

    path: Path = Path("recordings/1")
    delay_seconds: float = 0.0
    fault: RecordingError | ValueError | None = None
    events: list[Event] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    closed_frame: int | None = None
    is_abandoned: bool = False
    said: list[str] = field(default_factory=list)
    _line: trio.Lock = field(default_factory=trio.Lock)

    def write(self, events: Sequence[Event], now_frame: int) -> None:
        """Keep it."""
        if self.fault is not None:
            raise self.fault
        self.events += events
        self.frames.append(now_frame)

    def close(self, events: Sequence[Event], end_frame: int) -> None:
        """Keep it."""
        self.write(events, end_frame)
        self.closed_frame = end_frame

    def abandon(self, events: Sequence[Event]) -> None:
        """Note it."""
        self.events += [event for event in events if isinstance(event, Forget)]
        self.is_abandoned = True

    async def run(self, function: Callable[[], None]) -> None:
        """Do something as a thread does: one after the other."""
        async with self._line:
            await trio.sleep(self.delay_seconds)
            function()

    def recorder(self, *, limit_seconds: float = 3_600, say: Callable[[str], None] | None = None) -> Recorder:
        """Return a recorder on this disk."""
        return Recorder(
            self,
            limit_seconds=limit_seconds,
            name_of=lambda person: NAMES.get(person, person),
            say=say or self.said.append,
            in_thread=self.run,
        )

    @property
    def sounds(self) -> list[tuple[str | None, str, float]]:
        """Whose sound came, and where it lies."""
        sounds = [event for event in self.events if isinstance(event, Sound)]
        return [(each.person, each.name, round(each.place_frames, 3)) for each in sounds]
