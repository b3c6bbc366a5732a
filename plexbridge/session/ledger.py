"""The delay ledger: one definition of delay, for shedding, for status and for benchmarks alike.

What a person says and what comes back waits in three places, and the ledger keeps one figure for each:

* **up**: from the arrival of a frame of speech to its WebSocket message;
* **owed**: what the model has been sent and has not answered. A server that keeps up answers each 80 ms at once,
  whatever its own pipeline holds; so the *floor*, the least that was outstanding in the first ten seconds, is the
  model's nature, and only what exceeds it is delay. PersonaPlex never drops its backlog: the only remedy is not to
  send, which is why `withholds` answers for every frame whether it may go;
* **down**: from the arrival of a message to the playing of its samples.

Samples that the server lost would count as owed for ever, and everything would be withheld. So when nothing was sent
and nothing came for `STUCK_SECONDS`, one model frame is sent as a probe. A model that hangs does not answer it; its
backlog stays on the books, and is worked off before more is sent. A model that answers the probe, and then nothing
more, has lost the rest: that is written off, and the floor rises by it. It sinks again, down to where it was, should
the samples come after all.

The ledger never looks at a clock: `now_seconds` is an argument, on any monotonic scale.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from plexbridge.audio.ogg import OggOpusReader, OggStatistics
from plexbridge.audio.pcm import FRAME_SECONDS, MODEL_FRAME_SAMPLES, MODEL_RATE_HZ, UPLINK_FRAME_SAMPLES
from plexbridge.audio.playout import PlayoutStatistics

FLOOR_SECONDS = 10.0
"""How long the least outstanding amount is looked for."""
UNKNOWN_FLOOR_SECONDS = 2.0
"""Taken for the floor until the model has answered once. A pipeline that holds back up to that much is fed from the
start what it needs to answer without gaps; less would starve it for good. And it bounds what a model that needs
seconds for its first step is sent meanwhile."""
SILENCE_WITHHELD_ABOVE_SECONDS = 0.08
SPEECH_WITHHELD_ABOVE_SECONDS = 0.1
"""One more frame than for silence: so where there is a pause, it is the pause that is skipped."""
STUCK_SECONDS = 3.0
SLOW_FRAMES = 10
"""So many frames withheld within `SLOW_WINDOW_SECONDS` are no hiccup: the person is told."""
SLOW_WINDOW_SECONDS = 10.0
"""And so long nothing must be withheld before it is over, so that a model at the limit is not announced in turns."""
BEHIND_MESSAGES = 8
"""A model that is behind owes after each of them, 0.64 s; the network is never late for so long without a break."""


class Shed(Enum):
    """Why audio was thrown away, at one of the two doors where that is allowed, or while no door was open."""

    UPLINK_LATE = "late on the way up"
    SILENCE_WITHHELD = "silence withheld from a slow model"
    SPEECH_WITHHELD = "speech withheld from a slow model"
    DOWNLINK_SILENCE = "silence cut to give back delay"
    DOWNLINK_STANDING = "standing delay cut"
    DOWNLINK_BURST = "a burst after a stall cut"
    DOWNLINK_LATE = "late on the way down"
    DOWNLINK_FLUSHED = "the rest of an answer that somebody has cut short"
    RENEWAL = "said while the link to the model was renewed"


class Distribution:
    """Percentiles of delays in bins of one millisecond, in constant memory; all above ten seconds is one bin."""

    _BINS = 10_001

    def __init__(self) -> None:
        self._counts = [0] * self._BINS
        self.count = 0

    def add(self, seconds: float) -> None:
        """Count one delay; negative ones count as none."""
        self._counts[min(max(round(seconds * 1000), 0), self._BINS - 1)] += 1
        self.count += 1

    def percentile_seconds(self, percent: float) -> float | None:
        """Return the delay that `percent` of all do not exceed, to the millisecond; None when there are none."""
        if not self.count:
            return None
        rank = max(1, -(-self.count * percent // 100))
        seen = 0
        for milliseconds, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return milliseconds / 1000
        raise AssertionError("the bins hold fewer delays than were counted")

    @property
    def half_and_most_seconds(self) -> tuple[float, float] | None:
        """The 50th and the 95th percentile."""
        half, most = self.percentile_seconds(50), self.percentile_seconds(95)
        return None if half is None or most is None else (half, most)


@dataclass(frozen=True, slots=True)
class Delay:
    """The present delay and its parts, in seconds."""

    up_seconds: float
    owed_seconds: float
    down_seconds: float

    @property
    def total_seconds(self) -> float:
        """The delay that plexbridge and a slow model add to the conversation."""
        return self.up_seconds + self.owed_seconds + self.down_seconds


class Ledger:
    """The books of one session; stages write into it, status and shedding read it."""

    def __init__(self) -> None:
        self.frames_sent = 0
        self.samples_sent = 0
        self.samples_received = 0
        self.written_off_samples = 0
        self.messages_received = 0
        self.round_trip_seconds: float | None = None
        """Of the latest WebSocket ping."""
        self.first_sound_seconds: float | None = None
        """From the first frame sent to the first audible frame played."""
        self._playout: Callable[[], PlayoutStatistics] = PlayoutStatistics
        self._ogg: Callable[[], OggStatistics] = OggOpusReader().statistics
        self.up = Distribution()
        self.owed = Distribution()
        self.down = Distribution()
        self.down_first_sample = Distribution()
        """Arrival of a message to the playing of its first sample: `down` without the 80 ms that it spreads over."""
        self.total = Distribution()
        self._capture_shed: Counter[Shed] = Counter()
        self._withheld_at_seconds: deque[float] = deque(maxlen=SLOW_FRAMES)
        self._is_slow = False
        self._up_seconds = 0.0
        self._down_seconds = 0.0
        self._settled_samples: deque[int] = deque((0,), maxlen=BEHIND_MESSAGES)
        self._first_floor_samples: int | None = None
        self._floor_samples = round(UNKNOWN_FLOOR_SECONDS * MODEL_RATE_HZ)
        self._started_seconds: float | None = None
        self._moved_seconds = 0.0
        self._probe_end_samples = 0
        self._received_before_probe_samples: int | None = None

    # The way up

    def sent(self, samples: int, *, waited_seconds: float, now_seconds: float) -> None:
        """A message with `samples` (24 kHz) went out, `waited_seconds` after its frame had arrived."""
        if self._started_seconds is None:
            self._started_seconds = now_seconds
        self._moved_seconds = now_seconds
        self.frames_sent += 1
        self.samples_sent += samples
        self._up_seconds = waited_seconds
        self.up.add(waited_seconds)

    def withholds(self, *, is_silent: bool, now_seconds: float) -> bool:
        """Say whether the frame at hand must not be sent, because the model is behind; if so, count it."""
        limit_seconds = SILENCE_WITHHELD_ABOVE_SECONDS if is_silent else SPEECH_WITHHELD_ABOVE_SECONDS
        if self.owed_seconds <= limit_seconds:
            return False
        if self._is_probe(now_seconds):
            return False
        self._capture_shed[Shed.SILENCE_WITHHELD if is_silent else Shed.SPEECH_WITHHELD] += 1
        is_still_slow = self.is_model_slow(now_seconds)
        self._withheld_at_seconds.append(now_seconds)
        is_tenth = len(self._withheld_at_seconds) == SLOW_FRAMES
        self._is_slow = is_still_slow or (
            is_tenth and now_seconds - self._withheld_at_seconds[0] <= SLOW_WINDOW_SECONDS
        )
        return True

    def missed_uplink(self, frames: int) -> None:
        """Capture was late and has thrown `frames` away."""
        self._capture_shed[Shed.UPLINK_LATE] += frames

    def missed_in_renewal(self, frames: int) -> None:
        """People have said `frames` while one link was closed and this one not yet open."""
        self._capture_shed[Shed.RENEWAL] += frames

    # The model

    @property
    def owed_seconds(self) -> float:
        """What the model owes over its floor. A message of 80 ms that is not yet due does not count."""
        not_due_samples = self._outstanding_samples - MODEL_FRAME_SAMPLES
        owed_samples = max(self._settled_samples[-1], not_due_samples) - self._floor_samples
        return max(0, owed_samples) / MODEL_RATE_HZ

    def is_model_slow(self, now_seconds: float) -> bool:
        """Say whether so much was withheld lately that people should know."""
        return self._is_slow and now_seconds - self._withheld_at_seconds[-1] <= SLOW_WINDOW_SECONDS

    def is_model_behind(self, now_seconds: float) -> bool:
        """Say whether a gap in playback is the model's doing rather than the network's: it owes, or was not fed."""
        if min(self._settled_samples) - self._floor_samples > UPLINK_FRAME_SAMPLES:
            return True
        return bool(self._withheld_at_seconds) and now_seconds - self._withheld_at_seconds[-1] <= 1.0

    def received(self, samples: int, *, now_seconds: float) -> None:
        """The model answered with `samples` (24 kHz), those lost on the way included."""
        self._moved_seconds = now_seconds
        self.messages_received += 1
        self.samples_received += samples
        outstanding_samples = self._outstanding_samples
        self._settled_samples.append(outstanding_samples)
        is_early = self._started_seconds is not None and now_seconds - self._started_seconds <= FLOOR_SECONDS
        if self._first_floor_samples is None or (is_early and outstanding_samples < self._first_floor_samples):
            self._first_floor_samples = self._floor_samples = outstanding_samples
        elif outstanding_samples < self._floor_samples:
            self._floor_samples = max(self._first_floor_samples, outstanding_samples)

    # The way down

    def played(
        self,
        *,
        arrived_seconds: float | None,
        message_arrivals: tuple[float, ...],
        is_audible: bool,
        now_seconds: float,
    ) -> None:
        """A frame was played; its first sample had arrived at `arrived_seconds` (None: it holds none)."""
        self._down_seconds = 0.0 if arrived_seconds is None else now_seconds - arrived_seconds
        if arrived_seconds is not None:
            self.down.add(self._down_seconds)
        for arrival_seconds in message_arrivals:
            self.down_first_sample.add(now_seconds - arrival_seconds)
        if is_audible and self.first_sound_seconds is None and self._started_seconds is not None:
            self.first_sound_seconds = now_seconds - self._started_seconds
        owed_seconds = self.owed_seconds
        self.owed.add(owed_seconds)
        self.total.add(self._up_seconds + owed_seconds + self._down_seconds)

    def follow(self, playout: Callable[[], PlayoutStatistics], ogg: Callable[[], OggStatistics] | None = None) -> None:
        """Have the books of playback, and of what it reads, looked up there when they are wanted."""
        self._playout = playout
        if ogg is not None:
            self._ogg = ogg

    # Reading it

    @property
    def playout(self) -> PlayoutStatistics:
        """What became of the model's audio."""
        return self._playout()

    @property
    def ogg(self) -> OggStatistics:
        """What its messages held."""
        return self._ogg()

    @property
    def delay(self) -> Delay:
        """The delay as of now."""
        return Delay(self._up_seconds, self.owed_seconds, self._down_seconds)

    @property
    def shed_frames(self) -> Mapping[Shed, float]:
        """What was thrown away, in frames of 20 ms, by reason; reasons that did not occur are left out."""
        return {reason: frames for reason, frames in self._all_shed() if frames}

    def _all_shed(self) -> list[tuple[Shed, float]]:
        frame_samples = FRAME_SECONDS * 48_000
        playout = self.playout
        return [
            *self._capture_shed.items(),
            (Shed.DOWNLINK_SILENCE, playout.shed_silence_samples / frame_samples),
            (Shed.DOWNLINK_STANDING, playout.shed_standing_samples / frame_samples),
            (Shed.DOWNLINK_BURST, playout.shed_burst_samples / frame_samples),
            (Shed.DOWNLINK_LATE, playout.shed_late_samples / frame_samples),
            (Shed.DOWNLINK_FLUSHED, playout.shed_flushed_samples / frame_samples),
        ]

    @property
    def _outstanding_samples(self) -> int:
        return self.samples_sent - self.samples_received

    def _is_probe(self, now_seconds: float) -> bool:
        """Say whether the frame at hand goes in spite of what is owed, to find out what became of that."""
        if self.samples_sent < self._probe_end_samples:
            return True
        if now_seconds - self._moved_seconds <= STUCK_SECONDS:
            return False
        if self._has_answered_only_probe():
            self._write_off()
        else:
            self._probe_end_samples = self.samples_sent + MODEL_FRAME_SAMPLES
            self._received_before_probe_samples = self.samples_received
        return True

    def _has_answered_only_probe(self) -> bool:
        before_samples = self._received_before_probe_samples
        # The probe completes a frame of which the model may have had a part already.
        return before_samples is not None and 0 < self.samples_received - before_samples <= 2 * MODEL_FRAME_SAMPLES

    def _write_off(self) -> None:
        outstanding_samples = self._outstanding_samples
        self.written_off_samples += outstanding_samples - self._floor_samples
        self._floor_samples = outstanding_samples
        self._received_before_probe_samples = None
