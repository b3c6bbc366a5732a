"""What a session needs of the people's side, whoever they are: a Discord channel, a browser, a WAV file.

The people outlive the link to a model, so a session is handed them and never closes them. No method waits: a session
calls each from its own beat, and what can't be delivered at once is the people's side's to drop and to count.
"""

from typing import NamedTuple, Protocol

from plexbridge.audio.pcm import Samples
from plexbridge.model.conversation import State


class Frame(NamedTuple):
    """20 ms of what the people say, mixed, on its way up."""

    samples: Samples
    """480 samples at 24 kHz."""
    arrived_seconds: float
    """When the latest part of it came in, on Trio's clock: the start of its way through the ledger."""
    is_silent: bool


class People(Protocol):
    """One side of a conversation, as the four tasks see it."""

    def listen(self, due_seconds: float) -> Frame | None:
        """Return the frame of the tick that was due at `due_seconds`, silence included; None: the people have left."""

    def skip(self, frames: int) -> None:
        """Throw away the audio of `frames` ticks that capture has missed."""

    def play(self, samples: Samples, tick: int) -> None:
        """Play 20 ms (960 samples at 48 kHz); `tick` counts from the session's start, missed ones included."""

    def show(self, text: str) -> None:
        """Show a piece of what the model says, to be joined to the one before as it is."""

    def tell(self, state: State) -> None:
        """Tell the people that the conversation has entered `state`."""
