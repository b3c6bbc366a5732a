"""From what people send to what the model hears of them: the way of every frame, person by person, into the mix.

The bot's own voice that comes back is taken out (`echo`), what is left is searched for speech (`vad`), noise is kept
out (`gate`), and the rest gets the person's gain. All of it ends in one factor for each frame, which it glides to from
the one before. A person who is not attended is searched for speech too, and not mixed.

`Hearing` holds what there is to know of each person for as long as a conversation lasts. A person is known from their
first sound on; of more than `PERSON_LIMIT`, who has been silent for the longest is forgotten.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from plexbridge.audio.echo import EchoGuard, Reference
from plexbridge.audio.gate import NoiseGate, faded
from plexbridge.audio.pcm import FRAME_SECONDS, Samples, level_dbfs
from plexbridge.audio.vad import QUIET_DBFS, Networks, VoiceDetector

PERSON_LIMIT = 100
"""One more than an ordinary channel's greatest user limit; a person has some 20 kB."""


@dataclass(frozen=True, slots=True)
class HearingSettings:
    """How people are listened to; `networks` are shared by all conversations."""

    has_noise_gate: bool = True
    networks: Networks = field(default_factory=Networks)


USUAL = HearingSettings()


@dataclass(frozen=True, slots=True)
class SpeakingTime:
    """When and for how long somebody has spoken."""

    is_speaking: bool = False
    """Whether a sentence is under way, pauses between its words included."""
    seconds: float = 0.0
    """Of speech; without the pauses that are longer than those between sounds."""
    last_spoke_seconds: float = -inf


class _Ear:
    """What is known of one person."""

    def __init__(self, settings: HearingSettings, reference: Reference) -> None:
        self._echo = EchoGuard(reference)
        self._voice = VoiceDetector(settings.networks)
        self._gate = NoiseGate() if settings.has_noise_gate else None
        self._factor: float | None = None
        """Of the frame before; None when there was none."""
        self._voice_frames = 0
        self.last_spoke_seconds = -inf
        self.is_idle = False
        """Whether they have been silent for so long that nothing more follows from it."""

    @property
    def has_voice(self) -> bool:
        """Whether the latest frame was speech."""
        return self._voice.is_voice

    @property
    def activity(self) -> SpeakingTime:
        return SpeakingTime(self._voice.is_speaking, self._voice_frames * FRAME_SECONDS, self.last_spoke_seconds)

    def close(self) -> None:
        self._voice.close()

    def pause(self) -> None:
        """Nothing has come in this tick."""
        self._factor = None
        self._echo.pause()
        self._be_silent()
        self.is_idle = self._echo.is_idle and self._voice.is_idle and (self._gate is None or self._gate.is_idle)

    def hear(self, samples: Samples, gain: float, now_seconds: float) -> Samples | None:
        """Return what goes into the mix of one frame; None if that is nothing."""
        self.is_idle = False
        factor = gain if self._passes(samples) else 0.0
        if self._voice.is_voice:
            self._voice_frames += 1
            self.last_spoke_seconds = now_seconds
        before = factor if self._factor is None else self._factor
        self._factor = factor
        return faded(samples, before, factor) if before or factor else None

    def _passes(self, samples: Samples) -> bool:
        is_echo = self._echo.is_echo(samples)
        if is_echo or level_dbfs(samples) < QUIET_DBFS:
            self._be_silent()
            return not is_echo
        self._voice.push(samples)
        return self._gate is None or self._gate.passes(is_speaking=self._voice.is_speaking)

    def _be_silent(self) -> None:
        self._voice.pause()
        if self._gate is not None:
            self._gate.pause()


class Hearing:
    """Everybody's ear; `close` frees what they have borrowed."""

    def __init__(self, settings: HearingSettings = USUAL) -> None:
        self._settings = settings
        self._reference = Reference()
        self._ears: dict[int, _Ear] = {}
        self._gains: dict[int, float] = {}
        self._attended: frozenset[int] | None = None
        self.last_spoke_seconds = -inf
        """When somebody who is attended has spoken last."""

    def close(self) -> None:
        """Give back what was borrowed; what is known of people stays."""
        for ear in self._ears.values():
            ear.close()

    def set_gain(self, user_id: int, gain: float) -> None:
        """Hear a person so much louder, 1 being as they are, whether they are there or not."""
        self._gains[user_id] = gain

    def set_attended(self, user_ids: frozenset[int] | None) -> None:
        """Mix these people and nobody else; None: everybody."""
        self._attended = user_ids

    def activity(self) -> Mapping[int, SpeakingTime]:
        """Return when those have spoken of whom any sound has come."""
        return {user_id: ear.activity for user_id, ear in self._ears.items()}

    def has_voice(self, user_id: int) -> bool:
        """Say whether a person's latest frame was speech."""
        ear = self._ears.get(user_id)
        return ear is not None and ear.has_voice

    def played(self, samples: Samples) -> None:
        """Take 20 ms, 960 samples at 48 kHz, that people are about to hear of the bot; silence need not be told."""
        self._reference.played(samples)

    def skip(self, frames: int) -> None:
        """So many ticks were missed."""
        self._reference.tick(frames)

    def hear(self, sounds: Mapping[int, Samples], now_seconds: float) -> dict[int, Samples]:
        """Take what has come in one tick, 480 samples at 24 kHz of each person; return what is to be mixed of it."""
        self._reference.tick()
        for user_id, ear in self._ears.items():
            if not ear.is_idle and user_id not in sounds:
                ear.pause()
        heard = {}
        for user_id, samples in sounds.items():
            is_attended = self._attended is None or user_id in self._attended
            ear = self._ear(user_id)
            sound = ear.hear(samples, self._gains.get(user_id, 1.0) if is_attended else 0.0, now_seconds)
            if sound is not None:
                heard[user_id] = sound
            if is_attended and ear.has_voice:
                self.last_spoke_seconds = now_seconds
        return heard

    def _ear(self, user_id: int) -> _Ear:
        ear = self._ears.get(user_id)
        if ear is None:
            if len(self._ears) >= PERSON_LIMIT:
                longest = min(self._ears, key=lambda each: self._ears[each].last_spoke_seconds)
                self._ears.pop(longest).close()
            ear = self._ears[user_id] = _Ear(self._settings, self._reference)
        return ear
