"""The verbs of the control interface that are about people in voice and the faults of voice; see `control_api.py`."""

import asyncio
import base64
import struct
from dataclasses import asdict
from pathlib import Path

from tests.discord_server.faults import Faults
from tests.discord_server.person import Manner, Person
from tests.discord_server.record import Entry
from tests.discord_server.server import LoopbackDiscord
from tests.discord_server.speech import packets_of
from tests.discord_server.transport import VIDEO_PAYLOAD_TYPE, Rtp
from tests.discord_server.world import Channel, Json

JOIN_SECONDS = 12.0


class VoiceVerbs:
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

    # People in voice

    async def verb_join(self, args: Json) -> Json:
        """A person joins or moves; answered when its voice connection stands."""
        person, channel = self._person(args), self._channel(args)
        person.mode, person.dave_version = args["mode"], args["dave_version"]
        after = self._server.record.last_index
        self._hub.enter(
            channel.guild_id,
            person.user.id,
            channel.id,
            f"person-{person.user.id}",
            self_mute=args["self_mute"],
            self_deaf=args["self_deaf"],
        )
        if person.voice is not None and person.voice.close_code is None and args["is_update"]:
            return {}

        def connected() -> list[Entry]:
            found = self._server.record.select(after=after, kind="person")
            return [entry for entry in found if entry.data["user_id"] == person.user.id]

        found = await self._server.record.wait(connected, JOIN_SECONDS)
        if not found or found[0].name != "connected":
            raise ValueError(f"{person.user.name} could not connect: {[entry.data for entry in found]}")
        return {}

    async def verb_leave(self, args: Json) -> Json:
        """A person leaves, or vanishes without a word."""
        person = self._person(args)
        person.hush()
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

        async def speak() -> None:
            count = await person.speak(packets, manner)
            self._server.record.add("person", "spoke", user_id=person.user.id, frames=count)

        if args["wait"]:
            await speak()
        else:
            self._server.start_task(asyncio.create_task(speak()))
        return {"frames": len(packets)}

    async def verb_hush(self, args: Json) -> Json:
        """A person breaks off."""
        self._person(args).hush()
        return {}

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
        return {"packets": [asdict(packet) | {"opus": _encoded(packet.opus)} for packet in self._person(args).sent]}

    async def verb_heard(self, args: Json) -> Json:
        """What a person heard of a sender."""
        packets = self._person(args).hearing.packets.get(args["sender_id"], ())
        return {"packets": [asdict(packet) | {"opus": _encoded(packet.opus)} for packet in packets]}

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

    # Voice faults

    async def verb_faults(self, args: Json) -> Json:
        """Set a link's faults."""
        self._hub.faults.set(args["sender_id"], args["receiver_id"], Faults(**args["faults"]))
        return {}

    async def verb_garbage(self, args: Json) -> Json:
        """Send what is no audio to a client's UDP port."""
        place = self._hub.session(args["user_id"])
        if place is None:
            raise ValueError("the user has no voice session")
        _, server, session = place
        assert session.sealer is not None, "it has an address, so it has chosen a mode"
        for index in range(args["count"]):
            video = Rtp(index, index, session.ssrc + 7, bytes(500), payload_type=VIDEO_PAYLOAD_TYPE)
            stranger = Rtp(index, index * 960, session.ssrc + 9, b"\xfc\x01\x02")
            datagrams = {
                "discovery": struct.pack(">HHI64sH", 2, 70, session.ssrc, b"203.0.113.9", 9),
                "keepalive": struct.pack("<Q", index),
                "rtcp": b"\x81\xc9\x00\x07" + bytes(60),
                "noise": bytes((index * 31 + byte * 7) % 256 for byte in range(97)),
                "fake rtp": b"\x80\x78" + bytes((index * 13 + byte * 5) % 256 for byte in range(90)),
                "short": b"\x80\x78",
                "video": session.sealer.seal(video.header(), video.body()),
                "unknown ssrc": session.sealer.seal(stranger.header(), stranger.body()),
            }
            for kind in args["kinds"]:
                server.media.send_raw(session, datagrams[kind])
        return {}

    async def verb_speaking_delay(self, args: Json) -> Json:
        """Hold op 5 back."""
        self._hub.room(args["channel_id"]).speaking_delay_seconds = args["seconds"]
        return {}

    async def verb_close_voice(self, args: Json) -> Json:
        """Close a user's voice WebSocket with a code, 1006 by cutting TCP."""
        place = self._hub.session(args["user_id"])
        if place is None or place[2].connection is None:
            raise ValueError("the user has no voice connection")
        place[1].outage_ends_seconds = asyncio.get_running_loop().time() + args["outage_seconds"]
        if args["code"] == 1006:
            place[2].connection.abort()
        else:
            place[2].connection.close(args["code"])
        return {}

    async def verb_raw_voice(self, args: Json) -> Json:
        """Send a voice gateway message of the test's choice to a user."""
        place = self._hub.session(args["user_id"])
        if place is None:
            raise ValueError("the user has no voice session")
        payload = args["payload"]
        place[2].post(args["op"], base64.b64decode(payload) if isinstance(payload, str) else payload)
        return {}

    async def verb_move_voice_server(self, args: Json) -> Json:
        """Bring a channel to a new voice server."""
        return {"endpoint": await self._hub.move_server(args["channel_id"])}

    async def verb_disconnect_user(self, args: Json) -> Json:
        """Throw a user out of voice."""
        for guild in self._server.world.guilds.values():
            self._hub.leave(guild.id, args["user_id"])
        return {}

    async def verb_move_user(self, args: Json) -> Json:
        """Move a user to another channel."""
        channel = self._channel(args)
        state = self._hub.voice_state(channel.guild_id, args["user_id"])
        if state is None:
            raise ValueError("the user is not in voice")
        flags = {"self_mute": state.self_mute, "self_deaf": state.self_deaf}
        self._hub.enter(channel.guild_id, state.user_id, channel.id, state.session_id, **flags)
        return {}

    async def verb_server_mute(self, args: Json) -> Json:
        """Mute or deafen a user by the server."""
        self._hub.set_server_flags(args["guild_id"], args["user_id"], mute=args["mute"], deaf=args["deaf"])
        return {}

    async def verb_set_dave(self, args: Json) -> Json:
        """End-to-end encryption of a channel on or off."""
        self._hub.room(args["channel_id"]).set_dave(is_on=args["is_on"])
        return {}

    async def verb_received(self, args: Json) -> Json:
        """The RTP packets that the server received from a user in its present session."""
        place = self._hub.session(args["user_id"])
        return {"packets": [asdict(arrival) for arrival in place[2].arrivals] if place is not None else []}


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
