"""`hold_model`: one call at a time per slot of a model, over all processes of a host."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import psutil
import pytest

from plexbridge.errors import ConfigError, ModelBusy
from plexbridge.model.lock import LOCK_FOLDER, hold_model

URL = "wss://gpu.example:8998/api/chat"

HOLDER = """
import sys
from plexbridge.errors import ModelBusy
from plexbridge.model.lock import hold_model
try:
    with hold_model(sys.argv[1], sessions=int(sys.argv[2])):
        print("held", flush=True)
        sys.stdin.read()
except ModelBusy:
    print("busy", flush=True)
"""


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@contextmanager
def other_process(url: str, *, sessions: int = 1) -> Iterator[subprocess.Popen[str]]:
    """Run a process that holds `url` until its standard input is closed."""
    command = [sys.executable, "-c", HOLDER, url, str(sessions)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


def first_word(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def is_free(url: str, *, sessions: int = 1) -> bool:
    try:
        with hold_model(url, sessions=sessions):
            return True
    except ModelBusy:
        return False


def test_a_model_is_held_for_the_length_of_the_block() -> None:
    with hold_model(URL):
        assert not is_free(URL)

    assert is_free(URL)


def test_a_held_model_refuses_at_once_and_does_not_name_the_address() -> None:
    with hold_model(URL), pytest.raises(ModelBusy) as caught, hold_model(f"{URL}?token=sesame"):
        pass

    assert "sesame" not in str(caught.value)


def test_a_model_may_be_freed_by_another_thread_than_held_it() -> None:
    hold = hold_model(URL)
    hold.__enter__()

    thread = Thread(target=hold.__exit__, args=(None, None, None))
    thread.start()
    thread.join()

    assert is_free(URL)


def test_a_failure_in_the_block_frees_the_model_and_passes_through() -> None:
    with pytest.raises(ZeroDivisionError), hold_model(URL):
        raise ZeroDivisionError

    assert is_free(URL)


def test_a_model_with_two_sessions_is_held_twice_and_not_three_times() -> None:
    with hold_model(URL, sessions=2):
        with hold_model(URL, sessions=2):
            assert not is_free(URL, sessions=2)
        assert is_free(URL, sessions=2)
        assert not is_free(URL, sessions=1)


def test_the_slot_that_is_freed_first_can_be_taken_again_first() -> None:
    first, second = hold_model(URL, sessions=2), hold_model(URL, sessions=2)
    first.__enter__()
    with second:
        first.__exit__(None, None, None)

        assert is_free(URL, sessions=1)


def test_nothing_stays_open_after_holding_or_being_refused() -> None:
    process = psutil.Process()
    before = process.num_fds()

    with hold_model(URL, sessions=2):
        assert process.num_fds() > before
        assert not is_free(URL, sessions=1)

    assert process.num_fds() == before


def test_files_that_are_left_behind_lock_nothing(temporary_folder: Path) -> None:
    with hold_model(URL):
        names = list((temporary_folder / LOCK_FOLDER).iterdir())
    for path in names:
        path.write_bytes(b"left behind")

    assert len(names) == 1
    assert is_free(URL)


def test_every_user_may_lock_in_the_folder_but_delete_only_their_own(temporary_folder: Path) -> None:
    with hold_model(URL):
        folder = temporary_folder / LOCK_FOLDER
        (path,) = folder.iterdir()

        assert folder.stat().st_mode & 0o7777 == 0o1777
        assert path.stat().st_mode & 0o7777 == 0o666


def test_file_names_tell_nothing_about_the_model(temporary_folder: Path) -> None:
    with hold_model("wss://gpu.example/sesame"):
        (path,) = (temporary_folder / LOCK_FOLDER).iterdir()

    assert re.fullmatch(r"[0-9a-f]{32}-0\.lock", path.name)


@pytest.mark.parametrize("kind", ["file", "link", "no folder"])
def test_a_folder_that_can_not_be_used_is_named(kind: str, temporary_folder: Path) -> None:
    folder = temporary_folder / LOCK_FOLDER
    if kind == "file":
        folder.write_text("")
    elif kind == "link":
        (temporary_folder / "elsewhere").mkdir()
        folder.symlink_to("elsewhere")
    else:
        temporary_folder.rmdir()

    with pytest.raises(ConfigError) as caught, hold_model(URL):
        pass

    (fault,) = caught.value.faults
    assert fault.startswith(f"{folder}: found a lock that can't be used (")
    assert "TMPDIR" in fault


def test_a_lock_file_that_can_not_be_opened_is_named(temporary_folder: Path) -> None:
    with hold_model(URL):
        (path,) = (temporary_folder / LOCK_FOLDER).iterdir()
    path.unlink()
    path.mkdir()

    with pytest.raises(ConfigError) as caught, hold_model(URL):
        pass

    assert caught.value.faults[0].startswith(f"{path}: found a lock that can't be used (")


@pytest.mark.live
def test_another_process_can_not_hold_a_held_model_and_can_when_it_is_free() -> None:
    with hold_model(URL), other_process(URL) as refused:
        assert first_word(refused) == "busy"

    with other_process(URL) as holder:
        assert first_word(holder) == "held"
        assert not is_free(URL)
        holder.communicate("")

    assert is_free(URL)


@pytest.mark.live
def test_the_kernel_frees_the_model_of_a_process_that_is_killed() -> None:
    with other_process(URL) as holder:
        assert first_word(holder) == "held"
        holder.kill()
        holder.wait()

        assert is_free(URL)


@pytest.mark.live
def test_three_processes_share_a_model_with_two_sessions() -> None:
    with other_process(URL, sessions=2) as one, other_process(URL, sessions=2) as two:
        words = {first_word(one), first_word(two)}
        with other_process(URL, sessions=2) as three:
            assert words == {"held"}
            assert first_word(three) == "busy"
        assert not is_free(URL, sessions=2)
        one.communicate("")
        assert is_free(URL, sessions=2)
        two.communicate("")
