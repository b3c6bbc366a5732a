"""Our Ogg pages against libogg and opusfile; the reader against splits, damage, losses and hostile bytes."""

import ctypes
import struct
import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import cycle

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyogg import ogg as libogg
from pyogg import opus as libopusfile

from plexbridge.audio.ogg import (
    PACKET_LIMIT_BYTES,
    PAGE_LIMIT_BYTES,
    SEQUENCE_WINDOW_PAGES,
    OggOpusReader,
    OggOpusWriter,
    OggPacket,
    segments,
)
from plexbridge.audio.opus import MODEL_UPLINK, Encoder
from plexbridge.audio.opus_packet import SILENCE_PACKET, duration_samples
from plexbridge.audio.pcm import silence
from plexbridge.errors import LocalProtocolError, PacketError

SERIAL = 42
CONTINUED, BEGINS, ENDS = 1, 2, 4
HEAD = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 3840, 24_000, 0, 0)
TAGS = b"OpusTags" + struct.pack("<I", 10) + b"sphn-pyo3\0" + struct.pack("<I", 0)


def checksum(data: bytes) -> int:
    """Return the CRC of RFC 3533 section 6, bit by bit, so that it shares nothing with the code under test."""
    register = 0
    for byte in data:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1) ^ (0x104C11DB7 if register & 0x80000000 else 0)
    return register


def page_of(
    body: bytes, lacing: Iterable[int], sequence: int, *, flags: int = 0, serial: int = SERIAL, granule: int = 0
) -> bytes:
    sizes = bytes(lacing)
    start = struct.pack("<4sBBQII", b"OggS", 0, flags, granule, serial, sequence)
    end = bytes([len(sizes)]) + sizes + body
    return start + struct.pack("<I", checksum(start + bytes(4) + end)) + end


def page(*packets: bytes, sequence: int, flags: int = 0, serial: int = SERIAL, granule: int = 0) -> bytes:
    """Build a page of whole packets."""
    lacing = [size for packet in packets for size in (*[255] * (len(packet) // 255), len(packet) % 255)]
    return page_of(b"".join(packets), lacing, sequence, flags=flags, serial=serial, granule=granule)


def headers(*, serial: int = SERIAL, head: bytes = HEAD) -> list[bytes]:
    return [page(head, sequence=0, flags=BEGINS, serial=serial), page(TAGS, sequence=1, serial=serial)]


def numbered(count: int, *, first_sequence: int = 2, serial: int = SERIAL) -> list[bytes]:
    """Build pages of one packet each; the packet holds its page's number."""
    sequences = [number & 0xFFFF_FFFF for number in range(first_sequence, first_sequence + count)]
    return [page(b"audio%d" % sequence, sequence=sequence, serial=serial) for sequence in sequences]


def numbers(packets: Iterable[OggPacket]) -> list[int]:
    return [int(packet.data.removeprefix(b"audio")) for packet in packets]


def losses(packets: Iterable[OggPacket]) -> list[int]:
    return [packet.lost_pages for packet in packets]


def in_chunks(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    start = 0
    for size in cycle(sizes):
        if start >= len(data):
            return
        yield data[start : start + size]
        start += size


def fed(reader: OggOpusReader, chunks: Iterable[bytes]) -> list[OggPacket]:
    return [packet for chunk in chunks for packet in reader.feed(chunk)]


def opus_packet(size_bytes: int, toc: int = 0xF8) -> bytes:
    """Build a valid packet of one 20 ms frame that is `size_bytes` long, padded when the frame can't fill it."""
    if size_bytes <= 1_276:
        return bytes([toc]) + b"\x5a" * (size_bytes - 1)
    padding_bytes = size_bytes - 3
    full, rest = divmod(padding_bytes, 255)
    return bytes([toc | 3, 0x41]) + b"\xff" * full + bytes([rest]) + bytes(full * 254 + rest)


def pages_of_libogg(packets: Iterable[tuple[bytes, int]], *, serial: int, bytes_per_page: int = 0) -> bytes:
    """Write packets with their granule positions through libogg, one page each unless pages shall fill up."""
    stream, out, written = libogg.ogg_stream_state(), libogg.ogg_page(), []
    libogg.ogg_stream_init(ctypes.byref(stream), serial)

    def take(result: int) -> int:
        if result:
            written.append(ctypes.string_at(out.header, out.header_len))
            written.append(ctypes.string_at(out.body, out.body_len))
        return result

    for number, (data, granule) in enumerate(packets):
        pointer = ctypes.cast(ctypes.c_char_p(data), ctypes.POINTER(ctypes.c_ubyte))
        packet = libogg.ogg_packet(pointer, len(data), number == 0, 0, granule, number)
        libogg.ogg_stream_packetin(ctypes.byref(stream), ctypes.byref(packet))
        if number < 2 or not bytes_per_page:
            take(libogg.ogg_stream_flush(ctypes.byref(stream), ctypes.byref(out)))
        else:
            while take(libogg.ogg_stream_pageout(ctypes.byref(stream), ctypes.byref(out))):
                pass
    while take(libogg.ogg_stream_flush(ctypes.byref(stream), ctypes.byref(out))):
        pass
    libogg.ogg_stream_clear(ctypes.byref(stream))
    return b"".join(written)


# The writer


SIZES = st.sampled_from((1, 2, 254, 255, 256, 509, 510, 511, 1_276, 1_277, 2_000, PACKET_LIMIT_BYTES))


@settings(max_examples=60)
@given(
    sizes=st.lists(SIZES | st.integers(1, 3_000), max_size=8),
    toc=st.sampled_from((0x00, 0x18, 0x78, 0xE0, 0xF8)),
    serial=st.integers(0, 2**31 - 1),
    pre_skip=st.integers(0, 65_535),
)
def test_pages_are_the_bytes_that_libogg_writes(sizes: list[int], toc: int, serial: int, pre_skip: int) -> None:
    writer = OggOpusWriter(serial=serial, input_rate_hz=24_000, pre_skip_samples=pre_skip, vendor="é")
    packets = [opus_packet(size, toc) for size in sizes]

    written = b"".join((*writer.headers(), *map(writer.page, packets)))

    head = b"OpusHead\x01\x01" + struct.pack("<HIhB", pre_skip, 24_000, 0, 0)
    tags = b"OpusTags\x02\0\0\0" + "é".encode() + bytes(4)
    granules = [sum(map(duration_samples, packets[: index + 1])) for index in range(len(packets))]
    assert written == pages_of_libogg([(head, 0), (tags, 0), *zip(packets, granules, strict=True)], serial=serial)


def test_opusfile_plays_what_was_written() -> None:
    writer = OggOpusWriter(serial=SERIAL, input_rate_hz=24_000, pre_skip_samples=120)
    with Encoder(rate_hz=24_000, settings=MODEL_UPLINK) as encoder:
        pages = [writer.page(encoder.encode(silence(size))) for size in (480, 480, 1_920, 960, 60)]
    stream = b"".join((*writer.headers(), *pages))
    error = ctypes.c_int()

    data = ctypes.cast(ctypes.c_char_p(stream), ctypes.POINTER(ctypes.c_ubyte))
    file = libopusfile.op_open_memory(data, len(stream), ctypes.byref(error))

    assert error.value == 0
    head = libopusfile.op_head(file, -1).contents
    assert (head.channel_count, head.pre_skip, head.input_sample_rate) == (1, 120, 24_000)
    assert libopusfile.op_pcm_total(file, -1) == 2 * (480 + 480 + 1_920 + 960 + 60) - 120
    pcm = (ctypes.c_float * 11_520)()
    read = []
    while count := libopusfile.op_read_float(file, pcm, 11_520, None):
        read.append(count)
    assert sum(read) == 2 * (480 + 480 + 1_920 + 960 + 60) - 120
    libopusfile.op_free(file)


@pytest.mark.parametrize(
    "refused", [b"", b"\x03", b"\xf9\0", opus_packet(PACKET_LIMIT_BYTES + 1)], ids=["empty", "bad", "odd", "large"]
)
def test_a_packet_that_would_end_the_session_is_refused_and_leaves_no_gap(refused: bytes) -> None:
    disturbed, undisturbed = (OggOpusWriter(serial=SERIAL, input_rate_hz=24_000, pre_skip_samples=0) for _ in range(2))

    with pytest.raises(PacketError):
        disturbed.page(refused)

    assert disturbed.page(SILENCE_PACKET) == undisturbed.page(SILENCE_PACKET)


def test_a_page_of_many_packets_is_that_of_the_rules_and_the_next_one_goes_on_behind_it() -> None:
    writer = OggOpusWriter(serial=SERIAL, input_rate_hz=24_000, pre_skip_samples=120)
    packets = [opus_packet(size) for size in (3, 254, 255, 256, 700)]

    pages = [writer.page(SILENCE_PACKET), writer.page_of(packets), writer.page_of([SILENCE_PACKET] * 2)]

    assert pages == [
        page(SILENCE_PACKET, sequence=2, granule=960),
        page(*packets, sequence=3, granule=6 * 960),
        page(SILENCE_PACKET, SILENCE_PACKET, sequence=4, granule=8 * 960),
    ]
    assert sum(map(segments, packets)) == 1 + 1 + 2 + 2 + 3


def test_the_last_page_is_marked_and_says_how_much_of_it_is_to_be_played() -> None:
    writer = OggOpusWriter(serial=SERIAL, input_rate_hz=24_000, pre_skip_samples=120)

    last = writer.page_of([SILENCE_PACKET] * 2, ends_at_samples=1_000)

    assert last == page(SILENCE_PACKET, SILENCE_PACKET, sequence=2, flags=ENDS, granule=1_000)


def test_what_can_not_be_one_page_is_refused_and_leaves_no_gap() -> None:
    disturbed, undisturbed = (OggOpusWriter(serial=SERIAL, input_rate_hz=24_000, pre_skip_samples=0) for _ in range(2))

    with pytest.raises(LocalProtocolError):
        disturbed.page_of([SILENCE_PACKET] * 256)

    assert disturbed.page_of([SILENCE_PACKET] * 255) == undisturbed.page_of([SILENCE_PACKET] * 255)


# What servers write


@settings(max_examples=100)
@given(
    sizes=st.lists(st.integers(1, 3_000) | st.sampled_from((254, 255, 256, 510)), max_size=12),
    chunk_sizes=st.lists(st.integers(1, 800), min_size=1, max_size=5),
)
def test_what_the_writer_wrote_comes_out_whole_and_in_order_however_it_is_split(
    sizes: list[int], chunk_sizes: list[int]
) -> None:
    writer = OggOpusWriter(serial=7, input_rate_hz=24_000, pre_skip_samples=312)
    packets = [opus_packet(size) for size in sizes]
    stream = b"".join((*writer.headers(), *map(writer.page, packets)))
    reader = OggOpusReader()

    received = fed(reader, in_chunks(stream, chunk_sizes))

    assert received == [OggPacket(packet, 0) for packet in packets]
    statistics = reader.statistics()
    assert (statistics.pages, statistics.packets) == (len(packets) + 2, len(packets))
    assert (statistics.skipped_bytes, statistics.buffered_bytes, statistics.damaged_pages) == (0, 0, 0)


@settings(max_examples=60)
@given(
    bodies=st.lists(st.binary(max_size=600) | st.sampled_from([bytes(254), bytes(61_000)]), max_size=30),
    chunk_sizes=st.lists(st.integers(100, 9_000), min_size=1, max_size=4),
)
def test_filled_pages_of_libogg_are_understood_with_packets_that_go_on_from_page_to_page(
    bodies: list[bytes], chunk_sizes: list[int]
) -> None:
    packets = [b"\xf8" + body for body in bodies]
    granules = range(960, 960 * (len(packets) + 1), 960)
    stream = pages_of_libogg(
        [(HEAD, 0), (TAGS, 0), *zip(packets, granules, strict=True)], serial=SERIAL, bytes_per_page=4_096
    )

    received = fed(OggOpusReader(), in_chunks(stream, chunk_sizes))

    assert received == [OggPacket(packet, 0) for packet in packets]


def test_one_byte_at_a_time_is_enough() -> None:
    stream = b"".join(headers() + numbered(5))

    received = fed(OggOpusReader(), in_chunks(stream, [1]))

    assert numbers(received) == [2, 3, 4, 5, 6]


def test_a_packet_comes_out_with_the_last_byte_of_its_page() -> None:
    reader = OggOpusReader()
    (only,) = numbered(1)

    assert reader.feed(only[:-1]) == []
    assert numbers(reader.feed(only[-1:])) == [2]


@pytest.mark.parametrize("granules", [[0, 0, 0], [1_920, 3_840, 5_760], [2**64 - 1] * 3, [9, 5, 1]])
def test_granule_positions_do_not_matter(granules: list[int]) -> None:
    pages = [page(b"audio%d" % at, sequence=at + 2, granule=granule) for at, granule in enumerate(granules)]

    assert numbers(fed(OggOpusReader(), headers() + pages)) == [0, 1, 2]


@pytest.mark.parametrize("rate_hz", [0, 24_000, 48_000])
@pytest.mark.parametrize("pre_skip_samples", [0, 3_840, 65_535])
def test_rate_and_pre_skip_cut_nothing(rate_hz: int, pre_skip_samples: int) -> None:
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 2, pre_skip_samples, rate_hz, 0, 0)

    assert numbers(fed(OggOpusReader(), headers(head=head) + numbered(2))) == [2, 3]


def test_header_pages_joined_in_one_message_are_understood() -> None:
    reader = OggOpusReader()

    assert reader.feed(b"".join(headers())) == []
    assert numbers(reader.feed(b"".join(numbered(2)))) == [2, 3]


def test_the_flag_for_the_end_of_the_stream_ends_nothing() -> None:
    pages = [*headers(), page(b"audio2", sequence=2, flags=ENDS), *numbered(1, first_sequence=3)]

    assert numbers(fed(OggOpusReader(), pages)) == [2, 3]


def test_joining_in_the_middle_of_a_stream_loses_nothing_that_came() -> None:
    received = fed(OggOpusReader(), numbered(3, first_sequence=1_000))

    assert numbers(received) == [1_000, 1_001, 1_002]
    assert losses(received) == [0, 0, 0]


def test_several_packets_in_a_page_come_out_in_order_and_the_first_reports_the_loss() -> None:
    pages = [*headers(), page(b"audio1", b"audio2", sequence=2), page(b"audio3", bytes(255), sequence=4)]

    received = fed(OggOpusReader(), pages)

    assert [packet.data for packet in received] == [b"audio1", b"audio2", b"audio3", bytes(255)]
    assert losses(received) == [0, 0, 1, 0]


def test_empty_packets_and_empty_pages_are_dropped_and_counted() -> None:
    reader = OggOpusReader()
    pages = [*headers(), page(b"", b"audio2", b"", sequence=2), page_of(b"", [], 3), page(b"audio4", sequence=4)]

    received = fed(reader, pages)

    assert numbers(received) == [2, 4]
    assert losses(received) == [0, 0]
    assert reader.statistics().empty_packets == 2


# Losses, duplicates, restarts


@pytest.mark.parametrize(("missing", "reported"), [(1, 1), (3, 3), (50, 50), (51, 50), (2**31 - 10, 50)])
def test_missing_pages_are_reported_with_the_next_packet_up_to_a_limit(missing: int, reported: int) -> None:
    reader = OggOpusReader()

    received = fed(reader, headers() + numbered(1) + numbered(2, first_sequence=3 + missing))

    assert losses(received) == [0, reported, 0]
    assert reader.statistics().lost_pages == reported


def test_losses_before_pages_without_audio_add_up_to_the_next_packet_but_not_beyond_the_limit() -> None:
    reader = OggOpusReader()
    nothing = [page_of(b"", [], 10 * step) for step in range(1, 10)]

    (first, second) = fed(reader, numbered(1) + nothing + numbered(1, first_sequence=91))

    assert (first.lost_pages, second.lost_pages) == (0, SEQUENCE_WINDOW_PAGES)
    assert reader.statistics().lost_pages == 90 - 2 - 9


def test_sequence_numbers_wrap_around_without_a_loss() -> None:
    pages = numbered(4, first_sequence=2**32 - 2)

    received = fed(OggOpusReader(), pages)
    with_a_loss = fed(OggOpusReader(), pages[:1] + pages[3:])
    with_a_duplicate = fed(OggOpusReader(), [*pages, pages[1]])

    assert numbers(received) == [2**32 - 2, 2**32 - 1, 0, 1]
    assert losses(received) == [0, 0, 0, 0]
    assert losses(with_a_loss) == [0, 2]
    assert with_a_duplicate == received


def test_duplicates_and_late_pages_are_dropped_and_counted() -> None:
    reader = OggOpusReader()
    pages = numbered(60)

    received = fed(reader, [*headers(), *pages, pages[-1], pages[-SEQUENCE_WINDOW_PAGES], pages[-2]])

    assert numbers(received) == list(range(2, 62))
    assert reader.statistics().duplicate_pages == 3


def test_numbers_that_step_back_further_than_late_pages_do_are_a_restart() -> None:
    received = fed(OggOpusReader(), numbered(2, first_sequence=1_000) + numbered(2, first_sequence=5))

    assert numbers(received) == [1_000, 1_001, 5, 6]
    assert losses(received) == [0, 0, 0, 0]


@pytest.mark.parametrize("count_before", [0, 1, 3, 60])
@pytest.mark.parametrize("goes_on", [True, False])
def test_repeated_headers_may_or_may_not_restart_the_numbers(count_before: int, goes_on: bool) -> None:
    before, first_after = numbered(count_before), 2 + count_before if goes_on else 2
    after = numbered(4, first_sequence=first_after)
    lossy = [after[0], *after[2:]]

    received = fed(OggOpusReader(), headers() + before + headers() + after)
    received_lossy = fed(OggOpusReader(), headers() + before + headers() + headers() + lossy)

    assert numbers(received[count_before:]) == list(range(first_after, first_after + 4))
    assert set(losses(received)) == {0}
    assert losses(received_lossy[count_before:]) == [0, 1, 0]


def test_after_repeated_headers_and_audio_only_one_numbering_is_left() -> None:
    pages = headers() + numbered(60) + headers() + numbered(1) + numbered(1, first_sequence=62)

    received = fed(OggOpusReader(), pages)

    assert losses(received)[-1] == SEQUENCE_WINDOW_PAGES


def test_a_new_stream_with_another_serial_starts_afresh() -> None:
    reader = OggOpusReader()
    first = headers(serial=1) + numbered(3, serial=1) + numbered(1, serial=1, first_sequence=7)
    second = headers(serial=2) + numbered(1, serial=2) + numbered(1, serial=2, first_sequence=4)

    received = fed(reader, first + second)

    assert numbers(received) == [2, 3, 4, 7, 2, 4]
    assert losses(received) == [0, 0, 0, 2, 0, 1]


def test_a_loss_at_the_end_of_one_stream_is_not_charged_to_the_next() -> None:
    pages = [*numbered(2, serial=1), page_of(b"", [], 20, serial=1), *numbered(1, serial=2)]

    assert losses(fed(OggOpusReader(), pages)) == [0, 0, 0]


def test_a_stream_whose_beginning_was_lost_is_taken_all_the_same() -> None:
    received = fed(OggOpusReader(), headers(serial=1) + numbered(2, serial=1) + numbered(3, serial=2))

    assert numbers(received) == [2, 3, 2, 3, 4]
    assert losses(received) == [0] * 5


@settings(max_examples=100)
@given(order=st.lists(st.integers(0, 30), max_size=60))
def test_pages_in_any_order_never_come_out_backwards_or_twice(order: list[int]) -> None:
    reader, pages = OggOpusReader(), numbered(31)

    received = numbers(fed(reader, [pages[number] for number in order]))

    assert received == sorted(set(received))
    assert len(received) + reader.statistics().duplicate_pages == len(order)


# Packets that go on from page to page


def spanning_pages() -> list[bytes]:
    """Build one packet of 700 bytes over three pages, between two whole ones."""
    return [
        page_of(b"audio2" + b"a" * 255, [6, 255], 2),
        page_of(b"b" * 255, [255], 3, flags=CONTINUED),
        page_of(b"c" * 190 + b"audio4", [190, 6], 4, flags=CONTINUED),
    ]


SPANNING = b"a" * 255 + b"b" * 255 + b"c" * 190


def test_a_packet_over_three_pages_is_put_together() -> None:
    reader = OggOpusReader()

    received = fed(reader, headers() + spanning_pages())

    assert [packet.data for packet in received] == [b"audio2", SPANNING, b"audio4"]
    assert reader.statistics().broken_packets == 0


@pytest.mark.parametrize(("lost", "whole", "lost_pages"), [(0, [4], [1]), (1, [2, 4], [0, 1])])
def test_a_packet_that_lost_a_part_is_dropped_and_counted_once(
    lost: int, whole: list[int], lost_pages: list[int]
) -> None:
    reader, pages = OggOpusReader(), spanning_pages()
    del pages[lost]

    received = fed(reader, headers() + pages)

    assert numbers(received) == whole
    assert losses(received) == lost_pages
    assert reader.statistics().broken_packets == 1


@pytest.mark.parametrize(
    "next_pages",
    [
        pytest.param(numbered(1, first_sequence=4), id="the page after does not go on with it"),
        pytest.param(numbered(1, first_sequence=5), id="its last page is missing"),
        pytest.param([page_of(b"xaudio9", [1, 6], 9, flags=CONTINUED)], id="another packet's end follows a loss"),
        pytest.param(headers() + numbered(1), id="the stream restarts"),
        pytest.param(numbered(1, serial=5), id="another stream starts"),
        pytest.param([page_of(b"xaudio9", [1, 6], 9, flags=CONTINUED, serial=5)], id="in another stream's middle"),
    ],
)
def test_a_packet_without_its_end_is_dropped_and_counted_once(next_pages: list[bytes]) -> None:
    reader = OggOpusReader()

    received = fed(reader, headers() + spanning_pages()[:2] + next_pages)

    assert len(received) == 2
    assert reader.statistics().broken_packets == 1
    assert reader.statistics().buffered_bytes == 0


def test_the_end_of_a_packet_whose_beginning_never_came_is_dropped_and_counted() -> None:
    reader = OggOpusReader()

    received = fed(reader, spanning_pages()[1:])

    assert numbers(received) == [4]
    assert reader.statistics().broken_packets == 1


def test_an_empty_page_that_goes_on_opens_no_packet() -> None:
    reader = OggOpusReader()

    received = fed(reader, [page_of(b"", [], 2, flags=CONTINUED), *numbered(1, first_sequence=3)])

    assert numbers(received) == [3]
    assert reader.statistics().broken_packets == 0


@pytest.mark.parametrize(("size_bytes", "comes_out"), [(61_440, True), (61_441, False)])
def test_a_packet_larger_than_the_limit_is_dropped(size_bytes: int, comes_out: bool) -> None:
    reader = OggOpusReader()

    received = fed(reader, [page(bytes(size_bytes), b"audio1", sequence=2)])

    assert [len(packet.data) for packet in received] == [size_bytes, 6][not comes_out :]
    assert reader.statistics().broken_packets == int(not comes_out)


# Headers that say what can't be played


@pytest.mark.parametrize(
    ("head", "is_refused"),
    [
        pytest.param(b"OpusHead" + struct.pack("<BBHIhB", 15, 2, 0, 0, 0, 0), False, id="minor version"),
        pytest.param(b"OpusHead" + struct.pack("<BBHIhB", 16, 1, 0, 0, 0, 0), True, id="major version"),
        pytest.param(b"OpusHead" + struct.pack("<BBHIhB", 1, 0, 0, 0, 0, 0), True, id="no channel"),
        pytest.param(b"OpusHead" + struct.pack("<BBHIhB", 1, 3, 0, 0, 0, 0), True, id="three channels"),
        pytest.param(b"OpusHead" + struct.pack("<BBHIhB", 1, 2, 0, 0, 0, 1) + bytes(4), True, id="mapping family"),
        pytest.param(b"OpusHead\1\1", True, id="short"),
        pytest.param(HEAD + b"more", False, id="long"),
    ],
)
def test_streams_that_are_not_plain_opus_are_refused_until_a_better_header_comes(head: bytes, is_refused: bool) -> None:
    reader = OggOpusReader()

    received = fed(reader, headers(head=head) + numbered(2))
    received_later = fed(reader, headers() + numbered(1))
    other_stream = fed(reader, headers(head=head) + numbered(1, serial=9))

    assert numbers(received) == [2, 3][2 * is_refused :]
    assert numbers(received_later) == [2]
    assert numbers(other_stream) == [2]
    assert reader.statistics().refused_headers == 2 * is_refused
    assert reader.statistics().refused_packets == 2 * is_refused


# Damage


@pytest.mark.parametrize("at", [*range(40), 300, 388])
def test_a_page_with_any_byte_damaged_is_dropped_as_soon_as_the_next_one_is_there(at: int) -> None:
    reader = OggOpusReader()
    damaged = bytearray(page(b"audio3" * 60, sequence=3))
    assert len(damaged) == 389
    damaged[at] ^= 0xFF

    received = fed(reader, [*headers(), *numbered(1), bytes(damaged), *numbered(1, first_sequence=4)])

    assert numbers(received) == [2, 4]
    assert losses(received) == [0, 1]
    statistics = reader.statistics()
    assert statistics.damaged_pages == (at > 4)
    assert (statistics.skipped_bytes, statistics.buffered_bytes) == (len(damaged), 0)


def test_a_truncated_page_does_not_take_the_next_one_with_it() -> None:
    pages = numbered(3)

    received = fed(OggOpusReader(), [*headers(), pages[0], pages[1][:20], pages[2]])

    assert numbers(received) == [2, 4]


def test_many_lengths_damaged_in_a_row_hold_nothing_back() -> None:
    pages = [bytearray(data) for data in numbered(16)]
    for data in pages:
        data[26] = 255

    received = fed(OggOpusReader(), [*headers(), *map(bytes, pages), *numbered(1, first_sequence=18)])

    assert numbers(received) == [18]
    assert losses(received) == [16]


def test_an_ogg_page_inside_a_packet_stays_inside() -> None:
    inner = b"OggS\0 is how pages begin, and this is none"

    received = fed(OggOpusReader(), in_chunks(page(inner, sequence=2) + page(b"x", sequence=3), [9]))

    assert [packet.data for packet in received] == [inner, b"x"]


ACTIONS = st.sampled_from(("keep", "keep", "keep", "damage", "drop", "twice"))
GARBAGE = st.sampled_from((b"", b"", b"", b"OggS", b"OggS\0", b"OggS\0\0", b"O", b"noise")) | st.binary(max_size=40)


@settings(max_examples=400)
@given(
    fates=st.lists(st.tuples(ACTIONS, GARBAGE, st.integers(0, 10**6), st.integers(1, 255)), max_size=14),
    sizes=st.lists(st.integers(1, 700), min_size=14, max_size=14),
    chunk_sizes=st.lists(st.integers(1, 900), min_size=1, max_size=5),
)
@example(fates=[("damage", b"OggS\0", 26, 255)] * 6 + [("keep", b"", 0, 1)], sizes=[40] * 14, chunk_sizes=[9])
def test_undamaged_packets_all_come_out_in_order_with_what_is_missing_between_them(
    fates: list[tuple[str, bytes, int, int]], sizes: list[int], chunk_sizes: list[int]
) -> None:
    reader = OggOpusReader()
    stream, expected, due, intact_bytes = b"", [], None, 0
    for number, (action, garbage, at, flip) in enumerate(fates):
        packet = bytes([number]) * sizes[number]
        data = bytearray(page(packet, sequence=number))
        stream += garbage
        if action == "damage":
            data[at % len(data)] ^= flip
        if action != "drop":
            stream += bytes(data) * (2 if action == "twice" else 1)
        if action in ("keep", "twice"):
            expected.append(OggPacket(packet, 0 if due is None else number - due))
            due = number + 1
            intact_bytes += len(data) * (2 if action == "twice" else 1)

    received = fed(reader, in_chunks(stream, chunk_sizes))

    statistics = reader.statistics()
    assert received == expected
    assert statistics.lost_pages == sum(losses(expected))
    assert intact_bytes + statistics.skipped_bytes + statistics.buffered_bytes == len(stream)


PIECES = st.one_of(
    st.binary(max_size=300),
    st.just(b"OggS\0"),
    st.sampled_from([*headers(), *numbered(3), *spanning_pages()]),
    st.builds(
        page_of,
        st.binary(max_size=600),
        st.lists(st.sampled_from((0, 1, 254, 255)), max_size=255),
        st.sampled_from((0, 1, 2, 5, 2**31, 2**32 - 1)),
        flags=st.integers(0, 255),
        serial=st.sampled_from((SERIAL, 0, 2**32 - 1)),
    ),
)


@settings(max_examples=300)
@given(pieces=st.lists(PIECES, max_size=12), chunk_sizes=st.lists(st.integers(1, 2_000), min_size=1, max_size=4))
def test_no_bytes_whatsoever_raise_or_yield_an_empty_packet(pieces: list[bytes], chunk_sizes: list[int]) -> None:
    reader = OggOpusReader()

    received = fed(reader, in_chunks(b"".join(pieces), chunk_sizes))

    assert all(0 < len(packet.data) <= PACKET_LIMIT_BYTES for packet in received)
    assert all(0 <= packet.lost_pages <= SEQUENCE_WINDOW_PAGES for packet in received)
    assert reader.statistics().buffered_bytes < PAGE_LIMIT_BYTES + PACKET_LIMIT_BYTES
    assert reader.statistics().packets == len(received)


ENDLESS_PAGE = b"OggS\0" + bytes(21) + b"\xff" * 65_200
ENDLESS_PACKETS = [page_of(bytes(2_550), [255] * 10, number, flags=CONTINUED if number else 0) for number in range(40)]


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param([b"noise" * 200] * 1_000, id="garbage"),
        pytest.param([b"OggS"] * 10_000, id="beginnings"),
        pytest.param([b"OggS\0" * 400] * 40, id="false pages"),
        pytest.param([ENDLESS_PAGE[at : at + 1_000] for at in range(0, 66_000, 1_000)] * 20, id="huge pages"),
        pytest.param(ENDLESS_PACKETS, id="a packet without end"),
        pytest.param([b"".join(ENDLESS_PACKETS) * 20, ENDLESS_PAGE[:65_306]], id="all at once"),
    ],
)
def test_memory_stays_bounded_whatever_is_fed(stream: list[bytes]) -> None:
    reader, buffered_bytes = OggOpusReader(), []
    tracemalloc.start()

    for chunk in stream:
        assert reader.feed(chunk) == []
        buffered_bytes.append(reader.statistics().buffered_bytes)

    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert max(buffered_bytes) < PAGE_LIMIT_BYTES + PACKET_LIMIT_BYTES
    assert kept_bytes < 2 * (PAGE_LIMIT_BYTES + PACKET_LIMIT_BYTES)
