"""The part of the typed client that is about faults and moderators: of voice, of the gateway, of REST."""

import base64
from dataclasses import asdict
from typing import Literal, get_args

from tests.discord_server.control_client import ControlClient
from tests.discord_server.faults import Faults, Recovery
from tests.discord_server.guild import Json

Garbage = Literal["discovery", "keepalive", "rtcp", "noise", "short", "fake rtp", "video", "unknown ssrc"]
ALL_GARBAGE: tuple[Garbage, ...] = get_args(Garbage)


class FaultControl(ControlClient):
    """Makes things go wrong."""

    def set_faults(
        self,
        faults: Faults,
        *,
        sender_id: int | None = None,
        receiver_id: int | None = None,
        until: Recovery | None = None,
    ) -> None:
        """Set the faults from a sender to a receiver; None means everybody. `Faults()` ends them.

        With `until` they end by themselves for a receiver that does this after now: "rekeyed", it sends a key package
        (op 26) or says that a commit is invalid (op 31); "rejoined", it starts a new voice session (op 0).
        """
        links = {"sender_id": sender_id, "receiver_id": receiver_id}
        self.call("faults", faults=asdict(faults), until=until, **links)

    def send_garbage(self, user_id: int, *kinds: Garbage, count: int = 1) -> None:
        """Send `count` datagrams of each kind that are no audio to a client (all kinds when none is named)."""
        self.call("garbage", user_id=user_id, kinds=kinds or ALL_GARBAGE, count=count)

    def delay_speaking(self, channel_id: int, seconds: float | None) -> None:
        """Pass op 5 on later, so that audio overtakes it; None: never."""
        self.call("speaking_delay", channel_id=channel_id, seconds=seconds)

    def close_voice(self, user_id: int, code: int, *, outage_seconds: float = 0.0) -> None:
        """Close a user's voice WebSocket with `code`, 1006 cuts the TCP connection.

        New connections to that voice server wait until the outage is over.
        """
        self.call("close_voice", user_id=user_id, code=code, outage_seconds=outage_seconds)

    def refuse_voice(self, user_id: int, code: int, times: int = 1) -> None:
        """Close the next `times` identifies (op 0) of a user with `code`, 1006 cuts TCP.

        Calls of this and `stall_voice` add up, in their order; with 0 times all that is planned is forgotten.
        """
        self.call("refuse_voice", user_id=user_id, code=code, times=times)

    def stall_voice(self, user_id: int, times: int = 1) -> None:
        """Answer the next `times` identifies of a user with nothing but heartbeats."""
        self.call("stall_voice", user_id=user_id, times=times)

    def send_voice(self, user_id: int, op: int, payload: Json | bytes) -> None:
        """Send a voice gateway message to a user, numbered like any other."""
        shown = base64.b64encode(payload).decode() if isinstance(payload, bytes) else payload
        self.call("raw_voice", user_id=user_id, op=op, payload=shown)

    def move_voice_server(self, channel_id: int) -> str:
        """Bring everybody in a channel to a new voice server; return its endpoint."""
        return str(self.call("move_voice_server", channel_id=channel_id)["endpoint"])

    def disconnect_user(self, user_id: int) -> None:
        """Throw a user out of voice, as a moderator can."""
        self.call("disconnect_user", user_id=user_id)

    def move_user(self, user_id: int, channel_id: int) -> None:
        """Move a user to another voice channel, as a moderator can."""
        self.call("move_user", user_id=user_id, channel_id=channel_id)

    def server_mute(self, user_id: int, *, mute: bool, deaf: bool = False, guild_id: int | None = None) -> None:
        """Mute or deafen a user, as a moderator can."""
        guild_id = guild_id or self.ready.guild_id
        self.call("server_mute", user_id=user_id, mute=mute, deaf=deaf, guild_id=guild_id)

    def set_dave(self, channel_id: int, *, is_on: bool) -> None:
        """Turn end-to-end encryption of a channel on or off while people are in it."""
        self.call("set_dave", channel_id=channel_id, is_on=is_on)

    def remove_from_dave(self, user_id: int) -> None:
        """Remove a user from the DAVE group without telling it, so that its keys go stale.

        With at least two others they go on under new keys. A single other one starts over and talks again when the
        user has sent a new key package.
        """
        self.call("remove_from_dave", user_id=user_id)

    # Gateway and REST

    def reconnect_gateway(self) -> None:
        """Send op 7."""
        self.call("gateway_reconnect")

    def invalidate_gateway(self, *, is_resumable: bool) -> None:
        """Send op 9."""
        self.call("gateway_invalidate", is_resumable=is_resumable)

    def close_gateway(self, code: int, *, outage_seconds: float = 0.0) -> None:
        """Close the gateway with `code`, 1006 cuts TCP; new connections wait until the outage is over."""
        self.call("gateway_close", code=code, outage_seconds=outage_seconds)

    def add_rest_rule(
        self,
        method: str,
        path: str,
        *,
        times: int = 1,
        delay_seconds: float = 0.0,
        status: int = 0,
        retry_after_seconds: float = 0.0,
        is_global: bool = False,
        code: int = 0,
    ) -> None:
        """Make the next `times` requests whose whole path (a pattern, without /api/v10) matches wait or fail.

        `code` is Discord's error code in the answer, beside the HTTP status. The path of a callback is
        /interactions/<id>/<token>/callback, that of a followup /webhooks/<application id>/<token>.
        """
        more = {"retry_after_seconds": retry_after_seconds, "is_global": is_global, "code": code}
        self.call(
            "rest_rule",
            method=method,
            path=path,
            times=times,
            delay_seconds=delay_seconds,
            status=status,
            **more,
        )
