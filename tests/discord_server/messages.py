"""Channels and their messages in REST, as far as the bot has the permissions for them."""

from aiohttp import web

from tests.discord_server.answers import Publish, RestError, json_response, no_content, read_payload, unknown
from tests.discord_server.components import check_components
from tests.discord_server.guild import Channel, Json, User
from tests.discord_server.record import Record
from tests.discord_server.rest import API_PREFIX
from tests.discord_server.world import World

MESSAGE_LIMIT_CHARACTERS = 2_000
GUILD_MESSAGES_INTENT = 1 << 9


def check_content(payload: Json) -> None:
    """Refuse what Discord refuses: empty messages, those over 2000 characters, odd components; raises `RestError`."""
    content = payload.get("content") or ""
    if len(content) > MESSAGE_LIMIT_CHARACTERS:
        raise RestError(400, 50035, "Invalid Form Body: content is over 2000 characters")
    if not content and not any(payload.get(key) for key in ("embeds", "components", "attachments", "sticker_ids")):
        raise RestError(400, 50006, "Cannot send an empty message")
    check_components(payload.get("components") or [])


def shown_message(message: Json) -> Json:
    """Return what the record says of a message, for a transcript."""
    return {
        "message_id": int(message["id"]),
        "channel_id": int(message["channel_id"]),
        "user_id": int(message["author"]["id"]),
        "user_name": message["author"]["username"],
        "content": message["content"],
        "embeds": message["embeds"],
        "components": message["components"],
    }


class Messages:
    """All channels and messages; every change is recorded and published."""

    def __init__(self, world: World, record: Record, publish: Publish) -> None:
        self._world = world
        self._record = record
        self._publish = publish

    def routes(self) -> list[web.RouteDef]:
        """Return all routes."""
        channel = API_PREFIX + "/channels/{channel_id}"
        messages = channel + "/messages"
        return [
            web.get(channel, self._get_channel),
            web.post(channel + "/typing", self._typing),
            web.get(messages, self._list),
            web.post(messages, self._post),
            web.get(messages + "/{message_id}", self._get),
            web.patch(messages + "/{message_id}", self._patch),
            web.delete(messages + "/{message_id}", self._delete),
        ]

    def say(self, user: User, channel: Channel, content: str) -> Json:
        """Let a person write a message."""
        mentions = [self._world.bot.to_json()] if f"<@{self._world.bot.id}>" in content else []
        message = self._world.create_message(channel, user, {"content": content}, mentions=mentions)
        self.announce(channel, message, user)
        return message

    def announce(self, channel: Channel, message: Json, author: User) -> None:
        """Publish a message that everybody can see."""
        guild = self._world.guilds[channel.guild_id]
        member = {"member": guild.member_json(author, with_user=False)}
        event = message | {"guild_id": str(guild.id)} | member
        self._record.add("message", "posted", **shown_message(message))
        self._publish("MESSAGE_CREATE", event, guild.id, GUILD_MESSAGES_INTENT)

    def announce_edited(self, channel: Channel, message: Json) -> None:
        """Publish that a message has changed."""
        self._record.add("message", "edited", **shown_message(message))
        event = message | {"guild_id": str(channel.guild_id)}
        self._publish("MESSAGE_UPDATE", event, channel.guild_id, GUILD_MESSAGES_INTENT)

    def delete(self, channel: Channel, message: Json) -> None:
        """Delete a message and publish that."""
        del self._world.messages[int(message["id"])]
        self._record.add("message", "deleted", **shown_message(message))
        event = {"id": message["id"], "channel_id": message["channel_id"], "guild_id": str(channel.guild_id)}
        self._publish("MESSAGE_DELETE", event, channel.guild_id, GUILD_MESSAGES_INTENT)

    def _channel_of(self, request: web.Request, *, for_sending: bool = False) -> Channel:
        """Return the channel of the path if the bot may see it, and send there; raises `RestError`."""
        channel = self._world.channel(int(request.match_info["channel_id"]))
        if channel is None:
            raise unknown("Channel", 10003)
        if not self._world.bot_may(channel, "view_channel"):
            raise RestError(403, 50001, "Missing Access")
        if for_sending and not self._world.bot_may(channel, "send_messages"):
            raise RestError(403, 50013, "Missing Permissions")
        return channel

    async def _get_channel(self, request: web.Request) -> web.Response:
        return json_response(self._channel_of(request).to_json())

    async def _typing(self, request: web.Request) -> web.Response:
        self._channel_of(request, for_sending=True)
        return no_content()

    async def _list(self, request: web.Request) -> web.Response:
        channel = self._channel_of(request)
        found = [m for m in self._world.messages.values() if m["channel_id"] == str(channel.id)]
        return json_response(found[::-1][: int(request.query.get("limit", 50))])

    async def _post(self, request: web.Request) -> web.Response:
        channel = self._channel_of(request, for_sending=True)
        payload = await read_payload(request)
        check_content(payload)
        message = self._world.create_message(channel, self._world.bot, payload)
        self.announce(channel, message, self._world.bot)
        return json_response(message)

    def _message_of(self, request: web.Request) -> Json:
        message = self._world.messages.get(int(request.match_info["message_id"]))
        if message is None or message["channel_id"] != request.match_info["channel_id"]:
            raise unknown("Message", 10008)
        return message

    async def _get(self, request: web.Request) -> web.Response:
        self._channel_of(request)
        return json_response(self._message_of(request))

    async def _patch(self, request: web.Request) -> web.Response:
        channel = self._channel_of(request, for_sending=True)
        message = self._message_of(request)
        if message["author"]["id"] != str(self._world.bot.id):
            raise RestError(403, 50005, "Cannot edit a message authored by another user")
        payload = await read_payload(request)
        check_content(message | payload)
        edited = self._world.edit_message(message, payload)
        self.announce_edited(channel, edited)
        return json_response(edited)

    async def _delete(self, request: web.Request) -> web.Response:
        channel = self._channel_of(request)
        message = self._message_of(request)
        is_own = message["author"]["id"] == str(self._world.bot.id)
        if not is_own and not self._world.bot_may(channel, "manage_messages"):
            raise RestError(403, 50013, "Missing Permissions")
        self.delete(channel, message)
        return no_content()
