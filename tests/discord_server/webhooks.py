"""How the bot answers interactions: callbacks, followups, and edits of what it has answered.

An interaction must get its callback within three seconds (10062 afterwards) and only one (40060). Its token is good for
followups and for editing the original answer; a deferred answer's message appears with the first edit. None of this
needs a permission in the channel.
"""

import asyncio

from aiohttp import web

from tests.discord_server.answers import RestError, json_response, no_content, read_payload, unknown
from tests.discord_server.guild import Json
from tests.discord_server.interactions import AUTOCOMPLETE, COMMAND, Interaction, Interactions
from tests.discord_server.messages import Messages, check_content, shown_message
from tests.discord_server.options import Options
from tests.discord_server.record import Record
from tests.discord_server.rest import API_PREFIX
from tests.discord_server.world import World

MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE, CHOICES, SHOW_MODAL = 4, 5, 6, 7, 8, 9
EPHEMERAL, LOADING = 1 << 6, 1 << 7
CHOICE_LIMIT = 25


class Webhooks:
    """The routes with an interaction's token."""

    def __init__(
        self, world: World, options: Options, record: Record, messages: Messages, interactions: Interactions
    ) -> None:
        self._world = world
        self._limit_seconds = options.interaction_seconds
        self._record = record
        self._messages = messages
        self._interactions = interactions

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

    def _note(self, interaction: Interaction, name: str, message: Json | None, payload: Json, **more: float) -> None:
        """Record an answer: to whom it went, and the message that it made, changed or deleted."""
        answer: Json = {"user_id": interaction.user.id, "user_name": interaction.user.name, "payload": payload}
        if message is not None:
            shown = {key: value for key, value in shown_message(message).items() if not key.startswith("user_")}
            answer |= shown | {"is_ephemeral": bool(message["flags"] & EPHEMERAL)}
        self._record.add("interaction", name, interaction_id=interaction.id, **answer, **more)

    async def _callback(self, request: web.Request) -> web.Response:
        interaction = self._interactions.find(int(request.match_info["interaction_id"]))
        if interaction is None or interaction.token != request.match_info["token"]:
            raise unknown("interaction", 10062)
        bot_id = self._world.bot.id
        if interaction.callback is not None:
            self._record.violation("interaction answered twice", user_id=bot_id, interaction_id=interaction.id)
            raise RestError(400, 40060, "Interaction has already been acknowledged.")
        seconds = asyncio.get_running_loop().time() - interaction.created_seconds
        if seconds > self._limit_seconds:
            self._record.violation("interaction answered too late", user_id=bot_id, seconds=seconds)
            raise unknown("interaction", 10062)
        payload = await read_payload(request)
        message = self._take_callback(interaction, payload)
        interaction.callback, interaction.callback_seconds = payload, seconds
        self._note(interaction, "callback", message, payload, seconds=seconds)
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
            check_content(data)
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
            if interaction.type != AUTOCOMPLETE or len(data.get("choices", ())) > CHOICE_LIMIT:
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
            self._messages.announce(interaction.channel, message, self._world.bot)
        return message

    def _changed(self, interaction: Interaction, payload: Json) -> Json:
        message = interaction.original
        assert message is not None, "checked by the callers"
        self._world.edit_message(message, payload)
        message["flags"] &= ~LOADING
        if not message["flags"] & EPHEMERAL:
            self._messages.announce_edited(interaction.channel, message)
        return message

    def _of_token(self, request: web.Request) -> Interaction:
        interaction = self._interactions.find_token(request.match_info["token"])
        if interaction is None or interaction.callback is None:
            raise unknown("Webhook", 10015)
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
        check_content(payload)
        original = interaction.original
        if original is not None and original["flags"] & LOADING:
            # The first followup of a deferred answer takes its place.
            message = self._changed(interaction, payload)
        else:
            message = self._message(interaction, payload)
            interaction.followups.append(message)
        self._note(interaction, "followup", message, payload)
        return json_response(message)

    async def _get(self, request: web.Request) -> web.Response:
        return json_response(self._message_of(request, self._of_token(request)))

    async def _edit(self, request: web.Request) -> web.Response:
        interaction = self._of_token(request)
        message = self._message_of(request, interaction)
        payload = await read_payload(request)
        check_content(message | payload)
        if message is interaction.original:
            self._changed(interaction, payload)
        else:
            self._world.edit_message(message, payload)
        self._note(interaction, "edit", message, payload)
        return json_response(message)

    async def _delete(self, request: web.Request) -> web.Response:
        interaction = self._of_token(request)
        message = self._message_of(request, interaction)
        self._world.messages.pop(int(message["id"]), None)
        if message is interaction.original:
            interaction.original = None
        else:
            interaction.followups.remove(message)
        self._note(interaction, "delete", message, {})
        return no_content()
