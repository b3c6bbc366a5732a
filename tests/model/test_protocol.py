"""The model's wire: messages and events in both roles."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plexbridge.model.protocol import (
    MAX_LOG_CHARS,
    MAX_PIECE_CHARS,
    Audio,
    Control,
    Empty,
    Event,
    Fault,
    Handshake,
    Metadata,
    Ping,
    Text,
    Unknown,
    audio_message,
    fault_message,
    handshake_message,
    metadata_message,
    parse_message,
    text_message,
)

PAGE = b"OggS page"


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (b"\x00", Handshake(None, None)),
        (b"\x00" + bytes(8), Handshake(0, 0)),
        (b"\x00\x01\x00\x00\x00\x02\x01\x00\x00", Handshake(1, 258)),
        (b"\x00" + b"\xff" * 8 + b"more", Handshake(2**32 - 1, 2**32 - 1)),
        (b"\x00\x01\x02\x03", Handshake(None, None)),
        (b"\x01" + PAGE, Audio(PAGE)),
        (b"\x01", Audio(b"")),
        (b"\x02 hello", Text(" hello")),
        (b"\x02\xc3\xa4", Text("\u00e4")),
        (b"\x02\xef\xbf\xbd", Text("\ufffd")),
        (b"\x02a\xffb", Text("a\ufffdb", is_damaged=True)),
        (b"\x02", Text("")),
        (b"\x03\x02", Control(2)),
        (b"\x03", Control(None)),
        (b'\x04{"a": 1}', Metadata('{"a": 1}')),
        (b"\x05out of memory", Fault("out of memory")),
        (b"\x06", Ping()),
        (b"\x06anything", Ping()),
        (b"\x07\x01text", Unknown(7)),
        (b"\x08image", Unknown(8)),
        (b"\x09codes", Unknown(9)),
        (b"\xff", Unknown(255)),
        (b"", Empty()),
        ("a text message", Unknown(None)),
        ("", Unknown(None)),
    ],
)
def test_a_message_means_one_event(message: bytes | str, event: Event) -> None:
    assert parse_message(message) == event


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (handshake_message(), Handshake()),
        (handshake_message((0, 7)), Handshake(0, 7)),
        (audio_message(PAGE), Audio(PAGE)),
        (text_message("na\u00efve"), Text("na\u00efve")),
        (metadata_message("{}"), Metadata("{}")),
        (fault_message("no free channels"), Fault("no free channels")),
    ],
)
def test_what_one_role_builds_the_other_understands(message: bytes, event: Event) -> None:
    assert parse_message(message) == event


def test_the_bare_handshake_is_one_byte_and_versions_are_little_endian() -> None:
    assert handshake_message() == b"\x00"
    assert handshake_message((1, 258)) == b"\x00\x01\x00\x00\x00\x02\x01\x00\x00"


@given(st.one_of(st.binary(), st.text(st.characters()), st.binary(max_size=20).map(lambda rest: b"\x02" + rest)))
def test_any_message_means_something(message: bytes | str) -> None:
    event = parse_message(message)

    assert isinstance(event, Event)
    if isinstance(event, Text):
        assert isinstance(message, bytes)
        assert event.is_damaged == (event.piece.encode() != message[1:])


@given(st.binary(), st.text(max_size=MAX_PIECE_CHARS))
def test_audio_and_text_survive_the_wire(page: bytes, piece: str) -> None:
    assert parse_message(audio_message(page)) == Audio(page)
    assert parse_message(text_message(piece)) == Text(piece)


@pytest.mark.parametrize("character", ["a", "\u00e4", "\u65e5", "\U0001f600"])
def test_text_from_the_server_is_bounded(character: str) -> None:
    long = character * 2_000_000

    assert parse_message(text_message(long)) == Text(character * MAX_PIECE_CHARS, is_damaged=True)
    assert parse_message(fault_message(long)) == Fault(character * MAX_LOG_CHARS)
    assert parse_message(metadata_message(long)) == Metadata(character * MAX_LOG_CHARS)


@pytest.mark.parametrize("build", [fault_message, metadata_message])
def test_text_for_the_log_is_one_line_without_control_characters(build: Callable[[str], bytes]) -> None:
    event = parse_message(build("out\r\n2026 ERROR forged\x1b[2J \u202etxt\u2028 \x85\0 end"))

    assert isinstance(event, Fault | Metadata)
    assert event.text == "out 2026 ERROR forged [2J txt end"


@given(st.binary(max_size=100))
def test_any_fault_is_printable(payload: bytes) -> None:
    event = parse_message(b"\x05" + payload)

    assert isinstance(event, Fault)
    assert event.text.isprintable()
