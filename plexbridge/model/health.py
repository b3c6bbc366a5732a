"""Whether a model works, by what became of its calls: one that failed is left alone for a while, its cool-down.

A pure core. A model that fails its handshake, dies or is too slow does not work until a call to it stands again. Each
failure is followed by a pause that is longer than the one before, by chance between half of it and the whole, so that
many who lost a model do not return to it all at once. A model that worked for `STEADY_SECONDS` begins with the shortest
pause again. A refusal does not make the pauses longer: it may be for a voice or a persona that one person has chosen.
"""

from dataclasses import dataclass
from enum import Enum
from math import inf
from random import Random

from plexbridge.errors import (
    LinkError,
    ModelBusy,
    ModelLimit,
    ModelLost,
    ModelRefused,
    ModelSilent,
    ModelSlow,
    ModelUnreachable,
    ModelUntrusted,
    PlexbridgeError,
    RemoteProtocolError,
)
from plexbridge.session.retry import Retry

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0
"""A model that is started anew loads its weights for minutes; a minute more is soon forgotten."""
STEADY_SECONDS = 10.0


class Trouble(Enum):
    """What was wrong with a model the last time; the value says it behind a model's name."""

    UNREACHABLE = "it can't be reached"
    UNTRUSTED = "its address or certificate is not right"
    REFUSED = "it refused a call"
    BUSY = "it is busy with a call from elsewhere, or still loading"
    SILENT = "it stopped answering"
    SLOW = "it was too slow"
    LOST = "it broke a call off"
    GARBLED = "it sent what I don't understand"
    FAILED = "a call to it failed"


_TROUBLES: tuple[tuple[type[PlexbridgeError], Trouble], ...] = (
    (ModelUnreachable, Trouble.UNREACHABLE),
    (ModelUntrusted, Trouble.UNTRUSTED),
    (ModelRefused, Trouble.REFUSED),
    (ModelBusy, Trouble.BUSY),
    (ModelSilent, Trouble.SILENT),
    (ModelSlow, Trouble.SLOW),
    (ModelLost, Trouble.LOST),
    (RemoteProtocolError, Trouble.GARBLED),
    (LinkError, Trouble.FAILED),
)


def trouble_of(failure: PlexbridgeError | None) -> Trouble | None:
    """Return what a call's failure says of the model; None when it says nothing of it."""
    if isinstance(failure, ModelLimit):
        return None
    return next((trouble for kind, trouble in _TROUBLES if isinstance(failure, kind)), None)


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model at one moment, for people."""

    name: str
    taken: int
    slots: int
    trouble: Trouble | None
    """Why it is not used at the moment; None when it works."""
    pause_seconds: float
    """How long it is left alone yet; 0 when it may be tried."""


class Health:
    """What is known of one model; times are seconds on any one monotonic scale."""

    def __init__(self, random: Random) -> None:
        self._retry = Retry(
            random,
            first_seconds=FIRST_PAUSE_SECONDS,
            longest_seconds=LONGEST_PAUSE_SECONDS,
            limit_seconds=inf,
        )
        self._listening_seconds: float | None = None
        self._ready_seconds = -inf
        self._trouble: Trouble | None = None

    @property
    def trouble(self) -> Trouble | None:
        """Why it does not work; None when it does, as far as is known."""
        return self._trouble

    @property
    def ready_seconds(self) -> float:
        """When the cool-down is over: from then on somebody may see whether it works again."""
        return self._ready_seconds

    def succeeded(self, now_seconds: float) -> None:
        """A call to it stands."""
        self._trouble = None
        self._listening_seconds = now_seconds

    def failed(self, trouble: Trouble, now_seconds: float) -> float:
        """A call to it failed; return for how long it is left alone."""
        was_steady = self._listening_seconds is not None and now_seconds - self._listening_seconds >= STEADY_SECONDS
        if was_steady or trouble is Trouble.REFUSED:
            self._retry.succeeded()
        self._listening_seconds = None
        self._trouble = trouble
        pause_seconds = self._retry.failed(now_seconds) or 0.0
        self._ready_seconds = now_seconds + pause_seconds
        return pause_seconds
