"""Logging for the whole process: one handler, text or JSON lines, the session's id in each, and no secret in any.

What must never be logged (tokens, keys, prompts, transcripts, audio) is kept out where it is known: our own loggers
are never handed it, and libraries are never heard below `info`, whatever level is configured, because their details
are exactly that: trio-websocket logs each request with its query (the prompt) and each message; Discord's client logs
payloads and voice keys. `redact` is the second line of defence: a registered secret is replaced by `***` in every
line, traceback included, also in the spellings it takes in a URL, in a `repr` and in JSON.

A record is written by the task that makes it, so the disk's speed is felt: nothing is logged per packet. A record that
can't be written is counted and gives no other sign, as the place to complain would be the log.
"""

import json
import logging
import re
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Literal, TextIO
from urllib.parse import quote, quote_plus

from plexbridge.config_faults import quoted
from plexbridge.errors import ConfigError

session_id: ContextVar[str] = ContextVar("session_id", default="-")
"""The id of the conversation that the running task belongs to; tasks that it starts inherit it."""

MAX_SECRETS = 256
"""How many lasting and how many passing secrets are replaced; above it, the one registered longest ago gives way."""

MIN_SECRET_CHARS = 4
"""Shorter ones stand in every second line by chance, and are not replaced."""
MIN_CHOSEN_CHARS = 12
"""The same for what people choose: nobody is to blank the log's own words."""

MAX_MESSAGE_CHARS = 4_000
MAX_TRACEBACK_CHARS = 20_000
"""What is longer is cut: an error's text may come from a server, up to a megabyte of it."""

_OUR_LOGGER = "plexbridge"
_SPACE = re.compile(r"[\s|]+")
_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def configure(
    *,
    level: Literal["debug", "info", "warning", "error"],
    format: Literal["text", "json"],
    file: Path | None,
    stream: TextIO | None = None,
) -> None:
    """Send all logging, and Python's warnings, to `file`, else to `stream`, else to stderr; again replaces it.

    The file is appended to, and opened anew when somebody moves it away, as logrotate does. Raises `ConfigError` when
    it can't be opened; then nothing has changed.
    """
    ours = _LEVELS[level]
    libraries = max(ours, logging.WARNING) if ours > logging.DEBUG else logging.INFO
    handler = _open_file(file) if file is not None else _StderrHandler() if stream is None else _Handler(stream)
    handler.setFormatter(_TextFormatter() if format == "text" else _JsonFormatter())
    handler.addFilter(_Admission(libraries))
    root = logging.getLogger()
    _remove_own_handlers(root)
    root.addHandler(handler)
    root.setLevel(libraries)
    logging.getLogger(_OUR_LOGGER).setLevel(ours)
    logging.captureWarnings(True)


def release() -> None:
    """Undo `configure`: close the file, and leave logging as Python starts with it."""
    root = logging.getLogger()
    _remove_own_handlers(root)
    root.setLevel(logging.WARNING)
    logging.getLogger(_OUR_LOGGER).setLevel(logging.NOTSET)
    logging.captureWarnings(False)


def redact(secret: str, *, is_lasting: bool = False, is_chosen: bool = False) -> None:
    """Replace `secret` by `***` in every line from now on; registering it again makes it the newest.

    Tokens and keys are lasting: they never give way to the prompts of many conversations. What people choose is
    replaced from MIN_CHOSEN_CHARS on.
    """
    if not is_chosen or len(secret.strip()) >= MIN_CHOSEN_CHARS:
        _redactor.add(secret, is_lasting=is_lasting)


def lost_records() -> int:
    """Return how many records could not be written since `configure`."""
    return sum(handler.lost_records for handler in logging.getLogger().handlers if isinstance(handler, _Handler))


class _Secret:
    """One text that must not be read, in all the spellings that it may take in a line."""

    def __init__(self, text: str) -> None:
        words = text.split()
        spellings = {each for one in {text, " ".join(words)} for each in (one, *_encodings(one))}
        self._spellings = tuple(sorted(spellings, key=len, reverse=True))
        # A pattern of its words would take tens of milliseconds to compile for a long text.
        self._squeezed = _SPACE.sub("", text) if len(words) > 1 else ""

    def clean(self, text: str) -> str:
        """Return `text` without the secret."""
        for spelling in self._spellings:
            text = text.replace(spelling, "***")
        return self._clean_spaced(text) if self._squeezed and len(text) > len(self._squeezed) else text

    def _clean_spaced(self, text: str) -> str:
        """Replace it broken and indented in any way, too, which in an exception group is done with bars."""
        squeezed = _SPACE.sub("", text)
        start = squeezed.find(self._squeezed)
        if start < 0:
            return text
        positions = [position for position, char in enumerate(text) if not _SPACE.match(char)]
        pieces, told = [], 0
        while start >= 0:
            end = start + len(self._squeezed)
            pieces += [text[told : positions[start]], "***"]
            told = positions[end - 1] + 1
            start = squeezed.find(self._squeezed, end)
        return "".join((*pieces, text[told:]))


def _encodings(text: str) -> Iterator[str]:
    """Yield how `text` looks in a URL, in a `repr` and in JSON."""
    # A lone surrogate, as in text from a file name, has no UTF-8 form and so none in a URL.
    encoded = text.encode(errors="replace")
    yield from (quote(encoded, safe=""), quote(encoded), quote_plus(encoded))
    yield from (repr(text)[1:-1], repr(encoded)[2:-1])
    yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])


class _Redactor:
    """The registered secrets; passing ones and lasting ones apart."""

    def __init__(self) -> None:
        self._passing: OrderedDict[str, _Secret] = OrderedDict()
        self._lasting: OrderedDict[str, _Secret] = OrderedDict()

    def add(self, secret: str, *, is_lasting: bool) -> None:
        """Register `secret`, unless it is too short."""
        text = secret.strip()
        if len(text) < MIN_SECRET_CHARS:
            return
        secrets = self._lasting if is_lasting else self._passing
        secrets[text] = secrets.get(text) or _Secret(text)
        secrets.move_to_end(text)
        if len(secrets) > MAX_SECRETS:
            secrets.popitem(last=False)

    def clean(self, text: str) -> str:
        """Return `text` without the secrets; longest first, so that one inside another leaves no remainder."""
        secrets = {**self._passing, **self._lasting}
        for secret in sorted(secrets, key=len, reverse=True):
            text = secrets[secret].clean(text)
        return text


_redactor = _Redactor()
"""One for the process, as logging itself is."""


class _Admission(logging.Filter):
    """Keeps libraries above their level, even one that sets its own, and gives each record its session's id."""

    def __init__(self, libraries_level: int) -> None:
        super().__init__(_OUR_LOGGER)
        self._libraries_level = libraries_level

    def filter(self, record: logging.LogRecord) -> bool:
        record.session_id = session_id.get()
        return record.levelno >= self._libraries_level or super().filter(record)


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines to a stream. Where writing fails, logging would print the raw record to stderr: here it counts."""

    lost_records = 0

    def handleError(self, record: logging.LogRecord) -> None:  # logging calls it by this name
        self.lost_records += 1


class _StderrHandler(_Handler):
    """Writes lines to what is stderr at that moment: a live display puts itself in its place, and prints above it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class _FileHandler(WatchedFileHandler, _Handler):
    """Writes lines to a file."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:  # opening the file anew failed, which logging leaves to whoever logged something
            self.handleError(record)


class _TextFormatter(logging.Formatter):
    """One line per record, and its traceback indented below it: so no text from outside can pass for a record."""

    def format(self, record: logging.LogRecord) -> str:
        fields = _fields(self, record)
        trace = fields.pop("traceback", "")
        level = fields["level"].upper()
        line = f"{fields['time']} {level:<7} {fields['logger']} [{fields['session']}] {fields['message']}"
        return "\n".join((_one_line(line), *(f"    {_one_line(text)}" for text in trace.splitlines())))


class _JsonFormatter(logging.Formatter):
    """One JSON object per record."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_fields(self, record))


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, str]:
    """Return what is told about a record, without secrets; `traceback` only where there is one."""
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError) as error:
        message = f"a message that can't be formatted ({type(error).__name__}), {record.pathname}:{record.lineno}"
    trace = [formatter.formatException(record.exc_info)] if record.exc_info else []
    trace += [record.stack_info] if record.stack_info else []
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    fields = {
        "time": time.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": _redactor.clean(record.name),
        "session": _redactor.clean(str(getattr(record, "session_id", "-"))),
        "message": _cut(_redactor.clean(message), MAX_MESSAGE_CHARS),
    }
    if trace:
        fields["traceback"] = _cut(_redactor.clean("\n".join(trace)), MAX_TRACEBACK_CHARS)
    return fields


def _cut(text: str, limit_chars: int) -> str:
    """Return `text`, shortened to its end and beginning where it is too long: a traceback's cause stands at its end."""
    half = limit_chars // 2
    return text if len(text) <= limit_chars else f"{text[:half]} … {text[-half:]}"


def _one_line(text: str) -> str:
    """Return `text` with everything escaped that does not print: line breaks, terminal commands, lone surrogates."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _open_file(file: Path) -> _FileHandler:
    try:
        return _FileHandler(file, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        fault = f"log.file: found {quoted(str(file))} ({error.strerror}), expected a file that can be appended to"
        raise ConfigError((fault,)) from None


def _remove_own_handlers(root: logging.Logger) -> None:
    for handler in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(handler)
        handler.close()
