"""The folder of recordings, on a real disk: what is deleted, and what never is."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from plexbridge.errors import ConfigError
from plexbridge.recording.index import folder_name
from plexbridge.recording.keeping import Keeping, Swept, prepare_folder, sweep

NOW = datetime(2026, 11, 21, 12, 0, 5, 0, UTC)


def make(folder: Path, days_ago: float, size_bytes: int = 1_000, *, changed_days_ago: float | None = None) -> Path:
    """Make a recording."""
    started = NOW - timedelta(days=days_ago)
    path = folder / folder_name(started, "discord-1-10")
    path.mkdir()
    changed = (NOW - timedelta(days=days_ago if changed_days_ago is None else changed_days_ago)).timestamp()
    for name, content in {"Ada-discord_1.opus": bytes(size_bytes), "recording.json": b"{}"}.items():
        (path / name).write_bytes(content)
        os.utime(path / name, (changed, changed))
    return path


def keeping(folder: Path, *, keep_days: int = 30, limit_bytes: int = 10_000) -> Keeping:
    return Keeping(folder, keep_days, limit_bytes)


def test_what_is_too_old_or_too_much_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    old, older, newer, new = (make(tmp_path, days) for days in (40, 5, 4, 3))

    swept = sweep(keeping(tmp_path, limit_bytes=2_100), NOW, ())

    assert swept == Swept(deleted=2)
    assert [path.exists() for path in (old, older, newer, new)] == [False, False, True, True]
    assert sweep(keeping(tmp_path, limit_bytes=2_100), NOW, ()) == Swept()


def test_what_is_running_here_or_in_another_process_stays(tmp_path: Path) -> None:
    here, elsewhere = make(tmp_path, 40), make(tmp_path, 41, changed_days_ago=0.0001)

    assert sweep(keeping(tmp_path), NOW, [here]) == Swept()
    assert sweep(keeping(tmp_path, limit_bytes=1_500), NOW, [here]) == Swept(is_full=True)
    assert here.exists()
    assert elsewhere.exists()


def test_what_is_no_recording_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "2020-01-01").mkdir()
    (tmp_path / "notes.txt").write_text("of mine")
    (tmp_path / "2020-01-01T00-00-00Z-file").write_text("no folder")
    with_notes = make(tmp_path, 100)
    (with_notes / "notes.txt").write_text("of mine")
    os.utime(with_notes / "notes.txt", (0, 0))
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    linked = make(outside, 100)
    (tmp_path / linked.name.replace("discord", "linked")).symlink_to(linked, target_is_directory=True)

    assert sweep(keeping(tmp_path), NOW, ()) == Swept()

    assert [path.name for path in with_notes.iterdir()] == ["notes.txt"]
    assert len(list(linked.iterdir())) == 2
    assert len(list(tmp_path.iterdir())) == 5


def test_the_folder_is_made(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "a" / "b")
    prepare_folder(tmp_path / "a" / "b")

    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_can_not_be_written_to_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(ConfigError) as caught:
        prepare_folder(tmp_path / "file" / "recordings")

    (fault,) = caught.value.faults
    assert fault.startswith(f"recording.folder: found {tmp_path / 'file' / 'recordings'}, which can't be used (")
    assert fault.endswith("expected a folder to write to")
