"""The database underneath: faults when it is opened and later, cancellation, and a database that hangs."""

import logging
import resource
import sys
import tempfile
import traceback
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

from plexbridge.errors import ConfigError, StoreError
from plexbridge.store import database
from plexbridge.store.settings import PersonSettings, open_store
from tests.store.disk import locked, read, write, write_protected

ANNA = "discord:1"
PROMPT = "sesame"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


async def fault_at(url: str) -> str:
    with pytest.raises(ConfigError) as caught:
        async with open_store(url):
            pass  # pragma: no cover - it is not opened
    (fault,) = caught.value.faults
    assert len(fault.splitlines()) == 1
    return fault


async def test_a_damaged_file_is_refused_and_left_as_it_is(path: Path, url: str) -> None:
    write(path, "no database " * 100)

    assert await fault_at(url) == (
        f'store.url: found a damaged database, or none of SQLite at "{url}", expected one that plexbridge made: '
        "restore it, or move it away to begin with an empty one"
    )
    assert read(path) == b"no database " * 100


async def test_a_file_with_a_damaged_page_is_refused(path: Path, url: str) -> None:
    async with open_store(url) as store:
        await store.set_voice(ANNA, "NATM1")
    content = bytearray(read(path))
    content[100:4096] = b"\xff" * (4096 - 100)  # the table of tables, behind the header
    write(path, bytes(content))

    assert (await fault_at(url)).startswith(f'store.url: found a damaged database at "{url}", expected one that ')


async def test_a_missing_folder_a_directory_and_a_locked_file_are_refused(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    write(path, "")

    assert (await fault_at(f"sqlite:///{tmp_path}/none/a.db")).startswith("store.url: found no folder ")
    assert (await fault_at(f"sqlite:///{tmp_path}")).startswith("store.url: found something that is no file at ")
    with locked(path):
        assert "found a database that another program keeps locked" in await fault_at(f"sqlite:///{path}")


async def test_a_file_that_can_not_be_written_is_refused() -> None:
    # Not in pytest's own folder, which only its owner may enter.
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/a.db"
        async with open_store(url):
            pass

        with write_protected(Path(folder, "a.db")):
            fault = await fault_at(url)

    assert fault.startswith("store.url: found a ")
    assert fault.endswith("expected read and write access to the file and its folder: correct their owner or mode")


async def test_an_unusable_address_and_a_missing_driver_are_refused_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    assert await fault_at("mysql://me:sesame@h/db") == (
        "store.url: found what is no address of a database, expected sqlite:///FILE or "
        "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
    )
    assert await fault_at("postgresql+psycopg://me:sesame@h/db") == (
        'store.url: found PostgreSQL without its driver at "postgresql+psycopg://***@h/db", expected psycopg: '
        'pip install "psycopg[binary]"'
    )


async def test_a_failure_later_is_told_without_what_was_to_be_stored(
    path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    async with open_store(url) as store:
        with locked(path), pytest.raises(StoreError) as caught:
            await store.set_prompt(ANNA, PROMPT)

        assert str(caught.value) == "the database failed: SQLITE_BUSY"
        assert caught.value.user_message == "Your settings can't be saved or read at the moment."
        assert PROMPT not in "".join(traceback.format_exception(caught.value))
        await store.set_prompt(ANNA, "later")
        assert (await store.load(ANNA)).prompt == "later"


async def test_a_disk_without_room_fails_the_change_and_not_the_store(url: str) -> None:
    async with open_store(url) as store:
        await store.set_voice(ANNA, "NATM1")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            with pytest.raises(StoreError, match="the database failed: SQLITE_"):
                await store.set_prompt(ANNA, "x" * 100_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        assert await store.load(ANNA) == PersonSettings(voice="NATM1")
        await store.set_prompt(ANNA, "short")
        assert await store.load(ANNA) == PersonSettings("NATM1", "short")


async def test_text_that_is_no_unicode_is_refused(url: str) -> None:
    async with open_store(url) as store:
        with pytest.raises(StoreError, match="no Unicode"):
            await store.set_prompt(ANNA, "half of a pair \ud800")

        assert await store.load(ANNA) == PersonSettings()


async def test_a_change_that_was_cancelled_while_it_waited_never_happens(path: Path, url: str) -> None:
    async with open_store(url) as store:
        with locked(path), trio.move_on_after(0.1) as waiting:
            await store.set_voice(ANNA, "given up")
        assert waiting.cancelled_caught
        await store.set_voice(ANNA, "confirmed")

    async with open_store(url) as store:  # closing has waited for the thread of the one that was cancelled
        assert await store.load(ANNA) == PersonSettings("confirmed")


async def test_changes_that_are_cancelled_at_any_moment_have_happened_or_not_when_they_return(url: str) -> None:
    people = [f"discord:{number}" for number in range(60)]
    async with open_store(url) as store:
        at_once = []
        for number, person in enumerate(people):
            with trio.move_on_after(number * 0.000_05):
                await store.set_voice(person, "NATM1")
            at_once.append(await store.load(person))

    async with open_store(url) as store:
        assert [await store.load(person) for person in people] == at_once
    assert at_once[0] == PersonSettings()


async def test_a_database_that_hangs_delays_only_its_caller_who_is_told_so(
    path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "ANSWER_SECONDS", 0.5)
    async with open_store(url) as store:
        with locked(path):
            with pytest.raises(StoreError) as caught:
                await store.set_voice(ANNA, "NATM1")
            with trio.fail_after(2):
                assert await store.load(ANNA) == PersonSettings()

        assert str(caught.value) == "the database gave no answer for 0.5 s"


async def test_closing_waits_for_a_database_that_hangs_but_not_for_ever(
    path: Path, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(database, "CLOSE_SECONDS", 0.2)
    with ExitStack() as stack, trio.fail_after(2):
        async with open_store(url) as store:
            stack.enter_context(locked(path))
            with trio.move_on_after(0.1):
                await store.set_voice(ANNA, "NATM1")

    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "the database does not answer; it is left without waiting any longer"
    ]
