"""Those whom one conversation's model hears: whom it listens to, how loud each is, and whether anybody talks at all.

The rules are in `attention` and `idleness`; here they meet the mixer, the chat and the clock. An audience is made with
its room and lives as long, over several voice connections and models.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from typing import Protocol

import trio

from plexbridge.audio.hearing import SpeakingTime
from plexbridge.errors import RequestError
from plexbridge.people.discord.attention import Attention, Button, Mode
from plexbridge.people.discord.chat import Chat
from plexbridge.people.discord.idleness import Idleness, Step
from plexbridge.people.discord.status import Listening

logger = logging.getLogger(__name__)

OBSERVE_SECONDS = 0.5
"""How often it is looked at who speaks."""
USUAL_PERCENT = 100
FLOOR_BUTTONS = (Button.TAKE, Button.FREE)
ENDED_SENTENCE = "This conversation has ended."


class Mixer(Protocol):
    """What the model is given to hear: `voice.DiscordPeople`."""

    def set_attended(self, user_ids: frozenset[int] | None) -> None:
        """Let the model hear these, of those who are heard; None: all of them."""

    def set_gain(self, user_id: int, gain: float) -> None:
        """Let the model hear somebody softer or louder."""

    def activity(self) -> Mapping[int, SpeakingTime]:
        """Return who speaks, and when they last did."""


class Audience:
    """The audience of one conversation, which `starter_id` has started; `idle_seconds` may be infinity."""

    def __init__(self, chat: Chat, *, mode: Mode, starter_id: int, humans: frozenset[int], idle_seconds: float) -> None:
        self._chat = chat
        self._attention = Attention(mode, starter_id)
        self._attention.set_humans(humans, trio.current_time())
        self._percents: dict[int, int] = {}
        self._idle_seconds = idle_seconds
        self._mixer: Mixer | None = None
        self._told = ""
        """The sentence about whom the model listens to that people have read last."""

    def set_humans(self, humans: frozenset[int]) -> None:
        """These are the people now, but for those who asked not to be heard."""
        self._attention.set_humans(humans, trio.current_time())
        self._apply(is_anew=True)

    def set_mode(self, mode: Mode) -> None:
        """From now on another rule says who is listened to."""
        self._attention.set_mode(mode, trio.current_time())
        self._apply(is_anew=True)

    def set_volume(self, user_id: int, percent: int) -> None:
        """Let the model hear somebody softer or louder."""
        self._percents[user_id] = percent
        if self._mixer is not None:
            self._mixer.set_gain(user_id, percent / USUAL_PERCENT)

    def press(self, user_id: int, button: Button, message_id: int) -> str:
        """Somebody who is there has pressed a button of a message.

        Return what they read; nothing where the message shows it by itself. Raises RequestError.
        """
        attention = self._attention
        if attention.mode is not Mode.FLOOR:
            raise RequestError(f"There is no floor to be had at the moment. {attention.sentence}")
        if button is Button.TAKE:
            attention.take(user_id, trio.current_time())
            answer = "You have the floor."
        elif attention.give_up(user_id, trio.current_time()):
            answer = "You have the floor, since you are alone." if attention.holder_id else "The floor is free."
        else:
            raise RequestError("You don't have the floor, so you can't give it up.")
        is_present = message_id == self._chat.board_id
        self._apply(is_anew=not is_present)
        return "" if is_present else answer

    def status(self) -> Listening:
        """Return how it stands."""
        percents = {user_id: percent for user_id, percent in self._percents.items() if percent != USUAL_PERCENT}
        buttons = FLOOR_BUTTONS if self._attention.mode is Mode.FLOOR else ()
        return Listening(self._attention.sentence, percents, buttons)

    @contextmanager
    def attached(self, mixer: Mixer) -> Iterator[None]:
        """Rule over what the model hears for the length of the block, and tell people how."""
        self._mixer = mixer
        for user_id, percent in self._percents.items():
            mixer.set_gain(user_id, percent / USUAL_PERCENT)
        self._apply(is_anew=True)
        try:
            yield
        finally:
            self._mixer = None
            self._chat.close_board(ENDED_SENTENCE)

    async def watch(self, mixer: Mixer, is_listening: Callable[[], bool]) -> None:
        """Free the floor of who is silent; return, with a goodbye said, when nobody has spoken for too long.

        `is_listening` says whether people could be heard at the moment.
        """
        idleness = Idleness(self._idle_seconds)
        while True:
            await trio.sleep(OBSERVE_SECONDS)
            now_seconds = trio.current_time()
            is_heard = is_listening()
            spoke = {
                user_id: now_seconds if time.is_speaking else time.last_spoke_seconds
                for user_id, time in mixer.activity().items()
            }
            if self._attention.observe(spoke, now_seconds, is_listening=is_heard):
                self._apply(is_anew=True)
            step = idleness.observe(max(spoke.values(), default=-inf), now_seconds, is_listening=is_heard)
            if step is Step.WARN:
                self._chat.say(idleness.warning)
            elif step is Step.LEAVE:
                self._chat.say(idleness.farewell)
                return

    def _apply(self, *, is_anew: bool) -> None:
        """Have the model hear those whom it is to listen to, and people read who that is, once there are several."""
        if self._mixer is None:
            return
        attention = self._attention
        self._mixer.set_attended(attention.attended)
        sentence, was_told = attention.sentence, bool(self._told)
        if sentence == self._told or (not attention.is_company and self._chat.board_id is None):
            return
        self._told = sentence
        if attention.mode is Mode.FLOOR:
            self._chat.show_board(sentence, FLOOR_BUTTONS, is_anew=is_anew and attention.is_company)
            return
        if was_told:
            self._chat.close_board(sentence)
        if attention.is_company:
            self._chat.say(sentence)
