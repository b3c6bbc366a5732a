"""A long call in simulated time whose link is renewed again and again: nothing grows, and the gaps stay short.

    python -m benchmarks.renewal [--minutes 60] [--renew-seconds 240] [--slots 2]

People talk without a pause, so every renewal is one at the deadline, the hardest. Session, link, codecs and the
loopback model are the real ones, over memory; an hour takes some minutes. With one slot the model takes two seconds
for its handshake.
"""

import argparse
import gc

import psutil
import trio
from trio.testing import MockClock

from plexbridge.audio.pcm import FRAME_SECONDS, PEOPLE_RATE_HZ, Samples, level_dbfs
from plexbridge.config import PersonaConfig, RenewalConfig
from plexbridge.relay import Terms, hold_relay
from plexbridge.service import Progress
from plexbridge.session.ledger import Ledger
from tests.session.simulation import SETTINGS, ScriptedPeople
from tests.test_relay import Model, OnePlace, TwoPlaces

SILENT_DBFS = -40.0
HANDSHAKE_SECONDS = 2.0


class Listeners(ScriptedPeople):
    """People who keep nothing of what they hear but the lengths of its gaps."""

    silent_ticks = 0
    next_tick = 0
    lost_ticks = 0
    gaps_seconds: list[float]

    def play(self, samples: Samples, tick: int) -> None:
        """Hear a frame."""
        self.lost_ticks += tick - self.next_tick
        self.next_tick = tick + 1
        if level_dbfs(samples) < SILENT_DBFS:
            self.silent_ticks += 1
            return
        if self.silent_ticks:
            self.gaps_seconds.append(self.silent_ticks * FRAME_SECONDS)
        self.silent_ticks = 0


async def run(minutes: float, renew_seconds: float, slots: int) -> None:
    """Hold the call and print what came of it."""
    people, progress = Listeners(ticks=round(minutes * 60 / FRAME_SECONDS)), Progress()
    people.gaps_seconds = []
    terms = Terms(PersonaConfig(), SETTINGS, RenewalConfig(mark="none"), lambda words: None, progress)
    process = psutil.Process()

    async def report() -> None:
        known: Ledger | None = None
        while True:
            await trio.sleep(renew_seconds / 2)
            ledger = progress.ledger
            if ledger is not None and ledger is not known and progress.conversation is not None:
                known = ledger
                gc.collect()
                p99_seconds = ledger.total.percentile_seconds(99) or 0.0
                print(
                    f"{trio.current_time():6.0f} s  tasks {trio.lowlevel.current_statistics().tasks_living}  "
                    f"memory {process.memory_info().rss / 2**20:.1f} MiB  descriptors {process.num_fds()}  "
                    f"delay p99 {p99_seconds * 1000:.0f} ms  "
                    f"playout {ledger.playout.depth_samples / PEOPLE_RATE_HZ * 1000:.0f} ms",
                    flush=True,
                )

    async with trio.open_nursery() as nursery:
        handshake_seconds = 0.0 if slots == 2 else HANDSHAKE_SECONDS
        models = [Model(nursery, connect_seconds=handshake_seconds) for _ in range(slots)]
        backends = [model.backend(renew_seconds=renew_seconds) for model in models]
        nursery.start_soon(report)
        places = TwoPlaces(backends) if slots == 2 else OnePlace()
        failure = await hold_relay(backends[0], places, people, terms, listens=lambda: None)
        nursery.cancel_scope.cancel(reason="the call has ended")
    print(f"failure: {failure}; renewals: {progress.renewals}")
    print(f"longest gap heard: {max(people.gaps_seconds[1:], default=0.0):.2f} s; ticks lost: {people.lost_ticks}")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.renewal", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--renew-seconds", type=float, default=240.0)
    parser.add_argument("--slots", type=int, choices=(1, 2), default=2)
    options = parser.parse_args()
    trio.run(run, options.minutes, options.renew_seconds, options.slots, clock=MockClock(autojump_threshold=0))


if __name__ == "__main__":
    main()
