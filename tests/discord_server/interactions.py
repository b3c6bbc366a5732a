"""Interactions: commands, components, autocompletion and forms that people use, and how the bot answers them.

An interaction must get its callback within three seconds (10062 afterwards) and only one (40060). Its token is good for
followups and for editing the original answer; a deferred answer's message appears with the first edit.
"""

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.discord_server.options import Options
from tests.discord_server.record import Record
from tests.discord_server.rest import (
    API_PREFIX,
    Publish,
    Rest,
    RestError,
    json_response,
    no_content,
    read_payload,
    unknown,
)
from tests.discord_server.world import ALL_PERMISSIONS, Channel, Json, User, World, new_id

PING, COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 1, 2, 3, 4, 5
MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE, CHOICES, SHOW_MODAL = 4, 5, 6, 7, 8, 9
EPHEMERAL, LOADING = 1 << 6, 1 << 7
SUBCOMMAND, SUBCOMMAND_GROUP = 1, 2
STRING, INTEGER, BOOLEAN, NUMBER = 3, 4, 5, 10
MESSAGE_UPDATE_INTENT = 1 << 9
INTERACTION_LIMIT = 1_000


@dataclass(slots=True)
class Interaction:
    """One use of the bot by a person, and everything that came back."""

    id: int
    token: str
    type: int
    user: User
    channel: Channel
    created_seconds: float
    message: Json | None = None
    """The message whose component was used."""
    callback: Json | None = None
    callback_seconds: float | None = None
    """How long the callback took."""
    original: Json | None = None
    followups: list[Json] = field(default_factory=list)

    def to_json(self) -> Json:
        """Return what the control interface shows."""
        return {
            "id": self.id,
            "token": self.token,
            "type": self.type,
            "callback": self.callback,
            "callback_seconds": self.callback_seconds,
            "original": self.original,
            "followups": self.followups,
        }


class Interactions:
    """All interactions of the application."""

    def __init__(self, world: World, options: Options, record: Record, rest: Rest, publish: Publish) -> None:
        self._world = world
        self._options = options
        self._record = record
        self._rest = rest
        self._publish = publish
        self._by_id: dict[int, Interaction] = {}
        self._by_token: dict[str, Interaction] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return all routes."""
        webhook = API_PREFIX + "/webhooks/{application_id}/{token}"
        return [
            web.post(API_PREFIX + "/interactions/{interaction_id}/{token}/callback", self._callback),
            web.post(webhook, self._followup),
            web.get(webhook + "/messages/{message_id}", self._get),
            web.patch(webhook + "/messages/{message_id}", self._edit),
            web.delete(webhook + "/messages/{message_id}", self._delete),
        ]

    def get(self, interaction_id: int) -> Interaction:
        """Return an interaction; raises `KeyError`."""
        return self._by_id[interaction_id]

    def use_command(
        self, user: User, channel: Channel, path: str, options: Json, *, focused: str | None = None
    ) -> Interaction:
        """Use a slash command, `path` with its subcommands ("voice set"); with `focused`, ask for its choices.

        Raises `ValueError` when the application has registered no such command.
        """
        name, *below = path.split()
        registered = self._world.guild_commands.get(channel.guild_id, []) + self._world.commands
        command = next((c for c in registered if c["name"] == name), None)
        if command is None:
            raise ValueError(f"no command {name} is registered, only {[c['name'] for c in registered]}")
        described, chain = command, []
        for part in below:
            found = [o for o in described["options"] if o["name"] == part and o["type"] <= SUBCOMMAND_GROUP]
            if not found:
                raise ValueError(f"/{path}: no subcommand {part}")
            described = found[0]
            chain.append(described)
        given = [self._option(described, key, value, focused) for key, value in options.items()]
        for level in reversed(chain):
            given = [{"name": level["name"], "type": level["type"], "options": given}]
        data = {
            "id": command["id"],
            "name": name,
            "type": 1,
            "options": given,
            "guild_id": str(channel.guild_id),
        }
        return self._create(COMMAND if focused is None else AUTOCOMPLETE, user, channel, data)

    @staticmethod
    def _option(described: Json, name: str, value: Any, focused: str | None) -> Json:
        types = {option["name"]: option["type"] for option in described.get("options") or []}
        if name not in types:
            raise ValueError(f"{described['name']} has no option {name}")
        shown = {"name": name, "type": types[name], "value": value}
        return shown | {"focused": True} if name == focused else shown

    def use_component(
        self,
        user: User,
        channel: Channel,
        message: Json,
        custom_id: str,
        component_type: int,
        values: list[str],
    ) -> Interaction:
        """Press a button (type 2) or choose in a menu (type 3) of a message."""
        data: Json = {"custom_id": custom_id, "component_type": component_type}
        if component_type != 2:
            data["values"] = values
        return self._create(COMPONENT, user, channel, data, message)

    def submit_modal(self, user: User, channel: Channel, custom_id: str, fields: dict[str, str]) -> Interaction:
        """Send a form with its text fields."""
        rows = [
            {"type": 1, "id": n, "components": [{"type": 4, "id": 100 + n, "custom_id": key, "value": value}]}
            for n, (key, value) in enumerate(fields.items(), 1)
        ]
        return self._create(MODAL, user, channel, {"custom_id": custom_id, "components": rows})

    def _create(self, type_: int, user: User, channel: Channel, data: Json, message: Json | None = None) -> Interaction:
        now = asyncio.get_running_loop().time()
        interaction = Interaction(new_id(), secrets.token_urlsafe(24), type_, user, channel, now, message)
        self._by_id[interaction.id] = self._by_token[interaction.token] = interaction
        if len(self._by_id) > INTERACTION_LIMIT:
            oldest = self._by_id.pop(next(iter(self._by_id)))
            del self._by_token[oldest.token]
        guild = self._world.guilds[channel.guild_id]
        event = {
            "id": str(interaction.id),
            "application_id": str(self._world.application_id),
            "type": type_,
            "token": interaction.token,
            "version": 1,
            "data": data,
            "guild_id": str(guild.id),
            "guild": {"id": str(guild.id), "locale": "en-US", "features": []},
            "channel_id": str(channel.id),
            "channel": channel.to_json() | {"permissions": ALL_PERMISSIONS},
            "member": guild.member_json(user) | {"permissions": ALL_PERMISSIONS},
            "app_permissions": ALL_PERMISSIONS,
            "locale": "en-US",
            "guild_locale": "en-US",
            "entitlements": [],
            "authorizing_integration_owners": {"0": str(guild.id)},
            "context": 0,
            "attachment_size_limit": 10 << 20,
        }
        if message is not None:
            event["message"] = message
        self._record.add("interaction", "created", interaction_id=interaction.id, type=type_, data=data)
        self._publish("INTERACTION_CREATE", event, guild.id, 0)
        return interaction

    async def _callback(self, request: web.Request) -> web.Response:
        interaction = self._by_id.get(int(request.match_info["interaction_id"]))
        if interaction is None or interaction.token != request.match_info["token"]:
            raise unknown("interaction", 10062)
        bot_id = self._world.bot.id
        if interaction.callback is not None:
            self._record.violation("interaction answered twice", user_id=bot_id, interaction_id=interaction.id)
            raise RestError(400, 40060, "Interaction has already been acknowledged.")
        seconds = asyncio.get_running_loop().time() - interaction.created_seconds
        if seconds > self._options.interaction_seconds:
            self._record.violation("interaction answered too late", user_id=bot_id, seconds=seconds)
            raise unknown("interaction", 10062)
        payload = await read_payload(request)
        message = self._take_callback(interaction, payload)
        interaction.callback, interaction.callback_seconds = payload, seconds
        self._record.add("interaction", "callback", interaction_id=interaction.id, payload=payload, seconds=seconds)
        if request.query.get("with_response") not in ("1", "true"):
            return no_content()
        resource: Json = {"type": payload["type"]}
        if message is not None:
            resource["message"] = message
        about = {
            "id": str(interaction.id),
            "type": interaction.type,
            "response_message_id": message["id"] if message else None,
            "response_message_loading": payload["type"] == DEFERRED,
            "response_message_ephemeral": bool(message and message["flags"] & EPHEMERAL),
        }
        return json_response({"interaction": about, "resource": resource})

    def _take_callback(self, interaction: Interaction, payload: Json) -> Json | None:
        """Do what a callback says; return the message that it made, changed or promised."""
        kind, data = payload["type"], payload.get("data") or {}
        if kind == MESSAGE:
            self._rest.check_content(data)
            interaction.original = self._message(interaction, data)
        elif kind == DEFERRED:
            deferred = {"content": "", "flags": data.get("flags", 0) | LOADING}
            interaction.original = self._message(interaction, deferred)
        elif kind in (UPDATE, DEFERRED_UPDATE):
            if interaction.message is None:
                raise RestError(400, 50035, "There is no message to update")
            interaction.original = interaction.message
            if kind == UPDATE:
                self._changed(interaction, data)
        elif kind == CHOICES:
            if interaction.type != AUTOCOMPLETE or len(data.get("choices", ())) > 25:
                raise RestError(400, 50035, "Choices answer an autocompletion, at most 25")
            return None
        elif kind != SHOW_MODAL:
            raise RestError(400, 50035, f"Unknown callback type {kind}")
        return interaction.original

    def _message(self, interaction: Interaction, payload: Json) -> Json:
        metadata = {
            "id": str(interaction.id),
            "type": interaction.type,
            "user": interaction.user.to_json(),
            "authorizing_integration_owners": {},
        }
        more = {
            "application_id": str(self._world.application_id),
            "webhook_id": str(self._world.application_id),
            "interaction_metadata": metadata,
            "type": 20 if interaction.type == COMMAND else 0,
        }
        message = self._world.create_message(interaction.channel, self._world.bot, payload, **more)
        if not message["flags"] & (EPHEMERAL | LOADING):
            self._rest.announce_message(interaction.channel, message, self._world.bot)
        return message

    def _changed(self, interaction: Interaction, payload: Json) -> Json:
        message = interaction.original
        assert message is not None, "checked by the callers"
        self._world.edit_message(message, payload)
        message["flags"] &= ~LOADING
        if not message["flags"] & EPHEMERAL:
            guild_id = interaction.channel.guild_id
            event = message | {"guild_id": str(guild_id)}
            self._publish("MESSAGE_UPDATE", event, guild_id, MESSAGE_UPDATE_INTENT)
        return message

    def _of_token(self, request: web.Request) -> Interaction:
        interaction = self._by_token.get(request.match_info["token"])
        if interaction is None:
            raise RestError(404, 10015, "Unknown Webhook")
        if interaction.callback is None:
            raise RestError(404, 10015, "Unknown Webhook")
        return interaction

    def _message_of(self, request: web.Request, interaction: Interaction) -> Json:
        wanted = request.match_info["message_id"]
        known = [interaction.original] if interaction.original is not None else []
        if wanted == "@original" and known:
            return known[0]
        for message in known + interaction.followups:
            if message["id"] == wanted:
                return message
        raise unknown("Message", 10008)

    async def _followup(self, request: web.Request) -> web.Response:
        interaction = self._of_token(request)
        payload = await read_payload(request)
        self._rest.check_content(payload)
        original = interaction.original
        if original is not None and original["flags"] & LOADING:
            # The first followup of a deferred answer takes its place.
            return json_response(self._changed(interaction, payload))
        message = self._message(interaction, payload)
        interaction.followups.append(message)
        self._record.add("interaction", "followup", interaction_id=interaction.id, payload=payload)
        return json_response(message)

    async def _get(self, request: web.Request) -> web.Response:
        return json_response(self._message_of(request, self._of_token(request)))

    async def _edit(self, request: web.Request) -> web.Response:
        interaction = self._of_token(request)
        message = self._message_of(request, interaction)
        payload = await read_payload(request)
        self._rest.check_content(message | payload)
        self._record.add("interaction", "edit", interaction_id=interaction.id, payload=payload)
        if message is interaction.original:
            return json_response(self._changed(interaction, payload))
        return json_response(self._world.edit_message(message, payload))

    async def _delete(self, request: web.Request) -> web.Response:
        interaction = self._of_token(request)
        message = self._message_of(request, interaction)
        self._world.messages.pop(int(message["id"]), None)
        if message is interaction.original:
            interaction.original = None
        else:
            interaction.followups.remove(message)
        return no_content()
