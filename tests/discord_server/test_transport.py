"""Packets and their transport encryption, and the plans of links, without sockets."""

import pytest

from tests.discord_server.faults import Faults, Link
from tests.discord_server.options import AES256_GCM, XCHACHA20
from tests.discord_server.transport import BadDatagram, Rtp, Sealer, is_rtp, unseal

KEY = bytes(range(32))
MODES = pytest.mark.parametrize("mode", [AES256_GCM, XCHACHA20])


@MODES
@pytest.mark.parametrize("extension", [b"", bytes(8)])
@pytest.mark.parametrize("padding_bytes", [0, 1, 17])
def test_a_packet_comes_back_as_it_was(mode: str, extension: bytes, padding_bytes: int) -> None:
    packet = Rtp(65535, 2**32 - 1, 77, b"payload", extension=extension, padding_bytes=padding_bytes)

    datagram = Sealer(mode, KEY).seal(packet.header(), packet.body())

    opened = unseal(mode, KEY, datagram)
    assert opened.rtp() == packet
    assert opened.nonce == 1


@MODES
def test_a_flipped_bit_anywhere_is_refused(mode: str) -> None:
    packet = Rtp(1, 2, 3, b"payload", extension=bytes(4))
    datagram = Sealer(mode, KEY).seal(packet.header(), packet.body())

    for index in range(len(datagram)):
        damaged = datagram[:index] + bytes([datagram[index] ^ 0x40]) + datagram[index + 1 :]
        with pytest.raises(BadDatagram):
            unseal(mode, KEY, damaged)


@MODES
def test_a_nonce_is_never_used_twice(mode: str) -> None:
    sealer = Sealer(mode, KEY)

    datagrams = [sealer.seal(Rtp(1, 2, 3, b"x").header(), b"x") for _ in range(3)]

    assert [unseal(mode, KEY, datagram).nonce for datagram in datagrams] == [1, 2, 3]


@pytest.mark.parametrize("padding", [b"\0", b"\x09"])
def test_padding_that_can_not_be_right_is_refused(padding: bytes) -> None:
    header = Rtp(1, 2, 3, b"", padding_bytes=1).header()

    datagram = Sealer(AES256_GCM, KEY).seal(header, b"body" + padding)

    with pytest.raises(BadDatagram):
        unseal(AES256_GCM, KEY, datagram).rtp()


@pytest.mark.parametrize("datagram", [b"", bytes(8), bytes(74), b"\x81\xc9" + bytes(60), b"\x80\x78" + bytes(30)])
def test_what_is_no_rtp_is_told_apart(datagram: bytes) -> None:
    assert not is_rtp(datagram)
    with pytest.raises(BadDatagram):
        unseal(AES256_GCM, KEY, datagram)


def test_a_perfect_link_delivers_every_packet_at_once() -> None:
    link = Link(Faults())

    assert all([delivery.delay_seconds for delivery in link.plan()] == [0.0] for _ in range(100))


def test_a_link_loses_every_third_packet() -> None:
    link = Link(Faults(lose_every=3))

    assert [len(link.plan()) for _ in range(6)] == [1, 1, 0, 1, 1, 0]


def test_the_same_seed_gives_the_same_faults_and_another_one_others() -> None:
    def plans(seed: int) -> list[object]:
        link = Link(Faults(loss=0.3, duplicate=0.3, reorder=0.3, jitter_seconds=0.1, seed=seed))
        return [link.plan() for _ in range(50)]

    assert plans(1) == plans(1)
    assert plans(1) != plans(2)
