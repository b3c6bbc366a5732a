"""A recording on a real disk: what is in its folder at any moment, and when the disk can't take it."""

import gc
import json
import sys
import tracemalloc
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plexbridge.audio.ogg import OggOpusReader
from plexbridge.audio.pcm import PEOPLE_FRAME_SAMPLES, UPLINK_FRAME_SAMPLES, Samples, level_dbfs
from plexbridge.errors import RecordingError
from plexbridge.recording.files import Dropped, Event, Forget, RecordingFiles, Sound, open_file
from tests.recording.listening import length_samples, read

NOON = datetime(2026, 11, 21, 12, 0, 5, 0, UTC)
ADA, BOB = "discord:1", "discord:2"
NAMES = {ADA: "Ada", BOB: "Bob", None: "model"}
WORD: Samples = (0.3 * np.sin(np.arange(UPLINK_FRAME_SAMPLES) / 7)).astype(np.float32)
"""20 ms of a person."""
ANSWER: Samples = (0.3 * np.sin(np.arange(PEOPLE_FRAME_SAMPLES) / 9)).astype(np.float32)
SECOND = 50


def said(person: str | None, first_frame: int, count: int) -> list[Event]:
    samples = ANSWER if person is None else WORD
    return [Sound(person, NAMES[person], first_frame + number, samples) for number in range(count)]


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def index_in(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "recording.json").read_text("utf-8"))
    return content


@pytest.fixture
def recording(tmp_path: Path) -> RecordingFiles:
    return RecordingFiles(tmp_path, NOON, "discord-1-10")


def test_there_is_nothing_before_something_is_written(recording: RecordingFiles, tmp_path: Path) -> None:
    recording.close([], 0)

    assert list(tmp_path.iterdir()) == []


def test_everybody_has_a_file_of_the_same_length_with_their_own_sound(recording: RecordingFiles) -> None:
    recording.write([*said(ADA, 0, 50), *said(None, 75, 25)], 2 * SECOND)
    recording.write(said(BOB, 100, 50), 4 * SECOND)
    recording.close([], 5 * SECOND)

    files = files_in(recording.path)
    assert recording.path.name == "2026-11-21T12-00-05Z-discord-1-10"
    assert set(files) == {"Ada-discord_1.opus", "Bob-discord_2.opus", "model.opus", "recording.json"}
    spans = {"Ada-discord_1.opus": (0, 50), "Bob-discord_2.opus": (100, 150), "model.opus": (75, 100)}
    for name, (first, last) in spans.items():
        sound = read(files[name])
        assert sound.size == 5 * SECOND * PEOPLE_FRAME_SAMPLES
        levels = [level_dbfs(part) for part in sound.reshape(-1, PEOPLE_FRAME_SAMPLES)]
        assert [frame for frame, level in enumerate(levels) if level > -30] == list(range(first, last)), name


def test_all_files_end_together_also_where_the_last_frame_reaches_beyond_the_end(recording: RecordingFiles) -> None:
    recording.write([*said(ADA, 0, 50), *said(None, 0, 51)], SECOND)
    recording.close(said(BOB, 20, 10), SECOND)

    lengths = {length_samples(data) for name, data in files_in(recording.path).items() if name.endswith("opus")}
    assert lengths == {51 * PEOPLE_FRAME_SAMPLES}
    assert index_in(recording.path)["seconds"] == 1.02


def test_the_index_says_who_is_in_which_file_and_what_is_missing(recording: RecordingFiles) -> None:
    recording.write([*said(BOB, 30, 10), Dropped(40, 90, 100), *said(BOB, 100, 5)], 3 * SECOND)
    running = index_in(recording.path)
    recording.close([], 200)

    index = index_in(recording.path)
    assert index["tracks"] == [
        {"file": "model.opus", "person": None, "name": "model", "first_sound_seconds": None, "sound_seconds": 0.0},
        {
            "file": "Bob-discord_2.opus",
            "person": BOB,
            "name": "Bob",
            "first_sound_seconds": 0.6,
            "sound_seconds": 0.3,
        },
    ]
    assert index["gaps"] == [{"from_seconds": 0.8, "to_seconds": 1.8, "dropped_frames": 100}]
    assert (index["is_ended"], index["seconds"], index["started"]) == (True, 4.0, "2026-11-21T12:00:05+00:00")
    assert (running["is_ended"], running["seconds"]) == (False, 3.0)


def test_what_is_on_the_disk_at_any_moment_plays_all_that_was_written(recording: RecordingFiles) -> None:
    for second in range(5):
        recording.write(said(ADA, second * SECOND, SECOND), (second + 1) * SECOND)

        lost_samples = PEOPLE_FRAME_SAMPLES // 8  # the pre-skip: the end of the last frame is still in the encoder
        file = files_in(recording.path)["Ada-discord_1.opus"]
        assert length_samples(file) == read(file).size == (second + 1) * SECOND * PEOPLE_FRAME_SAMPLES - lost_samples
        assert index_in(recording.path)["is_ended"] is False
    recording.close([], 5 * SECOND)


def test_who_is_to_be_forgotten_has_no_file_and_no_name_any_more_and_may_come_back(recording: RecordingFiles) -> None:
    recording.write([*said(ADA, 0, 50), *said(BOB, 0, 50)], SECOND)
    recording.write([*said(ADA, 50, 10), Forget(ADA), Forget(ADA), Forget("discord:3")], 2 * SECOND)

    assert set(files_in(recording.path)) == {"Bob-discord_2.opus", "model.opus", "recording.json"}
    assert "Ada" not in (recording.path / "recording.json").read_text("utf-8")

    recording.close(said(ADA, 150, 10), 4 * SECOND)
    again = read(files_in(recording.path)["Ada-discord_1.opus"])
    assert level_dbfs(again[: 149 * PEOPLE_FRAME_SAMPLES]) < -80
    assert level_dbfs(again[150 * PEOPLE_FRAME_SAMPLES : 160 * PEOPLE_FRAME_SAMPLES]) > -20


def test_two_recordings_of_one_second_do_not_meet(tmp_path: Path) -> None:
    recordings = [RecordingFiles(tmp_path, NOON, "a") for _ in range(3)]
    for each in recordings:
        each.write(said(ADA, 0, 1), 1)
        each.close([], 1)

    assert len({each.path for each in recordings}) == len(list(tmp_path.iterdir())) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="files have no such modes there")
def test_nobody_else_may_read_it(recording: RecordingFiles) -> None:
    recording.write(said(ADA, 0, 50), SECOND)
    recording.close([], SECOND)

    assert recording.path.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in recording.path.iterdir()} == {0o600}


def test_a_folder_that_is_gone_is_an_error_of_the_recording(tmp_path: Path) -> None:
    recording = RecordingFiles(tmp_path / "gone", NOON, "a")

    with pytest.raises(RecordingError, match="No such file"):
        recording.write(said(ADA, 0, 1), 1)

    recording.close([], 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_a_disk_that_is_full_is_an_error_of_the_recording(tmp_path: Path) -> None:
    def open_full(path: Path) -> FileIO:
        return FileIO("/dev/full", "wb")

    recording = RecordingFiles(tmp_path, NOON, "a", open_full)

    with pytest.raises(RecordingError, match="No space left"):
        recording.write(said(ADA, 0, 1), 1)


class SmallDisk:
    """Files with so much room together; the write that finds too little takes what there is, as a disk does."""

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes = room_bytes

    def open(self, path: Path) -> FileIO:
        """Open a file on it."""
        disk = self

        class Limited(FileIO):
            def write(self, data: Any) -> int:
                taken = super().write(bytes(data)[: disk.room_bytes])
                disk.room_bytes -= taken
                if not taken:
                    raise OSError(28, "No space left on device")
                return taken

        open_file(path).close()
        return Limited(path, "wb")


def test_a_disk_that_becomes_full_leaves_files_that_play_and_who_is_to_be_forgotten_is(tmp_path: Path) -> None:
    disk = SmallDisk(room_bytes=20_000)
    recording = RecordingFiles(tmp_path, NOON, "a", disk.open)
    recording.write([*said(ADA, 0, SECOND), *said(BOB, 0, SECOND)], SECOND)

    with pytest.raises(RecordingError, match="No space left"):
        recording.write([*said(BOB, SECOND, SECOND), *said(ADA, SECOND, SECOND), Forget(BOB)], 2 * SECOND)

    recording.close([], 5 * SECOND)

    files = files_in(recording.path)
    assert set(files) == {"Ada-discord_1.opus", "model.opus", "recording.json"}
    seconds = length_samples(files["Ada-discord_1.opus"]) / (SECOND * PEOPLE_FRAME_SAMPLES)
    assert seconds > 0.9
    reader = OggOpusReader()
    reader.feed(files["Ada-discord_1.opus"])
    assert reader.statistics().buffered_bytes == 0, "nothing of a page that was cut is left"


def test_an_hour_of_two_people_and_a_model_grows_no_memory_and_a_third_may_come_at_its_end(
    recording: RecordingFiles,
) -> None:
    NAMES["discord:3"] = "Cleo"
    tracemalloc.start()
    before_bytes = 0
    for half in range(2 * 3_600):
        if half == 2 * 600:
            gc.collect()
            before_bytes, _ = tracemalloc.get_traced_memory()
        # For six seconds of every ten minutes one talks after the other; else everybody is silent.
        talks = [person for number, person in enumerate((ADA, BOB, None)) if half % 1_200 // 4 == number]
        recording.write([event for person in talks for event in said(person, half * 25, 25)], half * 25 + 25)
    gc.collect()
    after_bytes, _ = tracemalloc.get_traced_memory()
    recording.close(said("discord:3", 180_000, 50), 3_601 * SECOND)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    files = files_in(recording.path)
    assert after_bytes - before_bytes < 30_000
    assert peak_bytes < 5_000_000
    lengths = {length_samples(data) for name, data in files.items() if name.endswith(".opus")}
    assert (lengths, len(files)) == ({3_601 * SECOND * PEOPLE_FRAME_SAMPLES}, 5)
    assert sum(map(len, files.values())) < 2_500_000
