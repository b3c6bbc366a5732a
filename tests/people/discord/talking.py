"""What people say in the tests of the receiving path: Opus packets, and a stand-in for end-to-end encryption.

`locked` and `unlock` are to DAVE what a rubber stamp is to a signature: a frame names its user and ends with DAVE's
marker, and only the right user's opens. They show where frames are opened and what becomes of those that are refused.
"""

from functools import cache

import numpy as np

from plexbridge.audio.opus import Application, Encoder, EncoderSettings
from plexbridge.audio.pcm import PEOPLE_FRAME_SAMPLES, PEOPLE_RATE_HZ
from plexbridge.people.discord.stream import FrameRefused, Refusal

MARKER = b"\xfa\xfa"
VOICE = EncoderSettings(Application.VOIP, complexity=5, bitrate_bps=64_000)


@cache
def tone_packets(seconds: float, *, hz: float = 300, level: float = 0.3) -> tuple[bytes, ...]:
    """Return a sine as packets of 20 ms."""
    phase = np.arange(round(seconds * PEOPLE_RATE_HZ)) * (2 * np.pi * hz / PEOPLE_RATE_HZ)
    samples = np.asarray(level * np.sin(phase), np.float32)
    with Encoder(rate_hz=PEOPLE_RATE_HZ, settings=VOICE) as encoder:
        return tuple(encoder.encode(frame) for frame in samples.reshape(-1, PEOPLE_FRAME_SAMPLES))


def locked(packet: bytes, user_id: int) -> bytes:
    """Return a frame that only `unlock` with the same user opens; as a packet it would be noise."""
    return bytes(byte ^ 0x5A for byte in packet) + user_id.to_bytes(8, "big") + MARKER


def unlock(user_id: int, frame: bytes) -> bytes:
    """Return the packet in a frame; raises FrameRefused as a session does."""
    if not frame.endswith(MARKER):
        raise FrameRefused(Refusal.UNENCRYPTED)
    if frame[-10:-2] != user_id.to_bytes(8, "big"):
        raise FrameRefused(Refusal.UNDECRYPTABLE)
    return bytes(byte ^ 0x5A for byte in frame[:-10])
