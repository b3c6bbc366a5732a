"""The UDP socket of a voice connection: read at the tick, by who needs what has come, and by no thread.

discord.py has a thread for each voice connection that waits for datagrams. Each of them then costs two hand-overs of
the interpreter's lock, and nobody looks at it before the next tick. So nothing waits here: the system keeps what comes,
with the time at which it came where it tells that (Linux), and `MediaReader.read` fetches it. Only IP discovery, when a
connection begins or moves, waits for a datagram itself, and has the socket alone meanwhile.

While nobody reads, because the model is not there yet, the system keeps some hundred datagrams and drops the rest,
which is said to nobody anyway; what it drops is counted where it tells that.
"""

import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from plexbridge.people.discord.inbox import INBOX_LIMIT_DATAGRAMS, Inbox

DATAGRAM_LIMIT_BYTES = 2048
UNREAD_SECONDS = 0.2
"""Where the system does not tell when a datagram came, what is read after so long is taken for as old as it may be."""

_SO_TIMESTAMPNS, _SO_RXQ_OVFL = 35, 40
"""Linux's asm-generic/socket.h; Python has no names for them."""
_TIMESPEC, _COUNT = struct.Struct("@ll"), struct.Struct("@I")
_ANCILLARY_BYTES = 128
"""Room for both, with their headers."""


def make_telling(media: socket.socket) -> None:
    """Have the system tell of each datagram when it came, and how many it has dropped, if it can."""
    if sys.platform == "linux":
        for option in (_SO_TIMESTAMPNS, _SO_RXQ_OVFL):
            with suppress(OSError):  # older than the option, or a sandbox; then the one thing is not known
                media.setsockopt(socket.SOL_SOCKET, option, 1)


class MediaConnection(Protocol):
    """What has the socket: discord.py's `VoiceConnectionState`, which puts another one in its place as it likes."""

    socket: socket.socket


class MediaReader:
    """Reads a voice connection's socket; stands in the place of discord.py's `SocketReader`, which is a thread."""

    def __init__(self, state: MediaConnection, *, start_paused: bool = True) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._reserved = 0
        self._read_seconds = time.monotonic()
        """When all was read that had come by then."""
        self._media: socket.socket | None = None
        self._overrun = 0
        """What the system has dropped of the present socket's."""

    def start(self) -> None:
        """Do nothing, as there is no thread: this is for discord.py, and so are the names below."""

    stop = pause = resume = start

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Keep `read` away from the socket for the length of the block; for Discord's loop."""
        with self._lock:
            self._reserved += 1
        try:
            yield
        finally:
            with self._lock:
                self._reserved -= 1
                self._read_seconds = time.monotonic()

    def read(self, inbox: Inbox) -> None:
        """Put into the inbox what has come; never waits, never raises."""
        with self._lock:
            if self._reserved:
                return
            now_seconds = time.monotonic()
            try:
                self._drain(self._state.socket, inbox, now_seconds - self._read_seconds)
            except BlockingIOError:
                self._read_seconds = now_seconds  # otherwise older datagrams may be left
            except (OSError, ValueError, TypeError, AttributeError):
                return  # there is no socket, or a closed one; or the other side is said not to be there

    def _drain(self, media: socket.socket, inbox: Inbox, unread_seconds: float) -> None:
        if media is not self._media:
            self._media, self._overrun = media, 0
        for _ in range(INBOX_LIMIT_DATAGRAMS):
            data, told = _receive(media)
            waited_seconds = unread_seconds if unread_seconds > UNREAD_SECONDS else 0.0
            for _, kind, value in told:
                if kind == _SO_TIMESTAMPNS:
                    # The clock that it is read from may have been set meanwhile.
                    waited_seconds = min(max(0.0, time.time() - _seconds(value)), unread_seconds)
                elif kind == _SO_RXQ_OVFL:
                    (count,) = _COUNT.unpack(value)
                    inbox.overran(count - self._overrun)
                    self._overrun = count
            inbox.offer(data, waited_seconds=waited_seconds)


def _receive(media: socket.socket) -> tuple[bytes, list[tuple[int, int, bytes]]]:
    """Return a datagram that has come and what the system tells of it."""
    if sys.platform == "win32":
        return media.recv(DATAGRAM_LIMIT_BYTES), []
    data, told, _, _ = media.recvmsg(DATAGRAM_LIMIT_BYTES, _ANCILLARY_BYTES)
    return data, told


def _seconds(timespec: bytes) -> float:
    seconds, nanoseconds = _TIMESPEC.unpack(timespec)
    return float(seconds + nanoseconds / 1e9)
