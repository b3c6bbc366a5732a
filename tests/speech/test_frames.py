"""What passes to and from a worker: whole, one byte at a time, and damaged."""

import pytest

from plexbridge.errors import RemoteProtocolError
from plexbridge.speech.engine import Recognized, Word
from plexbridge.speech.frames import MESSAGE_LIMIT_BYTES, Message, MessageReader, Tag, decode_final, encode_final

MESSAGES = [Message(Tag.SETUP, b"{}"), Message(Tag.BEGIN), Message(Tag.SOUND, bytes(range(256))), Message(Tag.END)]
DATA = b"".join(message.encoded() for message in MESSAGES)


@pytest.mark.parametrize("size", [1, 3, 5, 7, len(DATA)])
def test_messages_come_out_as_they_went_in_however_they_are_cut(size: int) -> None:
    reader = MessageReader()

    found = [each for start in range(0, len(DATA), size) for each in reader.push(DATA[start : start + size])]

    assert found == MESSAGES


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x00\x00\x00?",
        (MESSAGE_LIMIT_BYTES + 1).to_bytes(4, "little") + b"P",
        b"Traceback (most recent call last)",
    ],
)
def test_what_is_no_message_is_refused_before_it_is_kept(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        MessageReader().push(data)


def test_a_final_has_its_text_and_its_words() -> None:
    recognized = Recognized("grüß dich", (Word("grüß", 0.1, 0.35), Word("dich", 0.4, 0.7)))

    assert decode_final(encode_final(recognized)) == recognized


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"text": "x"}', b'{"text": "x", "words": [["a"]]}', b"\xff"])
def test_a_final_that_can_not_be_read_is_refused(content: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_final(Message(Tag.FINAL, content))
