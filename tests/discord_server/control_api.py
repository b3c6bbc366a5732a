"""The control interface: `POST /control/<verb>` with a JSON object, answered by a JSON object.

One method per verb, most of them in `verbs_people.py`, `verbs_faults.py` and `verbs_permissions.py`; `control.py` is
the typed client and says what each means. A wrong request is answered with 400 and a sentence.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.discord_server.answers import Rule, json_response
from tests.discord_server.guild import TEXT_CHANNEL, VOICE_CHANNEL, Channel, Json
from tests.discord_server.person import Person
from tests.discord_server.record import Entry
from tests.discord_server.server import LoopbackDiscord
from tests.discord_server.verbs_faults import FaultVerbs
from tests.discord_server.verbs_people import PeopleVerbs
from tests.discord_server.verbs_permissions import PermissionVerbs

Verb = Callable[[Json], Awaitable[Json]]


class ControlApi:
    """The verbs, by method name."""

    def __init__(self, server: LoopbackDiscord) -> None:
        self._server = server
        self._hub = server.hub
        self._verbs: dict[str, Verb] = {
            name.removeprefix("verb_"): getattr(owner, name)
            for owner in (self, PeopleVerbs(server), FaultVerbs(server), PermissionVerbs(server))
            for name in dir(owner)
            if name.startswith("verb_")
        }

    def routes(self) -> list[web.RouteDef]:
        """Return the one route."""
        return [web.post("/control/{verb}", self._serve)]

    async def _serve(self, request: web.Request) -> web.Response:
        verb = self._verbs.get(request.match_info["verb"])
        if verb is None:
            return json_response({"error": f"there is no verb {request.match_info['verb']}"}, 400)
        try:
            return json_response(await verb(await request.json()))
        except (KeyError, ValueError, TypeError, AttributeError) as exc:
            return json_response({"error": f"{request.match_info['verb']}: {exc!r}"}, 400)

    def _person(self, args: Json) -> Person:
        return self._server.people[args["person_id"]]

    def _channel(self, args: Json) -> Channel:
        channel = self._server.world.channel(args["channel_id"])
        if channel is None:
            raise ValueError(f"there is no channel {args['channel_id']}")
        return channel

    # What exists

    async def verb_state(self, args: Json) -> Json:
        """Everything that is."""
        return self._hub.to_json() | {"gateway_is_online": self._server.gateway.is_online}

    async def verb_add_guild(self, args: Json) -> Json:
        """A second guild, before the bot logs in."""
        guild = self._server.world.create_guild(args["name"])
        return {"guild_id": guild.id}

    async def verb_add_channel(self, args: Json) -> Json:
        """A channel; the bot is told."""
        guild = self._server.world.guilds[args["guild_id"]]
        type_ = VOICE_CHANNEL if args["is_voice"] else TEXT_CHANNEL
        channel = self._server.world.create_channel(guild, args["name"], type_)
        self._server.gateway.publish("CHANNEL_CREATE", channel.to_json(), guild.id, 1)
        return {"channel_id": channel.id}

    async def verb_delete_channel(self, args: Json) -> Json:
        """Delete a channel; who is in it is thrown out."""
        channel = self._channel(args)
        guild = self._server.world.guilds[channel.guild_id]
        for state in [s for s in guild.voice_states.values() if s.channel_id == channel.id]:
            self._hub.leave(guild.id, state.user_id)
        del guild.channels[channel.id]
        self._server.gateway.publish("CHANNEL_DELETE", channel.to_json(), guild.id, 1)
        return {}

    async def verb_add_person(self, args: Json) -> Json:
        """A member."""
        guild = self._server.world.guilds[args["guild_id"]]
        person = self._server.add_person(args["name"], is_bot=args["is_bot"], guild=guild)
        return {"person_id": person.user.id}

    # Gateway and REST

    async def verb_gateway_reconnect(self, args: Json) -> Json:
        """Op 7."""
        self._server.gateway.reconnect()
        return {}

    async def verb_gateway_invalidate(self, args: Json) -> Json:
        """Op 9."""
        self._server.gateway.invalidate(is_resumable=args["is_resumable"])
        return {}

    async def verb_gateway_close(self, args: Json) -> Json:
        """Close or cut the gateway."""
        self._server.gateway.close(args["code"], outage_seconds=args["outage_seconds"])
        return {}

    async def verb_rest_rule(self, args: Json) -> Json:
        """Make REST requests fail or wait."""
        self._server.rest.rules.append(Rule(**args))
        return {}

    async def verb_say(self, args: Json) -> Json:
        """A person writes a message."""
        return self._server.messages.say(self._person(args).user, self._channel(args), args["content"])

    async def verb_messages(self, args: Json) -> Json:
        """All messages of a channel as they are now, oldest first."""
        stored = self._server.world.messages.values()
        return {"messages": [m for m in stored if m["channel_id"] == str(args["channel_id"])]}

    async def verb_delete_message(self, args: Json) -> Json:
        """A moderator deletes a message."""
        message = self._server.world.messages[args["message_id"]]
        self._server.messages.delete(self._channel({"channel_id": int(message["channel_id"])}), message)
        return {}

    # Interactions

    async def verb_command(self, args: Json) -> Json:
        """A person uses a slash command, or types in one of its options."""
        made = self._server.interactions.use_command(
            self._person(args).user,
            self._channel(args),
            args["path"],
            args["options"],
            focused=args["focused"],
        )
        return {"interaction_id": made.id}

    async def verb_component(self, args: Json) -> Json:
        """A person presses a button or chooses in a menu."""
        message = self._server.world.messages[args["message_id"]]
        channel = self._channel({"channel_id": int(message["channel_id"])})
        made = self._server.interactions.use_component(
            self._person(args).user,
            channel,
            message,
            args["custom_id"],
            args["component_type"],
            args["values"],
        )
        return {"interaction_id": made.id}

    async def verb_modal(self, args: Json) -> Json:
        """A person sends a form."""
        made = self._server.interactions.submit_modal(
            self._person(args).user, self._channel(args), args["custom_id"], args["fields"]
        )
        return {"interaction_id": made.id}

    async def verb_interaction(self, args: Json) -> Json:
        """What came back for an interaction."""
        return self._server.interactions.get(args["interaction_id"]).to_json()

    # The record

    async def verb_record(self, args: Json) -> Json:
        """Entries after an index; waits for the first when there are none."""
        record = self._server.record

        def matching() -> list[Entry]:
            return record.select(after=args["after"], kind=args["kind"], name=args["name"])

        found = await record.wait(matching, args["seconds"]) if args["seconds"] else matching()
        return {"entries": [entry.to_json() for entry in found], "last_index": record.last_index}

    async def verb_counters(self, args: Json) -> Json:
        """Everything that is counted."""
        return {"counters": dict(self._server.record.counters)}
