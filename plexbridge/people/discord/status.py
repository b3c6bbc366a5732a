"""What /status says: who is heard, who is not and why, and how the conversation fares, in words for people.

A pure core: it is handed the figures and returns text in Discord's markdown, within the length of one message. People
are shown as mentions, which Discord turns into names; whoever sends the text has to see to it that nobody is called.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from plexbridge.model.conversation import State
from plexbridge.model.health import ModelStatus
from plexbridge.model.standing import Standing
from plexbridge.people.discord.attention import Button
from plexbridge.people.discord.captions import plain
from plexbridge.people.discord.stream import SpeakerStatistics
from plexbridge.session.ledger import Delay

MESSAGE_CHARS = 2_000
"""Discord's limit for one message."""
QUICK_SECONDS = 0.25
"""Up to this much, plexbridge's own buffers included, nobody notices."""
SLOW_SECONDS = 1.0
PART_SECONDS = 0.1
"""A part of a delay that is less does not explain it."""
CODE_GROUP_DIGITS = 5
MODEL_LINES = 3
"""So many models are named; the rest are counted."""


class Hearing(Enum):
    """Whether a person is heard; the value says it in the middle of a line."""

    HEARD = "Heard"
    QUIET = "Has not said anything yet"
    MUTED = "Muted in Discord"
    IGNORED = "Asked not to be heard"
    UNHEARD = "Not heard"
    PENDING = "Not heard yet, because encryption with them is still being set up"
    ENCRYPTED = "Not heard, because what they send can't be decrypted"
    UNENCRYPTED = "Not heard, because they send in clear though the call is encrypted"
    DAMAGED = "Not heard, because their sound arrives damaged"


@dataclass(frozen=True, slots=True)
class PersonStatus:
    """One person in the voice channel."""

    user_id: int
    hearing: Hearing


@dataclass(frozen=True, slots=True)
class Listening:
    """Whom of those who are heard the model listens to, and how loud each is for it."""

    sentence: str
    """Whom it listens to, in words."""
    percents: Mapping[int, int]
    """The volumes that are not the usual one, by user."""
    buttons: tuple[Button, ...]
    """By which that can be changed."""


@dataclass(frozen=True, slots=True)
class Encryption:
    """End-to-end encryption (DAVE) of the call; version 0 is a call without."""

    version: int
    is_ready: bool
    privacy_code: str
    """The digits that everybody in the call sees alike, unless somebody stands between them."""


@dataclass(frozen=True, slots=True)
class RoomStatus:
    """One conversation at one moment."""

    channel_id: int
    starter_id: int
    seconds: float
    """How long it has lasted."""
    people: tuple[PersonStatus, ...]
    listening: Listening
    encryption: Encryption | None
    """None while the voice connection is being made or restored."""
    model: str
    model_state: State | None
    """None while the model is away and plexbridge tries to reach it again."""
    voice: str | None
    """Whose voice it speaks with; None before the model was there."""
    delay: Delay | None
    is_deaf: bool
    """People speak and are not heard, or some of them."""
    standing: Standing | None = None
    """The place in the queue of those who wait for a model."""
    models: tuple[ModelStatus, ...] = ()
    is_recorded: bool = False
    unheard_seconds: float = 0.0
    """What people have said while the link to the model was renewed."""
    answers: tuple[float, float] | None = None
    """How many seconds after a sentence its answer begins, half of all times and 95 of 100 times; None before any."""


def hearing(statistics: SpeakerStatistics | None, *, is_muted: bool, is_deaf: bool) -> Hearing:
    """Return whether a person is heard, from what became of their packets; None: none came.

    While nobody is heard (`is_deaf`), it can't be said of anybody that they are silent.

    Somebody counts as heard when at least half of what they said came through: single packets are lost to everybody.
    """
    if is_muted:
        return Hearing.MUTED
    if statistics is None or statistics.speech <= 0:
        return Hearing.UNHEARD if is_deaf else Hearing.QUIET
    if 2 * statistics.good >= statistics.speech:
        return Hearing.HEARD
    faults = {
        Hearing.ENCRYPTED: statistics.undecryptable,
        Hearing.UNENCRYPTED: statistics.unencrypted,
        Hearing.PENDING: statistics.not_ready,
        Hearing.DAMAGED: statistics.corrupt,
    }
    return max(faults, key=faults.__getitem__)


def describe(status: RoomStatus, own: str) -> str:
    """Return the status as one message; `own` is a line about the person who asks."""
    if status.standing is not None:
        waited = (
            f"Waiting for {span(status.seconds)} to come to <#{status.channel_id}>; <@{status.starter_id}> wants it."
        )
        return "\n".join([waited, str(status.standing), *describe_models(status.models), own])
    before = [
        f"In <#{status.channel_id}> for {span(status.seconds)}; <@{status.starter_id}> started it.",
    ]
    after = [
        *(["**Something is wrong: people speak, and I can't hear them.**"] if status.is_deaf else []),
        *(["**This conversation is being recorded.**"] if status.is_recorded else []),
        _describe_encryption(status.encryption),
        _describe_model(status.model, status.model_state, status.voice),
        *([] if status.delay is None else [_describe_delay(status.delay)]),
        *([] if status.answers is None else [_describe_answers(*status.answers)]),
        *([_describe_unheard(status.unheard_seconds)] if status.unheard_seconds >= PART_SECONDS else []),
    ]
    for models in (describe_models(status.models), []):
        for shown in range(len(status.people), -1, -1):
            people = [*_describe_people(status.people, shown), *_describe_listening(status, shown)]
            text = "\n".join([*before, *people, *after, *models, own])
            if len(text) <= MESSAGE_CHARS:
                return text
    raise AssertionError("names, states and delays have no unlimited length")


def describe_nothing(model: str, own: str, models: Sequence[ModelStatus] = ()) -> str:
    """Return the status of a server where no conversation is running; `model` is the one that is preferred."""
    nothing = (
        "No conversation is running in this server. Enter a voice channel and use /join to talk with the speech model "
        f"{plain(model)}."
    )
    return "\n".join([nothing, *describe_models(models), own])


def describe_models(models: Sequence[ModelStatus]) -> list[str]:
    """Return a line for each model; none for a single one that works, of which there is nothing more to say."""
    if len(models) == 1 and models[0].trouble is None:
        return []
    lines = [f"Model {plain(model.name)}: {_describe_use(model)}" for model in models[:MODEL_LINES]]
    return lines + ([f"and {len(models) - MODEL_LINES} more"] if len(models) > MODEL_LINES else [])


def _describe_use(model: ModelStatus) -> str:
    if model.trouble is not None:
        is_left_alone = model.pause_seconds >= 1 and not model.taken
        pause = f"; not tried again for {span(model.pause_seconds)}" if is_left_alone else ""
        return f"out of order, because {model.trouble.value}{pause}"
    if model.slots == 1:
        return "taken" if model.taken else "free"
    return f"{model.taken} of {model.slots} places taken"


def _describe_people(people: Sequence[PersonStatus], shown: int) -> list[str]:
    """Return a line for each kind of hearing that there is, with at most `shown` names in each."""
    groups: Mapping[Hearing, list[str]] = {
        each: [f"<@{person.user_id}>" for person in people if person.hearing is each] for each in Hearing
    }
    return [f"{each.value}: {_names(names, shown)}" for each, names in groups.items() if names]


def _describe_listening(status: RoomStatus, shown: int) -> list[str]:
    """Return whom the model listens to, and the volumes of those who are there, with at most `shown` names."""
    percents = status.listening.percents
    volumes = [
        f"<@{person.user_id}> {percents[person.user_id]} %" for person in status.people if person.user_id in percents
    ]
    return [status.listening.sentence, *([f"Volume: {_names(volumes, shown)}"] if volumes else [])]


def _names(names: list[str], shown: int) -> str:
    rest = len(names) - shown
    if rest <= 0:
        return ", ".join(names)
    if not shown:
        return f"{rest} {'person' if rest == 1 else 'people'}"
    return f"{', '.join(names[:shown])} and {rest} {'other' if rest == 1 else 'others'}"


def _describe_encryption(encryption: Encryption | None) -> str:
    if encryption is None:
        return "The voice connection does not stand at the moment; I am working on it."
    if not encryption.version:
        return "The call is not end-to-end encrypted."
    if not encryption.is_ready:
        return "End-to-end encryption is being set up."
    code = encryption.privacy_code
    if not code:
        return "The call is end-to-end encrypted."
    groups = (code[start : start + CODE_GROUP_DIGITS] for start in range(0, len(code), CODE_GROUP_DIGITS))
    return f"The call is end-to-end encrypted; its voice privacy code: {' '.join(groups)}"


_STATE_WORDS: Mapping[State, str] = {
    State.CONNECTING: "being connected to",
    State.WAITING: "getting ready, or busy with another call",
    State.LIVE: "listening",
    State.TOO_SLOW: "too slow at the moment; some of what you say is skipped",
    State.ENDED: "gone",
}


def _describe_model(model: str, state: State | None, voice: str | None) -> str:
    if state is None:
        return f"Speech model {plain(model)}: not there at the moment; I am working on it."
    spoken = "" if voice is None else f", with the voice {plain(voice)}"
    return f"Speech model {plain(model)}{spoken}: {_STATE_WORDS[state]}"


def _describe_delay(delay: Delay) -> str:
    """Return the delay in a word, and where it is not quick, what makes it so."""
    total = _duration(delay.total_seconds)
    if delay.total_seconds <= QUICK_SECONDS:
        return f"Delay: quick ({total})"
    parts = {
        "on the way to the model": delay.up_seconds,
        "in the model": delay.owed_seconds,
        "on the way back": delay.down_seconds,
    }
    named = [f"{_duration(seconds)} {where}" for where, seconds in parts.items() if seconds >= PART_SECONDS]
    word = "slow" if delay.total_seconds >= SLOW_SECONDS else "noticeable"
    return f"Delay: {word}, {total}" + (f" ({', '.join(named)})" if named else "")


def _describe_unheard(seconds: float) -> str:
    return f"Not heard while the connection to the model was renewed: {_duration(seconds)} of what was said"


def _describe_answers(half_seconds: float, most_seconds: float) -> str:
    return f"Answers begin after {half_seconds:.1f} s (95 of 100 within {most_seconds:.1f} s)"


def _duration(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{seconds:.1f} s"


def span(seconds: float) -> str:
    """Return a time in the words that people use: `2 hours 5 minutes`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{_count(hours, 'hour')} {_count(minutes, 'minute')}" if minutes else _count(hours, "hour")
    return _count(minutes, "minute") if minutes else _count(rest, "second")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
