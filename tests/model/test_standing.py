"""What people who wait are told."""

import pytest

from plexbridge.model.standing import Standing, about, expect_wait, ordinal


@pytest.mark.parametrize(
    ("standing", "sentence"),
    [
        (Standing(2, 170.0), "All models are taken. You are 2nd in the queue, about 3 minutes."),
        (Standing(1, 60.0), "All models are taken. You are 1st in the queue, about a minute."),
        (Standing(1, 20.0), "All models are taken. You are 1st in the queue, about 20 seconds."),
        (Standing(3, None), "All models are taken. You are 3rd in the queue."),
        (
            Standing(1, None, is_outage=True),
            "No speech model can be reached at the moment. You are 1st in the queue.",
        ),
        (Standing(2, 170.0, only="a"), "Model a is taken. You are 2nd in the queue, about 3 minutes."),
        (
            Standing(1, None, is_outage=True, only="a"),
            "Model a can't be reached at the moment. You are 1st in the queue.",
        ),
    ],
)
def test_the_place_and_the_wait_are_told_in_words(standing: Standing, sentence: str) -> None:
    assert str(standing) == sentence


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "5 seconds"),
        (2.0, "5 seconds"),
        (7.0, "5 seconds"),
        (8.0, "10 seconds"),
        (12.0, "10 seconds"),
        (18.5, "20 seconds"),
        (29.9, "30 seconds"),
        (30.0, "30 seconds"),
        (44.0, "40 seconds"),
        (54.0, "50 seconds"),
        (56.0, "a minute"),
        (60.0, "a minute"),
        (61.0, "2 minutes"),
        (170.0, "3 minutes"),
    ],
)
def test_a_time_of_less_than_a_minute_is_told_in_seconds(seconds: float, words: str) -> None:
    assert about(seconds) == f"about {words}"


def test_places_are_counted_as_people_do() -> None:
    assert [ordinal(number) for number in (1, 2, 3, 4, 10, 11, 12, 13, 21, 22, 101, 111)] == [
        *("1st", "2nd", "3rd", "4th", "10th", "11th", "12th", "13th", "21st", "22nd", "101st", "111th")
    ]


@pytest.mark.parametrize(("place", "seconds"), [(1, 60.0), (2, 300.0), (3, 660.0), (4, 900.0), (5, 1260.0)])
def test_places_become_free_one_after_the_other_and_again_after_a_whole_time(place: int, seconds: float) -> None:
    assert expect_wait(place, [300.0, 60.0], 600.0) == seconds


def test_where_nobody_has_a_model_nothing_can_be_expected() -> None:
    assert expect_wait(1, [], 600.0) is None
