"""REST, version 10: what a bot with voice, commands and messages asks for.

Every request is recorded with its body and answer. A `Rule` makes matching requests fail, wait or run into a rate
limit. Answers have exactly `application/json`: client libraries compare the header as a whole.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.discord_server.record import Record
from tests.discord_server.world import Channel, Guild, Json, User, World, new_id

API_PREFIX = "/api/v10"
MESSAGE_LIMIT_CHARACTERS = 2_000
GUILD_MESSAGES_INTENT = 1 << 9
BODY_LIMIT_BYTES = 26 << 20

Publish = Callable[[str, Json, int, int], None]


class RestError(Exception):
    """An answer that is an error: HTTP status, Discord's error code and text."""

    def __init__(self, status: int, code: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


def unknown(what: str, code: int) -> RestError:
    """Return the 404 for something that does not exist."""
    return RestError(404, code, f"Unknown {what}")


@dataclass(slots=True)
class Rule:
    """What happens to requests whose method and path (without `/api/v10`) match, `times` times."""

    method: str
    path: str
    times: int = 1
    delay_seconds: float = 0.0
    status: int = 0
    """The answer's status instead of the real one; 0 lets the request through after the delay."""
    retry_after_seconds: float = 0.0
    is_global: bool = False
    code: int = 0

    def matches(self, method: str, path: str) -> bool:
        """Tell whether the rule is for this request and not used up."""
        return self.times > 0 and self.method in ("*", method) and re.fullmatch(self.path, path) is not None


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return an answer with exactly `application/json`."""
    body = json.dumps(value).encode()
    return web.Response(status=status, headers=headers, body=body, content_type="application/json")


def no_content() -> web.Response:
    """Return the answer without a body."""
    return web.Response(status=204)


async def read_payload(request: web.Request) -> Json:
    """Return the JSON body, also of a multipart request (`payload_json`); {} without a body."""
    if request.content_type.startswith("multipart/"):
        form = await request.post()
        names = [name for name in form if name != "payload_json"]
        payload = json.loads(str(form.get("payload_json", "{}")))
        files = [{"id": str(new_id()), "filename": getattr(form[name], "filename", name)} for name in names]
        return dict(payload) | {"attachments": files}
    raw = await request.read()
    return dict(json.loads(raw)) if raw and raw.lstrip().startswith(b"{") else {}


class Rest:
    """The resources outside of interactions; `routes` are mounted under `/api/v10`."""

    def __init__(self, world: World, record: Record, publish: Publish) -> None:
        self._world = world
        self._record = record
        self._publish = publish
        self.gateway_url = ""
        self.rules: list[Rule] = []

    def routes(self) -> list[web.RouteDef]:
        """Return all routes."""
        messages = API_PREFIX + "/channels/{channel_id}/messages"
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
            web.get(API_PREFIX + "/channels/{channel_id}", self._get_channel),
            web.post(API_PREFIX + "/channels/{channel_id}/typing", self._typing),
            web.get(messages, self._list_messages),
            web.post(messages, self._post_message),
            web.get(messages + "/{message_id}", self._get_message),
            web.patch(messages + "/{message_id}", self._patch_message),
            web.delete(messages + "/{message_id}", self._delete_message),
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
                return self._refusal(rule)
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

    @staticmethod
    def _refusal(rule: Rule) -> web.Response:
        if rule.status != 429:
            return json_response({"message": "refused by a rule", "code": rule.code}, rule.status)
        body = {
            "message": "You are being rate limited.",
            "retry_after": rule.retry_after_seconds,
            "global": rule.is_global,
        }
        # Without Via, discord.py takes a 429 for a ban by Cloudflare.
        headers = {"Via": "1.1 loopback", "Retry-After": str(rule.retry_after_seconds)}
        return json_response(body, 429, headers)

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
            "flags": 0,
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

    def channel_of(self, request: web.Request) -> Channel:
        """Return the channel of the path; raises `RestError`."""
        channel = self._world.channel(int(request.match_info["channel_id"]))
        if channel is None:
            raise unknown("Channel", 10003)
        return channel

    async def _get_channel(self, request: web.Request) -> web.Response:
        return json_response(self.channel_of(request).to_json())

    async def _typing(self, request: web.Request) -> web.Response:
        self.channel_of(request)
        return no_content()

    async def _list_messages(self, request: web.Request) -> web.Response:
        channel = self.channel_of(request)
        found = [m for m in self._world.messages.values() if m["channel_id"] == str(channel.id)]
        return json_response(found[::-1][: int(request.query.get("limit", 50))])

    def check_content(self, payload: Json) -> None:
        """Refuse what Discord refuses: empty messages and those over 2000 characters; raises `RestError`."""
        content = payload.get("content") or ""
        if len(content) > MESSAGE_LIMIT_CHARACTERS:
            raise RestError(400, 50035, "Invalid Form Body: content is over 2000 characters")
        if not content and not any(payload.get(key) for key in ("embeds", "components", "attachments", "sticker_ids")):
            raise RestError(400, 50006, "Cannot send an empty message")

    def announce_message(self, channel: Channel, message: Json, author: User) -> None:
        """Publish MESSAGE_CREATE."""
        guild = self._world.guilds[channel.guild_id]
        member = {"member": guild.member_json(author, with_user=False)}
        event = message | {"guild_id": str(guild.id)} | member
        self._publish("MESSAGE_CREATE", event, guild.id, GUILD_MESSAGES_INTENT)

    async def _post_message(self, request: web.Request) -> web.Response:
        channel = self.channel_of(request)
        payload = await read_payload(request)
        self.check_content(payload)
        message = self._world.create_message(channel, self._world.bot, payload)
        self.announce_message(channel, message, self._world.bot)
        return json_response(message)

    def _message_of(self, request: web.Request) -> Json:
        message = self._world.messages.get(int(request.match_info["message_id"]))
        if message is None or message["channel_id"] != request.match_info["channel_id"]:
            raise unknown("Message", 10008)
        return message

    async def _get_message(self, request: web.Request) -> web.Response:
        return json_response(self._message_of(request))

    async def _patch_message(self, request: web.Request) -> web.Response:
        message = self._message_of(request)
        if message["author"]["id"] != str(self._world.bot.id):
            raise RestError(403, 50005, "Cannot edit a message authored by another user")
        payload = await read_payload(request)
        self.check_content(message | payload)
        edited = self._world.edit_message(message, payload)
        guild_id = self.channel_of(request).guild_id
        self._publish("MESSAGE_UPDATE", edited | {"guild_id": str(guild_id)}, guild_id, GUILD_MESSAGES_INTENT)
        return json_response(edited)

    async def _delete_message(self, request: web.Request) -> web.Response:
        message = self._message_of(request)
        del self._world.messages[int(message["id"])]
        channel = self.channel_of(request)
        event = {"id": message["id"], "channel_id": message["channel_id"], "guild_id": str(channel.guild_id)}
        self._publish("MESSAGE_DELETE", event, channel.guild_id, GUILD_MESSAGES_INTENT)
        return no_content()
