"""A first-time user's evening on a loopback Discord, written down as the people in the chat see it.

    python -m benchmarks.evening [--out docs/evening.md] [--record FILE]

Ada and Bob are people of the loopback Discord of the tests; `plexbridge run` and the test server, in the place of a
PersonaPlex server, are processes of their own, which are killed and started again. What people read is taken from the
record of what Discord was asked to do, what they hear from the packets that reached them. `--record` writes that record
down, one JSON object a line. If something does not happen in time, nothing is written, and the command fails.
"""

import dataclasses
import json
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from benchmarks.progress import Progress
from benchmarks.transcript import Line, Spoken, chat_lines, render, requests, sound_seconds
from plexbridge.session.outage import BACK_SENTENCE
from tests.command import model_at
from tests.discord_bridge import Bridge, run_bridge, speech_part, wait_bot, wait_talking
from tests.discord_server.control import Control, RecordEntry, run_discord_server
from tests.interop.environment import ModelServer, run_model_server

OUT = Path(__file__).parents[1] / "docs" / "evening.md"
BOT = "plexbridge"
CHANNEL = "Voice"
PAGE_CHARS = 120

THINK_SECONDS = 0.7
"""Between what a person reads and what it does next."""
ANSWER_SECONDS = 1.0
"""After a talk, for the last of the answer."""
OUTAGE_SECONDS = 3.0
WAIT_SECONDS = 30.0
"""For anything that has to happen in another process."""
PACKET_SECONDS = 0.02
"""Of one packet of a person's speech, and of the answer."""
MODEL_FLAGS = ("--voices", "NATF0.pt,NATM1.pt", "--prompt-seconds", "1")
SENTENCES = ((0.0, 3.3), (3.3, 5.5), (5.6, 7.4), (7.3, 8.6))
"""Parts of the speech that plexbridge ships, in seconds."""

INTRODUCTION = f"""# A first-time user's evening

Ada has never used the bot before. Its configuration is the one that plexbridge ships with, addresses apart. She comes,
talks, asks for another voice, has a guest, sees the speech model restart, and leaves; then plexbridge itself is killed
and started again. This is what stands in the chat of `#{CHANNEL}`, and what is heard there. Real processes make it:
`plexbridge run`, a loopback Discord, and a server that speaks PersonaPlex's protocol on other people's code, whose
"model" answers with the caller's own sound and with made-up words. Each text of the bot is what it sent to Discord.
Remarks stand in square brackets; what nobody in the channel sees, in round ones.

    python -m benchmarks.evening   # a minute; writes this page. --record FILE keeps what Discord was asked for
"""


class Evening:
    """The stage: who and what takes part, and what is noted beside the record."""

    def __init__(self, control: Control, folder: Path, progress: Progress) -> None:
        self.control = control
        self.folder = folder
        self.channel = control.voice_channel(CHANNEL)
        self.names = {control.ready.bot_id: BOT, self.channel: CHANNEL}
        self.lines: list[Line] = []
        self._progress = progress
        self._people: list[int] = []

    def add_person(self, name: str) -> int:
        """Return a new member of the server."""
        person = self.control.add_person(name)
        self.names[person] = name
        return person

    def note(self, text: str, at_seconds: float | None = None) -> None:
        """Add a line of what happens beside the chat."""
        self.lines.append(Line(time.monotonic() if at_seconds is None else at_seconds, text))
        self._progress.report("evening", text)

    def enter(self, person: int) -> None:
        """Let a person enter the voice channel."""
        time.sleep(THINK_SECONDS)
        self.control.join(person, self.channel)
        self._people.append(person)

    def leave(self, person: int) -> None:
        """Let a person leave the voice channel."""
        time.sleep(THINK_SECONDS)
        self.control.leave(person)
        self._people.remove(person)

    def type(self, person: int, path: str, **options: str) -> None:
        """Let a person use a command in the channel's chat, and wait for the answer."""
        time.sleep(THINK_SECONDS)
        used = self.control.use_command(person, self.channel, path, **options)

        def is_answered() -> bool:
            original = self.control.interaction(used)["original"]
            return original is not None and bool(original["content"])

        wait_until(is_answered, f"an answer to /{path}")

    def wait_model(self, bridge: Bridge, model: ModelServer) -> None:
        """Wait until the people in the channel can talk with the model; note when, and whose voice it has."""
        wait_talking(self.control, bridge, self.channel, *self._people)
        self.note(f"(The model listens, with the voice {model.state().voice}.)")

    def talk(self, person: int, sentence: tuple[float, float], *, during: Callable[[], None] | None = None) -> None:
        """Let a person talk; note how soon whoever is there hears the answer. `during` happens in mid-sentence."""
        time.sleep(THINK_SECONDS)
        start_seconds, length_seconds = time.monotonic(), sentence[1] - sentence[0]
        self.note(f"{self.names[person]} talks for {length_seconds:.1f} s.", start_seconds)
        self.control.speak_wav(person, speech_part(self.folder, *sentence), wait=False)
        time.sleep(length_seconds / 3)
        if during is not None:
            during()
        time.sleep(length_seconds * 2 / 3 + ANSWER_SECONDS)
        said = self._said(person, start_seconds)
        heard = {listener: self._heard(listener, start_seconds) for listener in self._people}
        for listener, times in heard.items():
            if not times:
                raise RuntimeError(f"{self.names[listener]} hears no answer")
        reached = " and ".join(f"{self.names[each]} {times[0] - said[0]:.1f} s" for each, times in heard.items())
        text = f"The answer reaches {reached} after the first word."
        if during is not None:
            shares = f"{len(said) * PACKET_SECONDS:.1f} s of sound went in, {len(heard[person]) * PACKET_SECONDS:.1f} s"
            text += f" ({shares} came back to {self.names[person]}.)"
        self.note(text, min(times[0] for times in heard.values()))

    def _said(self, person: int, after_seconds: float) -> list[float]:
        times = sound_seconds(Spoken(packet.at_seconds, packet.opus) for packet in self.control.sent(person))
        return [each for each in times if each >= after_seconds]

    def _heard(self, person: int, after_seconds: float) -> list[float]:
        packets = self.control.heard(person, self.control.ready.bot_id)
        times = sound_seconds(Spoken(packet.at_seconds, packet.opus) for packet in packets)
        return [each for each in times if each >= after_seconds]

    @contextmanager
    def bridge(self, model: ModelServer) -> Iterator[Bridge]:
        """Run plexbridge as it ships, with this model; its commands are known to Discord inside the block."""
        commands = f"PUT /applications/{self.control.ready.application_id}/commands"
        after = self.control.last_index
        with run_bridge(self.control, self.folder, model_at(model.url)) as running:
            self.control.wait("rest", commands, after=after)
            yield running


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait for what happens in another process; raises TimeoutError."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited for {what}")
        time.sleep(0.01)


def play(evening: Evening) -> None:
    """The evening itself."""
    control, channel = evening.control, evening.channel
    ada, bob = evening.add_person("Ada"), evening.add_person("Bob")
    with ExitStack() as stack:
        model = stack.enter_context(run_model_server(*MODEL_FLAGS))
        with evening.bridge(model) as bridge:
            evening.type(ada, "join")
            evening.enter(ada)
            evening.wait_model(bridge, model)
            evening.type(ada, "join")
            evening.talk(ada, SENTENCES[0])
            evening.type(ada, "voice", name="NATF9")
            evening.type(ada, "voices")
            evening.type(ada, "voice", name="NATM1")
            evening.type(ada, "status")
            evening.enter(bob)
            wait_talking(control, bridge, channel, ada, bob)
            evening.talk(bob, SENTENCES[1])
            model = restart_model(evening, model, stack, ada)
            evening.talk(ada, SENTENCES[2], during=lambda: move(evening))
            evening.leave(bob)
            evening.type(ada, "leave")
            wait_bot(control, channel, is_there=False)
            evening.type(ada, "join")
            evening.wait_model(bridge, model)
            evening.talk(ada, SENTENCES[3])
            end(evening, ada)
            time.sleep(THINK_SECONDS)
            killed_seconds = time.monotonic()
            bridge.process.kill()
            bridge.process.wait()
        with evening.bridge(model) as bridge:
            seconds = time.monotonic() - killed_seconds
            text = f"(plexbridge is killed with signal 9 and started again; it is ready {seconds:.1f} s later.)"
            evening.note(text, killed_seconds)
            evening.enter(ada)
            evening.wait_model(bridge, model)
            evening.talk(ada, SENTENCES[3])
            end(evening, ada)
            bridge.stop()


def restart_model(evening: Evening, model: ModelServer, stack: ExitStack, person: int) -> ModelServer:
    """Kill the model's server and start it again at the same address; return it when the people are told of it."""
    time.sleep(THINK_SECONDS)
    after = evening.control.last_index
    evening.note("(The model's server is killed.)")
    killed_seconds = time.monotonic()
    model.kill()
    evening.type(person, "status")
    time.sleep(OUTAGE_SECONDS)
    again = stack.enter_context(run_model_server(*MODEL_FLAGS, "--port", str(model.port)))
    started_seconds = time.monotonic()
    evening.note("(The model's server is there again.)", started_seconds)
    back_seconds = wait_post(evening.control, BACK_SENTENCE, after)
    outage_seconds, late_seconds = back_seconds - killed_seconds, back_seconds - started_seconds
    evening.note(
        f"(That took {outage_seconds:.1f} s, {late_seconds:.1f} s of it after the server's start.)", back_seconds
    )
    return again


def wait_post(control: Control, sentence: str, after: int) -> float:
    """Wait until the bot has written a sentence into the chat; return when it did."""
    posted = control.wait("message", "posted", after=after, seconds=WAIT_SECONDS, content=sentence)
    return posted.at_seconds


def move(evening: Evening) -> None:
    """Let Discord bring the call to another voice server."""
    evening.note("(Discord moves the call to another voice server.)")
    evening.control.move_voice_server(evening.channel)


def end(evening: Evening, person: int) -> None:
    """Let the last person leave, whom the bot follows."""
    evening.leave(person)
    wait_bot(evening.control, evening.channel, is_there=False)


def document(evening: Evening, entries: list[RecordEntry]) -> str:
    """Return the page."""
    ready = evening.control.ready
    shown = chat_lines(entries, evening.names, ready.bot_id, evening.channel)
    start_seconds = min(line.at_seconds for line in shown)
    counted = requests(entries).most_common()
    breaches = len(evening.control.violations(ready.bot_id))
    listed = ", ".join(f"`{name}` {count} times" for name, count in counted)
    asked = f"The bot's requests to Discord meanwhile: {listed}; breaches of Discord's rules by it: {breaches}."
    return "\n".join(
        [
            INTRODUCTION,
            f"From {datetime.now(UTC).date().isoformat()}; seconds from Ada's first command on:",
            "",
            "```text",
            *render([*shown, *evening.lines], start_seconds),
            "```",
            "",
            *textwrap.wrap(asked, PAGE_CHARS, break_on_hyphens=False),
            "",
        ]
    )


@click.command()
@click.option(
    "--out", "out", metavar="FILE", default=OUT, type=click.Path(dir_okay=False, path_type=Path),
    help="Where the page goes; docs/evening.md by default.",
)  # fmt: skip
@click.option(
    "--record", "record", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
    help="Where Discord's record of the evening goes, one JSON object a line.",
)  # fmt: skip
def main(out: Path, record: Path | None) -> None:
    """Play a first-time user's evening, and write down what is seen and heard."""
    progress = Progress()
    with TemporaryDirectory() as folder, run_discord_server() as control:
        evening = Evening(control, Path(folder), progress)
        play(evening)
        entries = control.record()
        page = document(evening, entries)
    progress.clear()
    out.write_text(page)
    print(f"page: {out}")
    if record is not None:
        record.write_text("".join(f"{json.dumps(dataclasses.asdict(entry))}\n" for entry in entries))
        print(f"record: {record}")


if __name__ == "__main__":
    main()
