"""The bot on Discord's loop: logged in, aware of who is in which voice channel, and doing what Trio's side asks for.

Above this module nobody knows discord.py's exceptions. It asks for the two intents that voice needs, none of which
needs an entry on Discord's developer page, and for messages only where prefix commands are wanted.
"""

import asyncio
import logging
import random
import ssl
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from types import MappingProxyType
from weakref import WeakSet

import aiohttp

from plexbridge.config import DiscordConfig
from plexbridge.errors import (
    ConfigError,
    DiscordError,
    DiscordLost,
    DiscordRefused,
    DiscordUnreachable,
    VoiceEnded,
    VoiceForbidden,
    VoiceRefused,
)
from plexbridge.people.discord.attendance import Presence
from plexbridge.people.discord.attention import Button
from plexbridge.people.discord.endings import Cause, Ending
from plexbridge.people.discord.inbox import Inbox
from plexbridge.people.discord.internals.link import VoiceLink, join_voice
from plexbridge.people.discord.internals.patches import forgo_messages, prepare
from plexbridge.people.discord.replies import view_of
from plexbridge.people.discord.slash import Answering, SlashCommands, intent_fault

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # discord.py imports audioop, which Python 3.13 drops
    import discord

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 2.0
GUILDS_SECONDS = 1.0
"""Without another server's data for so long, all are taken to be known."""
IDENTIFY_INTERVAL_SECONDS = 5.0
"""Between two sessions at the least: Discord's limit."""
IDENTIFY_WAIT_SECONDS = (1.0, 2.0)
"""After a session that Discord has ended, by chance in between; discord.py waits for 5 s, in which nobody is heard."""

Changed = Callable[[], Awaitable[None]]
"""Told, on Discord's loop, that somebody came or went."""

_PERMISSION_NAMES = {
    "view_channel": "View Channel",
    "connect": "Connect",
    "speak": "Speak",
    "send_messages": "Send Messages",
}
"""As Discord's settings call them."""


class Bot(discord.Client):
    """discord.py's client. Made on Discord's loop by `make_bot`."""

    def __init__(self, settings: DiscordConfig, connector: aiohttp.TCPConnector) -> None:
        self._has_prefix = settings.prefix_commands
        super().__init__(
            intents=discord.Intents(
                guilds=True, voice_states=True, guild_messages=self._has_prefix, message_content=self._has_prefix
            ),
            connector=connector,
            proxy=settings.proxy,
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=None,
            guild_ready_timeout=GUILDS_SECONDS,
        )
        self.connector = connector
        self._changed: Changed | None = None
        self._commands: SlashCommands | None = None
        self._present: Mapping[int, Presence] = MappingProxyType({})
        self._places: Mapping[int, int] = MappingProxyType({})
        self._names: Mapping[int, str] = MappingProxyType({})
        self._sessions = 0
        """How many sessions there were on the main gateway; a resumed one is the same."""
        self._up = asyncio.Event()
        """Set while the gateway is there and all servers are known."""
        self._identified_seconds = -inf
        self._links: WeakSet[VoiceLink] = WeakSet()

    # For Trio's side

    def present(self) -> Mapping[int, Presence]:
        """Return the humans in all voice channels; the mapping is never changed, so any thread may read it."""
        return self._present

    def places(self) -> Mapping[int, int]:
        """Return the voice channels that the bot is in, by server; the mapping is never changed either."""
        return self._places

    def names(self) -> Mapping[int, str]:
        """Return the names of those in voice channels as their servers show them; never changed either."""
        return self._names

    @property
    def description_line(self) -> str:
        """The bot's name and how many servers it is in."""
        name = "the bot" if self.user is None else self.user.name
        return f"{name} in {len(self.guilds)} server{'' if len(self.guilds) == 1 else 's'}"

    def watch(self, changed: Changed) -> None:
        """Have `changed` called whenever somebody comes or goes."""
        self._changed = changed

    async def serve_commands(self, answering: Answering) -> None:
        """Have commands answered from now on, and tell Discord which there are."""
        self._commands = SlashCommands(self, answering, has_prefix=self._has_prefix)
        await self._commands.sync()

    async def check_voice(self, channel_id: int) -> None:
        """Raise VoiceForbidden if the bot may not talk in a voice channel, before anything is tried."""
        self._voice_channel(channel_id)

    async def check_text(self, channel_id: int) -> None:
        """Raise VoiceForbidden if the bot may not write in a channel."""
        channel = self.get_channel(channel_id)
        if isinstance(channel, discord.abc.GuildChannel):
            self._require(channel, ("view_channel", "send_messages"))

    async def join(self, channel_id: int, inbox: Inbox, within_seconds: float) -> VoiceLink:
        """Join a voice channel; when it fails, or is cancelled, the bot is not in it.

        Raises VoiceForbidden, VoiceRefused, and VoiceEnded when the bot is taken out again meanwhile.
        """
        try:
            with _translated():
                deadline_seconds = self.loop.time() + within_seconds
                async with asyncio.timeout_at(deadline_seconds):
                    await self._up.wait()
                channel = self._voice_channel(channel_id)
                number = self._sessions
                link = await join_voice(
                    channel,
                    inbox,
                    within_seconds=deadline_seconds - self.loop.time(),
                    is_orphaned=lambda: not self._up.is_set() or self._sessions != number,
                )
        except (VoiceEnded, VoiceForbidden):
            raise
        except DiscordError as error:
            raise VoiceRefused(str(error)) from error
        self._links.add(link)
        return link

    def _voice_channel(self, channel_id: int) -> discord.VoiceChannel | discord.StageChannel:
        if not self._up.is_set():
            # Until the gateway is back, nothing is known for certain, not even that a channel does not exist.
            raise VoiceRefused("the gateway is not connected")
        channel = self.get_channel(channel_id)
        if not isinstance(channel, discord.VoiceChannel | discord.StageChannel):
            raise VoiceForbidden("That voice channel does not exist any more, or I can't see it.")
        self._require(channel, ("view_channel", "connect", "speak"))
        is_full = 0 < channel.user_limit <= len(channel.members)
        is_there = channel.guild.me in channel.members
        if is_full and not is_there and not channel.permissions_for(channel.guild.me).move_members:
            raise VoiceForbidden(f"<#{channel_id}> is full: its user limit is {channel.user_limit}.")
        return channel

    @staticmethod
    def _require(channel: discord.abc.GuildChannel, needed: Iterable[str]) -> None:
        permissions = channel.permissions_for(channel.guild.me)
        # Who lacks one lacks those that follow from it too, so only the first one says what is wrong.
        missing = next((_PERMISSION_NAMES[name] for name in needed if not getattr(permissions, name)), None)
        if missing is not None:
            raise VoiceForbidden(
                f"I lack the permission {missing} in <#{channel.id}>. Who manages the server can grant it to my role: "
                "Edit Channel, Permissions."
            )

    async def write(self, channel_id: int, text: str) -> int:
        """Send a message and return its id; raises DiscordError."""
        with _translated():
            message = await self.get_partial_messageable(channel_id).send(text)
        return message.id

    async def call(self, channel_id: int, text: str, user_id: int) -> None:
        """Send a message of which one person, who is mentioned in it, is notified; raises DiscordError."""
        called = discord.AllowedMentions(everyone=False, roles=False, users=[discord.Object(user_id)])
        with _translated():
            await self.get_partial_messageable(channel_id).send(text, allowed_mentions=called)

    async def edit(self, channel_id: int, message_id: int, text: str) -> None:
        """Replace a message's text; raises DiscordError."""
        with _translated():
            await self.get_partial_messageable(channel_id).get_partial_message(message_id).edit(content=text)

    async def put(self, channel_id: int, message_id: int | None, text: str, buttons: tuple[Button, ...]) -> int:
        """Post a message with buttons, or replace all of an earlier one; return its id. Raises DiscordError."""
        channel = self.get_partial_messageable(channel_id)
        with _translated():
            if message_id is None:
                return (await channel.send(text, view=view_of(buttons))).id
            await channel.get_partial_message(message_id).edit(content=text, view=view_of(buttons))
        return message_id

    async def log_in(self, token: str) -> None:
        """Log in; raises DiscordError. Prefix commands are given up where the application may not read messages."""
        with _translated():
            await self.login(token)
        fault = intent_fault(self.application_flags, application_id=self.application_id or 0)
        if self._has_prefix and fault is not None:
            logger.warning("%s; until then only slash commands are served", fault)
            self._has_prefix = False
            forgo_messages(self)

    async def stay_connected(self) -> None:
        """Hold the connection to Discord's gateway, reconnecting, until cancelled; raises DiscordError."""
        with _translated():
            await self.connect()
        raise DiscordLost("discord.py has ended the connection to the gateway")

    # discord.py calls these by their names

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Wait before a new session as Discord wants it: by chance, and never two within five seconds."""
        now_seconds = self.loop.time()
        if not initial:
            next_seconds = self._identified_seconds + IDENTIFY_INTERVAL_SECONDS
            await asyncio.sleep(max(random.uniform(*IDENTIFY_WAIT_SECONDS), next_seconds - now_seconds))
        self._identified_seconds = self.loop.time()

    async def on_ready(self) -> None:
        """All servers are known, in a new session: a voice connection of an earlier one is Discord's no more."""
        self._sessions += 1
        self._up.set()
        for link in self._links:
            if link.is_orphaned():
                link.end(Ending(Cause.ORPHANED))
        await self._look()

    async def on_resumed(self) -> None:
        """The gateway is back."""
        self._up.set()
        await self._look()

    async def on_disconnect(self) -> None:
        """The connection to the gateway broke; discord.py makes a new one."""
        self._up.clear()

    async def on_voice_state_update(
        self, member: discord.Member, before: discord.VoiceState, after: discord.VoiceState
    ) -> None:
        """Somebody, or the bot itself, came, went or was moved, or was muted."""
        if before.channel != after.channel or _is_muted(before) != _is_muted(after):
            await self._look()

    async def on_message(self, message: discord.Message) -> None:
        """Somebody wrote something; it comes only if the bot asked for messages."""
        if self._commands is not None:
            await self._commands.take_message(message)

    async def on_guild_available(self, guild: discord.Guild) -> None:
        """A server is back, or new."""
        await self._look()

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """The bot was invited."""
        await self._look()

    async def on_guild_unavailable(self, guild: discord.Guild) -> None:
        """A server has an outage."""
        await self._look()

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        """Somebody used a command, which discord.py passes on by itself, or pressed a button."""
        if self._commands is not None and interaction.type is discord.InteractionType.component:
            await self._commands.take_press(interaction)

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """The bot was thrown out."""
        await self._look()

    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        """A channel is gone, and who was in it."""
        await self._look()

    async def on_error(self, event_method: str, /, *args: object, **kwargs: object) -> None:
        """A fault of ours in one of the methods above."""
        logger.error("the event %s failed through a fault in plexbridge", event_method, exc_info=True)

    async def _look(self) -> None:
        """Take in who is where; not between two sessions, when servers that are not yet known seem to be empty."""
        if not self._up.is_set():
            return
        present: dict[int, Presence] = {}
        names: dict[int, str] = {}
        for guild in self.guilds:
            for channel in (*guild.voice_channels, *guild.stage_channels):
                humans = [member for member in channel.members if not member.bot]
                names.update((member.id, member.display_name) for member in humans)
                if humans:
                    present[channel.id] = Presence(
                        guild.id,
                        frozenset(member.id for member in humans),
                        frozenset(member.id for member in humans if member.voice and _is_muted(member.voice)),
                    )
        self._present, self._names = MappingProxyType(present), MappingProxyType(names)
        self._places = MappingProxyType(
            {guild.id: voice.channel.id for guild in self.guilds if (voice := guild.me.voice) and voice.channel}
        )
        if self._changed is not None:
            await self._changed()


def _is_muted(voice: discord.VoiceState) -> bool:
    return voice.mute or voice.self_mute or voice.suppress


async def make_bot(settings: DiscordConfig) -> Bot:
    """Return a bot that is not yet logged in; on Discord's loop. Raises ConfigError for its `ca_file`."""
    prepare(api_base=settings.api_base, gateway=settings.gateway)
    context = ssl.create_default_context()
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(settings.ca_file)
        except OSError as exc:  # ssl.SSLError is one
            reason = exc.strerror or "no certificate in it"
            raise ConfigError((f"discord.ca_file: {settings.ca_file} can't be used: {reason}",)) from exc
    return Bot(settings, aiohttp.TCPConnector(limit=0, ssl=context))


async def close_bot(bot: Bot) -> None:
    """Say goodbye to the gateway and close all connections; on Discord's loop, within a bounded time."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await bot.close()
    except TimeoutError:
        logger.warning("Discord did not answer the goodbye within %s s", CLOSE_SECONDS)
    finally:
        await bot.connector.close()


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what discord.py raises into ours; its texts hold no secrets, but for URLs, which are left out."""
    try:
        yield
    except discord.LoginFailure as exc:
        raise DiscordRefused("the token was refused") from exc
    except discord.PrivilegedIntentsRequired as exc:
        raise DiscordRefused("Discord refuses the bot's intents") from exc
    except discord.ConnectionClosed as exc:
        raise DiscordRefused(f"the gateway closed the connection with code {exc.code}") from exc
    except discord.HTTPException as exc:
        raise DiscordError(f"Discord answered {exc.status}, error {exc.code}") from exc
    except (discord.DiscordException, RuntimeError) as exc:
        raise DiscordError(f"{type(exc).__name__}: {exc}") from exc
    except (TimeoutError, OSError, aiohttp.ClientError) as exc:
        raise DiscordUnreachable(type(exc).__name__) from exc
