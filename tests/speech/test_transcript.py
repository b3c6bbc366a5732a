"""Both sides as lines: names, times, order, gaps."""

import pytest

from plexbridge.speech.engine import Begun, Final, Gap, Missing, Partial
from plexbridge.speech.transcript import WAITING_LIMIT, Kind, Line, Transcript

ADA, BOB = 1, 2


def final(speaker: int, start: float, text: str, *, utterance: int = 1) -> Final:
    return Final(speaker, utterance, start, start + 1, text)


def test_a_partial_is_replaced_and_the_final_ends_it() -> None:
    transcript = Transcript("Plex")
    transcript.heard(Begun(ADA, 1, 2.0), "Ada")
    assert transcript.open_lines == []

    transcript.heard(Partial(ADA, 1, 2.0, 2.5, "the cat"), "Ada")
    transcript.heard(Partial(ADA, 1, 2.0, 2.9, "the kettle"), "Ada")
    assert transcript.open_lines == [Line(Kind.PERSON, "Ada", "the kettle", 2.0, 2.9)]

    assert transcript.heard(final(ADA, 2.0, " the  kettle\nboils "), "Ada") == [
        Line(Kind.PERSON, "Ada", "the kettle boils", 2.0, 3.0)
    ]
    assert transcript.open_lines == []


def test_what_is_missing_is_a_line_that_says_why() -> None:
    (line,) = Transcript("Plex").heard(Missing(ADA, 1, 2.0, 3.5, Gap.UNANSWERED), "Ada")

    assert line == Line(Kind.GAP, "Ada", "not transcribed: the speech engine did not answer in time", 2.0, 3.5)


def test_a_sound_without_words_is_no_line() -> None:
    transcript = Transcript("Plex")
    transcript.heard(Begun(ADA, 1, 2.0), "Ada")

    assert transcript.heard(final(ADA, 2.0, "  "), "Ada") == []
    assert transcript.finish() == []


def test_the_model_s_pieces_are_lines_of_the_model() -> None:
    transcript = Transcript("Plex")

    assert transcript.said("Hello", 1.0) == []
    assert transcript.open_lines[0].text == "Hello"
    assert [line.text for line in transcript.said(" you. And", 1.5)] == ["Hello you."]
    assert [(line.kind, line.name, line.text) for line in transcript.rest(9.0)] == [(Kind.MODEL, "Plex", "And")]


def test_lines_are_taken_in_the_order_of_their_beginnings_whenever_they_are_known() -> None:
    transcript = Transcript("Plex")
    transcript.heard(Begun(ADA, 1, 1.0), "Ada")
    transcript.heard(Begun(BOB, 1, 2.0), "Bob")
    transcript.said("So. It", 2.5)
    transcript.heard(final(BOB, 2.0, "second"), "Bob")
    assert transcript.take(20.0) == []

    transcript.heard(final(ADA, 1.0, "first"), "Ada")
    assert [line.text for line in transcript.take(20.0)] == ["first", "second", "So."]
    assert transcript.take(20.0) == []
    assert [line.text for line in transcript.finish()] == ["It"]


def test_a_line_waits_until_it_is_known_who_else_has_begun() -> None:
    transcript = Transcript("Plex")
    transcript.heard(final(ADA, 5.0, "quick"), "Ada")

    assert transcript.take(5.9) == []
    assert [line.text for line in transcript.take(6.0)] == ["quick"]


def test_at_the_end_everything_is_taken() -> None:
    transcript = Transcript("Plex")
    transcript.heard(Begun(ADA, 1, 1.0), "Ada")
    transcript.heard(final(BOB, 2.0, "yes"), "Bob")
    transcript.said("No", 3.0)

    assert [line.text for line in transcript.finish()] == ["yes", "No"]
    assert transcript.finish() == []


def test_no_more_lines_wait_than_stated() -> None:
    transcript = Transcript("Plex")
    transcript.heard(Begun(ADA, 1, 0.0), "Ada")
    for number in range(WAITING_LIMIT + 5):
        transcript.heard(final(BOB, 1.0 + number, f"{number}", utterance=number), "Bob")

    taken = transcript.take(1_000_000.0)

    assert [line.text for line in taken] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("name", ["Ada", "Ada Lovelace"])
def test_a_person_has_the_name_that_they_have_when_they_have_spoken(name: str) -> None:
    transcript = Transcript("Plex")
    transcript.heard(Begun(ADA, 1, 0.0), "somebody")

    assert transcript.heard(final(ADA, 0.0, "hi"), name)[0].name == name
