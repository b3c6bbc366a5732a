"""The model's pieces as sentences with times."""

import pytest

from plexbridge.speech.sentences import PAUSE_SECONDS, PIECE_SECONDS, SENTENCE_CHARS, Sentence, Sentences


def test_pieces_are_joined_up_to_the_end_of_a_sentence() -> None:
    sentences = Sentences()
    pieces = [" Hel", "lo", " there", ".", " How", " are", " you", "?"]
    done = [sentence for number, piece in enumerate(pieces) for sentence in sentences.push(piece, number * 0.2)]

    assert [each.text for each in done] == ["Hello there."]
    assert (done[0].start_seconds, done[0].end_seconds) == pytest.approx((0, 0.6 + 0.2))
    assert sentences.open is not None
    assert sentences.open.text == "How are you?"
    (last,) = sentences.flush()
    assert last.text == "How are you?"
    assert (last.start_seconds, last.end_seconds) == pytest.approx((0.8, 1.4 + PIECE_SECONDS))
    assert sentences.flush() == []


@pytest.mark.parametrize("text", ["It costs 3.50 euros", "v1.2 is out", "wait ... what"])
def test_a_point_within_a_word_ends_nothing(text: str) -> None:
    done = Sentences().push(text, 0)

    assert [each.text for each in done] == (["wait ..."] if "..." in text else [])


@pytest.mark.parametrize("end", ['."', "?!", "…", "!)", ".\u2019"])
def test_a_sentence_has_its_closing_signs(end: str) -> None:
    (done,) = Sentences().push(f"Yes{end} And", 0)

    assert done.text == f"Yes{end}"


def test_a_pause_ends_a_sentence_where_its_last_piece_was() -> None:
    sentences = Sentences()
    sentences.push("Well", 1)
    assert sentences.rest(1 + PAUSE_SECONDS - 0.01) == []

    (done,) = sentences.push(" anyway", 10)

    assert done == Sentence("Well", 1, 1 + PIECE_SECONDS)
    assert [each.text for each in sentences.rest(10 + PAUSE_SECONDS)] == ["anyway"]


def test_line_breaks_and_blanks_are_single_blanks() -> None:
    (done,) = Sentences().push(" a \n\n b. c", 0)

    assert done.text == "a b."


def test_nothing_but_blanks_is_no_sentence() -> None:
    sentences = Sentences()

    assert sentences.push("  \n", 0) == []
    assert sentences.open is None
    assert sentences.flush() == []


@pytest.mark.parametrize("piece", ["word ", "x"])
def test_an_endless_sentence_is_cut_and_nothing_is_lost(piece: str) -> None:
    sentences = Sentences()
    done = [each for number in range(2_000) for each in sentences.push(piece, number * 0.01)]
    done += sentences.push(piece * 3_000, 20) + sentences.flush()

    assert max(len(each.text) for each in done) <= SENTENCE_CHARS
    assert "".join("".join(each.text.split()) for each in done) == piece.strip() * 5_000
    assert all(each.start_seconds <= each.end_seconds for each in done)
