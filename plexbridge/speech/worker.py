"""A process that decodes speech: `python -m plexbridge.speech.worker`, started by `embedded` and spoken to in `frames`.

It is a process because a decoder keeps the interpreter to itself for up to 200 ms, ten times as long as audio can wait,
and because a library that crashes must not take a conversation along. It yields to everything else on the machine, and
ends with its standard input.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from plexbridge.errors import SpeechError
from plexbridge.speech.decoders import Decoder, SherpaDecoder, SphinxDecoder
from plexbridge.speech.frames import Message, MessageReader, Tag, encode_final

NICENESS = 5
"""Transcription may be late; audio may not. A third of what others get is still more than speech needs."""
READ_BYTES = 65_536


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is plexbridge's to answer
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    # What a library prints must not get between the messages.
    to_plexbridge = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    try:
        serve(sys.stdin.buffer, to_plexbridge)
    except BrokenPipeError:
        os._exit(0)  # plexbridge is gone; there is nobody to tell


def serve(from_plexbridge: BinaryIO, to_plexbridge: BinaryIO) -> None:
    """Answer messages until there are no more."""

    def send(message: Message) -> None:
        to_plexbridge.write(message.encoded())
        to_plexbridge.flush()

    messages = _messages(from_plexbridge)
    setup = next(messages, None)
    if setup is None:
        return
    try:
        decoder = _load(json.loads(setup.content))
    except SpeechError as error:
        send(Message(Tag.BROKEN, str(error).encode()))
        return
    send(Message(Tag.READY, decoder.description.encode()))
    shown = ""
    for message in messages:
        if message.tag is Tag.BEGIN:
            shown = ""
            decoder.begin()
        elif message.tag is Tag.SOUND:
            text = decoder.feed(message.content)
            if text and text != shown:
                shown = text
                send(Message(Tag.PARTIAL, text.encode()))
        elif message.tag is Tag.END:
            send(encode_final(decoder.end()))


def _load(setup: dict[str, str]) -> Decoder:
    if "sherpa" in setup:
        return SherpaDecoder(Path(setup["sherpa"]))
    return SphinxDecoder(Path(setup["grammar"]) if "grammar" in setup else None)


def _messages(file: BinaryIO) -> Iterator[Message]:
    reader = MessageReader()
    while data := os.read(file.fileno(), READ_BYTES):
        yield from reader.push(data)


if __name__ == "__main__":
    main()
