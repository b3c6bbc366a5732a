"""The Discord front as one block: Discord's thread, the bot, and the rooms, from log-in to the last goodbye.

The order of the end matters: first every conversation leaves its channel, for which the bot must still be connected;
then the bot says goodbye; then the thread is joined. So the bot's own tasks are shielded from a cancellation that
comes from outside, and are cancelled here.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import Protocol

import trio

from plexbridge import logs
from plexbridge.audio.hearing import HearingSettings
from plexbridge.config import Config, DiscordConfig
from plexbridge.errors import ConfigError, DiscordLost
from plexbridge.model.pool import Pool
from plexbridge.people.discord.asking import Answer, Press, Request
from plexbridge.people.discord.attendance import Attendance
from plexbridge.people.discord.attention import Mode
from plexbridge.people.discord.audiences import Audiences, ChoiceStore
from plexbridge.people.discord.bot import Bot, close_bot, make_bot
from plexbridge.people.discord.commands import Commands, Settings
from plexbridge.people.discord.portal import Portal, open_portal, trio_clock
from plexbridge.people.discord.recordings import RecordedStore, Recordings, recorder_on_disk
from plexbridge.people.discord.room import Converse
from plexbridge.people.discord.rooms import Rooms
from plexbridge.recording.keeping import prepare_folder

READY_SECONDS = 60.0
"""For the gateway and all servers, after the log-in."""


class Store(Settings, ChoiceStore, RecordedStore, Protocol):
    """Where it is kept what people and servers have chosen: `store.settings.SettingsStore`."""


class Front:
    """The running front: who the bot is, and its conversations."""

    def __init__(self, bot: Bot, rooms: Rooms) -> None:
        self.rooms = rooms
        self._bot = bot

    @property
    def description(self) -> str:
        """One line for people."""
        return f"Discord as {self._bot.description_line}"


@asynccontextmanager
async def open_front(
    config: Config, pool: Pool, settings: Store, hearing: HearingSettings, converse: Converse
) -> AsyncIterator[Front]:
    """Serve voice channels for the length of the block, as many at the same time as `pool` has places.

    `settings` keeps what people set. Raises ConfigError without a token, LibraryUnfit, DiscordError; in exception
    groups, once the thread runs.
    """
    discord = config.discord
    if discord.token is None:
        raise ConfigError(("discord.token: found nothing, expected the bot's token",))
    token = discord.token.get_secret_value()
    logs.redact(token, is_lasting=True)
    attendance = Attendance(
        auto_join=discord.auto_join,
        guilds=frozenset(discord.guilds),
        channels=frozenset(discord.channels),
    )
    if config.recording.enabled:
        await trio.to_thread.run_sync(prepare_folder, config.recording.folder)
    idle_seconds = config.hearing.idle_minutes * 60.0 or inf
    async with open_portal() as portal, _log_in(portal, discord, token) as bot:
        audiences = Audiences(settings, mode=Mode(discord.attention), idle_seconds=idle_seconds)
        await audiences.read_ignored()
        start = recorder_on_disk(config.recording, bot.names)
        recordings = Recordings(settings, config.recording, start, is_ignored=audiences.is_ignored)
        await recordings.read()
        rooms = Rooms(
            portal,
            bot,
            attendance,
            pool,
            converse,
            text_channel=discord.text_channel,
            place_seconds=config.queue.place_seconds,
            clock=trio_clock(),
            audiences=audiences,
            recordings=recordings,
            hearing=hearing,
        )
        commands = Commands(rooms, settings, audiences, recordings, persona=config.persona, models=config.model)

        async def answer(request: Request | Press) -> Answer:
            return await portal.into_trio(commands.answer, request)

        bot.watch(partial(portal.into_trio, rooms.changed))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rooms.run)
            if config.recording.enabled:
                nursery.start_soon(recordings.keep_folder)
            portal.into_discord_soon(bot.serve_commands, answer)
            yield Front(bot, rooms)
            nursery.cancel_scope.cancel(reason="the front closes")


@asynccontextmanager
async def _log_in(portal: Portal, settings: DiscordConfig, token: str) -> AsyncIterator[Bot]:
    """Yield the bot, connected and ready; afterwards it is logged out."""
    bot = await portal.into_discord(make_bot, settings)
    try:
        await portal.into_discord(bot.log_in, token)
        async with trio.open_nursery() as nursery:
            connection = trio.CancelScope(shield=True)
            nursery.start_soon(_stay_connected, portal, bot, connection)
            try:
                with trio.move_on_after(READY_SECONDS) as patience:
                    await portal.into_discord(bot.wait_until_ready)
                if patience.cancelled_caught:
                    raise DiscordLost(f"the gateway was not ready within {READY_SECONDS:.0f} s")
                yield bot
            finally:
                connection.cancel(reason="the front closes")
    finally:
        with trio.CancelScope(shield=True):  # bounded by `close_bot`
            await portal.into_discord(close_bot, bot)


async def _stay_connected(portal: Portal, bot: Bot, connection: trio.CancelScope) -> None:
    with connection:
        await portal.into_discord(bot.stay_connected)
