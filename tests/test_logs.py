"""Logging: what a line looks like, where it goes, and that no secret and no library's detail gets into it."""

import io
import json
import logging
import re
import uuid
import warnings
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Literal
from urllib.parse import quote, quote_plus, urlencode

import pytest
import trio

from plexbridge import logs
from plexbridge.errors import ConfigError
from plexbridge.logs import MAX_MESSAGE_CHARS, MAX_SECRETS, MAX_TRACEBACK_CHARS, MIN_SECRET_CHARS

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]

OURS = logging.getLogger("plexbridge.test")
LIBRARY = logging.getLogger("trio-websocket")


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    yield
    logs.release()


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def secret() -> str:
    """A secret that no earlier test has registered, with everything that is spelled differently elsewhere."""
    return f'"Zoë" (that\'s you),\na 100 % canary/parrot \\ {uuid.uuid4()}'


def configure(stream: io.StringIO, *, level: Level = "info", format: Format = "text") -> None:
    logs.configure(level=level, format=format, file=None, stream=stream)


def objects(stream: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def messages(stream: io.StringIO, format: Format) -> list[str]:
    if format == "json":
        return [fields["message"] for fields in objects(stream)]
    return [line.partition("[-] ")[2] for line in stream.getvalue().splitlines()]


def test_a_text_line_has_time_level_logger_session_and_message(stream: io.StringIO) -> None:
    configure(stream)

    OURS.info("frames %d", 5)

    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    plexbridge\.test \[-\] frames 5\n"
    assert re.fullmatch(pattern, stream.getvalue())


def test_a_json_line_has_the_same_in_fields(stream: io.StringIO) -> None:
    configure(stream, format="json")

    OURS.warning("frames %d", 5)

    (fields,) = objects(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields.pop("time"))
    assert fields == {"level": "warning", "logger": "plexbridge.test", "session": "-", "message": "frames 5"}


async def test_each_line_carries_the_session_of_its_task_and_of_the_task_that_started_that(
    stream: io.StringIO,
) -> None:
    configure(stream, format="json")

    async def stage(name: str) -> None:
        OURS.info(name)

    async def session(number: int) -> None:
        logs.session_id.set(f"s{number}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage, f"stage of {number}")

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(session, number)
    OURS.info("outside")

    sessions = {fields["message"]: fields["session"] for fields in objects(stream)}
    assert sessions == {"stage of 0": "s0", "stage of 1": "s1", "stage of 2": "s2", "outside": "-"}


@pytest.mark.parametrize(
    ("level", "from_us", "from_libraries"),
    [
        ("debug", ["debug", "info", "warning", "error"], ["info", "warning", "error"]),
        ("info", ["info", "warning", "error"], ["warning", "error"]),
        ("warning", ["warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_the_level_is_ours_and_libraries_are_never_heard_below_info(
    level: Level, from_us: list[str], from_libraries: list[str], stream: io.StringIO
) -> None:
    configure(stream, level=level, format="json")

    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        OURS.log(number, "x")
        LIBRARY.log(number, "x")

    heard = [(fields["logger"], fields["level"]) for fields in objects(stream)]
    assert [name for logger, name in heard if logger == OURS.name] == from_us
    assert [name for logger, name in heard if logger == LIBRARY.name] == from_libraries


def test_a_library_that_sets_its_own_level_is_not_heard_below_info_either(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LIBRARY, "level", logging.DEBUG)
    similar = logging.getLogger("plexbridgetools")
    monkeypatch.setattr(similar, "level", logging.DEBUG)
    configure(stream, level="debug")

    LIBRARY.debug("GET /api/chat?text_prompt=x")
    similar.debug("x")

    assert stream.getvalue() == ""


def test_python_warnings_are_logged(stream: io.StringIO) -> None:
    configure(stream, format="json")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old-fashioned", UserWarning, stacklevel=1)

    (fields,) = objects(stream)
    assert (fields["logger"], fields["level"]) == ("py.warnings", "warning")
    assert "old-fashioned" in fields["message"]


def test_configuring_again_replaces_the_first_time(tmp_path: Path, stream: io.StringIO) -> None:
    first = io.StringIO()
    configure(first)
    logs.configure(level="info", format="text", file=tmp_path / "a.log", stream=first)
    configure(stream)
    configure(stream)

    OURS.info("once")

    assert stream.getvalue().count("once") == 1
    assert first.getvalue() == (tmp_path / "a.log").read_text() == ""


def test_releasing_ends_it(stream: io.StringIO) -> None:
    configure(stream, level="debug")

    logs.release()
    OURS.error("nobody hears")

    assert stream.getvalue() == ""
    assert not OURS.isEnabledFor(logging.INFO)


def test_handlers_of_others_are_left_alone(stream: io.StringIO) -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)

    configure(stream)
    logs.release()

    assert other in logging.getLogger().handlers
    logging.getLogger().removeHandler(other)


def test_without_a_stream_it_is_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="info", format="text", file=None)

    OURS.info("here")

    captured = capsys.readouterr()
    assert ("here" in captured.err, captured.out) == (True, "")


def test_a_file_is_appended_to_and_nothing_goes_to_the_stream(
    tmp_path: Path, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest's handlers keep the line for its report, which a worker can't send when it is no Unicode.
    path = tmp_path / "a.log"
    path.write_text("before\n")
    with monkeypatch.context() as patch:
        patch.setattr(logging.getLogger(), "handlers", [])
        logs.configure(level="info", format="text", file=path, stream=stream)
        OURS.info("Zoë \udce9")
        logs.release()

    lines = path.read_text(encoding="utf-8").splitlines()
    assert (len(lines), lines[0], stream.getvalue()) == (2, "before", "")
    assert lines[1].endswith("Zoë \\udce9")


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path, stream: io.StringIO) -> None:
    path = tmp_path / "a.log"
    logs.configure(level="info", format="text", file=path, stream=stream)
    OURS.info("one")

    path.rename(tmp_path / "a.log.1")
    OURS.info("two")

    assert path.read_text().endswith("two\n")
    assert (tmp_path / "a.log.1").read_text().endswith("one\n")


def test_a_file_that_can_not_be_opened_is_a_fault_and_changes_nothing(tmp_path: Path, stream: io.StringIO) -> None:
    configure(stream)

    with pytest.raises(ConfigError) as caught:
        logs.configure(level="error", format="json", file=tmp_path / "none" / "a.log", stream=stream)

    (fault,) = caught.value.faults
    assert fault.startswith(f'log.file: found "{tmp_path / "none" / "a.log"}" (')
    OURS.info("still there")
    assert "INFO    plexbridge.test [-] still there" in stream.getvalue()


def test_records_that_can_not_be_written_are_counted_and_shown_nowhere(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(stream)
    stream.close()

    OURS.info("%s", "sesame")
    OURS.info("%s", "sesame")

    assert logs.lost_records() == 2
    assert capsys.readouterr() == ("", "")


def test_a_file_whose_folder_has_gone_costs_records_and_no_conversation(tmp_path: Path, stream: io.StringIO) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    logs.configure(level="info", format="text", file=folder / "a.log", stream=stream)
    folder.rename(tmp_path / "elsewhere")

    OURS.info("lost")

    assert logs.lost_records() == 1


def test_a_message_that_can_not_be_formatted_is_named_by_its_place_without_its_arguments(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without pytest's own handlers, which answer a faulty record with an exception.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    configure(stream)

    OURS.info("%d frames", "sesame")

    assert "a message that can't be formatted (TypeError)" in stream.getvalue()
    assert f"{Path(__file__).name}:" in stream.getvalue()
    assert "sesame" not in stream.getvalue() + "".join(capsys.readouterr())


def test_a_traceback_is_indented_below_its_line(stream: io.StringIO) -> None:
    configure(stream)

    try:
        raise ValueError("forged\n2026-11-20T00:00:00.000Z INFO    plexbridge [-] all is well")
    except ValueError:
        OURS.exception("it failed")

    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("ERROR   plexbridge.test [-] it failed")
    assert rest[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in rest)


def test_a_traceback_and_a_stack_are_one_field_of_a_json_line(stream: io.StringIO) -> None:
    configure(stream, format="json")

    try:
        raise ValueError("deep cause")
    except ValueError:
        OURS.error("it failed", exc_info=True, stack_info=True)

    (fields,) = objects(stream)
    assert "ValueError: deep cause" in fields["traceback"]
    assert "Stack (most recent call last)" in fields["traceback"]


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\x1b[31mb", "a\x85b", "a\u2028b", "a\x00b", "a\u202eb"])
def test_text_from_outside_can_neither_forge_a_line_nor_command_the_terminal(text: str, stream: io.StringIO) -> None:
    configure(stream)

    OURS.info("the server says %s", text)

    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    assert line.endswith("b")


@pytest.mark.parametrize("format", ["text", "json"])
def test_overlong_messages_and_tracebacks_are_cut(format: Format, stream: io.StringIO) -> None:
    configure(stream, format=format)

    try:
        raise ValueError("Q" * 1_000_000)
    except ValueError:
        OURS.exception("Z" * 1_000_000 + "end")

    text = stream.getvalue()
    assert MAX_MESSAGE_CHARS + MAX_TRACEBACK_CHARS < len(text) < MAX_MESSAGE_CHARS + MAX_TRACEBACK_CHARS + 500
    assert "Zend" in text


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_secret_is_in_no_line_in_any_spelling(format: Format, secret: str, stream: io.StringIO) -> None:
    configure(stream, level="debug", format=format)
    logs.redact(secret)
    one_line = " ".join(secret.split())

    OURS.debug("as it is: %s", secret)
    OURS.info("on one line: %s", one_line)
    OURS.info("repr: %r and %r and %r", secret, one_line, secret.encode())
    OURS.info("URL: %s", urlencode({"text_prompt": secret, "x": one_line}))
    OURS.info("URL: %s %s %s", quote(secret), quote(secret, safe=""), quote_plus(one_line))
    OURS.info("JSON: %s %s", json.dumps({"x": secret}), json.dumps([secret], ensure_ascii=False))
    LIBRARY.warning("GET /api/chat?text_prompt=%s HTTP/1.1", quote_plus(secret))
    logging.getLogger(secret).warning("in the name")
    try:
        raise ExceptionGroup("group", [ValueError(secret), KeyError(secret)])
    except ExceptionGroup:
        OURS.exception("in a traceback")

    written = stream.getvalue()
    assert "canary" not in written
    assert secret.split()[-1] not in written
    assert messages(stream, format)[:7] == [
        "as it is: ***",
        "on one line: ***",
        "repr: '***' and '***' and b'***'",
        "URL: text_prompt=***&x=***",
        "URL: *** *** ***",
        'JSON: {"x": "***"} ["***"]',
        "GET /api/chat?text_prompt=*** HTTP/1.1",
    ]


def test_a_secret_in_the_session_id_is_redacted(secret: str, stream: io.StringIO) -> None:
    configure(stream)
    logs.redact(secret)

    def session() -> None:
        logs.session_id.set(secret)
        OURS.info("x")

    copy_context().run(session)

    assert "[***] x" in stream.getvalue()


def test_a_secret_within_a_longer_one_leaves_no_remainder(secret: str, stream: io.StringIO) -> None:
    configure(stream)
    logs.redact(secret[:20])
    logs.redact(secret)
    logs.redact(secret[10:])

    OURS.info("<%s>", secret)

    assert "[-] <***>" in stream.getvalue()


def test_what_is_too_short_to_be_a_secret_is_not_replaced(stream: io.StringIO) -> None:
    configure(stream)
    logs.redact("q" * (MIN_SECRET_CHARS - 1))
    logs.redact(" " * 10)
    logs.redact("z" * MIN_SECRET_CHARS)

    OURS.info("%s %s          .", "q" * (MIN_SECRET_CHARS - 1), "z" * MIN_SECRET_CHARS)

    assert "[-] qqq ***          ." in stream.getvalue()


def test_above_the_limit_the_secret_registered_longest_ago_gives_way_but_no_lasting_one(
    secret: str, stream: io.StringIO
) -> None:
    configure(stream)
    logs.redact(f"{secret} token", is_lasting=True)
    for number in range(MAX_SECRETS):
        logs.redact(f"{secret} prompt {number:03d}")
    logs.redact(f"{secret} prompt 000")
    logs.redact(f"{secret} prompt new")

    for name in ("token", "prompt 000", "prompt 001", "prompt 002", "prompt new"):
        OURS.info("%s: %s", name.replace(" ", "-"), f"{secret} {name}")

    shown = [line.partition("[-] ")[2].partition(": ") for line in stream.getvalue().splitlines()]
    assert [name for name, _, text in shown if text != "***"] == ["prompt-001"]


def test_a_secret_broken_over_lines_in_any_way_leaves_no_remainder(secret: str, stream: io.StringIO) -> None:
    configure(stream)
    logs.redact(secret)

    OURS.info("<%s> and <%s>", "\n  | ".join(secret.split()), "\t".join(secret.split()))

    assert "[-] <***> and <***>" in stream.getvalue()


def test_what_people_choose_can_not_blank_the_words_of_the_log(stream: io.StringIO) -> None:
    configure(stream)
    logs.redact("left alone", is_chosen=True)
    logs.redact("you are a kind goat", is_chosen=True)

    OURS.info("left alone: you are a kind goat")

    assert "[-] left alone: ***" in stream.getvalue()
