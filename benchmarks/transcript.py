"""What people see in a voice channel's chat, read from the record of a loopback Discord: a pure core.

A message that is edited later stands once, at the time of its first writing, with its last text and the time of that.
An answer to a command that only one person sees says so. What happens beside the chat, and what is measured, comes as
lines of the caller's own. Texts look as Discord shows them: mentions are names, and escapes and bold type are gone.
"""

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from plexbridge.audio.opus import Decoder
from plexbridge.audio.pcm import PEOPLE_RATE_HZ
from tests.discord_server.control import RecordEntry

WIDTH_CHARS = 118
WHO_CHARS = 12
SOUND_LEVEL = 0.01
"""Root mean square of a packet that holds sound; between words there is less."""

_VISITS = {"joins": "enters", "leaves": "leaves"}
_ID = re.compile(r"\d{10,}")
_TOKEN = re.compile(r"(?<=/<id>/)[\w-]{20,}")
_DECORATION = re.compile(r"\*\*|\\(?=[\\*_~`|<>#\[\]-])")


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is seen or heard."""

    at_seconds: float
    text: str
    who: str = ""
    """Who types or writes it; nobody when it is something that happens."""
    until_seconds: float | None = None
    """When its text was last changed."""
    only_for: str = ""
    """Who alone sees it; nobody when all in the channel do."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One Opus packet, at the time when it was sent or heard."""

    at_seconds: float
    opus: bytes


def chat_lines(entries: Iterable[RecordEntry], names: Mapping[int, str], bot_id: int, channel_id: int) -> list[Line]:
    """Return what a channel's chat shows, and who enters and leaves it, in order; `names` are of users and channels."""
    lines: dict[int, Line] = {}
    place = None
    for entry in entries:
        data = entry.data
        kind, name = entry.kind, entry.name
        if kind == "interaction" and name == "created":
            lines[-entry.index] = Line(entry.at_seconds, data["content"], data["user_name"])
        elif kind == "interaction" and data.get("is_ephemeral") and data["content"]:
            known = lines.get(data["message_id"], Line(entry.at_seconds, "", names[bot_id], only_for=data["user_name"]))
            lines[data["message_id"]] = replace(known, text=_shown(data["content"], names))
        elif kind == "message" and name in ("posted", "edited"):
            known = lines.get(data["message_id"], Line(entry.at_seconds, "", names[data["user_id"]]))
            until_seconds = entry.at_seconds if known.text else None
            lines[data["message_id"]] = replace(known, text=_shown(data["content"], names), until_seconds=until_seconds)
        elif kind == "person" and name in _VISITS:
            what = f"{data['user_name']} {_VISITS[name]} #{names[channel_id]}."
            lines[-entry.index] = Line(entry.at_seconds, what)
        elif kind == "voice" and name == "state" and data["user_id"] == bot_id and data["channel_id"] != place:
            place = data["channel_id"]
            what = f"{names[bot_id]} {'enters' if place == channel_id else 'leaves'} #{names[channel_id]}."
            lines[-entry.index] = Line(entry.at_seconds, what)
    return list(lines.values())


def render(lines: Iterable[Line], start_seconds: float) -> list[str]:
    """Return the transcript, oldest line first, with times from `start_seconds` on."""
    rows = []
    for line in sorted(lines, key=lambda each: each.at_seconds):
        notes = [f"only {line.only_for} sees this"] if line.only_for else []
        if line.until_seconds is not None:
            notes.append(f"edited until {line.until_seconds - start_seconds:.1f} s")
        text = (f"[{', '.join(notes)}] " if notes else "") + line.text
        head = f"{line.at_seconds - start_seconds:5.1f} s  {line.who:<{WHO_CHARS}}"
        for paragraph in text.splitlines():
            rows += textwrap.wrap(
                paragraph, WIDTH_CHARS, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False
            )
            head = " " * len(head)
    return [row.rstrip() for row in rows]


def requests(entries: Iterable[RecordEntry]) -> Counter[str]:
    """Return how often the bot sent which REST request, ids and tokens left out."""
    names = (_ID.sub("<id>", entry.name) for entry in entries if entry.kind == "rest")
    return Counter(_TOKEN.sub("<token>", name) for name in names)


def sound_seconds(packets: Iterable[Spoken]) -> list[float]:
    """Return the times of the packets that hold sound."""
    times = []
    with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
        for packet in sorted(packets, key=lambda each: each.at_seconds):
            samples = decoder.decode(packet.opus)
            if float((samples**2).mean()) ** 0.5 >= SOUND_LEVEL:
                times.append(packet.at_seconds)
    return times


def _shown(text: str, names: Mapping[int, str]) -> str:
    """Return a message as Discord shows it."""
    text = re.sub(r"<#(\d+)>", lambda found: f"#{names[int(found[1])]}", text)
    text = re.sub(r"<@(\d+)>", lambda found: f"@{names[int(found[1])]}", text)
    return _DECORATION.sub("", text)
