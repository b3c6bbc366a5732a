"""`FrameCounter` against the frames that wsproto makes, cut anywhere."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from plexbridge.people.web.frames import FrameCounter


def frames_of(sizes: list[int], *, client: bool = True) -> bytes:
    protocol = FrameProtocol(client=client, extensions=[])
    return b"".join(bytes(protocol.send_data(bytes(size), fin=True)) for size in sizes)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
@pytest.mark.parametrize("client", [True, False])
def test_a_frame_counts_once_whatever_its_length_takes(size: int, client: bool) -> None:
    assert FrameCounter().count(frames_of([size, size], client=client)) == 2


@given(st.lists(st.sampled_from([0, 1, 125, 126, 300, 70_000]), max_size=8), st.randoms(use_true_random=False))
def test_it_does_not_matter_where_the_stream_is_cut(sizes: list[int], chance: random.Random) -> None:
    data = frames_of(sizes)
    counter = FrameCounter()
    counted = 0
    while data:
        cut = chance.choice([1, 2, 3, 7, 4096])
        counted += counter.count(data[:cut])
        data = data[cut:]

    assert counted == len(sizes)


def test_pings_and_fragments_without_content_count_each() -> None:
    protocol = FrameProtocol(client=True, extensions=[])
    data = b"".join(bytes(protocol.ping(b"")) for _ in range(5))
    data += bytes(protocol.send_data(b"", fin=False)) + bytes(
        protocol._serialize_frame(Opcode.CONTINUATION, b"", False)
    )

    assert FrameCounter().count(data) == 7


def test_a_frame_that_claims_a_terabyte_counts_once_and_holds_nothing() -> None:
    counter = FrameCounter()

    assert counter.count(b"\x82\xff" + (1 << 40).to_bytes(8) + bytes(4)) == 1
    assert [counter.count(bytes(4096)) for _ in range(100)] == [0] * 100
