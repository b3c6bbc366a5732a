"""The other side of `benchmarks.load`, in a process of its own: everybody who talks, and every model.

People's datagrams come finished, encrypted and all, and so do the models' pages; here they are only sent when their
time has come. A model answers every 80 ms of messages with one page, after a delay of its own, as if it had thought;
people and models of different sessions keep different times. What the bot sends is counted, and the latest is kept.
"""

import heapq
import os
import random
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request
from wsproto.utilities import RemoteProtocolError

from plexbridge.audio.pcm import FRAME_SECONDS, MODEL_FRAME_SECONDS
from plexbridge.model.protocol import audio_message, handshake_message

HOST = "127.0.0.1"
MESSAGES_PER_ANSWER = round(MODEL_FRAME_SECONDS / FRAME_SECONDS)
HEADER_MESSAGES = 2
THINKING_SECONDS = (0.02, 0.08)
"""A model's delay lies between these."""
KEPT_DATAGRAMS = 50
RECEIVE_BYTES = 64 * 1024
BUFFER_BYTES = 8 << 20
SEED = 5
BRIDGE_CORE, GENERATOR_CORE = 0, 1

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the bot finds everything."""

    udp: int
    tcp: int


@dataclass(frozen=True, slots=True)
class Talk:
    """What people say from now on, by the bot's addresses: a datagram every 20 ms."""

    datagrams: dict[Address, tuple[bytes, ...]]


@dataclass(slots=True)
class Heard:
    """What the bot has sent to one person."""

    count: int = 0
    latest: deque[bytes] = field(default_factory=lambda: deque(maxlen=KEPT_DATAGRAMS))


def keep_to_core(number: int) -> None:
    """Keep this process to one core, where the system can and there are several."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[number % len(cores)]})


def generate(connection: Connection, pages: tuple[bytes, ...]) -> None:
    """Serve until anything but a `Talk` comes, and then tell what was heard: the process's whole work."""
    keep_to_core(GENERATOR_CORE)
    _Generator(connection, pages).run()


class _Generator:
    def __init__(self, connection: Connection, pages: tuple[bytes, ...]) -> None:
        self._connection = connection
        self._pages = pages
        self._random = random.Random(SEED)
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._heard: dict[Address, Heard] = {}
        self._is_running = True
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((HOST, 0))
        self._udp.setblocking(False)
        self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._listener = socket.create_server((HOST, 0), backlog=100)

    def run(self) -> None:
        """Serve until told to stop."""
        self._selector.register(self._udp, selectors.EVENT_READ, self._receive)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._connection, selectors.EVENT_READ, self._obey)
        self._connection.send(Ports(self._udp.getsockname()[1], self._listener.getsockname()[1]))
        while self._is_running:
            wait_seconds = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for key, _ in self._selector.select(wait_seconds):
                key.data()
            while self._due and self._due[0][0] <= time.monotonic():
                heapq.heappop(self._due)[2]()
        self._connection.send(self._heard)

    def at(self, due_seconds: float, work: Callable[[], None]) -> None:
        """Do something later."""
        self._number += 1
        heapq.heappush(self._due, (due_seconds, self._number, work))

    def _obey(self) -> None:
        order = self._connection.recv()
        self._is_running = isinstance(order, Talk)
        if isinstance(order, Talk):
            start_seconds = time.monotonic()
            for address, datagrams in order.datagrams.items():
                _Person(self, self._udp, address, datagrams, start_seconds + self._random.uniform(0, FRAME_SECONDS))

    def _receive(self) -> None:
        while True:
            try:
                datagram, sender = self._udp.recvfrom(2048)
            except BlockingIOError:
                return
            heard = self._heard.setdefault(sender, Heard())
            heard.count += 1
            heard.latest.append(datagram)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        model = _Model(self, client, self._pages, self._random.uniform(*THINKING_SECONDS))

        def receive() -> None:
            try:
                goes_on = model.receive()
            except (ConnectionError, RemoteProtocolError):
                goes_on = False  # the bot hangs up with a reset where it was cut off in the middle of a message
            if not goes_on:
                self._selector.unregister(client)
                client.close()

        self._selector.register(client, selectors.EVENT_READ, receive)


class _Person:
    """Sends one person's datagrams, one every 20 ms."""

    def __init__(
        self,
        generator: _Generator,
        udp: socket.socket,
        address: Address,
        datagrams: tuple[bytes, ...],
        start_seconds: float,
    ) -> None:
        self._generator = generator
        self._udp = udp
        self._address = address
        self._datagrams = datagrams
        self._start_seconds = start_seconds
        self._sent = 0
        self._send()

    def _send(self) -> None:
        if self._sent < len(self._datagrams):
            self._udp.sendto(self._datagrams[self._sent], self._address)
            self._sent += 1
            self._generator.at(self._start_seconds + self._sent * FRAME_SECONDS, self._send)


class _Model:
    """One connection of a model's server; the bytes of WebSocket are wsproto's."""

    def __init__(
        self, generator: _Generator, client: socket.socket, pages: tuple[bytes, ...], thinking_seconds: float
    ) -> None:
        self._generator = generator
        self._client = client
        self._pages = pages
        self._thinking_seconds = thinking_seconds
        self._websocket = WSConnection(ConnectionType.SERVER)
        self._messages = 0
        self._said = 0

    def receive(self) -> bool:
        """Take what has come; say whether the connection goes on."""
        data = self._client.recv(RECEIVE_BYTES)
        if not data:
            return False
        self._websocket.receive_data(data)
        for event in self._websocket.events():
            if isinstance(event, BytesMessage):
                self._hear()
            elif isinstance(event, Request):
                self._client.sendall(self._websocket.send(AcceptConnection()))
                self._client.sendall(self._websocket.send(BytesMessage(handshake_message())))
                for _ in range(HEADER_MESSAGES):
                    self._say()
            elif isinstance(event, Ping | CloseConnection):
                self._client.sendall(self._websocket.send(event.response()))
        return True

    def _hear(self) -> None:
        self._messages += 1
        if self._messages > HEADER_MESSAGES and (self._messages - HEADER_MESSAGES) % MESSAGES_PER_ANSWER == 0:
            self._generator.at(time.monotonic() + self._thinking_seconds, self._say)

    def _say(self) -> None:
        if self._said < len(self._pages) and self._websocket.state is ConnectionState.OPEN:
            message = audio_message(self._pages[self._said])
            self._said += 1
            with suppress(OSError):  # it has gone; its socket may be closed already
                self._client.sendall(self._websocket.send(BytesMessage(message)))
