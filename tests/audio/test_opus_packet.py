"""Our reading of Opus framing against the tables of RFC 6716 and against libopus' own parser."""

import ctypes

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyogg import opus as libopus

from plexbridge.audio.opus import Application, Decoder, Encoder, EncoderSettings
from plexbridge.audio.opus_packet import SILENCE_PACKET, duration_samples, frame_samples
from plexbridge.errors import PacketError

CELT_20_MS = 0xF8
CELT_2_5_MS = 0xE0
SILK_60_MS = 0x18
EDGE_SIZES = st.sampled_from((0, 1, 251, 252, 253, 255, 256, 1274, 1275, 1276)) | st.integers(0, 1300)
EDGE_PADDINGS = st.sampled_from((0, 1, 253, 254, 255, 508, 509)) | st.integers(0, 600)


def duration_according_to_libopus(packet: bytes) -> int | None:
    """Return the duration that libopus' parser finds, None when it refuses the packet."""
    data = (ctypes.c_ubyte * (len(packet) + 1)).from_buffer_copy(packet + b"\0")
    toc, frames = (ctypes.c_ubyte * 1)(), (ctypes.POINTER(ctypes.c_ubyte) * 48)()
    count = libopus.opus_packet_parse(
        data, len(packet), toc, frames, (ctypes.c_int16 * 48)(), ctypes.byref(ctypes.c_int())
    )
    if count < 0:
        return None
    return int(count * libopus.opus_packet_get_samples_per_frame(data, 48_000))


def our_duration(packet: bytes) -> int | None:
    try:
        return duration_samples(packet)
    except PacketError:
        return None


def size_bytes(size: int) -> bytes:
    """Write a frame size as RFC 6716 section 3.2.1 does."""
    return bytes([size]) if size < 252 else bytes([252 + size % 4, (size - 252) // 4])


OFF_BY_ONE = st.sampled_from((0, 0, -1, 1))


@st.composite
def packets_of_one_or_two_frames(draw: st.DrawFn) -> bytes:
    """Draw packets of codes 0 to 2 that are legal, or a byte too short or too long."""
    toc, code = draw(st.integers(0, 31)) << 3, draw(st.integers(0, 2))
    first, last = min(draw(EDGE_SIZES), 1275), draw(EDGE_SIZES)
    lengths = size_bytes(first) if code == 2 else b""
    body_bytes = (last, 2 * last, first + last)[code] + draw(OFF_BY_ONE)
    return bytes([toc | code]) + lengths + bytes(max(0, body_bytes))


@st.composite
def packets_of_counted_frames(draw: st.DrawFn) -> bytes:
    """Draw packets of code 3 that are legal, or off by a byte, a frame or many."""
    toc, is_sized = draw(st.integers(0, 31)) << 3 | 3, draw(st.booleans())
    padding_bytes = draw(st.none() | EDGE_PADDINGS)
    sizes = [min(draw(EDGE_SIZES), 1275) for _ in range(draw(st.integers(0, 13)))]
    last = draw(EDGE_SIZES)
    count = max(0, len(sizes) + 1 + draw(OFF_BY_ONE | st.just(40)))
    lengths = b"".join(map(size_bytes, sizes)) if is_sized else b""
    body_bytes = (sum(sizes) + last if is_sized else last * count) + draw(OFF_BY_ONE)
    if padding_bytes is None:
        return bytes([toc, is_sized << 7 | count]) + lengths + bytes(max(0, body_bytes))
    paddings = b"\xff" * (padding_bytes // 254) + bytes([padding_bytes % 254])
    header = bytes([toc, is_sized << 7 | 0x40 | count])
    return header + paddings + lengths + bytes(max(0, body_bytes + padding_bytes))


@pytest.mark.no_cover  # the same lines again and again, which other tests cover
@settings(max_examples=2000)
@given(packet=packets_of_one_or_two_frames() | packets_of_counted_frames() | st.binary(max_size=40))
@example(b"")
@example(b"\x03")
def test_a_packet_is_taken_exactly_when_libopus_takes_it_and_lasts_as_long(packet: bytes) -> None:
    assert our_duration(packet) == duration_according_to_libopus(packet)


@pytest.mark.parametrize("config", range(32))
def test_the_duration_of_a_frame_is_the_one_that_libopus_knows_for_its_toc(config: int) -> None:
    packet = bytes([config << 3])

    assert frame_samples(packet) == libopus.opus_packet_get_samples_per_frame((ctypes.c_ubyte * 1)(*packet), 48_000)


@pytest.mark.parametrize("milliseconds", [2.5, 5, 10, 20, 40, 60, 80, 100, 120])
@pytest.mark.parametrize("application", list(Application))
def test_what_libopus_encodes_has_the_duration_of_what_went_in(application: Application, milliseconds: float) -> None:
    settings = EncoderSettings(application, complexity=5, bitrate_bps=40_000)
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, int(24 * milliseconds)).astype(np.float32)

    with Encoder(rate_hz=24_000, settings=settings) as encoder:
        packet = encoder.encode(noise)

    assert duration_samples(packet) == 48 * milliseconds


def test_the_silence_packet_is_20_ms_of_digital_silence() -> None:
    with Decoder(rate_hz=48_000) as decoder:
        assert np.abs(decoder.decode(SILENCE_PACKET)).max() < 1e-20

    assert duration_samples(SILENCE_PACKET) == 960


@pytest.mark.parametrize(
    ("packet", "duration"),
    [
        pytest.param(bytes([CELT_20_MS]), 960, id="a TOC alone is one frame of no bytes"),
        pytest.param(bytes([CELT_20_MS | 1]) + bytes(2 * 1275), 1920, id="two equal frames"),
        pytest.param(bytes([CELT_20_MS | 2, 252, 1]) + bytes(256), 1920, id="a size of two bytes"),
        pytest.param(bytes([CELT_20_MS | 3, 3]) + bytes(9), 2880, id="three equal frames"),
        pytest.param(bytes([CELT_20_MS | 3, 0x83, 1, 2]) + bytes(3), 2880, id="three sized frames"),
        pytest.param(bytes([CELT_2_5_MS | 3, 48]), 5760, id="120 ms in 48 frames"),
        pytest.param(bytes([SILK_60_MS | 3, 2]), 5760, id="120 ms in 2 frames"),
        pytest.param(bytes([CELT_20_MS | 3, 0x41, 2, 7, 0, 0]), 960, id="padding"),
        pytest.param(bytes([CELT_20_MS | 3, 0x41, 255, 1]) + bytes(255), 960, id="long padding"),
        pytest.param(bytes([CELT_20_MS | 3, 0x41, 255, 255, 0]) + bytes(61_000), None, id="frame too large"),
    ],
)
def test_every_framing_is_understood(packet: bytes, duration: int | None) -> None:
    assert our_duration(packet) == duration


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes([CELT_20_MS]) + bytes(1276), id="frame too large"),
        pytest.param(bytes([CELT_20_MS | 1]) + bytes(3), id="two unequal frames"),
        pytest.param(bytes([CELT_20_MS | 2]), id="size missing"),
        pytest.param(bytes([CELT_20_MS | 2, 252]), id="half a size"),
        pytest.param(bytes([CELT_20_MS | 2, 5]) + bytes(4), id="size beyond the packet"),
        pytest.param(bytes([CELT_20_MS | 3]), id="count missing"),
        pytest.param(bytes([CELT_20_MS | 3, 0]), id="no frames"),
        pytest.param(bytes([CELT_20_MS | 3, 7]) + bytes(7), id="140 ms"),
        pytest.param(bytes([CELT_2_5_MS | 3, 49]) + bytes(49), id="49 frames"),
        pytest.param(bytes([SILK_60_MS | 3, 3]) + bytes(3), id="180 ms"),
        pytest.param(bytes([CELT_20_MS | 3, 2]) + bytes(3), id="frames not equal"),
        pytest.param(bytes([CELT_20_MS | 3, 0x82, 4]) + bytes(3), id="sized frame beyond the packet"),
        pytest.param(bytes([CELT_20_MS | 3, 0x41]), id="padding length missing"),
        pytest.param(bytes([CELT_20_MS | 3, 0x41, 255]), id="padding length breaks off"),
        pytest.param(bytes([CELT_20_MS | 3, 0x41, 3, 0, 0]), id="padding beyond the packet"),
    ],
)
def test_a_malformed_packet_is_refused(packet: bytes) -> None:
    with pytest.raises(PacketError):
        duration_samples(packet)


def test_the_frame_duration_of_nothing_is_refused() -> None:
    with pytest.raises(PacketError):
        frame_samples(b"")
