"""The people of one Discord voice channel, as a session sees them: everybody heard as one, everybody told alike.

`DiscordPeople` stands in Trio's thread between a session's beat and a voice connection, whose packets come through an
inbox and go out through its socket. It decides nothing itself: `Receiver` turns datagrams into frames, `Spurts` says
what is sent, `Chat` what is written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Protocol, Self

import trio

from plexbridge.audio.opus import PEOPLE_DOWNLINK, Encoder
from plexbridge.audio.pcm import PEOPLE_RATE_HZ, Samples, level_dbfs
from plexbridge.audio.playout import SILENT_DBFS
from plexbridge.model.conversation import State
from plexbridge.people.discord.inbox import Connected, Inbox, Left, News, Speaking
from plexbridge.people.discord.portal import Portal
from plexbridge.people.discord.receiver import Receiver, ReceiverStatistics
from plexbridge.people.discord.spurts import OPUS_SILENCE, Sending, Spurts
from plexbridge.session.people import Frame

STALE_SECONDS = 0.5
"""What had come so long before the first tick was said before the model listened."""


class Voice(Protocol):
    """A connection to a voice channel: `internals.VoiceLink`, seen from Trio's thread; nothing here waits."""

    inbox: Inbox
    is_ended: bool
    """The bot is no longer in the channel."""

    @property
    def can_send(self) -> bool:
        """Whether audio may go out: connected, and encrypted if the call is."""

    def send_opus(self, packet: bytes) -> bool:
        """Send one packet of 20 ms; return whether it could be."""

    def pass_time(self, frames: int) -> None:
        """Let `frames` of 20 ms go by unsent."""

    def open_frame(self, user_id: int, frame: bytes) -> bytes:
        """Take end-to-end encryption off; raises FrameRefused."""

    async def announce_speaking(self, is_speaking: bool) -> None:
        """On Discord's loop: switch the bot's speaking light."""

    async def leave(self) -> None:
        """On Discord's loop: leave the channel, within a bounded time; never raises."""


class Words(Protocol):
    """Where what is to be read goes: `chat.Chat`."""

    def show(self, text: str) -> None:
        """Write a piece of what the model says."""

    def tell(self, state: State) -> None:
        """Write what people should know about the conversation's state."""


@dataclass(frozen=True, slots=True)
class SendingStatistics:
    """What was sent, in packets of 20 ms."""

    sound: int = 0
    silence: int = 0
    unsendable: int = 0
    """Sound while there was no connection, or no encryption yet."""


class DiscordPeople:
    """Implements `session.people.People` for a voice channel; a context manager, which frees the codecs."""

    def __init__(self, voice: Voice, portal: Portal, words: Words) -> None:
        self._voice = voice
        self._portal = portal
        self._words = words
        self._receiver = Receiver()
        self._encoder = Encoder(rate_hz=PEOPLE_RATE_HZ, settings=PEOPLE_DOWNLINK)
        self._spurts = Spurts()
        self._next_tick = 0
        self._is_first = True
        self._sound = self._silence = self._unsendable = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._receiver.close()
        self._encoder.close()

    def set_heard(self, user_ids: Iterable[int]) -> None:
        """Hear these users, and nobody else."""
        self._receiver.set_heard(user_ids)

    def listen(self, due_seconds: float) -> Frame | None:
        """Return what everybody together says in this tick; None when the bot is no longer in the channel."""
        if self._voice.is_ended:
            return None
        now_seconds = trio.current_time()
        self._take(now_seconds)
        mixed = self._receiver.frame(now_seconds)
        return Frame(mixed.samples, mixed.arrived_seconds, mixed.is_silent)

    def skip(self, frames: int) -> None:
        """Throw away what `frames` missed ticks would have brought."""
        self._receiver.skip(frames)

    def play(self, samples: Samples, tick: int) -> None:
        """Send a frame, or what belongs in its place; the time of missed ticks passes on the sender's clock too."""
        if tick > self._next_tick:
            self._voice.pass_time(tick - self._next_tick)
        self._next_tick = tick + 1
        was_speaking = self._spurts.is_speaking
        self._send(samples, is_silent=level_dbfs(samples) <= SILENT_DBFS)
        if self._spurts.is_speaking != was_speaking:
            self._portal.into_discord_soon(self._voice.announce_speaking, not was_speaking)

    def show(self, text: str) -> None:
        """Write a piece of what the model says."""
        self._words.show(text)

    def tell(self, state: State) -> None:
        """Write what people should know about the conversation's state."""
        self._words.tell(state)

    def heard(self) -> ReceiverStatistics:
        """Return what became of the datagrams."""
        return self._receiver.statistics()

    def sent(self) -> SendingStatistics:
        """Return what became of the frames."""
        return SendingStatistics(self._sound, self._silence, self._unsendable)

    def summary(self) -> str:
        """Return all counters that are not zero, on one line for the log."""
        heard = self._receiver.statistics()
        datagrams = {name: value for name, value in asdict(heard).items() if isinstance(value, int)}
        groups = {
            "datagrams": datagrams | {"dropped": self._voice.inbox.dropped},
            "packets": asdict(heard.total),
            "sent": asdict(self.sent()),
        }
        return "; ".join(f"{name}: {_counts(counters)}" for name, counters in groups.items())

    def _take(self, now_seconds: float) -> None:
        news, datagrams = self._voice.inbox.take()
        for each in news:
            self._learn(each)
        oldest_seconds = now_seconds - STALE_SECONDS if self._is_first else 0.0
        self._is_first = False
        for datagram in datagrams:
            if datagram.arrived_seconds >= oldest_seconds:
                self._receiver.push(
                    datagram.data, arrived_seconds=datagram.arrived_seconds, open_frame=self._voice.open_frame
                )

    def _learn(self, news: News) -> None:
        if isinstance(news, Connected):
            self._receiver.connected(news.mode, news.secret_key)
        elif isinstance(news, Speaking):
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
