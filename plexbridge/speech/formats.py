"""How a transcript is written down: text, JSON lines, WebVTT. A file is its header and its lines, one after the other.

Whatever somebody is called or says, a line stays one line, and a cue one cue. WebVTT wants cues in the order in which
they begin, which is the order of `Transcript.take`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from plexbridge.speech.transcript import Kind, Line

FormatName = Literal["text", "jsonl", "vtt"]

LEAST_CUE_MS = 1
"""A cue must end after it begins."""


@dataclass(frozen=True, slots=True)
class Format:
    """A way to write a transcript down."""

    suffix: str
    """Of the file's name."""
    header: str
    """Where it begins; may be empty."""
    write: Callable[[Line], str]
    """Return a line as it is written, its end included."""


def _text(line: Line) -> str:
    """Return `[00:01:02.3] Ada: What is said.`"""
    said = f"({_plain(line.text)})" if line.kind is Kind.GAP else _plain(line.text)
    clock = _clock(_milliseconds(line.start_seconds) // 100 * 100)[:-2]
    return f"[{clock}] {_plain(line.name)}: {said}\n"


def _json(line: Line) -> str:
    entry = {
        "start": round(line.start_seconds, 3),
        "end": round(line.end_seconds, 3),
        "kind": line.kind.value,
        "name": line.name,
        "text": line.text,
    }
    written = json.dumps(entry, ensure_ascii=False)
    # There are more characters that end a line for some readers than JSON escapes.
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in written) + "\n"


def _vtt(line: Line) -> str:
    start_ms = _milliseconds(line.start_seconds)
    end_ms = max(_milliseconds(line.end_seconds), start_ms + LEAST_CUE_MS)
    said = _escaped(line.text)
    said = f"<i>({said})</i>" if line.kind is Kind.GAP else said
    return f"{_clock(start_ms)} --> {_clock(end_ms)}\n<v {_escaped(line.name)}>{said}\n\n"


FORMATS: Mapping[FormatName, Format] = {
    "text": Format(".txt", "", _text),
    "jsonl": Format(".jsonl", "", _json),
    "vtt": Format(".vtt", "WEBVTT\n\n", _vtt),
}


def _milliseconds(seconds: float) -> int:
    """Return a time as files have it, which know none before their beginning."""
    return max(0, round(seconds * 1000))


def _clock(milliseconds: int) -> str:
    minutes, rest_ms = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest_ms // 1000:02}.{rest_ms % 1000:03}"


def _plain(text: str) -> str:
    """Return text on one line, without what steers a terminal."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _escaped(text: str) -> str:
    """Return text as it stands in a cue, or in the annotation of a voice; neither may be empty."""
    plain = " ".join(_plain(text).split())
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") or "?"
