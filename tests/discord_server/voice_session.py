"""One client's voice connection on the server: identity, keys, and messages numbered so that they can be replayed."""

import json
import math
import os
import struct
from collections import deque
from dataclasses import dataclass

from tests.discord_server.connection import Connection
from tests.discord_server.guild import Json
from tests.discord_server.transport import Opened, Sealer
from tests.discord_server.udp import Address

REPLAY_LIMIT_MESSAGES = 500
EARLY_LIMIT_PACKETS = 50
ARRIVAL_LIMIT_PACKETS = 30_000
"""Ten minutes of one speaker."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The right to connect to one room, as VOICE_STATE_UPDATE and VOICE_SERVER_UPDATE hand it out."""

    guild_id: int
    channel_id: int
    user_id: int
    session_id: str
    token: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """One RTP packet that the server received from a client."""

    at_seconds: float
    sequence: int
    timestamp: int
    payload_bytes: int
    is_silence: bool
    is_encrypted: bool
    """Whether it carries DAVE's marker."""


class VoiceSession:
    """A client in a room, from op 0 until it leaves; survives a lost WebSocket until it resumes or time is up."""

    def __init__(self, grant: Grant, ssrc: int, dave_version: int) -> None:
        self.grant = grant
        self.user_id = grant.user_id
        self.ssrc = ssrc
        self.video_ssrc = ssrc + 1
        self.rtx_ssrc = ssrc + 2
        """Of video packets that are sent once more."""
        self.video: Json | None = None
        """The last op 12, None while the camera is off."""
        self.max_dave_version = dave_version
        self.mode = ""
        self.key = os.urandom(32)
        self.sealer: Sealer | None = None
        self.address: Address | None = None
        self.connection: Connection | None = None
        self.has_sent_speaking = False
        self.speaking = 0
        self.hushed_seconds = -math.inf
        """When, on the loop's clock, `speaking` became 0 after it was not."""
        self.announced_seconds = -math.inf
        """When it was last announced not to be 0."""
        self.is_unannounced = False
        """Whether audio has come while `speaking` was 0, and op 5 may still be on its way."""
        self.early: deque[tuple[Opened, float]] = deque(maxlen=EARLY_LIMIT_PACKETS)
        """Packets, with their arrival, that came before the first op 5."""
        self.last_nonce = -1
        self.arrivals: deque[Arrival] = deque(maxlen=ARRIVAL_LIMIT_PACKETS)
        self.sequence = -1
        self.acknowledged = -1
        self.is_described = False
        """Whether op 4 was sent: the client takes part from then on."""
        self._replay: deque[tuple[int, str | bytes]] = deque(maxlen=REPLAY_LIMIT_MESSAGES)

    @property
    def is_online(self) -> bool:
        """Whether the WebSocket stands."""
        return self.connection is not None and self.connection.is_open

    def select(self, mode: str) -> None:
        """Take up op 1."""
        self.mode = mode
        self.sealer = Sealer(mode, self.key)

    def post(self, op: int, payload: Json | bytes | None) -> None:
        """Number a message, keep it for a resume, and send it if the connection stands."""
        self.sequence += 1
        message: str | bytes
        if isinstance(payload, bytes):
            message = struct.pack(">HB", self.sequence & 0xFFFF, op) + payload
        else:
            message = json.dumps({"op": op, "d": payload, "seq": self.sequence})
        self._replay.append((self.sequence, message))
        if self.connection is not None:
            self.connection.post(message)

    def post_unnumbered(self, op: int, payload: Json) -> None:
        """Send a message that is not replayed: hello, heartbeat acknowledgement, resumed."""
        if self.connection is not None:
            self.connection.post(json.dumps({"op": op, "d": payload}))

    def missed_since(self, acknowledged: int) -> list[str | bytes] | None:
        """Return the messages after `acknowledged`, or None when some of them are forgotten."""
        if not self.sequence - len(self._replay) <= acknowledged <= self.sequence:
            return None
        return [message for sequence, message in self._replay if sequence > acknowledged]
