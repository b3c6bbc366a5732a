"""Commands on Discord's loop: slash commands, their completion, and messages that begin with an exclamation mark.

Discord wants a first answer within three seconds, and one only. So a command that is answered at once is answered
directly, and any other one is deferred, which shows that the bot is thinking, and its answer follows whenever it is
there; the work in Trio goes on undisturbed meanwhile. Where Discord refuses an answer (too late, answered before, rate
limit, outage), that is one line in the log: nobody is left to tell. discord.py itself waits out a rate limit and
repeats what a server's fault has kept from arriving.

What a command does is `commands.Commands`' concern, to which a request goes through the portal. Only so many cross at
the same time, since the portal has few workers and the voice channels' news need one.
"""

import asyncio
import logging
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import aiohttp

from plexbridge.errors import PlexbridgeError
from plexbridge.people.discord.asking import Answer, Command, Request, parse_prefixed, voice_choices
from plexbridge.service import Failures

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # discord.py imports audioop, which Python 3.13 drops
    import discord
    from discord import app_commands

logger = logging.getLogger(__name__)

DIRECT_SECONDS = 1.5
"""What takes longer is deferred: half of what Discord allows, so that a slow network has the other half."""
REST_SECONDS = 60.0
"""For one request to Discord, with all of discord.py's repetitions."""
CROSSING_LIMIT = 3
"""One less than the portal has workers."""
PENDING_LIMIT = 50
"""Of requests that cross or wait for it; one more is turned away."""
PERSONA_CHARS = 6_000
"""Discord's own limit for an option. It is about what fits into a request to the model, which is checked later."""
VOICE_CHARS = 100

BUSY = Answer("I have too many commands to answer at the moment. Please try again later.", is_private=True)
GONE = "This command does not exist any more. Discord shows the present ones in a while."

DESCRIPTIONS = {
    Command.JOIN: "Talk with the speech model in the voice channel where you are",
    Command.LEAVE: "End the conversation in this server",
    Command.STATUS: "See who is heard, how the conversation fares, and your own settings",
    Command.VOICE: "Choose the voice of your next conversations",
    Command.VOICES: "See which voices there are",
    Command.PERSONA: "Say who the speech model is to be in your next conversations",
    Command.RESET: "Go back to the configured voice and persona",
}

Answering = Callable[[Request], Awaitable[Answer]]
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

    async def sync(self) -> None:
        """Tell Discord which commands there are; once logged in. A failure is logged, and the old ones stay."""
        with _refusals("the slash commands could not be registered"):
            await self._tree.sync()

    async def take_message(self, message: discord.Message) -> None:
        """Answer a message if it is a prefix command of a person in a server; that of a bot is none."""
        parsed = parse_prefixed(message.content) if self._has_prefix else None
        if parsed is None or message.author.bot or not isinstance(message.author, discord.Member):
            return
        answer = await self._obtain(_request(message.author, *parsed))
        with _refusals("a prefix command could not be answered"):
            async with asyncio.timeout(REST_SECONDS):
                await message.channel.send(
                    answer.text,
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

    async def _serve(self, interaction: discord.Interaction, command: Command, text: str) -> None:
        """Answer a slash command, directly or after deferring it."""
        if not isinstance(interaction.user, discord.Member):
            await _say(interaction, "This command works in servers only.", is_private=True)
            return
        request = _request(interaction.user, command, text.strip())
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(self._obtain(request))
            await asyncio.wait((answering,), timeout=DIRECT_SECONDS)
            is_open = answering.done() or await _defer(interaction, is_private=command.is_private)
            # Whatever has become of the deferral, what is asked for is done.
            answer = await answering
        if is_open:
            await _say(interaction, answer.text, is_private=answer.is_private)

    async def _obtain(self, request: Request) -> Answer:
        """Return the answer to a request; a fault of ours has one too."""
        if self._pending >= PENDING_LIMIT:
            return BUSY
        self._pending += 1
        failures = Failures(f"/{request.command.value}")
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
        with _refusals("a voice's completion could not be shown"):
            async with asyncio.timeout(REST_SECONDS):
                await interaction.response.autocomplete(await _complete_voice(interaction, typed))
        return False

    async def on_error(self, interaction: discord.Interaction, error: app_commands.AppCommandError, /) -> None:
        """A command that Discord still knows, from an earlier version; or a fault of ours."""
        if isinstance(error, app_commands.CommandNotFound | app_commands.CommandSignatureMismatch):
            logger.info("a slash command of an earlier version was used")
            await _say(interaction, GONE, is_private=True)
            return
        logger.error("a slash command failed through a fault in plexbridge", exc_info=error)
        await _say(interaction, PlexbridgeError.user_message, is_private=True)


async def _complete_voice(interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=label, value=value) for label, value in voice_choices(current)]


def _request(member: discord.Member, command: Command, text: str) -> Request:
    voice = member.voice
    return Request(
        command=command,
        text=text,
        guild_id=member.guild.id,
        user_id=member.id,
        voice_channel_id=None if voice is None or voice.channel is None else voice.channel.id,
        may_move_members=_may_move_members(member),
    )


def _may_move_members(member: discord.Member) -> bool:
    """Say whether a member may move others where the bot is, or in general while it is nowhere."""
    if member.guild.me is None:  # until discord.py has been told of the server again, after an outage
        return False
    voice = member.guild.me.voice
    if voice is None or voice.channel is None:
        return member.guild_permissions.move_members
    return voice.channel.permissions_for(member).move_members


async def _defer(interaction: discord.Interaction, *, is_private: bool) -> bool:
    """Show that the answer comes later; return whether it can come at all."""
    with _refusals("a slash command could not be deferred"):
        async with asyncio.timeout(REST_SECONDS):
            await interaction.response.defer(ephemeral=is_private)
        return True
    return False


async def _say(interaction: discord.Interaction, text: str, *, is_private: bool) -> None:
    """Give the answer; one that was deferred is seen by those who saw the deferral."""
    nobody = discord.AllowedMentions.none()
    with _refusals("a slash command could not be answered"):
        async with asyncio.timeout(REST_SECONDS):
            if interaction.response.is_done():
                await interaction.edit_original_response(content=text, allowed_mentions=nobody)
            else:
                await interaction.response.send_message(text, ephemeral=is_private, allowed_mentions=nobody)


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Log that Discord does not take something, or can't be reached; no text of an answer of its stands in the log."""
    try:
        yield
    except discord.HTTPException as exc:
        logger.warning("%s: Discord answered %s, error %s", what, exc.status, exc.code)
    except (discord.DiscordException, aiohttp.ClientError, TimeoutError, OSError) as exc:
        logger.warning("%s: %s", what, type(exc).__name__)
    except RuntimeError:  # aiohttp's word for a client that has been closed meanwhile
        logger.warning("%s: the connection to Discord is closed", what)
