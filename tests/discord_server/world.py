"""Everything that exists: the application, its bot, guilds, people, messages.

The world knows nothing of connections. Who tells clients of a change is the gateway.
"""

import time
from typing import Any

from tests.discord_server.components import numbered
from tests.discord_server.guild import Channel, Guild, Json, User, new_id

MESSAGE_LIMIT = 5_000


def timestamp() -> str:
    """Return the present in Discord's form."""
    now = time.time()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    return f"{seconds}.{int(now % 1 * 1e6):06d}+00:00"


class World:
    """Everything that exists on this server."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.bot = User(new_id(), "plexbridge-test", is_bot=True)
        self.application_id = self.bot.id
        self.owner = User(new_id(), "operator")
        self.guilds: dict[int, Guild] = {}
        self.messages: dict[int, Json] = {}
        self.commands: list[Json] = []
        self.guild_commands: dict[int, list[Json]] = {}

    def create_guild(self, name: str) -> Guild:
        """Make a guild that the bot and the operator are members of, without channels."""
        guild = Guild(new_id(), name, self.owner.id)
        guild.add_own_bot(self.bot)
        guild.add_member(self.owner)
        self.guilds[guild.id] = guild
        return guild

    def create_channel(self, guild: Guild, name: str, type_: int) -> Channel:
        """Add a channel at the end of the guild's list."""
        channel = Channel(new_id(), guild.id, name, type_, len(guild.channels))
        guild.channels[channel.id] = channel
        return channel

    def channel(self, channel_id: int) -> Channel | None:
        """Return a channel of any guild."""
        found = (guild.channels.get(channel_id) for guild in self.guilds.values())
        return next((channel for channel in found if channel is not None), None)

    def bot_may(self, channel: Channel, permission: str) -> bool:
        """Tell whether the bot has a permission in a channel."""
        return self.guilds[channel.guild_id].may(self.bot.id, channel, permission)

    def user(self, user_id: int) -> User | None:
        """Return a user who is a member of any guild."""
        found = (guild.members.get(user_id) for guild in self.guilds.values())
        return next((user for user in found if user is not None), None)

    def create_message(self, channel: Channel, author: User, payload: Json, **more: Any) -> Json:
        """Store and return a message object; the oldest beyond `MESSAGE_LIMIT` is forgotten."""
        reference = payload.get("message_reference")
        message: Json = {
            "id": str(new_id()),
            "channel_id": str(channel.id),
            "author": author.to_json(),
            "content": payload.get("content") or "",
            "timestamp": timestamp(),
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": payload.get("attachments") or [],
            "embeds": payload.get("embeds") or [],
            "components": numbered(payload.get("components") or []),
            "flags": payload.get("flags") or 0,
            "nonce": payload.get("nonce"),
            "pinned": False,
            "type": 19 if reference else 0,
            "allowed_mentions": payload.get("allowed_mentions"),
        } | more
        if reference:
            message["message_reference"] = reference
        self.messages[int(message["id"])] = message
        if len(self.messages) > MESSAGE_LIMIT:
            del self.messages[next(iter(self.messages))]
        return message

    def edit_message(self, message: Json, payload: Json) -> Json:
        """Change a stored message and return it."""
        for key in ("content", "embeds", "components", "flags", "attachments", "allowed_mentions"):
            if key in payload:
                message[key] = payload[key] if payload[key] is not None else ("" if key == "content" else [])
        message["components"] = numbered(message["components"])
        message["edited_timestamp"] = timestamp()
        return message
