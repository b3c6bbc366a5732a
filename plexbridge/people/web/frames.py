"""How many WebSocket frames begin in the bytes of a connection (RFC 6455, section 5.2).

trio-websocket answers pings and joins fragments before anybody else sees them, so a client can keep the process busy
with frames that never become a message: pings, and fragments without content, which it even keeps. Whoever reads the
stream can hold such a client back, and for that only needs to count.
"""

_IS_MASKED = 0x80
_LENGTH = 0x7F
_MASK_BYTES = 4
_LENGTH_BYTES = {126: 2, 127: 8}
"""How many bytes more the length takes, by what stands in its first place."""


class FrameCounter:
    """Counts in a stream that may be cut anywhere."""

    def __init__(self) -> None:
        self._header = b""
        self._payload_bytes = 0

    def count(self, data: bytes | bytearray) -> int:
        """Return how many headers of frames are complete with `data`."""
        frames = place = 0
        rest = self._header + data
        while True:
            skipped = min(self._payload_bytes, len(rest) - place)
            self._payload_bytes -= skipped
            place += skipped
            header = None if self._payload_bytes else _read_header(rest, place)
            if header is None:
                break
            header_bytes, self._payload_bytes = header
            place += header_bytes
            frames += 1
        self._header = rest[place:]
        return frames


def _read_header(data: bytes, place: int) -> tuple[int, int] | None:
    """Return how long the header at `place` is, and what comes behind it; None while it is incomplete."""
    if len(data) - place < 2:
        return None
    length = data[place + 1] & _LENGTH
    more = _LENGTH_BYTES.get(length, 0)
    header_bytes = 2 + more + (_MASK_BYTES if data[place + 1] & _IS_MASKED else 0)
    if len(data) - place < header_bytes:
        return None
    payload_bytes = int.from_bytes(data[place + 2 : place + 2 + more]) if more else length
    return header_bytes, payload_bytes
