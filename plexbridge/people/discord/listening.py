"""The commands about being heard: by the model, in a recording, how loud, and by nobody at all.

`Commands` has them answered here. Everything takes effect at once, in conversations that run too; what others should
know of it is written into the chat by the conversation itself.
"""

from collections.abc import Mapping
from typing import Protocol

from plexbridge.errors import ForgetfulStore, RequestError, StoreError
from plexbridge.people.discord.asking import Answer, Press, Request, parse_switch, parse_volume
from plexbridge.people.discord.attention import Button, Mode, parse_mode
from plexbridge.people.discord.status import RoomStatus

IGNORED_REMARK = "You have asked not to be heard, and that stays so; /ignore-me off changes it."
FORGOTTEN_REMARK = "What the recording that runs here holds of you is deleted."
_RECORD_USAGE = "Say /record on if conversations in this server are to be recorded, and /record off if not."
_IGNORE_USAGE = "Say /ignore-me on if I am not to hear you, and /ignore-me off if I am."

_MODE_WORDS: Mapping[Mode, str] = {
    Mode.EVERYONE: "to everyone",
    Mode.FLOOR: "to who has the floor: whoever presses the button in the chat",
    Mode.ONE: "to one person: whoever started the conversation",
}


class Choices(Protocol):
    """What servers and people have chosen: `audiences.Audiences`. Coroutines raise StoreError."""

    def is_ignored(self, user_id: int) -> bool:
        """Say whether somebody has asked not to be heard."""

    async def set_attention(self, guild_id: int, mode: Mode) -> None:
        """Keep who is to be listened to in a server."""

    async def set_volume(self, guild_id: int, user_id: int, percent: int) -> None:
        """Keep how loud the model hears somebody in a server."""

    async def set_ignored(self, user_id: int, *, is_ignored: bool) -> None:
        """Keep whether somebody is not to be heard anywhere."""

    def press(self, guild_id: int, user_id: int, button: Button, message_id: int) -> str:
        """Somebody has pressed a button; return what they read. Raises RequestError."""


class Recorded(Protocol):
    """Which servers are recorded: `recordings.Recordings`."""

    async def set_recorded(self, guild_id: int, *, is_recorded: bool) -> None:
        """Keep whether a server's conversations are recorded; raises StoreError, and RequestError if none may be."""


async def set_attention(choices: Choices, request: Request) -> Answer:
    """Choose whom the model listens to in a server."""
    mode = parse_mode(request.text)
    if not request.may_manage_server:
        raise RequestError("Only people who may manage this server can choose whom I listen to.")
    await choices.set_attention(request.guild_id, mode)
    return _private(f"In this server I listen {_MODE_WORDS[mode]}. With one person in the room it makes no difference.")


async def set_volume(choices: Choices, request: Request) -> Answer:
    """Choose how loud the model hears somebody in a server."""
    user_id, percent = parse_volume(request.text)
    if user_id != request.user_id and not (request.may_manage_server or request.may_mute_members):
        raise RequestError("You can choose your own volume. That of others is for people who may mute members here.")
    await choices.set_volume(request.guild_id, user_id, percent)
    return _private(f"In this server the speech model hears <@{user_id}> at {percent} % of their volume.")


async def set_recorded(recorded: Recorded, request: Request) -> Answer:
    """Choose whether conversations in a server are recorded."""
    is_recorded = parse_switch(request.text, _RECORD_USAGE)
    if not request.may_manage_server:
        raise RequestError("Only people who may manage this server can choose whether conversations are recorded.")
    await recorded.set_recorded(request.guild_id, is_recorded=is_recorded)
    if is_recorded:
        return _private(
            "Conversations in this server are recorded from now on, one that runs too. Everybody in it reads and "
            "hears that. /record off ends it."
        )
    return _private("Conversations in this server are not recorded any more.")


async def ignore(choices: Choices, request: Request, status: RoomStatus | None) -> Answer:
    """Do not hear the person who asks, or hear them again."""
    is_ignored = parse_switch(request.text, _IGNORE_USAGE)
    try:
        await choices.set_ignored(request.user_id, is_ignored=is_ignored)
    except StoreError as error:
        if not is_ignored:
            raise
        raise ForgetfulStore(str(error)) from error
    if is_ignored:
        return _private(
            "I don't hear you any more, in any server: nothing of what you say goes to the speech model. "
            f"/ignore-me off ends that.{' ' + FORGOTTEN_REMARK if status is not None and status.is_recorded else ''}"
        )
    return _private("I hear you again, from now on and in all servers.")


def press(choices: Choices, press: Press, status: RoomStatus | None) -> Answer:
    """Do what a button stands for, in the conversation that there is."""
    if status is None:
        raise RequestError("This conversation has ended. With /join I come again.")
    if choices.is_ignored(press.user_id):
        raise RequestError(IGNORED_REMARK)
    if press.voice_channel_id != status.channel_id:
        raise RequestError(f"The floor is for people in <#{status.channel_id}>. Enter it first.")
    return _private(choices.press(press.guild_id, press.user_id, press.button, press.message_id))


def _private(text: str) -> Answer:
    return Answer(text, is_private=True)
