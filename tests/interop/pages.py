"""Ogg pages as plain values, for taking apart what sphn writes and for building what its reader must survive.

Standard library only and independent of plexbridge: the tests that use it must not share an error with
`plexbridge.audio.ogg`. A `Page` can state things that no sound writer would, such as a zero-length packet; `encode`
always gives it the right checksum (RFC 3533, section 6), and a test that wants a damaged page damages the bytes.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CAPTURE_PATTERN = b"OggS"
CONTINUED, BEGIN_OF_STREAM, END_OF_STREAM = 1, 2, 4
"""Bits of a page's header type."""

HEADER = struct.Struct("<4sBBqIIIB")
"""Capture pattern, version, header type, granule, serial, sequence number, checksum, number of segments."""

CHECKSUM_OFFSET = 22
_POLYNOMIAL = 0x04C11DB7


def _remainder(index: int) -> int:
    value = index << 24
    for _ in range(8):
        value = (value << 1) ^ (_POLYNOMIAL if value & 0x80000000 else 0)
    return value & 0xFFFFFFFF


_REMAINDERS = tuple(_remainder(index) for index in range(256))


def checksum(page: bytes) -> int:
    """Return the CRC of a page whose checksum field is zero."""
    value = 0
    for byte in page:
        value = ((value << 8) & 0xFFFFFFFF) ^ _REMAINDERS[(value >> 24) ^ byte]
    return value


@dataclass(frozen=True, slots=True)
class Page:
    """One page; `granule` is written as it stands, in whatever unit the writer counts."""

    payload: bytes
    lacing: bytes
    granule: int = 0
    serial: int = 42
    sequence: int = 0
    header_type: int = 0

    def encode(self) -> bytes:
        """Return the page's bytes with a right checksum."""
        fields = (CAPTURE_PATTERN, 0, self.header_type, self.granule, self.serial, self.sequence)
        body = self.lacing + self.payload
        unchecked = HEADER.pack(*fields, 0, len(self.lacing)) + body
        return HEADER.pack(*fields, checksum(unchecked), len(self.lacing)) + body

    def packets(self) -> list[bytes]:
        """Return the packets that end on this page, zero-length ones too."""
        found, start, end = [], 0, 0
        for size in self.lacing:
            end += size
            if size < 255:
                found.append(self.payload[start:end])
                start = end
        return found


def lacing_of(packet: bytes) -> bytes:
    """Return the segment table entries of one whole packet."""
    return b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])


def page_of(*packets: bytes, granule: int = 0, serial: int = 42, sequence: int = 0, header_type: int = 0) -> Page:
    """Return a page that holds whole packets."""
    lacing = b"".join(map(lacing_of, packets))
    return Page(b"".join(packets), lacing, granule, serial, sequence, header_type)


def parse_pages(data: bytes) -> Iterator[Page]:
    """Yield the whole pages of `data`, which must hold nothing else.

    Raises `ValueError` when a page is cut, damaged or preceded by other bytes.
    """
    while data:
        if len(data) < HEADER.size or not data.startswith(CAPTURE_PATTERN):
            raise ValueError(f"no page at {data[:8]!r}")
        _, _, header_type, granule, serial, sequence, check, segments = HEADER.unpack_from(data)
        lacing = data[HEADER.size : HEADER.size + segments]
        end = HEADER.size + segments + sum(lacing)
        page = Page(data[HEADER.size + segments : end], lacing, granule, serial, sequence, header_type)
        if len(data) < end or checksum(data[:22] + bytes(4) + data[26:end]) != check:
            raise ValueError("a page is cut or damaged")
        yield page
        data = data[end:]


def opus_head(*, channels: int = 1, pre_skip_samples: int = 3840, rate_hz: int = 24_000) -> bytes:
    """Return an OpusHead packet (RFC 7845, section 5.1) with mapping family 0 and no gain."""
    return b"OpusHead" + struct.pack("<BBHIhB", 1, channels, pre_skip_samples, rate_hz, 0, 0)


def opus_tags(vendor: bytes = b"interop") -> bytes:
    """Return an OpusTags packet (RFC 7845, section 5.2) without comments."""
    return b"OpusTags" + struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", 0)


def header_pages(*, channels: int = 1, pre_skip_samples: int = 3840, serial: int = 42) -> list[Page]:
    """Return the two pages that every Ogg Opus stream begins with."""
    head = opus_head(channels=channels, pre_skip_samples=pre_skip_samples)
    return [
        page_of(head, serial=serial, header_type=BEGIN_OF_STREAM),
        page_of(opus_tags(), serial=serial, sequence=1),
    ]


def audio_pages(packets: Sequence[bytes], *, packet_samples: int = 960, serial: int = 42) -> list[Page]:
    """Return one page per packet, as they follow the two header pages; `packet_samples` count at 48 kHz."""
    return [
        page_of(packet, granule=(index + 1) * packet_samples, serial=serial, sequence=index + 2)
        for index, packet in enumerate(packets)
    ]
