"""Everybody's datagrams in, one mixed frame every 20 ms out: the receiving half of a Discord voice connection.

A datagram goes through transport decryption (`rtp.py`) to its SSRC's user, whose stream (`stream.py`) removes
duplicates and end-to-end encryption, orders and decodes. At every tick each stream gives its next 20 ms, and they are
mixed, after what belongs to no conversation has been taken out (`audio/hearing.py`). Three rules:

* **A packet costs at most itself.** Whatever a datagram holds, it is counted and dropped, and disturbs nobody.
* **SSRC and user are told apart from audio**, on another connection, and audio often comes first. So packets of an
  unknown SSRC are held for a moment, and go on when their user is named. Of somebody who was already talking when the
  bot came, Discord may never tell; then the user is the one whose key opens the packets.
* **Only those are heard who may be.** Packets of anybody else are dropped before anything is decrypted.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from types import TracebackType
from typing import NamedTuple, Self

from plexbridge.audio.hearing import USUAL, Hearing, HearingSettings
from plexbridge.audio.mixer import mix
from plexbridge.audio.opus_packet import SILENCE_PACKET
from plexbridge.audio.pcm import UPLINK_FRAME_SAMPLES, Samples, level_dbfs
from plexbridge.audio.playout import SILENT_DBFS
from plexbridge.people.discord.rtp import DatagramRefused, Defect, RtpPacket, Transport, audio_ssrc
from plexbridge.people.discord.stream import FrameRefused, OpenFrame, SpeakerStatistics, Stream

HELD_LIMIT_PACKETS = 50
HELD_LIMIT_SECONDS = 1.0
"""How long a packet waits to be told whose it is: a second of one speaker."""
IDENTIFY_SECONDS = 0.2
"""So long it is waited for Discord's word, and between two attempts to do without."""
DEPARTED_TICKS = 50
"""A second: by then whoever has left is known to be no member of the channel any more."""
SPEAKER_LIMIT = 100
"""Streams that are kept at once, one more than an ordinary channel's greatest user limit; a decoder has 30 kB."""


class Mixed(NamedTuple):
    """20 ms of everybody who speaks."""

    samples: Samples
    """480 samples at 24 kHz, within -1..1."""
    arrived_seconds: float
    """When the latest datagram in it came in; `now_seconds` where it holds nothing that was received."""
    is_silent: bool
    speakers: frozenset[int]
    """The ids of the users who are heard in it; silence frames don't count, concealment does, and neither who is not
    attended nor what is no speech."""
    sounds: Mapping[int, Samples]
    """What everybody has sent, by user id, as it was: 480 samples at 24 kHz of each."""


@dataclass(frozen=True, slots=True)
class ReceiverStatistics:
    """What became of all datagrams since the receiver was made; reconnecting does not reset it."""

    datagrams: int = 0
    not_rtp: int = 0
    """Keepalive echoes, discovery answers, noise."""
    rtcp: int = 0
    not_audio: int = 0
    """Another payload type: video."""
    no_session: int = 0
    """Came before `connected`."""
    unauthentic: int = 0
    """Not encrypted with this session's key, or damaged."""
    malformed: int = 0
    """Extension or padding longer than the packet, or nothing left without them."""
    unheard: int = 0
    """Of users who must not be heard."""
    crowded: int = 0
    """Speakers that were turned away because too many others spoke (see `SPEAKER_LIMIT`)."""
    held: int = 0
    """Packets that had to wait to be told whose they are."""
    unclaimed: int = 0
    """Held packets that nobody claimed in time."""
    identified: int = 0
    """Speakers that Discord did not name, but who were known by their keys."""
    users: Mapping[int, SpeakerStatistics] = field(default_factory=dict)
    """Those who are here, by user id."""
    total: SpeakerStatistics = field(default_factory=SpeakerStatistics)
    """All users, those who have left included."""


class _Held(NamedTuple):
    """A packet that waits to be told whose it is."""

    packet: RtpPacket
    arrived_seconds: float
    open_frame: OpenFrame


def _opened(held: _Held, user_id: int) -> bytes | None:
    """Return what a packet holds if it is this user's."""
    try:
        return held.open_frame(user_id, held.packet.payload)
    except FrameRefused:
        return None


def _already(opus: bytes) -> OpenFrame:
    """Return what opens a packet that was opened before."""
    return lambda user_id, frame: opus


class Receiver:
    """Decrypts, orders, decodes and mixes what the people of one voice channel say; a context manager.

    A pure core: no clock, no waiting, not thread-safe. Times are seconds on any one monotonic scale. `group` returns
    all who have keys in the call, those who must not be heard too.
    """

    def __init__(self, group: Callable[[], frozenset[int]] = frozenset, hearing: HearingSettings = USUAL) -> None:
        self._group = group
        self.hearing = Hearing(hearing)
        """What becomes of each person's sound: gains, attention, speaking times."""
        self._transport: Transport | None = None
        self._heard: frozenset[int] = frozenset()
        self._streams: dict[int, Stream] = {}
        """By SSRC; the user who was named last stands last."""
        self._held: deque[_Held] = deque()
        self._tried_seconds: dict[int, float] = {}
        """When it was last tried to find out whose a held SSRC is."""
        self._former: dict[int, int] = {}
        """Whose the SSRCs were on the connection before; they mostly are the same again, but need not be."""
        self._departed: dict[int, int] = {}
        """SSRCs whose users have just left, and for how many ticks that is remembered: their last packets are nobody's.
        No longer, since news of a former connection of somebody who is still there can come late."""
        self._defects: Counter[Defect] = Counter()
        self._counts: Counter[str] = Counter()  # by the names that they have in ReceiverStatistics
        self._gone = SpeakerStatistics()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the session and free all decoders. Closing again does nothing; the counters can still be read."""
        self._transport = None
        self.hearing.close()
        self._forget_people()

    def connected(self, mode: str, secret_key: bytes) -> None:
        """A voice session has begun (op 4): forget all SSRCs and what waits, and decrypt with this key from now on.

        Raises LocalProtocolError for a mode that is not in `rtp.MODES` and for a key that is not 32 bytes.
        """
        self._transport = Transport(mode, secret_key)
        self._former |= {ssrc: stream.user_id for ssrc, stream in self._streams.items()}
        while len(self._former) > SPEAKER_LIMIT:
            del self._former[next(iter(self._former))]
        self._forget_people()

    def speaking(self, ssrc: int, user_id: int) -> None:
        """`ssrc` is `user_id`'s (op 5, each time anew); what was held of it is opened and goes on.

        An earlier SSRC of the same user is forgotten: it belonged to an earlier connection.
        """
        stream = self._streams.pop(ssrc, None)
        if stream is None or stream.user_id != user_id:
            self._end(stream)
            self.left(user_id)
            if not self._has_room():
                self._count(crowded=1)
                return
            stream = Stream(user_id)
        self._streams[ssrc] = stream
        self._departed.pop(ssrc, None)
        claimed = [held for held in self._held if held.packet.ssrc == ssrc]
        if claimed:
            self._held = deque(held for held in self._held if held.packet.ssrc != ssrc)
        for held in claimed:
            self._take(stream, held)

    def left(self, user_id: int) -> None:
        """A user has left (op 13): forget their SSRC, what waits of them, and their decoder."""
        for ssrc in [ssrc for ssrc, stream in self._streams.items() if stream.user_id == user_id]:
            self._end(self._streams.pop(ssrc))
            self._departed[ssrc] = DEPARTED_TICKS

    def set_heard(self, user_ids: Iterable[int]) -> None:
        """Hear these users and nobody else: packets of others, bots among them, are counted and dropped.

        At first nobody is heard. It stays in force over `connected` and `left`.
        """
        self._heard = frozenset(user_ids)
        for ssrc, stream in self._streams.items():
            if stream.user_id not in self._heard:
                self._end(stream)
                self._streams[ssrc] = Stream(stream.user_id)

    def push(self, datagram: bytes, *, arrived_seconds: float, open_frame: OpenFrame) -> None:
        """Take one datagram as it came from the socket, whatever it is; never raises for its content.

        `open_frame` is called for encrypted frames of users who are heard, now or, for a packet whose SSRC is not
        known yet, in `speaking`. So it has to look its session up when it is called. Silence frames are not handed to
        it: they travel in clear.
        """
        self._counts["datagrams"] += 1
        if self._transport is None:
            self._count(no_session=1)
            return
        try:
            stream = self._streams.get(audio_ssrc(datagram))
            if stream is not None and stream.user_id not in self._heard:
                self._count(unheard=1)
                return
            packet = self._transport.open(datagram)
        except DatagramRefused as refused:
            self._defects[refused.defect] += 1
            return
        if stream is None:
            self._hold(_Held(packet, arrived_seconds, open_frame))
        else:
            stream.push(packet, arrived_seconds, open_frame)

    def frame(self, now_seconds: float) -> Mixed:
        """Return the next 20 ms of the mix; call it once for every tick, after `push` of what has come."""
        if self._departed:
            self._departed = {ssrc: ticks - 1 for ssrc, ticks in self._departed.items() if ticks > 1}
        if self._held or self._tried_seconds:
            self._identify(now_seconds)
            self._forget_unclaimed(now_seconds)
        spoken = {}
        for stream in self._streams.values():
            sound = stream.frame()
            if sound is not None:
                spoken[stream.user_id] = sound
        sounds = {user_id: sound.samples for user_id, sound in spoken.items()}
        heard = self.hearing.hear(sounds, now_seconds)
        samples = mix(heard.values(), UPLINK_FRAME_SAMPLES)
        arrivals = [seconds for user_id in heard if (seconds := spoken[user_id].arrived_seconds) is not None]
        return Mixed(
            samples,
            max(arrivals, default=now_seconds),
            is_silent=not heard or level_dbfs(samples) < SILENT_DBFS,
            speakers=frozenset([user_id for user_id in heard if spoken[user_id].is_speech]),
            sounds=sounds,
        )

    def skip(self, frames: int) -> None:
        """Ticks were missed: throw away what they would have played. Call it before `push` of what came meanwhile."""
        self.hearing.skip(frames)
        for stream in self._streams.values():
            stream.skip(frames)

    def statistics(self) -> ReceiverStatistics:
        """Return the counters."""
        users = {stream.user_id: stream.statistics() for stream in self._streams.values()}
        return ReceiverStatistics(
            **self._counts,
            not_rtp=self._defects[Defect.NOT_RTP],
            rtcp=self._defects[Defect.RTCP],
            not_audio=self._defects[Defect.NOT_AUDIO],
            unauthentic=self._defects[Defect.UNAUTHENTIC],
            malformed=self._defects[Defect.MALFORMED],
            users=users,
            total=sum(users.values(), self._gone),
        )

    def _take(self, stream: Stream, held: _Held) -> None:
        if stream.user_id not in self._heard:
            self._count(unheard=1)
            return
        stream.push(held.packet, held.arrived_seconds, held.open_frame)

    def _hold(self, held: _Held) -> None:
        self._count(held=1)
        self._held.append(held)
        if len(self._held) > HELD_LIMIT_PACKETS:
            self._held.popleft()
            self._count(unclaimed=1)

    def _identify(self, now_seconds: float) -> None:
        """Find out by their keys whose packets they are that have been held for a while."""
        for index, held in enumerate(tuple(self._held)):
            ssrc = held.packet.ssrc
            since_seconds = max(held.arrived_seconds, self._tried_seconds.get(ssrc, -inf))
            if now_seconds - since_seconds < IDENTIFY_SECONDS or ssrc in self._departed:
                continue
            if held.packet.payload == SILENCE_PACKET:
                continue  # it has no key
            self._tried_seconds[ssrc] = now_seconds
            owner = self._owner(held)
            if owner is not None:
                user_id, opus = owner
                # A key opens a packet only once.
                self._held[index] = held._replace(open_frame=_already(opus))
                self._count(identified=1)
                self.speaking(ssrc, user_id)
                return  # what is held has changed; others have their turn in the next tick

    def _owner(self, held: _Held) -> tuple[int, bytes] | None:
        """Return who has sent a packet, and what is in it; None if that is nobody, or several without keys."""
        named = {stream.user_id for stream in self._streams.values()}
        candidates = {
            user_id: opus
            for user_id in sorted((self._heard | self._group()) - named)
            if (opus := _opened(held, user_id)) is not None
        }
        if len(candidates) == 1:
            return candidates.popitem()
        former = self._former.get(held.packet.ssrc)
        return None if former not in candidates else (former, candidates[former])

    def _forget_unclaimed(self, now_seconds: float) -> None:
        while self._held and now_seconds - self._held[0].arrived_seconds > HELD_LIMIT_SECONDS:
            self._held.popleft()
            self._count(unclaimed=1)
        if not self._held:
            self._tried_seconds.clear()

    def _has_room(self) -> bool:
        """Say whether one more stream can be kept, after ending one that is silent if need be."""
        if len(self._streams) < SPEAKER_LIMIT:
            return True
        idle = next((ssrc for ssrc, stream in self._streams.items() if stream.is_idle), None)
        if idle is None:
            return False
        self._end(self._streams.pop(idle))
        return True

    def _forget_people(self) -> None:
        while self._streams:
            self._end(self._streams.popitem()[1])
        self._count(unclaimed=len(self._held))
        self._held.clear()
        self._tried_seconds.clear()
        self._departed.clear()

    def _end(self, stream: Stream | None) -> None:
        """Free a stream that stands in no table any more; its counters stay in the total."""
        if stream is not None:
            self._gone += stream.statistics()
            stream.close()

    def _count(self, **increments: int) -> None:
        for name, value in increments.items():
            self._counts[name] += value
