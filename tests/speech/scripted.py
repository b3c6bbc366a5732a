"""An engine that does what a test says, and a listener that keeps what it is told."""

from collections.abc import Awaitable, Callable

import numpy as np
import trio

from plexbridge.audio.pcm import FRAME_SECONDS, UPLINK_FRAME_SAMPLES, Samples
from plexbridge.speech.engine import Begun, Final, Missing, Partial, Recognized, Show, Sound, SpeechEvent
from plexbridge.speech.line import SpeechLine

VOICE = np.full(UPLINK_FRAME_SAMPLES, 0.1, np.float32)

Script = Callable[[Sound, Show], Awaitable[Recognized]]


async def heard(sound: Sound) -> int:
    """Wait for the end of an utterance; return how many frames it has."""
    reader, samples = sound.reader(24_000), 0
    while (chunk := await reader.read()) is not None:
        samples += chunk.size
    return samples // UPLINK_FRAME_SAMPLES


async def attentive(sound: Sound, show: Show) -> Recognized:
    """Answer at once with the number of frames."""
    return Recognized(f"{await heard(sound)} frames")


async def hanging(sound: Sound, show: Show) -> Recognized:
    """Never answer."""
    await trio.sleep_forever()
    raise AssertionError("unreachable")


class Scripted:
    """Plays the next script for every attempt, the last one again and again; implements `engine.SpeechEngine`."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self.attempts = 0

    async def recognize(self, sound: Sound, show: Show) -> Recognized:
        """Play a script."""
        self.attempts += 1
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        return await script(sound, show)

    async def prove(self) -> str:
        """Always work."""
        return "a script"


class Told:
    """What a line or a transcriber has told, and when."""

    def __init__(self) -> None:
        self.events: list[SpeechEvent] = []

    def __call__(self, event: SpeechEvent) -> None:
        self.events.append(event)

    @property
    def begun(self) -> list[Begun]:
        return [each for each in self.events if isinstance(each, Begun)]

    @property
    def partials(self) -> list[Partial]:
        return [each for each in self.events if isinstance(each, Partial)]

    @property
    def finals(self) -> list[Final]:
        return [each for each in self.events if isinstance(each, Final)]

    @property
    def missing(self) -> list[Missing]:
        return [each for each in self.events if isinstance(each, Missing)]

    def check_one_outcome_each(self) -> None:
        """Whatever was begun has one outcome, and after that nothing more is said of it."""
        settled_events: list[Final | Missing] = [*self.finals, *self.missing]
        outcomes = [(each.speaker, each.utterance) for each in settled_events]
        assert sorted(outcomes) == sorted((each.speaker, each.utterance) for each in self.begun)
        settled = set()
        for event in self.events:
            key = (event.speaker, event.utterance)
            assert key not in settled
            if isinstance(event, Final | Missing):
                settled.add(key)


async def speak(line: SpeechLine, *spans_seconds: float, pause_seconds: float = 1.0) -> None:
    """Say so many seconds of speech, a pause after each, in real time; the audio's side never waits for anything."""
    for seconds in spans_seconds:
        for has_voice, span in ((True, seconds), (False, pause_seconds)):
            for _ in range(round(span / FRAME_SECONDS)):
                began_seconds = trio.current_time()
                line.hear(frame(has_voice), has_voice=has_voice, now_seconds=began_seconds)
                await trio.sleep_until(began_seconds + FRAME_SECONDS)


def frame(has_voice: bool) -> Samples | None:
    """Return a frame of speech, or that nothing came."""
    return VOICE if has_voice else None
