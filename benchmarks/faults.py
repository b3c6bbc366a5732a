"""One conversation in a Discord voice channel, and one fault after the other: what people hear and read of each.

    python -m benchmarks.faults [--short] [--seed N] [--out FILE]

`plexbridge run` is a process between a loopback Discord and a server that speaks PersonaPlex's protocol on other
people's code. All faults, in an order that depends on the seed, happen to one session of the process; what ends a
conversation by design comes afterwards, each in a conversation of its own. `faults_page.py` writes the page, and draws
the picture beside it. The command fails when a fault is felt for longer than `LIMIT_SECONDS`.
"""

import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from benchmarks.faults_page import LIMIT_SECONDS, Outcome, Parting, Report, draw, page
from benchmarks.progress import Progress
from tests.command import model_at
from tests.discord_bridge import Bridge, run_bridge, wait_bot, wait_talking
from tests.discord_faults import ENDS, FAULTS, End, Fault, Scene
from tests.discord_server.control import Control, run_discord_server
from tests.discord_talker import Talker
from tests.interop.environment import ModelServer, run_model_server

OUT = Path(__file__).parents[1] / "docs" / "faults.md"
SHORT_FAULTS, SHORT_ENDS = ("4006", "server", "op 7"), ("kick",)
MODEL = "model"
MODEL_FLAGS = ("--text-every", "0")
"""The model writes nothing, so that all there is to read is the bot's."""
SETTLE_SECONDS = 0.5
"""Between two faults, and for the last words of a conversation."""
END_SECONDS = 20.0
FELT_SECONDS = 30.0
"""After so long a fault is given up."""


class Stage:
    """The processes, the one conversation, and who takes part."""

    def __init__(self, control: Control, bridge: Bridge, model: ModelServer, stack: ExitStack) -> None:
        self.control = control
        self._bridge = bridge
        self._model = model
        self._stack = stack
        self._person = control.add_person("Ada")
        self._guest = control.add_person("Bob")
        self._scene = self._enter(control.voice_channel())

    def _enter(self, channel_id: int) -> Scene:
        self.control.join(self._person, channel_id)
        wait_talking(self.control, self._bridge, channel_id, self._person)
        time.sleep(SETTLE_SECONDS)
        return Scene(self.control, channel_id, self._person, self._guest)

    def restart_model(self, scene: Scene) -> None:
        """Kill the model's server and start it again at the same address."""
        self._model.kill()
        self._model = self._stack.enter_context(run_model_server(*MODEL_FLAGS, "--port", str(self._model.port)))

    def suffer(self, fault: Fault) -> Outcome:
        """Let a fault happen twice: to one long sentence, and before a new one."""
        talker = Talker(self.control, self._person, self._scene.channel_id)
        conversations, rooms = self._counts()
        felt = []
        for feel in (talker.feel_sentence, talker.feel_new_sentence):
            fault.prepare(self._scene)
            felt.append(feel(lambda: fault.act(self._scene), within_seconds=FELT_SECONDS))
            fault.clean_up(self._scene)
            time.sleep(SETTLE_SECONDS)
        sentence, new_sentence = felt
        began, ended = (now - then for now, then in zip(self._counts(), (conversations, rooms), strict=True))
        return Outcome(
            title=fault.title,
            answered_seconds=new_sentence.answered_seconds,
            hole_seconds=sentence.hole_seconds if sentence.answered_seconds is not None else None,
            read=tuple(dict.fromkeys([*sentence.read, *new_sentence.read])),
            conversation="has ended" if ended else "begins anew" if began else "goes on",
        )

    def part(self, name: str, end: End) -> Parting:
        """End a conversation in a channel of its own."""
        self.control.leave(self._person)
        wait_bot(self.control, self._scene.channel_id, is_there=False)
        channel_id = self.control.add_channel(name, is_voice=True)
        self._scene = self._enter(channel_id)
        rooms = self._counts()[1]
        started = time.monotonic()
        end.act(self._scene)
        while self._counts()[1] == rooms:
            if time.monotonic() > started + END_SECONDS:
                raise TimeoutError(f"the conversation did not end: {end.title}")
            time.sleep(0.01)
        seconds = time.monotonic() - started
        time.sleep(SETTLE_SECONDS)
        return Parting(end.title, seconds, tuple(Talker(self.control, self._person, channel_id).read()))

    def _counts(self) -> tuple[int, int]:
        """Return how many conversations with the model have begun, and how many the people's side has ended."""
        return self._bridge.log.count("talking to model"), self._bridge.log.count("left channel")


@contextmanager
def open_stage() -> Iterator[Stage]:
    """Start everything, and hold a conversation; raises RuntimeError when the bot has broken one of Discord's rules."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        control = stack.enter_context(run_discord_server())
        model = stack.enter_context(run_model_server(*MODEL_FLAGS))
        bridge = stack.enter_context(run_bridge(control, folder, model_at(model.url)))
        yield Stage(control, bridge, model, stack)
        breaches = control.violations()
        ended = bridge.stop()
        if breaches or ended.code != 0:
            raise RuntimeError(f"exit code {ended.code}, breaches of Discord's rules: {breaches}")


def measure(
    fault_names: Sequence[str], end_names: Sequence[str], progress: Progress
) -> tuple[list[Outcome], list[Parting]]:
    """Let everything happen, in this order."""
    with open_stage() as stage:
        faults = {**FAULTS, MODEL: Fault("the model's server is killed and started again", stage.restart_model)}
        outcomes = []
        for name in fault_names:
            progress.report("faults", faults[name].title)
            outcomes.append(stage.suffer(faults[name]))
        partings = []
        for name in end_names:
            progress.report("ends", ENDS[name].title)
            partings.append(stage.part(name, ENDS[name]))
    return outcomes, partings


@click.command()
@click.option("--short", "is_short", is_flag=True, help="Three faults and one end: does everything run?")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the order of the faults.")
@click.option(
    "--out", "out", metavar="FILE", default=OUT, type=click.Path(dir_okay=False, path_type=Path),
    help="Where the page goes, and beside it the picture; docs/faults.md by default.",
)  # fmt: skip
def main(is_short: bool, seed: int, out: Path) -> None:
    """Let one conversation on Discord meet one fault after the other, and write down what is heard and read."""
    names = [*SHORT_FAULTS] if is_short else [*FAULTS, MODEL]
    random.Random(seed).shuffle(names)
    progress = Progress()
    progress.report("faults", f"seed {seed}: {', '.join(names)}")
    load_before = os.getloadavg()[0]
    outcomes, partings = measure(names, SHORT_ENDS if is_short else [*ENDS], progress)
    progress.clear()
    started = datetime.now(UTC).date().isoformat()
    report = Report(started, seed, is_short, (load_before, os.getloadavg()[0]), outcomes, partings)
    out.write_text(page(report, out.with_suffix(".png").name))
    draw(report, out.with_suffix(".png"))
    for outcome in outcomes:
        click.echo(outcome)
    click.echo(f"page: {out}")
    late = [outcome for outcome in outcomes if outcome.is_late]
    if late:
        raise click.ClickException(
            f"felt for more than {LIMIT_SECONDS:.0f} s: {'; '.join(outcome.title for outcome in late)}"
        )


if __name__ == "__main__":
    main()
