"""Guilds, their channels, members, roles and voice states; as values and as Discord's JSON."""

import itertools
import time
from dataclasses import dataclass, field
from typing import Any

from tests.discord_server.permissions import (
    ALL_BUT_ADMINISTRATOR,
    BITS,
    EVERYTHING,
    ORDINARY_MEMBER,
    Overwrite,
    Role,
    resolve,
)

Json = dict[str, Any]

DISCORD_EPOCH_MS = 1_420_070_400_000
TEXT_CHANNEL, VOICE_CHANNEL = 0, 2

_increments = itertools.count(1)


def new_id() -> int:
    """Return a fresh snowflake: milliseconds since Discord's epoch, and a counter in the low 22 bits."""
    return (int(time.time() * 1000) - DISCORD_EPOCH_MS) << 22 | next(_increments) & 0x3FFFFF


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
    user_limit: int = 0
    """How many may be in a voice channel; 0 means any number."""
    overwrites: dict[int, Overwrite] = field(default_factory=dict)

    def to_json(self) -> Json:
        """Return a channel object."""
        shown: Json = {
            "id": str(self.id),
            "guild_id": str(self.guild_id),
            "name": self.name,
            "type": self.type,
            "position": self.position,
            "permission_overwrites": [overwrite.to_json() for overwrite in self.overwrites.values()],
            "nsfw": False,
            "parent_id": None,
            "last_message_id": None,
            "rate_limit_per_user": 0,
            "flags": 0,
        }
        if self.type == VOICE_CHANNEL:
            shown |= {"bitrate": 64000, "user_limit": self.user_limit, "rtc_region": None}
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
    suppress: bool = False
    """Whether the user had no right to speak when it came into the channel."""
    self_video: bool = False

    @property
    def is_silenced(self) -> bool:
        """Whether nothing that the user says is forwarded."""
        return self.self_mute or self.mute or self.suppress

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
            "self_video": self.self_video,
            "suppress": self.suppress,
            "request_to_speak_timestamp": None,
        }


@dataclass(slots=True)
class Guild:
    """A guild with its channels, members, roles and who is in voice.

    @everyone may do nothing here. People have the role "Members" or one of their own, and the bot has its own role, so
    that whatever is taken from one of them is gone.
    """

    id: int
    name: str
    owner_id: int
    channels: dict[int, Channel] = field(default_factory=dict)
    members: dict[int, User] = field(default_factory=dict)
    voice_states: dict[int, VoiceState] = field(default_factory=dict)
    roles: dict[int, Role] = field(default_factory=dict, init=False)
    _members_role: Role = field(init=False)
    role_of: dict[int, Role] = field(default_factory=dict)
    """The one role that a member has beside @everyone."""

    def __post_init__(self) -> None:
        self.roles[self.id] = Role(self.id, "@everyone", 0, 0)
        self._members_role = self.add_role("Members", ORDINARY_MEMBER)

    def add_role(self, name: str, permissions: int, *, bot_id: int | None = None) -> Role:
        """Make a role above all others."""
        role = Role(new_id(), name, permissions, len(self.roles), bot_id)
        self.roles[role.id] = role
        return role

    def add_member(self, user: User) -> None:
        """Make a user an ordinary member."""
        self.members[user.id] = user
        self.role_of[user.id] = self._members_role

    def add_own_bot(self, user: User) -> None:
        """Make the application's bot a member with a role of its own."""
        self.members[user.id] = user
        self.role_of[user.id] = self.add_role(user.name, ALL_BUT_ADMINISTRATOR, bot_id=user.id)

    def give_own_role(self, user: User, permissions: int) -> bool:
        """Let a member have exactly these permissions, by a role of its own; return whether the role is new."""
        is_new = self.role_of[user.id] is self._members_role
        if is_new:
            self.role_of[user.id] = self.add_role(user.name, permissions)
        self.role_of[user.id].permissions = permissions
        return is_new

    def permissions_of(self, user_id: int, channel: Channel | None = None) -> int:
        """Return what a member may do in a channel, or in the guild without one."""
        if user_id == self.owner_id:
            return EVERYTHING
        roles = [self.roles[self.id], self.role_of[user_id]]
        if channel is None:
            granted = roles[0].permissions | roles[1].permissions
            return EVERYTHING if granted & BITS["administrator"] else granted
        is_voice = channel.type == VOICE_CHANNEL
        return resolve(roles, channel.overwrites.values(), user_id, self.id, is_voice=is_voice)

    def may(self, user_id: int, channel: Channel, permission: str) -> bool:
        """Tell whether a member has a permission in a channel."""
        return bool(self.permissions_of(user_id, channel) & BITS[permission])

    def member_json(self, user: User, *, with_user: bool = True) -> Json:
        """Return a guild member object."""
        shown: Json = {
            "roles": [str(self.role_of[user.id].id)],
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
            "roles": [role.to_json() for role in self.roles.values()],
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
