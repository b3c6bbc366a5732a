"""`plexbridge call`: a WAV file talks to a model, somebody watches, and a summary stands at the end."""

from pathlib import Path

import trio
from rich.console import Console
from rich.live import Live
from rich.text import Text

from plexbridge.config import Config, ModelConfig
from plexbridge.errors import RequestError
from plexbridge.people.wav import WavPeople, open_wav_people
from plexbridge.screen import live_line, print_summary
from plexbridge.service import hold_conversation, open_backend, session_settings
from plexbridge.session.ledger import Ledger
from plexbridge.session.link import Link

REFRESH_SECONDS = 0.1
REPORT_SECONDS = 5.0
"""Between two lines of progress where the output is no terminal."""


async def run_call(
    config: Config, model: ModelConfig, speech: Path, answer: Path, text: Path | None, *, tail_seconds: float
) -> None:
    """Hold the call and print its summary, also when it is cancelled or fails.

    Raises RequestError for files that can't be used, ConfigError for
    a `ca_file` that can't be, and what `hold_conversation` returns.
    """
    _refuse_same_file(speech, answer, text)
    ledger = Ledger()
    links: list[Link] = []
    with open_wav_people(speech, answer, text, tail_seconds=tail_seconds) as people:
        try:
            async with open_backend(model) as backend, trio.open_nursery() as nursery:
                nursery.start_soon(_show_progress, people, ledger)
                failure = await hold_conversation(
                    backend,
                    people,
                    persona=config.persona,
                    settings=session_settings(config.audio),
                    ledger=ledger,
                    on_open=links.append,
                )
                nursery.cancel_scope.cancel(reason="the call has ended")
            if failure is not None:
                people.report_error(failure.user_message)
                raise failure
            people.fill_to_end()
        finally:
            for link in links:
                print_summary(Console(), ledger, handshake_seconds=link.handshake_seconds)


async def _show_progress(people: WavPeople, ledger: Ledger) -> None:
    """Keep a live line on a terminal; elsewhere print one from time to time."""
    console = Console(stderr=True)
    if not console.is_terminal:
        while True:
            await trio.sleep(REPORT_SECONDS)
            console.print(_line(people, ledger), soft_wrap=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(_line(people, ledger), refresh=True)
            await trio.sleep(REFRESH_SECONDS)


def _line(people: WavPeople, ledger: Ledger) -> Text:
    line = live_line(
        ledger, input_dbfs=people.input_dbfs, output_dbfs=people.output_dbfs, seconds_left=people.seconds_left
    )
    return Text(line, overflow="ellipsis", no_wrap=True)


def _refuse_same_file(speech: Path, answer: Path, text: Path | None) -> None:
    paths = [path.resolve() for path in (speech, answer, text) if path is not None]
    if len(set(paths)) < len(paths):
        raise RequestError("IN.wav, OUT.wav and FILE.jsonl must be different files.")
