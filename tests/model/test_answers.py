"""What the loopback model says: the caller's own voice, or one sentence when the caller has finished."""

from collections.abc import Iterable, Sequence
from importlib.resources import files

import numpy as np
import pytest
import soundfile

from plexbridge.audio.pcm import MODEL_FRAME_SAMPLES, MODEL_RATE_HZ, Samples, level_dbfs, silence
from plexbridge.model.answers import PAUSE_SECONDS, SENTENCE, SPEECH_DBFS, Answer, Answerer, Echo, Turns

QUIET = silence(MODEL_FRAME_SAMPLES)


def noise(dbfs: float, *, seed: int = 0) -> Samples:
    samples = np.random.default_rng(seed).normal(0, 10 ** (dbfs / 20), MODEL_FRAME_SAMPLES)
    return samples.astype(np.float32)


LOUD = noise(-20)


def converse(answerer: Answerer, heard: Iterable[Samples]) -> list[Answer]:
    return [answerer.answer(frame) for frame in heard]


def spoken(answers: Sequence[Answer]) -> list[int]:
    """Return the numbers of the frames in which something was said."""
    return [number for number, answer in enumerate(answers) if answer.samples.any()]


def words(answers: Iterable[Answer]) -> str:
    return "".join(piece for answer in answers for piece in answer.pieces)


def sentence_samples() -> Samples:
    with (files("plexbridge.model") / "loopback_sentence.wav").open("rb") as file:
        return np.asarray(soundfile.read(file, dtype="float32")[0], np.float32)


SENTENCE_FRAMES = -(-sentence_samples().size // MODEL_FRAME_SAMPLES)


# The sentence that is shipped


def test_the_shipped_sentence_is_a_few_seconds_of_clear_speech_at_the_models_rate() -> None:
    with (files("plexbridge.model") / "loopback_sentence.wav").open("rb") as file:
        info = soundfile.info(file)
    samples = sentence_samples()

    assert (info.samplerate, info.channels, info.subtype) == (MODEL_RATE_HZ, 1, "PCM_16")
    assert 3 < info.duration < 8
    assert -30 < level_dbfs(samples) < -10
    assert float(np.abs(samples).max()) < 1
    # It begins and ends without a click.
    assert abs(samples[0]) < 0.02
    assert abs(samples[-1]) < 0.02


def test_the_shipped_sentence_never_pauses_long_enough_to_be_taken_for_its_end() -> None:
    samples = sentence_samples()
    frames = samples[: samples.size // MODEL_FRAME_SAMPLES * MODEL_FRAME_SAMPLES].reshape(-1, MODEL_FRAME_SAMPLES)
    loud = [number for number, frame in enumerate(frames) if level_dbfs(frame) > SPEECH_DBFS]

    assert max(np.diff(loud)) * 0.08 < 1


# Echo


def test_echo_says_what_it_hears() -> None:
    heard = [noise(dbfs, seed=number) for number, dbfs in enumerate((-20, -90, -60, 0, -44))] + [QUIET]

    answers = converse(Echo(), heard)

    for frame, answer in zip(heard, answers, strict=True):
        np.testing.assert_array_equal(answer.samples, frame)


def test_echo_remarks_on_each_burst_of_speech_once() -> None:
    answers = converse(Echo(), [QUIET, LOUD, LOUD, *[QUIET] * 3, LOUD, *[QUIET] * 4, LOUD, LOUD])

    assert [number for number, answer in enumerate(answers) if answer.pieces] == [1, 11]
    assert words(answers) == " You said something." * 2


# Turns


@pytest.mark.parametrize("speech_frames", [1, 5, 100])
def test_turns_says_its_sentence_once_320_ms_after_the_caller_has_stopped(speech_frames: int) -> None:
    heard = [*[QUIET] * 7, *[LOUD] * speech_frames, *[QUIET] * (4 + SENTENCE_FRAMES + 100)]

    answers = converse(Turns(), heard)

    first = 7 + speech_frames + 4
    assert PAUSE_SECONDS <= 4 * 0.08 < PAUSE_SECONDS + 0.08
    assert spoken(answers)[0] == first
    said = np.concatenate([answer.samples for answer in answers[first:]])
    np.testing.assert_array_equal(said[: sentence_samples().size], sentence_samples())
    assert not said[sentence_samples().size :].any()
    assert not any(answer.samples.any() for answer in answers[:first])


def test_the_pieces_of_a_turn_are_the_words_of_the_sentence_spread_over_it() -> None:
    answers = converse(Turns(), [LOUD, *[QUIET] * (4 + SENTENCE_FRAMES + 50)])

    with_words = [number for number, answer in enumerate(answers) if answer.pieces]
    assert words(answers) == f" {SENTENCE}"
    assert len(with_words) == len(SENTENCE.split())
    assert all(" " not in piece[1:] for answer in answers for piece in answer.pieces)
    assert set(with_words) <= set(range(5, 5 + SENTENCE_FRAMES))
    assert with_words[0] < 15
    assert with_words[-1] == 4 + SENTENCE_FRAMES


def test_turns_stops_in_the_frame_in_which_it_is_interrupted_and_begins_again_from_the_start() -> None:
    turns = Turns()
    first = converse(turns, [LOUD, *[QUIET] * 14])

    interrupted = converse(turns, [LOUD, LOUD, *[QUIET] * 4])
    again = converse(turns, [QUIET] * (SENTENCE_FRAMES + 20))

    assert spoken(first)
    assert spoken(interrupted) == []
    assert words(interrupted) == ""
    assert words(again) == f" {SENTENCE}"
    np.testing.assert_array_equal(
        np.concatenate([answer.samples for answer in again])[: sentence_samples().size], sentence_samples()
    )


@pytest.mark.parametrize("dbfs", [-120, -60, -50])
def test_turns_says_nothing_to_silence_or_to_noise_below_speech(dbfs: float) -> None:
    heard = [*(noise(dbfs, seed=number) for number in range(50)), *[QUIET] * 50]

    answers = converse(Turns(), heard)

    assert spoken(answers) == []
    assert words(answers) == ""


def test_turns_hears_a_soft_voice() -> None:
    answers = converse(Turns(), [noise(-40), *[QUIET] * 10])

    assert spoken(answers)[0] == 5


def test_turns_does_not_answer_a_pause_within_speech() -> None:
    answers = converse(Turns(), [LOUD, *[QUIET] * 4, LOUD, *[QUIET] * 4, LOUD])

    assert spoken(answers) == []


def test_turns_answers_every_time() -> None:
    turn = [LOUD, *[QUIET] * (SENTENCE_FRAMES + 10)]

    answers = converse(Turns(), turn * 3)

    assert words(answers) == f" {SENTENCE}" * 3


@pytest.mark.parametrize("make_answerer", [Echo, Turns])
def test_every_answer_is_one_whole_model_frame(make_answerer: type[Echo] | type[Turns]) -> None:
    answers = converse(make_answerer(), [LOUD, LOUD, *[QUIET] * (SENTENCE_FRAMES + 20), LOUD])

    assert {(answer.samples.shape, answer.samples.dtype) for answer in answers} == {
        ((MODEL_FRAME_SAMPLES,), np.dtype(np.float32))
    }
