"""What exists: the application, its bot, guilds, channels, people, messages; as values and as Discord's JSON.

The world knows nothing of connections. Who tells clients of a change is the gateway.
"""

import itertools
import time
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

DISCORD_EPOCH_MS = 1_420_070_400_000
TEXT_CHANNEL, VOICE_CHANNEL = 0, 2
MESSAGE_LIMIT = 5_000
ALL_PERMISSIONS = str((1 << 50) - 1)

_increments = itertools.count(1)


def new_id() -> int:
    """Return a fresh snowflake: milliseconds since Discord's epoch, and a counter in the low 22 bits."""
    return (int(time.time() * 1000) - DISCORD_EPOCH_MS) << 22 | next(_increments) & 0x3FFFFF


def timestamp() -> str:
    """Return the present in Discord's form."""
    now = time.time()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    return f"{seconds}.{int(now % 1 * 1e6):06d}+00:00"


@dataclass(slots=True)
class User:
    """A person or a bot."""

    id: int
    name: str
    is_bot: bool = False

    def to_json(self) -> Json:
        """Return a user object."""
        return {
            "id": str(self.id),
            "username": self.name,
            "discriminator": "0",
            "global_name": None if self.is_bot else self.name,
            "avatar": None,
            "bot": self.is_bot,
            "public_flags": 0,
            "flags": 0,
        }


@dataclass(slots=True)
class Channel:
    """A text or voice channel of a guild."""

    id: int
    guild_id: int
    name: str
    type: int
    position: int = 0

    def to_json(self) -> Json:
        """Return a channel object."""
        shown: Json = {
            "id": str(self.id),
            "guild_id": str(self.guild_id),
            "name": self.name,
            "type": self.type,
            "position": self.position,
            "permission_overwrites": [],
            "nsfw": False,
            "parent_id": None,
            "last_message_id": None,
            "rate_limit_per_user": 0,
            "flags": 0,
        }
        if self.type == VOICE_CHANNEL:
            shown |= {"bitrate": 64000, "user_limit": 0, "rtc_region": None}
        else:
            shown |= {"topic": None}
        return shown


@dataclass(slots=True)
class VoiceState:
    """Where a user is in voice, and whether muted or deafened by itself or by the server."""

    guild_id: int
    user_id: int
    channel_id: int
    session_id: str
    self_mute: bool = False
    self_deaf: bool = False
    mute: bool = False
    deaf: bool = False

    @property
    def is_silenced(self) -> bool:
        """Whether nothing that the user says is forwarded."""
        return self.self_mute or self.mute

    @property
    def is_deaf(self) -> bool:
        """Whether nothing is forwarded to the user."""
        return self.self_deaf or self.deaf

    def to_json(self, *, has_left: bool = False) -> Json:
        """Return a voice state object."""
        return {
            "guild_id": str(self.guild_id),
            "channel_id": None if has_left else str(self.channel_id),
            "user_id": str(self.user_id),
            "session_id": self.session_id,
            "deaf": self.deaf,
            "mute": self.mute,
            "self_deaf": self.self_deaf,
            "self_mute": self.self_mute,
            "self_video": False,
            "suppress": False,
            "request_to_speak_timestamp": None,
        }


@dataclass(slots=True)
class Guild:
    """A guild with its channels, members and who is in voice."""

    id: int
    name: str
    owner_id: int
    channels: dict[int, Channel] = field(default_factory=dict)
    members: dict[int, User] = field(default_factory=dict)
    voice_states: dict[int, VoiceState] = field(default_factory=dict)

    def member_json(self, user: User, *, with_user: bool = True) -> Json:
        """Return a guild member object."""
        shown: Json = {
            "roles": [],
            "nick": None,
            "avatar": None,
            "joined_at": "2024-01-01T00:00:00+00:00",
            "premium_since": None,
            "deaf": False,
            "mute": False,
            "pending": False,
            "flags": 0,
            "communication_disabled_until": None,
        }
        return shown | {"user": user.to_json()} if with_user else shown

    def to_json(self) -> Json:
        """Return the guild object of GUILD_CREATE."""
        everyone = {
            "id": str(self.id),
            "name": "@everyone",
            "permissions": ALL_PERMISSIONS,
            "position": 0,
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "managed": False,
            "mentionable": False,
            "flags": 0,
        }
        states = [_without(state.to_json(), "guild_id") for state in self.voice_states.values()]
        return {
            "id": str(self.id),
            "name": self.name,
            "icon": None,
            "splash": None,
            "banner": None,
            "description": None,
            "owner_id": str(self.owner_id),
            "region": "loopback",
            "afk_channel_id": None,
            "afk_timeout": 300,
            "verification_level": 0,
            "default_message_notifications": 0,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "nsfw_level": 0,
            "premium_tier": 0,
            "premium_subscription_count": 0,
            "premium_progress_bar_enabled": False,
            "preferred_locale": "en-US",
            "system_channel_id": None,
            "system_channel_flags": 0,
            "rules_channel_id": None,
            "public_updates_channel_id": None,
            "vanity_url_code": None,
            "features": [],
            "emojis": [],
            "stickers": [],
            "roles": [everyone],
            "joined_at": "2024-01-01T00:00:00+00:00",
            "large": False,
            "unavailable": False,
            "member_count": len(self.members),
            "members": [self.member_json(user) for user in self.members.values()],
            "channels": [channel.to_json() for channel in self.channels.values()],
            "threads": [],
            "voice_states": states,
            "presences": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
        }


def _without(value: Json, key: str) -> Json:
    return {name: item for name, item in value.items() if name != key}


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
        guild.members = {self.bot.id: self.bot, self.owner.id: self.owner}
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
            "components": payload.get("components") or [],
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
        message["edited_timestamp"] = timestamp()
        return message
