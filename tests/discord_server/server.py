"""The whole server put together: certificates, REST, gateway, voice, people, control."""

import asyncio
import ssl
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme
from aiohttp import web

from tests.discord_server.gateway import Gateway
from tests.discord_server.guild import TEXT_CHANNEL, VOICE_CHANNEL, Guild, Json, User, new_id
from tests.discord_server.hub import Hub
from tests.discord_server.interactions import Interactions
from tests.discord_server.messages import Messages
from tests.discord_server.options import MEMBERS_INTENT, Options
from tests.discord_server.person import Person
from tests.discord_server.record import Record
from tests.discord_server.rest import BODY_LIMIT_BYTES, Rest
from tests.discord_server.voice_session import Grant
from tests.discord_server.webhooks import Webhooks
from tests.discord_server.world import World

CONNECT_ATTEMPTS = 3


class LoopbackDiscord:
    """An async context manager: running inside, everything closed outside.

    It starts with one guild that has the text channel "general" and the voice channels "Voice" and "Second".
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.record = Record()
        self.world = World(options.token)
        self.people: dict[int, Person] = {}
        self._directory = tempfile.TemporaryDirectory(prefix="loopback-discord-")
        self.ca_file = Path(self._directory.name) / "ca.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(options.host, "localhost").configure_cert(server_tls)
        self._person_tls = ssl.create_default_context(cafile=str(self.ca_file))
        self.gateway = Gateway(self.world, options, self.record)
        self.hub = Hub(self.world, options, self.record, server_tls, self.gateway.publish, self._deliver)
        self.rest = Rest(self.world, options, self.record)
        self.messages = Messages(self.world, self.record, self.gateway.publish)
        self.interactions = Interactions(self.world, self.record, self.gateway.publish)
        self._webhooks = Webhooks(self.world, options, self.record, self.messages, self.interactions)
        self.gateway.on_voice_request = self._voice_request
        self.gateway.on_session_lost = self._bot_lost
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.extra_routes: list[web.RouteDef] = []
        self.port = 0
        self.guild = self.world.create_guild("Loopback")
        self.world.create_channel(self.guild, "general", TEXT_CHANNEL)
        self.world.create_channel(self.guild, "Voice", VOICE_CHANNEL)
        self.world.create_channel(self.guild, "Second", VOICE_CHANNEL)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=BODY_LIMIT_BYTES, middlewares=[self.rest.middleware])
        app.add_routes([*self.rest.routes(), *self.messages.routes(), *self._webhooks.routes(), *self.extra_routes])
        for path in ("/gateway", "/gateway/"):
            app.router.add_get(path, self.gateway.serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.options.host, self.options.port, shutdown_timeout=0.2).start()
        self.port = self._runner.addresses[0][1]
        self.gateway.url = self.rest.gateway_url = f"ws://{self.options.host}:{self.port}/gateway"
        await self.hub.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        for person in self.people.values():
            await person.disconnect()
        self.gateway.close(1006)
        await self.hub.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        self._directory.cleanup()

    def ready(self) -> Json:
        """Return what a client needs to connect, as the READY line prints it."""
        base = f"http://{self.options.host}:{self.port}"
        channels = {channel.name: channel.id for channel in self.guild.channels.values()}
        return {
            "api_base": f"{base}/api/v10",
            "gateway": self.gateway.url,
            "control": f"{base}/control",
            "ca_file": str(self.ca_file),
            "token": self.world.token,
            "bot_id": self.world.bot.id,
            "application_id": self.world.application_id,
            "owner_id": self.world.owner.id,
            "guild_id": self.guild.id,
            "channels": channels,
        }

    def start_task(self, work: "asyncio.Task[None]") -> None:
        """Keep a task until it is done, or cancel it at the end."""
        self._tasks.add(work)
        work.add_done_callback(self._tasks.discard)

    def add_person(self, name: str, *, is_bot: bool, guild: Guild) -> Person:
        """Make a user, member of `guild`."""
        user = User(new_id(), name, is_bot=is_bot)
        person = self.people[user.id] = Person(user, self._person_tls)
        guild.add_member(user)
        event = guild.member_json(user) | {"guild_id": str(guild.id)}
        self.gateway.publish("GUILD_MEMBER_ADD", event, guild.id, MEMBERS_INTENT)
        return person

    def _voice_request(
        self, guild_id: int, channel_id: int | None, session_id: str, self_mute: bool, self_deaf: bool
    ) -> None:
        bot_id = self.world.bot.id
        if channel_id is None:
            self.hub.leave(guild_id, bot_id)
        elif (reason := self.hub.refusal(guild_id, bot_id, channel_id)) is not None:
            # Discord says nothing: no voice state, no voice server.
            self.record.add("voice", "join refused", user_id=bot_id, channel_id=channel_id, reason=reason)
        else:
            self.hub.enter(guild_id, bot_id, channel_id, session_id, self_mute=self_mute, self_deaf=self_deaf)

    def _bot_lost(self) -> None:
        for guild_id in self.world.guilds:
            self.hub.leave(guild_id, self.world.bot.id)

    def _deliver(self, grant: Grant) -> None:
        if grant.user_id != self.world.bot.id:
            self.start_task(asyncio.create_task(self._connect_person(self.people[grant.user_id], grant)))
            return
        event: Json = {"token": grant.token, "guild_id": str(grant.guild_id), "endpoint": grant.endpoint}
        self.gateway.publish("VOICE_SERVER_UPDATE", event, grant.guild_id, 0)

    async def _connect_person(self, person: Person, grant: Grant) -> None:
        who: Json = {"user_id": person.user.id, "user_name": person.user.name}
        for attempt in range(CONNECT_ATTEMPTS):
            try:
                await person.connect(grant)
            except (TimeoutError, OSError) as exc:
                self.record.add("person", "not connected", **who, attempt=attempt, error=repr(exc))
            else:
                self.record.add("person", "connected", **who, channel_id=grant.channel_id)
                return
