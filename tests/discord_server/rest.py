"""REST, version 10: what a bot with voice, commands and messages asks for.

Every request is recorded with its body and answer. A `Rule` makes matching requests fail, wait or run into a rate
limit. Channels and messages are in `messages.py`, interactions in `webhooks.py`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.discord_server.answers import RestError, Rule, json_response, read_payload, unknown
from tests.discord_server.guild import Guild, Json, new_id
from tests.discord_server.options import Options, application_flags
from tests.discord_server.record import Record
from tests.discord_server.world import World

API_PREFIX = "/api/v10"
BODY_LIMIT_BYTES = 26 << 20


class Rest:
    """The application, its commands, guilds and members; and the rules for all routes."""

    def __init__(self, world: World, options: Options, record: Record) -> None:
        self._world = world
        self._application_flags = application_flags(options.allowed_privileged_intents)
        self._record = record
        self.gateway_url = ""
        self.rules: list[Rule] = []

    def routes(self) -> list[web.RouteDef]:
        """Return all routes."""
        commands = API_PREFIX + "/applications/{application_id}/commands"
        guild_commands = API_PREFIX + "/applications/{application_id}/guilds/{guild_id}/commands"
        return [
            web.get(API_PREFIX + "/gateway", self._gateway),
            web.get(API_PREFIX + "/gateway/bot", self._gateway),
            web.get(API_PREFIX + "/users/@me", self._me),
            web.get(API_PREFIX + "/applications/@me", self._application),
            web.get(API_PREFIX + "/oauth2/applications/@me", self._application),
            web.get(commands, self._get_commands),
            web.put(commands, self._put_commands),
            web.get(guild_commands, self._get_commands),
            web.put(guild_commands, self._put_commands),
            web.get(API_PREFIX + "/guilds/{guild_id}", self._get_guild),
            web.get(API_PREFIX + "/guilds/{guild_id}/channels", self._get_guild_channels),
            web.get(API_PREFIX + "/guilds/{guild_id}/members/{user_id}", self._get_member),
        ]

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Apply rules, check the token, record, and turn `RestError` into an answer."""
        if not request.path.startswith(API_PREFIX):
            return await handler(request)
        path = request.path.removeprefix(API_PREFIX)
        payload = await read_payload(request) if request.can_read_body else {}
        response = await self._answer(request, handler, path)
        self._record.add(
            "rest",
            f"{request.method} {path}",
            payload=payload,
            query=dict(request.query),
            status=response.status,
        )
        return response

    async def _answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]], path: str
    ) -> web.StreamResponse:
        rule = next((rule for rule in self.rules if rule.matches(request.method, path)), None)
        if rule is not None:
            rule.times -= 1
            await asyncio.sleep(rule.delay_seconds)
            if rule.status:
                return rule.refuse()
        needs_token = not path.startswith(("/webhooks/", "/interactions/", "/gateway"))
        if needs_token and request.headers.get("Authorization") != f"Bot {self._world.token}":
            return json_response({"message": "401: Unauthorized", "code": 0}, 401)
        try:
            return await handler(request)
        except RestError as exc:
            return json_response({"message": str(exc), "code": exc.code}, exc.status)
        except web.HTTPNotFound:
            self._record.violation("REST route unknown", user_id=self._world.bot.id, path=path)
            return json_response({"message": "404: Not Found", "code": 0}, 404)

    async def _gateway(self, request: web.Request) -> web.Response:
        limit = {"total": 1000, "remaining": 999, "reset_after": 0, "max_concurrency": 1}
        return json_response({"url": self.gateway_url, "shards": 1, "session_start_limit": limit})

    async def _me(self, request: web.Request) -> web.Response:
        return json_response(self._world.bot.to_json() | {"verified": True, "mfa_enabled": False, "locale": "en-US"})

    async def _application(self, request: web.Request) -> web.Response:
        world = self._world
        application = {
            "id": str(world.application_id),
            "name": world.bot.name,
            "icon": None,
            "description": "",
            "bot_public": True,
            "bot_require_code_grant": False,
            "verify_key": "00" * 32,
            "owner": world.owner.to_json(),
            "team": None,
            "flags": self._application_flags,
        }
        return json_response(application)

    def _commands(self, request: web.Request) -> list[Json]:
        if "guild_id" in request.match_info:
            return self._world.guild_commands.setdefault(int(request.match_info["guild_id"]), [])
        return self._world.commands

    async def _get_commands(self, request: web.Request) -> web.Response:
        return json_response(self._commands(request))

    async def _put_commands(self, request: web.Request) -> web.Response:
        stored = self._commands(request)
        known = {(command["name"], command["type"]): command["id"] for command in stored}
        guild = {"guild_id": request.match_info["guild_id"]} if "guild_id" in request.match_info else {}
        stored[:] = [
            {
                "id": known.get((command["name"], command.get("type", 1)), str(new_id())),
                "application_id": str(self._world.application_id),
                "version": str(new_id()),
                "default_member_permissions": None,
                "description": "",
                "options": [],
                "type": 1,
            }
            | guild
            | command
            for command in json.loads(await request.read())
        ]
        return json_response(stored)

    def _guild_of(self, request: web.Request) -> Guild:
        guild = self._world.guilds.get(int(request.match_info["guild_id"]))
        if guild is None:
            raise unknown("Guild", 10004)
        return guild

    async def _get_guild(self, request: web.Request) -> web.Response:
        guild = self._guild_of(request)
        counts = {"approximate_member_count": len(guild.members), "approximate_presence_count": 1}
        return json_response(guild.to_json() | counts)

    async def _get_guild_channels(self, request: web.Request) -> web.Response:
        return json_response([channel.to_json() for channel in self._guild_of(request).channels.values()])

    async def _get_member(self, request: web.Request) -> web.Response:
        guild = self._guild_of(request)
        user = guild.members.get(int(request.match_info["user_id"]))
        if user is None:
            raise unknown("Member", 10007)
        return json_response(guild.member_json(user))
