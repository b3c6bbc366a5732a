"""Commands on Discord's loop: slash commands, their completion, buttons, and messages that begin with a `!`.

Discord wants a first answer within three seconds, and one only. So a command that is answered at once is answered
directly, and any other one is deferred, which shows that the bot is thinking, and its answer follows whenever it is
there; the work in Trio goes on undisturbed meanwhile. The press of a button whose effect shows by itself is merely
acknowledged.

What a command does is `commands.Commands`' concern, to which a request goes through the portal. Only so many cross at
the same time, since the portal has few workers and the voice channels' news need one.
"""

import asyncio
import logging
import warnings
from collections.abc import Awaitable, Callable

from plexbridge.errors import PlexbridgeError
from plexbridge.people.discord.asking import (
    MAX_PERCENT,
    Answer,
    Command,
    Press,
    Request,
    parse_prefixed,
    voice_choices,
)
from plexbridge.people.discord.attention import Mode
from plexbridge.people.discord.replies import (
    REST_SECONDS,
    acknowledge,
    defer,
    pressed,
    refusals,
    say,
    say_to_presser,
    view_of,
)
from plexbridge.service import Failures

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # discord.py imports audioop, which Python 3.13 drops
    import discord
    from discord import app_commands

logger = logging.getLogger(__name__)

DIRECT_SECONDS = 1.5
"""What takes longer is deferred: half of what Discord allows, so that a slow network has the other half."""
CROSSING_LIMIT = 3
"""One less than the portal has workers."""
PENDING_LIMIT = 50
"""Of requests that cross or wait for it; one more is turned away."""
PERSONA_CHARS = 6_000
"""Discord's own limit for an option. It is about what fits into a request to the model, which is checked later."""
VOICE_CHARS = 100

BUSY = Answer("I have too many commands to answer at the moment. Please try again later.", is_private=True)
OLD_BUTTON = "This does not work any more. You can see with /status how things stand."
GONE = "This command does not exist any more. Discord shows the present ones in a while."

DESCRIPTIONS = {
    Command.JOIN: "Talk with the speech model in the voice channel where you are",
    Command.LEAVE: "End the conversation in this server",
    Command.STATUS: "See who is heard, how the conversation fares, and your own settings",
    Command.VOICE: "Choose the voice of your next conversations",
    Command.VOICES: "See which voices there are",
    Command.PERSONA: "Say who the speech model is to be in your next conversations",
    Command.RESET: "Go back to the configured voice and persona",
    Command.ATTENTION: "Say whom the speech model listens to, in this server",
    Command.VOLUME: "Say how loud the speech model hears somebody, in this server",
    Command.RECORD: "Say whether conversations in this server are recorded",
    Command.IGNORE_ME: "Say whether you are not to be heard, in any server",
}
MODES = {
    Mode.EVERYONE: "everyone in the voice channel",
    Mode.FLOOR: "who has the floor, for which people press a button",
    Mode.ONE: "who started the conversation",
}

Answering = Callable[[Request | Press], Awaitable[Answer]]
"""Answers a request: `commands.Commands.answer`, through the portal."""


def intent_fault(flags: discord.ApplicationFlags, *, application_id: int) -> str | None:
    """Return what an operator has to do before prefix commands can be read; None when all is well."""
    if flags.gateway_message_content or flags.gateway_message_content_limited:
        return None
    return (
        "discord.prefix_commands needs the Message Content Intent, which this application does not have: switch it on "
        f"at https://discord.com/developers/applications/{application_id}/bot, or set discord.prefix_commands to false"
    )


class SlashCommands:
    """All commands of one bot; made before the bot logs in, on its loop."""

    def __init__(self, client: discord.Client, answering: Answering, *, has_prefix: bool) -> None:
        self._answering = answering
        self._has_prefix = has_prefix
        self._tree = _Tree(client)
        self._crossings = asyncio.Semaphore(CROSSING_LIMIT)
        self._pending = 0
        for command in Command:
            if not command.takes_text:
                self._add_plain(command)
        self._add_voice()
        self._add_persona()
        self._add_attention()
        self._add_volume()
        self._add_switch(Command.IGNORE_ME, "on: what you say goes nowhere; off: you are heard")
        self._add_switch(Command.RECORD, "on: a file for each person, and everybody is told; off: nothing is kept")

    async def sync(self) -> None:
        """Tell Discord which commands there are; once logged in. A failure is logged, and the old ones stay."""
        with refusals("the slash commands could not be registered"):
            await self._tree.sync()

    async def take_message(self, message: discord.Message) -> None:
        """Answer a message if it is a prefix command of a person in a server; that of a bot is none."""
        parsed = parse_prefixed(message.content) if self._has_prefix else None
        if parsed is None or message.author.bot or not isinstance(message.author, discord.Member):
            return
        answer = await self._obtain(_request(message.author, *parsed))
        with refusals("a prefix command could not be answered"):
            async with asyncio.timeout(REST_SECONDS):
                await message.channel.send(
                    answer.text,
                    view=view_of(answer.buttons),
                    reference=message.to_reference(fail_if_not_exists=False),
                    mention_author=False,
                    allowed_mentions=discord.AllowedMentions.none(),
                )

    def _add_plain(self, command: Command) -> None:
        async def serve(interaction: discord.Interaction) -> None:
            await self._serve(interaction, command, "")

        self._tree.command(name=command.value, description=DESCRIPTIONS[command])(serve)

    def _add_voice(self) -> None:
        @self._tree.command(name=Command.VOICE.value, description=DESCRIPTIONS[Command.VOICE])
        @app_commands.describe(name="A voice such as NATF0; /voices shows them all")
        @app_commands.autocomplete(name=_complete_voice)
        async def serve(interaction: discord.Interaction, name: app_commands.Range[str, 1, VOICE_CHARS]) -> None:
            await self._serve(interaction, Command.VOICE, name)

    def _add_persona(self) -> None:
        @self._tree.command(name=Command.PERSONA.value, description=DESCRIPTIONS[Command.PERSONA])
        @app_commands.describe(text="Such as: You are a patient teacher. You speak slowly and in short sentences.")
        async def serve(interaction: discord.Interaction, text: app_commands.Range[str, 1, PERSONA_CHARS]) -> None:
            await self._serve(interaction, Command.PERSONA, text)

    def _add_attention(self) -> None:
        choices = [app_commands.Choice(name=words, value=mode.value) for mode, words in MODES.items()]

        @self._tree.command(name=Command.ATTENTION.value, description=DESCRIPTIONS[Command.ATTENTION])
        @app_commands.describe(mode="Whom it listens to, where there are several people")
        @app_commands.choices(mode=choices)
        async def serve(interaction: discord.Interaction, mode: str) -> None:
            await self._serve(interaction, Command.ATTENTION, mode)

    def _add_volume(self) -> None:
        @self._tree.command(name=Command.VOLUME.value, description=DESCRIPTIONS[Command.VOLUME])
        @app_commands.describe(person="You; or anybody, if you may mute members", percent="100 is as they are")
        async def serve(
            interaction: discord.Interaction, person: discord.User, percent: app_commands.Range[int, 0, MAX_PERCENT]
        ) -> None:
            await self._serve(interaction, Command.VOLUME, f"{person.mention} {percent}")

    def _add_switch(self, command: Command, words: str) -> None:
        choices = [app_commands.Choice(name=name, value=name) for name in ("on", "off")]

        @self._tree.command(name=command.value, description=DESCRIPTIONS[command])
        @app_commands.describe(switch=words)
        @app_commands.choices(switch=choices)
        async def serve(interaction: discord.Interaction, switch: str) -> None:
            await self._serve(interaction, command, switch)

    async def take_press(self, interaction: discord.Interaction) -> None:
        """Answer the press of a button, or the use of anything else under a message of ours."""
        button = pressed(interaction)
        if button is None or interaction.message is None or not isinstance(interaction.user, discord.Member):
            await say_to_presser(interaction, Answer(OLD_BUTTON, is_private=True))
            return
        press = Press(
            button,
            message_id=interaction.message.id,
            guild_id=interaction.user.guild.id,
            user_id=interaction.user.id,
            voice_channel_id=_voice_channel_id(interaction.user),
        )
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(self._obtain(press))
            await asyncio.wait((answering,), timeout=DIRECT_SECONDS)
            is_open = answering.done() or await acknowledge(interaction)
            answer = await answering
        if is_open and answer.text:
            await say_to_presser(interaction, answer)
        elif is_open and not interaction.response.is_done():
            await acknowledge(interaction)

    async def _serve(self, interaction: discord.Interaction, command: Command, text: str) -> None:
        """Answer a slash command, directly or after deferring it."""
        if not isinstance(interaction.user, discord.Member):
            await say(interaction, Answer("This command works in servers only.", is_private=True))
            return
        request = _request(interaction.user, command, text.strip())
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(self._obtain(request))
            await asyncio.wait((answering,), timeout=DIRECT_SECONDS)
            is_open = answering.done() or await defer(interaction, is_private=command.is_private)
            # Whatever has become of the deferral, what is asked for is done.
            answer = await answering
        if is_open:
            await say(interaction, answer)

    async def _obtain(self, request: Request | Press) -> Answer:
        """Return the answer to a request; a fault of ours has one too."""
        if self._pending >= PENDING_LIMIT:
            return BUSY
        self._pending += 1
        failures = Failures(request.name)
        try:
            with failures.collect():
                async with self._crossings:
                    return await self._answering(request)
        finally:
            self._pending -= 1
        failure = failures.principal() or PlexbridgeError()
        return Answer(failure.user_message, is_private=True)


class _Tree(app_commands.CommandTree[discord.Client]):
    """discord.py's commands, for servers only, with its failures contained."""

    def __init__(self, client: discord.Client) -> None:
        super().__init__(
            client,
            allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=False, private_channel=False),
            allowed_installs=app_commands.AppInstallationType(guild=True, user=False),
        )

    async def interaction_check(self, interaction: discord.Interaction, /) -> bool:
        """Say whether discord.py is to go on; it would log a completion's refusal as a bug, so those are given here."""
        if interaction.type is not discord.InteractionType.autocomplete:
            return True
        typed = str(getattr(interaction.namespace, "name", ""))
        with refusals("a voice's completion could not be shown"):
            async with asyncio.timeout(REST_SECONDS):
                await interaction.response.autocomplete(await _complete_voice(interaction, typed))
        return False

    async def on_error(self, interaction: discord.Interaction, error: app_commands.AppCommandError, /) -> None:
        """A command that Discord still knows, from an earlier version; or a fault of ours."""
        if isinstance(error, app_commands.CommandNotFound | app_commands.CommandSignatureMismatch):
            logger.info("a slash command of an earlier version was used")
            await say(interaction, Answer(GONE, is_private=True))
            return
        logger.error("a slash command failed through a fault in plexbridge", exc_info=error)
        await say(interaction, Answer(PlexbridgeError.user_message, is_private=True))


async def _complete_voice(interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=label, value=value) for label, value in voice_choices(current)]


def _request(member: discord.Member, command: Command, text: str) -> Request:
    return Request(
        command=command,
        text=text,
        guild_id=member.guild.id,
        user_id=member.id,
        voice_channel_id=_voice_channel_id(member),
        may_move_members=_rights(member).move_members,
        may_manage_server=member.guild_permissions.manage_guild,
        may_mute_members=_rights(member).mute_members,
    )


def _voice_channel_id(member: discord.Member) -> int | None:
    return None if member.voice is None or member.voice.channel is None else member.voice.channel.id


def _rights(member: discord.Member) -> discord.Permissions:
    """Return what a member may do where the bot is, or in general while it is nowhere."""
    if member.guild.me is None:  # until discord.py has been told of the server again, after an outage
        return discord.Permissions.none()
    voice = member.guild.me.voice
    if voice is None or voice.channel is None:
        return member.guild_permissions
    return voice.channel.permissions_for(member)
