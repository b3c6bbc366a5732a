"""A bot of real discord.py that has `slash.SlashCommands` and nothing else, for the live tests.

discord.py runs on an event loop in a thread. Requests are answered by the bot itself, as a test wants it, or by the
function that it is given.
"""

import asyncio
import gc
import ssl
import threading
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import aiohttp
import yarl

from plexbridge.people.discord.asking import Answer, Command, Press, Request
from plexbridge.people.discord.attention import Button
from plexbridge.people.discord.slash import Answering, SlashCommands, intent_fault
from tests.discord_server.control import Ready
from tests.discord_server.probe_bot import discord
from tests.discord_server.probing import wait_until

CALL_SECONDS = 30.0


class CommandBot:
    """A context manager: logged in inside; `is_synced` is set when Discord has taken the commands, or refused them."""

    def __init__(
        self,
        ready: Ready,
        *,
        answering: Answering | None = None,
        has_prefix: bool = True,
        has_content: bool = True,
    ) -> None:
        self._ready = ready
        self._answering = answering or self._answer
        self._has_prefix = has_prefix
        self._intents = discord.Intents(
            guilds=True, voice_states=True, guild_messages=True, message_content=has_content
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="command-bot")
        self._is_ready = threading.Event()
        self.is_synced = threading.Event()
        self._client: discord.Client | None = None
        self.faults: list[str] = []
        """What discord.py's tasks and events have raised."""
        self.reset()

    def reset(self) -> None:
        """Answer at once, with an echo, and forget what has been."""
        self.requests: list[Request] = []
        """In the order in which they were passed on."""
        self.answered: list[Request] = []
        self.presses: list[Press] = []
        self.buttons: tuple[Button, ...] = ()
        """Under all answers."""
        self.press_answer = Answer("", is_private=True)
        self.crossings = self.most_crossings = 0
        self.delay_seconds = 0.0
        self.fault: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._is_ready.wait(CALL_SECONDS):
            raise TimeoutError("the bot did not get ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._client is not None
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result(CALL_SECONDS)
        self._thread.join(CALL_SECONDS)

    def channel(self, channel_id: int) -> Any:
        """Return discord.py's channel object."""
        assert self._client is not None
        return self._client.get_channel(channel_id)

    def intent_fault(self) -> str | None:
        """Return what the operator would read."""
        assert self._client is not None
        assert self._client.application_id is not None
        return intent_fault(self._client.application_flags, application_id=self._client.application_id)

    def enter(self, channel_id: int | None) -> None:
        """Be in a voice channel, as far as everybody can see."""
        assert self._client is not None
        (guild,) = self._client.guilds
        channel = None if channel_id is None else self.channel(channel_id)
        asyncio.run_coroutine_threadsafe(guild.change_voice_state(channel=channel), self._loop).result(CALL_SECONDS)
        wait_until(lambda: (guild.me.voice.channel if guild.me.voice else None) == channel)

    def write(self, channel_id: int, text: str, *items: discord.ui.Item[Any]) -> int:
        """Write a message as the bot, with components; return its id."""

        async def send() -> int:
            view = discord.ui.View(timeout=None)
            for item in items:
                view.add_item(item)
            view.stop()
            message: discord.Message = await self.channel(channel_id).send(text, view=view)
            return message.id

        return asyncio.run_coroutine_threadsafe(send(), self._loop).result(CALL_SECONDS)

    async def _answer(self, request: Request | Press) -> Answer:
        if isinstance(request, Press):
            self.presses.append(request)
            await asyncio.sleep(self.delay_seconds)
            return self.press_answer
        self.requests.append(request)
        self.crossings += 1
        self.most_crossings = max(self.crossings, self.most_crossings)
        try:
            await asyncio.sleep(self.delay_seconds)
        finally:
            self.crossings -= 1
        if self.fault is not None:
            raise self.fault
        self.answered.append(request)
        return replace(echo(request), buttons=self.buttons)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(lambda loop, context: self.faults.append(str(context)))
        previous = discord.http.Route.BASE, discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY
        discord.http.Route.BASE = self._ready.api_base
        discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(self._ready.gateway)
        try:
            self._loop.run_until_complete(self._live())
        finally:
            discord.http.Route.BASE, discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = previous
            left_over = asyncio.all_tasks(self._loop)
            for task in left_over:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left_over, return_exceptions=True))
            gc.collect()  # a task that failed unseen says so when it is thrown away
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
            asyncio.set_event_loop(None)

    async def _live(self) -> None:
        tls = ssl.create_default_context(cafile=self._ready.ca_file)
        connector = aiohttp.TCPConnector(limit=0, ssl=tls)
        self._client = client = discord.Client(intents=self._intents, connector=connector)
        commands = SlashCommands(client, self._answering, has_prefix=self._has_prefix)

        async def sync() -> None:
            await commands.sync()
            self.is_synced.set()

        async def setup_hook() -> None:
            self._syncing = asyncio.get_running_loop().create_task(sync())

        async def on_ready() -> None:
            self._is_ready.set()

        async def on_message(message: discord.Message) -> None:
            await commands.take_message(message)

        async def on_interaction(interaction: discord.Interaction) -> None:
            if interaction.type is discord.InteractionType.component:
                await commands.take_press(interaction)

        async def on_error(event: str, *args: object, **kwargs: object) -> None:
            self.faults.append(event)

        for hook in (setup_hook, on_ready, on_message, on_interaction, on_error):
            client.event(hook)
        async with client:
            await client.start(self._ready.token)


def echo(request: Request) -> Answer:
    """Return an answer that shows the request."""
    text = f"{request.command.value} {request.text}".strip()
    return Answer(text, is_private=request.command not in (Command.JOIN, Command.LEAVE))
