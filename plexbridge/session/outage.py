"""A conversation that outlives its model's outages: what is lost is begun anew, and the people stay where they are.

Each attempt is a conversation of its own, with a fresh link and a fresh Ogg stream; this is the loop around them. The
first attempt gets no second chance until the model has listened once: what fails before that is a wrong address or
voice, or a model in use, which the people should hear of at once.

An outage begins when a model that listened is lost. It is over when a later conversation has been listened to for
`STEADY_SECONDS`; a loss before that belongs to it. So the waits between attempts to a model that comes and goes grow
on, and after `ANNOUNCED_LOSSES` it is no longer said each time.
"""

import logging
from collections.abc import Awaitable, Callable
from random import Random

import trio

from plexbridge.errors import (
    ModelBusy,
    ModelLost,
    ModelRefused,
    ModelSilent,
    ModelSlow,
    ModelUnreachable,
    PlexbridgeError,
    RemoteProtocolError,
)
from plexbridge.session.retry import Retry

logger = logging.getLogger(__name__)

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 5.0
LIMIT_SECONDS = 300.0
"""A model that is started anew has loaded its weights by then."""
STEADY_SECONDS = 10.0
ANNOUNCED_LOSSES = 3
"""Of a model that comes and goes; after that people read once that it does."""

LOST_SENTENCE = "The connection to the speech model was lost. I am trying to get it back."
SILENT_SENTENCE = "The speech model has stopped answering. I am trying to reach it again."
SLOW_SENTENCE = "The speech model is too slow. I am moving to another one."
UNSTEADY_SENTENCE = "The speech model keeps getting lost. I go on trying, and won't say so every time."
BACK_SENTENCE = "The speech model is back. It does not remember what was said before."

OUTAGES = (ModelLost, ModelUnreachable, ModelBusy, ModelRefused, RemoteProtocolError)
"""What a server may do that is restarting: it closes, is not there, still holds the lost call, or can't be used yet."""

_LOSSES: tuple[tuple[type[PlexbridgeError], str], ...] = (
    (ModelSilent, SILENT_SENTENCE),
    (ModelSlow, SLOW_SENTENCE),
)

Attempt = Callable[[Callable[[], None]], Awaitable[PlexbridgeError | None]]
"""Holds one conversation until it ends and returns what failed (None: the people have left).

It calls its argument when the model listens.
"""


async def converse_through_outages(
    attempt: Attempt, say: Callable[[str], None], *, random: Random
) -> PlexbridgeError | None:
    """Hold conversations until one ends for good; return what failed, None when the people have left.

    `say` is given the sentences for the people, two for each outage at most; what is returned is for the caller to say.
    """
    outages = _Outages(say, random)
    while True:
        failure = await attempt(outages.listens)
        if not isinstance(failure, OUTAGES):
            return failure
        wait_seconds = outages.lost(failure)
        if wait_seconds is None:
            return failure
        logger.info("%s: trying again in %.1f s", type(failure).__name__, wait_seconds)
        await trio.sleep(wait_seconds)


class _Outages:
    """Keeps the books: whether there is an outage, since when, and what the people know of it."""

    def __init__(self, say: Callable[[str], None], random: Random) -> None:
        self._say = say
        self._retry = Retry(
            random,
            first_seconds=FIRST_WAIT_SECONDS,
            longest_seconds=LONGEST_WAIT_SECONDS,
            limit_seconds=LIMIT_SECONDS,
        )
        self._has_listened = False
        self._listening_seconds: float | None = None
        """Since when the model listens."""
        self._lost_seconds: float | None = None
        """Since when there is an outage, if there is one."""
        self._is_back_said = False
        self._losses = 0
        """How often it was said in this outage that the model is lost."""

    def listens(self) -> None:
        """The model listens; to say so again changes nothing."""
        if self._listening_seconds is not None:
            return
        self._listening_seconds = trio.current_time()
        self._has_listened = True
        if self._lost_seconds is None:
            return
        logger.info("the speech model is back after %.1f s", self._listening_seconds - self._lost_seconds)
        if not self._is_back_said:
            self._is_back_said = True
            self._say(BACK_SENTENCE)

    def lost(self, failure: PlexbridgeError) -> float | None:
        """An attempt has failed; return how long to wait before the next one, None when there is to be none."""
        if not self._has_listened:
            return None
        now_seconds = trio.current_time()
        if self._listening_seconds is not None and now_seconds - self._listening_seconds >= STEADY_SECONDS:
            self._lost_seconds = None
            self._retry.succeeded()
        self._listening_seconds = None
        if self._lost_seconds is None:
            self._lost_seconds, self._losses, self._is_back_said = now_seconds, 0, True
        if self._is_back_said and self._losses <= ANNOUNCED_LOSSES:
            # The last word that people have read is that it is there.
            self._tell_loss(failure)
        return self._retry.failed(now_seconds)

    def _tell_loss(self, failure: PlexbridgeError) -> None:
        self._losses += 1
        if self._losses > ANNOUNCED_LOSSES:
            self._say(UNSTEADY_SENTENCE)
            return
        self._is_back_said = False
        self._say(next((words for kind, words in _LOSSES if isinstance(failure, kind)), LOST_SENTENCE))
