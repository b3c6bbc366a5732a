"""A recording on the disk: its files are written here, on a thread, since a disk may be slow or hang.

Everything is appended as whole pages, without a buffer: what is written survives the end of the process at any moment
(the end of the computer, as far as its system has brought it to the disk by then). What can't be written raises
RecordingError, and then the recording has ended, with what is on the disk.
"""

import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from io import FileIO
from pathlib import Path

from plexbridge.audio.pcm import FRAME_SECONDS, FRAMES_PER_SECOND, MODEL_RATE_HZ, PEOPLE_RATE_HZ, Samples
from plexbridge.errors import RecordingError
from plexbridge.recording.index import (
    INDEX_FILE,
    MODEL_FILE,
    Gap,
    Index,
    IndexedTrack,
    folder_name,
    track_file,
)
from plexbridge.recording.track import Track

FOLDER_MODE, FILE_MODE = 0o700, 0o600
INDEX_FRAMES = 10 * FRAMES_PER_SECOND
"""How often the index is written anew while nothing but the time changes."""
SETTLED_FRAMES = FRAMES_PER_SECOND
"""What lies a second back has come."""
GAP_LIMIT = 1_000
"""More gaps are counted and not listed."""
SAME_SECOND_RECORDINGS = 10


@dataclass(frozen=True, slots=True)
class Sound:
    """20 ms of a person, or of the model."""

    person: str | None
    name: str
    place_frames: float
    """Since the recording's start, in frames of 20 ms."""
    samples: Samples


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete what there is of a person."""

    person: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """Sound that is missing."""

    from_frames: float
    to_frames: float
    count: int


Event = Sound | Forget | Dropped
OpenFile = Callable[[Path], FileIO]


def open_file(path: Path) -> FileIO:
    """Make a file that only its owner may read."""
    return FileIO(path, "xb", opener=lambda name, flags: os.open(name, flags, FILE_MODE))


class _TrackFile:
    """One track and the file that it becomes."""

    def __init__(self, path: Path, track: Track, open_file: OpenFile, *, person: str | None, name: str) -> None:
        self.person = person
        self.name = name
        self.track = track
        self._path = path
        self._file = open_file(path)
        self._size_bytes = 0

    def append(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._size_bytes += len(data)

    def close(self) -> None:
        """Close it as it is, without what could be written only in part."""
        self.track.close()
        try:
            if self._file.seekable():
                self._file.truncate(self._size_bytes)
        finally:
            self._file.close()

    def delete(self) -> None:
        self.track.close()
        self._file.close()
        self._path.unlink(missing_ok=True)

    def indexed(self) -> IndexedTrack:
        held = self.track.statistics()
        first_seconds = None if held.first_frame is None else round(held.first_frame * FRAME_SECONDS, 2)
        sound_seconds = round(held.sound_frames * FRAME_SECONDS, 2)
        return IndexedTrack(self._path.name, self.person, self.name, first_seconds, sound_seconds)


class RecordingFiles:
    """A recording in a folder of its own below `folder`, which is made with the first `write`."""

    def __init__(self, folder: Path, started: datetime, place: str, open_file: OpenFile = open_file) -> None:
        self.path = folder / folder_name(started, place)
        self._started = started
        self._place = place
        self._open_file = open_file
        self._is_open = False
        self._files: dict[str | None, _TrackFile] = {}
        self._gaps: list[Gap] = []
        self._dropped_frames = 0
        self._seconds = 0.0
        self._indexed_frame = 0
        self._is_index_old = True

    def write(self, events: Sequence[Event], now_frame: int) -> None:
        """Take what has happened up to `now_frame`, and leave nothing of it unwritten; raises RecordingError."""
        try:
            self._open()
            for event in events:
                self._take(event)
            for file in self._files.values():
                file.append(file.track.advance(now_frame - SETTLED_FRAMES))
            self._seconds = now_frame * FRAME_SECONDS
            if self._is_index_old or now_frame - self._indexed_frame >= INDEX_FRAMES:
                self._write_index(is_ended=False)
                self._indexed_frame, self._is_index_old = now_frame, False
        except OSError as error:
            self.abandon(events)
            raise RecordingError(_reason(error)) from error

    def close(self, events: Sequence[Event], end_frame: int) -> None:
        """Take what has happened last, and end all files together, at `end_frame` or later; raises RecordingError."""
        if not self._files and not events:
            return
        self.write(events, end_frame)
        # What was played in the last tick may reach a little beyond it.
        end_frame = max([end_frame, *(file.track.end_frame for file in self._files.values())])
        self._seconds = end_frame * FRAME_SECONDS
        try:
            for file in self._files.values():
                file.append(file.track.finish(end_frame))
            self._write_index(is_ended=True)
        except OSError as error:
            raise RecordingError(_reason(error)) from error
        finally:
            self.abandon(())

    def abandon(self, events: Sequence[Event]) -> None:
        """Close all files as they are, where they can't be written any more; what is to be forgotten is."""
        for event in events:
            if isinstance(event, Forget):
                with suppress(OSError):  # then nothing on this disk can be changed
                    self._forget(event.person)
        files, self._files = self._files, {}
        for file in files.values():
            with suppress(OSError):  # it is as good as it can be
                file.close()

    def _open(self) -> None:
        if self._is_open:
            return
        path = self.path
        for number in range(2, SAME_SECOND_RECORDINGS):
            if not path.exists():
                break
            path = self.path.with_name(f"{self.path.name}-{number}")
        path.mkdir(FOLDER_MODE)
        self.path, self._is_open = path, True
        self._file(None, "model")

    def _take(self, event: Event) -> None:
        if isinstance(event, Sound):
            file = self._file(event.person, event.name)
            file.append(file.track.put(event.place_frames, event.samples))
        elif isinstance(event, Forget):
            self._forget(event.person)
        else:
            self._dropped_frames += event.count
            if len(self._gaps) < GAP_LIMIT:
                first_seconds, last_seconds = event.from_frames * FRAME_SECONDS, event.to_frames * FRAME_SECONDS
                self._gaps.append(Gap(round(first_seconds, 2), round(last_seconds, 2), event.count))
            self._is_index_old = True

    def _file(self, person: str | None, name: str) -> _TrackFile:
        file = self._files.get(person)
        if file is None:
            path = self.path / (MODEL_FILE if person is None else track_file(person, name))
            rate_hz = PEOPLE_RATE_HZ if person is None else MODEL_RATE_HZ
            track = Track(rate_hz=rate_hz, serial=secrets.randbits(32))
            file = self._files[person] = _TrackFile(path, track, self._open_file, person=person, name=name)
            file.append(track.headers())
            self._is_index_old = True
        return file

    def _forget(self, person: str) -> None:
        file = self._files.pop(person, None)
        if file is not None:
            file.delete()
            self._is_index_old = True

    def _write_index(self, *, is_ended: bool) -> None:
        """Put the index in the place of the one before, so that there is a whole one at any moment."""
        tracks = tuple(file.indexed() for file in self._files.values())
        index = Index(
            started=self._started,
            place=self._place,
            seconds=round(self._seconds, 2),
            is_ended=is_ended,
            tracks=tracks,
            gaps=tuple(self._gaps),
            dropped_frames=self._dropped_frames,
        )
        target = self.path / INDEX_FILE
        unfinished = target.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        with open_file(unfinished) as file:
            file.write(index.text().encode())
        os.replace(unfinished, target)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
