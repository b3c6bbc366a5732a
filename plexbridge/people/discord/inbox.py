"""What has come from Discord and waits for capture's next tick: datagrams, and news about the connection.

Both are bounded. When capture does not come, the oldest datagrams go, since their time is over; news are few and each
of them counts, so there is room for far more than a tick can bring.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

INBOX_LIMIT_DATAGRAMS = 500
"""Ten seconds of one speaker, or one second of ten: what a stall may cost is decided by the jitter buffers."""
NEWS_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Connected:
    """A voice session has begun; packets are encrypted with this key from now on."""

    mode: str
    secret_key: bytes


@dataclass(frozen=True, slots=True)
class Speaking:
    """Packets of this SSRC are this user's."""

    ssrc: int
    user_id: int
    is_speaking: bool
    """Whether the user begins to speak, or ends."""


@dataclass(frozen=True, slots=True)
class Left:
    """A user has left the voice channel."""

    user_id: int


Item = TypeVar("Item")
News = Connected | Speaking | Left


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram and when it came."""

    data: bytes
    arrived_seconds: float


class Inbox:
    """Filled from any thread and emptied by one; filling never waits and never raises.

    `clock` reads the time that arrivals are stamped with, in any thread.
    """

    def __init__(self, clock: Callable[[], float], *, limit_datagrams: int = INBOX_LIMIT_DATAGRAMS) -> None:
        self._clock = clock
        self._datagrams: deque[Datagram] = deque(maxlen=limit_datagrams)
        self._news: deque[News] = deque(maxlen=NEWS_LIMIT)
        # Each counter has one writer, so that no lock is needed: appending to a deque and taking from it are atomic.
        self._offered = 0
        self._taken = 0
        self._overrun = 0

    @property
    def dropped(self) -> int:
        """Datagrams that were thrown away because nobody took them; exact when nothing is offered meanwhile."""
        return self._overrun + max(0, self._offered - self._taken - len(self._datagrams))

    def offer(self, data: bytes, *, waited_seconds: float = 0.0) -> None:
        """Put in a datagram that has come `waited_seconds` ago; the oldest gives way."""
        self._datagrams.append(Datagram(data, self._clock() - waited_seconds))
        self._offered += 1

    def overran(self, datagrams: int) -> None:
        """Count datagrams that the system has dropped before they could be offered."""
        self._overrun += datagrams

    def announce(self, news: News) -> None:
        """Put in news."""
        self._news.append(news)

    def take(self) -> tuple[list[News], list[Datagram]]:
        """Return everything that has come, in order. News come first: a key is no use after what it decrypts."""
        datagrams = _drain(self._datagrams)
        news = _drain(self._news)
        self._taken += len(datagrams)
        return news, datagrams


def _drain(queue: "deque[Item]") -> "list[Item]":
    # Only what is there now: the other threads go on filling.
    return [queue.popleft() for _ in range(len(queue))]
