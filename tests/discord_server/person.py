"""A simulated person: a member who joins voice channels, talks in real time and remembers what it heard."""

import asyncio
import random
import ssl
from collections import deque
from dataclasses import dataclass

from tests.discord_server.guild import User
from tests.discord_server.hearing import Hearing
from tests.discord_server.options import AES256_GCM
from tests.discord_server.person_voice import PersonVoice
from tests.discord_server.transport import OPUS_SILENCE, SILENCE_FRAMES_AFTER_SPEECH, VIDEO_PAYLOAD_TYPE, Rtp
from tests.discord_server.voice_session import Grant

FRAME_SECONDS = 0.020
FRAME_SAMPLES = 960
SENT_LIMIT_PACKETS = 30_000
SECURE_SECONDS = 10.0
"""How long a person waits for its DAVE session before talking without having one sends nothing."""
EXTENSION = bytes.fromhex("10ff900032000000")
"""Two one-byte header extensions (RFC 8285), audio level and one more, as Discord's clients send them."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How somebody talks: what its packets look like, and what is wrong with them."""

    has_extension: bool = True
    padding_bytes: int = 0
    unencrypted_every: int = 0
    """Each n-th frame goes without DAVE; 0 none."""
    wrong_dave_key_every: int = 0
    """Each n-th frame is encrypted by DAVE and then damaged, as if for another key; 0 none."""
    replay_every: int = 0
    """Each n-th datagram is sent twice, which breaks the rule that a nonce is used once; 0 none."""
    has_camera: bool = False
    """Video packets (payload type 101, the SSRC above) go between the audio packets."""
    sends_speaking: bool = True
    silence_frames: int = SILENCE_FRAMES_AFTER_SPEECH
    skip_sequence: int = 0
    """How far sequence number and timestamp jump before the talk, as after a long pause."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One packet that a person sent, silence included."""

    at_seconds: float
    sequence: int
    timestamp: int
    opus: bytes


class Person:
    """A user of ours; at most one voice connection at a time."""

    def __init__(self, user: User, tls: ssl.SSLContext) -> None:
        self.user = user
        self._tls = tls
        self._sequence = random.randrange(1 << 16)
        self._timestamp = random.randrange(1 << 32)
        self.mode = AES256_GCM
        self.dave_version = 1
        self.hearing = Hearing()
        self.sent: deque[Sent] = deque(maxlen=SENT_LIMIT_PACKETS)
        self.voice: PersonVoice | None = None
        self.unsent_frames = 0
        self._speech = asyncio.Lock()
        self._is_hushed = False

    async def connect(self, grant: Grant) -> None:
        """Connect to a room, leaving the one before."""
        await self.disconnect()
        self.voice = PersonVoice(grant, self.hearing, self._tls, mode=self.mode, dave_version=self.dave_version)
        await self.voice.connect()

    async def disconnect(self, *, abort: bool = False) -> None:
        """End the voice connection; nothing without one."""
        voice, self.voice = self.voice, None
        if voice is not None:
            await (voice.abort() if abort else voice.close())

    async def wait_secure(self, seconds: float = SECURE_SECONDS) -> bool:
        """Wait until audio can be sent; return whether it can."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not (self.voice is not None and self.voice.is_secure):
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    def hush(self) -> None:
        """Break off what is being said, without frames of silence."""
        self._is_hushed = True

    async def speak(self, packets: list[bytes], manner: Manner) -> int:
        """Say `packets` at 20 ms each, then frames of silence; return how many frames were sent.

        A second speech waits for the first one's end.
        """
        async with self._speech:
            self._is_hushed = False
            return await self._speak(packets, manner) if await self.wait_secure() else 0

    async def _speak(self, packets: list[bytes], manner: Manner) -> int:
        self._sequence += manner.skip_sequence
        self._timestamp += manner.skip_sequence * FRAME_SAMPLES
        announced = None
        loop = asyncio.get_running_loop()
        due = loop.time()
        frames = packets + [OPUS_SILENCE] * manner.silence_frames
        sent = 0
        for index, opus in enumerate(frames, 1):
            await asyncio.sleep(due - loop.time())
            if self._is_hushed:
                break
            due += FRAME_SECONDS
            if manner.sends_speaking and self.voice is not announced and self.voice and self.voice.is_connected:
                announced = self.voice
                await announced.speaking(1)
            sent += self._send_frame(opus, index, manner)
        if manner.sends_speaking and self.voice is not None and self.voice.is_connected:
            await self.voice.speaking(0)
        return sent

    def _send_frame(self, opus: bytes, index: int, manner: Manner) -> bool:
        self._sequence = (self._sequence + 1) % (1 << 16)
        self._timestamp = (self._timestamp + FRAME_SAMPLES) % (1 << 32)
        voice = self.voice
        if voice is None or not voice.is_secure:
            self.unsent_frames += 1
            return False
        payload = opus
        if not (manner.unencrypted_every and index % manner.unencrypted_every == 0):
            payload = voice.encrypt(opus)
        if manner.wrong_dave_key_every and index % manner.wrong_dave_key_every == 0 and payload != opus:
            payload = bytes([payload[0] ^ 0xFF]) + payload[1:]
        packet = Rtp(
            self._sequence,
            self._timestamp,
            voice.ssrc,
            payload,
            extension=EXTENSION if manner.has_extension else b"",
            padding_bytes=manner.padding_bytes,
        )
        voice.send(packet, copies=2 if manner.replay_every and index % manner.replay_every == 0 else 1)
        self.sent.append(Sent(asyncio.get_running_loop().time(), self._sequence, self._timestamp, opus))
        if manner.has_camera:
            video = random.randbytes(600)
            voice.send(Rtp(index, index * 3000, voice.ssrc + 1, video, payload_type=VIDEO_PAYLOAD_TYPE))
        return True
