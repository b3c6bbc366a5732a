"""The faults of what the server sends: pages damaged, lost, cut and joined, and messages that nobody ordered.

Pure: audio bytes in, messages out. The two header pages are left alone; a fault that hits them is no other fault than
a session that never begins.
"""

import json
from collections.abc import Iterator
from dataclasses import replace

from tests.interop.flags import Flags
from tests.interop.pages import Page, parse_pages

AUDIO, TEXT, METADATA, ERROR = b"\x01", b"\x02", b"\x04", b"\x05"
"""Kinds of messages, by their first byte; 0 is the handshake."""

ERROR_TEXT = "out of memory in layer 17"
"""What a message of kind 5 says; no person should have to read it."""

ERROR_AFTER_MESSAGES = 5
BIG_MESSAGE_BYTES = 2 * 1024 * 1024
BIG_MESSAGE_AFTER_MESSAGES = 8
HEADER_PAGES = 2
PAYLOAD_OFFSET_TO_DAMAGE = 40
PARTS_OF_A_SPLIT_PAGE = 3

METADATA_MESSAGE = METADATA + json.dumps({"model": "interop", "version": 1}).encode()

GARBAGE: tuple[bytes | str, ...] = (
    b"",
    b"\x03\x01",
    METADATA_MESSAGE,
    ERROR + b"a passing warning",
    b"\x06",
    b"\x07\x02coloured text",
    b"\x08\xff\xd8\xff\xe0 no image",
    b"\x09" + bytes(range(64)),
    b"\x0a",
    b"\x7f" + b"\x00" * 500,
    b"\xff",
    "a text frame",
    "",
    AUDIO,
    TEXT,
)
"""What `--garbage-kinds` sends, one after every audio message, in turn."""


class Tampering:
    """The messages of one session, with the faults that the flags ask for."""

    def __init__(self, flags: Flags) -> None:
        self._flags = flags
        self._pages = 0
        self._messages = 0
        self._held: list[bytes] = []

    def messages(self, data: bytes) -> Iterator[bytes | str]:
        """Yield what to send for the whole pages in `data`."""
        if not self._touches_pages():
            yield from self._with_garbage(data)
            return
        for page in parse_pages(data):
            self._pages += 1
            if self._pages <= HEADER_PAGES:
                yield from self._with_garbage(page.encode())
                continue
            changed = self._changed(page, self._pages - HEADER_PAGES)
            for part in self._grouped(changed):
                yield from self._with_garbage(part)

    @property
    def is_fatal_error_due(self) -> bool:
        """Whether the error text of `--error-kind during` is to be sent now."""
        return self._flags.error_kind == "during" and self._messages >= ERROR_AFTER_MESSAGES

    def _touches_pages(self) -> bool:
        flags = self._flags
        counts = (flags.damage_pages, flags.lose_pages, flags.join_pages, flags.zero_length_packet)
        return flags.split_pages or any(counts)

    def _changed(self, page: Page, number: int) -> bytes:
        """Return the page as it is to be sent; nothing when it is to be lost."""
        flags = self._flags
        if flags.lose_pages and number % flags.lose_pages == 0:
            return b""
        if flags.zero_length_packet and number % flags.zero_length_packet == 0:
            return replace(page, lacing=page.lacing + b"\x00").encode()
        data = page.encode()
        if flags.damage_pages and number % flags.damage_pages == 0:
            at = PAYLOAD_OFFSET_TO_DAMAGE
            return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
        return data

    def _grouped(self, page: bytes) -> Iterator[bytes]:
        flags = self._flags
        if flags.split_pages and page:
            size = -(-len(page) // PARTS_OF_A_SPLIT_PAGE)
            yield from (page[start : start + size] for start in range(0, len(page), size))
        elif flags.join_pages:
            self._held.append(page)
            if len(self._held) >= flags.join_pages:
                yield b"".join(self._held)
                self._held.clear()
        elif page:
            yield page

    def _with_garbage(self, audio: bytes) -> Iterator[bytes | str]:
        yield AUDIO + audio
        if self._flags.garbage_kinds:
            yield GARBAGE[self._messages % len(GARBAGE)]
        self._messages += 1
        if self._flags.big_message and self._messages == BIG_MESSAGE_AFTER_MESSAGES:
            yield bytes([self._flags.big_message]) + b"x" * (BIG_MESSAGE_BYTES - 1)
