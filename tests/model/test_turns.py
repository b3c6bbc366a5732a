"""Turns: whose time is up while others wait."""

from collections.abc import Mapping
from dataclasses import replace
from math import inf

from plexbridge.model.turns import WARNING_SECONDS, Turn, Turns, to_end

RULES = Turns(600.0)
ALL = frozenset("abcd")
TWO = {1: Turn(0.0), 2: Turn(100.0)}


def ending(turns: Mapping[int, Turn], waiting: int) -> list[int]:
    """Return who has to go for so many who take any model."""
    return to_end(turns, dict.fromkeys(turns, "a"), [None] * waiting, ALL)


def test_nobody_is_warned_while_nobody_waits() -> None:
    assert RULES.to_warn(TWO, ending(TWO, 0), 10_000.0) == []
    assert RULES.dues(TWO, ending(TWO, 0)) == []


def test_the_longest_conversation_is_warned_a_minute_before_its_time_is_up() -> None:
    assert RULES.to_warn(TWO, ending(TWO, 1), 539.9) == []
    assert RULES.dues(TWO, ending(TWO, 1)) == [540.0]
    assert RULES.to_warn(TWO, ending(TWO, 1), 540.0) == [1]
    assert RULES.to_warn(TWO, ending(TWO, 1), 640.0) == [1], "the other one's place is not needed"
    assert RULES.to_warn(TWO, ending(TWO, 2), 640.0) == [1, 2]
    assert RULES.lead_seconds == WARNING_SECONDS


def test_who_is_warned_is_not_warned_again_and_counts_for_one_who_waits() -> None:
    warned = {**TWO, 1: replace(TWO[1], end_seconds=600.0)}

    assert RULES.to_warn(warned, ending(warned, 1), 10_000.0) == []
    assert RULES.to_warn(warned, ending(warned, 2), 10_000.0) == [2]
    assert RULES.dues(warned, ending(warned, 1)) == [600.0]
    assert RULES.over(warned, 599.9) == []
    assert RULES.over(warned, 600.0) == [1]


def test_a_warning_is_taken_back_when_fewer_wait() -> None:
    warned = {number: replace(turn, end_seconds=700.0) for number, turn in TWO.items()}

    assert RULES.to_pardon(warned, ending(warned, 2)) == []
    assert RULES.to_pardon(warned, ending(warned, 1)) == [2]
    assert RULES.to_pardon(warned, ending(warned, 0)) == [1, 2]


def test_a_short_time_is_announced_at_its_half() -> None:
    assert Turns(8.0).to_warn({1: Turn(0.0)}, [1], 4.0) == [1]
    assert Turns(8.0).lead_seconds == 4.0


def test_a_conversation_without_a_limit_is_never_warned() -> None:
    assert Turns(0.0).to_warn(TWO, ending(TWO, 2), 1e9) == []
    assert Turns(0.0).expect_ends([Turn(0.0)], 5.0) == [inf]


def test_the_end_to_be_expected_leaves_time_for_the_warning() -> None:
    turns = [Turn(0.0), Turn(900.0), Turn(0.0, end_seconds=1_010.0)]

    assert RULES.expect_ends(turns, 1_000.0) == [60.0, 500.0, 10.0]


def test_for_who_wants_one_model_only_a_turn_at_that_model_ends() -> None:
    turns = {1: Turn(0.0), 2: Turn(100.0), 3: Turn(200.0), 4: Turn(300.0)}
    models = {1: "a", 2: "b", 3: "b", 4: "c"}

    assert to_end(turns, models, ["b"], ALL) == [2]
    assert to_end(turns, models, [None, "b"], ALL) == [2, 1], "who takes any leaves what only the other one takes"
    assert to_end(turns, models, [None, None, "a"], ALL) == [1, 2, 3]
    assert to_end(turns, models, ["c", "c"], ALL) == [4], "nobody goes for who has no use for it"
    assert to_end(turns, models, ["d"], ALL) == []


def test_who_is_warned_for_a_model_is_the_one_who_goes() -> None:
    turns = {1: Turn(0.0), 2: Turn(100.0, end_seconds=700.0)}

    assert to_end(turns, {1: "a", 2: "a"}, ["a"], ALL) == [2]
    assert RULES.to_pardon(turns, to_end(turns, {1: "a", 2: "b"}, ["a"], ALL)) == [2]


def test_nobody_has_to_go_from_a_model_that_is_out_of_order() -> None:
    turns = {1: Turn(0.0), 2: Turn(100.0), 3: Turn(200.0)}
    models = {1: "a", 2: "b", 3: "b"}

    assert to_end(turns, models, [None], frozenset("b")) == [2]
    assert to_end(turns, models, [None, None, None], frozenset("b")) == [2, 3]
    assert to_end(turns, models, ["a"], frozenset("b")) == []


def test_who_is_warned_and_loses_the_model_stays_warned_only_if_nobody_else_can_go() -> None:
    turns = {1: Turn(0.0, end_seconds=600.0), 2: Turn(100.0)}
    models = {1: "a", 2: "b"}

    assert to_end(turns, models, [None], frozenset("b")) == [2]
    assert to_end(turns, models, [None], frozenset()) == [1]
    assert to_end(turns, models, [None, None], frozenset("b")) == [2, 1]
