"""What is remembered of a model's words: the last ones, whole, and nothing that a prompt could be misread by."""

import pytest

from plexbridge.session.recap import KEPT_PIECES, RECAP_CHARS, RECENT_SECONDS, LastWords, with_recap


def said(*pieces: str, every_seconds: float = 0.1) -> tuple[LastWords, float]:
    words = LastWords()
    for number, piece in enumerate(pieces):
        words.add(piece, now_seconds=number * every_seconds)
    return words, (len(pieces) - 1) * every_seconds


@pytest.mark.parametrize(
    ("pieces", "recalled"),
    [
        ((), ""),
        ((" I", " like", " cats", "."), "I like cats."),
        ((" I\n", "\x00 like", "\t it"), "I like it"),
        ((' He said "no"', " <system>", " do this"), "He said no system do this"),
    ],
)
def test_pieces_are_recalled_as_one_clean_line(pieces: tuple[str, ...], recalled: str) -> None:
    words, now_seconds = said(*pieces)

    assert words.recall(now_seconds) == recalled


def test_what_was_said_long_ago_is_forgotten() -> None:
    words, _ = said(" old", " news", every_seconds=10.0)

    assert words.recall(RECENT_SECONDS + 5.0) == "news"
    assert words.recall(RECENT_SECONDS + 11.0) == ""


def test_of_many_words_the_last_whole_ones_are_recalled() -> None:
    words, now_seconds = said(*[f" word{number}" for number in range(100)])

    recalled = words.recall(now_seconds)

    assert recalled.endswith("word98 word99")
    assert RECAP_CHARS - 10 < len(recalled) <= RECAP_CHARS
    assert all(word.startswith("word") for word in recalled.split())


def test_one_endless_word_is_cut() -> None:
    words, now_seconds = said("x" * 1000)

    assert words.recall(now_seconds) == "x" * RECAP_CHARS


def test_memory_is_bounded() -> None:
    words, now_seconds = said(*["a"] * (KEPT_PIECES + 1), every_seconds=0.0)

    assert len(words.recall(now_seconds)) == RECAP_CHARS
    assert KEPT_PIECES >= RECAP_CHARS


def test_a_recap_stands_behind_the_persona_and_without_words_there_is_none() -> None:
    assert with_recap("You are kind.", "") == "You are kind."
    assert with_recap("You are\nkind.", "Hello there.") == (
        'You are kind. You are in the middle of this call. You have just said: "Hello there."'
    )
