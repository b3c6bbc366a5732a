"""The voice connection's socket, read at the tick: what has come, since when it is here, and nothing else."""

import errno
import socket
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from plexbridge.people.discord import media
from plexbridge.people.discord.inbox import Inbox
from plexbridge.people.discord.media import MediaConnection, MediaReader, make_telling

pytestmark = pytest.mark.live

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")
HOST = "127.0.0.1"
SO_RXQ_OVFL = 40
"""Linux's; Python has no name for it."""


def udp_socket() -> socket.socket:
    """Return a socket of its own port."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((HOST, 0))
    return made


class Wire:
    """A voice server's socket and the bot's, which are connected."""

    def __init__(self) -> None:
        self.server, self.bot = udp_socket(), udp_socket()
        self.bot.setblocking(False)
        make_telling(self.bot)
        self.bot.connect(self.server.getsockname())
        self.state = SimpleNamespace(socket=self.bot)
        self.reader = MediaReader(cast("MediaConnection", self.state))
        self.inbox = Inbox(time.monotonic)

    def say(self, *datagrams: bytes) -> None:
        """Send to the bot; on one host it is there at once."""
        for datagram in datagrams:
            self.server.sendto(datagram, self.bot.getsockname())

    def read(self) -> list[bytes]:
        """Return what the reader puts into the inbox."""
        self.reader.read(self.inbox)
        return [datagram.data for datagram in self.inbox.take()[1]]


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A wire, closed at the end."""
    made = Wire()
    with made.server, made.bot:
        yield made


def test_everything_that_has_come_is_read_in_order_and_without_waiting(wire: Wire) -> None:
    assert wire.read() == []

    wire.say(b"one", b"two", b"three")

    assert wire.read() == [b"one", b"two", b"three"]
    assert wire.read() == []


@LINUX_ONLY
def test_a_datagram_is_as_old_as_its_time_in_the_systems_queue(wire: Wire) -> None:
    before_seconds = time.monotonic()
    wire.say(b"early")
    after_seconds = time.monotonic()
    while time.monotonic() < after_seconds + 0.05:
        pass  # a busy machine only makes it longer
    wire.say(b"late")
    wire.reader.read(wire.inbox)

    early, late = (datagram.arrived_seconds for datagram in wire.inbox.take()[1])

    assert before_seconds - 0.001 <= early <= after_seconds + 0.01
    assert late - early > 0.04


@LINUX_ONLY
def test_what_is_too_much_for_one_reading_is_as_old_in_the_next_one(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "INBOX_LIMIT_DATAGRAMS", 1)
    wire.say(b"one", b"two")
    after_seconds = time.monotonic()
    while time.monotonic() < after_seconds + 0.05:
        pass
    assert wire.read() == [b"one"]
    wire.reader.read(wire.inbox)

    (two,) = wire.inbox.take()[1]

    assert two.data == b"two"
    assert two.arrived_seconds <= after_seconds + 0.01


@LINUX_ONLY
def test_what_the_system_drops_is_counted(wire: Wire) -> None:
    wire.bot.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the least that there can be
    wire.say(*[bytes(1000)] * 50)
    kept = len(wire.read())
    assert wire.inbox.dropped == 0, "it is told with the next one"

    wire.say(b"next")

    assert wire.read() == [b"next"]
    assert wire.inbox.dropped == 50 - kept > 0


class Choosy(socket.socket):
    """A socket of a system that refuses the first option it is asked for."""

    asked = 0

    def setsockopt(self, *arguments: Any) -> None:
        """Refuse, or set an option."""
        self.asked += 1
        if self.asked == 1:
            raise OSError(errno.ENOPROTOOPT, "Protocol not available")
        super().setsockopt(*arguments)


@LINUX_ONLY
def test_what_the_system_refuses_to_tell_costs_nothing_else() -> None:
    with Choosy(socket.AF_INET, socket.SOCK_DGRAM) as choosy:
        make_telling(choosy)

        assert choosy.getsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL) == 1


def test_a_socket_that_is_closed_replaced_or_missing_brings_nothing_and_raises_nothing(wire: Wire) -> None:
    wire.state.socket = object()
    assert wire.read() == []

    other = udp_socket()
    other.close()
    wire.state.socket = other
    assert wire.read() == []

    wire.state.socket = wire.bot
    wire.say(b"here")
    assert wire.read() == [b"here"]


def test_a_server_that_is_not_there_for_a_moment_costs_nothing_that_comes_afterwards(wire: Wire) -> None:
    address = wire.server.getsockname()
    wire.server.close()
    wire.bot.send(b"nobody is there, and the system says so")
    assert wire.read() == []

    wire.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.server.bind(address)
    wire.say(b"back")

    assert wire.read() == [b"back"]
    wire.server.close()


def test_while_the_socket_is_reserved_it_is_left_alone(wire: Wire) -> None:
    with wire.reader.reserved():
        wire.say(b"discovery's answer")
        assert wire.read() == []
        assert wire.bot.recv(100) == b"discovery's answer"

    wire.say(b"audio")
    assert wire.read() == [b"audio"]
