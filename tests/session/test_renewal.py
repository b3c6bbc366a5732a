"""When a link is renewed: in which silence, and when whoever speaks."""

from math import inf

import pytest

from plexbridge.audio.pcm import FRAME_SECONDS
from plexbridge.session.renewal import SEARCH_SECONDS, Renewal, RenewalStatistics, Successor

NOBODY, PERSON, MODEL, BOTH = "nobody", "person", "model", "both"


def renewal(*, renew_seconds: float | None = 240.0, successor: Successor = Successor.READY) -> Renewal:
    made = Renewal(began_seconds=1000.0, renew_seconds=renew_seconds, handshake_seconds=5.0)
    made.successor = successor
    return made


def follow(made: Renewal, *spans: tuple[str, float], start_seconds: float) -> float | None:
    """Return when the link is left, if whoever is named speaks so long, one after the other."""
    tick = 0
    for who, seconds in spans:
        for _ in range(round(seconds / FRAME_SECONDS)):
            now_seconds = start_seconds + tick * FRAME_SECONDS
            tick += 1
            made.heard(is_silent=who not in (PERSON, BOTH))
            made.played(is_silent=who not in (MODEL, BOTH))
            if made.is_due(now_seconds):
                return now_seconds
    return None


@pytest.mark.parametrize(
    ("spans", "after_seconds"),
    [
        (((MODEL, 5), (NOBODY, 10)), 5.4),
        (((PERSON, 5), (NOBODY, 10)), 7.0),  # the model may be about to answer
        (((BOTH, 5), (MODEL, 0.1), (NOBODY, 10)), 5.5),
        (((BOTH, 5), (PERSON, 0.1), (NOBODY, 10)), 7.1),
        (((MODEL, 5), (NOBODY, 0.38), (MODEL, 1), (NOBODY, 0.38), (PERSON, 1), (NOBODY, 10)), 9.76),
        (((PERSON, 5), (NOBODY, 1.9), (MODEL, 1), (NOBODY, 10)), 8.3),
        (((NOBODY, 10),), 0.4),
    ],
)
def test_a_link_is_left_in_the_first_silence_that_nobody_waits_in(
    spans: tuple[tuple[str, float], ...], after_seconds: float
) -> None:
    start_seconds = 1000.0 + 240.0 - SEARCH_SECONDS

    left_seconds = follow(renewal(), *spans, start_seconds=start_seconds)

    assert left_seconds == pytest.approx(start_seconds + after_seconds - FRAME_SECONDS)


def test_before_the_search_begins_no_silence_will_do() -> None:
    assert follow(renewal(), (NOBODY, 20), start_seconds=1000.0 + 240.0 - SEARCH_SECONDS - 20) is None


@pytest.mark.parametrize("successor", list(Successor))
def test_at_the_deadline_the_link_is_left_whoever_speaks(successor: Successor) -> None:
    left_seconds = follow(renewal(successor=successor), (BOTH, 40), start_seconds=1205.0)

    assert left_seconds == pytest.approx(1240.0)


@pytest.mark.parametrize("successor", [Successor.UNKNOWN, Successor.FAILED])
def test_a_link_without_a_known_successor_is_kept_until_the_deadline(successor: Successor) -> None:
    left_seconds = follow(renewal(successor=successor), (NOBODY, 40), start_seconds=1205.0)

    assert left_seconds == pytest.approx(1240.0)


def test_the_next_link_is_prepared_so_long_before_the_search_as_the_last_one_took() -> None:
    assert renewal().prepare_seconds == 1000.0 + 240.0 - 30.0 - 5.0
    assert renewal(renew_seconds=8).prepare_seconds == 1000.0 + 8.0 - 2.0 - 5.0


def test_a_model_that_forgets_nothing_is_never_left() -> None:
    made = renewal(renew_seconds=None)

    assert made.prepare_seconds == made.deadline_seconds == inf
    assert follow(made, (NOBODY, 100), start_seconds=1e6) is None


def test_the_books_can_be_read() -> None:
    books = RenewalStatistics(moved=2, reopened=1, failed=3, unheard_frames=40, longest_gap_seconds=1.234)

    assert str(books) == (
        "2 without and 1 with a pause, 3 second links failed; 40 frames of speech dropped, longest gap 1.23 s"
    )
