"""The states of a conversation, what may be sent in each, and the causes of its end."""

from collections.abc import Callable
from dataclasses import asdict, replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from plexbridge.errors import (
    LinkError,
    LocalProtocolError,
    ModelBusy,
    ModelLost,
    ModelRefused,
    ModelSilent,
    ModelUnreachable,
    RemoteProtocolError,
)
from plexbridge.model.conversation import REFUSAL_SECONDS, STATE_SENTENCES, Conversation, State
from plexbridge.model.protocol import (
    MAX_LOG_CHARS,
    Audio,
    Handshake,
    Text,
    audio_message,
    fault_message,
    handshake_message,
    metadata_message,
    parse_message,
    text_message,
)

PAGE = b"OggS page"


def waiting() -> Conversation:
    conversation = Conversation()
    conversation.upgraded()
    return conversation


def live() -> Conversation:
    conversation = waiting()
    conversation.receive(handshake_message())
    return conversation


def too_slow() -> Conversation:
    conversation = live()
    conversation.set_behind(True)
    return conversation


def ended() -> Conversation:
    conversation = live()
    conversation.end("the person left")
    return conversation


def all_of(conversation: Conversation) -> tuple[object, ...]:
    return conversation.state, conversation.end_cause, conversation.statistics(), conversation.may_ping


def test_a_conversation_goes_from_connecting_through_waiting_to_live() -> None:
    conversation = Conversation()
    states = [conversation.state]

    conversation.upgraded()
    states.append(conversation.state)
    event = conversation.receive(handshake_message())
    states.append(conversation.state)

    assert states == [State.CONNECTING, State.WAITING, State.LIVE]
    assert event == Handshake()
    assert conversation.end_cause is None


def test_a_handshake_with_versions_starts_the_conversation_too() -> None:
    conversation = waiting()

    assert conversation.receive(handshake_message((0, 3))) == Handshake(0, 3)
    assert conversation.state is State.LIVE


def test_falling_behind_and_catching_up_move_between_live_and_too_slow() -> None:
    conversation = live()
    states = []
    for is_behind in (False, True, True, False, False):
        conversation.set_behind(is_behind)
        states.append(conversation.state)

    assert states == [State.LIVE, State.TOO_SLOW, State.TOO_SLOW, State.LIVE, State.LIVE]


@pytest.mark.parametrize("start", [live, too_slow])
def test_audio_goes_out_only_in_a_running_conversation(start: Callable[[], Conversation]) -> None:
    assert start().send_audio(PAGE) == b"\x01" + PAGE


@pytest.mark.parametrize("start", [Conversation, waiting, ended])
def test_sending_audio_before_the_handshake_or_after_the_end_is_a_bug(start: Callable[[], Conversation]) -> None:
    with pytest.raises(LocalProtocolError):
        start().send_audio(PAGE)


@pytest.mark.parametrize(
    ("start", "may_ping"), [(Conversation, False), (waiting, False), (live, True), (too_slow, True), (ended, False)]
)
def test_only_a_running_conversation_may_be_pinged(start: Callable[[], Conversation], may_ping: bool) -> None:
    assert start().may_ping is may_ping


@pytest.mark.parametrize("message", [audio_message(PAGE), text_message(" hi")])
def test_audio_or_text_before_the_handshake_ends_the_conversation(message: bytes) -> None:
    conversation = waiting()

    with pytest.raises(RemoteProtocolError, match="before its handshake"):
        conversation.receive(message)

    assert conversation.state is State.ENDED
    assert conversation.end_cause is not None
    error = conversation.closed(1000, age_seconds=1.0)
    assert type(error) is ModelLost
    assert conversation.end_cause in str(error)


HARMLESS = [
    metadata_message("{}"),
    fault_message("x"),
    b"\x03\x01",
    b"\x06",
    b"\x07x",
    b"\x08",
    b"\x09",
    b"\xf0",
    b"",
    "x",
]


@pytest.mark.parametrize("start", [waiting, live, too_slow])
@pytest.mark.parametrize("message", HARMLESS)
def test_other_kinds_change_nothing_whenever_they_come(start: Callable[[], Conversation], message: bytes | str) -> None:
    conversation = start()
    state = conversation.state

    event = conversation.receive(message)

    assert event == parse_message(message)
    assert conversation.state is state


def test_a_second_handshake_is_ignored_and_counted() -> None:
    conversation = too_slow()

    conversation.receive(handshake_message())

    assert conversation.state is State.TOO_SLOW
    assert conversation.statistics().handshakes == 2
    assert conversation.statistics().ignored == 1


@pytest.mark.parametrize(
    ("start", "misuse"),
    [
        (Conversation, lambda c: c.receive(handshake_message())),
        (Conversation, lambda c: c.set_behind(True)),
        (Conversation, lambda c: c.silent(3)),
        (waiting, lambda c: c.upgraded()),
        (waiting, lambda c: c.set_behind(False)),
        (waiting, lambda c: c.rejected(404)),
        (waiting, lambda c: c.silent(3)),
        (live, lambda c: c.upgraded()),
        (live, lambda c: c.rejected(404)),
        (live, lambda c: c.handshake_timed_out(60)),
        (too_slow, lambda c: c.handshake_timed_out(60)),
    ],
)
def test_a_report_that_cannot_be_true_in_this_state_is_a_bug_and_changes_nothing(
    start: Callable[[], Conversation], misuse: Callable[[Conversation], object]
) -> None:
    conversation = start()
    before = all_of(conversation)

    with pytest.raises(LocalProtocolError):
        misuse(conversation)

    assert all_of(conversation) == before


@pytest.mark.parametrize("start", [Conversation, waiting, live, too_slow])
def test_our_own_side_may_end_it_at_any_time(start: Callable[[], Conversation]) -> None:
    conversation = start()

    conversation.end("cancelled")

    assert conversation.state is State.ENDED
    assert conversation.end_cause == "cancelled"


def test_the_first_cause_of_an_end_stays() -> None:
    conversation = live()
    lost = conversation.closed(1006, age_seconds=10)

    assert conversation.silent(3) is lost
    assert conversation.rejected(503) is lost
    assert conversation.handshake_timed_out(60) is lost
    assert conversation.closed(1000, age_seconds=11) is lost
    conversation.end("later")
    assert conversation.end_cause == str(lost)


def test_a_close_after_our_own_end_names_our_cause() -> None:
    conversation = ended()

    error = conversation.closed(1000, age_seconds=5)

    assert type(error) is ModelLost
    assert str(error) == "the conversation had ended: the person left"
    assert conversation.end_cause == "the person left"


@pytest.mark.parametrize("message", [handshake_message(), audio_message(PAGE), *HARMLESS])
def test_a_late_message_is_read_but_has_no_effect(message: bytes | str) -> None:
    conversation = ended()
    before = all_of(conversation)

    assert conversation.receive(message) == parse_message(message)
    assert all_of(conversation) == before


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_sentence_for_people(state: State) -> None:
    assert STATE_SENTENCES[state].endswith(".")


def test_people_are_told_that_waiting_may_be_a_queue_and_that_a_slow_model_skips_speech() -> None:
    assert "may be busy with another call, or still loading" in STATE_SENTENCES[State.WAITING]
    assert "too slow" in STATE_SENTENCES[State.TOO_SLOW]


# --- causes of the end


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (400, ModelRefused, "too long"),
        (401, ModelRefused, "credentials"),
        (403, ModelRefused, "allow"),
        (404, ModelUnreachable, "no model at this path"),
        (409, ModelBusy, "another call"),
        (414, ModelRefused, "too long"),
        (429, ModelBusy, "too many"),
        (431, ModelRefused, "too long"),
        (503, ModelBusy, "no call now"),
        (200, ModelUnreachable, "no WebSocket"),
        (302, ModelUnreachable, "no WebSocket"),
        (502, ModelUnreachable, "no WebSocket"),
    ],
)
def test_a_refused_upgrade_is_named_by_its_status(status: int, kind: type[LinkError], words: str) -> None:
    conversation = Conversation()

    error = conversation.rejected(status)

    assert type(error) is kind
    assert f"HTTP {status}" in str(error)
    assert words in str(error)
    assert conversation.state is State.ENDED
    assert conversation.end_cause == str(error)


@pytest.mark.parametrize("code", [1006, None, 1000, 1011, 1008, 4000])
def test_a_close_soon_after_the_upgrade_is_a_refusal(code: int | None) -> None:
    error = waiting().closed(code, age_seconds=0.9)

    assert type(error) is ModelRefused
    assert f"close {code or 1006}" in str(error)
    assert "before its handshake" in str(error)
    assert "0.9 s" in str(error)


def test_a_drop_after_a_long_wait_without_a_word_is_a_queue_and_not_a_refusal() -> None:
    error = waiting().closed(1006, age_seconds=REFUSAL_SECONDS + 0.1)

    assert type(error) is ModelBusy
    assert "queued behind another call, or loading" in str(error)
    assert "busy with another call or still loading" in error.user_message
    assert ModelBusy.user_message != error.user_message


def test_a_drop_after_a_long_wait_by_a_server_that_had_spoken_is_a_refusal() -> None:
    conversation = waiting()
    conversation.receive(metadata_message("{}"))

    assert type(conversation.closed(1006, age_seconds=REFUSAL_SECONDS + 0.1)) is ModelRefused


@pytest.mark.parametrize("code", [1001, 1012])
def test_a_server_that_goes_away_before_the_handshake_is_unreachable(code: int) -> None:
    assert type(waiting().closed(code, age_seconds=30)) is ModelUnreachable


@pytest.mark.parametrize("start", [waiting, live])
def test_a_server_that_says_try_again_later_is_busy(start: Callable[[], Conversation]) -> None:
    assert type(start().closed(1013, age_seconds=1)) is ModelBusy


def test_a_close_before_the_upgrade_is_unreachable() -> None:
    conversation = Conversation()

    assert type(conversation.closed(None, age_seconds=0)) is ModelUnreachable
    assert conversation.state is State.ENDED


@pytest.mark.parametrize("start", [live, too_slow])
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1000, "close 1000 (an exception in the model or its decoder; it gives no reason)"),
        (1001, "shutting down"),
        (1006, "without a goodbye"),
        (None, "without a goodbye"),
        (1009, "larger than the receiver takes"),
        (1011, "error inside the server"),
        (4321, "close 4321 (a code without a known meaning)"),
    ],
)
def test_a_running_conversation_that_is_closed_is_lost_with_a_cause(
    start: Callable[[], Conversation], code: int | None, words: str
) -> None:
    conversation = start()

    error = conversation.closed(code, age_seconds=12.3)

    assert type(error) is ModelLost
    assert words in str(error)
    assert "12.3 s" in str(error)
    assert conversation.end_cause == str(error)


def test_the_servers_reason_is_in_the_cause_on_one_short_line() -> None:
    error = live().closed(1011, "worker died\nERROR forged" + "x" * 5_000, age_seconds=1)

    assert "its reason: worker died ERROR forged" in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < MAX_LOG_CHARS + 300


@pytest.mark.parametrize(("start", "kind"), [(waiting, ModelRefused), (live, ModelLost)])
def test_a_fault_is_the_cause_of_the_close_that_follows_it(
    start: Callable[[], Conversation], kind: type[LinkError]
) -> None:
    conversation = start()
    conversation.receive(fault_message("CUDA out of memory"))

    error = conversation.closed(1000, age_seconds=60)

    assert type(error) is kind
    assert "it had reported: CUDA out of memory" in str(error)
    assert "CUDA" not in error.user_message
    assert "voice" not in str(error)


@pytest.mark.parametrize("start", [waiting, live])
@pytest.mark.parametrize(
    "fault", ["no free channels", "Server at capacity", "model is busy", "too many sessions", "slot already in use"]
)
def test_a_fault_about_capacity_makes_the_model_busy(start: Callable[[], Conversation], fault: str) -> None:
    conversation = start()
    conversation.receive(fault_message(fault))

    error = conversation.closed(1000, age_seconds=0.1)

    assert type(error) is ModelBusy
    assert fault in str(error)


def test_a_handshake_that_never_comes_is_a_queue_or_loading_and_the_person_is_told_both() -> None:
    conversation = waiting()
    conversation.receive(fault_message("queue is long"))

    error = conversation.handshake_timed_out(60)

    assert type(error) is ModelBusy
    assert "60.0 s" in str(error)
    assert "it had reported: queue is long" in str(error)
    assert "busy with another call or still loading" in error.user_message
    assert conversation.state is State.ENDED


def test_an_upgrade_that_never_comes_is_unreachable() -> None:
    error = Conversation().handshake_timed_out(10)

    assert type(error) is ModelUnreachable
    assert "upgrade" in str(error)


@pytest.mark.parametrize("start", [live, too_slow])
def test_a_model_that_stops_sending_is_silent(start: Callable[[], Conversation]) -> None:
    conversation = start()
    conversation.receive(fault_message("stuck"))

    error = conversation.silent(5)

    assert type(error) is ModelSilent
    assert "5.0 s" in str(error)
    assert "stuck" in str(error)
    assert conversation.state is State.ENDED


# --- counters


def test_statistics_count_every_kind_and_all_bytes() -> None:
    conversation = live()
    messages: list[bytes | str] = [
        audio_message(b"12"),
        audio_message(b"3"),
        text_message("a"),
        b"\x02\xff",
        b"\x03",
        metadata_message(""),
        fault_message(""),
        b"\x06",
        b"\x09",
        "\u00e4",
        b"",
    ]
    for message in messages:
        conversation.receive(message)
    conversation.send_audio(b"1234")
    conversation.send_audio(b"5")

    statistics = conversation.statistics()

    assert asdict(statistics) == {
        "handshakes": 1,
        "audio": 2,
        "text": 2,
        "damaged_text": 1,
        "control": 1,
        "metadata": 1,
        "faults": 1,
        "pings": 1,
        "unknown": 2,
        "empty": 1,
        "received_bytes": 1 + 3 + 2 + 2 + 2 + 1 + 1 + 1 + 1 + 1 + 2,
        "sent_audio": 2,
        "sent_bytes": 5 + 2,
    }
    assert statistics.ignored == 6
    assert replace(statistics, handshakes=0).ignored == 6


# --- any sequence


MESSAGES = st.one_of(
    st.sampled_from(
        [handshake_message(), handshake_message((0, 1)), audio_message(PAGE), text_message("a"), *HARMLESS]
    ),
    st.binary(max_size=12),
    st.text(max_size=4),
)


class AnySequence(RuleBasedStateMachine):
    """Reports in any order, true or not: the conversation keeps to its states, and to silence before the handshake."""

    def __init__(self) -> None:
        super().__init__()
        self.conversation = Conversation()
        self.was_upgraded = False
        self.had_handshake = False
        self.sent = 0
        self.at_end: tuple[object, ...] | None = None

    @rule()
    def upgrade(self) -> None:
        is_first = self.conversation.state is State.CONNECTING
        try:
            self.conversation.upgraded()
        except LocalProtocolError:
            assert not is_first
        self.was_upgraded |= is_first

    @rule(message=MESSAGES)
    def receive(self, message: bytes | str) -> None:
        before = self.conversation.state
        try:
            event = self.conversation.receive(message)
        except LocalProtocolError:
            assert before is State.CONNECTING
        except RemoteProtocolError:
            assert before is State.WAITING
            assert isinstance(parse_message(message), Audio | Text)
        else:
            assert event == parse_message(message)
            self.had_handshake |= before is State.WAITING and isinstance(event, Handshake)

    @rule(page=st.binary(min_size=1, max_size=8))
    def send(self, page: bytes) -> None:
        try:
            message = self.conversation.send_audio(page)
        except LocalProtocolError:
            assert not (self.had_handshake and self.at_end is None)
        else:
            assert self.had_handshake
            assert self.at_end is None
            assert parse_message(message) == Audio(page)
            self.sent += 1

    @rule(is_behind=st.booleans())
    def lag(self, is_behind: bool) -> None:
        before = self.conversation.state
        try:
            self.conversation.set_behind(is_behind)
        except LocalProtocolError:
            assert before in (State.CONNECTING, State.WAITING)
        else:
            expected = State.TOO_SLOW if is_behind else State.LIVE
            assert self.conversation.state is (State.ENDED if before is State.ENDED else expected)

    @rule(code=st.none() | st.integers(1000, 1015), reason=st.text(max_size=5), age_seconds=st.floats(0, 100))
    def close(self, code: int | None, reason: str, age_seconds: float) -> None:
        assert isinstance(self.conversation.closed(code, reason, age_seconds=age_seconds), LinkError)
        assert self.conversation.state is State.ENDED

    @rule(
        fail=st.sampled_from(
            [
                lambda c: c.rejected(503),
                lambda c: c.handshake_timed_out(60.0),
                lambda c: c.silent(5.0),
            ]
        )
    )
    def fail(self, fail: Callable[[Conversation], LinkError]) -> None:
        before = all_of(self.conversation)
        try:
            error = fail(self.conversation)
        except LocalProtocolError:
            assert all_of(self.conversation) == before
        else:
            assert isinstance(error, LinkError)
            assert self.conversation.state is State.ENDED

    @precondition(lambda self: self.had_handshake)
    @rule()
    def leave(self) -> None:
        self.conversation.end("the person left")
        assert self.conversation.state is State.ENDED

    @invariant()
    def the_state_follows_from_what_happened(self) -> None:
        state = self.conversation.state
        if state is State.CONNECTING:
            assert not self.was_upgraded
        if state is State.WAITING:
            assert self.was_upgraded
            assert not self.had_handshake
        if state in (State.LIVE, State.TOO_SLOW):
            assert self.had_handshake
        assert self.conversation.may_ping == (state in (State.LIVE, State.TOO_SLOW))

    @invariant()
    def nothing_was_sent_before_the_handshake(self) -> None:
        assert self.conversation.statistics().sent_audio == self.sent
        assert self.had_handshake or self.sent == 0

    @invariant()
    def nothing_changes_after_the_end(self) -> None:
        if self.conversation.state is State.ENDED and self.at_end is None:
            self.at_end = all_of(self.conversation)
        if self.at_end is not None:
            assert all_of(self.conversation) == self.at_end
            assert self.conversation.end_cause


TestAnySequence = AnySequence.TestCase
