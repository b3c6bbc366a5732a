"""Deafness: who talks and is not heard is found, told, helped a few times, and told again."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plexbridge.people.discord.deafness import (
    DEAF_PACKETS,
    REBUILD_LIMIT,
    WINDOW_SECONDS,
    Action,
    Cause,
    Deafness,
    GiveUp,
    HearAgain,
    Observed,
    PersonObserved,
    Rebuild,
    sentence,
)

ADA, BOB, EVE = 100, 101, 102
STEP_SECONDS = 0.5
EVERYBODY = frozenset[int]()

GOOD = PersonObserved(received=25, speech=25, good=25)
BAD = PersonObserved(received=25, speech=25)
"""Half a second of speech, heard or not."""
PARTLY = PersonObserved(received=25, speech=25, good=1)
SILENCE = PersonObserved(received=5)
QUIET = PersonObserved()


class Call:
    """The counters of a call, which rise by what happens in half a second, and what came of it."""

    def __init__(self, *people: int) -> None:
        self.core = Deafness()
        self.now_seconds = 1000.0
        self.observed = Observed(dict.fromkeys(people, QUIET))
        self.actions: list[Action] = []
        self.step()

    def step(
        self,
        ada: PersonObserved = QUIET,
        bob: PersonObserved = QUIET,
        *,
        refused: int = 0,
        unclaimed: int = 0,
        speaking_events: int = 0,
    ) -> list[Action]:
        """Let half a second pass."""
        news = {ADA: ada, BOB: bob}
        people = {user_id: plus(counts, news.get(user_id, QUIET)) for user_id, counts in self.observed.people.items()}
        self.observed = Observed(
            people,
            self.observed.refused + refused,
            self.observed.unclaimed + unclaimed,
            self.observed.speaking_events + speaking_events,
        )
        self.now_seconds += STEP_SECONDS
        actions = self.core.observe(self.observed, now_seconds=self.now_seconds)
        self.actions += actions
        return actions

    def steps(
        self,
        seconds: float,
        ada: PersonObserved = QUIET,
        bob: PersonObserved = QUIET,
        *,
        refused: int = 0,
        unclaimed: int = 0,
    ) -> list[Action]:
        """Let the same happen every half second; return all that was to be done."""
        actions: list[Action] = []
        for _ in range(round(seconds / STEP_SECONDS)):
            actions += self.step(ada, bob, refused=refused, unclaimed=unclaimed)
        return actions

    def settle(self) -> None:
        """Let the exchange of keys pass."""
        self.steps(5)

    def enter(self, user_id: int) -> None:
        """A person enters the channel."""
        self.observed = replace(self.observed, people={**self.observed.people, user_id: QUIET})

    def leave(self, user_id: int) -> None:
        """A person leaves the channel."""
        people = {other: counts for other, counts in self.observed.people.items() if other != user_id}
        self.observed = replace(self.observed, people=people)

    def reconnect(self) -> None:
        """The connection is replaced, and everybody's counters with it."""
        self.observed = replace(self.observed, people=dict.fromkeys(self.observed.people, QUIET))
        self.core.reset_window(self.now_seconds)


def plus(counts: PersonObserved, news: PersonObserved) -> PersonObserved:
    return PersonObserved(counts.received + news.received, counts.speech + news.speech, counts.good + news.good)


def rebuild(attempt: int, cause: Cause = Cause.ENCRYPTED, *user_ids: int) -> Action:
    return Rebuild(attempt, cause, frozenset(user_ids))


def give_up(cause: Cause = Cause.ENCRYPTED, *user_ids: int) -> Action:
    return GiveUp(cause, frozenset(user_ids))


def sentences(actions: Iterable[Action]) -> list[str]:
    return [words for action in actions if (words := sentence(action)) is not None]


# One person


def test_who_has_read_that_it_is_given_up_does_not_read_it_again_for_another_reason() -> None:
    call = Call(ADA)
    call.settle()
    assert call.steps(4, refused=25) == [rebuild(1, Cause.TRANSPORT)]
    assert call.steps(60, BAD)[-1] == give_up()

    assert call.steps(60, refused=25) == []


def test_a_person_whose_packets_can_not_be_decrypted_is_found_within_three_seconds_and_a_half() -> None:
    call = Call(ADA)
    call.settle()

    assert call.steps(3, BAD) == []
    assert call.step(BAD) == [rebuild(1)]
    assert call.core.is_deaf


def test_half_a_second_of_speech_is_enough_and_less_is_not() -> None:
    enough, less = Call(ADA), Call(ADA)
    for call in (enough, less):
        call.settle()

    enough.step(PersonObserved(DEAF_PACKETS, DEAF_PACKETS))
    less.step(PersonObserved(DEAF_PACKETS - 1, DEAF_PACKETS - 1))

    assert enough.steps(3) == [rebuild(1)]
    assert less.steps(30) == []


def test_short_utterances_far_apart_are_not_added_up() -> None:
    call = Call(ADA)
    call.settle()

    for _ in range(10):
        assert call.step(PersonObserved(15, 15)) == []
        assert call.steps(4) == []


def test_speech_on_both_sides_of_the_end_of_a_window_is_added_up() -> None:
    call = Call(ADA)
    call.settle()

    call.step(PersonObserved(1, 1))
    call.steps(2)
    assert call.steps(1.5, PersonObserved(11, 11)) == [], "23 in the three seconds since the first"
    assert call.steps(2) == [rebuild(1)], "33 in the three seconds since the second"


@pytest.mark.parametrize("news", [QUIET, SILENCE, GOOD, PARTLY])
def test_who_is_silent_or_heard_in_parts_is_not_deafness(news: PersonObserved) -> None:
    assert Call(ADA).steps(60, news) == []


def test_a_good_packet_within_a_window_ends_it() -> None:
    call = Call(ADA)
    call.settle()

    for _ in range(20):
        assert call.steps(3, BAD) == []
        assert call.step(PARTLY) == []
    assert not call.core.is_deaf


def test_what_comes_while_keys_are_exchanged_for_the_first_time_does_not_count() -> None:
    call = Call(ADA)

    assert call.steps(2, BAD) == []
    assert call.steps(30) == []


def test_who_is_not_heard_from_the_start_is_found_as_soon_as_anybody() -> None:
    call = Call(ADA)

    assert call.steps(3, BAD) == []
    assert call.step(BAD) == [rebuild(1)]


def test_what_comes_while_keys_are_exchanged_with_somebody_new_does_not_count() -> None:
    call = Call(ADA)
    call.settle()
    call.enter(BOB)

    assert call.steps(2, GOOD, BAD) == []
    assert call.steps(30, GOOD) == []


def test_what_was_counted_before_the_first_observation_proves_nothing() -> None:
    core = Deafness()

    assert core.observe(Observed({ADA: PersonObserved(500, 500)}, 500, 500, 1), now_seconds=0) == []
    assert core.observe(Observed({ADA: PersonObserved(500, 500)}, 500, 500, 1), now_seconds=9) == []


def test_a_late_observation_is_one_like_others() -> None:
    call = Call(ADA)
    call.settle()
    call.now_seconds += 20

    assert call.step(PersonObserved(800, 800)) == []
    assert call.steps(2.5, BAD) == []
    assert call.step(BAD) == [rebuild(1)]


def test_a_packet_that_turns_out_not_to_be_opus_is_no_new_start() -> None:
    call = Call(ADA)
    call.settle()
    call.step(GOOD)

    assert call.steps(3, replace(BAD, good=-1)) == []
    assert call.step(replace(BAD, good=-1)) == [rebuild(1)]


# Rebuilding


def test_five_rebuilds_are_tried_then_it_is_given_up_and_nothing_more_is_said() -> None:
    call = Call(ADA)

    actions = call.steps(300, BAD)

    assert actions == [*(rebuild(attempt) for attempt in range(1, 6)), give_up()]
    assert call.core.is_deaf


def test_a_rebuild_is_judged_by_a_whole_new_window_without_its_first_two_seconds() -> None:
    call = Call(ADA)
    call.settle()
    call.steps(3.5, BAD)

    assert call.steps(2, BAD) == []
    assert call.steps(8) == [], "what came while keys were exchanged"
    assert call.steps(3, BAD) == []
    assert call.step(BAD) == [rebuild(2)]


def test_a_good_packet_resets_the_count_and_is_announced() -> None:
    call = Call(ADA)
    assert call.steps(8, BAD) == [rebuild(1), rebuild(2)]

    assert call.step(GOOD) == [HearAgain(EVERYBODY)]
    assert not call.core.is_deaf
    assert call.steps(10, GOOD) == []
    assert call.steps(4, BAD) == [rebuild(1)]


def test_a_good_packet_after_giving_up_resets_everything() -> None:
    call = Call(ADA)
    call.steps(60, BAD)

    assert call.step(PARTLY) == [HearAgain(EVERYBODY)]
    assert call.steps(60, BAD) == [*(rebuild(attempt) for attempt in range(1, 6)), give_up()]


def test_an_episode_is_announced_once() -> None:
    call = Call(ADA)
    call.steps(60, BAD)
    call.step(GOOD)

    assert sentences(call.actions) == [
        "I cannot hear you: what you say arrives, but can't be decrypted. I am setting up the encryption anew.",
        "I still cannot hear you, and have given up trying: what you say arrives, but can't be decrypted. "
        "Leaving the voice channel and entering it again may help.",
        "I can hear you again.",
    ]


def test_a_replaced_connection_keeps_the_count_though_all_counters_begin_anew() -> None:
    call = Call(ADA)
    actions = call.steps(3.5, BAD)

    for _ in range(10):
        call.reconnect()
        actions += call.steps(4, BAD)

    assert actions == [*(rebuild(attempt) for attempt in range(1, 6)), give_up()]


def test_while_the_connection_is_away_nothing_is_judged() -> None:
    call = Call(ADA)
    call.settle()

    for _ in range(40):
        call.core.reset_window(call.now_seconds)
        assert call.step(BAD, refused=25, unclaimed=25, speaking_events=1) == []
    assert call.steps(3, BAD) == []
    assert call.step(BAD) == [rebuild(1)]


def test_a_good_packet_just_before_a_reset_still_ends_the_trouble() -> None:
    call = Call(ADA)
    call.steps(4, BAD)

    call.core.reset_window(call.now_seconds)

    assert call.step(GOOD) == [HearAgain(EVERYBODY)]


def test_counters_that_begin_anew_without_a_reset_are_those_of_a_new_connection() -> None:
    call = Call(ADA)
    call.settle()
    call.steps(2, BAD)
    call.observed = Observed({ADA: QUIET})

    assert call.steps(2, BAD) == []
    assert call.steps(1, BAD) == []
    assert call.step(BAD) == [rebuild(1)]


# Several people


def test_one_person_is_named_while_another_is_heard() -> None:
    call = Call(ADA, BOB)

    assert call.steps(3.5, BAD, GOOD) == [rebuild(1, Cause.ENCRYPTED, ADA)]
    assert sentence(call.actions[0]) == (
        f"<@{ADA}>, I cannot hear you: what you say arrives, but can't be decrypted. "
        "I am setting up the encryption anew."
    )
    assert call.steps(60, BAD, GOOD) == [
        *(rebuild(attempt, Cause.ENCRYPTED, ADA) for attempt in range(2, 6)),
        give_up(Cause.ENCRYPTED, ADA),
    ]
    assert call.step(GOOD, BAD) == [HearAgain(frozenset((ADA,)))]
    assert sentence(call.actions[-1]) == f"<@{ADA}>, I can hear you again."


def test_several_people_at_once_are_one_action() -> None:
    call = Call(ADA, BOB, EVE)

    assert call.steps(3.5, BAD, BAD) == [rebuild(1, Cause.ENCRYPTED, ADA, BOB)]
    assert sentences(call.actions)[0].startswith(f"<@{ADA}>, <@{BOB}>, I cannot hear you: ")


def test_nobody_is_named_when_it_is_everybody_or_a_crowd() -> None:
    call = Call(ADA, BOB)

    assert call.steps(3.5, BAD, BAD) == [rebuild(1)]
    assert "<@" not in sentences([rebuild(1, Cause.ENCRYPTED, *range(11))])[0]


def test_who_is_not_heard_later_than_another_is_announced_too_and_has_attempts_of_their_own() -> None:
    call = Call(ADA, BOB)
    call.steps(7, BAD, GOOD)

    assert call.steps(3.5, BAD, BAD) == [rebuild(1, Cause.ENCRYPTED, BOB)], "for Ada it is the third, and she knows"
    assert call.steps(60, BAD, BAD) == [
        rebuild(2, Cause.ENCRYPTED, BOB),
        rebuild(3, Cause.ENCRYPTED, BOB),
        give_up(Cause.ENCRYPTED, ADA),
        rebuild(4, Cause.ENCRYPTED, BOB),
        give_up(Cause.ENCRYPTED, BOB),
    ], "and five in all since Bob was heard"


def test_who_is_heard_again_leaves_the_others_unheard() -> None:
    call = Call(ADA, BOB)
    call.steps(4, BAD, BAD)

    assert call.step(GOOD, BAD) == [HearAgain(frozenset((ADA,)))]
    assert call.core.is_deaf
    assert call.steps(4, GOOD, BAD) == [rebuild(2, Cause.ENCRYPTED, BOB)]
    assert call.step(GOOD, GOOD) == [HearAgain(frozenset((BOB,)))]
    assert not call.core.is_deaf


def test_who_is_found_after_all_rebuilds_were_in_vain_is_told_so_at_once() -> None:
    call = Call(ADA, BOB)
    call.steps(60, BAD)

    assert call.steps(10, BAD, BAD) == [give_up(Cause.ENCRYPTED, BOB)]


def test_who_has_given_up_hope_does_not_keep_others_from_theirs() -> None:
    call = Call(ADA, BOB, EVE)
    call.steps(60, BAD, GOOD)

    assert call.actions[-1] == give_up(Cause.ENCRYPTED, ADA)
    assert call.steps(3.5, BAD, BAD) == [rebuild(1, Cause.ENCRYPTED, BOB)]


def test_one_may_be_given_up_while_it_is_tried_for_another() -> None:
    call = Call(ADA, BOB, EVE)
    call.steps(18, BAD, GOOD)

    assert call.steps(5, BAD, BAD) == [give_up(Cause.ENCRYPTED, ADA), rebuild(1, Cause.ENCRYPTED, BOB)]


def test_who_leaves_is_forgotten_and_begins_anew_when_they_return() -> None:
    call = Call(ADA, BOB)
    call.steps(60, BAD, GOOD)

    call.leave(ADA)
    assert call.step(bob=GOOD) == []
    assert not call.core.is_deaf
    call.enter(ADA)
    assert call.steps(3.5, BAD, GOOD) == [rebuild(1, Cause.ENCRYPTED, ADA)]


# The connection


def test_packets_that_the_connections_key_does_not_open_are_found() -> None:
    call = Call(ADA)
    call.settle()

    assert call.steps(60, refused=25) == [
        *(rebuild(attempt, Cause.TRANSPORT) for attempt in range(1, 6)),
        give_up(Cause.TRANSPORT),
    ]
    assert sentences(call.actions) == [
        "I cannot hear you: what you say arrives, but the key of my voice connection does not open it. "
        "I am trying to mend that.",
        "I still cannot hear you, and have given up trying: what you say arrives, but the key of my voice connection "
        "does not open it. Leaving the voice channel and entering it again may help.",
    ]
    assert call.step(GOOD) == [HearAgain(EVERYBODY)]


@pytest.mark.parametrize("news", [SILENCE, GOOD, PARTLY])
def test_strangers_noise_is_nothing_while_the_connections_key_opens_others(news: PersonObserved) -> None:
    assert Call(ADA).steps(60, news, refused=100) == []


def test_packets_without_a_name_are_found_when_nobody_is_heard() -> None:
    call = Call(ADA)
    call.settle()

    assert call.steps(30, GOOD, unclaimed=25) == []
    assert call.steps(4, SILENCE, unclaimed=25) == [rebuild(1, Cause.NAMELESS)]
    assert sentences(call.actions) == [
        "I cannot hear you: what you say arrives, but Discord does not say whose it is. I am trying to mend that."
    ]


def test_a_speaking_event_without_a_packet_is_found_after_three_seconds_and_counts_once() -> None:
    call = Call(ADA, BOB)
    call.settle()

    assert call.step(speaking_events=1) == []
    assert call.steps(2.5) == []
    assert call.step() == [rebuild(1, Cause.MISSING)]
    assert call.steps(60) == []
    assert sentences(call.actions) == ["I cannot hear you: you speak, but nothing arrives. I am trying to mend that."]


def test_further_speaking_events_lead_to_further_rebuilds_and_to_giving_up() -> None:
    call = Call(ADA)

    for _ in range(10):
        call.step(speaking_events=1)
        call.step(speaking_events=1)
        call.steps(3)

    assert call.actions == [
        *(rebuild(attempt, Cause.MISSING) for attempt in range(1, 6)),
        give_up(Cause.MISSING),
    ]


@pytest.mark.parametrize("news", [QUIET, SILENCE, GOOD, PARTLY, PersonObserved(15, 15)])
def test_a_speaking_event_is_answered_by_any_packet_of_anybody(news: PersonObserved) -> None:
    call = Call(ADA, BOB)
    call.settle()

    call.step(speaking_events=1)
    call.step()
    call.step(bob=news, unclaimed=news.received == 0)
    assert call.steps(30) == []


def test_a_speaking_event_that_its_audio_has_overtaken_is_answered() -> None:
    call = Call(ADA)
    call.settle()

    call.step(replace(GOOD, received=10))
    call.step(speaking_events=1)
    assert call.steps(30) == []


def test_packets_that_are_refused_answer_a_speaking_event_too() -> None:
    call = Call(ADA)
    call.settle()

    call.step(refused=5, speaking_events=1)
    assert call.steps(30) == []


def test_who_speaks_and_leaves_has_just_left() -> None:
    call = Call(ADA, BOB)
    call.settle()

    call.step(speaking_events=1)
    call.leave(ADA)
    assert call.steps(30) == []


def test_a_fault_of_the_connection_goes_before_one_of_a_person() -> None:
    call = Call(ADA, BOB)

    assert call.steps(3.5, BAD, unclaimed=25) == [rebuild(1, Cause.NAMELESS)]


def test_what_everybody_was_told_is_not_announced_again_for_another_cause() -> None:
    connection_first, person_first = Call(ADA), Call(ADA)

    assert connection_first.steps(3.5, unclaimed=25) == [rebuild(1, Cause.NAMELESS)]
    assert connection_first.steps(4, BAD) == [rebuild(2)]
    assert person_first.steps(3.5, BAD) == [rebuild(1)]
    assert person_first.steps(4, unclaimed=25) == [rebuild(2, Cause.NAMELESS)]


def test_a_fault_of_the_connection_is_announced_to_those_who_did_not_know() -> None:
    call = Call(ADA, BOB)
    call.steps(4, BAD)

    assert call.steps(4, unclaimed=25) == [rebuild(1, Cause.NAMELESS)]


def test_giving_up_on_the_connection_is_giving_up_on_everybody() -> None:
    call = Call(ADA, BOB)
    call.steps(7.5, BAD)
    call.steps(30, refused=25)

    assert call.actions[-1] == give_up(Cause.TRANSPORT)
    assert call.steps(30, BAD, BAD) == []
    assert call.step(GOOD, BAD) == [HearAgain(frozenset((ADA,)))]
    assert call.core.is_deaf, "Bob was found unheard, and still is"


def test_giving_up_on_everybody_is_giving_up_on_the_connection() -> None:
    call = Call(ADA)
    call.steps(60, BAD)

    assert call.steps(30, refused=25) == []
    assert call.step(GOOD) == [HearAgain(EVERYBODY)]


def test_a_connection_without_people_is_judged_as_well() -> None:
    assert Call().steps(4, unclaimed=25) == [rebuild(1, Cause.NAMELESS)]


# Whatever happens


@dataclass(frozen=True)
class Step:
    """What happens between two observations; a person who is None is not in the channel."""

    people: tuple[PersonObserved | None, ...]
    refused: int
    unclaimed: int
    speaking_events: int
    is_reset: bool


def occasionally(value: int) -> st.SearchStrategy[int]:
    return st.sampled_from((0, 0, 0, value))


BEHAVIOURS = st.sampled_from((QUIET, SILENCE, BAD, BAD, BAD, GOOD, PARTLY, None))
SPELLS = st.lists(
    st.tuples(
        st.builds(
            Step,
            people=st.tuples(BEHAVIOURS, BEHAVIOURS, BEHAVIOURS),
            refused=occasionally(30),
            unclaimed=occasionally(30),
            speaking_events=occasionally(1),
            is_reset=st.sampled_from((False, False, False, True)),
        ),
        st.integers(1, 40),
    ),
    max_size=12,
)
"""Steps, and how often each is repeated: so faults last long enough to be found."""


@dataclass
class Told:
    """What one person, or everybody, was told since they were last heard."""

    announcements: int = 0
    rebuilds: int = 0
    give_ups: int = 0

    def take(self, action: Rebuild | GiveUp) -> None:
        """Count an action, and fail when it is one too many."""
        assert not self.give_ups, "nothing is done any more"
        self.give_ups += isinstance(action, GiveUp)
        self.rebuilds += isinstance(action, Rebuild)
        self.announcements += isinstance(action, Rebuild) and action.attempt == 1
        assert self.rebuilds <= REBUILD_LIMIT
        assert self.announcements <= 1


def only(*people: PersonObserved | None, speaking_events: int = 0) -> Step:
    """A step in which nothing happens but this."""
    return Step(people, refused=0, unclaimed=0, speaking_events=speaking_events, is_reset=False)


@example(  # somebody is given up; later everybody is found unheard, for another reason
    [
        (only(QUIET, BAD, GOOD), 24),
        (only(QUIET, QUIET, QUIET), 3),
        (only(QUIET, BAD, QUIET), 13),
        (only(BAD, BAD, QUIET), 1),
        (only(QUIET, QUIET, None, speaking_events=1), 27),
    ]
)
@given(SPELLS)
def test_the_promises_hold_whatever_happens(spells: list[tuple[Step, int]]) -> None:
    core = Deafness()
    counts: dict[int, PersonObserved] = {}
    refused = unclaimed = speaking_events = 0
    told: dict[int, Told] = {}
    everybody = Told()
    rebuilds_unheard = 0
    rebuilt_seconds = -WINDOW_SECONDS
    steps = (step for step, repetitions in spells for _ in range(repetitions))
    for number, step in enumerate(steps):
        now_seconds = number * STEP_SECONDS
        counts = {
            user_id: plus(counts.get(user_id, QUIET), news)
            for user_id, news in enumerate(step.people)
            if news is not None
        }
        refused += step.refused
        unclaimed += step.unclaimed
        speaking_events += step.speaking_events
        if step.is_reset:
            core.reset_window(now_seconds)

        actions = core.observe(Observed(counts, refused, unclaimed, speaking_events), now_seconds=now_seconds)

        heard = {user_id for user_id, news in enumerate(step.people) if news is not None and news.good}
        told = {user_id: Told() if user_id in heard else told.get(user_id, Told()) for user_id in counts}
        if heard:
            everybody, rebuilds_unheard = Told(), 0
            # Who was only told what everybody was told, for whom nothing was tried, begins anew when that has ended.
            told = {user_id: one if one.rebuilds else Told() for user_id, one in told.items()}
        for action in actions:
            if isinstance(action, HearAgain):
                assert action.user_ids <= heard
                assert heard
                continue
            assert not action.user_ids & heard, "who is heard is never said to be unheard"
            if action.cause is Cause.ENCRYPTED:
                named = action.user_ids or counts.keys()
                assert not everybody.give_ups
                for user_id in named:
                    told[user_id].take(action)
            else:
                assert not heard
                everybody.take(action)
            if isinstance(action, Rebuild):
                assert now_seconds - rebuilt_seconds >= WINDOW_SECONDS
                rebuilt_seconds = now_seconds
                rebuilds_unheard += 1
                assert rebuilds_unheard <= REBUILD_LIMIT
            assert core.is_deaf
        if heard == counts.keys() and heard:
            assert not core.is_deaf


@given(st.lists(st.sampled_from((GOOD, PARTLY, BAD, QUIET)), max_size=100), st.integers(1, 6))
def test_nothing_is_done_while_good_packets_come_within_every_window(
    behaviours: list[PersonObserved], period_steps: int
) -> None:
    call = Call(ADA)

    for number, news in enumerate(behaviours):
        call.step(PARTLY if number % period_steps == 0 else news, refused=30, unclaimed=30, speaking_events=1)

    assert call.actions == []
