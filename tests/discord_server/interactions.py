"""Interactions: the commands, components, autocompletion and forms that people use, as the bot is told of them."""

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Any

from tests.discord_server.answers import Publish
from tests.discord_server.components import BUTTON, components_of
from tests.discord_server.guild import Channel, Json, User, new_id
from tests.discord_server.record import Record
from tests.discord_server.world import World

PING, COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 1, 2, 3, 4, 5
SUBCOMMAND, SUBCOMMAND_GROUP, USER_OPTION = 1, 2, 6
EPHEMERAL = 1 << 6
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

    def __init__(self, world: World, record: Record, publish: Publish) -> None:
        self._world = world
        self._record = record
        self._publish = publish
        self._by_id: dict[int, Interaction] = {}
        self._by_token: dict[str, Interaction] = {}

    def get(self, interaction_id: int) -> Interaction:
        """Return an interaction; raises `KeyError`."""
        return self._by_id[interaction_id]

    def find(self, interaction_id: int) -> Interaction | None:
        """Return an interaction, None when there is none or it is forgotten."""
        return self._by_id.get(interaction_id)

    def find_token(self, token: str) -> Interaction | None:
        """Return the interaction of a token, None when there is none or it is forgotten."""
        return self._by_token.get(token)

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
        resolved = self._resolved(channel.guild_id, given)
        for level in reversed(chain):
            given = [{"name": level["name"], "type": level["type"], "options": given}]
        data = {
            "id": command["id"],
            "name": name,
            "type": 1,
            "options": given,
            "guild_id": str(channel.guild_id),
            **({"resolved": resolved} if resolved else {}),
        }
        shown = " ".join([f"/{path}", *(f"{key}:{value}" for key, value in options.items())])
        return self._create(COMMAND if focused is None else AUTOCOMPLETE, user, channel, data, shown)

    @staticmethod
    def _option(described: Json, name: str, value: Any, focused: str | None) -> Json:
        types = {option["name"]: option["type"] for option in described.get("options") or []}
        if name not in types:
            raise ValueError(f"{described['name']} has no option {name}")
        shown = {"name": name, "type": types[name], "value": value}
        if types[name] == USER_OPTION:
            shown["value"] = str(value)
        return shown | {"focused": True} if name == focused else shown

    def _resolved(self, guild_id: int, given: list[Json]) -> Json:
        """Return the people that options name, as the bot is told of them."""
        guild = self._world.guilds[guild_id]
        users = [guild.members[int(option["value"])] for option in given if option["type"] == USER_OPTION]
        if not users:
            return {}
        return {
            "users": {str(user.id): user.to_json() for user in users},
            "members": {
                str(user.id): guild.member_json(user, with_user=False)
                | {"permissions": str(guild.permissions_of(user.id, None))}
                for user in users
            },
        }

    def use_component(
        self,
        user: User,
        channel: Channel,
        message: Json,
        custom_id: str,
        component_type: int,
        values: list[str],
    ) -> Interaction:
        """Press a button (type 2) or choose in a menu (type 3) of a message.

        Raises `ValueError` where Discord's client shows the person no such thing, or does not let it be used.
        """
        component = next((c for c in components_of(message["components"]) if c.get("custom_id") == custom_id), None)
        if component is None or component["type"] != component_type or component.get("disabled"):
            raise ValueError(f"message {message['id']} has no {custom_id} that can be used")
        if message["flags"] & EPHEMERAL and user.id != int(message["interaction_metadata"]["user"]["id"]):
            raise ValueError(f"message {message['id']} is for somebody else's eyes only")
        data: Json = {"id": component["id"], "custom_id": custom_id, "component_type": component_type}
        if component_type != BUTTON:
            data["values"] = values
        shown = " ".join([custom_id, *values])
        return self._create(COMPONENT, user, channel, data, shown, message)

    def submit_modal(self, user: User, channel: Channel, custom_id: str, fields: dict[str, str]) -> Interaction:
        """Send a form with its text fields."""
        rows = [
            {"type": 1, "id": n, "components": [{"type": 4, "id": 100 + n, "custom_id": key, "value": value}]}
            for n, (key, value) in enumerate(fields.items(), 1)
        ]
        shown = " ".join([custom_id, *(f"{key}:{value}" for key, value in fields.items())])
        return self._create(MODAL, user, channel, {"custom_id": custom_id, "components": rows}, shown)

    def _create(
        self, type_: int, user: User, channel: Channel, data: Json, shown: str, message: Json | None = None
    ) -> Interaction:
        now = asyncio.get_running_loop().time()
        interaction = Interaction(new_id(), secrets.token_urlsafe(24), type_, user, channel, now, message)
        self._by_id[interaction.id] = self._by_token[interaction.token] = interaction
        if len(self._by_id) > INTERACTION_LIMIT:
            oldest = self._by_id.pop(next(iter(self._by_id)))
            del self._by_token[oldest.token]
        event = self._event(interaction, data)
        self._record.add(
            "interaction",
            "created",
            interaction_id=interaction.id,
            type=type_,
            data=data,
            user_id=user.id,
            user_name=user.name,
            channel_id=channel.id,
            content=shown,
            message_id=int(message["id"]) if message is not None else None,
        )
        self._publish("INTERACTION_CREATE", event, channel.guild_id, 0)
        return interaction

    def _event(self, interaction: Interaction, data: Json) -> Json:
        """Return INTERACTION_CREATE."""
        user, channel = interaction.user, interaction.channel
        guild = self._world.guilds[channel.guild_id]
        member_permissions = str(guild.permissions_of(user.id, channel))
        event: Json = {
            "id": str(interaction.id),
            "application_id": str(self._world.application_id),
            "type": interaction.type,
            "token": interaction.token,
            "version": 1,
            "data": data,
            "guild_id": str(guild.id),
            "guild": {"id": str(guild.id), "locale": "en-US", "features": []},
            "channel_id": str(channel.id),
            "channel": channel.to_json() | {"permissions": member_permissions},
            "member": guild.member_json(user) | {"permissions": member_permissions},
            "app_permissions": str(guild.permissions_of(self._world.bot.id, channel)),
            "locale": "en-US",
            "guild_locale": "en-US",
            "entitlements": [],
            "authorizing_integration_owners": {"0": str(guild.id)},
            "context": 0,
            "attachment_size_limit": 10 << 20,
        }
        if interaction.message is not None:
            event["message"] = interaction.message
        return event
