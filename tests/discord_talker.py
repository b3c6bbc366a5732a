"""A person who whistles on while something goes wrong, and what it was like: the measure of every fault.

The model must be one that gives back what it hears. There are two ways to talk through a fault. In *one sentence* the
whistle goes on unbroken, and every hole in what comes back is one that a talking person would have noticed. In *a new
sentence* the person breaks off when the fault has happened and whistles another tone: the first packet in which that
comes back was said and answered after the fault, whatever was still on its way.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from plexbridge.audio.opus import Decoder
from plexbridge.audio.pcm import PEOPLE_RATE_HZ, Samples
from tests.discord_server.control import Control
from tests.discord_server.hearing import Heard

BEFORE_HZ, AFTER_HZ = 440.0, 1_000.0
AUDIBLE_RMS = 0.03
"""A tenth of the whistle's level: what is concealed and fades out is no answer."""
TONE_SHARE = 0.7
"""Of a packet's power, for it to be a tone: where one begins or ends there are others in it."""
POLL_SECONDS = 0.1
"""Between two looks at what another process has heard."""
BREATH_SECONDS = 60.0
"""How long a whistle can last; longer than any fault."""
WATCH_SECONDS = 1.2
"""How long a sentence goes on after the fault at least: some do their damage a little later."""
STEADY_SECONDS = 0.8
"""How long it is listened on when the answer is there again: a second interruption counts as well."""
LEAD_SECONDS = 0.3
"""How long the answer must have gone on before the fault."""
HOLE_SECONDS = 0.1
"""A shorter pause is the network's, or the computer's."""
ANSWER_SECONDS = 10.0
EPHEMERAL = 1 << 6
"""A message's flag: only who used a command sees it."""
MODEL_WORDS = frozenset(["You", "said", "something."])
"""What the embedded model writes of a whistle; a sentence of plexbridge's may come in between."""

Act = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Felt:
    """What somebody who talked through a fault has noticed of it."""

    answered_seconds: float | None
    """From the fault until what is said is answered, and goes on being; None when it is not."""
    hole_seconds: float
    """The longest time without sound from the bot, from shortly before the fault on."""
    read: list[str] = field(default_factory=list)
    """What was written in the chat meanwhile, but for the model's words."""

    def __str__(self) -> str:
        answered = "never" if self.answered_seconds is None else f"{self.answered_seconds:.1f} s"
        return f"answered after {answered}, longest hole {self.hole_seconds:.2f} s, read {self.read}"


class Talker:
    """A person in a voice channel, whose whistle the bot gives back."""

    def __init__(self, control: Control, person_id: int, channel_id: int) -> None:
        self._control = control
        self.person_id = person_id
        self.channel_id = channel_id
        """Where its chat is read."""

    def feel_sentence(self, fault: Act, *, within_seconds: float = ANSWER_SECONDS) -> Felt:
        """Whistle one tone, let the fault happen, and whistle on until that is answered without a break."""
        read_before, fault_seconds = self._begin(fault)
        deadline = time.monotonic() + within_seconds
        time.sleep(WATCH_SECONDS)
        while not (is_steady := self._is_steady(STEADY_SECONDS)) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        times = self._times(fault_seconds)
        if not is_steady:
            times.append(time.monotonic())
        self.hush()
        holes = [(earlier, later) for earlier, later in itertools.pairwise(times) if later - earlier > HOLE_SECONDS]
        answered_seconds = max(0.0, holes[-1][1] - fault_seconds) if holes else 0.0
        return Felt(answered_seconds if is_steady else None, _longest(times), self.read()[read_before:])

    def feel_new_sentence(self, fault: Act, *, within_seconds: float = ANSWER_SECONDS) -> Felt:
        """Whistle, let the fault happen, change the tone, and listen until that is answered."""
        read_before, fault_seconds = self._begin(fault, is_last=False)
        answer_seconds = self.wait_tone(AFTER_HZ, within_seconds, since_seconds=fault_seconds)
        if answer_seconds is not None:
            time.sleep(STEADY_SECONDS)
        times = self._times(fault_seconds)
        if answer_seconds is None:
            times.append(time.monotonic())
        self.hush()
        answered_seconds = None if answer_seconds is None else answer_seconds - fault_seconds
        return Felt(answered_seconds, _longest(times), self.read()[read_before:])

    def _begin(self, fault: Act, *, is_last: bool = True) -> tuple[int, float]:
        """Whistle and let the fault happen; return how much was to be read before, and when it happened."""
        self._control.forget_heard(self.person_id)
        self._whistle(BEFORE_HZ)
        deadline = time.monotonic() + ANSWER_SECONDS
        while not self._is_steady(LEAD_SECONDS):
            assert time.monotonic() < deadline, "the bot gives nothing back before the fault"
            time.sleep(POLL_SECONDS)
        if not is_last:
            # It waits for the other one's end, so that no time is lost when the tone changes.
            self._whistle(AFTER_HZ)
        read_before = len(self.read())
        fault_seconds = time.monotonic()
        fault()
        if not is_last:
            self.hush()
        return read_before, fault_seconds

    def says(self, seconds: float = ANSWER_SECONDS) -> bool:
        """Whistle something new; say whether it is answered."""
        began_seconds = time.monotonic()
        self._whistle(AFTER_HZ)
        is_answered = self.wait_tone(AFTER_HZ, seconds, since_seconds=began_seconds) is not None
        self.hush()
        return is_answered

    def _whistle(self, hz: float) -> None:
        self._control.speak_tone(self.person_id, hz=hz, seconds=BREATH_SECONDS, wait=False)

    def hush(self) -> None:
        """Be silent."""
        self._control.hush(self.person_id)

    def wait_tone(self, hz: float, seconds: float, *, since_seconds: float = 0.0) -> float | None:
        """Wait until a tone comes back; return when it did, None when it did not."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for packet, tone in self._tones():
                if tone == hz and packet.at_seconds > since_seconds:
                    return packet.at_seconds
            time.sleep(POLL_SECONDS)
        return None

    def read(self) -> list[str]:
        """Return what everybody can read in the chat, but for the model's words."""
        messages = self._control.messages(self.channel_id)
        contents = [str(message["content"]) for message in messages if not message.get("flags", 0) & EPHEMERAL]
        return [content for content in contents if not MODEL_WORDS.issuperset(content.split())]

    def _is_steady(self, seconds: float) -> bool:
        """Say whether the tone has come back without a hole for so long now."""
        times = [packet.at_seconds for packet, tone in self._tones() if tone == BEFORE_HZ]
        now_seconds = time.monotonic()
        recent = [at for at in times if at > now_seconds - seconds]
        return _longest([now_seconds - seconds, *recent, now_seconds]) < HOLE_SECONDS

    def _times(self, fault_seconds: float) -> list[float]:
        """Return when sound came, from shortly before the fault on."""
        return [packet.at_seconds for packet, _ in self._tones() if packet.at_seconds > fault_seconds - LEAD_SECONDS]

    def _tones(self) -> list[tuple[Heard, float | None]]:
        """Return the packets with sound that were heard of the bot, and the tone of each, if it is one of ours."""
        heard = self._control.heard(self.person_id, self._control.ready.bot_id)
        with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
            sounds = [(packet, decoder.decode(packet.opus)) for packet in heard]
        return [(packet, _tone(sound)) for packet, sound in sounds if _power(sound) > AUDIBLE_RMS**2]


def _longest(times: list[float]) -> float:
    return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)


def _tone(sound: Samples) -> float | None:
    """Return which of the tones makes up most of a sound."""
    seconds = np.arange(sound.size) / PEOPLE_RATE_HZ
    for hz in (BEFORE_HZ, AFTER_HZ):
        strength = float(abs(np.mean(sound * np.exp(2j * np.pi * hz * seconds))))
        if 2 * strength**2 > TONE_SHARE * _power(sound):
            return hz
    return None


def _power(sound: Samples) -> float:
    return float(np.mean(np.square(sound)))
