"""The playout buffer of the downlink: packets go in as they come, one 20 ms frame comes out at every tick.

A model sends 80 ms at once, the network shakes it, and people's ears want an even stream. What is decoded waits
here, and three rules keep the wait short:

* **Depth follows the underruns.** The *target* is what should be left just before the next packet comes. It starts
  at the minimum, grows by one frame with every underrun and shrinks by one after `CLEAN_SECONDS` without any. An
  underrun needs no extra pause: the concealed gap itself makes the stream that much later.
* **Standing depth is given back.** The smallest depth over `WINDOW_SECONDS` is delay that nothing needs. What it has
  over the target is cut out of silence; when it is more than `STANDING_LIMIT_SECONDS`, of speech too; and what a
  flood leaves above `BURST_LIMIT_SECONDS` goes at once. Each cut is one cross-fade of 5 ms.
* **A gap is concealed, then faded.** The decoder extrapolates what it played last (libopus' own packet loss
  concealment) for `CONCEALED_FRAMES`, faded out over the last one; then there is silence until the stream is back.
  Packets that are known to be lost are concealed in their place, less what the gap before them has bridged already.

What a person cuts short is not played either: `flush` mutes it in its place, so the depth stays what the network needs.

Every sample is accounted for: what was pushed, primed, concealed and silent is what was played, what was shed and
what still waits (`PlayoutStatistics`).

Time is an argument: the arrival times that `push` is given come back out of `pop`, so the caller can tell how long
what is played has waited. Nothing here looks at a clock.
"""

from collections import Counter, deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from plexbridge.audio.opus import Decoder
from plexbridge.audio.pcm import (
    FRAMES_PER_SECOND,
    PEOPLE_FRAME_SAMPLES,
    PEOPLE_RATE_HZ,
    Samples,
    level_dbfs,
    silence,
)
from plexbridge.errors import PacketError

WINDOW_SECONDS = 0.5
"""How long the smallest depth is observed: six messages of 80 ms, so that one late message does not hide it."""
CLEAN_SECONDS = 30.0
STANDING_LIMIT_SECONDS = 0.06
BURST_LIMIT_SECONDS = 0.2
"""Depth over the target, beside one packet, that is cut at once: it can only come from a flood after a stall."""
CONCEALED_FRAMES = 3
FALLEN_SILENT_SECONDS = 0.16
"""So much silence behind speech, two messages of PersonaPlex, is more than the gap between two words."""
CAPACITY_SECONDS = 2.0
"""A hard bound on memory; a server that sends faster than it is played meets the burst limit at the next tick."""
SILENT_DBFS = -50.0
"""Frames below this may be cut out: the residue of codecs and of quiet rooms, not the end of a word."""

_FALLEN_SILENT_FRAMES = int(FALLEN_SILENT_SECONDS * FRAMES_PER_SECOND)
_CAPACITY_SAMPLES = int(CAPACITY_SECONDS * PEOPLE_RATE_HZ)
_STANDING_LIMIT_SAMPLES = int(STANDING_LIMIT_SECONDS * PEOPLE_RATE_HZ)
_BURST_LIMIT_SAMPLES = int(BURST_LIMIT_SECONDS * PEOPLE_RATE_HZ)
_FADE_SAMPLES = PEOPLE_RATE_HZ // 200  # 5 ms: too short to hear, long enough not to click
_WINDOW_FRAMES = int(WINDOW_SECONDS * FRAMES_PER_SECOND)
_CLEAN_FRAMES = int(CLEAN_SECONDS * FRAMES_PER_SECOND)
_CONCEALED_STEP_SAMPLES = PEOPLE_RATE_HZ // 100
_LOST_PACKETS_CONCEALED = 3


class Played(NamedTuple):
    """One frame for the people, and since when its parts were here."""

    samples: Samples
    """960 samples at 48 kHz, within -1..1."""
    arrived_seconds: float | None
    """The arrival time of the first sample of the model in it; None when the frame holds none."""
    message_arrivals: tuple[float, ...]
    """The arrival times of the packets whose first sample is in this frame."""


@dataclass(frozen=True, slots=True)
class PlayoutStatistics:
    """What became of the downlink, in samples at 48 kHz; `depth_samples` and `target_samples` are as of now.

    The books balance: pushed + primed + concealed + silent = 960 for every frame played + all that was shed + depth.
    """

    pushed_samples: int = 0
    primed_samples: int = 0
    """Silence put before a stream that starts or comes back, so that it starts with its target."""
    lost_packets: int = 0
    """Packets that never came: a gap in the page numbers."""
    damaged_packets: int = 0
    """Packets that are no valid Opus."""
    underruns: int = 0
    concealed_samples: int = 0
    silent_samples: int = 0
    """Silence played because nothing had come yet, or because a gap outlasted its concealment."""
    shed_silence_samples: int = 0
    shed_standing_samples: int = 0
    shed_burst_samples: int = 0
    shed_late_samples: int = 0
    """Thrown away because playback itself missed its ticks."""
    shed_flushed_samples: int = 0
    """Muted because somebody has taken over; the silence in their place counts as primed."""
    depth_samples: int = 0
    target_samples: int = 0


@dataclass(slots=True)
class _Chunk:
    """Decoded audio that waits, or silence or concealment in the place of some: then `arrived_seconds` is None."""

    samples: Samples
    arrived_seconds: float | None = None
    message_arrivals: tuple[float, ...] = ()
    """As long as the first sample of its packet is still here."""


class Playout:
    """Smooths the model's packets to frames of 20 ms; see the module's text for the rules.

    `minimum_seconds` and `maximum_seconds` bound the target, to the nearest 10 ms: the speech codec conceals in no
    smaller steps, and what is cut off such a step is a click later. The decoder is the caller's, who closes it; it
    must decode to 48 kHz mono and must be used by nothing else, since its state is what conceals.
    """

    def __init__(self, decoder: Decoder, *, minimum_seconds: float, maximum_seconds: float) -> None:
        self._decoder = decoder
        self._minimum_samples = round(minimum_seconds * 100) * _CONCEALED_STEP_SAMPLES
        self._maximum_samples = round(maximum_seconds * 100) * _CONCEALED_STEP_SAMPLES
        self._target_samples = self._minimum_samples
        self._chunks: deque[_Chunk] = deque()
        self._depth_samples = 0
        self._packet_samples = 0
        self._depths: deque[int] = deque(maxlen=_WINDOW_FRAMES)
        self._clean_frames = 0
        self._gap_frames = CONCEALED_FRAMES  # nothing has come yet: the first packet starts from silence
        self._bridged_samples = 0
        self._lost_in_a_row = 0
        self._is_end_muted = False
        self._counts: Counter[str] = Counter()  # by the names that they have in PlayoutStatistics

    def statistics(self) -> PlayoutStatistics:
        """Return the counters and the present depth."""
        return PlayoutStatistics(**self._counts, depth_samples=self._depth_samples, target_samples=self._target_samples)

    def push(self, packet: bytes, *, arrived_seconds: float, lost_packets: int = 0, is_flushed: bool = False) -> int:
        """Decode one Opus packet behind what waits; return how many samples (48 kHz) of the model it stands for.

        `lost_packets` are missing just before it. They, and the packet itself when it is no valid Opus, are
        concealed, each for this stream's packet duration; beyond three in a row they are only accounted for. A packet
        that `is_flushed` came too late for `flush`: it is decoded, since the next one builds on it, and muted.
        """
        accounted_samples = lost_packets * self._packet_samples
        if lost_packets:
            self._count(lost_packets=lost_packets)
            self._conceal_packets(lost_packets, bridged_samples=self._bridged_samples)
            self._bridged_samples = 0
        try:
            samples = self._decoder.decode(packet)
        except PacketError:
            self._count(damaged_packets=1)
            self._conceal_packets(1)
            return accounted_samples + self._packet_samples
        if self._gap_frames >= CONCEALED_FRAMES:
            # Out of silence, a packet waits for the target; after a shorter gap the gap itself was the wait.
            self._store(_Chunk(silence(self._target_samples)))
            self._count(primed_samples=self._target_samples)
        if self._gap_frames >= CONCEALED_FRAMES or self._is_end_muted:
            samples = _cross_faded(silence(samples.size), samples)
        if is_flushed:
            self._count(shed_flushed_samples=samples.size, primed_samples=samples.size)
            self._store(_Chunk(silence(samples.size)))
        else:
            self._store(_Chunk(samples, arrived_seconds, (arrived_seconds,)))
        self._packet_samples = samples.size
        self._is_end_muted = is_flushed
        self._gap_frames = self._bridged_samples = self._lost_in_a_row = 0
        self._count(pushed_samples=samples.size)
        return accounted_samples + samples.size

    def pop(self, *, is_model_slow: bool = False) -> Played:
        """Return the frame for this tick.

        While `is_model_slow`, underruns do not raise the target: depth helps against jitter only.
        """
        self._give_back_depth()
        played = self._take(PEOPLE_FRAME_SAMPLES)
        samples = played.samples
        missing_samples = PEOPLE_FRAME_SAMPLES - samples.size
        if missing_samples:
            samples = np.concatenate((samples, self._bridge_gap(missing_samples, is_model_slow=is_model_slow)))
        self._clean_frames += 1
        if self._clean_frames >= _CLEAN_FRAMES:
            self._clean_frames = 0
            self._target_samples = max(self._minimum_samples, self._target_samples - PEOPLE_FRAME_SAMPLES)
        self._depths.append(self._depth_samples)
        # A packet of random bytes that happens to be valid Opus can decode to a million times full scale.
        return Played(samples.clip(-1, 1), played.arrived_seconds, played.message_arrivals)

    def discard(self, frames: int) -> None:
        """Throw away what `frames` missed ticks should have played, so that a stall here adds no delay."""
        self._count(shed_late_samples=self._cut(frames * PEOPLE_FRAME_SAMPLES))

    @property
    def has_fallen_silent(self) -> bool:
        """Whether the model's speech waits here, and behind it silence: it has ended a sentence that still plays."""
        tail_samples = self._silent_tail_samples()
        return _FALLEN_SILENT_FRAMES * PEOPLE_FRAME_SAMPLES <= tail_samples < self._depth_samples

    def flush(self) -> None:
        """Mute what waits, up to the silence at its end, with a fade of 5 ms."""
        unwanted_samples = self._depth_samples - self._silent_tail_samples()
        dropped = self._take(unwanted_samples).samples
        if not dropped.size:
            return
        muted = _cross_faded(dropped, silence(dropped.size))
        self._is_end_muted = not self._chunks
        self._chunks.appendleft(_Chunk(muted))
        self._depth_samples += muted.size
        flushed_samples = max(0, muted.size - _FADE_SAMPLES)
        self._count(shed_flushed_samples=flushed_samples, primed_samples=flushed_samples)

    def _store(self, chunk: _Chunk) -> None:
        self._chunks.append(chunk)
        self._depth_samples += chunk.samples.size
        if self._depth_samples > _CAPACITY_SAMPLES:
            self._count(shed_burst_samples=self._cut(self._depth_samples - _CAPACITY_SAMPLES))

    def _conceal_packets(self, packets: int, *, bridged_samples: int = 0) -> None:
        """Carry the stream on in the place of `packets`, unless nothing plays that could be carried on."""
        if self._gap_frames >= CONCEALED_FRAMES:
            return
        packets = min(packets, _LOST_PACKETS_CONCEALED - self._lost_in_a_row)
        self._lost_in_a_row += packets
        wanted_samples = packets * self._packet_samples - bridged_samples
        while wanted_samples > 0:
            samples = self._decoder.conceal(min(wanted_samples, self._packet_samples))
            wanted_samples -= samples.size
            self._store(_Chunk(samples))
            self._count(concealed_samples=samples.size)

    def _take(self, wanted_samples: int) -> Played:
        """Remove up to `wanted_samples` from the head."""
        parts: list[Samples] = []
        arrived_seconds: float | None = None
        message_arrivals: tuple[float, ...] = ()
        while wanted_samples and self._chunks:
            chunk = self._chunks[0]
            if arrived_seconds is None:
                arrived_seconds = chunk.arrived_seconds
            message_arrivals += chunk.message_arrivals
            chunk.message_arrivals = ()
            part = chunk.samples[:wanted_samples]
            parts.append(part)
            wanted_samples -= part.size
            self._depth_samples -= part.size
            chunk.samples = chunk.samples[part.size :]
            if not chunk.samples.size:
                self._chunks.popleft()
        samples = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else silence(0)
        return Played(samples, arrived_seconds, message_arrivals)

    def _cut(self, unwanted_samples: int) -> int:
        """Remove the head, fading from it into what follows; return how much was removed.

        The last frame always stays: only from what was decoded last can a gap be concealed without a click.
        """
        unwanted_samples = min(unwanted_samples, self._depth_samples - PEOPLE_FRAME_SAMPLES)
        if unwanted_samples <= 0:
            return 0
        dropped = self._take(unwanted_samples).samples
        seam = self._take(min(_FADE_SAMPLES, unwanted_samples))
        blended = _cross_faded(dropped[: seam.samples.size], seam.samples)
        self._chunks.appendleft(_Chunk(blended, seam.arrived_seconds, seam.message_arrivals))
        self._depth_samples += blended.size
        self._depths.clear()  # what was measured is no longer there
        return unwanted_samples

    def _give_back_depth(self) -> None:
        surplus_samples = self._depth_samples - self._packet_samples - self._target_samples
        if surplus_samples > _BURST_LIMIT_SAMPLES:
            self._count(shed_burst_samples=self._cut(surplus_samples))
        if len(self._depths) < _WINDOW_FRAMES:
            return
        surplus_samples = min(self._depths) - self._target_samples
        if surplus_samples < PEOPLE_FRAME_SAMPLES:
            return
        if self._is_silent_ahead(surplus_samples):
            self._count(shed_silence_samples=self._cut(surplus_samples))
        elif self._is_silent_ahead(PEOPLE_FRAME_SAMPLES):
            self._count(shed_silence_samples=self._cut(PEOPLE_FRAME_SAMPLES))
        elif surplus_samples > _STANDING_LIMIT_SAMPLES:
            self._count(shed_standing_samples=self._cut(surplus_samples))

    def _silent_tail_samples(self) -> int:
        """Return how much of the end is silent, in whole steps of 20 ms; all that waits when there is no other end."""
        tail_samples = 0
        for chunk in reversed(self._chunks):
            for end in range(chunk.samples.size, 0, -PEOPLE_FRAME_SAMPLES):
                frame = chunk.samples[max(0, end - PEOPLE_FRAME_SAMPLES) : end]
                if level_dbfs(frame) >= SILENT_DBFS:
                    return tail_samples
                tail_samples += frame.size
        return tail_samples

    def _is_silent_ahead(self, count_samples: int) -> bool:
        """Say whether so much, and what would be faded in behind it, is silent in every 20 ms."""
        ahead = np.concatenate([chunk.samples for chunk in self._chunks])[: count_samples + _FADE_SAMPLES]
        starts = range(0, ahead.size, PEOPLE_FRAME_SAMPLES)
        return all(level_dbfs(ahead[start : start + PEOPLE_FRAME_SAMPLES]) < SILENT_DBFS for start in starts)

    def _bridge_gap(self, missing_samples: int, *, is_model_slow: bool) -> Samples:
        if self._gap_frames >= CONCEALED_FRAMES:
            self._count(silent_samples=missing_samples)
            return silence(missing_samples)
        if self._gap_frames == 0:
            self._count(underruns=1)
            if not is_model_slow:
                self._target_samples = min(self._maximum_samples, self._target_samples + PEOPLE_FRAME_SAMPLES)
                self._clean_frames = 0
        self._gap_frames += 1
        self._bridged_samples += missing_samples
        self._count(concealed_samples=missing_samples)
        concealment = self._decoder.conceal(missing_samples)
        if self._gap_frames == CONCEALED_FRAMES:
            concealment *= np.linspace(1, 0, missing_samples, dtype=np.float32)
        return concealment

    def _count(self, **increments: int) -> None:
        for name, value in increments.items():
            self._counts[name] += value


def _cross_faded(before: Samples, after: Samples) -> Samples:
    """Return `after`, faded into from `before` over its first 5 ms."""
    rise = np.linspace(0, 1, min(_FADE_SAMPLES, after.size), endpoint=False, dtype=np.float32)
    faded = after.copy()
    faded[: rise.size] = before[: rise.size] * (1 - rise) + after[: rise.size] * rise
    return faded
