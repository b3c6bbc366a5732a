"""What both dialects send: the handshake, audio and text, each with its faults."""

# mypy: disable-error-code="import-not-found"

import struct
from collections.abc import Awaitable, Callable

from tests.interop.connection import Connection
from tests.interop.echo_model import EPAD, PAD, EchoModel, ModelFailure
from tests.interop.flags import Flags
from tests.interop.observer import Observer
from tests.interop.tampering import ERROR, ERROR_TEXT, METADATA_MESSAGE, TEXT, Tampering

HANDSHAKE = b"\x00"
VERSIONS = struct.pack("<II", 1, 1)
"""Protocol and model version, which kyutai's Rust server adds to the handshake."""

WORD_MARK = "▁"
"""SentencePiece's mark for the beginning of a word."""


class Downlink:
    """The sending half of one session."""

    def __init__(self, connection: Connection, model: EchoModel, flags: Flags, observer: Observer) -> None:
        self._connection = connection
        self._model = model
        self._flags = flags
        self._observer = observer
        self._tampering = Tampering(flags)

    async def shake_hands(self, is_alive: Callable[[], Awaitable[bool]]) -> bool:
        """Send the handshake; return False when the flags end the connection here."""
        flags = self._flags
        while flags.never_handshake:
            if not await is_alive():
                return False
        if flags.metadata_first:
            await self._connection.send(METADATA_MESSAGE)
        if flags.error_kind == "before":
            await self._connection.send(ERROR + ERROR_TEXT.encode())
            await self._connection.close()
            return False
        if flags.close_before_handshake:
            await self._connection.close(flags.close_before_handshake)
            return False
        await self._connection.send(HANDSHAKE + VERSIONS[: flags.handshake_bytes])
        with self._observer.update() as state:
            state.handshakes += 1
        return True

    async def send_audio(self, data: bytes) -> None:
        """Send whole Ogg pages; raises `ModelFailure` after an error text."""
        for message in self._tampering.messages(data):
            await self._connection.send(message)
        if self._tampering.is_fatal_error_due:
            await self._connection.send(ERROR + ERROR_TEXT.encode())
            raise ModelFailure(ERROR_TEXT)

    async def send_text(self, token: int) -> None:
        """Send the piece of a text token; two tokens have none."""
        if token in (EPAD, PAD):
            with self._observer.update() as state:
                state.tokens_suppressed += 1
            return
        piece = self._model.piece(token).replace(WORD_MARK, " ")
        await self._connection.send(TEXT + piece.encode())
        with self._observer.update() as state:
            state.pieces_sent += 1
