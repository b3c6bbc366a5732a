"""The bot on Discord's loop: logged in, aware of who is in which voice channel, and doing what Trio's side asks for.

Above this module nobody knows discord.py's exceptions. It asks for the two intents that voice needs, none of which
needs an entry on Discord's developer page.
"""

import asyncio
import logging
import ssl
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import aiohttp

from plexbridge.config import DiscordConfig
from plexbridge.errors import ConfigError, DiscordError, DiscordLost, DiscordRefused, DiscordUnreachable, VoiceRefused
from plexbridge.people.discord import internals
from plexbridge.people.discord.attendance import Presence
from plexbridge.people.discord.inbox import Inbox
from plexbridge.people.discord.internals import VoiceLink

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # discord.py imports audioop, which Python 3.13 drops
    import discord

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 2.0

Changed = Callable[[], Awaitable[None]]
"""Told, on Discord's loop, that somebody came or went."""


class Bot(discord.Client):
    """discord.py's client; `clock` stamps what comes in. Made on Discord's loop by `open_bot`."""

    def __init__(self, settings: DiscordConfig, connector: aiohttp.TCPConnector, clock: Callable[[], float]) -> None:
        super().__init__(
            intents=discord.Intents(guilds=True, voice_states=True),
            connector=connector,
            proxy=settings.proxy,
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=None,
        )
        self.connector = connector
        self._clock = clock
        self._changed: Changed | None = None
        self._present: Mapping[int, Presence] = MappingProxyType({})

    # For Trio's side

    def present(self) -> Mapping[int, Presence]:
        """Return the humans in all voice channels; the mapping is never changed, so any thread may read it."""
        return self._present

    @property
    def description_line(self) -> str:
        """The bot's name and how many servers it is in."""
        name = "the bot" if self.user is None else self.user.name
        return f"{name} in {len(self.guilds)} server{'' if len(self.guilds) == 1 else 's'}"

    def watch(self, changed: Changed) -> None:
        """Have `changed` called whenever somebody comes or goes."""
        self._changed = changed

    async def join(self, channel_id: int) -> VoiceLink:
        """Join a voice channel; raises VoiceRefused, and then, or when cancelled, the bot is not in it."""
        channel = self.get_channel(channel_id)
        if not isinstance(channel, discord.VoiceChannel | discord.StageChannel):
            raise VoiceRefused(f"there is no voice channel {channel_id} any more")
        try:
            with _translated():
                return await internals.join_voice(channel, Inbox(self._clock))
        except DiscordError as error:
            raise VoiceRefused(str(error)) from error

    async def write(self, channel_id: int, text: str) -> int:
        """Send a message and return its id; raises DiscordError."""
        with _translated():
            message = await self.get_partial_messageable(channel_id).send(text)
        return message.id

    async def edit(self, channel_id: int, message_id: int, text: str) -> None:
        """Replace a message's text; raises DiscordError."""
        with _translated():
            await self.get_partial_messageable(channel_id).get_partial_message(message_id).edit(content=text)

    async def log_in(self, token: str) -> None:
        """Log in; raises DiscordError."""
        with _translated():
            await self.login(token)

    async def stay_connected(self) -> None:
        """Hold the connection to Discord's gateway, reconnecting, until cancelled; raises DiscordError."""
        with _translated():
            await self.connect()
        raise DiscordLost("discord.py has ended the connection to the gateway")

    # discord.py calls these by their names

    async def on_ready(self) -> None:
        """All servers are known."""
        await self._look()

    async def on_resumed(self) -> None:
        """The gateway is back."""
        await self._look()

    async def on_voice_state_update(
        self, member: discord.Member, before: discord.VoiceState, after: discord.VoiceState
    ) -> None:
        """Somebody came or went, or muted themselves."""
        if before.channel != after.channel:
            await self._look()

    async def on_guild_available(self, guild: discord.Guild) -> None:
        """A server is back, or new."""
        await self._look()

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """The bot was invited."""
        await self._look()

    async def on_guild_unavailable(self, guild: discord.Guild) -> None:
        """A server has an outage."""
        await self._look()

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
        present = {
            channel.id: Presence(guild.id, humans)
            for guild in self.guilds
            for channel in (*guild.voice_channels, *guild.stage_channels)
            if (humans := frozenset(member.id for member in channel.members if not member.bot))
        }
        self._present = MappingProxyType(present)
        if self._changed is not None:
            await self._changed()


async def make_bot(settings: DiscordConfig, clock: Callable[[], float]) -> Bot:
    """Return a bot that is not yet logged in; on Discord's loop. Raises ConfigError for its `ca_file`."""
    internals.prepare(api_base=settings.api_base, gateway=settings.gateway)
    context = ssl.create_default_context()
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(settings.ca_file)
        except OSError as exc:  # ssl.SSLError is one
            reason = exc.strerror or "no certificate in it"
            raise ConfigError((f"discord.ca_file: {settings.ca_file} can't be used: {reason}",)) from exc
    return Bot(settings, aiohttp.TCPConnector(limit=0, ssl=context), clock)


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
