"""The verbs of the control interface that are about faults and moderation of voice; see `control_api.py`."""

import asyncio
import base64
import struct

from tests.discord_server.faults import Faults
from tests.discord_server.guild import Channel, Json
from tests.discord_server.server import LoopbackDiscord
from tests.discord_server.transport import VIDEO_PAYLOAD_TYPE, Rtp
from tests.discord_server.voice_gateway import STALLED


class FaultVerbs:
    """One method per verb."""

    def __init__(self, server: LoopbackDiscord) -> None:
        self._server = server
        self._hub = server.hub

    def _channel(self, args: Json) -> Channel:
        channel = self._server.world.channel(args["channel_id"])
        if channel is None:
            raise ValueError(f"there is no channel {args['channel_id']}")
        return channel

    async def verb_faults(self, args: Json) -> Json:
        """Set a link's faults."""
        faults = Faults(**args["faults"])
        self._hub.faults.set(args["sender_id"], args["receiver_id"], faults, args["until"])
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
        place[2].connection.close_or_cut(args["code"])
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

    async def verb_remove_from_dave(self, args: Json) -> Json:
        """Make a member's end-to-end keys stale."""
        place = self._hub.session(args["user_id"])
        if place is None:
            raise ValueError("the user has no voice session")
        place[0].expel_from_dave(args["user_id"])
        return {}

    async def verb_refuse_voice(self, args: Json) -> Json:
        """Close a user's next identifies."""
        self._hub.refuse_next(args["user_id"], args["code"], args["times"])
        return {}

    async def verb_stall_voice(self, args: Json) -> Json:
        """Leave a user's next identifies without an answer."""
        self._hub.refuse_next(args["user_id"], STALLED, args["times"])
        return {}
