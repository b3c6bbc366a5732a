"""Kyutai's messages, byte for byte as its server writes and reads them."""

import struct

import msgpack
import numpy as np
import pytest

from plexbridge.errors import RemoteProtocolError
from plexbridge.speech.kyutai_protocol import (
    Event,
    Failed,
    Ready,
    Returned,
    WordBegins,
    WordEnds,
    decode,
    encode_audio,
    encode_marker,
)


def test_audio_is_a_map_of_single_floats() -> None:
    encoded = encode_audio(np.array([0.5, -1.0], np.float32))

    # A map of two: "type" to "Audio", "pcm" to an array of two 32-bit floats (0xca).
    floats = b"".join(b"\xca" + struct.pack(">f", value) for value in (0.5, -1.0))
    assert encoded == b"\x82\xa4type\xa5Audio\xa3pcm\x92" + floats


def test_a_marker_is_a_map_with_its_number() -> None:
    assert encode_marker(7) == b"\x82\xa4type\xa6Marker\xa2id\x07"


@pytest.mark.parametrize(
    ("content", "event"),
    [
        ({"type": "Ready"}, Ready()),
        ({"type": "Word", "text": "hello", "start_time": 1.25}, WordBegins("hello", 1.25)),
        ({"type": "EndWord", "stop_time": 2}, WordEnds(2.0)),
        ({"type": "Marker", "id": 3}, Returned(3)),
        ({"type": "Error", "message": "no free channels"}, Failed("no free channels")),
        ({"type": "Step", "step_idx": 9, "prs": [0.1, 0.2], "buffered_pcm": 0}, None),
        ({"type": "SomethingNew", "x": 1}, None),
    ],
)
def test_what_the_server_says_is_understood(content: dict[str, object], event: Event) -> None:
    assert decode(msgpack.packb(content)) == event


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        b"\x82\xa4type",
        msgpack.packb([1, 2]),
        msgpack.packb("Ready"),
        msgpack.packb({}),
        msgpack.packb({"type": "Word"}),
        msgpack.packb({"type": "Word", "text": "x", "start_time": "soon"}),
        msgpack.packb({"type": "Marker", "id": None}),
        msgpack.packb({"type": "Ready"}) + b"\x00",
        b"\xdf\xff\xff\xff\xff",
    ],
)
def test_what_can_not_be_read_is_refused(message: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode(message)
