"""The jitter buffer of one speaker: packets go in as the network brings them, and come out in order and on time.

`tick` says that 20 ms have passed, and `pop` answers what comes next in the speech: a packet, `Lost` (conceal so
much), or `IDLE` (nothing is being said). It is asked as often as audio is wanted, so packets may last 2.5 to 120 ms.

* **A talk spurt** begins with a packet after silence, which first waits for the *depth*. It ends with a silence
  packet that nothing follows, with a pause that the sender made (the timestamp jumps, the sequence number does not),
  or when concealing has lasted for `CONCEALED_SAMPLES`. What is missing between spurts is not lost, and timestamps are
  never compared across them: some senders' clocks stand still in silence, and others' go on.
* **A gap is concealed first and explained afterwards.** When the next packet has come by then, it was late, and the
  speech goes on that much later; when a packet behind the gap has, it was lost, and the concealment has filled its
  place exactly: no delay is left. What comes after its place was filled is too late and is dropped.
* **The depth follows the network.** It covers the lateness seen in the last `HISTORY_PERIODS` seconds of speech, but
  for the worst of them, so that a single stall does not count. Each spurt starts with it, so all delay that a spurt
  has built up ends with the spurt. Within one, depth that is wanting is made up for at the next gap, and what was of
  no use for a second is left out, but for a frame that is tolerated; so a sender whose clock runs fast builds up no
  delay in speech without a pause.
* **Nothing is played late.** Of a burst, the newest `LIMIT_SAMPLES` stay and the rest is shed, and so is a packet that
  has waited for as long, whatever held it up.

Time is counted in ticks; nothing here looks at a clock. Sequence numbers wrap at 16 bits and timestamps at 32.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from plexbridge.audio.opus_packet import OPUS_CLOCK_HZ, SILENCE_PACKET, duration_samples
from plexbridge.audio.pcm import FRAMES_PER_SECOND
from plexbridge.people.discord.rtp import sequence_distance, timestamp_distance

TICK_SAMPLES = OPUS_CLOCK_HZ // FRAMES_PER_SECOND
"""Durations here are in samples at 48 kHz, the clock of Opus' RTP timestamps (RFC 7587 section 4.1)."""

START_FRAMES = 2
"""The depth until the network is known: a packet waits for one more, which is 20 to 40 ms."""
LIMIT_FRAMES = 6
LIMIT_SAMPLES = LIMIT_FRAMES * TICK_SAMPLES
"""The greatest depth, 120 ms; more is a burst. It bounds memory too: of the shortest packets, 48 last so long."""
CONCEALED_SAMPLES = 3 * TICK_SAMPLES
"""Beyond 60 ms, concealment is a guess that nobody should hear."""
PERIOD_PACKETS = 50
"""One period of measuring, a second of speech in the usual packets of 20 ms."""
HISTORY_PERIODS = 10
TOLERATED_FRAMES = 1
"""So much more depth than need be is left alone within a spurt: each correction leaves a word incomplete."""

_MISORDER_PACKETS = 128
"""What is further behind than this was not late on the way: its sender may have started anew (RFC 3550, A.1)."""
_SHORTEST_CONCEALMENT_SAMPLES = OPUS_CLOCK_HZ // 100  # the speech codec conceals in no smaller steps


@dataclass(frozen=True, slots=True)
class Packet:
    """The Opus packet that is to be played now."""

    data: bytes
    duration_samples: int
    arrived_seconds: float


@dataclass(frozen=True, slots=True)
class Lost:
    """So much is missing, and should be concealed."""

    duration_samples: int
    is_last: bool
    """Nothing that could be played follows it as yet, and nothing more will be concealed."""


class Idle(Enum):
    """Nothing is being said."""

    IDLE = "idle"


IDLE = Idle.IDLE


@dataclass(frozen=True, slots=True)
class JitterStatistics:
    """What became of the packets, and the depth in frames of 20 ms that the next talk spurt will start with."""

    played: int = 0
    lost: int = 0
    """Missing when their place came, the late ones among them."""
    late: int = 0
    duplicate: int = 0
    shed: int = 0
    """Thrown away to give back delay: of a burst, standing depth, or for ticks that were skipped."""
    waiting: int = 0
    depth_frames: int = START_FRAMES


@dataclass(frozen=True, slots=True)
class _Waiting:
    sequence: int
    timestamp: int
    packet: Packet
    arrived_tick: int


class JitterBuffer:
    """Orders one speaker's packets and decides when each is played; see the module's text for the rules.

    `measure` returns how long a packet lasts, in samples at 48 kHz, and raises PacketError for what is none.
    """

    def __init__(self, measure: Callable[[bytes], int] = duration_samples) -> None:
        self._measure = measure
        self._waiting: list[_Waiting] = []
        self._tick = 0
        self._is_playing = False
        self._is_after_silence = False
        self._last_sequence: int | None = None
        self._next_timestamp = 0
        self._concealed_samples = 0
        self._lost_step_samples = TICK_SAMPLES
        self._unwanted_samples = 0
        self._restart_sequence: int | None = None
        self._depth = _Depth()
        self._counts: Counter[str] = Counter()  # by the names that they have in JitterStatistics

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being said and nothing waits."""
        return not self._waiting and not self._is_playing

    def statistics(self) -> JitterStatistics:
        """Return the counters, how many packets wait, and the depth."""
        return JitterStatistics(**self._counts, waiting=len(self._waiting), depth_frames=self._depth.frames)

    def push(self, sequence: int, timestamp: int, packet: bytes, *, arrived_seconds: float) -> None:
        """Take one packet in; raises PacketError when it is none.

        A packet that was played already can't be told from a late one: whoever feeds the buffer removes duplicates.
        """
        waiting = _Waiting(sequence, timestamp, Packet(packet, self._measure(packet), arrived_seconds), self._tick)
        if not self._is_ahead(waiting):
            return
        place = len(self._waiting)
        while place and sequence_distance(sequence, self._waiting[place - 1].sequence) < 0:
            place -= 1
        if place and self._waiting[place - 1].sequence == sequence:
            self._count(duplicate=1)
            return
        self._waiting.insert(place, waiting)
        while len(self._waiting) > 1 and self._waiting_samples() > LIMIT_SAMPLES:
            self._shed()

    def pop(self) -> Packet | Lost | Idle:
        """Return what comes next in the speech, from where the last answer ended."""
        self._shed_what_is_unwanted()
        if self._is_playing and self._is_over():
            self._is_playing = False
        if not self._is_playing:
            if not self._is_deep_enough():
                return IDLE
            self._start()
        return self._play() if self._is_next_here() else self._conceal()

    def tick(self, count: int = 1) -> None:
        """`count` times 20 ms have passed."""
        self._tick += count

    def leave_out(self, samples: int) -> None:
        """Leave so much out of the speech, whether it is here or comes before the next `pop`."""
        if self._is_playing:
            self._unwanted_samples += samples

    # Coming in

    def _is_ahead(self, waiting: _Waiting) -> bool:
        """Say whether the packet's place has not passed, and count it if it has."""
        if self._last_sequence is None:
            return True
        distance = sequence_distance(waiting.sequence, self._last_sequence)
        if distance > 0:
            return True
        if distance <= -_MISORDER_PACKETS:
            if waiting.sequence == self._restart_sequence:
                self._restart()
                return True
            self._restart_sequence = (waiting.sequence + 1) % 0x1_0000
        elif self._is_playing:
            self._depth.arrived(waiting)
        self._count(late=1)
        return False

    def _restart(self) -> None:
        """The sender counts from somewhere else: two packets in a row far behind all others can't be late."""
        self._waiting.clear()
        self._is_playing = False
        self._last_sequence = self._restart_sequence = None

    def _waiting_samples(self) -> int:
        return sum(waiting.packet.duration_samples for waiting in self._waiting)

    # Going out

    def _shed_what_is_unwanted(self) -> None:
        while self._waiting and (
            self._unwanted_samples >= self._waiting[0].packet.duration_samples or self._waited_frames() >= LIMIT_FRAMES
        ):
            self._shed()
        self._unwanted_samples = 0

    def _waited_frames(self) -> int:
        """Return how many ticks the first that waits was not needed at."""
        return self._tick - self._waiting[0].arrived_tick

    def _is_deep_enough(self) -> bool:
        """Say whether what waits has come early enough, or is enough, to start a talk spurt with."""
        if not self._waiting:
            return False
        behind_first_samples = self._waiting_samples() - self._waiting[0].packet.duration_samples
        return max(self._waited_frames(), behind_first_samples // TICK_SAMPLES) + 1 >= self._depth.frames

    def _start(self) -> None:
        first = self._waiting[0]
        self._is_playing = True
        self._next_timestamp = first.timestamp
        self._last_sequence = first.sequence - 1
        self._depth.start_spurt()

    def _is_over(self) -> bool:
        """Say whether the talk spurt has ended, though a new one may be waiting already."""
        is_given_up = self._is_after_silence or self._concealed_samples >= CONCEALED_SAMPLES
        if not self._waiting:
            return is_given_up
        if self._gap(self._waiting[0]) <= self._concealed_samples:
            return False
        return is_given_up or self._missing(self._waiting[0]) == 0

    def _gap(self, waiting: _Waiting) -> int:
        """Return how much should have been played before this packet and is not here."""
        return timestamp_distance(waiting.timestamp, self._next_timestamp)

    def _missing(self, waiting: _Waiting) -> int:
        """Return how many packets before this one never came."""
        return 0 if self._last_sequence is None else sequence_distance(waiting.sequence, self._last_sequence) - 1

    def _is_next_here(self) -> bool:
        """Say whether the first that waits is to be played, the gap before it being filled."""
        if not self._waiting or self._gap(self._waiting[0]) > self._concealed_samples:
            return False
        # Where the network asks for more depth, a gap that is being concealed anyway is the place to make it.
        can_deepen = self._gap(self._waiting[0]) > 0 and self._concealed_samples < CONCEALED_SAMPLES
        return self._waited_frames() + 1 >= self._depth.frames or not can_deepen

    def _play(self) -> Packet:
        first = self._waiting[0]
        self._count(played=1, lost=self._missing(first) if self._gap(first) > 0 else 0)
        surplus_frames = self._depth.played(first, waited_frames=self._waited_frames())
        self._unwanted_samples += max(0, surplus_frames - TOLERATED_FRAMES) * TICK_SAMPLES
        self._pass_first()
        return first.packet

    def _conceal(self) -> Lost:
        step_samples = min(self._lost_step_samples, CONCEALED_SAMPLES - self._concealed_samples)
        self._concealed_samples += step_samples
        is_followed = bool(self._waiting) and self._gap(self._waiting[0]) <= self._concealed_samples
        return Lost(step_samples, is_last=self._concealed_samples >= CONCEALED_SAMPLES and not is_followed)

    def _shed(self) -> None:
        """Throw the first that waits away."""
        self._unwanted_samples -= self._waiting[0].packet.duration_samples
        self._count(shed=1)
        self._pass_first()

    def _pass_first(self) -> None:
        first = self._waiting.pop(0)
        self._last_sequence = first.sequence
        self._next_timestamp = first.timestamp + first.packet.duration_samples
        self._is_after_silence = first.packet.data == SILENCE_PACKET
        self._concealed_samples = 0
        is_short = first.packet.duration_samples < TICK_SAMPLES
        self._lost_step_samples = _SHORTEST_CONCEALMENT_SAMPLES if is_short else TICK_SAMPLES

    def _count(self, **increments: int) -> None:
        for name, value in increments.items():
            self._counts[name] += value


class _Depth:
    """How many frames a talk spurt starts with: one, and as many as packets are late against the quickest."""

    def __init__(self) -> None:
        self._history = deque([START_FRAMES - 1] * HISTORY_PERIODS, maxlen=HISTORY_PERIODS)
        self._packets = 0
        self._spread_samples = 0
        self._longest_wait_frames = 0
        self._reference_timestamp: int | None = None
        self._quickest_samples = self._slowest_samples = 0

    @property
    def frames(self) -> int:
        """The depth, 1 to `LIMIT_FRAMES`."""
        return 1 + sorted(self._history)[-2]

    def start_spurt(self) -> None:
        """Timestamps from here on have nothing to do with those before."""
        self._reference_timestamp = None

    def arrived(self, waiting: _Waiting) -> None:
        """Note how late a packet came that has been played or has come too late; what is shed says nothing."""
        self._packets += 1
        if self._reference_timestamp is None:
            self._reference_timestamp = waiting.timestamp
            self._quickest_samples = self._slowest_samples = waiting.arrived_tick * TICK_SAMPLES
        transit_samples = waiting.arrived_tick * TICK_SAMPLES - timestamp_distance(
            waiting.timestamp, self._reference_timestamp
        )
        self._quickest_samples = min(self._quickest_samples, transit_samples)
        self._slowest_samples = max(self._slowest_samples, transit_samples)
        self._spread_samples = max(self._spread_samples, self._slowest_samples - self._quickest_samples)

    def played(self, waiting: _Waiting, *, waited_frames: int) -> int:
        """Note a packet that is played; at the end of a period, return by how much it was deeper than need be."""
        self.arrived(waiting)
        self._longest_wait_frames = max(self._longest_wait_frames, waited_frames)
        if self._packets < PERIOD_PACKETS:
            return 0
        self._history.append(min(-(-self._spread_samples // TICK_SAMPLES), LIMIT_FRAMES - 1))
        surplus_frames = self._longest_wait_frames + 1 - self.frames
        self._packets = self._spread_samples = self._longest_wait_frames = 0
        self._reference_timestamp = None
        return surplus_frames
