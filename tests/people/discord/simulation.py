"""Discord in simulated time: voice channels with people in them, and a bot's side of them in memory.

`FakeDiscord` does what `bot.Bot` does, written for Trio, so that it can cross a `MemoryPortal`. Its people talk in real
RTP packets with real transport encryption; only DAVE and sockets are missing.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import trio

from plexbridge.audio.opus import Encoder
from plexbridge.audio.pcm import FRAME_SECONDS, PEOPLE_RATE_HZ
from plexbridge.errors import DiscordError, VoiceRefused
from plexbridge.people.discord.attendance import Presence
from plexbridge.people.discord.attention import Button
from plexbridge.people.discord.endings import Cause, Ending
from plexbridge.people.discord.inbox import Connected, Inbox, Speaking
from plexbridge.people.discord.status import Encryption
from plexbridge.people.discord.stream import FrameRefused, Refusal
from tests.command import SPEECH
from tests.discord_server.options import AES256_GCM
from tests.discord_server.speech import PERSON, encode, read_wav, tone
from tests.discord_server.transport import Rtp, Sealer

GUILD, CHANNEL, OTHER_CHANNEL = 1, 10, 11
OTHER_GUILD, FAR_CHANNEL = 2, 20
THIRD_GUILD, THIRD_CHANNEL = 3, 30
ADA, BOB, EVE = 100, 101, 102
REQUEST_SECONDS = 0.03
"""How long Discord takes for anything."""
KEY = bytes(range(32))


def tone_packets(count: int) -> list[bytes]:
    """Return Opus packets of a tone."""
    frames = tone(440.0, count * FRAME_SECONDS).reshape(count, -1)
    with Encoder(rate_hz=PEOPLE_RATE_HZ, settings=PERSON) as encoder:
        return [encoder.encode(frame) for frame in frames]


def spoken_packets(seconds: float) -> list[bytes]:
    """Return the beginning of the speech that plexbridge ships, as Opus packets."""
    return encode(read_wav(SPEECH)[: round(seconds * PEOPLE_RATE_HZ)])


class FakeVoice:
    """A voice connection: remembers what is sent, and lets people be heard. Implements `line.Connection`."""

    def __init__(self, discord: "FakeDiscord", channel_id: int, inbox: Inbox | None = None) -> None:
        self._discord = discord
        self._sealer = Sealer(AES256_GCM, KEY)
        self._sequences: Counter[int] = Counter()
        self.channel_id = channel_id
        self.inbox = inbox or Inbox(trio.current_time)
        self.inbox.announce(Connected(AES256_GCM, KEY))
        self.can_send = True
        self.is_secret = discord.are_secret
        """People send what the bot has no keys for."""
        self.renewals = 0
        self._ending: Ending | None = None
        self._ended = trio.Event()
        self.sent: list[tuple[float, bytes]] = []
        self.passed_frames = 0
        self.lights: list[bool] = []
        """The speaking light's changes."""

    def read(self) -> None:
        """Do nothing: what is heard is in the inbox already."""

    def send_opus(self, packet: bytes) -> bool:
        """Take a packet."""
        self.sent.append((trio.current_time(), packet))
        return True

    def pass_time(self, frames: int) -> None:
        """Count time without packets."""
        self.passed_frames += frames

    def open_frame(self, user_id: int, frame: bytes) -> bytes:
        """Take a call without DAVE for granted, but for what is secret."""
        if self.is_secret:
            raise FrameRefused(Refusal.UNDECRYPTABLE)
        return frame

    def group(self) -> frozenset[int]:
        """Return nobody: there are no keys."""
        return frozenset()

    def encryption(self) -> Encryption:
        """Return that there is none."""
        return Encryption(0, is_ready=False, privacy_code="")

    def set_speaking(self, is_speaking: bool) -> None:
        """Switch the light; with this method it is a `voice.Voice` by itself."""
        self.lights.append(is_speaking)

    async def announce_speaking(self, is_speaking: bool) -> None:
        """Switch the light."""
        self.lights.append(is_speaking)

    async def renew_encryption(self) -> None:
        """Make new keys."""
        self.renewals += 1
        if self._discord.heals_by_renewal:
            self.is_secret = False

    async def give_up(self) -> None:
        """Be given up."""
        self.end(Ending(Cause.RENEWED))

    def end(self, ending: Ending) -> None:
        """Break."""
        self._ending = self._ending or ending
        self._ended.set()

    async def wait_ended(self) -> Ending:
        """Wait for the end."""
        await self._ended.wait()
        assert self._ending is not None
        return self._ending

    async def leave(self) -> None:
        """Leave; when it is cut short, Discord has not heard of it."""
        await trio.sleep(REQUEST_SECONDS)
        self._discord.voices.discard(self)

    def hear(self, user_id: int, opus: bytes) -> None:
        """Have one packet of a person arrive."""
        self.inbox.announce(Speaking(user_id, user_id, is_speaking=True))
        self._sequences[user_id] += 1
        sequence = self._sequences[user_id]
        packet = Rtp(sequence % (1 << 16), sequence * 960 % (1 << 32), user_id, opus)
        self.inbox.offer(self._sealer.seal(packet.header(), packet.body()))


@dataclass
class FakeDiscord:
    """Discord and the bot in it. Implements `room.Discord`; who comes and goes is told to `watch`ers."""

    nursery: trio.Nursery
    voices: set[FakeVoice] = field(default_factory=set)
    """Where the bot is at the moment."""
    joins: int = 0
    write_attempts: int = 0
    messages: list[tuple[int, str]] = field(default_factory=list)
    called: list[int] = field(default_factory=list)
    """Who was notified of a message."""
    buttons: dict[int, tuple[Button, ...]] = field(default_factory=dict)
    """Those under messages, by the messages' ids."""
    join_fault: DiscordError | None = None
    check_fault: DiscordError | None = None
    """What `check_voice` and `check_text` find."""
    are_secret: bool = False
    """New connections begin `is_secret`."""
    heals_by_renewal: bool = True
    muted: set[int] = field(default_factory=set)
    bot_places: dict[int, int] = field(default_factory=dict)
    write_fault: DiscordError | None = None
    changed: Callable[[], Awaitable[None]] | None = None
    _members: dict[int, set[int]] = field(default_factory=dict)

    def present(self) -> Mapping[int, Presence]:
        """Return who is where."""
        guilds = {CHANNEL: GUILD, OTHER_CHANNEL: GUILD, FAR_CHANNEL: OTHER_GUILD, THIRD_CHANNEL: THIRD_GUILD}
        return {
            channel: Presence(guilds[channel], frozenset(members), frozenset(members & self.muted))
            for channel, members in self._members.items()
            if members
        }

    def places(self) -> Mapping[int, int]:
        """Return where the bot is; a moderator may have moved it."""
        return dict(self.bot_places)

    async def check_voice(self, channel_id: int) -> None:
        """Check the permissions to talk."""
        if self.check_fault is not None:
            raise self.check_fault

    async def check_text(self, channel_id: int) -> None:
        """Check the permissions to write; they are there."""

    def enter(self, user_id: int, channel_id: int) -> None:
        """A person enters a channel, leaving another."""
        self._move(user_id, channel_id)

    def go(self, user_id: int) -> None:
        """A person leaves voice."""
        self._move(user_id, None)

    def _move(self, user_id: int, channel_id: int | None) -> None:
        for members in self._members.values():
            members.discard(user_id)
        if channel_id is not None:
            self._members.setdefault(channel_id, set()).add(user_id)
        if self.changed is not None:
            self.nursery.start_soon(self.changed)

    async def join(self, channel_id: int, inbox: Inbox, within_seconds: float) -> FakeVoice:
        """Join, in steps that can be cancelled; then the bot is not in the channel."""
        self.joins += 1
        voice = FakeVoice(self, channel_id, inbox)
        self.voices.add(voice)
        try:
            for _ in range(3):
                await trio.sleep(REQUEST_SECONDS)
            if self.join_fault is not None:
                raise self.join_fault
        except BaseException:
            with trio.CancelScope(shield=True):
                await voice.leave()
            raise
        if any(other is not voice and other.channel_id == channel_id for other in self.voices):
            raise VoiceRefused("the bot is in the channel already")
        return voice

    async def write(self, channel_id: int, text: str) -> int:
        """Take a message."""
        self.write_attempts += 1
        await trio.sleep(REQUEST_SECONDS)
        if self.write_fault is not None:
            raise self.write_fault
        self.messages.append((channel_id, text))
        return len(self.messages) - 1

    async def call(self, channel_id: int, text: str, user_id: int) -> None:
        """Take a message and notify somebody."""
        await self.write(channel_id, text)
        self.called.append(user_id)

    async def edit(self, channel_id: int, message_id: int, text: str) -> None:
        """Replace a message."""
        await trio.sleep(REQUEST_SECONDS)
        self.messages[message_id] = (channel_id, text)

    async def put(self, channel_id: int, message_id: int | None, text: str, buttons: tuple[Button, ...]) -> int:
        """Take a message with buttons, or replace one."""
        if message_id is None:
            message_id = await self.write(channel_id, text)
        else:
            await self.edit(channel_id, message_id, text)
        self.buttons[message_id] = buttons
        return message_id

    async def speak(self, user_id: int, packets: list[bytes]) -> None:
        """Let a person talk to the bot wherever it is, in real time."""
        start_seconds = trio.current_time()
        for number, packet in enumerate(packets):
            await trio.sleep_until(start_seconds + number * FRAME_SECONDS)
            for voice in self.voices:
                voice.hear(user_id, packet)
