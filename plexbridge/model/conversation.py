"""The states of one conversation with a model, and why it ended.

A `Conversation` is the client's view of one connection. It does no I/O: whoever owns the socket reports what happened
to it and asks what that means. Being connected means nothing, because a PersonaPlex server accepts the upgrade before
it looks at the query or at the call it already holds; it then says nothing at all while another call lasts and while
it reads voice and persona. Only the handshake message (kind 0) starts the conversation:

    CONNECTING --upgrade--> WAITING --handshake--> LIVE <--behind / caught up--> TOO_SLOW
         |                     |                    |                               |
         +---------------------+------ ENDED <------+-------------------------------+

Before the handshake nothing may be sent: PersonaPlex eats early audio, first of all the page with the codec's head,
and then fails on the next one. Nor may it be pinged, because while it waits it never answers. In the same way audio
or text that the model sends too early ends the conversation: it has no stream head yet, so nothing after it could be
decoded. Metadata does come before the handshake (the Rust server), and kinds that plexbridge does not know come at any
time; both are counted and left alone. So is a second handshake.

A server hardly ever gives a reason for closing. The cause is inferred from the state, the close code, the time since
the upgrade and whether the server had said anything; `closed`, `rejected`, `handshake_timed_out` and `silent` return
the error to raise. The first cause stays: after ENDED nothing changes, so late messages and a second close are
harmless.

All changes of state are entries of one table, `(state, what happened) -> state`. What is not in it is a bug of ours.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

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
from plexbridge.model.protocol import (
    Audio,
    Control,
    Empty,
    Event,
    Fault,
    Handshake,
    Metadata,
    Ping,
    Text,
    Unknown,
    audio_message,
    log_line,
    parse_message,
)

REFUSAL_SECONDS = 5.0
"""PersonaPlex drops a call that it can't use at once; one that it drops later had been queued or loading."""


class State(Enum):
    """Where a conversation stands; see the module's docstring."""

    CONNECTING = "connecting"
    WAITING = "waiting"
    LIVE = "live"
    TOO_SLOW = "too slow"
    ENDED = "ended"


STATE_SENTENCES: Mapping[State, str] = {
    State.CONNECTING: "Connecting to the speech model.",
    State.WAITING: "Waiting for the speech model: it may be busy with another call, or still loading.",
    State.LIVE: "The speech model is listening.",
    State.TOO_SLOW: "The speech model is too slow at the moment; some of what you say is skipped.",
    State.ENDED: "The call has ended.",
}
"""What a person reads about each state."""


class _Step(Enum):
    """What the connection's owner reports, beside the model's events."""

    UPGRADED = "the upgrade"
    REJECTED = "a refused upgrade"
    TIMED_OUT = "a handshake that did not come in time"
    BEHIND = "a model that is behind"
    CAUGHT_UP = "a model that keeps up"
    SILENT = "a silent model"
    CLOSED = "a closed connection"
    LEFT = "our own end"


_TALKING = (State.LIVE, State.TOO_SLOW)
_INDIFFERENT = (Control, Metadata, Fault, Ping, Unknown, Empty)

_MOVES: Mapping[tuple[State, type[Event] | _Step], State] = {
    (State.CONNECTING, _Step.UPGRADED): State.WAITING,
    (State.WAITING, Handshake): State.LIVE,
    **{(state, _Step.BEHIND): State.TOO_SLOW for state in _TALKING},
    **{(state, _Step.CAUGHT_UP): State.LIVE for state in _TALKING},
    # A model's event that leads to ENDED is a violation of the protocol.
    **{(State.WAITING, event): State.ENDED for event in (Audio, Text)},
    **{(state, event): state for state in _TALKING for event in (Handshake, Audio, Text)},
    **{(state, event): state for state in (State.WAITING, *_TALKING) for event in _INDIFFERENT},
    (State.CONNECTING, _Step.REJECTED): State.ENDED,
    **{(state, _Step.TIMED_OUT): State.ENDED for state in (State.CONNECTING, State.WAITING)},
    **{(state, _Step.SILENT): State.ENDED for state in _TALKING},
    **{(state, step): State.ENDED for state in State for step in (_Step.CLOSED, _Step.LEFT)},
    **{(State.ENDED, step): State.ENDED for step in _Step},
}

_IN_VAIN = "The speech model gave no answer: it is busy with another call or still loading. Please try again later."
_CLOSE_MEANINGS: Mapping[int, str] = {
    1000: "an exception in the model or its decoder; it gives no reason",
    1001: "the server is shutting down",
    1002: "it found a fault in the WebSocket protocol",
    1003: "it does not take this kind of data",
    1005: "without a code",
    1006: "without a goodbye: the server dropped the call or died, or the network broke",
    1007: "it found text that is not UTF-8",
    1008: "it does not allow this",
    1009: "a message was larger than the receiver takes",
    1011: "an error inside the server",
    1012: "the server is restarting",
    1013: "try again later",
}
_REJECTIONS: Mapping[int, tuple[type[LinkError], str]] = {
    400: (ModelRefused, "the query is too long or not what it takes"),
    401: (ModelRefused, "it wants credentials"),
    403: (ModelRefused, "it does not allow this call"),
    404: (ModelUnreachable, "there is no model at this path"),
    409: (ModelBusy, "it serves another call"),
    414: (ModelRefused, "the query is too long"),
    429: (ModelBusy, "it has had too many calls"),
    431: (ModelRefused, "the query is too long"),
    503: (ModelBusy, "it can take no call now"),
}
_CAPACITY = re.compile(r"no free|capacity|\bbusy\b|too many (?:sess|conn|user|client|call|req)|in use|try again", re.I)


@dataclass(frozen=True, slots=True)
class ConversationStatistics:
    """Messages by kind and bytes both ways; `ignored` are the messages that had no effect."""

    handshakes: int
    audio: int
    text: int
    damaged_text: int
    control: int
    metadata: int
    faults: int
    pings: int
    unknown: int
    empty: int
    received_bytes: int
    sent_audio: int
    sent_bytes: int

    @property
    def ignored(self) -> int:
        """How many messages were counted and left alone, repeated handshakes included."""
        repeated = max(0, self.handshakes - 1)
        return repeated + self.control + self.metadata + self.pings + self.unknown + self.empty


class Conversation:
    """One connection to a model, seen from the client; see the module's docstring for its states."""

    def __init__(self) -> None:
        self._state = State.CONNECTING
        self._end_cause: str | None = None
        self._error: LinkError | None = None
        self._fault: str | None = None
        self._received: Counter[type[Event]] = Counter()
        self._damaged_text = self._received_bytes = self._sent_audio = self._sent_bytes = 0

    @property
    def state(self) -> State:
        """Where the conversation stands."""
        return self._state

    @property
    def end_cause(self) -> str | None:
        """Why it ended, for the log; `None` until then."""
        return self._end_cause

    @property
    def may_ping(self) -> bool:
        """Whether a WebSocket ping would be answered; a server that is busy with another call answers none."""
        return self._state in _TALKING

    def upgraded(self) -> None:
        """Note that the server accepted the WebSocket, which says nothing about the model."""
        self._move(_Step.UPGRADED)

    def receive(self, message: bytes | str) -> Event:
        """Return what the model said, and move on accordingly.

        Raises `RemoteProtocolError`, and ends the conversation, on audio or text before the handshake;
        `LocalProtocolError` if the upgrade was not reported. A late message, after the end, has no effect.
        """
        event = parse_message(message)
        if self._state is State.ENDED:
            return event
        state = self._move(type(event))
        self._received[type(event)] += 1
        self._received_bytes += len(message.encode(errors="replace") if isinstance(message, str) else message)
        if isinstance(event, Fault):
            self._fault = event.text
        if isinstance(event, Text):
            self._damaged_text += event.is_damaged
        if state is State.ENDED:
            self._end_cause = f"the server sent {type(event).__name__.lower()} before its handshake"
            raise RemoteProtocolError(self._end_cause)
        return event

    def send_audio(self, page: bytes) -> bytes:
        """Return the message for `page`. Raises `LocalProtocolError` before the handshake and after the end."""
        if self._state not in _TALKING:
            raise LocalProtocolError(f"no audio may be sent while the conversation is {self._state.value}")
        message = audio_message(page)
        self._sent_audio += 1
        self._sent_bytes += len(message)
        return message

    def set_behind(self, is_behind: bool) -> None:
        """Note whether the model owes more audio than is good; only for a conversation that is live."""
        self._move(_Step.BEHIND if is_behind else _Step.CAUGHT_UP)

    def rejected(self, status: int) -> LinkError:
        """Return the error to raise for an HTTP `status` in place of the upgrade."""
        kind, meaning = _REJECTIONS.get(status, (ModelUnreachable, "no WebSocket is served there"))
        return self._finish(_Step.REJECTED, kind(f"the server answered the upgrade with HTTP {status}: {meaning}"))

    def handshake_timed_out(self, seconds: float) -> LinkError:
        """Return the error to raise when no handshake came within `seconds`: a queue looks just like loading."""
        if self._state is State.CONNECTING:
            cause = f"the server did not answer the upgrade within {seconds:.1f} s"
            return self._finish(_Step.TIMED_OUT, ModelUnreachable(cause))
        cause = f"no handshake within {seconds:.1f} s: busy with another call, or still loading{self._reported()}"
        return self._finish(_Step.TIMED_OUT, _busy_or_loading(cause))

    def silent(self, seconds: float) -> LinkError:
        """Return the error to raise when a live model has sent nothing for `seconds`."""
        cause = f"the model has sent nothing for {seconds:.1f} s{self._reported()}"
        return self._finish(_Step.SILENT, ModelSilent(cause))

    def closed(self, code: int | None, reason: str = "", *, age_seconds: float) -> LinkError:
        """Return the error to raise when the connection is gone, `age_seconds` after its upgrade.

        `code` is the close code received, `None` if there was none; `reason` is the server's text, for the log.
        """
        return self._finish(_Step.CLOSED, self._infer_close(1006 if code is None else code, reason, age_seconds))

    def end(self, cause: str) -> None:
        """Note that our own side ends the conversation, with the cause for the log."""
        if self._state is not State.ENDED:
            self._move(_Step.LEFT)
            self._end_cause = cause

    def statistics(self) -> ConversationStatistics:
        """Return the counters so far; they stand still after the end."""
        count = self._received
        return ConversationStatistics(
            handshakes=count[Handshake],
            audio=count[Audio],
            text=count[Text],
            damaged_text=self._damaged_text,
            control=count[Control],
            metadata=count[Metadata],
            faults=count[Fault],
            pings=count[Ping],
            unknown=count[Unknown],
            empty=count[Empty],
            received_bytes=self._received_bytes,
            sent_audio=self._sent_audio,
            sent_bytes=self._sent_bytes,
        )

    def _move(self, what: type[Event] | _Step) -> State:
        """Make the one move that the table has for `what`; every change of state happens here."""
        state = _MOVES.get((self._state, what))
        if state is None:
            name = what.value if isinstance(what, _Step) else what.__name__
            raise LocalProtocolError(f"{name} is not possible while the conversation is {self._state.value}")
        self._state = state
        return state

    def _finish(self, step: _Step, error: LinkError) -> LinkError:
        """End with `error`, or return the error of an earlier end: the first cause stays."""
        is_first = self._state is not State.ENDED
        self._move(step)
        if is_first:
            self._error, self._end_cause = error, str(error)
        return self._error or ModelLost(f"the conversation had ended: {self._end_cause}")

    def _infer_close(self, code: int, reason: str, age_seconds: float) -> LinkError:
        meaning = _CLOSE_MEANINGS.get(code, "a code without a known meaning")
        cause = f"the server ended the session with close {code} ({meaning}), {age_seconds:.1f} s after the upgrade"
        if reason:
            cause += f"; its reason: {log_line(reason.encode(errors='replace'))}"
        cause += self._reported()
        if self._state is State.CONNECTING:
            return ModelUnreachable(f"the connection was closed ({meaning}) before the upgrade was answered")
        if code == 1013 or (self._fault and _CAPACITY.search(self._fault)):
            return ModelBusy(cause)
        if self._state is not State.WAITING:
            return ModelLost(cause)
        if code in (1001, 1012):
            return ModelUnreachable(f"{cause}; before its handshake")
        if not self._received and age_seconds > REFUSAL_SECONDS:
            return _busy_or_loading(f"{cause}; dropped while queued behind another call, or loading")
        guess = "" if self._fault else ", most likely for a voice or a query that it can't use"
        return ModelRefused(f"{cause}; before its handshake{guess}")

    def _reported(self) -> str:
        return f"; it had reported: {self._fault}" if self._fault else ""


def _busy_or_loading(cause: str) -> ModelBusy:
    """Return the error for a server that never said which of the two it was."""
    error = ModelBusy(cause)
    error.user_message = _IN_VAIN
    return error
