"""A recording's file: where sound lies in it, what silence costs, and what is left of it when it breaks off."""

from collections.abc import Iterator
from itertools import accumulate

import numpy as np
import pytest

from plexbridge.audio.ogg import OggOpusReader
from plexbridge.audio.opus import Decoder
from plexbridge.audio.pcm import (
    MODEL_RATE_HZ,
    PEOPLE_FRAME_SAMPLES,
    PEOPLE_RATE_HZ,
    SILENCE_DBFS,
    UPLINK_FRAME_SAMPLES,
    Samples,
    level_dbfs,
)
from plexbridge.recording.track import Track, TrackStatistics, silent_packet
from tests.command import SPEECH
from tests.recording.listening import length_samples, read
from tests.truth import find_lag, read_wav, resampled

PRE_SKIP_SAMPLES = 120
HALF_FRAME = PEOPLE_FRAME_SAMPLES // 2
SPOKEN: Samples = read_wav(SPEECH)[PEOPLE_RATE_HZ // 2 :][: 2 * PEOPLE_RATE_HZ]
"""Two seconds of speech at 48 kHz: 100 frames."""


@pytest.fixture
def track() -> Iterator[Track]:
    made = Track(rate_hz=PEOPLE_RATE_HZ, serial=7)
    yield made
    made.close()


def put(track: Track, place_frames: float, samples: Samples, frame_samples: int = PEOPLE_FRAME_SAMPLES) -> bytes:
    """Put speech frame by frame."""
    frames = samples.reshape(-1, frame_samples)
    return b"".join(track.put(place_frames + number, frame) for number, frame in enumerate(frames))


def place_of(sound: Samples, heard: Samples) -> int:
    """Return the sample at which `sound` begins in what is heard; it has to be there."""
    lag, correlation = find_lag(sound, heard)
    assert correlation > 0.97
    return lag


def test_sound_lies_where_it_was_put_to_the_sample(track: Track) -> None:
    file = track.headers() + put(track, 37, SPOKEN) + put(track, 212, SPOKEN) + track.finish(400)

    heard = read(file)

    assert heard.size == length_samples(file) == 400 * PEOPLE_FRAME_SAMPLES
    assert place_of(SPOKEN, heard[: 200 * PEOPLE_FRAME_SAMPLES]) == 37 * PEOPLE_FRAME_SAMPLES
    assert place_of(SPOKEN, heard[200 * PEOPLE_FRAME_SAMPLES :]) == 12 * PEOPLE_FRAME_SAMPLES
    assert track.statistics() == TrackStatistics(first_frame=37, sound_frames=200)


def test_a_persons_24_khz_lie_where_they_were_put_too() -> None:
    track = Track(rate_hz=MODEL_RATE_HZ, serial=7)
    spoken = resampled(SPOKEN, 2 * PEOPLE_RATE_HZ)[: SPOKEN.size // 2]
    at_48_khz = resampled(spoken, MODEL_RATE_HZ)

    file = track.headers() + put(track, 37, spoken, UPLINK_FRAME_SAMPLES) + track.finish(150)
    track.close()

    heard = read(file)
    assert heard.size == 150 * PEOPLE_FRAME_SAMPLES
    assert place_of(at_48_khz, heard) == 37 * PEOPLE_FRAME_SAMPLES


def test_two_who_begin_at_different_times_lie_in_their_files_as_they_spoke() -> None:
    first, second = Track(rate_hz=PEOPLE_RATE_HZ, serial=1), Track(rate_hz=PEOPLE_RATE_HZ, serial=2)

    files = [
        first.headers() + put(first, 3, SPOKEN) + first.finish(180),
        second.headers() + put(second, 61, SPOKEN) + second.finish(180),
    ]

    places = [place_of(SPOKEN, read(file)) for file in files]
    assert places[1] - places[0] == 58 * PEOPLE_FRAME_SAMPLES
    for track in (first, second):
        track.close()


def test_silence_before_between_and_behind_is_silent_and_the_sound_behind_it_begins_at_full_level(
    track: Track,
) -> None:
    loud = next(
        at for at in range(0, SPOKEN.size, PEOPLE_FRAME_SAMPLES) if level_dbfs(SPOKEN[at : at + HALF_FRAME]) > -20
    )
    word = SPOKEN[loud : loud + 40 * PEOPLE_FRAME_SAMPLES]

    file = track.headers() + put(track, 20, word) + put(track, 161, word) + track.finish(300)

    heard = read(file)
    for first, last in [(0, 20), (62, 161), (202, 300)]:  # a frame later, the decoder's filter has died away
        assert level_dbfs(heard[first * PEOPLE_FRAME_SAMPLES : last * PEOPLE_FRAME_SAMPLES - HALF_FRAME]) < -80
    for start in (20, 161):
        there = heard[start * PEOPLE_FRAME_SAMPLES :][: word.size]
        levels = [level_dbfs(part[:PEOPLE_FRAME_SAMPLES]) for part in (word, there)]
        assert levels[1] == pytest.approx(levels[0], abs=1)


@pytest.mark.parametrize("off_frames", [-0.74, -0.5, 0.0, 0.49, 0.5, 0.74])
def test_what_follows_on_another_grid_follows_without_a_gap(track: Track, off_frames: float) -> None:
    file = track.headers() + put(track, 10, SPOKEN) + put(track, 110 + off_frames, SPOKEN) + track.finish(220)

    heard = read(file)

    assert place_of(np.concatenate((SPOKEN, SPOKEN)), heard) == 10 * PEOPLE_FRAME_SAMPLES
    assert track.statistics().refused_frames == 0


@pytest.mark.parametrize(("place_frames", "frame"), [(111.0, 111), (110.8, 111), (112.4, 112), (112.6, 113)])
def test_what_comes_later_leaves_a_gap(track: Track, place_frames: float, frame: int) -> None:
    file = track.headers() + put(track, 10, SPOKEN) + put(track, place_frames, SPOKEN) + track.finish(220)

    assert place_of(SPOKEN, read(file)[100 * PEOPLE_FRAME_SAMPLES :]) == (frame - 100) * PEOPLE_FRAME_SAMPLES


def test_what_lies_where_there_is_sound_already_is_refused_and_counted(track: Track) -> None:
    file = track.headers() + put(track, 0, SPOKEN) + put(track, 50, SPOKEN) + track.finish(0)

    assert read(file).size == SPOKEN.size + SPOKEN.size // 2
    assert track.statistics() == TrackStatistics(0, 150, refused_frames=50)


def test_a_recording_in_which_nobody_says_anything_is_a_file_too(track: Track) -> None:
    file = track.headers() + track.finish(51)

    assert read(file).size == length_samples(file) == 51 * PEOPLE_FRAME_SAMPLES
    assert level_dbfs(read(file)) < -80


def test_an_hour_of_silence_is_half_a_megabyte(track: Track) -> None:
    file = track.headers() + put(track, 0, SPOKEN) + put(track, 180_000, SPOKEN) + track.finish(180_100)

    assert length_samples(file) == 180_100 * PEOPLE_FRAME_SAMPLES
    assert len(file) < 500_000


def test_silence_is_written_at_least_every_half_minute_and_what_was_said_at_once(track: Track) -> None:
    written = [len(track.headers()) + len(put(track, 0, SPOKEN[: 10 * PEOPLE_FRAME_SAMPLES]))]
    for frame in range(25, 6_001, 25):
        written.append(len(track.advance(frame)))

    assert written[1] > 1_000, "what was said"
    assert sum(written[2:61]) == 0
    assert [step for step, size in enumerate(written) if step > 1 and size] == pytest.approx([61, 121, 181], abs=1)


def test_a_file_that_breaks_off_anywhere_plays_up_to_its_last_whole_page(track: Track) -> None:
    parts = [track.headers()]
    for frame in range(0, 20, 5):
        said = SPOKEN[frame * PEOPLE_FRAME_SAMPLES :][: 5 * PEOPLE_FRAME_SAMPLES]
        parts.append(put(track, frame, said) + track.advance(frame + 5))
    parts.append(track.finish(20))
    file, ends = b"".join(parts), list(accumulate(map(len, parts)))
    assert OggOpusReader().feed(file)[-1].data, "the end of the file is no part of a page"

    for size in range(ends[-4], ends[-1]):
        pages = sum(end <= size for end in ends[1:-1])
        expected_samples = pages * 5 * PEOPLE_FRAME_SAMPLES - PRE_SKIP_SAMPLES

        heard = read(file[:size])

        assert heard.size == expected_samples, size
        assert size % 50 or length_samples(file[:size]) == expected_samples


@pytest.mark.parametrize("frames", range(1, 7))
def test_a_silent_packet_is_silence_for_so_many_frames(frames: int) -> None:
    with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
        sound = decoder.decode(silent_packet(frames))

    assert sound.size == frames * PEOPLE_FRAME_SAMPLES
    assert level_dbfs(sound) == SILENCE_DBFS
