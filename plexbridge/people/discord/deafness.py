"""Noticing that people talk and are not heard, and what follows: telling them, rebuilding, giving up, hearing again.

A pure core. It is shown the receiver's counters about twice a second and answers with actions. Four things can be
wrong (`Cause`). One is a person's own, and found even while everybody else is heard well: their packets come and can't
be decrypted. Three are the connection's: its key opens nothing, packets have no name, or none come at all.

A window is three seconds that begin with packets that could not be heard. When none could be until its end, and they
were `DEAF_PACKETS` or more, that is no hiccup. A packet that could be heard ends all windows of its sender, so who is
heard in parts is never taken for unheard. What comes in the first two seconds of a connection, after a rebuild, or of
a person does not count: keys are still being exchanged then. A speaking event that nothing follows for as long as a
window counts only if nothing comes of anybody, because somebody may just touch a key; and it counts once.

After a rebuild nothing is judged before a whole new window. `REBUILD_LIMIT` in vain, and it is given up. Attempts are
counted for each person and for the connection, since it does not help the one who is not heard that others are. But
while nobody is heard at all there are never more of them than the limit: who is found unheard after that is told that
it has been given up. A packet that can be heard ends its sender's trouble, and the connection's.
"""

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from math import inf

WINDOW_SECONDS = 3.0
DEAF_PACKETS = 25
"""Half a second of speech: less is a cough, or the end of a sentence."""
REBUILD_LIMIT = 5
SETTLING_SECONDS = 2.0
"""How long Discord waits for everybody when keys are exchanged."""
OVERTAKING_SECONDS = 1.0
"""Audio may come so long before the speaking event that announces it, which then is answered already."""
MENTION_LIMIT = 10
"""More need not be called by name; and a message has room for some 80."""


class Cause(Enum):
    """Why people are not heard, in the words that stand after "I cannot hear you: "."""

    ENCRYPTED = "what you say arrives, but can't be decrypted"
    TRANSPORT = "what you say arrives, but the key of my voice connection does not open it"
    NAMELESS = "what you say arrives, but Discord does not say whose it is"
    MISSING = "you speak, but nothing arrives"


@dataclass(frozen=True, slots=True)
class PersonObserved:
    """What came of one person so far; the counters may begin at 0 again, as on a new connection."""

    received: int = 0
    """Packets of any kind, silence frames too: they show that the way is open, though not that keys are right."""
    speech: int = 0
    """Those of them that should be heard: no silence frames, which are never encrypted, and no duplicates."""
    good: int = 0
    """Those of `speech` that were decrypted and are Opus; it may fall when one turns out not to be."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The counters since the receiver was made."""

    people: Mapping[int, PersonObserved] = field(default_factory=dict)
    """Everybody in the channel who is to be heard, those of whom nothing has come included: who is missing has left."""
    refused: int = 0
    """Audio packets that the transport encryption did not let through."""
    unclaimed: int = 0
    """Packets of an SSRC that nobody was named for."""
    speaking_events: int = 0
    """How often one of `people` was said to begin to speak (op 5 with speaking on)."""


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Set up the encryption anew; for any cause but ENCRYPTED only a new voice connection can help."""

    attempt: int
    """Counts from 1, for those who are named."""
    cause: Cause
    user_ids: frozenset[int]
    """Empty: everybody. Others for whom it was tried more often, also in vain, are not named again."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """All rebuilds were in vain, and no more will be asked for until a packet can be heard."""

    cause: Cause
    user_ids: frozenset[int]
    """Empty: everybody."""


@dataclass(frozen=True, slots=True)
class HearAgain:
    """A packet could be heard of those whom the channel was told about."""

    user_ids: frozenset[int]
    """Empty: everybody."""


Action = Rebuild | GiveUp | HearAgain


def sentence(action: Action) -> str | None:
    """Return what the channel is told; None for all rebuilds but the first, of which it knows."""
    names = sorted(action.user_ids) if len(action.user_ids) <= MENTION_LIMIT else []
    mentions = "".join(f"<@{user_id}>, " for user_id in names)
    if isinstance(action, HearAgain):
        return f"{mentions}I can hear you again."
    if isinstance(action, GiveUp):
        return (
            f"{mentions}I still cannot hear you, and have given up trying: {action.cause.value}. "
            "Leaving the voice channel and entering it again may help."
        )
    if action.attempt > 1:
        return None
    remedy = "I am setting up the encryption anew." if action.cause is Cause.ENCRYPTED else "I am trying to mend that."
    return f"{mentions}I cannot hear you: {action.cause.value}. {remedy}"


def describe(action: Action) -> str:
    """Return an action as the log has it."""
    name = type(action).__name__
    attempt = f" {action.attempt} of {REBUILD_LIMIT}" if isinstance(action, Rebuild) else ""
    cause = "" if isinstance(action, HearAgain) else f": {action.cause.name.lower()}"
    whom = ", ".join(map(str, sorted(action.user_ids))) or "everybody"
    return f"{name}{attempt}{cause}, {whom}"


class _Window:
    """Packets that could not be heard, since the last one that could."""

    def __init__(self, begun_seconds: float) -> None:
        self._settled_seconds = begun_seconds + SETTLING_SECONDS
        self._unheard: deque[tuple[float, int]] = deque()
        """When packets were seen, and how many count. Each entry begins a window, and goes when that ends."""

    def follow(self, unheard: int, now_seconds: float, *, is_heard: bool) -> None:
        """Take what has come since the last time: packets that could not be heard, and whether others could be."""
        if is_heard:
            self._unheard.clear()
        elif unheard > 0:
            self._unheard.append((now_seconds, unheard if now_seconds > self._settled_seconds else 0))

    def is_deaf(self, now_seconds: float) -> bool:
        """Say whether a window ends now in which too much was not heard; what has ended is forgotten."""
        while self._unheard and now_seconds - self._unheard[0][0] >= WINDOW_SECONDS:
            if sum(packets for _, packets in self._unheard) >= DEAF_PACKETS:
                self._unheard.clear()
                return True
            self._unheard.popleft()
        return False


@dataclass(slots=True)
class _Trouble:
    """Somebody was told that they are not heard, and no good packet has come since."""

    cause: Cause
    """What they were told; after a rebuild the same trouble may look different."""
    attempts: int = 0
    is_given_up: bool = False


@dataclass(slots=True)
class _Person:
    window: _Window
    trouble: _Trouble | None = None


class Deafness:
    """Judges whether the people of one call are heard; times are seconds on any one monotonic scale."""

    def __init__(self) -> None:
        self._last: Observed | None = None
        self._people: dict[int, _Person] = {}
        self._trouble: _Trouble | None = None
        """The connection's own."""
        self._rebuilds = 0
        """Since the last good packet of anybody."""
        self._spoke_seconds: float | None = None
        """Since when there is a speaking event that nothing has followed."""
        self._begin_anew(0.0)

    @property
    def is_deaf(self) -> bool:
        """Whether somebody was found unheard, and no good packet of theirs has come since."""
        return self._trouble is not None or any(person.trouble for person in self._people.values())

    def reset_window(self, now_seconds: float) -> None:
        """The connection was replaced or is away: what came before, up to the next observation, proves nothing.

        What is known of troubles stays, the number of attempts with it.
        """
        self._begin_anew(now_seconds)
        self._is_fresh = True

    def observe(self, observed: Observed, *, now_seconds: float) -> list[Action]:
        """Take the counters as they are now; return what to do."""
        if self._last is None:
            self._last = observed
            self.reset_window(now_seconds)
        self._meet(observed, self._last, now_seconds)
        news, self._last = _since(self._last, observed), observed
        actions = self._recover([user_id for user_id, rise in news.people.items() if rise.good > 0])
        if self._is_fresh:
            self._is_fresh = False
            return actions
        self._count(news, now_seconds)
        return actions + self._judge(now_seconds)

    def _meet(self, observed: Observed, last: Observed, now_seconds: float) -> None:
        """Forget who has left, and what was counted of who begins at 0 again."""
        if last.people.keys() - observed.people.keys():
            self._spoke_seconds = None  # it may have been they who spoke
        people = {}
        for user_id, counts in observed.people.items():
            person = people[user_id] = self._people.get(user_id) or _Person(_Window(now_seconds))
            if _has_restarted(last.people.get(user_id, _NOTHING), counts):
                person.window = _Window(now_seconds)
        self._people = people

    def _recover(self, heard: Collection[int]) -> list[Action]:
        """Good packets have come of `heard`."""
        if not heard:
            return []
        self._rebuilds = 0
        recovered = [user_id for user_id in heard if self._people[user_id].trouble]
        for user_id in recovered:
            self._people[user_id].trouble = None
        was_everybody, self._trouble = self._trouble is not None, None
        if was_everybody:
            return [HearAgain(self._named(heard) if self.is_deaf else frozenset())]
        return [HearAgain(self._named(recovered))] if recovered else []

    def _count(self, news: Observed, now_seconds: float) -> None:
        for user_id, rise in news.people.items():
            self._people[user_id].window.follow(rise.speech, now_seconds, is_heard=rise.good > 0)
        is_heard = any(rise.good > 0 for rise in news.people.values())
        has_passed = news.unclaimed > 0 or any(rise.received for rise in news.people.values())
        self._refused.follow(news.refused, now_seconds, is_heard=has_passed)
        self._unclaimed.follow(news.unclaimed, now_seconds, is_heard=is_heard)
        if has_passed or news.refused > 0:
            self._arrived_seconds = now_seconds
            self._spoke_seconds = None
        elif news.speaking_events > 0 and now_seconds - self._arrived_seconds > OVERTAKING_SECONDS:
            self._spoke_seconds = now_seconds if self._spoke_seconds is None else self._spoke_seconds

    def _judge(self, now_seconds: float) -> list[Action]:
        unheard = [user_id for user_id, person in self._people.items() if person.window.is_deaf(now_seconds)]
        faults = {
            Cause.TRANSPORT: self._refused.is_deaf(now_seconds),
            Cause.NAMELESS: self._unclaimed.is_deaf(now_seconds),
            Cause.MISSING: self._is_missing(now_seconds),
        }
        cause = next((cause for cause, is_so in faults.items() if is_so), None)
        if cause is None:
            return self._judge_people(unheard, now_seconds)
        # What mends the connection sets up everybody's encryption too.
        return self._judge_connection(cause, now_seconds)

    def _is_missing(self, now_seconds: float) -> bool:
        if self._spoke_seconds is None or now_seconds - self._spoke_seconds < WINDOW_SECONDS:
            return False
        self._spoke_seconds = None
        return True

    def _judge_connection(self, cause: Cause, now_seconds: float) -> list[Action]:
        troubles = [person.trouble for person in self._people.values() if person.trouble]
        if self._trouble is None:
            # Where everybody knows already, it goes on from there.
            known = troubles if len(troubles) == len(self._people) else []
            first = _Trouble(cause)
            self._trouble = replace(min(known, key=lambda one: (one.is_given_up, one.attempts), default=first))
        if self._trouble.is_given_up:
            return []
        if self._is_hopeless(self._trouble):
            # Who has read that it is given up does not read it twice.
            uninformed = [
                user_id for user_id, one in self._people.items() if not (one.trouble and one.trouble.is_given_up)
            ]
            for trouble in (self._trouble, *troubles):
                trouble.is_given_up = True
            if self._people and not uninformed:
                return []
            return [GiveUp(self._trouble.cause, self._named(uninformed))]
        return [self._rebuild(cause, [self._trouble], frozenset(), now_seconds)]

    def _judge_people(self, unheard: Collection[int], now_seconds: float) -> list[Action]:
        troubles: dict[int, _Trouble] = {}
        for user_id in unheard:
            person = self._people[user_id]
            if person.trouble is None:
                person.trouble = replace(self._trouble or _Trouble(Cause.ENCRYPTED))
            if not person.trouble.is_given_up:
                troubles[user_id] = person.trouble
        actions: list[Action] = []
        hopeless = [user_id for user_id, trouble in troubles.items() if self._is_hopeless(trouble)]
        if hopeless:
            for user_id in hopeless:
                troubles.pop(user_id).is_given_up = True
            actions.append(GiveUp(Cause.ENCRYPTED, self._named(hopeless)))
        if troubles:
            fewest = min(trouble.attempts for trouble in troubles.values())
            newest = [user_id for user_id, trouble in troubles.items() if trouble.attempts == fewest]
            actions.append(self._rebuild(Cause.ENCRYPTED, troubles.values(), self._named(newest), now_seconds))
        return actions

    def _rebuild(
        self, cause: Cause, troubles: Collection[_Trouble], user_ids: frozenset[int], now_seconds: float
    ) -> Rebuild:
        for trouble in troubles:
            trouble.attempts += 1
        self._rebuilds += 1
        self._begin_anew(now_seconds)
        return Rebuild(min(trouble.attempts for trouble in troubles), cause, user_ids)

    def _is_hopeless(self, trouble: _Trouble) -> bool:
        return max(trouble.attempts, self._rebuilds) >= REBUILD_LIMIT

    def _named(self, user_ids: Collection[int]) -> frozenset[int]:
        """Return whom to name: nobody, where it is everybody."""
        return frozenset() if len(user_ids) == len(self._people) else frozenset(user_ids)

    def _begin_anew(self, now_seconds: float) -> None:
        """What came before proves nothing."""
        self._is_fresh = False
        """Whether the next observation only shows where counting begins."""
        self._refused = _Window(now_seconds)
        self._unclaimed = _Window(now_seconds)
        self._arrived_seconds = -inf
        self._spoke_seconds = None
        for person in self._people.values():
            person.window = _Window(now_seconds)


_NOTHING = PersonObserved()


def _has_restarted(last: PersonObserved, now: PersonObserved) -> bool:
    return now.received < last.received


def _since(last: Observed, now: Observed) -> Observed:
    """Return by how much the counters have risen."""
    return Observed(
        {user_id: _rise(last.people.get(user_id, _NOTHING), counts) for user_id, counts in now.people.items()},
        refused=now.refused - last.refused,
        unclaimed=now.unclaimed - last.unclaimed,
        speaking_events=now.speaking_events - last.speaking_events,
    )


def _rise(last: PersonObserved, now: PersonObserved) -> PersonObserved:
    if _has_restarted(last, now):
        return now
    return PersonObserved(now.received - last.received, now.speech - last.speech, now.good - last.good)
