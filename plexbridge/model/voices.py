"""The voices of PersonaPlex: their names, and whether a name that somebody typed may be sent to a server.

The server joins the name to its voice folder without a check: `../x` or an absolute path leaves the folder,
and an unknown name ends the connection without a word. So a name is settled here, before any connection. The
18 voices that PersonaPlex ships are known by name; the file of an operator's own voice (`myvoice.pt`, an
embedding, or `myvoice.wav`, a recording) is taken as written: only the server can tell whether it exists.
"""

import difflib
import re
from collections.abc import Mapping

from plexbridge.errors import RequestError

VOICE_GROUPS: Mapping[str, tuple[str, ...]] = {
    "natural female": tuple(f"NATF{number}" for number in range(4)),
    "natural male": tuple(f"NATM{number}" for number in range(4)),
    "varied female": tuple(f"VARF{number}" for number in range(5)),
    "varied male": tuple(f"VARM{number}" for number in range(5)),
}
"""What a person chooses from: the group's plain name, and its voices in order."""

VOICES = tuple(voice for group in VOICE_GROUPS.values() for voice in group)

MAX_NAME_CHARS = 64
"""Limit of an own voice's file name; enough for a word and a date, and it leaves the query to the prompt."""

_OWN_FILE = re.compile(r"[A-Za-z0-9_-]+\.(?:pt|wav)")
_HARMLESS = re.compile(r"[A-Za-z0-9_.-]{1,32}")


def check_voice(name: str) -> str:
    """Return the canonical form of `name`: `NATF0` for `natf0` or `NATF0.pt`; an own voice's file unchanged.

    Raises `RequestError`, whose sentence names the nearest voices, for anything else.
    """
    known = name.upper().removesuffix(".PT")
    if known in VOICES:
        return known
    if len(name) <= MAX_NAME_CHARS and _OWN_FILE.fullmatch(name):
        return name
    raise RequestError(_refusal(name))


def voice_file(name: str) -> str:
    """Return the file name that the server knows the voice by: `NATF0.pt` for `natf0`.

    Raises `RequestError` as `check_voice` does.
    """
    voice = check_voice(name)
    return f"{voice}.pt" if voice in VOICES else voice


def _refusal(name: str) -> str:
    """Return the sentence for a name that can't be a voice; what was typed is shown only if harmless."""
    none = f'There is no voice called "{name}".' if _HARMLESS.fullmatch(name) else "There is no such voice."
    near = difflib.get_close_matches(name[:MAX_NAME_CHARS].upper(), VOICES, n=3)
    if near:
        return f"{none} Did you mean {_listed(sorted(near))}?"
    groups = ", ".join(f"{group[0]} to {group[-1]} ({kind})" for kind, group in VOICE_GROUPS.items())
    return f"{none} The voices are {groups}; an own voice is a file like myvoice.pt."


def _listed(names: list[str]) -> str:
    """Return names as one reads them out: `NATF1, NATF2 or NATF3`."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
