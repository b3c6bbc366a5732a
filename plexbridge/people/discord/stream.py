"""One user's SSRC: RTP packets without transport encryption go in, 20 ms of sound come out at every tick.

On the way lie the duplicate check and end-to-end decryption (DAVE), which the caller brings as a function. Duplicates
go first: DAVE's library refuses a nonce that it has seen, with an error that says nothing of that. What is still
encrypted never reaches Opus, where it would sound like speech to a model.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from enum import Enum

from plexbridge.audio.opus import Decoder
from plexbridge.audio.opus_packet import SILENCE_PACKET
from plexbridge.audio.pcm import MODEL_RATE_HZ, UPLINK_FRAME_SAMPLES
from plexbridge.audio.speaker import Speaker, Spoken
from plexbridge.errors import PacketError
from plexbridge.people.discord.rtp import RtpPacket, SequenceWindow


class Refusal(Enum):
    """Why an end-to-end encrypted frame can't be opened."""

    NOT_READY = "there is no session with its sender yet"
    UNENCRYPTED = "it came in clear though the call is encrypted"
    UNDECRYPTABLE = "no key of the session opens it"


class FrameRefused(PacketError):
    """One frame that end-to-end encryption (DAVE) does not let through; it is counted by `reason` and dropped."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


OpenFrame = Callable[[int, bytes], bytes | None]
"""Takes a user id and a frame, and returns the Opus packet in it. Raises FrameRefused; None is `Refusal.NOT_READY`."""


@dataclass(frozen=True, slots=True)
class SpeakerStatistics:
    """What became of one user's packets; counts are packets where the name does not say otherwise."""

    received: int = 0
    silence: int = 0
    """Frames of silence, which travel in clear and prove nothing."""
    duplicate: int = 0
    not_ready: int = 0
    unencrypted: int = 0
    undecryptable: int = 0
    corrupt: int = 0
    """No valid Opus packet, though everything else was right."""
    late: int = 0
    lost: int = 0
    """Missing when their place came, the late ones among them."""
    shed: int = 0
    """Thrown away to give back delay: a burst, standing depth, or our own missed ticks."""
    decoded: int = 0
    concealed_frames: int = 0
    depth_frames: int = 0
    """The depth that the next talk spurt starts with, in frames of 20 ms; in a sum, the deepest."""

    @property
    def speech(self) -> int:
        """Packets in which something was said, whether or not it could be understood."""
        return self.received - self.silence - self.duplicate

    @property
    def good(self) -> int:
        """Packets of speech that were opened and are Opus."""
        return self.speech - self.not_ready - self.unencrypted - self.undecryptable - self.corrupt

    def __add__(self, other: "SpeakerStatistics") -> "SpeakerStatistics":
        sums = {field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        return SpeakerStatistics(**sums | {"depth_frames": max(self.depth_frames, other.depth_frames)})


class Stream:
    """What one user says under one SSRC; the decoder exists from the first packet to `close`."""

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self._window = SequenceWindow()
        self._speaker: Speaker | None = None
        self._received = self._duplicate = self._silence = 0
        self._refused: Counter[Refusal] = Counter()

    @property
    def is_idle(self) -> bool:
        """Whether the user is silent and nothing of theirs waits."""
        return self._speaker is None or self._speaker.is_idle

    def close(self) -> None:
        """Free the decoder; the stream can't be used afterwards."""
        if self._speaker is not None:
            self._speaker.close()

    def push(self, packet: RtpPacket, arrived_seconds: float, open_frame: OpenFrame) -> None:
        """Take one packet; what is no news, can't be opened or is no Opus is counted and dropped."""
        self._received += 1
        if not self._window.add(packet.sequence):
            self._duplicate += 1
            return
        try:
            opus = self._opened(packet.payload, open_frame)
        except FrameRefused as refused:
            self._refused[refused.reason] += 1
            return
        if self._speaker is None:
            self._speaker = Speaker(Decoder(rate_hz=MODEL_RATE_HZ))
        self._speaker.push(packet.sequence, packet.timestamp, opus, arrived_seconds=arrived_seconds)

    def _opened(self, payload: bytes, open_frame: OpenFrame) -> bytes:
        if payload == SILENCE_PACKET:
            self._silence += 1
            return payload
        opus = open_frame(self.user_id, payload)
        if opus is None:
            raise FrameRefused(Refusal.NOT_READY)
        return opus

    def frame(self) -> Spoken | None:
        """Return this tick's frame, or None while the user is silent."""
        return None if self._speaker is None else self._speaker.frame()

    def skip(self, frames: int) -> None:
        """Throw away what `frames` missed ticks would have played."""
        if self._speaker is not None:
            self._speaker.skip(frames)

    def statistics(self) -> SpeakerStatistics:
        """Return the counters."""
        counts = SpeakerStatistics(
            received=self._received,
            silence=self._silence,
            duplicate=self._duplicate,
            not_ready=self._refused[Refusal.NOT_READY],
            unencrypted=self._refused[Refusal.UNENCRYPTED],
            undecryptable=self._refused[Refusal.UNDECRYPTABLE],
        )
        if self._speaker is None:
            return counts
        sound = self._speaker.statistics()
        return replace(
            counts,
            corrupt=sound.corrupt_packets,
            late=sound.jitter.late,
            lost=sound.jitter.lost,
            shed=sound.jitter.shed,
            decoded=sound.decoded_packets,
            concealed_frames=-(-sound.concealed_samples // UPLINK_FRAME_SAMPLES),
            depth_frames=sound.jitter.depth_frames,
        )
