"""Who of several people is listened to: everybody, who has the floor, or the one who started the conversation.

A pure core. It is told who is in the room and who asks for the floor, and says at any moment who is attended, in a set
for the mixer and in a sentence for people. Times are seconds on any one monotonic scale.

The rules of `Mode.FLOOR`: who is alone has the floor, and keeps it when others come. Whoever asks for it gets it, also
from somebody else. It is free when its holder gives it up, leaves, or has said nothing for `FLOOR_SECONDS` while others
are there. While it is free nobody is listened to.

The rule of `Mode.ONE`: when the one who is listened to leaves, the next one is who has been there longest; among those
who came at the same time, who joined Discord first, whose id is lower.
"""

from collections.abc import Mapping
from enum import Enum
from math import inf

from plexbridge.errors import RequestError

FLOOR_SECONDS = 30.0
"""So long the holder may be silent; above the length of an answer that somebody listens to."""
EVERYONE_SENTENCE = "I listen to everyone."
COMPANY = 2
"""With so many people there is a question of who is listened to."""


class Mode(Enum):
    """Who is listened to; the value is what people type."""

    EVERYONE = "everyone"
    FLOOR = "floor"
    ONE = "one"


def parse_mode(text: str) -> Mode:
    """Return the mode that somebody typed; raises RequestError."""
    try:
        return Mode(text.strip().lower())
    except ValueError:
        raise RequestError(
            "Say whom I am to listen to: /attention everyone, /attention floor (whoever presses a button), or "
            "/attention one (whoever started the conversation)."
        ) from None


class Button(Enum):
    """What can be pressed under a message; the value tells Discord, and us even after a restart, which one it was."""

    TAKE = "plexbridge-floor-take"
    FREE = "plexbridge-floor-free"

    @property
    def label(self) -> str:
        """What stands on it."""
        return {Button.TAKE: "Take the floor", Button.FREE: "Give it up"}[self]


class Attention:
    """The attention of one conversation, which `starter_id` has started; nobody is in the room yet."""

    def __init__(self, mode: Mode, starter_id: int) -> None:
        self.mode = mode
        self._starter_id = starter_id
        self._people: list[int] = []
        """Who is there, in the order of coming; of the first ones, the starter came first."""
        self._one_id = starter_id
        self._holder_id: int | None = None
        self._held_seconds = -inf

    @property
    def is_company(self) -> bool:
        """Whether there is a question of who is listened to."""
        return len(self._people) >= COMPANY

    @property
    def holder_id(self) -> int | None:
        """Who has the floor; None when it is free, or there is none."""
        return self._holder_id if self.mode is Mode.FLOOR else None

    @property
    def attended(self) -> frozenset[int] | None:
        """Those who are listened to; None: everybody."""
        if self.mode is Mode.EVERYONE:
            return None
        listened_id = self._holder_id if self.mode is Mode.FLOOR else self._one_id
        return frozenset(self._people) & {listened_id}

    @property
    def sentence(self) -> str:
        """Who is listened to, in words; people are shown as mentions."""
        if self.mode is Mode.EVERYONE:
            return EVERYONE_SENTENCE
        if self.mode is Mode.ONE:
            started = ", who started this conversation" if self._one_id == self._starter_id else ""
            return f"I listen to one person: <@{self._one_id}>{started}."
        if self._holder_id is not None:
            return f"I listen to who has the floor: <@{self._holder_id}>."
        return f'I listen to who has the floor. It is free: press "{Button.TAKE.label}", and talk.'

    def set_mode(self, mode: Mode, now_seconds: float) -> None:
        """From now on another rule holds; the floor is free then, unless somebody is alone."""
        if mode is not self.mode:
            self.mode = mode
            self._holder_id = None
            self._settle(now_seconds)

    def set_humans(self, humans: frozenset[int], now_seconds: float) -> None:
        """These are the people now."""
        came = sorted(humans - frozenset(self._people), key=lambda each: (each != self._starter_id, each))
        self._people = [each for each in self._people if each in humans] + came
        self._settle(now_seconds)

    def take(self, user_id: int, now_seconds: float) -> None:
        """Somebody asks for the floor, and has it."""
        self._holder_id, self._held_seconds = user_id, now_seconds
        self._settle(now_seconds)

    def give_up(self, user_id: int, now_seconds: float) -> bool:
        """Somebody gives up the floor; return whether it was theirs. Who is alone keeps it."""
        is_theirs = self._holder_id == user_id
        if is_theirs:
            self._holder_id = None
            self._settle(now_seconds)
        return is_theirs

    def observe(self, spoke_seconds: Mapping[int, float], now_seconds: float, *, is_listening: bool) -> bool:
        """Have a look at when people last spoke; return whether the floor is free because of that.

        Where `is_listening` is false, nobody could be heard, and so nobody loses the floor by being silent.
        """
        holder_id = self.holder_id
        if holder_id is None or not self.is_company or not is_listening:
            self._held_seconds = now_seconds
            return False
        if now_seconds - max(self._held_seconds, spoke_seconds.get(holder_id, -inf)) < FLOOR_SECONDS:
            return False
        self._holder_id = None
        return True

    def _settle(self, now_seconds: float) -> None:
        """Have somebody who is there in the place of who is not."""
        if self._people and self._one_id not in self._people:
            self._one_id = self._people[0]
        if self._holder_id not in self._people:
            self._holder_id = None
        if self._holder_id is None and len(self._people) == 1:
            self._holder_id, self._held_seconds = self._people[0], now_seconds
