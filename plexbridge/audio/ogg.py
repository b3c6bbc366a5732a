"""Ogg pages with one Opus stream in them, written and read (RFC 3533, RFC 7845).

The writer makes one page of each packet, so that nothing waits for a page to fill; for a file it makes one of many. The
reader is liberal, because a conversation should survive what can be survived. Both generations of sphn are satisfied
and understood.

Reading works in three steps. `_PageScanner` finds pages in a stream of bytes: a page counts only when its checksum
is right, all else is skipped and counted. `OggOpusReader` follows the sequence numbers from page to page.
`_PacketJoiner` puts packets together. Decisions:

- Granule positions, pre-skip and sample rates are not used. sphn 0.1 counts granules at the wrong rate, and cutting
  the announced pre-skip would cost 80 ms of the answer.
- A page that begins a stream with another serial number starts afresh (chained streams, RFC 3533 section 4). A page of
  an unknown serial that begins nothing does the same: the beginning was lost, or we joined late. Opus needs no header
  to be decoded, and model servers never interleave streams, so refusing it could only cost audio.
- Headers that come again either go with a restart of the sequence numbers or not; the next page decides.
- Headers are known by their first eight bytes, wherever they stand. No valid Opus packet begins so: "Op" would be 48
  frames of 20 ms.
- A stream whose header says that its packets are not plain mono or stereo Opus is refused, packet by packet.

At most one incomplete page (65307 bytes) and one incomplete packet (61440 bytes) are kept between two calls.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from plexbridge.audio.opus_packet import duration_samples
from plexbridge.errors import LocalProtocolError, PacketError

PAGE_LIMIT_SEGMENTS = 255
PAGE_LIMIT_BYTES = 27 + 255 + 255 * 255
"""The largest page: header, 255 lacing values, 255 segments of 255 bytes."""

PACKET_LIMIT_BYTES = 61_440
"""A larger packet is mostly padding, and is to be treated as invalid (RFC 7845 section 6)."""

SEQUENCE_WINDOW_PAGES = 50
"""A page up to this far behind is a duplicate; further behind, the numbering was restarted. A gap ahead is reported as
at most this many pages: 4 s of a model's audio, beyond which there is nothing left to conceal."""

LOOK_AHEAD_PAGES = 16
"""So many damaged pages in a row are passed at once; after more it takes until their claimed sizes have arrived. It
bounds the work that a hostile stream can cause."""

_CONTINUED, _BEGINS, _ENDS = 1, 2, 4
_HEADER = struct.Struct("<4sBBqIIIB")
_CAPTURE = b"OggS\0"
_OPUS_HEAD = struct.Struct("<8sBBHIhB")
_CHECKSUM_START, _CHECKSUM_END = 22, 26
_SEQUENCE_MASK = 0xFFFF_FFFF
_REVERSED_BITS = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def _checksum(page: bytes) -> bytes:
    """Return the checksum field for `page`, whose own field is zero (RFC 3533 section 6, field 7).

    Ogg's CRC is that of zlib with the bits of every byte, and of the result, in reverse order, and without the
    inversions before and after; at zlib's speed.
    """
    crc = zlib.crc32(page.translate(_REVERSED_BITS), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return crc.to_bytes(4, "big").translate(_REVERSED_BITS)


def segments(packet: bytes) -> int:
    """Return how many of a page's `PAGE_LIMIT_SEGMENTS` a packet takes."""
    return len(packet) // 255 + 1


def _lacing(packet: bytes) -> bytes:
    return b"\xff" * (len(packet) // 255) + bytes((len(packet) % 255,))


class OggOpusWriter:
    """Wraps packets into the pages of one mono stream: first `headers()`, then each packet."""

    def __init__(self, *, serial: int, input_rate_hz: int, pre_skip_samples: int, vendor: str = "plexbridge") -> None:
        self._serial = serial
        self._head = _OPUS_HEAD.pack(b"OpusHead", 1, 1, pre_skip_samples, input_rate_hz, 0, 0)
        name = vendor.encode()
        self._tags = b"OpusTags" + struct.pack("<I", len(name)) + name + struct.pack("<I", 0)
        self._next_sequence = 2
        self._granule = 0

    def headers(self) -> tuple[bytes, bytes]:
        """Return the two pages that begin the stream: OpusHead and OpusTags."""
        return self._page(self._head, _BEGINS, 0, 0), self._page(self._tags, 0, 0, 1)

    def page(self, packet: bytes) -> bytes:
        """Return the page that holds `packet`; PacketError when it is not valid Opus or too large."""
        if len(packet) > PACKET_LIMIT_BYTES:
            raise PacketError(f"an Opus packet of {len(packet)} bytes")
        self._granule += duration_samples(packet)
        return self._page(packet, 0, self._granule, self._take_sequence())

    def page_of(self, packets: Sequence[bytes], *, ends_at_samples: int | None = None) -> bytes:
        """Return the page that holds all of `packets`, which `segments` says that one page can.

        `ends_at_samples` makes it the stream's last page, and says how long the stream is, at 48 kHz and with the
        pre-skip: what the packets hold beyond that is not to be played (RFC 7845 section 4.4).
        """
        lacing = b"".join(map(_lacing, packets))
        if len(lacing) > PAGE_LIMIT_SEGMENTS:
            raise LocalProtocolError(f"{len(lacing)} segments can't be one page")
        self._granule += sum(map(duration_samples, packets))
        body, sequence = b"".join(packets), self._take_sequence()
        if ends_at_samples is None:
            return self._page(body, 0, self._granule, sequence, lacing)
        return self._page(body, _ENDS, ends_at_samples, sequence, lacing)

    def _take_sequence(self) -> int:
        sequence = self._next_sequence
        self._next_sequence = (sequence + 1) & _SEQUENCE_MASK
        return sequence

    def _page(self, body: bytes, flags: int, granule: int, sequence: int, lacing: bytes | None = None) -> bytes:
        """Return a page; without `lacing` its body is one packet."""
        if lacing is None:
            lacing = _lacing(body)
        header = _HEADER.pack(b"OggS", 0, flags, granule, self._serial, sequence, 0, len(lacing))
        page = b"".join((header, lacing, body))
        return b"".join((page[:_CHECKSUM_START], _checksum(page), page[_CHECKSUM_END:]))


@dataclass(frozen=True, slots=True)
class OggPacket:
    """One packet of audio, and how many pages are missing right before it."""

    data: bytes
    lost_pages: int


@dataclass(frozen=True, slots=True)
class OggStatistics:
    """What an `OggOpusReader` has seen so far."""

    pages: int
    """Intact pages, headers and duplicates included."""
    packets: int
    """Packets of audio handed out."""
    damaged_pages: int
    """Page headers with a wrong checksum behind them."""
    skipped_bytes: int
    """Bytes outside of intact pages."""
    lost_pages: int
    """Pages missing in the sequence numbers, each gap counted as `SEQUENCE_WINDOW_PAGES` at most."""
    duplicate_pages: int
    """Pages that had been passed already, dropped."""
    empty_packets: int
    """Packets of no bytes, dropped: a decoder would take one for a loss."""
    broken_packets: int
    """Packets dropped because a part was lost, or because they were too large."""
    refused_headers: int
    """Headers of streams that are not plain mono or stereo Opus."""
    refused_packets: int
    """Packets of such streams, dropped."""
    buffered_bytes: int
    """Bytes that wait for the rest of a page or packet."""


@dataclass(frozen=True, slots=True)
class _Page:
    flags: int
    serial: int
    sequence: int
    lacing: bytes
    body: bytes


class _PageScanner:
    """Finds the intact pages in bytes that arrive in any portions."""

    def __init__(self) -> None:
        self.damaged_pages = 0
        self.skipped_bytes = 0
        self._buffer = bytearray()

    @property
    def buffered_bytes(self) -> int:
        return len(self._buffer)

    def push(self, data: bytes) -> Iterator[_Page]:
        """Take more bytes and yield the pages that are complete now; must be iterated to the end."""
        self._buffer += data
        while self._skip_to_capture():
            size_bytes = self._size_at(0)
            if size_bytes is None:
                damaged_bytes = self._later_page()
                if not damaged_bytes:
                    return
            elif page := self._intact_page(0, size_bytes):
                del self._buffer[:size_bytes]
                yield page
                continue
            else:
                damaged_bytes = 1  # the size may be what is damaged: good pages may begin inside it
            self.damaged_pages += 1
            self._skip(damaged_bytes)

    def _skip_to_capture(self) -> bool:
        """Drop what can't be the beginning of a page; False when no page begins in the rest."""
        start = self._buffer.find(_CAPTURE)
        self._skip(start if start >= 0 else max(0, len(self._buffer) - len(_CAPTURE) + 1))
        return start >= 0

    def _skip(self, count: int) -> None:
        self.skipped_bytes += count
        del self._buffer[:count]

    def _size_at(self, start: int) -> int | None:
        """Return the size of the page that begins at `start`, None while it is incomplete."""
        lacing_start = start + _HEADER.size
        if lacing_start > len(self._buffer):
            return None
        lacing_end = lacing_start + self._buffer[lacing_start - 1]
        end = lacing_end + sum(self._buffer[lacing_start:lacing_end])
        return end - start if end <= len(self._buffer) else None

    def _intact_page(self, start: int, size_bytes: int) -> _Page | None:
        raw = bytes(self._buffer[start : start + size_bytes])
        zeroed = b"".join((raw[:_CHECKSUM_START], bytes(4), raw[_CHECKSUM_END:]))
        if _checksum(zeroed) != raw[_CHECKSUM_START:_CHECKSUM_END]:
            return None
        _, _, flags, _, serial, sequence, _, segments = _HEADER.unpack_from(raw)
        body_start = _HEADER.size + segments
        return _Page(flags, serial, sequence, raw[_HEADER.size : body_start], raw[body_start:])

    def _later_page(self) -> int:
        """Return where an intact page begins inside the one that seems incomplete, 0 when none does.

        A damaged length can claim 65 kB, which is 16 s of a model's audio. Without this look ahead, all of that
        would have to arrive before the damage is noticed.
        """
        start = 0
        for _ in range(LOOK_AHEAD_PAGES):
            start = self._buffer.find(_CAPTURE, start + 1)
            if start < 0:
                break
            size_bytes = self._size_at(start)
            if size_bytes is not None and self._intact_page(start, size_bytes):
                return start
        return 0


class _PacketJoiner:
    """Puts packets together from the segments of pages that follow each other (lacing, RFC 3533 section 5)."""

    def __init__(self) -> None:
        self.broken_packets = 0
        self._is_open = False
        self._partial: bytearray | None = None
        """The open packet as far as it is known; None when a part of it is missing."""

    @property
    def buffered_bytes(self) -> int:
        return len(self._partial or b"")

    def lose(self) -> None:
        """Take note that pages are missing here, and with them a part of the packet that is open."""
        self._partial = None

    def push(self, page: _Page) -> Iterator[bytes]:
        """Yield the packets that end in `page`; must be iterated to the end."""
        if not page.flags & _CONTINUED:
            self._abandon()
        elif page.lacing:
            self._is_open = True
        start = 0
        for size in page.lacing:
            if not self._is_open:
                self._is_open, self._partial = True, bytearray()
            self._append(page.body[start : start + size])
            start += size
            if size < 255:
                packet, self._partial, self._is_open = self._partial, None, False
                if packet is None:
                    self.broken_packets += 1
                else:
                    yield bytes(packet)

    def _append(self, segment: bytes) -> None:
        if self._partial is not None:
            self._partial += segment
            if len(self._partial) > PACKET_LIMIT_BYTES:
                self._partial = None

    def _abandon(self) -> None:
        self.broken_packets += self._is_open
        self._is_open, self._partial = False, None


class OggOpusReader:
    """Turns the bytes of an Ogg Opus stream, in any portions, into its packets; never raises on any input."""

    def __init__(self) -> None:
        self._scanner = _PageScanner()
        self._joiner = _PacketJoiner()
        self._serial: int | None = None
        self._due: tuple[int, ...] = ()
        self._is_refused = False
        self._unreported_pages = 0
        self._pages = 0
        self._packets = 0
        self._lost_pages = 0
        self._duplicate_pages = 0
        self._empty_packets = 0
        self._refused_headers = 0
        self._refused_packets = 0

    def feed(self, data: bytes) -> list[OggPacket]:
        """Take the next bytes of the stream and return the packets of audio that are complete now."""
        return [packet for page in self._scanner.push(data) for packet in self._read(page)]

    def statistics(self) -> OggStatistics:
        """Return the counters as they are now."""
        return OggStatistics(
            pages=self._pages,
            packets=self._packets,
            damaged_pages=self._scanner.damaged_pages,
            skipped_bytes=self._scanner.skipped_bytes,
            lost_pages=self._lost_pages,
            duplicate_pages=self._duplicate_pages,
            empty_packets=self._empty_packets,
            broken_packets=self._joiner.broken_packets,
            refused_headers=self._refused_headers,
            refused_packets=self._refused_packets,
            buffered_bytes=self._scanner.buffered_bytes + self._joiner.buffered_bytes,
        )

    def _read(self, page: _Page) -> Iterator[OggPacket]:
        self._pages += 1
        if not self._follow(page):
            self._duplicate_pages += 1
            return
        for data in self._joiner.push(page):
            if not data:
                self._empty_packets += 1
            elif data.startswith(b"OpusHead"):
                self._is_refused = not _is_plain_opus(data)
                self._refused_headers += self._is_refused
            elif data.startswith(b"OpusTags"):
                pass  # comments, of no use here
            elif self._is_refused:
                self._refused_packets += 1
            else:
                yield OggPacket(data, self._unreported_pages)
                self._packets += 1
                self._unreported_pages = 0
                self._due = self._due[:1]

    def _follow(self, page: _Page) -> bool:
        """Follow serial and sequence number; False when the page was passed already.

        After repeated headers two numbers are legal for the next page: theirs plus one if the numbering was
        restarted, or the one that was due before. Both stay due until audio has come.
        """
        after = page.sequence + 1
        if page.serial != self._serial:
            self._serial, self._due = page.serial, (after,)
            self._is_refused = False
            self._unreported_pages = 0
            self._joiner.lose()
            return True
        if page.flags & _BEGINS:
            self._due = (after, self._due[-1])
            return True
        gap = min((page.sequence - due) & _SEQUENCE_MASK for due in self._due)
        if gap > _SEQUENCE_MASK - SEQUENCE_WINDOW_PAGES:
            return False
        if gap:
            self._joiner.lose()
            self._lose(gap)
        self._due = (after, *self._due[1:])
        return True

    def _lose(self, gap: int) -> None:
        """Take note of a gap in the sequence numbers; one of half their range or more is a step back."""
        lost = min(gap, SEQUENCE_WINDOW_PAGES) if gap <= _SEQUENCE_MASK // 2 else 0
        self._lost_pages += lost
        self._unreported_pages = min(self._unreported_pages + lost, SEQUENCE_WINDOW_PAGES)


def _is_plain_opus(head: bytes) -> bool:
    """Tell whether the packets behind this OpusHead are mono or stereo Opus of a known version (RFC 7845 section 5.1).

    Other mapping families pack several Opus streams into each packet.
    """
    if len(head) < _OPUS_HEAD.size:
        return False
    _, version, channels, _, _, _, mapping_family = _OPUS_HEAD.unpack_from(head)
    return version >> 4 == 0 and channels in (1, 2) and mapping_family == 0
