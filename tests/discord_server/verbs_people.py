"""The verbs of the control interface that are about people in voice; see `control_api.py`."""

import asyncio
import base64
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.discord_server.camera import VideoCodec, film
from tests.discord_server.guild import Channel, Guild, Json
from tests.discord_server.hearing import Heard
from tests.discord_server.person import FRAME_SECONDS, Manner, Person, Sent
from tests.discord_server.record import Entry
from tests.discord_server.server import LoopbackDiscord
from tests.discord_server.speech import packets_of

JOIN_SECONDS = 12.0


class PeopleVerbs:
    """One method per verb."""

    def __init__(self, server: LoopbackDiscord) -> None:
        self._server = server
        self._hub = server.hub

    def _person(self, args: Json) -> Person:
        return self._server.people[args["person_id"]]

    def _channel(self, args: Json) -> Channel:
        channel = self._server.world.channel(args["channel_id"])
        if channel is None:
            raise ValueError(f"there is no channel {args['channel_id']}")
        return channel

    def _note(self, name: str, person: Person, **data: Any) -> None:
        user = person.user
        self._server.record.add("person", name, user_id=user.id, user_name=user.name, **data)

    # People in voice

    async def verb_join(self, args: Json) -> Json:
        """A person joins or moves; answered when its voice connection stands."""
        person, channel = self._person(args), self._channel(args)
        reason = self._hub.refusal(channel.guild_id, person.user.id, channel.id)
        if reason is not None:
            raise ValueError(f"{person.user.name} may not come in: {reason}")
        person.mode, person.dave_version = args["mode"], args["dave_version"]
        after = self._server.record.last_index
        flags = {"self_mute": args["self_mute"], "self_deaf": args["self_deaf"]}
        self._note("changes flags" if args["is_update"] else "joins", person, channel_id=channel.id, **flags)
        self._hub.enter(
            channel.guild_id,
            person.user.id,
            channel.id,
            f"person-{person.user.id}",
            **flags,
        )
        if person.voice is not None and person.voice.close_code is None and args["is_update"]:
            return {}

        def connected() -> list[Entry]:
            found = self._server.record.select(after=after, kind="person")
            outcomes = [entry for entry in found if entry.name in ("connected", "not connected")]
            return [entry for entry in outcomes if entry.data["user_id"] == person.user.id]

        found = await self._server.record.wait(connected, JOIN_SECONDS)
        if not found or found[0].name != "connected":
            raise ValueError(f"{person.user.name} could not connect: {[entry.data for entry in found]}")
        return {}

    async def verb_leave(self, args: Json) -> Json:
        """A person leaves, or vanishes without a word."""
        person = self._person(args)
        person.hush()
        self._note("leaves", person, abort=args["abort"])
        channel_guilds = [g for g in self._server.world.guilds.values() if person.user.id in g.voice_states]
        if not args["abort"]:
            for guild in channel_guilds:
                self._hub.leave(guild.id, person.user.id)
        await person.disconnect(abort=args["abort"])
        return {}

    async def verb_speak(self, args: Json) -> Json:
        """A person talks; answered at the end, or at once."""
        person = self._person(args)
        packets = await asyncio.to_thread(packets_of, args["source"])
        manner = Manner(**args["manner"])
        said = {"seconds": len(packets) * FRAME_SECONDS, "source": _shown(args["source"])}

        async def speak() -> None:
            self._note("speaks", person, **said)
            count = await person.speak(packets, manner)
            self._note("spoke", person, frames=count, **said)

        if args["wait"]:
            await speak()
        else:
            self._server.start_task(asyncio.create_task(speak()))
        return {"frames": len(packets)}

    async def verb_hush(self, args: Json) -> Json:
        """A person breaks off."""
        self._person(args).hush()
        self._note("hushes", self._person(args))
        return {}

    async def verb_announce_speaking(self, args: Json) -> Json:
        """A person says that it talks, or not, whatever it does."""
        person = self._person(args)
        if person.voice is None:
            raise ValueError(f"{person.user.name} is not in voice")
        await person.voice.speaking(int(args["is_speaking"]))
        self._note("announces speaking", person, is_speaking=args["is_speaking"])
        return {}

    async def verb_camera(self, args: Json) -> Json:
        """A person's camera goes on or off."""
        person = self._person(args)
        guild = next((g for g in self._server.world.guilds.values() if person.user.id in g.voice_states), None)
        if guild is None:
            raise ValueError(f"{person.user.name} is not in voice")
        was_on = guild.voice_states[person.user.id].self_video
        if was_on == args["is_on"]:
            return {}
        self._hub.set_video(guild.id, person.user.id, is_on=args["is_on"])
        self._note("turns the camera on" if args["is_on"] else "turns the camera off", person)
        if args["is_on"]:
            self._start_camera(person, guild, args["codec"])
        return {}

    def _start_camera(self, person: Person, guild: Guild, codec: VideoCodec) -> None:
        state = guild.voice_states[person.user.id]

        def is_on() -> bool:
            return state.self_video and guild.voice_states.get(person.user.id) is state

        self._server.start_task(asyncio.create_task(film(lambda: person.voice, is_on, codec)))

    async def verb_wait_secure(self, args: Json) -> Json:
        """Wait until a person's audio can be sent."""
        return {"is_secure": await self._person(args).wait_secure(args["seconds"])}

    async def verb_person(self, args: Json) -> Json:
        """A person's view of its call."""
        person = self._person(args)
        voice = person.voice
        session = voice.session if voice is not None else None
        return {
            "is_connected": voice is not None and not voice.ended.is_set(),
            "is_secure": voice is not None and voice.is_secure,
            "dave_user_ids": sorted(map(int, session.get_user_ids())) if session and session.ready else [],
            "privacy_code": session.voice_privacy_code if session else None,
            "close_code": voice.close_code if voice is not None else None,
            "counters": dict(person.hearing.counters),
            "unsent_frames": person.unsent_frames,
        }

    async def verb_sent(self, args: Json) -> Json:
        """What a person sent."""
        return {"packets": _shown_packets(self._person(args).sent, args["after_seconds"])}

    async def verb_heard(self, args: Json) -> Json:
        """What a person heard of a sender."""
        packets = self._person(args).hearing.packets.get(args["sender_id"], ())
        return {"packets": _shown_packets(packets, args["after_seconds"])}

    async def verb_heard_wav(self, args: Json) -> Json:
        """Write what a person heard of a sender."""
        hearing, path = self._person(args).hearing, Path(args["path"])
        return {"samples": await asyncio.to_thread(hearing.write_wav, args["sender_id"], path)}

    async def verb_forget_heard(self, args: Json) -> Json:
        """Forget what a person heard and sent."""
        person = self._person(args)
        person.hearing.clear()
        person.sent.clear()
        return {}

    async def verb_received(self, args: Json) -> Json:
        """The RTP packets that the server received from a user in its present session."""
        place = self._hub.session(args["user_id"])
        return {"packets": [asdict(arrival) for arrival in place[2].arrivals] if place is not None else []}


def _shown_packets(packets: Iterable[Sent | Heard], after_seconds: float) -> list[Json]:
    later = (packet for packet in packets if packet.at_seconds > after_seconds)
    return [asdict(packet) | {"opus": base64.b64encode(packet.opus).decode()} for packet in later]


def _shown(source: Json) -> Json:
    """Return what the record says of something said: no sound, only where it came from."""
    return {"packets": len(source["packets"])} if "packets" in source else source
