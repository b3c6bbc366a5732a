"""The command line of the test server, as one frozen object.

Each field of `Flags` is one flag; `defect` fields are the faults that a client has to survive. All faults are real:
they happen on the server's side of the socket, and the client under test is not told.
"""

import argparse
from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any


def _flag(default: Any, description: str, *, bare: Any = None, defect: bool = False) -> Any:
    """Describe one flag; `bare` is its value when it is given without one."""
    return field(default=default, metadata={"help": description, "bare": bare, "defect": defect})


def _fault(default: Any, description: str, *, bare: Any = None) -> Any:
    return _flag(default, description, bare=bare, defect=True)


@dataclass(frozen=True, slots=True)
class Flags:
    """How one server process behaves; the defaults are a healthy PersonaPlex server with a very fast model."""

    host: str = _flag("127.0.0.1", "address to listen on")
    port: int = _flag(0, "port to listen on; 0 takes a free one")
    mode: str = _flag("echo", "what the model says; echo returns each 80 ms of the caller's audio")
    dialect: str = _flag("personaplex", "personaplex (sphn 0.1) or moshi (sphn 0.2)")
    voices: str = _flag("NATF0.pt,NATF1.pt,NATM0.pt", "voice prompt files that exist, by name")
    broken_voices: str = _flag("", "voice prompt files that exist and can't be loaded, by name")
    voice_steps: int = _flag(4, "least number of model steps that a voice prompt takes")
    prompt_seconds: float = _flag(0.0, "model time that a voice prompt takes, in steps of at most 80 ms")
    step_seconds: float = _flag(0.0, "model time of one 80 ms step in the session")
    speed: float = _flag(0.0, "steps per 80 ms at most, 0.95 is slower than real time; 0 sets no limit")
    text_every: int = _flag(6, "a text piece every so many frames; 0 sends none")
    byte_pieces: bool = _flag(False, "let the text hold an emoji, as byte-fallback pieces")
    tls: bool = _flag(False, "serve wss:// with --cert and --key")
    cert: str = _flag("", "path of the certificate, PEM")
    key: str = _flag("", "path of the private key, PEM")
    faulty_sessions: int = _flag(-1, "only the first so many sessions have the faults below; -1 is all of them")

    never_handshake: bool = _fault(False, "stay in the prompt for ever")
    close_before_handshake: int = _fault(0, "close with this code instead of the handshake; 1006 resets", bare=1000)
    metadata_first: bool = _fault(False, "send metadata (kind 4) before the handshake")
    handshake_bytes: int = _fault(0, "payload bytes of the handshake, 0 or 8", bare=8)
    error_kind: str = _fault("", "send an error text (kind 5) and close: before or during the session", bare="during")
    garbage_kinds: bool = _fault(False, "kinds 3-9, unknown kinds, empty messages and text frames among the audio")
    damage_pages: int = _fault(0, "flip a byte in every so manyth audio page", bare=10)
    lose_pages: int = _fault(0, "drop every so manyth audio page", bare=10)
    split_pages: bool = _fault(False, "send each page in three messages")
    join_pages: int = _fault(0, "send so many pages in one message", bare=3)
    zero_length_packet: int = _fault(0, "add a zero-length packet to every so manyth audio page", bare=10)
    big_message: int = _fault(0, "send one message of 2 MiB of this kind in the session", bare=2)
    hang_after: float = _fault(0.0, "stop processing after so many seconds, but go on reading the socket")
    freeze_after: float = _fault(0.0, "block the whole server after so many seconds; connections stay open")
    hang_on_close: bool = _fault(False, "never answer a close frame")
    die_after: float = _fault(0.0, "reset the connection after so many seconds")
    close_1000_after: float = _fault(0.0, "fail in the model after so many seconds, which closes with 1000")

    def without_faults(self) -> "Flags":
        """Return the same server without its defects."""
        healthy: dict[str, Any] = {each.name: each.default for each in fields(self) if each.metadata["defect"]}
        return replace(self, **healthy)


CHOICES = {"mode": ("echo",), "dialect": ("personaplex", "moshi"), "error_kind": ("", "before", "during")}


def _add(parser: argparse.ArgumentParser, flag: Field[Any]) -> None:
    name = "--" + flag.name.replace("_", "-")
    description = flag.metadata["help"]
    if flag.default is False:
        parser.add_argument(name, action="store_true", help=description)
        return
    bare = flag.metadata["bare"]
    parser.add_argument(
        name,
        type=type(flag.default),
        default=flag.default,
        const=bare,
        nargs=None if bare is None else "?",
        choices=CHOICES.get(flag.name),
        help=description,
    )


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Read the command line; like argparse, print the fault and exit with 2 when it is wrong."""
    parser = argparse.ArgumentParser(prog="tests.interop.server", description=__doc__)
    for flag in fields(Flags):
        _add(parser, flag)
    flags = Flags(**vars(parser.parse_args(arguments)))
    if flags.tls and not (flags.cert and flags.key):
        parser.error("--tls needs --cert and --key")
    return flags
