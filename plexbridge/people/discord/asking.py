"""What people can ask the bot for: the commands as values, and how they are typed.

A slash command comes from Discord in its parts, and Discord asks meanwhile what could complete a voice's name; a prefix
command is a message that begins with an exclamation mark. Both end as one `Request`, which one `Answer` answers.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from plexbridge.errors import RequestError
from plexbridge.model.voices import VOICE_GROUPS, VOICES, check_voice
from plexbridge.people.discord.attention import Button

CHOICE_LIMIT = 25
"""Discord shows no more choices than that."""
SIMILAR_CHOICES = 5
MAX_PERCENT = 200
TYPED_CHARS = 64
"""More of what is typed is not looked at."""


class Command(Enum):
    """The commands; the value is the slash command's name."""

    JOIN = "join"
    LEAVE = "leave"
    STATUS = "status"
    VOICE = "voice"
    VOICES = "voices"
    PERSONA = "persona"
    RESET = "reset"
    ATTENTION = "attention"
    VOLUME = "volume"
    IGNORE_ME = "ignore-me"
    RECORD = "record"

    @property
    def takes_text(self) -> bool:
        """Whether something stands behind the name."""
        return self in _WITH_TEXT

    @property
    def is_private(self) -> bool:
        """Whether it concerns only the person who asks; coming and going concern everybody."""
        return self not in (Command.JOIN, Command.LEAVE)


_WITH_TEXT = frozenset(
    (Command.VOICE, Command.PERSONA, Command.ATTENTION, Command.VOLUME, Command.IGNORE_ME, Command.RECORD)
)
_PREFIXED: Mapping[str, Command] = {
    **{command.value: command for command in Command},
    "voice-list": Command.VOICES,
    "prompt": Command.PERSONA,
}


_PREFIX = "discord:"
_VOLUME = re.compile(r"<@!?(?P<user_id>\d{1,20})>\s*(?P<percent>\d{1,3})\s*%?", re.ASCII)
_MESSAGE = re.compile(r"!(?P<name>[a-z-]+)(?:\s(?P<text>.*))?", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Request:
    """One command of one person in a server."""

    command: Command
    text: str = field(repr=False)
    """What stands behind the command's name; a persona is nobody else's business."""
    guild_id: int
    user_id: int
    voice_channel_id: int | None
    """Where the person is."""
    may_move_members: bool
    may_manage_server: bool = False
    may_mute_members: bool = False

    @property
    def name(self) -> str:
        """What it is in the log."""
        return f"/{self.command.value}"


@dataclass(frozen=True, slots=True)
class Press:
    """A person's press of a button under a message of the bot's."""

    button: Button
    message_id: int
    guild_id: int
    user_id: int
    voice_channel_id: int | None
    """Where the person is."""

    @property
    def name(self) -> str:
        """What it is in the log."""
        return f"the button {self.button.value}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the person reads, alone or with everybody in the channel."""

    text: str
    """Empty where what was asked for shows by itself, as in the message whose button was pressed."""
    is_private: bool
    buttons: tuple[Button, ...] = ()


def parse_prefixed(content: str) -> tuple[Command, str] | None:
    """Return the command and the text behind it that a message is: `!voice natf0`; None for any other message.

    A command that takes no text stands alone: whoever writes "!leave me alone" does not mean it.
    """
    parts = _MESSAGE.fullmatch(content)
    if parts is None:
        return None
    command, text = _PREFIXED.get(parts["name"].lower()), (parts["text"] or "").strip()
    if command is None or (text and not command.takes_text):
        return None
    return command, text


def parse_volume(text: str) -> tuple[int, int]:
    """Return the user and the percentage in `@Ada 50`, as Discord writes it; raises RequestError."""
    parts = _VOLUME.fullmatch(text)
    percent = -1 if parts is None else int(parts["percent"])
    if parts is None or percent > MAX_PERCENT:
        raise RequestError(f"Name a person and a percentage from 0 to {MAX_PERCENT}, as in /volume @Ada 50.")
    return int(parts["user_id"]), percent


def parse_switch(text: str, otherwise: str) -> bool:
    """Return whether something is to be on; raises RequestError with the sentence `otherwise`."""
    switch = {"on": True, "off": False}.get(text.strip().lower())
    if switch is None:
        raise RequestError(otherwise)
    return switch


def person_id(user_id: int) -> str:
    """Return the name under which a Discord user's settings are kept."""
    return f"{_PREFIX}{user_id}"


def user_id_of(person_id: str) -> int:
    """Return whose settings are kept under a name that `person_id` has returned."""
    return int(person_id.removeprefix(_PREFIX))


def server_id(guild_id: int) -> str:
    """Return the name under which a Discord server's settings are kept."""
    return f"{_PREFIX}{guild_id}"


def voice_choices(typed: str) -> list[tuple[str, str]]:
    """Return what may complete a half-typed voice, as label and value, best first: by name, by group, by likeness.

    Each word typed has to begin a word of the label, or to stand in the voice's name. An own voice's file is a choice
    when its name is complete.
    """
    typed = typed.strip()[:TYPED_CHARS]
    words = re.findall(r"[\w.-]+", typed.lower())
    found = [voice for voice in VOICES if _fits(words, voice)]
    found.sort(key=lambda voice: not voice.startswith(typed.upper()))
    return [(_label(voice), voice) for voice in (found or _complete(typed) or _similar(typed))[:CHOICE_LIMIT]]


def _fits(words: list[str], voice: str) -> bool:
    """Say whether the words can mean this voice."""
    name = voice.lower()
    return all(word in name or any(each.startswith(word) for each in _group(voice).split()) for word in words)


def _complete(typed: str) -> list[str]:
    try:
        return [check_voice(typed)]
    except RequestError:
        return []


def _similar(typed: str) -> list[str]:
    return difflib.get_close_matches(typed.upper(), VOICES, n=SIMILAR_CHOICES)


def _label(voice: str) -> str:
    return f"{voice} — {_group(voice)}"


def _group(voice: str) -> str:
    """Return the plain name of a voice's group."""
    return next((group for group, voices in VOICE_GROUPS.items() if voice in voices), "an own voice")
