"""A long call in real time: the link is renewed, members come and go, the model is restarted, and nothing grows.

    python -m benchmarks.long_call [--minutes 15] [--short]

`plexbridge run` is a process between a loopback Discord, with end-to-end encryption, and a server that speaks
PersonaPlex's protocol on other people's code, serves one session, and gives back what it hears. Ada warbles from the
first second to the last, without a pause, so that every renewal has to be made at its deadline, and hears the answer.
Others come, whistle and leave, three in a minute. Once the model's server is killed and started again.

Once in a minute, while nobody but Ada is there, plexbridge says how many tasks, threads and descriptors it has. It
collects its garbage for that, which stops it for a moment; the gap that this makes is reported for itself. The command
fails when something has grown (`long_call_report.py`).
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import psutil

from benchmarks.listening import decoded, delays, gaps, warble
from benchmarks.long_call_report import COUNTING, Event, Report, Row, document, growth
from tests.command import model_at
from tests.discord_server.hearing import Heard
from tests.discord_server.person import Sent
from tests.discord_server.probing import wait_until
from tests.discord_server.speech import encode
from tests.discord_stage import Stage, run_stage
from tests.interop.environment import ModelServer, run_model_server

MODEL_FLAGS = ("--text-every", "0", "--prompt-seconds", "0.3")
"""The model writes nothing, and takes a moment for its prompt."""
CALM = {"PLEXBRIDGE_RENEWAL_MARK": "none", "PLEXBRIDGE_HEARING_IDLE_MINUTES": "0"}
"""A mark would be heard within a gap, and who only warbles and whistles says nothing."""
WHOLE_MINUTES, SHORT_MINUTES = 15, 1
RENEW_SECONDS, SHORT_RENEW_SECONDS = 240.0, 15.0
ROW_SECONDS, SHORT_ROW_SECONDS = 60.0, 20.0
COUNT_SECONDS = 4.0
"""Before the end of a row: the last guest is gone, and a renewal is not due."""
VISIT_SECONDS = 20.0
JOIN_SECONDS, LEAVE_SECONDS = 3.0, 12.0
"""Within a visit."""
WHISTLE_SECONDS = 4.0
WHISTLE_HZ = 2_500.0
GUESTS = ("Bob", "Eve", "Joe", "Kim", "Max")
"""They take turns, and come again and again."""
RESTART_SHARE = 0.64
"""Of the whole call: not where a link is about to be renewed, as each new one has all its time before it."""
OUTAGE_SECONDS = 1.0
BACK_SECONDS = 60.0
"""After so long a model that is not found again is given up."""
FETCH_SECONDS = 5.0
"""How often the loopback Discord is asked what was said and heard; it does nothing else meanwhile."""
LOOK_SECONDS = 0.05
"""How often the log is looked at, and with it how exactly a renewal is dated."""
MARGIN_SECONDS = 1.0
"""Before and after an event: the gaps there belong to it."""
WARBLE_SECONDS = 60.0
"""It is repeated then, when nothing that listens remembers it."""
RENEWED = "is renewed, after"

Act = Callable[[], None]


class LongCall:
    """The call, and all that is seen and heard of it."""

    def __init__(self, stage: Stage, model: ModelServer, models: ExitStack) -> None:
        """`models` ends the model's servers after the stage is cleared."""
        self._stage = stage
        self._model = model
        self._models = models
        self._guests = [stage.control.add_person(name) for name in GUESTS]
        self._process = psutil.Process(stage.bridge.process.pid)
        self._renewals = 0
        self._visits = 0
        self._said: list[Sent] = []
        self._heard: list[Heard] = []
        self._begin_seconds = self._said_seconds = self._heard_seconds = 0.0
        self._audible_seconds: list[float] = []
        self._rows: list[Row] = []
        self._events: list[Event] = []

    def hold(self, seconds: float, row_seconds: float) -> None:
        """Hold it to its end, and print each row."""
        control, ada = self._stage.control, self._stage.ada
        self._stage.converse()
        packets = encode(warble(WARBLE_SECONDS, seed=1))
        spoken = list(islice(cycle(packets), round(seconds * len(packets) / WARBLE_SECONDS)))
        self._begin_seconds = self._said_seconds = self._heard_seconds = time.monotonic()
        control.speak_packets(ada, spoken, wait=False)
        for due_seconds, act in self._agenda(seconds, row_seconds):
            self._watch_until(self._begin_seconds + due_seconds)
            act()
        control.hush(ada)

    def _agenda(self, seconds: float, row_seconds: float) -> list[tuple[float, Act]]:
        """Return what happens at which second of the call."""
        acts: list[tuple[Act, float, float]] = [
            (self._fetch, FETCH_SECONDS, FETCH_SECONDS),
            (self._join, JOIN_SECONDS, VISIT_SECONDS),
            (self._leave, LEAVE_SECONDS, VISIT_SECONDS),
            (self._take_stock, row_seconds - COUNT_SECONDS, row_seconds),
        ]
        agenda = [(at, act) for act, first, every in acts for at in np.arange(first, seconds, every).tolist()]
        return sorted([*agenda, (RESTART_SHARE * seconds, self._restart_model)], key=lambda entry: entry[0])

    def _watch_until(self, due_seconds: float) -> None:
        """Note each renewal when it is made."""
        while True:
            log = self._stage.bridge.log
            if (renewals := log.count(RENEWED)) > self._renewals:
                self._renewals = renewals
                gap_seconds = float(log.rpartition(RENEWED)[2].split()[0])
                now_seconds = time.monotonic()
                self._note(f"renewal {renewals}", now_seconds - gap_seconds, now_seconds)
            left_seconds = due_seconds - time.monotonic()
            if left_seconds <= 0:
                return
            time.sleep(min(LOOK_SECONDS, left_seconds))

    def _note(self, name: str, begin_seconds: float, end_seconds: float) -> None:
        self._events.append(Event(name, begin_seconds - MARGIN_SECONDS, end_seconds + MARGIN_SECONDS))

    def _join(self) -> None:
        guest = self._guests[self._visits % len(self._guests)]
        self._stage.control.join(guest, self._stage.channel)
        self._stage.control.speak_tone(guest, hz=WHISTLE_HZ, seconds=WHISTLE_SECONDS, wait=False)

    def _leave(self) -> None:
        self._stage.control.leave(self._guests[self._visits % len(self._guests)])
        self._visits += 1

    def _restart_model(self) -> None:
        """Kill the model's server, start it again at the same address, and wait until it listens."""
        conversations, begin_seconds = self._stage.conversations, time.monotonic()
        self._model.kill()
        time.sleep(OUTAGE_SECONDS)
        self._model = self._models.enter_context(run_model_server(*MODEL_FLAGS, "--port", str(self._model.port)))
        wait_until(lambda: self._stage.conversations > conversations, BACK_SECONDS)
        self._note("restart of the model", begin_seconds, time.monotonic())

    def _take_stock(self) -> None:
        """Look at what plexbridge has, and at what was heard since the last time."""
        begin_seconds = time.monotonic()
        counts = self._stage.bridge.count()
        self._note(COUNTING, begin_seconds, time.monotonic())
        memory_mib = self._process.memory_info().rss / 2**20
        row = Row(
            seconds=begin_seconds - self._begin_seconds,
            members=self._members(),
            delays_seconds=tuple(self._listen()),
            memory_mib=memory_mib,
            counts=counts,
            renewals=self._renewals,
            visits=self._visits,
        )
        self._rows.append(row)
        print(row, flush=True)

    def _members(self) -> int:
        room = self._stage.control.room(self._stage.channel)
        return 0 if room is None else len(room["user_ids"])

    def _fetch(self) -> None:
        """Get what was said and heard since the last time."""
        control, ada = self._stage.control, self._stage.ada
        self._said += control.sent(ada, after_seconds=self._said_seconds)
        self._heard += control.heard(ada, self._stage.bot, after_seconds=self._heard_seconds)
        self._said_seconds = max([self._said_seconds, *(packet.at_seconds for packet in self._said)])
        self._heard_seconds = max([self._heard_seconds, *(packet.at_seconds for packet in self._heard)])

    def _listen(self) -> list[float]:
        """Listen to what was heard since the last time; return its delays."""
        said, heard = decoded(self._said), decoded(self._heard)
        self._said, self._heard = [], []
        self._audible_seconds += [sound.at_seconds for sound in heard if sound.is_audible]
        return delays(said, heard)

    def report(self) -> Report:
        """Return all that there is to say of it, when it has ended; raises RuntimeError when nothing was heard."""
        self._fetch()
        self._listen()
        if not self._audible_seconds:
            raise RuntimeError("the bot gives nothing back")
        return Report(tuple(self._rows), gaps(self._audible_seconds), tuple(self._events))


@click.command()
@click.option("--minutes", type=click.IntRange(min=2), default=WHOLE_MINUTES, show_default=True, help="Its length.")
@click.option("--short", "is_short", is_flag=True, help="One minute: does everything run?")
def main(minutes: int, is_short: bool) -> None:
    """Hold a long call on Discord, and say what has grown."""
    minutes = SHORT_MINUTES if is_short else minutes
    renew_seconds = SHORT_RENEW_SECONDS if is_short else RENEW_SECONDS
    load_before = os.getloadavg()[0]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        models = stack.enter_context(ExitStack())
        model = models.enter_context(run_model_server(*MODEL_FLAGS))
        settings = {**model_at(model.url, MODEL_RENEW_SECONDS=str(renew_seconds)), **CALM}
        stage = stack.enter_context(run_stage(folder, settings))
        call = LongCall(stage, model, models)
        call.hold(minutes * 60, SHORT_ROW_SECONDS if is_short else ROW_SECONDS)
        report = call.report()
        stage.assert_lawful()
    click.echo(f"\n{document(report)}\n")
    click.echo(f"Load of the whole machine: {load_before:.1f} before, {os.getloadavg()[0]:.1f} after.")
    grown = [] if is_short else growth(report.rows)
    if grown:
        raise click.ClickException(f"has grown: {'; '.join(grown)}")
    click.echo("Too short to say whether anything grows." if is_short else "Nothing has grown.")


if __name__ == "__main__":
    main()
