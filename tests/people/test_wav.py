"""A WAV file as the caller: every kind of file is heard right, and the answer is a valid file at any moment."""

import errno
import io
import json
import tracemalloc
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from plexbridge.audio.pcm import (
    MODEL_RATE_HZ,
    PEOPLE_FRAME_SAMPLES,
    PEOPLE_RATE_HZ,
    SILENCE_DBFS,
    UPLINK_FRAME_SAMPLES,
    Samples,
    silence,
)
from plexbridge.errors import RequestError
from plexbridge.model.conversation import STATE_SENTENCES, State
from plexbridge.people.wav import AnswerFile, WavPeople, WavVoice, open_wav_people

HELLO = Path(__file__).parents[2] / "docs" / "hello.wav"
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(PEOPLE_FRAME_SAMPLES) / PEOPLE_RATE_HZ)).astype(np.float32)


@cache
def speech(rate_hz: int = MODEL_RATE_HZ) -> Samples:
    """Return three seconds of speech."""
    samples = np.asarray(soundfile.read(HELLO, dtype="float32")[0], np.float32)[: 3 * MODEL_RATE_HZ]
    return np.asarray(soxr.resample(samples, MODEL_RATE_HZ, rate_hz), np.float32)


def hear(path: Path, *, tail_seconds: float = 0.0) -> list[Samples]:
    """Return all frames of a file."""
    with soundfile.SoundFile(path) as sound:
        voice = WavVoice(sound, tail_seconds=tail_seconds)
        frames = []
        while (frame := voice.next_frame()) is not None:
            frames.append(frame)
    assert {(frame.shape, frame.dtype) for frame in frames} <= {((UPLINK_FRAME_SAMPLES,), np.dtype(np.float32))}
    return frames


def correlation(first: Samples, second: Samples) -> float:
    return float(np.corrcoef(first, second)[0, 1])


def read_answer(path: Path) -> Samples:
    """Read an answer and check its format; soundfile reads a header strictly and stops at the file's end."""
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.subtype, info.format) == (48_000, 1, "PCM_16", "WAV")
    samples = np.asarray(soundfile.read(path, dtype="float32")[0], np.float32)
    assert path.stat().st_size == 44 + 2 * samples.size
    return samples


@pytest.fixture
def second_of_speech(tmp_path: Path) -> Path:
    path = tmp_path / "in.wav"
    soundfile.write(path, speech()[:MODEL_RATE_HZ], MODEL_RATE_HZ)
    return path


# Hearing


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000])
def test_every_format_is_heard_right(tmp_path: Path, rate_hz: int, subtype: str, channels: int) -> None:
    samples = speech(rate_hz)
    path = tmp_path / "in.wav"
    # Speech on both sides, louder on the left: the mean of them is the speech.
    soundfile.write(path, samples if channels == 1 else np.outer(samples, (1.3, 0.7)), rate_hz, subtype=subtype)

    frames = hear(path)

    heard = np.concatenate(frames)
    expected = np.asarray(soxr.resample(samples, rate_hz, MODEL_RATE_HZ), np.float32)
    assert len(frames) == 150
    assert correlation(heard[: expected.size], expected[: heard.size]) > 0.99
    assert float(np.abs(heard).max()) == pytest.approx(float(np.abs(expected).max()), rel=0.05)


def test_a_file_at_the_models_rate_is_heard_sample_by_sample(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, speech(), MODEL_RATE_HZ, subtype="FLOAT")

    assert np.abs(np.concatenate(hear(path)) - speech()).max() < 1e-4


def test_blocks_leave_no_seams(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, speech(44_100), 44_100, subtype="FLOAT")

    heard = np.concatenate(hear(path))

    assert np.abs(heard - speech()).max() < 0.01 * np.abs(speech()).max()


@pytest.mark.parametrize(
    ("samples", "rate_hz", "tail_seconds", "frames"),
    [
        (0, 48_000, 0.0, 0),
        (0, 48_000, 1.0, 50),
        (1, 48_000, 0.0, 1),
        (960, 48_000, 0.0, 1),
        (961, 48_000, 0.0, 2),
        (8_000, 8_000, 0.0, 50),
        (8_001, 8_000, 0.0, 51),
        (44_100, 44_100, 0.1, 55),
        (11_025 * 2 // 3, 11_025, 0.0, 34),
        (96_000 // 2, 96_000, 2.0, 125),
        (960, 48_000, 0.01, 2),
    ],
)
def test_a_file_lasts_exactly_its_length_and_the_tail(
    tmp_path: Path, samples: int, rate_hz: int, tail_seconds: float, frames: int
) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, np.full(samples, 0.25, np.float32), rate_hz)

    heard = hear(path, tail_seconds=tail_seconds)

    assert len(heard) == frames
    spoken_frames = -(-samples * 50 // rate_hz)
    assert not np.concatenate([silence(0), *heard[spoken_frames:]]).any()


def test_more_than_two_channels_are_mixed_alike(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, np.outer(speech(), (0, 0, 3, 0, 3, 0)) / 3, MODEL_RATE_HZ, subtype="FLOAT")

    assert np.abs(np.concatenate(hear(path)) - speech() / 3).max() < 1e-4


def test_not_a_number_and_infinity_become_silence_and_full_scale(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    samples = speech().copy()
    samples[1000:1010] = np.nan
    samples[40_000] = np.inf
    samples[50_000] = -np.inf
    soundfile.write(path, samples, MODEL_RATE_HZ, subtype="FLOAT")

    heard = np.concatenate(hear(path))

    assert np.isfinite(heard).all()
    assert not heard[1001:1009].any()
    assert (heard[40_000], heard[50_000]) == (1, -1)
    untouched = np.ones(heard.size, bool)
    untouched[[*range(1000, 1010), 40_000, 50_000]] = False
    assert np.abs(heard - speech())[untouched].max() < 1e-4


def test_a_long_file_is_read_as_it_is_spoken_and_not_at_once(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, np.zeros((600 * 16_000, 2), np.int16), 16_000)

    tracemalloc.start()
    with soundfile.SoundFile(path) as sound:
        voice = WavVoice(sound, tail_seconds=0.0)
        for _ in range(50):
            voice.next_frame()
        read_seconds = sound.tell() / 16_000
        _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert voice.frames_left == 29_950
    assert read_seconds <= 2
    assert peak_bytes < 2_000_000


def test_a_file_that_breaks_off_is_reported_when_it_is_reached(tmp_path: Path) -> None:
    path = tmp_path / "in.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 5 * 48_000), 48_000)
    path.write_bytes(path.read_bytes()[:200_000])

    with open_wav_people(path, tmp_path / "out.wav", None, tail_seconds=0) as people:
        assert people.listen(0.0) is not None
        with pytest.raises(RequestError, match=r"in\.flac can't be read to its end"):
            people.skip(250)


# Opening


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.wav", None, "can't be read: No such file or directory"),
        ("empty.wav", b"", "can't be read as a WAV file"),
        ("text.wav", b"This is not a WAV file, only its name says so. " * 50, "can't be read as a WAV file"),
        ("header.wav", b"RIFF\x24\0\0\0WAVEfmt ", "can't be read as a WAV file"),
        ("samples.raw", bytes(4000), "can't be read as a WAV file: it has no header"),
    ],
)
def test_what_is_no_wav_file_is_refused_by_name_before_an_answer_is_begun(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    with (
        pytest.raises(RequestError) as caught,
        open_wav_people(path, tmp_path / "out.wav", None, tail_seconds=0),
    ):
        pass

    assert f"{path} {reason}" in caught.value.user_message
    assert not (tmp_path / "out.wav").exists()


def test_a_folder_is_refused(tmp_path: Path, second_of_speech: Path) -> None:
    for speech_path, answer_path in ((tmp_path, tmp_path / "out.wav"), (second_of_speech, tmp_path)):
        with (
            pytest.raises(RequestError, match="Is a directory"),
            open_wav_people(speech_path, answer_path, None, tail_seconds=0),
        ):
            pass


def test_files_that_can_not_be_created_are_refused_by_name(tmp_path: Path, second_of_speech: Path) -> None:
    nowhere = tmp_path / "missing" / "file"

    for answer_path, text_path in ((nowhere, None), (tmp_path / "out.wav", nowhere)):
        with (
            pytest.raises(RequestError) as caught,
            open_wav_people(second_of_speech, answer_path, text_path, tail_seconds=0),
        ):
            pass
        assert caught.value.user_message == f"{nowhere} can't be written: No such file or directory"


def test_a_file_cut_short_is_heard_as_far_as_it_goes(tmp_path: Path, second_of_speech: Path) -> None:
    path = tmp_path / "short.wav"
    path.write_bytes(second_of_speech.read_bytes()[: 44 + 2 * 12_000])

    assert len(hear(path)) == 25


# The caller


def test_a_frame_carries_when_it_was_due_its_level_and_whether_it_is_silent(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    square = np.tile(np.repeat((0.1, -0.1), 24), 10)
    soundfile.write(path, np.concatenate((square, 0.02 * square)), MODEL_RATE_HZ, subtype="FLOAT")

    with open_wav_people(path, tmp_path / "out.wav", None, tail_seconds=0.02) as people:
        left = [people.seconds_left]
        frames, levels = [], []
        for tick in range(4):
            frames.append(people.listen(10 + 0.02 * tick))
            levels.append(people.input_dbfs)
            left.append(people.seconds_left)

    loud, soft, tail, end = frames
    assert loud is not None
    assert soft is not None
    assert tail is not None
    assert end is None
    assert [frame.arrived_seconds for frame in (loud, soft, tail)] == [10.0, 10.02, 10.04]
    assert [frame.is_silent for frame in (loud, soft, tail)] == [False, True, True]
    assert levels[:2] == pytest.approx([-20, -54], abs=0.1)
    assert levels[2] == SILENCE_DBFS
    assert left == pytest.approx([0.06, 0.04, 0.02, 0, 0])


def test_what_is_skipped_is_not_heard_later(tmp_path: Path) -> None:
    path = tmp_path / "in.wav"
    steps = np.repeat(np.arange(10) / 10, UPLINK_FRAME_SAMPLES)
    soundfile.write(path, steps, MODEL_RATE_HZ, subtype="FLOAT")

    with open_wav_people(path, tmp_path / "out.wav", None, tail_seconds=0) as people:
        people.skip(3)
        frame = people.listen(0.0)
        people.skip(100)
        end = people.listen(0.0)

    assert frame is not None
    assert frame.samples == pytest.approx(0.3)
    assert end is None


# The answer


def test_the_answer_lasts_exactly_as_long_as_the_speech_and_the_tail(tmp_path: Path) -> None:
    speech_path, answer_path = tmp_path / "in.wav", tmp_path / "out.wav"
    soundfile.write(speech_path, silence(44_100 + 123), 44_100)

    with open_wav_people(speech_path, answer_path, None, tail_seconds=1.005) as people:
        tick = 0
        while people.listen(0.0) is not None:
            people.play(TONE, tick)
            tick += 1
        people.play(TONE, tick)  # playback ends after capture, and its last frames lie beyond the tail
        people.play(TONE, tick + 1)
        people.fill_to_end()

    answer = read_answer(answer_path)
    assert answer.size == -(-(44_100 + 123) * 48_000 // 44_100) + 48_240
    assert correlation(answer, np.resize(TONE, answer.size)) > 0.999


def test_gaps_and_the_rest_of_the_answer_are_silence_in_their_place(tmp_path: Path, second_of_speech: Path) -> None:
    answer_path = tmp_path / "out.wav"

    with open_wav_people(second_of_speech, answer_path, None, tail_seconds=2.0) as people:
        for tick in (3, 4, 100):
            people.play(TONE, tick)
        people.fill_to_end()

    frames = read_answer(answer_path).reshape(-1, PEOPLE_FRAME_SAMPLES)
    assert len(frames) == 150
    assert [number for number, frame in enumerate(frames) if frame.any()] == [3, 4, 100]
    np.testing.assert_allclose(frames[100], TONE, atol=1e-4)


def test_the_answer_is_a_valid_file_at_every_moment(tmp_path: Path, second_of_speech: Path) -> None:
    answer_path = tmp_path / "out.wav"
    lengths = []

    with open_wav_people(second_of_speech, answer_path, None, tail_seconds=2.0) as people:
        for tick in (0, 1, 2, 50, 149):
            people.play(TONE, tick)
            lengths.append(read_answer(answer_path).size)
        people.fill_to_end()
        lengths.append(read_answer(answer_path).size)

    assert lengths == [960 * frames for frames in (1, 2, 3, 51, 150, 150)]
    assert read_answer(answer_path).size == 150 * 960


def test_a_call_that_never_begins_leaves_an_earlier_answer_and_makes_no_new_one(
    tmp_path: Path, second_of_speech: Path
) -> None:
    earlier, new = tmp_path / "earlier.wav", tmp_path / "new.wav"
    earlier.write_bytes(b"an earlier answer")

    for answer_path in (earlier, new):
        with open_wav_people(second_of_speech, answer_path, None, tail_seconds=2.0) as people:
            people.tell(State.CONNECTING)

    assert earlier.read_bytes() == b"an earlier answer"
    assert not new.exists()


def test_a_call_that_breaks_off_leaves_what_was_played(tmp_path: Path, second_of_speech: Path) -> None:
    answer_path, text_path = tmp_path / "out.wav", tmp_path / "text.jsonl"

    def call() -> None:
        with open_wav_people(second_of_speech, answer_path, text_path, tail_seconds=2.0) as people:
            people.play(TONE, 0)
            people.show(" Hel")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call()

    assert read_answer(answer_path).size == 960
    assert json.loads(text_path.read_text()) == {"t": 0.02, "kind": "text", "text": " Hel"}


def test_what_is_too_loud_is_clipped_and_the_level_is_shown(tmp_path: Path, second_of_speech: Path) -> None:
    answer_path = tmp_path / "out.wav"

    with open_wav_people(second_of_speech, answer_path, None, tail_seconds=0.0) as people:
        people.play(np.tile(np.array([1.4, -1.4], np.float32), 480), 0)
        output_dbfs = people.output_dbfs

    assert output_dbfs == pytest.approx(2.92, abs=0.01)
    assert set(read_answer(answer_path)) == {np.float32(32767 / 32768), np.float32(-1)}


class FullDisk(io.BytesIO):
    """A file on a disk that has room for so many bytes."""

    def __init__(self, room_bytes: int) -> None:
        super().__init__()
        self._room_bytes = room_bytes

    def write(self, data: bytes) -> int:  # type: ignore[override]  # the only kind of data that is written here
        if self.tell() + len(data) > self._room_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)

    def close(self) -> None:
        """Keep what was written, to be looked at."""


def test_a_full_disk_ends_the_call_with_a_reason_and_a_valid_file(second_of_speech: Path) -> None:
    disk = FullDisk(room_bytes=44 + 3 * 1920 + 100)

    with soundfile.SoundFile(second_of_speech) as sound, ExitStack() as opened:
        people = WavPeople(WavVoice(sound, tail_seconds=0.0), AnswerFile(lambda: disk, opened), None)
        for tick in range(3):
            people.play(TONE, tick)
        with pytest.raises(RequestError, match="can't be written any further: No space left on device"):
            people.play(TONE, 3)

    written = disk.getvalue()
    assert soundfile.info(io.BytesIO(written)).frames == 3 * 960
    assert len(written) == 44 + 3 * 1920


class FullText(io.StringIO):
    """A text file on a disk without room."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self) -> None:
        """Close without writing."""


def test_a_text_file_on_a_full_disk_ends_the_call_with_a_reason(second_of_speech: Path) -> None:
    with soundfile.SoundFile(second_of_speech) as sound, ExitStack() as opened:
        answer = AnswerFile(lambda: FullDisk(10_000), opened)
        people = WavPeople(WavVoice(sound, tail_seconds=0.0), answer, FullText())
        with pytest.raises(RequestError, match="The text can't be written any further: No space left on device"):
            people.show(" Hello")


# The text


def test_words_events_and_errors_are_lines_with_the_time_of_the_answer(tmp_path: Path, second_of_speech: Path) -> None:
    text_path = tmp_path / "text.jsonl"

    with open_wav_people(second_of_speech, tmp_path / "out.wav", text_path, tail_seconds=0.0) as people:
        people.tell(State.LIVE)
        for tick in range(25):
            people.play(TONE, tick)
        people.show(" Grüße,")
        people.show(' "du\n')
        as_written = text_path.read_text(encoding="utf-8")
        people.play(TONE, 30)
        people.report_error("The connection was lost.")
        words = people.words

    lines = [json.loads(line) for line in text_path.read_text(encoding="utf-8").splitlines()]
    assert lines == [
        {"t": 0.0, "kind": "event", "text": STATE_SENTENCES[State.LIVE]},
        {"t": 0.5, "kind": "text", "text": " Grüße,"},
        {"t": 0.5, "kind": "text", "text": ' "du\n'},
        {"t": 0.62, "kind": "error", "text": "The connection was lost."},
    ]
    assert [json.loads(line) for line in as_written.splitlines()] == lines[:3]
    assert " Grüße," in as_written
    assert words == ' Grüße, "du\n'


def test_without_a_text_file_the_words_are_kept_for_the_screen_and_bounded(
    tmp_path: Path, second_of_speech: Path
) -> None:
    with open_wav_people(second_of_speech, tmp_path / "out.wav", None, tail_seconds=0.0) as people:
        for number in range(1000):
            people.show(f" {number}")

        assert people.words.endswith(" 998 999")
        assert len(people.words) == 200
