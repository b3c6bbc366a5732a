"""A small bot on real discord.py, which shows that the loopback Discord speaks discord.py's language.

It is no part of plexbridge and shares no code with it: it only logs in, joins, sends given Opus packets and keeps what
it receives. discord.py runs on an event loop in a thread; every method blocks until that loop has done it.
"""

import asyncio
import ssl
import threading
import time
import warnings
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import yarl

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # discord.py imports audioop, which Python 3.13 drops
    import aiohttp
    import discord
    from discord.gateway import DiscordWebSocket
    from discord.http import Route

from tests.discord_server.control import Ready
from tests.discord_server.probe_voice import ReceivingClient
from tests.discord_server.transport import OPUS_SILENCE

CALL_SECONDS = 45.0
Result = TypeVar("Result")
FRAME_SECONDS = 0.020

__all__ = ["ProbeBot", "discord"]


class Form(discord.ui.Modal, title="Form"):
    """A form with one text."""

    name: discord.ui.TextInput[Any] = discord.ui.TextInput(label="Name", custom_id="name")

    async def on_submit(self, interaction: discord.Interaction) -> None:
        """Answer with the text."""
        await interaction.response.send_message(self.name.value)


class Panel(discord.ui.View):
    """A button that shows the form, and a menu that answers with the choice."""

    @discord.ui.button(label="Form", custom_id="panel-button")
    async def show(self, interaction: discord.Interaction, button: discord.ui.Button[Any]) -> None:
        """Show the form."""
        await interaction.response.send_modal(Form(custom_id="panel-form"))

    @discord.ui.button(label="Count", custom_id="panel-count")
    async def count(self, interaction: discord.Interaction, button: discord.ui.Button[Any]) -> None:
        """Change the message that it is under."""
        await interaction.response.edit_message(content="pressed")

    @discord.ui.button(label="Nothing", custom_id="panel-nothing")
    async def stay(self, interaction: discord.Interaction, button: discord.ui.Button[Any]) -> None:
        """Leave everything as it is, and say something to who pressed, and later a word more."""
        await interaction.response.defer()
        await interaction.followup.send("only for you", view=Panel(timeout=None), ephemeral=True)

    @discord.ui.select(custom_id="panel-menu", options=[discord.SelectOption(label=name) for name in ("tea", "milk")])
    async def choose(self, interaction: discord.Interaction, menu: discord.ui.Select[Any]) -> None:
        """Answer with the choice."""
        await interaction.response.send_message(menu.values[0])


class ProbeBot:
    """A context manager: logged in and ready inside."""

    def __init__(self, ready: Ready, *, message_content: bool = True) -> None:
        self._ready = ready
        self._message_content = message_content
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="probe-bot")
        self._logged_in = threading.Event()
        self.client: discord.Client | None = None
        self._voices: list[ReceivingClient] = []
        self.messages: list[discord.Message] = []
        self.events: list[str] = []
        """Names of the gateway events, and errors of commands, in the order of their arrival."""

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._logged_in.wait(CALL_SECONDS):
            raise TimeoutError("the bot did not get ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.client is not None
        self.leave_all()
        for voice in self._voices:
            # An invalid session leaves a voice client behind that nothing refers to and nothing closes.
            if voice.ws:
                self.do(voice.ws.close())
        asyncio.run_coroutine_threadsafe(self.client.close(), self._loop).result(CALL_SECONDS)
        self._thread.join(CALL_SECONDS)

    def check_login(self) -> None:
        """Try to log in, in this thread; raises what discord.py raises."""
        self._run()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        # Both are attributes of discord.py's classes: another bot of this process has its own, later.
        previous = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
        Route.BASE = self._ready.api_base
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(self._ready.gateway)
        try:
            self._loop.run_until_complete(self._live())
        finally:
            Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = previous
            left_over = asyncio.all_tasks(self._loop)
            for task in left_over:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left_over, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
            asyncio.set_event_loop(None)

    async def _live(self) -> None:
        tls = ssl.create_default_context(cafile=self._ready.ca_file)
        intents = discord.Intents.default()
        intents.message_content = self._message_content
        connector = aiohttp.TCPConnector(limit=0, ssl=tls)
        self.client = client = discord.Client(intents=intents, connector=connector)
        self.tree = discord.app_commands.CommandTree(client)

        async def on_ready() -> None:
            self._logged_in.set()

        async def on_message(message: discord.Message) -> None:
            if message.author != client.user:
                self.messages.append(message)

        async def on_socket_event_type(name: str) -> None:
            self.events.append(name)

        client.event(on_ready)
        client.event(on_message)
        client.event(on_socket_event_type)
        self._register_commands()
        async with client:
            await client.start(self._ready.token)

    def _register_commands(self) -> None:
        tree = self.tree

        @tree.command(description="Answer at once")
        async def echo(interaction: discord.Interaction, text: str) -> None:
            await interaction.response.send_message(text, ephemeral=True)
            await interaction.followup.send(f"{text} again")

        @tree.command(description="Greet somebody")
        async def greet(interaction: discord.Interaction, whom: discord.User) -> None:
            await interaction.response.send_message(f"{type(whom).__name__} {whom.name}")

        @tree.command(description="Answer later")
        async def later(interaction: discord.Interaction, seconds: float, defer: bool) -> None:
            if defer:
                await interaction.response.defer(thinking=True)
            await asyncio.sleep(seconds)
            if defer:
                await interaction.edit_original_response(content="done")
            else:
                await interaction.response.send_message("done")

        @echo.autocomplete("text")
        async def complete(interaction: discord.Interaction, current: str) -> list[Any]:
            return [discord.app_commands.Choice(name=current.upper(), value=current)]

        async def on_error(interaction: discord.Interaction, error: Exception) -> None:
            self.events.append(repr(getattr(error, "original", error)))

        tree.error(on_error)

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on discord.py's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    def sync_commands(self) -> None:
        """Register the commands globally."""
        self.do(self.tree.sync())

    def send_panel(self, channel_id: int) -> int:
        """Send a message with components; return its id."""

        async def send() -> int:
            message: discord.Message = await self.channel(channel_id).send("panel", view=Panel(timeout=None))
            return message.id

        return self.do(send())

    def channel(self, channel_id: int) -> Any:
        """Return discord.py's channel object."""
        assert self.client is not None
        return self.client.get_channel(channel_id)

    def join(self, channel_id: int, **options: Any) -> ReceivingClient:
        """Connect to a voice channel, and only then listen: the first discovery is discord.py's own."""
        voice: ReceivingClient = self.do(self.channel(channel_id).connect(cls=ReceivingClient, **options))
        self._voices.append(voice)
        voice._connection.add_socket_listener(voice.take_datagram)
        return voice

    def leave_all(self) -> None:
        """Disconnect from voice everywhere."""
        assert self.client is not None
        for voice in list(self.client.voice_clients):
            self.do(voice.disconnect(force=True))

    def speak(self, voice: ReceivingClient, packets: list[bytes]) -> None:
        """Send packets at 20 ms each with the speaking flag, and five frames of silence."""
        self.do(self._speak(voice, packets))

    @staticmethod
    async def _speak(voice: ReceivingClient, packets: list[bytes]) -> None:
        await voice.ws.speak()
        due = time.monotonic()
        for packet in packets + [OPUS_SILENCE] * 5:
            await asyncio.sleep(due - time.monotonic())
            due += FRAME_SECONDS
            voice.send_audio_packet(packet, encode=False)
        await voice.ws.speak(discord.SpeakingState.none)
