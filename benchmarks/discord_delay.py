"""What plexbridge adds between Discord and the model, by the ledger: a table on standard output.

    python -m benchmarks.discord_delay [--seconds 30]

A person in a loopback Discord talks, with end-to-end encryption, over a network with a little jitter; the loopback
model answers. plexbridge runs in this process, both servers' work included for the model, Discord in another one.

* up: from the datagram's arrival to the WebSocket message, jitter buffer included;
* down: from the WebSocket message's arrival to the datagram, for the first sample of a message;
* gap: between datagrams to Discord within a talk spurt, as Discord sees them;
* end: from the last person's leaving to the end of the last task.
"""

import argparse
import itertools
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import trio

from plexbridge.audio.pcm import Samples
from plexbridge.config import AudioConfig, ModelConfig, PersonaConfig
from plexbridge.errors import PlexbridgeError
from plexbridge.model.conversation import State
from plexbridge.people.discord.voice import DiscordPeople
from plexbridge.service import hold_conversation, open_backend, session_settings
from plexbridge.session.ledger import Distribution, Ledger
from plexbridge.session.people import Frame
from plexbridge.talk import Talk
from tests.discord_front import open_front_at
from tests.discord_server.control import Control, Faults, run_discord_server

SPEECH = Path(__file__).parents[1] / "docs" / "hello.wav"
SPEECH_SECONDS = 9.0
JITTER_SECONDS = 0.01
GOALS_MS = {"up": (60, 120), "down, first sample": (60, 120)}
GAP_GOAL_MS = 25.0
END_GOAL_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One run's figures."""

    ledger: Ledger
    people: "WatchedPeople"
    gaps_ms: list[float]
    end_ms: float

    def lines(self) -> list[str]:
        """Return the table."""
        parts = {
            "up": self.ledger.up,
            "  inbox, jitter buffer": self.people.waited,
            "owed by the model": self.ledger.owed,
            "down, first sample": self.ledger.down_first_sample,
            "down, all samples": self.ledger.down,
        }
        rows = [f"{'':<28}{'p50 ms':>8}{'p99 ms':>8}  goal"]
        for name, part in parts.items():
            goal = "{} / {}".format(*GOALS_MS[name]) if name in GOALS_MS else ""
            rows.append(f"{name:<28}{_ms(part, 50):>8}{_ms(part, 99):>8}  {goal}")
        for name, milliseconds, goal in (
            ("computing a frame heard", self.people.heard_ms, ""),
            ("computing a frame sent", self.people.sent_ms, ""),
            ("gap between datagrams", self.gaps_ms, f"p99 < {GAP_GOAL_MS:.0f}"),
        ):
            median, worst = np.percentile(milliseconds, (50, 99))
            rows.append(f"{name:<28}{median:>8.2f}{worst:>8.2f}  {goal}")
        rows.append(f"{'end':<28}{self.end_ms:>8.0f}{'':>8}  < {END_GOAL_MS:.0f}")
        return rows


def _ms(part: Distribution, percent: float) -> str:
    seconds = part.percentile_seconds(percent)
    return "-" if seconds is None else f"{seconds * 1000:.0f}"


class WatchedPeople:
    """The people of the call, with a watch at both doors; implements `session.people.People`."""

    def __init__(self, people: DiscordPeople) -> None:
        self._people = people
        self.waited = Distribution()
        """From a datagram's arrival to capture's tick: inbox and jitter buffer."""
        self.heard_ms: list[float] = []
        """Computing time of one tick of hearing: transport, DAVE, Opus, mixing."""
        self.sent_ms: list[float] = []
        """Computing time of one frame that is sent: Opus, DAVE, transport, the socket."""

    def listen(self, due_seconds: float) -> Frame | None:
        """Hear, and note how old it is."""
        started = time.perf_counter()
        frame = self._people.listen(due_seconds)
        self.heard_ms.append((time.perf_counter() - started) * 1000)
        if frame is not None and not frame.is_silent:
            self.waited.add(trio.current_time() - frame.arrived_seconds)
        return frame

    def skip(self, frames: int) -> None:
        """Pass on."""
        self._people.skip(frames)

    def play(self, samples: Samples, tick: int) -> None:
        """Send, and note how long it takes."""
        before = self._people.sent().sound
        started = time.perf_counter()
        self._people.play(samples, tick)
        if self._people.sent().sound > before:
            self.sent_ms.append((time.perf_counter() - started) * 1000)

    def show(self, text: str) -> None:
        """Pass on."""
        self._people.show(text)

    def tell(self, state: State) -> None:
        """Pass on."""
        self._people.tell(state)


async def measure(seconds: float) -> Measured:
    """Hold one conversation of about `seconds`."""
    with run_discord_server() as control:
        return await _measure(control, seconds)


async def _measure(control: Control, seconds: float) -> Measured:
    ledger, live = Ledger(), trio.Event()
    watched: list[WatchedPeople] = []
    audio = session_settings(AudioConfig())
    async with open_backend(ModelConfig(dialect="loopback")) as backend:

        async def converse(talk: Talk, starter_id: int) -> PlexbridgeError | None:
            assert isinstance(talk.people, DiscordPeople)
            watched.append(WatchedPeople(talk.people))
            return await hold_conversation(
                backend,
                watched[0],
                persona=PersonaConfig(),
                settings=audio,
                ledger=ledger,
                on_open=lambda link: live.set(),
            )

        async with open_front_at(control, converse) as front:
            person = control.add_person("Ada")
            channel = control.voice_channel()
            await trio.to_thread.run_sync(partial(control.join, person, channel))
            await live.wait()
            await trio.to_thread.run_sync(partial(control.wait_secure, person))
            control.set_faults(Faults(jitter_seconds=JITTER_SECONDS), sender_id=person)
            for _ in range(max(1, round(seconds / SPEECH_SECONDS))):
                await trio.to_thread.run_sync(partial(control.speak_wav, person, SPEECH))
            times = [arrival.at_seconds for arrival in control.received(control.ready.bot_id)]
            started = trio.current_time()
            await trio.to_thread.run_sync(partial(control.leave, person))
            while front.rooms.rooms:  # noqa: ASYNC110  # seen from outside
                await trio.sleep(0.005)
            end_ms = (trio.current_time() - started) * 1000
    gaps = [(later - earlier) * 1000 for earlier, later in itertools.pairwise(times)]
    return Measured(ledger, watched[0], [gap for gap in gaps if gap < 200], end_ms)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.discord_delay", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the person talks")
    for line in trio.run(measure, parser.parse_args().seconds).lines():
        print(line)


if __name__ == "__main__":
    main()
