"""A simulated person's voice connection: a small client of its own, over real sockets, with DAVE by davey.

It shares nothing with the server but the code that packs packets (`transport.py`), so that a mistake of the server
is met by a second reading of the protocol. It receives as every client must: filter, transport AEAD, padding and
extension, SSRC to user with a bounded hold, duplicates, DAVE.
"""

import asyncio
import json
import socket
import ssl
import struct
import time
from collections import deque

import aiohttp
import davey

from tests.discord_server.guild import Json
from tests.discord_server.hearing import HOLD_LIMIT_PACKETS, Heard, Hearing, Protection
from tests.discord_server.transport import (
    OPUS_PAYLOAD_TYPE,
    OPUS_SILENCE,
    BadDatagram,
    Rtp,
    Sealer,
    is_rtp,
    unseal,
)
from tests.discord_server.udp import Address, UdpSocket
from tests.discord_server.voice_session import Grant

CONNECT_SECONDS = 10.0
KEEPALIVE_SECONDS = 5.0
DUPLICATE_WINDOW = 512
FINAL_CODES = {1000, 4004, 4006, 4009, 4014, 4017, 4021, 4022}
"""After these a client must not resume."""


class PersonVoice:
    """One connection to one room; `connect`, talk, `close`. It resumes after a cut or code that allows it."""

    def __init__(self, grant: Grant, hearing: Hearing, tls: ssl.SSLContext, *, mode: str, dave_version: int) -> None:
        self._grant = grant
        self._hearing = hearing
        self._tls = tls
        self._mode = mode
        self._max_dave_version = dave_version
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._heartbeats: list[asyncio.Task[None]] = []
        self._udp: UdpSocket | None = None
        self._discovered: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        self._described = asyncio.Event()
        self._key = b""
        self._sealer: Sealer | None = None
        self._sequence_acknowledged = -1
        self._users: dict[int, int] = {}
        self._held: deque[tuple[Rtp, float]] = deque(maxlen=HOLD_LIMIT_PACKETS)
        self._seen: dict[int, deque[int]] = {}
        self._versions: dict[int, int] = {}
        self.session: davey.DaveSession | None = None
        self.dave_version = 0
        self.ssrc = 0
        self.ended = asyncio.Event()
        self.close_code: int | None = None

    @property
    def is_secure(self) -> bool:
        """Whether audio can be sent: the DAVE session has a group, or the call has no DAVE."""
        return self._described.is_set() and (self.dave_version == 0 or bool(self.session and self.session.ready))

    @property
    def is_connected(self) -> bool:
        """Whether it takes part in the call, as far as it knows."""
        return self._described.is_set() and not self.ended.is_set()

    async def connect(self) -> None:
        """Shake hands up to op 4; raises `TimeoutError`, or `ConnectionError` when refused."""
        self._http = aiohttp.ClientSession()
        async with asyncio.timeout(CONNECT_SECONDS):
            await self._open()
            await self._send(0, self._claims() | {"max_dave_protocol_version": self._max_dave_version})
            self._tasks.append(asyncio.create_task(self._live()))
            ended = asyncio.create_task(self.ended.wait())
            described = asyncio.create_task(self._described.wait())
            try:
                await asyncio.wait([ended, described], return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended.cancel()
                described.cancel()
        if not self._described.is_set():
            raise ConnectionError(f"the voice gateway closed with {self.close_code}")

    async def _open(self) -> None:
        assert self._http is not None, "connect has made it"
        url = f"wss://{self._grant.endpoint}/?v=8"
        self._socket = await self._http.ws_connect(url, ssl=self._tls, max_msg_size=1 << 20)

    def _claims(self) -> Json:
        return {
            "server_id": str(self._grant.guild_id),
            "user_id": str(self._grant.user_id),
            "session_id": self._grant.session_id,
            "token": self._grant.token,
        }

    async def _live(self) -> None:
        """Read until the end; after a close that allows it, resume (op 7)."""
        try:
            while True:
                await self._read()
                if not self._described.is_set() or self.close_code in FINAL_CODES:
                    return
                await self._open()
                await self._send(7, self._claims() | {"seq_ack": self._sequence_acknowledged})
        except (OSError, aiohttp.ClientError):  # the server is gone
            return
        finally:
            self.ended.set()

    async def close(self, code: int = 1000) -> None:
        """Say goodbye and free everything."""
        if self._socket is not None:
            await self._socket.close(code=code)
        await self._release()

    async def abort(self) -> None:
        """Vanish without a word."""
        if self._socket is not None:
            tcp = self._socket.get_extra_info("socket")
            if tcp is not None:
                tcp.shutdown(socket.SHUT_RDWR)
        await self._release()

    async def _release(self) -> None:
        tasks = self._tasks + self._heartbeats
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._udp is not None:
            self._udp.close()
        if self._http is not None:
            await self._http.close()
        self.ended.set()

    async def _send(self, op: int, data: Json) -> None:
        assert self._socket is not None, "connected first"
        await self._socket.send_str(json.dumps({"op": op, "d": data}))

    async def _send_binary(self, op: int, payload: bytes) -> None:
        assert self._socket is not None, "connected first"
        await self._socket.send_bytes(bytes([op]) + payload)

    async def speaking(self, flags: int) -> None:
        """Op 5: 1 before talking, 0 after."""
        await self._send(5, {"speaking": flags, "delay": 0, "ssrc": self.ssrc})

    async def show_video(self, *, is_on: bool) -> None:
        """Op 12: which SSRCs the camera's packets have, or that there are none."""
        shown, repeated = (self.ssrc + 1, self.ssrc + 2) if is_on else (0, 0)
        stream = {"type": "video", "rid": "100", "ssrc": shown, "rtx_ssrc": repeated, "active": is_on, "quality": 100}
        await self._send(
            12, {"audio_ssrc": self.ssrc, "video_ssrc": shown, "rtx_ssrc": repeated, "streams": [stream] * is_on}
        )

    async def _read(self) -> None:
        assert self._socket is not None, "connected first"
        try:
            async for message in self._socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    received = json.loads(message.data)
                    self._sequence_acknowledged = received.get("seq", self._sequence_acknowledged)
                    await self._handle(received["op"], received["d"])
                elif message.type is aiohttp.WSMsgType.BINARY:
                    self._sequence_acknowledged, op = struct.unpack_from(">HB", message.data)
                    await self._handle_mls(op, message.data[3:])
        except ConnectionError:  # the close code below tells the rest
            pass
        finally:
            self.close_code = self._socket.close_code or 1006
            for task in self._heartbeats:
                task.cancel()

    async def _handle(self, op: int, data: Json) -> None:
        if op == 8:
            self._heartbeats = [asyncio.create_task(self._heartbeat(data["heartbeat_interval"] / 1000))]
        elif op == 2:
            self._tasks.append(asyncio.create_task(self._open_media(data)))
        elif op == 4:
            await self._begin(data)
        elif op == 5:
            self._users[data["ssrc"]] = int(data["user_id"])
            self._release_held()
        elif op == 13:
            gone = int(data["user_id"])
            self._users = {ssrc: user for ssrc, user in self._users.items() if user != gone}
        elif op == 21:
            self._versions[data["transition_id"]] = data["protocol_version"]
            if data["transition_id"]:
                await self._send(23, {"transition_id": data["transition_id"]})
        elif op == 22:
            self.dave_version = self._versions.pop(data["transition_id"], self.dave_version)
        elif op == 24 and data["epoch"] == 1:
            self.dave_version = data["protocol_version"]
            await self._send_key_package()

    async def _heartbeat(self, interval_seconds: float) -> None:
        while True:
            await asyncio.sleep(interval_seconds * 0.9)
            await self._send(3, {"t": int(time.time() * 1000), "seq_ack": self._sequence_acknowledged})

    async def _open_media(self, ready: Json) -> None:
        self.ssrc = ready["ssrc"]
        self._udp = UdpSocket(
            self._grant.endpoint.rpartition(":")[0], self._datagram, peer=(ready["ip"], ready["port"])
        )
        self._udp.send(struct.pack(">HHI66x", 1, 70, self.ssrc))
        host, port = await self._discovered
        await self._send(1, {"protocol": "udp", "data": {"address": host, "port": port, "mode": self._mode}})
        count = 0
        while True:
            await asyncio.sleep(KEEPALIVE_SECONDS)
            count += 1
            self._udp.send(struct.pack("<Q", count))

    async def _begin(self, data: Json) -> None:
        self._key = bytes(data["secret_key"])
        self._sealer = Sealer(self._mode, self._key)
        self.dave_version = data["dave_protocol_version"]
        await self.speaking(0)
        if self._max_dave_version and self.dave_version:
            await self._send_key_package()
        self._described.set()

    async def _send_key_package(self) -> None:
        arguments = (self.dave_version, self._grant.user_id, self._grant.channel_id)
        if self.session is None:
            self.session = davey.DaveSession(*arguments)
        else:
            self.session.reinit(*arguments)
        await self._send_binary(26, self.session.get_serialized_key_package())

    async def _handle_mls(self, op: int, payload: bytes) -> None:
        session = self.session
        if session is None:
            return
        if op == 25:
            session.set_external_sender(payload)
        elif op == 27:
            kinds = davey.ProposalsOperationType
            result = session.process_proposals(kinds.revoke if payload[0] else kinds.append, payload[1:])
            if result is not None:
                await self._send_binary(28, result.commit + (result.welcome or b""))
        elif op in (29, 30):
            number = int.from_bytes(payload[:2], "big")
            try:
                process = session.process_commit if op == 29 else session.process_welcome
                process(payload[2:])
            except ValueError:
                self._hearing.counters["invalid commit or welcome"] += 1
                await self._send(31, {"transition_id": number})
                await self._send_key_package()
                return
            self._versions[number] = self.dave_version
            if number:
                await self._send(23, {"transition_id": number})

    def encrypt(self, opus: bytes) -> bytes:
        """Return the payload for one packet: encrypted by DAVE in an encrypted call (silence stays clear)."""
        if self.dave_version == 0 or self.session is None or opus == OPUS_SILENCE:
            return opus
        return self.session.encrypt_opus(opus)

    def send(self, packet: Rtp, *, copies: int = 1) -> None:
        """Seal a packet and send it, more than once for a replay."""
        assert self._sealer is not None, "connected first"
        assert self._udp is not None, "connected first"
        datagram = self._sealer.seal(packet.header(), packet.body())
        for _ in range(copies):
            self._udp.send(datagram)

    def _datagram(self, datagram: bytes, _: Address, at_seconds: float) -> None:
        if len(datagram) == 74 and datagram[1] == 2:
            host = datagram[8:72].rstrip(b"\0").decode()
            if not self._discovered.done():
                self._discovered.set_result((host, int.from_bytes(datagram[72:], "big")))
            return
        if not is_rtp(datagram):
            self._hearing.counters["not rtp"] += 1
            return
        try:
            packet = unseal(self._mode, self._key, datagram).rtp()
        except BadDatagram:
            self._hearing.counters["undecryptable by transport"] += 1
            return
        if packet.payload_type != OPUS_PAYLOAD_TYPE:
            self._hearing.counters["not audio"] += 1
        elif packet.ssrc not in self._users:
            self._held.append((packet, at_seconds))
        else:
            self._audio(packet, at_seconds)

    def _release_held(self) -> None:
        ready = [held for held in self._held if held[0].ssrc in self._users]
        for held in ready:
            self._held.remove(held)
            self._audio(*held)

    def _audio(self, packet: Rtp, at_seconds: float) -> None:
        seen = self._seen.setdefault(packet.ssrc, deque(maxlen=DUPLICATE_WINDOW))
        if packet.sequence in seen:
            self._hearing.counters["duplicate"] += 1
            return
        seen.append(packet.sequence)
        user_id, opus = self._users[packet.ssrc], packet.payload
        if opus == OPUS_SILENCE:
            self._hearing.add(user_id, Heard(at_seconds, packet.sequence, packet.timestamp, opus, "silence"))
            return
        is_encrypted = opus.endswith(b"\xfa\xfa")
        if self.session is not None and self.dave_version and is_encrypted:
            try:
                opus = self.session.decrypt(user_id, davey.MediaType.audio, opus)
            except ValueError as exc:
                self._hearing.counters[f"dave: {exc}"] += 1
                return
        elif is_encrypted:
            self._hearing.counters["encrypted, but no session"] += 1
            return
        protection: Protection = "dave" if is_encrypted else "clear"
        self._hearing.add(user_id, Heard(at_seconds, packet.sequence, packet.timestamp, opus, protection))
