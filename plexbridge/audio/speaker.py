"""One speaker's packets to one frame of sound at every tick: the jitter buffer's answers, decoded.

Packets may last anything from 2.5 to 120 ms; what is left of one after a frame waits for the next. What is lost is
concealed by the speaker's own decoder, which knows what was said before.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from plexbridge.audio.jitter import IDLE, JitterBuffer, JitterStatistics, Lost, Packet
from plexbridge.audio.opus_packet import OPUS_CLOCK_HZ, SILENCE_PACKET, duration_samples
from plexbridge.audio.pcm import MODEL_RATE_HZ, UPLINK_FRAME_SAMPLES, Samples, silence
from plexbridge.errors import PacketError

_CLOCK_PER_SAMPLE = OPUS_CLOCK_HZ // MODEL_RATE_HZ
_FADE_SAMPLES = MODEL_RATE_HZ // 200  # 5 ms: too short to hear, long enough not to click


class PacketDecoder(Protocol):
    """What turns packets into sound at 24 kHz: `opus.Decoder`, `pcm16.Pcm16Decoder`."""

    def decode(self, packet: bytes) -> Samples:
        """Return what a packet holds; raises PacketError."""

    def conceal(self, count_samples: int) -> Samples:
        """Return a guess at so much that is missing."""

    def close(self) -> None:
        """Free what it holds."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """20 ms of one speaker."""

    samples: Samples
    """480 samples at 24 kHz; a decoder may exceed full scale."""
    arrived_seconds: float | None
    """The arrival of the latest packet in it; None when it holds concealment only."""
    is_speech: bool
    """Whether it is more than the silence packets that end a talk spurt."""


@dataclass(frozen=True, slots=True)
class SoundStatistics:
    """What was made of the packets; `jitter` tells what became of those that were not decoded."""

    jitter: JitterStatistics
    corrupt_packets: int
    """No valid Opus: refused when they came, or by the decoder."""
    decoded_packets: int
    concealed_samples: int
    """At 24 kHz."""


class Speaker:
    """One person's stream; it owns `decoder` and closes it. `measure` is the jitter buffer's, for its packets."""

    def __init__(self, decoder: PacketDecoder, measure: Callable[[bytes], int] = duration_samples) -> None:
        self._decoder = decoder
        self._jitter = JitterBuffer(measure)
        self._ready = silence(0)
        self._arrived_seconds: float | None = None
        self._is_speech = False
        self._is_faded_out = False
        self._corrupt_packets = self._decoded_packets = self._concealed_samples = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being said and nothing waits."""
        return self._jitter.is_idle

    def close(self) -> None:
        """Free the decoder; the speaker can't be used afterwards."""
        self._decoder.close()

    def statistics(self) -> SoundStatistics:
        """Return the counters."""
        return SoundStatistics(
            self._jitter.statistics(), self._corrupt_packets, self._decoded_packets, self._concealed_samples
        )

    def push(self, sequence: int, timestamp: int, packet: bytes, *, arrived_seconds: float) -> None:
        """Take one packet in; what is none is counted and dropped."""
        try:
            self._jitter.push(sequence, timestamp, packet, arrived_seconds=arrived_seconds)
        except PacketError:
            self._corrupt_packets += 1

    def frame(self) -> Spoken | None:
        """Return this tick's frame, or None when the speaker is silent; call it once for every tick."""
        while self._ready.size < UPLINK_FRAME_SAMPLES:
            answer = self._jitter.pop()
            if answer is IDLE:
                break
            sound = self._conceal(answer) if isinstance(answer, Lost) else self._decode(answer)
            self._ready = np.concatenate((self._ready, sound))
        self._jitter.tick()
        if not self._ready.size:
            return None
        samples, self._ready = self._ready[:UPLINK_FRAME_SAMPLES], self._ready[UPLINK_FRAME_SAMPLES:]
        if samples.size < UPLINK_FRAME_SAMPLES:
            samples = np.concatenate((samples, silence(UPLINK_FRAME_SAMPLES - samples.size)))
        spoken = Spoken(samples, self._arrived_seconds, self._is_speech)
        if not self._ready.size:
            self._arrived_seconds, self._is_speech = None, False
        return spoken

    def skip(self, frames: int) -> None:
        """Throw away what `frames` missed ticks would have played, whether it is here or comes at once."""
        missed_samples = frames * UPLINK_FRAME_SAMPLES
        ready_samples = min(missed_samples, self._ready.size)
        self._ready = self._ready[ready_samples:]
        self._jitter.tick(frames)
        self._jitter.leave_out((missed_samples - ready_samples) * _CLOCK_PER_SAMPLE)

    def _decode(self, packet: Packet) -> Samples:
        self._arrived_seconds = packet.arrived_seconds
        self._is_speech = self._is_speech or packet.data != SILENCE_PACKET
        try:
            samples = self._decoder.decode(packet.data)
        except PacketError:  # its framing is right, or it would not have come so far; libopus has the last word
            self._corrupt_packets += 1
            return self._guess(packet.duration_samples)
        self._decoded_packets += 1
        if self._is_faded_out:
            self._is_faded_out = False
            rise = np.linspace(0, 1, min(_FADE_SAMPLES, samples.size), endpoint=False, dtype=np.float32)
            samples[: rise.size] *= rise
        return samples

    def _conceal(self, lost: Lost) -> Samples:
        self._is_speech = True
        samples = self._guess(lost.duration_samples)
        if lost.is_last:
            self._is_faded_out = True
            samples *= np.linspace(1, 0, samples.size, dtype=np.float32)
        return samples

    def _guess(self, clock_samples: int) -> Samples:
        samples = self._decoder.conceal(clock_samples // _CLOCK_PER_SAMPLE)
        self._concealed_samples += samples.size
        return samples
