"""Discord's permissions as numbers: the bits and their names, roles, overwrites, and what follows from them.

Somebody's permissions in a channel are those of all its roles together, changed by the channel's overwrites: first
that of @everyone, then those of its roles, then its own. Some permissions are worth nothing without another one; that
is taken off at the end, as clients do it. Nobody here is timed out.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

# In the order of their bits; bit 47 has no name.
_NAMES = """
create_instant_invite kick_members ban_members administrator manage_channels manage_guild add_reactions view_audit_log
priority_speaker stream view_channel send_messages send_tts_messages manage_messages embed_links attach_files
read_message_history mention_everyone use_external_emojis view_guild_insights connect speak mute_members
deafen_members move_members use_voice_activation change_nickname manage_nicknames manage_roles manage_webhooks
manage_expressions use_application_commands request_to_speak manage_events manage_threads create_public_threads
create_private_threads use_external_stickers send_messages_in_threads use_embedded_activities moderate_members
view_creator_monetization_analytics use_soundboard create_expressions create_events use_external_sounds
send_voice_messages - set_voice_channel_status send_polls use_external_apps pin_messages bypass_slowmode
"""
BITS = {name: 1 << bit for bit, name in enumerate(_NAMES.split()) if name != "-"}

EVERYTHING = sum(BITS.values())


def bits(*names: str) -> int:
    """Return the number of these permissions together; raises `ValueError` for a name that there is not."""
    unknown = [name for name in names if name not in BITS]
    if unknown:
        raise ValueError(f"no such permissions: {', '.join(unknown)}")
    return sum({BITS[name] for name in names})


ALL_BUT_ADMINISTRATOR = EVERYTHING & ~BITS["administrator"]
"""What the bot may do at first. An administrator could be denied nothing."""
ORDINARY_MEMBER = bits(
    "create_instant_invite",
    "add_reactions",
    "stream",
    "view_channel",
    "send_messages",
    "embed_links",
    "attach_files",
    "read_message_history",
    "use_external_emojis",
    "connect",
    "speak",
    "use_voice_activation",
    "change_nickname",
    "use_application_commands",
    "request_to_speak",
    "create_public_threads",
    "send_messages_in_threads",
    "use_embedded_activities",
    "use_soundboard",
    "send_voice_messages",
)
"""What Discord gives everybody in a new guild, in the main."""

_NEEDS_SEND = bits("send_tts_messages", "mention_everyone", "embed_links", "attach_files")
_NEEDS_CONNECT = bits(
    "priority_speaker",
    "stream",
    "speak",
    "mute_members",
    "deafen_members",
    "move_members",
    "use_voice_activation",
    "use_embedded_activities",
    "use_soundboard",
    "use_external_sounds",
    "set_voice_channel_status",
    "manage_channels",
    "manage_roles",
)
_OF_THE_GUILD = bits(
    "kick_members",
    "ban_members",
    "administrator",
    "manage_guild",
    "view_audit_log",
    "view_guild_insights",
    "change_nickname",
    "manage_nicknames",
    "manage_expressions",
    "manage_events",
    "moderate_members",
    "view_creator_monetization_analytics",
    "create_expressions",
    "create_events",
    "set_voice_channel_status",
)
"""These mean nothing in a channel, so that no channel can take them."""


@dataclass(slots=True)
class Role:
    """A role; the one with the guild's own id is @everyone."""

    id: int
    name: str
    permissions: int
    position: int
    bot_id: int | None = None
    """The bot whose own role it is: Discord makes one when a bot is invited."""

    def to_json(self) -> dict[str, Any]:
        """Return a role object."""
        return {
            "id": str(self.id),
            "name": self.name,
            "permissions": str(self.permissions),
            "position": self.position,
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "managed": self.bot_id is not None,
            "mentionable": False,
            "flags": 0,
            "tags": {"bot_id": str(self.bot_id)} if self.bot_id is not None else {},
        }


@dataclass(frozen=True, slots=True)
class Overwrite:
    """What a channel changes for a role or a user."""

    id: int
    is_role: bool
    allow: int = 0
    deny: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return an overwrite object."""
        kind = 0 if self.is_role else 1
        return {"id": str(self.id), "type": kind, "allow": str(self.allow), "deny": str(self.deny)}


def resolve(
    roles: Collection[Role], overwrites: Iterable[Overwrite], user_id: int, everyone_id: int, *, is_voice: bool
) -> int:
    """Return what a member with these roles, @everyone among them, may do in a channel with these overwrites."""
    granted = 0
    for role in roles:
        granted |= role.permissions
    if granted & BITS["administrator"]:
        return EVERYTHING
    role_ids = {role.id for role in roles} - {everyone_id}
    levels: list[list[Overwrite]] = [[], [], []]
    for overwrite in overwrites:
        if overwrite.id == everyone_id:
            levels[0].append(overwrite)
        elif overwrite.is_role and overwrite.id in role_ids:
            levels[1].append(overwrite)
        elif not overwrite.is_role and overwrite.id == user_id:
            levels[2].append(overwrite)
    for level in levels:
        for overwrite in level:
            granted &= ~overwrite.deny
        for overwrite in level:
            granted |= overwrite.allow
    return _without_the_useless(granted, is_voice=is_voice)


def _without_the_useless(granted: int, *, is_voice: bool) -> int:
    if not granted & BITS["send_messages"]:
        granted &= ~_NEEDS_SEND
    if not granted & BITS["view_channel"]:
        granted &= _OF_THE_GUILD
    if is_voice and not granted & BITS["connect"]:
        granted &= ~_NEEDS_CONNECT
    return granted
