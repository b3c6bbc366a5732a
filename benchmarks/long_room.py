"""A long call in a room, in simulated time: renewals, members who come and go, a restart of the model; nothing grows.

    python -m benchmarks.long_room [--minutes 60] [--renew-seconds 240] [--models 2]

What `long_call` does in real time, over memory: rooms, pool, relay, session, codecs and the loopback model are the real
ones; Discord, the network and the clock are those of the tests. Ada warbles without a pause, so that each renewal is
made at its deadline; others come, whistle and leave, three in a minute; once the model is away for a while. An hour
takes about four minutes. The command fails when something has grown (`long_call_report.growth`).
"""

import gc
from collections.abc import Iterator
from dataclasses import dataclass, field

import click
import psutil
import trio
from trio.testing import MockClock

from benchmarks.listening import warble
from benchmarks.long_call_report import Row, growth
from plexbridge.audio.pcm import FRAME_SECONDS
from plexbridge.people.discord.spurts import OPUS_SILENCE
from tests.discord_server.speech import encode
from tests.people.discord.simulation import ADA, BOB, CHANNEL, EVE, tone_packets
from tests.people.discord.test_rooms import World, open_talk

VISIT_SECONDS = 20.0
JOIN_SECONDS, WHISTLE_SECONDS, LEAVE_SECONDS = 3.0, 4.0, 12.0
"""Within a visit; a whistle is said at once after joining."""
ROW_SECONDS = 60.0
COUNT_SECONDS = 4.0
"""Before the end of a row: the last guest is gone."""
RESTART_SHARE = 0.64
"""Of the whole call: not where a link is about to be renewed."""
OUTAGE_SECONDS = 3.0
WARBLE_SECONDS = 60.0
"""It is repeated then."""


@dataclass
class LongRoom:
    """The call, and what is found in it."""

    world: World
    seconds: float
    rows: list[Row] = field(default_factory=list)
    visits: int = 0
    longest_gaps: dict[str, float] = field(default_factory=dict)
    _outage: tuple[float, float] = (0.0, 0.0)
    _heard_seconds: float = 0.0

    async def hold(self) -> None:
        """Hold it to its end."""
        async with trio.open_nursery() as nursery:
            for task in (self._warble, self._visit, self._take_stock, self._restart_model):
                nursery.start_soon(task)
            await trio.sleep(self.seconds)
            nursery.cancel_scope.cancel(reason="the call has ended")

    async def _warble(self) -> None:
        packets = encode(warble(WARBLE_SECONDS, seed=1))
        while True:
            await self.world.discord.speak(ADA, packets)

    async def _visit(self) -> None:
        whistle = tone_packets(round(WHISTLE_SECONDS / FRAME_SECONDS))
        while True:
            guest = (BOB, EVE)[self.visits % 2]
            await trio.sleep(JOIN_SECONDS)
            self.world.discord.enter(guest, CHANNEL)
            await self.world.discord.speak(guest, whistle)
            await trio.sleep(LEAVE_SECONDS - JOIN_SECONDS - WHISTLE_SECONDS)
            self.world.discord.go(guest)
            self.visits += 1
            await trio.sleep(VISIT_SECONDS - LEAVE_SECONDS)

    async def _restart_model(self) -> None:
        """Have the model that Ada talks with go, and come back."""
        await trio.sleep(self.seconds * RESTART_SHARE)
        name = self.world.talks[-1].ticket.model
        model = self.world.models[int((name or "m1").removeprefix("m")) - 1]
        self._outage = (trio.current_time(), trio.current_time() + OUTAGE_SECONDS + 2.0)
        model.is_gone = True
        for stream in model.streams:
            await trio.aclose_forcefully(stream)
        await trio.sleep(OUTAGE_SECONDS)
        model.is_gone = False

    async def _take_stock(self) -> None:
        process = psutil.Process()
        await trio.sleep(ROW_SECONDS - COUNT_SECONDS)
        while True:
            self._listen()
            gc.collect()
            talk = self.world.talks[-1]
            delay_seconds = self.world.ledger.total.percentile_seconds(99)
            row = Row(
                seconds=trio.current_time(),
                members=len(self.world.discord.present()[CHANNEL].humans),
                delays_seconds=() if delay_seconds is None else (delay_seconds,),
                memory_mib=process.memory_info().rss / 2**20,
                counts={
                    "tasks": trio.lowlevel.current_statistics().tasks_living,
                    "descriptors": process.num_fds(),
                },
                renewals=talk.progress.renewals.moved + talk.progress.renewals.reopened,
                visits=self.visits,
            )
            self.rows.append(row)
            print(row, flush=True)
            await trio.sleep(ROW_SECONDS)

    def _listen(self) -> None:
        """Note the gaps in what was heard since the last time, and forget it."""
        sent = self.world.voice.sent
        for at_seconds in self._sounds(sent):
            if self._heard_seconds:
                begin_seconds, end_seconds = self._outage
                name = "the restart" if begin_seconds <= at_seconds <= end_seconds else "any other time"
                gap_seconds = at_seconds - self._heard_seconds
                self.longest_gaps[name] = max(gap_seconds, self.longest_gaps.get(name, 0.0))
            self._heard_seconds = at_seconds
        sent.clear()

    @staticmethod
    def _sounds(sent: list[tuple[float, bytes]]) -> Iterator[float]:
        return (at_seconds for at_seconds, packet in sent if packet != OPUS_SILENCE)


async def run(minutes: float, renew_seconds: float, models: int) -> LongRoom:
    """Hold the call; return what was found."""
    async with open_talk(model_count=models, renew_seconds=renew_seconds, mark="none") as world:
        room = LongRoom(world, minutes * 60)
        await room.hold()
        return room


@click.command()
@click.option("--minutes", type=click.FloatRange(min=4), default=60.0, show_default=True, help="Its length.")
@click.option("--renew-seconds", type=float, default=240.0, show_default=True, help="The time of one link.")
@click.option("--models", type=click.IntRange(1, 2), default=2, show_default=True, help="How many there are.")
def main(minutes: float, renew_seconds: float, models: int) -> None:
    """Hold a long call in a room, and say what has grown."""
    room = trio.run(run, minutes, renew_seconds, models, clock=MockClock(autojump_threshold=0))
    for name, gap_seconds in room.longest_gaps.items():
        click.echo(f"longest gap at {name}: {gap_seconds:.2f} s")
    grown = growth(room.rows)
    if grown:
        raise click.ClickException(f"has grown: {'; '.join(grown)}")
    click.echo("Nothing has grown.")


if __name__ == "__main__":
    main()
