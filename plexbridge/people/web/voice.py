"""The person at a web page, as a session sees them: what they say in each tick, and the way back to their page.

The uplink is the same as everybody's: packets wait in a jitter buffer (`Speaker`) for their tick, and `Hearing` finds
the speech in them. TCP loses nothing and keeps the order, but holds everything back when a packet is lost below it, and
what then comes at once is shed down to the jitter buffer's limit. A page that is muted sends nothing, and its sequence
numbers go on. The browser takes the model's voice out of the microphone itself, so no echo is looked for here.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import trio

from plexbridge.audio.hearing import Hearing, HearingSettings
from plexbridge.audio.mixer import mix
from plexbridge.audio.opus import PEOPLE_DOWNLINK, Decoder, Encoder
from plexbridge.audio.pcm import (
    FRAMES_PER_SECOND,
    MODEL_RATE_HZ,
    PEOPLE_FRAME_SAMPLES,
    PEOPLE_RATE_HZ,
    UPLINK_FRAME_SAMPLES,
    Samples,
    level_dbfs,
)
from plexbridge.audio.pcm16 import Pcm16Decoder, frame_samples, pcm16_frame
from plexbridge.audio.playout import SILENT_DBFS
from plexbridge.audio.speaker import Speaker
from plexbridge.model.conversation import State
from plexbridge.people.web.downlink import Downlink
from plexbridge.people.web.levels import Levels
from plexbridge.people.web.messages import Audio, Codec, Traffic, state_message, text_message
from plexbridge.session.ledger import Distribution
from plexbridge.session.people import Frame
from plexbridge.session.response import ResponseTimes

INBOX_FRAMES = 2 * FRAMES_PER_SECOND
"""What may come between two ticks: as much as a page may send at once."""
STALE_SECONDS = 0.5
"""What has come so long before the model listens was not said to it."""

_VISITOR = 0
"""There is one person, and `Hearing` wants a name."""


@dataclass(frozen=True, slots=True)
class _Arrived:
    audio: Audio
    seconds: float


class WebPeople:
    """Implements `talk.Guests` for one page; `close` frees the codecs."""

    def __init__(
        self,
        downlink: Downlink,
        levels: Levels,
        codec: Codec,
        hearing: HearingSettings,
    ) -> None:
        self._downlink = downlink
        self._levels = levels
        is_opus = codec is Codec.OPUS
        self._encoder = Encoder(rate_hz=PEOPLE_RATE_HZ, settings=PEOPLE_DOWNLINK) if is_opus else None
        self._speaker = (
            Speaker(Decoder(rate_hz=MODEL_RATE_HZ)) if is_opus else Speaker(Pcm16Decoder(), measure=frame_samples)
        )
        self._hearing = Hearing(hearing)
        self._responses = ResponseTimes()
        self._inbox: deque[_Arrived] = deque(maxlen=INBOX_FRAMES)
        self._listened_seconds = -inf
        self._next_sequence = 0
        self._state: State | None = None
        """What the page was told last; None: that there is no model."""
        self._encoded = 0
        self._unheard = 0
        """What came while nobody listened."""
        self.listens: Callable[[], None] = _ignore
        """Called when a model does, and did not before."""

    def close(self) -> None:
        """Free the codecs, and what is borrowed."""
        self._hearing.close()
        self._speaker.close()
        if self._encoder is not None:
            self._encoder.close()

    @property
    def response_times(self) -> Distribution:
        """From the end of a sentence to the first sound of the answer."""
        return self._responses.times

    def hear(self, audio: Audio) -> None:
        """Take a packet of the page's, to be heard in the next tick."""
        self._unheard += len(self._inbox) == INBOX_FRAMES
        self._inbox.append(_Arrived(audio, trio.current_time()))

    # What a session calls

    def listen(self, due_seconds: float) -> Frame:
        """Return what is said in this tick; that the page is left is seen elsewhere."""
        now_seconds = trio.current_time()
        self._take(now_seconds)
        spoken = self._speaker.frame()
        heard = self._hearing.hear({} if spoken is None else {_VISITOR: spoken.samples}, now_seconds)
        samples = mix(heard.values(), UPLINK_FRAME_SAMPLES)
        self._responses.listened(self._hearing.last_spoke_seconds, now_seconds=now_seconds)
        if spoken is not None:
            self._levels.heard(spoken.samples.clip(-1, 1))
        arrived_seconds = None if spoken is None else spoken.arrived_seconds
        return Frame(
            samples,
            now_seconds if arrived_seconds is None else arrived_seconds,
            is_silent=level_dbfs(samples) < SILENT_DBFS,
        )

    def skip(self, frames: int) -> None:
        """Throw away what `frames` missed ticks would have brought."""
        self._hearing.skip(frames)
        self._speaker.skip(frames)

    def play(self, samples: Samples, tick: int) -> None:
        """Send a frame; sequence numbers count on over all sessions, and over what is withheld."""
        sequence, self._next_sequence = self._next_sequence, self._next_sequence + 1
        if level_dbfs(samples) > SILENT_DBFS:
            self._responses.played(now_seconds=trio.current_time())
        self._levels.played(samples)
        if not self._downlink.withholds():
            payload = pcm16_frame(samples) if self._encoder is None else self._encoder.encode(samples)
            self._encoded += 1
            self._downlink.play(Audio(sequence, payload))
        self._downlink.tell(self._levels.report(trio.current_time()))

    def show(self, text: str) -> None:
        """Show a piece of what the model says."""
        self._downlink.tell(text_message(text))

    def tell(self, state: State) -> None:
        """Show what has become of the model; `listens` is called first."""
        if state is State.LIVE and self._state not in (State.LIVE, State.TOO_SLOW):
            self.listens()
        self._change(state)

    def rest(self) -> None:
        """The model says no more for now: it is lost, unless the talk has ended."""
        self._change(None)

    def traffic(self) -> Traffic:
        """Return what was heard and made."""
        sound = self._speaker.statistics()
        return Traffic(
            decoded=sound.decoded_packets,
            lost=sound.jitter.lost,
            dropped=sound.jitter.shed + sound.jitter.late + sound.corrupt_packets + self._unheard,
            encoded=self._encoded,
        )

    def _change(self, state: State | None) -> None:
        if state is not self._state:
            self._state = state
            self._downlink.tell(state_message(state))

    def _take(self, now_seconds: float) -> None:
        """Hand on what has come; what came before the model listened, or while it was away, was not said to it."""
        was_away = now_seconds - self._listened_seconds > STALE_SECONDS
        oldest_seconds = now_seconds - STALE_SECONDS if was_away else -inf
        self._listened_seconds = now_seconds
        while self._inbox:
            arrived = self._inbox.popleft()
            if arrived.seconds < oldest_seconds:
                self._unheard += 1
                continue
            sequence = arrived.audio.sequence
            self._speaker.push(
                sequence % 0x1_0000,
                sequence * PEOPLE_FRAME_SAMPLES % 0x1_0000_0000,
                arrived.audio.payload,
                arrived_seconds=arrived.seconds,
            )


def _ignore() -> None:
    """Stand for what is done when a model listens, before there is anything to do."""
