"""Datagrams to packets: both modes against packets that the cipher libraries made, and everything that is no audio."""

import random
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plexbridge.errors import LocalProtocolError
from plexbridge.people.discord.rtp import (
    MODES,
    WINDOW_PACKETS,
    DatagramRefused,
    Defect,
    RtpPacket,
    Sealer,
    SequenceWindow,
    Transport,
    audio_ssrc,
    sequence_distance,
    timestamp_distance,
)
from tests.people.discord.sender import AES, KEY, SILENCE, XCHACHA, rtp_header, seal

EACH_MODE = pytest.mark.parametrize("mode", [AES, XCHACHA])
OPUS = bytes(range(80, 180))


def defect(datagram: bytes, *, mode: str = AES) -> Defect:
    with pytest.raises(DatagramRefused) as refused:
        Transport(mode, KEY).open(datagram)
    return refused.value.defect


def test_the_modes_are_those_that_discord_has_left() -> None:
    assert set(MODES) == {AES, XCHACHA}


@EACH_MODE
@pytest.mark.parametrize("csrcs", [(), (7,), tuple(range(15))], ids=lambda csrcs: f"{len(csrcs)} sources")
@pytest.mark.parametrize("extension_words", [None, 0, 1, 5])
@pytest.mark.parametrize("padding_bytes", [0, 1, 255])
def test_the_payload_is_what_extension_sources_and_padding_leave(
    mode: str, csrcs: tuple[int, ...], extension_words: int | None, padding_bytes: int
) -> None:
    header = rtp_header(
        sequence=65_535,
        timestamp=2**32 - 1,
        ssrc=2**32 - 2,
        csrcs=csrcs,
        extension_words=extension_words,
        is_padded=padding_bytes > 0,
    )
    padding = bytes(padding_bytes - 1) + bytes([padding_bytes]) if padding_bytes else b""
    body = b"\xee" * (4 * (extension_words or 0)) + OPUS + padding

    packet = Transport(mode, KEY).open(seal(header, body, mode=mode, nonce=2**32 - 1))

    assert packet == RtpPacket(ssrc=2**32 - 2, sequence=65_535, timestamp=2**32 - 1, payload=OPUS)


@EACH_MODE
def test_the_marker_bit_makes_no_difference(mode: str) -> None:
    datagram = seal(rtp_header(second_byte=0x80 | 0x78), SILENCE, mode=mode)

    assert Transport(mode, KEY).open(datagram).payload == SILENCE


@EACH_MODE
def test_a_packet_under_another_key_is_unauthentic(mode: str) -> None:
    assert defect(seal(rtp_header(), OPUS, mode=mode, key=bytes(32)), mode=mode) is Defect.UNAUTHENTIC


def test_a_packet_of_the_other_mode_is_unauthentic() -> None:
    assert defect(seal(rtp_header(), OPUS, mode=XCHACHA), mode=AES) is Defect.UNAUTHENTIC
    assert defect(seal(rtp_header(), OPUS, mode=AES), mode=XCHACHA) is Defect.UNAUTHENTIC


@EACH_MODE
def test_a_flipped_bit_in_any_byte_is_noticed(mode: str) -> None:
    datagram = seal(rtp_header(extension_words=1, csrcs=(5,)), bytes(4) + OPUS, mode=mode)

    for index in range(len(datagram)):
        damaged = datagram[:index] + bytes([datagram[index] ^ 0x04]) + datagram[index + 1 :]

        assert defect(damaged, mode=mode) in {Defect.UNAUTHENTIC, Defect.NOT_AUDIO, Defect.NOT_RTP}


@EACH_MODE
def test_a_packet_cut_off_anywhere_is_refused(mode: str) -> None:
    datagram = seal(rtp_header(extension_words=2, csrcs=(5,)), bytes(8) + OPUS, mode=mode)

    for length in range(len(datagram)):
        assert defect(datagram[:length], mode=mode) in {Defect.UNAUTHENTIC, Defect.NOT_RTP}


@EACH_MODE
@given(garbage=st.binary(max_size=300))
@example(garbage=b"")
@example(garbage=b"\x80\x78" + bytes(30))
@example(garbage=b"\x9f\x78" + bytes(40))
def test_noise_is_refused(mode: str, garbage: bytes) -> None:
    assert isinstance(defect(garbage, mode=mode), Defect)


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        pytest.param(bytes.fromhex("0100000000000000"), Defect.NOT_RTP, id="keepalive echo"),
        pytest.param(bytes.fromhex("8000000000000000"), Defect.NOT_RTP, id="keepalive echo that begins like RTP"),
        pytest.param(b"\x00\x02\x00\x46" + bytes(70), Defect.NOT_RTP, id="discovery answer"),
        pytest.param(b"\x00\x78" + bytes(60), Defect.NOT_RTP, id="version 0"),
        pytest.param(b"\x40\x78" + bytes(60), Defect.NOT_RTP, id="version 1"),
        pytest.param(b"\xc0\x78" + bytes(60), Defect.NOT_RTP, id="version 3"),
        *(
            pytest.param(bytes([0x81, kind]) + bytes(60), Defect.RTCP, id=f"RTCP {kind}")
            for kind in (200, 201, 202, 203, 204)
        ),
        pytest.param(seal(rtp_header(second_byte=101), OPUS), Defect.NOT_AUDIO, id="video"),
        pytest.param(seal(rtp_header(second_byte=0x80 | 101), OPUS), Defect.NOT_AUDIO, id="video with marker"),
    ],
)
def test_what_is_no_audio_is_told_apart(datagram: bytes, expected: Defect) -> None:
    assert defect(datagram) is expected


@EACH_MODE
@pytest.mark.parametrize(
    ("header", "body"),
    [
        pytest.param(rtp_header(extension_words=3), bytes(8), id="extension longer than the packet"),
        pytest.param(rtp_header(extension_words=2), bytes(8), id="nothing but extension"),
        pytest.param(rtp_header(is_padded=True), OPUS + b"\x00", id="padding of no bytes"),
        pytest.param(rtp_header(is_padded=True), b"abc\x05", id="padding longer than the packet"),
        pytest.param(rtp_header(is_padded=True), b"\x00\x00\x03", id="nothing but padding"),
        pytest.param(rtp_header(is_padded=True, extension_words=1), b"extn" + b"\x02\x04", id="padding in extension"),
        pytest.param(rtp_header(is_padded=True), b"", id="padded and empty"),
        pytest.param(rtp_header(), b"", id="empty"),
    ],
)
def test_an_authentic_packet_that_holds_no_payload_is_malformed(mode: str, header: bytes, body: bytes) -> None:
    assert defect(seal(header, body, mode=mode), mode=mode) is Defect.MALFORMED


def test_a_datagram_claims_its_ssrc_before_it_is_decrypted() -> None:
    assert audio_ssrc(seal(rtp_header(ssrc=0xFEDC_BA98), OPUS, key=bytes(32))) == 0xFEDC_BA98
    with pytest.raises(DatagramRefused):
        audio_ssrc(seal(rtp_header(second_byte=101), OPUS))


@pytest.mark.parametrize("mode", ["", "xsalsa20_poly1305", "aead_aes256_gcm"])
def test_a_mode_that_is_not_had_is_our_own_fault(mode: str) -> None:
    with pytest.raises(LocalProtocolError, match="mode"):
        Transport(mode, KEY)


@EACH_MODE
@pytest.mark.parametrize("key", [b"", bytes(16), bytes(33)])
def test_a_key_of_another_length_is_our_own_fault(mode: str, key: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="32 bytes"):
        Transport(mode, key)


@pytest.mark.parametrize(
    ("sequence", "earlier", "distance"),
    [(5, 5, 0), (6, 5, 1), (5, 6, -1), (0, 65_535, 1), (65_535, 0, -1), (32_767, 0, 32_767), (32_768, 0, -32_768)],
)
def test_sequence_numbers_are_compared_the_shorter_way_round(sequence: int, earlier: int, distance: int) -> None:
    assert sequence_distance(sequence, earlier) == distance


@given(start=st.integers(0, 2**32 - 1), distance=st.integers(-(2**31), 2**31 - 1))
def test_timestamps_are_compared_the_shorter_way_round(start: int, distance: int) -> None:
    assert timestamp_distance((start + distance) % 2**32, start) == distance


@given(start=st.integers(0, 65_535), steps=st.lists(st.integers(-WINDOW_PACKETS // 2, 40), max_size=200))
def test_each_number_in_the_window_is_new_once(start: int, steps: list[int]) -> None:
    window, seen, newest = SequenceWindow(), set[int](), start

    for step in [0, *steps]:
        number = max(newest - WINDOW_PACKETS + 1, newest + step)
        newest = max(newest, number)

        assert window.add(number % 2**16) == (number not in seen)
        seen.add(number)


def test_packets_in_any_order_are_new_once_however_often_the_numbers_wrap() -> None:
    window, shuffled = SequenceWindow(), random.Random(3)
    numbers = list(range(100_000))

    for start in range(0, len(numbers), 100):
        some = numbers[start : start + 100]
        shuffled.shuffle(some)
        assert all(window.add(number % 2**16) for number in some)
        assert not any(window.add(number % 2**16) for number in some)


def test_a_window_stays_as_small_as_it_is() -> None:
    window = SequenceWindow()
    tracemalloc.start()

    for number in range(20_000):
        window.add(number % 2**16)
    size_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert size_bytes < 1_000


def test_a_sender_that_counts_anew_far_behind_is_new_again() -> None:
    window = SequenceWindow()
    window.add(30_000)

    assert window.add(30_000 - WINDOW_PACKETS)
    assert window.add(30_000 - WINDOW_PACKETS + 1)
    assert not window.add(30_000 - WINDOW_PACKETS)


@EACH_MODE
def test_what_is_sealed_is_opened_by_the_other_side(mode: str) -> None:
    packet = RtpPacket(ssrc=2**32 - 1, sequence=65_535, timestamp=2**32 - 1, payload=OPUS)
    sealer = Sealer()
    sealer.connected(mode, KEY)

    assert Transport(mode, KEY).open(sealer.seal(packet)) == packet


@EACH_MODE
def test_no_nonce_comes_twice_though_the_same_key_comes_again(mode: str) -> None:
    packet = RtpPacket(ssrc=1, sequence=1, timestamp=1, payload=OPUS)
    sealer = Sealer()
    nonces = []
    for _ in range(3):
        sealer.connected(mode, KEY)
        nonces += [sealer.seal(packet)[-4:] for _ in range(5)]

    assert nonces == [number.to_bytes(4, "big") for number in range(15)]


def test_nothing_is_sealed_without_a_session_or_with_an_unusable_key() -> None:
    sealer = Sealer()
    with pytest.raises(LocalProtocolError):
        sealer.seal(RtpPacket(1, 1, 1, OPUS))
    with pytest.raises(LocalProtocolError):
        sealer.connected(AES, bytes(16))
    with pytest.raises(LocalProtocolError):
        sealer.connected("xsalsa20_poly1305", KEY)
