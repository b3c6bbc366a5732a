"""The file of a SQLite database: found or made, or one line that says why not."""

import os
import stat
from pathlib import Path

import pytest

from plexbridge.errors import ConfigError
from plexbridge.store.address import SqliteAddress
from plexbridge.store.file import find_file, make_file


def fault_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        find_file(SqliteAddress(path))
    with pytest.raises(ConfigError) as again:
        make_file(SqliteAddress(path))
    assert caught.value.faults == again.value.faults
    (fault,) = caught.value.faults
    return fault


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_looking_for_a_file_makes_none(tmp_path: Path) -> None:
    assert not find_file(SqliteAddress(tmp_path / "a.db"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_made_for_nobody_elses_eyes(tmp_path: Path) -> None:
    address = SqliteAddress(tmp_path / "a.db")

    make_file(address)

    assert find_file(address)
    assert mode_of(address.path) == 0o600


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_text("content")
    path.chmod(0o640)

    make_file(SqliteAddress(path))

    assert (path.read_text(), mode_of(path)) == ("content", 0o640)


def test_a_link_that_leads_to_nothing_yet_is_followed(tmp_path: Path) -> None:
    link, target = tmp_path / "a.db", tmp_path / "b.db"
    link.symlink_to(target)

    make_file(SqliteAddress(link))

    assert link.is_symlink()
    assert mode_of(target) == 0o600


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "none"

    assert fault_of(folder / "a.db") == (
        f'store.url: found no folder "{folder}", expected one: make it, or name another place'
    )


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert fault_of(tmp_path / "file" / "a.db").startswith(f'store.url: found no folder "{tmp_path}/file", ')


def test_a_directory_or_a_pipe_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")

    for path in tmp_path.iterdir():
        assert fault_of(path) == (
            f'store.url: found something that is no file at "sqlite:///{path}", expected a database file: '
            "name another place"
        )


@pytest.mark.parametrize(
    ("name", "reason"), [("x" * 300, "File name too long"), ("loop", "Too many levels of symbolic links")]
)
def test_a_name_that_can_not_be_used_is_named_with_the_reason(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")

    assert fault_of(tmp_path / name) == (
        f'store.url: found a file that can\'t be made or written ({reason}) at "sqlite:///{tmp_path / name}", '
        "expected read and write access to the file and its folder: correct their owner or mode"
    )


def test_a_folder_that_takes_no_files_is_named() -> None:
    # Not even from root, whom no mode keeps out of a folder.
    with pytest.raises(ConfigError, match=r"^store.url: found a file that can't be made or written \("):
        make_file(SqliteAddress(Path("/proc/plexbridge.db")))


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_file_or_folder_without_write_access_is_named(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.db"
    path.touch()
    locked = path if what == "file" else tmp_path
    # Asked for, since root may write everywhere: see test_database for a real one.
    monkeypatch.setattr(os, "access", lambda each, mode: each != locked)

    assert "a.db" in fault_of(path)
    assert "(Permission denied)" in fault_of(path)
