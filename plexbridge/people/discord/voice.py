"""The people of one Discord voice channel, as a session sees them: everybody heard as one, everybody told alike.

`DiscordPeople` stands in Trio's thread between a session's beat and a voice connection, whose packets come through an
inbox and go out through its socket. It decides nothing itself: `Receiver` turns datagrams into frames, `Spurts` says
what is sent, `Chat` what is written.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import inf
from types import TracebackType
from typing import Protocol, Self

import trio

from plexbridge.audio.hearing import USUAL, HearingSettings, SpeakingTime
from plexbridge.audio.opus import PEOPLE_DOWNLINK, Encoder
from plexbridge.audio.pcm import FRAME_SECONDS, PEOPLE_RATE_HZ, Samples, level_dbfs
from plexbridge.audio.playout import SILENT_DBFS
from plexbridge.model.conversation import State
from plexbridge.people.discord.asking import person_id
from plexbridge.people.discord.deafness import Observed, PersonObserved
from plexbridge.people.discord.inbox import Connected, Inbox, Left, News, Speaking
from plexbridge.people.discord.receiver import Receiver, ReceiverStatistics
from plexbridge.people.discord.spurts import CLOSING_FRAMES, OPUS_SILENCE, Sending, Spurts
from plexbridge.people.discord.stream import SpeakerStatistics
from plexbridge.session.ledger import Distribution
from plexbridge.session.people import Frame
from plexbridge.session.response import ResponseTimes
from plexbridge.session.tap import Taps

STALE_SECONDS = 0.5
"""What has come so long before the model listens was not said to it."""


class Voice(Protocol):
    """The bot's place in a voice channel: `line.Line`. Nothing here waits."""

    inbox: Inbox

    @property
    def can_send(self) -> bool:
        """Whether audio may go out: connected, and encrypted if the call is."""

    def read(self) -> None:
        """Put into the inbox what has come."""

    def send_opus(self, packet: bytes) -> bool:
        """Send one packet of 20 ms; return whether it could be."""

    def pass_time(self, frames: int) -> None:
        """Let `frames` of 20 ms go by unsent."""

    def open_frame(self, user_id: int, frame: bytes) -> bytes:
        """Take end-to-end encryption off; raises FrameRefused."""

    def group(self) -> frozenset[int]:
        """Return the ids of all who have keys in the call, the bot and other bots too."""

    def set_speaking(self, is_speaking: bool) -> None:
        """Switch the bot's speaking light."""


class Words(Protocol):
    """Where what is to be read goes: `chat.Chat`."""

    def show(self, text: str) -> None:
        """Write a piece of what the model says."""

    def tell(self, state: State) -> None:
        """Write what people should know about the conversation's state."""

    def rest(self) -> None:
        """The model says no more for now."""


@dataclass(frozen=True, slots=True)
class SendingStatistics:
    """What was sent, in packets of 20 ms."""

    sound: int = 0
    silence: int = 0
    unsendable: int = 0
    """Sound while there was no connection, or no encryption yet."""


class DiscordPeople:
    """Implements `session.people.People` for a voice channel; a context manager, which frees the codecs."""

    def __init__(self, voice: Voice, words: Words, hearing: HearingSettings = USUAL) -> None:
        self._voice = voice
        self._words = words
        self._receiver = Receiver(voice.group, hearing)
        self.taps = Taps()
        """What listens in."""
        self._extra: deque[Samples] = deque()
        """What is played beside what the model says, frame by frame."""
        self._responses = ResponseTimes()
        self._heard: frozenset[int] = frozenset()
        self._encoder = Encoder(rate_hz=PEOPLE_RATE_HZ, settings=PEOPLE_DOWNLINK)
        self._spurts = Spurts()
        self._next_tick = 0
        self._played_seconds = -inf
        self._listened_seconds = -inf
        self._speaking_events = 0
        self._sound = self._silence = self._unsendable = 0
        self._stale = 0
        """Datagrams that came too long before a model listened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._receiver.close()
        self._encoder.close()

    def set_heard(self, user_ids: Iterable[int]) -> None:
        """Hear these users, and nobody else."""
        self._heard = frozenset(user_ids)
        self._receiver.set_heard(self._heard)

    def set_gain(self, user_id: int, gain: float) -> None:
        """Hear a person so much louder than they are, 1 being as they are, whether they are there or not."""
        self._receiver.hearing.set_gain(user_id, gain)

    def set_attended(self, user_ids: frozenset[int] | None) -> None:
        """Pass on what these people say, and of all who are heard nobody else's; None: everybody's."""
        self._receiver.hearing.set_attended(user_ids)

    def activity(self) -> Mapping[int, SpeakingTime]:
        """Return when and for how long those have spoken of whom any sound has come, on Trio's clock."""
        return self._receiver.hearing.activity()

    @property
    def response_times(self) -> Distribution:
        """From the end of a sentence to the first sound of the answer."""
        return self._responses.times

    def listen(self, due_seconds: float) -> Frame:
        """Return what everybody together says in this tick; the people's own end is their room's to see."""
        now_seconds = trio.current_time()
        self._take(now_seconds)
        mixed = self._receiver.frame(now_seconds)
        self._responses.listened(self._receiver.hearing.last_spoke_seconds, now_seconds=now_seconds)
        if self.taps:
            for user_id, samples in mixed.sounds.items():
                is_speech = self._receiver.hearing.has_voice(user_id)
                self.taps.spoke(person_id(user_id), samples, is_speech=is_speech, due_seconds=due_seconds)
        return Frame(mixed.samples, mixed.arrived_seconds, mixed.is_silent)

    def skip(self, frames: int) -> None:
        """Throw away what `frames` missed ticks would have brought."""
        self._receiver.skip(frames)

    def sound(self, frames: Iterable[Samples]) -> None:
        """Play a sound with whatever is played from now on."""
        self._extra.extend(frames)

    def play(self, samples: Samples, tick: int) -> None:
        """Send a frame, or what belongs in its place; the time of missed ticks passes on the sender's clock too."""
        now_seconds = trio.current_time()
        if self._extra:
            samples = (samples + self._extra.popleft()).clip(-1, 1)
        if self.taps:
            self.taps.played(samples, tick, now_seconds)
        if tick < self._next_tick:  # another conversation has begun
            self._voice.pass_time(max(0, int((now_seconds - self._played_seconds) / FRAME_SECONDS) - 1))
        elif tick > self._next_tick:
            self._voice.pass_time(tick - self._next_tick)
        self._next_tick = tick + 1
        self._played_seconds = now_seconds
        is_silent = level_dbfs(samples) <= SILENT_DBFS
        if not is_silent:
            self._receiver.hearing.played(samples)
            self._responses.played(now_seconds=now_seconds)
        was_speaking = self._spurts.is_speaking
        self._send(samples, is_silent=is_silent)
        if self._spurts.is_speaking != was_speaking:
            self._voice.set_speaking(not was_speaking)

    def rest(self) -> None:
        """The conversation has ended: end the sentence and the spurt that it was in, since nobody goes on."""
        self._words.rest()
        if self._spurts.is_speaking:
            self._spurts.break_off()
            for _ in range(CLOSING_FRAMES):
                self._silence += self._voice.send_opus(OPUS_SILENCE)
            self._voice.set_speaking(False)

    def show(self, text: str) -> None:
        """Write a piece of what the model says."""
        self._words.show(text)

    def tell(self, state: State) -> None:
        """Write what people should know about the conversation's state."""
        self._words.tell(state)

    def heard(self) -> ReceiverStatistics:
        """Return what became of the datagrams."""
        return self._receiver.statistics()

    def observed(self) -> Observed:
        """Return what shows whether people are heard."""
        heard = self._receiver.statistics()
        people = {}
        for user_id in self._heard:
            user = heard.users.get(user_id, SpeakerStatistics())
            people[user_id] = PersonObserved(received=user.received, speech=user.speech, good=user.good)
        return Observed(
            people,
            refused=heard.unauthentic + heard.no_session,
            unclaimed=heard.unclaimed,
            speaking_events=self._speaking_events,
        )

    def sent(self) -> SendingStatistics:
        """Return what became of the frames."""
        return SendingStatistics(self._sound, self._silence, self._unsendable)

    def summary(self) -> str:
        """Return all counters that are not zero, on one line for the log."""
        heard = self._receiver.statistics()
        datagrams = {name: value for name, value in asdict(heard).items() if isinstance(value, int)}
        groups: Mapping[str, Mapping[str, int]] = {
            "datagrams": datagrams | {"dropped": self._voice.inbox.dropped, "stale": self._stale},
            "packets": asdict(heard.total),
            "sent": asdict(self.sent()),
        }
        return "; ".join(f"{name}: {_counts(counters)}" for name, counters in groups.items())

    def _take(self, now_seconds: float) -> None:
        self._voice.read()
        news, datagrams = self._voice.inbox.take()
        # Before the first tick, or while the model was away, nobody listened, and people have said it in vain.
        was_away = now_seconds - self._listened_seconds > STALE_SECONDS
        for each in news:
            self._learn(each, is_stale=was_away)
        oldest_seconds = now_seconds - STALE_SECONDS if was_away else -inf
        self._listened_seconds = now_seconds
        for datagram in datagrams:
            if datagram.arrived_seconds < oldest_seconds:
                self._stale += 1
                continue
            self._receiver.push(
                datagram.data, arrived_seconds=datagram.arrived_seconds, open_frame=self._voice.open_frame
            )

    def _learn(self, news: News, *, is_stale: bool) -> None:
        """Take note of news; that somebody began to speak while nobody listened proves nothing."""
        if isinstance(news, Connected):
            self._receiver.connected(news.mode, news.secret_key)
        elif isinstance(news, Speaking):
            self._speaking_events += news.is_speaking and not is_stale and news.user_id in self._heard
            self._receiver.speaking(news.ssrc, news.user_id)
        elif isinstance(news, Left):
            self._receiver.left(news.user_id)

    def _send(self, samples: Samples, *, is_silent: bool) -> None:
        if not self._voice.can_send:
            self._unsendable += not is_silent
            self._spurts.break_off()
            self._voice.pass_time(1)
            return
        sending = self._spurts.push(is_silent=is_silent)
        if sending is Sending.NOTHING:
            self._voice.pass_time(1)
        elif sending is Sending.SILENCE:
            self._silence += self._voice.send_opus(OPUS_SILENCE)
        elif self._voice.send_opus(self._encoder.encode(samples)):
            self._sound += 1
        else:
            self._unsendable += 1


def _counts(counters: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counters.items() if count) or "none"
