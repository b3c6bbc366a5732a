"""What a simulated person hears: every packet by sender, with its arrival, and the sound of it as a WAV file."""

from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from plexbridge.audio.opus import Decoder
from plexbridge.audio.pcm import PEOPLE_FRAME_SAMPLES, PEOPLE_RATE_HZ, Samples
from plexbridge.errors import PacketError

HEARD_LIMIT_PACKETS = 30_000
HOLD_LIMIT_PACKETS = 50
NEW_SPURT_SECONDS = 0.2
"""A packet that comes this much off its RTP timestamp begins a new talk spurt, placed by its arrival."""

Protection = Literal["dave", "clear", "silence"]


@dataclass(frozen=True, slots=True)
class Heard:
    """One Opus packet that reached a person, with DAVE taken off."""

    at_seconds: float
    sequence: int
    timestamp: int
    opus: bytes
    protection: Protection


class Hearing:
    """Everything that one person heard, by user id of the sender."""

    def __init__(self) -> None:
        self.packets: dict[int, deque[Heard]] = {}
        self.counters: Counter[str] = Counter()

    def add(self, sender_id: int, heard: Heard) -> None:
        """Keep a packet."""
        self.packets.setdefault(sender_id, deque(maxlen=HEARD_LIMIT_PACKETS)).append(heard)

    def clear(self) -> None:
        """Forget everything heard so far."""
        self.packets.clear()
        self.counters.clear()

    def sound(self, sender_id: int) -> Samples:
        """Return what was heard of a sender at 48 kHz, from its first packet on, pauses included."""
        heard = sorted(self.packets.get(sender_id, ()), key=lambda packet: packet.at_seconds)
        if not heard:
            return np.zeros(0, np.float32)
        start_seconds = heard[0].at_seconds
        total = round((heard[-1].at_seconds - start_seconds + 1.0) * PEOPLE_RATE_HZ)
        sound = np.zeros(total, np.float32)
        anchor_samples, anchor_timestamp = 0, heard[0].timestamp
        with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
            for packet in heard:
                try:
                    pcm = decoder.decode(packet.opus)
                except PacketError:
                    self.counters["undecodable"] += 1
                    continue
                arrival_samples = round((packet.at_seconds - start_seconds) * PEOPLE_RATE_HZ)
                elapsed = (packet.timestamp - anchor_timestamp + (1 << 31)) % (1 << 32) - (1 << 31)
                position = anchor_samples + elapsed
                if abs(position - arrival_samples) > NEW_SPURT_SECONDS * PEOPLE_RATE_HZ:
                    anchor_samples, anchor_timestamp = arrival_samples, packet.timestamp
                    position = arrival_samples
                position = max(position, 0)
                room = sound[position : position + len(pcm)]
                room[:] = pcm[: len(room)]
        return sound[: total - PEOPLE_RATE_HZ + PEOPLE_FRAME_SAMPLES * 2]

    def write_wav(self, sender_id: int, path: Path) -> int:
        """Write what was heard of a sender; return its number of samples."""
        sound = self.sound(sender_id)
        soundfile.write(path, sound, PEOPLE_RATE_HZ, subtype="PCM_16")
        return len(sound)
