"""discord.py's voice client with the receiving that it lacks: as little as shows what the server sends."""

import select
import struct
import threading
import warnings
from collections import Counter, defaultdict, deque
from types import SimpleNamespace
from typing import Any

import davey

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # discord.py imports audioop, which Python 3.13 drops
    import discord
    from discord import voice_state

from tests.discord_server.transport import OPUS_PAYLOAD_TYPE, OPUS_SILENCE, BadDatagram, Rtp, is_rtp, unseal

HOLD_LIMIT_PACKETS = 50
VIDEO_LIMIT_PACKETS = 1_000

# discord.py's socket reader waits up to 30 s on a socket that a reconnect has closed long ago.
_prompt_select = SimpleNamespace(select=lambda r, w, x, seconds: select.select(r, w, x, min(seconds, 0.05)))
voice_state.select = _prompt_select  # type: ignore[assignment,attr-defined]  # in a module's place


class ReceivingClient(discord.VoiceClient):
    """discord.py's voice client, with the receiving that it lacks."""

    def __init__(self, client: discord.Client, channel: discord.abc.Connectable) -> None:
        super().__init__(client, channel)
        self.users: dict[int, int] = {}
        self.speaking_events: list[tuple[int, int]] = []
        """User and flags of each op 5."""
        self.video_events: list[dict[str, Any]] = []
        """The data of each op 12."""
        self.video: deque[Rtp] = deque(maxlen=VIDEO_LIMIT_PACKETS)
        self.heard: dict[int, list[bytes]] = defaultdict(list)
        self.counters: Counter[str] = Counter()
        self._held: deque[Rtp] = deque(maxlen=HOLD_LIMIT_PACKETS)
        self._seen: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=512))
        self._lock = threading.RLock()

    def create_connection_state(self) -> voice_state.VoiceConnectionState:
        """Have every JSON message shown to us after discord.py's own handling."""
        return voice_state.VoiceConnectionState(self, hook=self._message)

    async def _message(self, _: Any, message: dict[str, Any]) -> None:
        data = message["d"]
        if message["op"] == 2:
            self.users.clear()
        elif message["op"] == 5:
            with self._lock:
                self.users[data["ssrc"]] = int(data["user_id"])
                self.speaking_events.append((int(data["user_id"]), data["speaking"]))
                held, self._held = list(self._held), deque(maxlen=HOLD_LIMIT_PACKETS)
                for packet in held:
                    self._audio(packet)
        elif message["op"] == 12:
            self.video_events.append(data)
        elif message["op"] == 13:
            self.users = {ssrc: user for ssrc, user in self.users.items() if user != int(data["user_id"])}

    def take_datagram(self, datagram: bytes) -> None:
        """Take one datagram, on the thread of discord.py's socket reader."""
        if not is_rtp(datagram):
            self.counters["not audio"] += 1
            return
        try:
            packet = unseal(self.mode, bytes(self.secret_key), datagram).rtp()
        except BadDatagram:
            self.counters["undecryptable by transport"] += 1
            return
        if packet.payload_type == OPUS_PAYLOAD_TYPE:
            self._audio(packet)
        else:
            self.counters["not audio"] += 1
            self.video.append(packet)

    def _audio(self, packet: Rtp) -> None:
        with self._lock:
            user_id = self.users.get(packet.ssrc)
            if user_id is None:
                self._held.append(packet)
                self.counters["held"] += 1
            elif packet.sequence in self._seen[packet.ssrc]:
                self.counters["duplicate"] += 1
            else:
                self._seen[packet.ssrc].append(packet.sequence)
                self._decrypt(user_id, packet.payload)

    def _decrypt(self, user_id: int, opus: bytes) -> None:
        session = self._connection.dave_session
        if opus != OPUS_SILENCE and session is not None and self._connection.dave_protocol_version:
            try:
                opus = session.decrypt(user_id, davey.MediaType.audio, opus)
            except ValueError as exc:
                self.counters[f"dave: {exc}"] += 1
                return
        self.heard[user_id].append(opus)

    @property
    def is_secure(self) -> bool:
        """Whether audio can be sent and is encrypted if the call is."""
        if not self.is_connected() or not self._connection.dave_protocol_version:
            return self.is_connected()
        session = self._connection.dave_session
        return session is not None and session.ready


def synthetic_packets(count: int, marker: int) -> list[bytes]:
    """Return distinct packets that need not be sound: a TOC byte of 20 ms CELT, a marker, a number, filling."""
    return [struct.pack(">BBH", 0xFC, marker, index) + bytes([index % 251]) * 40 for index in range(count)]
