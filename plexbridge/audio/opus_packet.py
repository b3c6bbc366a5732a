"""What an Opus packet says about itself without being decoded (RFC 6716 section 3).

The first byte (TOC) gives the duration and kind of the frames; the framing after it, one of four codes, gives their
number and sizes. A packet that passes here is one that libopus' own parser takes, so it can be sent to a model whose
decoder ends the whole session at the first packet that it does not understand. What the frames contain is not
looked at: any bytes are legal there.
"""

from plexbridge.errors import PacketError

OPUS_CLOCK_HZ = 48_000
"""Opus counts durations in samples at 48 kHz, whatever rate the audio was encoded from (RFC 7845 section 4)."""

SILENCE_PACKET = b"\xf8\xff\xfe"
"""20 ms of digital silence, mono CELT: what Discord sends and expects at the end of speech."""

FRAME_LIMIT_BYTES = 1_275
"""No single frame may be larger (RFC 6716 section 3.4, R2)."""

PACKET_LIMIT_SAMPLES = 120 * OPUS_CLOCK_HZ // 1000
"""No packet may last longer than 120 ms (RFC 6716 section 3.4, R5)."""

_CELT_FRAME_SAMPLES = (120, 240, 480, 960)
_HYBRID_FRAME_SAMPLES = (480, 960)
_SILK_FRAME_SAMPLES = (480, 960, 1920, 2880)
_FRAME_SAMPLES = _SILK_FRAME_SAMPLES * 3 + _HYBRID_FRAME_SAMPLES * 2 + _CELT_FRAME_SAMPLES * 4
"""Samples of one frame for each of the 32 configurations in the TOC byte (RFC 6716 table 2)."""


def frame_samples(packet: bytes) -> int:
    """Return the duration of each frame in `packet`, in samples at 48 kHz; PacketError when it is empty."""
    if not packet:
        raise PacketError("an Opus packet has at least one byte")
    return _FRAME_SAMPLES[packet[0] >> 3]


def duration_samples(packet: bytes) -> int:
    """Return how long `packet` plays, in samples at 48 kHz; PacketError when its framing is malformed."""
    frame = frame_samples(packet)
    match packet[0] & 3:
        case 0:
            _check_frame(len(packet) - 1)
            return frame
        case 1:
            _check_equal_frames(len(packet) - 1, 2)
            return 2 * frame
        case 2:
            _check_sized_frames(packet, 1, len(packet), 2)
            return 2 * frame
        case _:
            return frame * _check_counted_frames(packet, frame)


def _check_counted_frames(packet: bytes, frame: int) -> int:
    """Check a code 3 packet (RFC 6716 section 3.2.5) and return its number of frames."""
    if len(packet) < 2:
        raise PacketError("the frame count is missing")
    header = packet[1]
    count = header & 0x3F
    if not count or count * frame > PACKET_LIMIT_SAMPLES:
        raise PacketError(f"{count} frames of {frame} samples in one packet")
    start, end = 2, len(packet)
    if header & 0x40:
        start, end = _without_padding(packet)
    if header & 0x80:
        _check_sized_frames(packet, start, end, count)
    else:
        _check_equal_frames(end - start, count)
    return count


def _without_padding(packet: bytes) -> tuple[int, int]:
    """Return where the frames of a padded code 3 packet begin and end: lengths first, the padding itself last."""
    start, end = 2, len(packet)
    more = True
    while more:
        if start >= end:
            raise PacketError("the padding is longer than the packet")
        length = packet[start]
        more = length == 255
        start += 1
        end -= 254 if more else length
    return start, end


def _check_sized_frames(packet: bytes, start: int, end: int, count: int) -> None:
    """Check frames of which all but the last state their size (RFC 6716 section 3.2.1); the last takes the rest."""
    sizes_bytes = 0
    for _ in range(count - 1):
        if start >= end:
            raise PacketError("a frame size is missing")
        size = packet[start]
        start += 1
        if size >= 252:
            if start >= end:
                raise PacketError("half a frame size is missing")
            size += 4 * packet[start]
            start += 1
        sizes_bytes += size
    _check_frame(end - start - sizes_bytes)


def _check_equal_frames(body_bytes: int, count: int) -> None:
    if body_bytes % count:
        raise PacketError(f"{body_bytes} bytes are not {count} frames of one size")
    _check_frame(body_bytes // count)


def _check_frame(size_bytes: int) -> None:
    if not 0 <= size_bytes <= FRAME_LIMIT_BYTES:
        raise PacketError(f"a frame of {size_bytes} bytes")
