"""The commands: what is done about each, and the one sentence that the person reads.

`Commands.answer` runs in Trio and always has an answer, whatever fails: a wish that can't be fulfilled, settings that
can't be read, a fault of ours. It is as good while a conversation runs as while none does. Voice and persona take
effect with a person's next conversation, since a model reads them only when a call begins; a persona's text is neither
logged nor repeated.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from plexbridge import logs
from plexbridge.config import TYPICAL_URL, ModelConfig, PersonaConfig
from plexbridge.errors import PlexbridgeError, RequestError
from plexbridge.model.health import ModelStatus
from plexbridge.model.request import build_request, clean_prompt
from plexbridge.model.voices import MAX_NAME_CHARS, VOICE_GROUPS, VOICES, check_voice
from plexbridge.people.discord import listening
from plexbridge.people.discord.asking import Answer, Command, Press, Request, person_id
from plexbridge.people.discord.captions import plain
from plexbridge.people.discord.listening import Choices, Recorded
from plexbridge.people.discord.status import RoomStatus, describe, describe_nothing
from plexbridge.service import Failures

logger = logging.getLogger(__name__)

JOIN_SECONDS = 30.0
"""For joining a channel, which has limits of its own; a person gets an answer even if they don't hold."""
STORE_SECONDS = 15.0
"""For changing a setting; above what the store takes by itself."""
GLANCE_SECONDS = 1.0
"""For a look at the settings where they are only a part of the answer."""

_LONGEST_VOICE = "v" * (MAX_NAME_CHARS - 3) + ".pt"
"""A persona that is accepted fits into the request beside any voice."""
_UNREADABLE = "Your own settings can't be read at the moment."
_IGNORED = "The speech model in use has neither a choice of voices nor a persona, so this has no effect on it."
_SOMETIMES_IGNORED = (
    "Some of the speech models in use have neither a choice of voices nor a persona, so this has no effect on them."
)


class Conversations(Protocol):
    """The conversations on Discord, one in a server at most: `rooms.Rooms`."""

    async def join(self, guild_id: int, channel_id: int, user_id: int) -> None:
        """Start a conversation in a voice channel; raises RequestError or DiscordError."""

    def leave(self, guild_id: int) -> None:
        """End the conversation in this server, if there is one."""

    def status(self, guild_id: int) -> RoomStatus | None:
        """Return how the conversation in this server fares; None when there is none."""

    def models(self) -> tuple[ModelStatus, ...]:
        """Return how each model stands."""


class Wishes(Protocol):
    """What a person has set: `store.settings.PersonSettings`; None is what is configured."""

    @property
    def voice(self) -> str | None:
        """The voice's name."""

    @property
    def prompt(self) -> str | None:
        """The persona."""


class Settings(Protocol):
    """Where people's settings are kept: `store.settings.SettingsStore`. All of it raises StoreError."""

    async def load(self, person_id: str) -> Wishes:
        """Return a person's settings."""

    async def set_voice(self, person_id: str, voice: str) -> None:
        """Keep a voice."""

    async def set_prompt(self, person_id: str, prompt: str) -> None:
        """Keep a persona."""

    async def reset(self, person_id: str) -> bool:
        """Forget a person's settings; return whether there were any."""


class Commands:
    """Answers commands; `persona` is the one of people who have chosen nothing, `models` are all that there are."""

    def __init__(
        self,
        conversations: Conversations,
        settings: Settings,
        choices: Choices,
        recorded: Recorded,
        *,
        persona: PersonaConfig,
        models: Sequence[ModelConfig],
    ) -> None:
        self._conversations = conversations
        self._settings = settings
        self._choices = choices
        self._recorded = recorded
        self._persona = persona
        self._models = models

    async def answer(self, request: Request | Press) -> Answer:
        """Do what is asked for and return what to say; raises nothing but cancellation."""
        failures = Failures(request.name)
        with failures.collect():
            try:
                return await self._answer(request) if isinstance(request, Request) else self._press(request)
            except RequestError as error:
                logger.info("%s was refused: %s", request.name, error)
                return _private(error.user_message)
        failure = failures.principal() or PlexbridgeError()
        return _private(failure.user_message)

    async def _answer(self, request: Request) -> Answer:
        match request.command:
            case Command.JOIN:
                return await self._join(request)
            case Command.LEAVE:
                return self._leave(request)
            case Command.STATUS:
                return await self._describe(request)
            case Command.VOICE:
                return await self._set_voice(request)
            case Command.VOICES:
                return await self._list_voices(request)
            case Command.PERSONA:
                return await self._set_persona(request)
            case Command.RESET:
                return await self._reset(request)
            case Command.ATTENTION:
                async with _bounded():
                    return await listening.set_attention(self._choices, request)
            case Command.VOLUME:
                async with _bounded():
                    return await listening.set_volume(self._choices, request)
            case Command.IGNORE_ME:
                async with _bounded():
                    return await listening.ignore(self._choices, request, self._conversations.status(request.guild_id))
            case Command.RECORD:
                async with _bounded():
                    return await listening.set_recorded(self._recorded, request)

    def _press(self, press: Press) -> Answer:
        return listening.press(self._choices, press, self._conversations.status(press.guild_id))

    async def _join(self, request: Request) -> Answer:
        if request.voice_channel_id is None:
            raise RequestError("Enter a voice channel first. Then use /join, if I am not there already.")
        with trio.move_on_after(JOIN_SECONDS) as patience:
            await self._conversations.join(request.guild_id, request.voice_channel_id, request.user_id)
        if patience.cancelled_caught:
            logger.warning("joining channel %s took more than %s s", request.voice_channel_id, JOIN_SECONDS)
            return _private(f"Joining <#{request.voice_channel_id}> took too long. Please try again.")
        models = self._conversations.models()
        is_queued = models and all(model.trouble or model.taken >= model.slots for model in models)
        when = " when it is your turn: all models are taken" if is_queued else ""
        remark = f" {listening.IGNORED_REMARK}" if self._choices.is_ignored(request.user_id) else ""
        return Answer(f"Joining <#{request.voice_channel_id}>{when}.{remark}", is_private=False)

    def _leave(self, request: Request) -> Answer:
        status = self._conversations.status(request.guild_id)
        if status is None:
            raise RequestError("I am in no voice channel of this server.")
        channel = f"<#{status.channel_id}>"
        if request.voice_channel_id != status.channel_id and not request.may_move_members:
            raise RequestError(
                f"Only people in {channel}, and moderators who may move members, can send me away from there."
            )
        self._conversations.leave(request.guild_id)
        if status.standing is not None:
            return Answer(f"I don't wait for {channel} any more. With /join you get another place.", is_private=False)
        return Answer(f"Leaving {channel}. With /join I come again.", is_private=False)

    async def _describe(self, request: Request) -> Answer:
        wishes = await self._glance(request)
        status = self._conversations.status(request.guild_id)
        own = self._describe_own(wishes)
        if status is None:
            return _private(describe_nothing(self._models[0].name, own, self._conversations.models()))
        return Answer(describe(status, own), is_private=True, buttons=status.listening.buttons)

    async def _set_voice(self, request: Request) -> Answer:
        if not request.text:
            raise RequestError("Name a voice, as in /voice NATF0. You can read with /voices which there are.")
        voice = check_voice(request.text)
        async with _bounded():
            await self._settings.set_voice(person_id(request.user_id), voice)
        return self._stored(
            request, f"I speak with the voice {plain(voice)} from the next conversation on that you start.", "voice"
        )

    async def _list_voices(self, request: Request) -> Answer:
        wishes = await self._glance(request)
        wanted = None if wishes is None else wishes.voice
        lines = [
            f"{kind.capitalize()}: {', '.join(self._show_voice(voice, wanted) for voice in voices)}"
            for kind, voices in VOICE_GROUPS.items()
        ]
        own = [voice for voice in dict.fromkeys((wanted, self._persona.voice)) if voice and voice not in VOICES]
        lines += [f"Own voice: {self._show_voice(voice, wanted)}" for voice in own]
        lines.append("Choose one with /voice, as in /voice NATM1." if wishes is not None else _UNREADABLE)
        return _private("\n".join([*lines, *self._remarks()]))

    def _show_voice(self, voice: str, wanted: str | None) -> str:
        notes = ["yours"] if voice == wanted else []
        notes += ["the default"] if voice == self._persona.voice else []
        return f"**{plain(voice)}** ({', '.join(notes)})" if notes else plain(voice)

    async def _set_persona(self, request: Request) -> Answer:
        prompt = clean_prompt(request.text)
        if not prompt:
            raise RequestError("Say who the speech model is to be, as in /persona You are a patient teacher.")
        logs.redact(prompt, is_chosen=True)
        self._check_persona(prompt)
        async with _bounded():
            await self._settings.set_prompt(person_id(request.user_id), prompt)
        return self._stored(
            request, "Your persona is stored, and holds from the next conversation on that you start.", "persona"
        )

    def _check_persona(self, prompt: str) -> None:
        """Raise RequestError for a persona that the model can't be sent."""
        urls = [model.url for model in self._models if model.dialect == "personaplex"]
        for url in urls or [TYPICAL_URL]:
            build_request(dialect="personaplex", url=url, voice=_LONGEST_VOICE, prompt=prompt)

    async def _reset(self, request: Request) -> Answer:
        async with _bounded():
            was_set = await self._settings.reset(person_id(request.user_id))
        if not was_set:
            return _private("You have set nothing: you have the usual voice and persona.")
        sentence = "You have the usual voice and persona again, from the next conversation on that you start."
        return self._stored(request, sentence, "voice and persona")

    def _stored(self, request: Request, sentence: str, what: str) -> Answer:
        """Return the answer to a change, which says what it does not change."""
        status = self._conversations.status(request.guild_id)
        is_talking = status is not None and status.channel_id == request.voice_channel_id
        kept = [f"The present one keeps its {what}."] if is_talking else []
        return _private(" ".join([sentence, *kept, *self._remarks()]))

    def _remarks(self) -> list[str]:
        are_moshi = [model.dialect == "moshi" for model in self._models]
        if all(are_moshi):
            return [_IGNORED]
        return [_SOMETIMES_IGNORED] if any(are_moshi) else []

    def _describe_own(self, wishes: Wishes | None) -> str:
        if wishes is None:
            return _UNREADABLE
        voice = plain(self._persona.voice if wishes.voice is None else wishes.voice)
        shown = f"{voice} (the usual one)" if wishes.voice is None else voice
        return f"The voice in conversations that you start: {shown}" + (
            ", with a persona of your own" if wishes.prompt is not None else ""
        )

    async def _glance(self, request: Request) -> Wishes | None:
        """Return what the person has set, or None where that can't be found out soon."""
        with trio.move_on_after(GLANCE_SECONDS) as patience:
            try:
                return await self._settings.load(person_id(request.user_id))
            except PlexbridgeError as error:
                logger.warning("settings can't be read: %s", error)
        if patience.cancelled_caught:
            logger.warning("settings could not be read within %s s", GLANCE_SECONDS)
        return None


@asynccontextmanager
async def _bounded() -> AsyncIterator[None]:
    """Give up on a change of settings in time; raises RequestError then."""
    with trio.move_on_after(STORE_SECONDS) as patience:
        yield
    if patience.cancelled_caught:
        logger.warning("settings could not be changed within %s s", STORE_SECONDS)
        raise RequestError("That took too long, so it may not be stored. Please try again.")


def _private(text: str) -> Answer:
    return Answer(text, is_private=True)
