"""A UDP socket on the event loop that knows when the kernel received each datagram.

Gaps between packets are what tests measure; a timestamp taken when the loop comes round to the socket would measure
the loop. Linux stamps each datagram (SO_TIMESTAMPNS); elsewhere the time of reading is used.
"""

import asyncio
import socket
import struct
import sys
import time
from collections.abc import Callable

Address = tuple[str, int]
OnDatagram = Callable[[bytes, Address, float], None]
"""Gets the datagram, where it came from, and when, in seconds of the monotonic clock."""

DATAGRAM_LIMIT_BYTES = 2048
DATAGRAMS_PER_TURN = 64
RECEIVE_BUFFER_BYTES = 1 << 20
_SO_TIMESTAMPNS = 35
_STAMP = struct.Struct("@qq")


class UdpSocket:
    """Bound on construction; `close` it. `peer` connects it, so that only the peer's datagrams arrive."""

    def __init__(self, host: str, on_datagram: OnDatagram, *, peer: Address | None = None) -> None:
        self._on_datagram = on_datagram
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._is_stamped = sys.platform == "linux"
        if self._is_stamped:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((host, 0))
        if peer is not None:
            self._socket.connect(peer)
        self._peer = peer
        self.address: Address = self._socket.getsockname()
        self.send_failures = 0
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def send(self, datagram: bytes, to: Address | None = None) -> None:
        """Send one datagram; a full buffer or a closed peer loses it, as a network does."""
        try:
            if to is None:
                self._socket.send(datagram)
            else:
                self._socket.sendto(datagram, to)
        except OSError:
            self.send_failures += 1

    def close(self) -> None:
        """Stop reading and free the port."""
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()

    def _read(self) -> None:
        for _ in range(DATAGRAMS_PER_TURN):
            try:
                data, ancillary, _, sender = self._socket.recvmsg(DATAGRAM_LIMIT_BYTES, 64)
            except BlockingIOError:
                return
            except OSError:  # an ICMP answer to something sent earlier; the next read goes on
                continue
            at_seconds = time.monotonic()
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                    seconds, nanoseconds = _STAMP.unpack(value[: _STAMP.size])
                    at_seconds -= max(time.time() - (seconds + nanoseconds / 1e9), 0.0)
            self._on_datagram(data, self._peer or sender, at_seconds)
            if self._socket.fileno() < 0:
                return
