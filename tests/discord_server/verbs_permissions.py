"""The verbs of the control interface that are about who may do what; see `control_api.py`."""

from tests.discord_server.gateway import GUILDS_INTENT
from tests.discord_server.guild import Channel, Guild, Json
from tests.discord_server.options import MEMBERS_INTENT
from tests.discord_server.permissions import ALL_BUT_ADMINISTRATOR, Overwrite, Role, bits
from tests.discord_server.server import LoopbackDiscord


class PermissionVerbs:
    """One method per verb; each change is published to the bot."""

    def __init__(self, server: LoopbackDiscord) -> None:
        self._server = server

    def _channel(self, args: Json) -> Channel:
        channel = self._server.world.channel(args["channel_id"])
        if channel is None:
            raise ValueError(f"there is no channel {args['channel_id']}")
        return channel

    def _publish_role(self, event: str, guild: Guild, role: Role) -> None:
        data = {"guild_id": str(guild.id), "role": role.to_json()}
        self._server.gateway.publish(event, data, guild.id, GUILDS_INTENT)

    def _publish_channel(self, channel: Channel) -> None:
        self._server.gateway.publish("CHANNEL_UPDATE", channel.to_json(), channel.guild_id, GUILDS_INTENT)

    async def verb_bot_permissions(self, args: Json) -> Json:
        """Deny the bot what is named and allow it everything else, in all guilds or in one channel."""
        bot_id, denied = self._server.world.bot.id, bits(*args["denied"])
        if args["channel_id"] is not None:
            channel = self._channel(args)
            role = self._server.world.guilds[channel.guild_id].role_of[bot_id]
            channel.overwrites.pop(role.id, None)
            if denied:
                channel.overwrites[role.id] = Overwrite(role.id, is_role=True, deny=denied)
            self._publish_channel(channel)
            return {}
        for guild in self._server.world.guilds.values():
            role = guild.role_of[bot_id]
            role.permissions = ALL_BUT_ADMINISTRATOR & ~denied
            self._publish_role("GUILD_ROLE_UPDATE", guild, role)
        return {}

    async def verb_member_permissions(self, args: Json) -> Json:
        """Give a person a role of its own with exactly these permissions, instead of an ordinary member's."""
        user, allowed = self._server.people[args["person_id"]].user, bits(*args["allowed"])
        for guild in self._server.world.guilds.values():
            if user.id not in guild.members:
                continue
            is_new = guild.give_own_role(user, allowed)
            self._publish_role("GUILD_ROLE_CREATE" if is_new else "GUILD_ROLE_UPDATE", guild, guild.role_of[user.id])
            if is_new:
                member = guild.member_json(user) | {"guild_id": str(guild.id)}
                self._server.gateway.publish("GUILD_MEMBER_UPDATE", member, guild.id, MEMBERS_INTENT)
        return {}

    async def verb_user_limit(self, args: Json) -> Json:
        """How many a voice channel holds."""
        channel = self._channel(args)
        channel.user_limit = args["limit"]
        self._publish_channel(channel)
        return {}
