"""The command line: arguments to calls, signals to cancellation, errors to one line and an exit code.

Results go to stdout, progress and logs to stderr. Exit codes: 0 done; 1 it failed, with one sentence on stderr;
2 usage or configuration; 130 Ctrl-C, 143 SIGTERM where that is not the ordinary way to stop.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from math import isfinite
from pathlib import Path
from typing import NoReturn

import click
import trio

from plexbridge import __version__, logs
from plexbridge.call import run_call
from plexbridge.check import check
from plexbridge.config import Config, ModelConfig, load
from plexbridge.errors import ConfigError, PlexbridgeError, RequestError
from plexbridge.model.answers import Echo, Turns
from plexbridge.model.loopback import LoopbackServer, listen_loopback, serve_loopback
from plexbridge.run import run_service
from plexbridge.service import open_backend, probe_model
from plexbridge.speech.formats import FORMATS, FormatName
from plexbridge.transcribe import run_transcribe

_CONFIG = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="The configuration file; without it ./config.toml if there is one, else the defaults.",
)

_STOPPED = {signal.SIGINT: 0, signal.SIGTERM: 0}
_INTERRUPTED = {signal.SIGINT: 130, signal.SIGTERM: 143}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Talk, out loud and in both directions at once, with a full-duplex speech AI."""


@cli.command()
@click.argument("speech", metavar="IN.wav", type=click.Path(path_type=Path))
@click.argument("answer", metavar="OUT.wav", type=click.Path(path_type=Path))
@click.option("--model", "model_name", metavar="NAME", help="The [[model]] to call; the first one by default.")
@click.option(
    "--text", "text_path", metavar="FILE.jsonl", type=click.Path(path_type=Path), help="What it says, as text."
)
@click.option(
    "--tail", "tail_seconds", metavar="SECONDS", default=2.0, show_default=True,
    type=click.FloatRange(0, 3600), help="How long to listen after the end of IN.wav.",
)  # fmt: skip
@_CONFIG
def call(
    speech: Path,
    answer: Path,
    model_name: str | None,
    text_path: Path | None,
    tail_seconds: float,
    config_path: Path | None,
) -> None:
    """Speak IN.wav to the model in real time, and write its answer to OUT.wav."""
    if not isfinite(tail_seconds):
        raise click.BadParameter("expected a number of seconds", param_hint="--tail")
    config = _load(config_path)
    model = config.find_model(model_name)
    _run(
        partial(run_call, config, model, speech, answer, text_path, tail_seconds=tail_seconds),
        code_of_signal=_INTERRUPTED,
    )


@cli.command()
@click.argument("speech", metavar="FILE.wav", type=click.Path(path_type=Path))
@click.option(
    "--format", "format_name", default="text", show_default=True,
    type=click.Choice(list(FORMATS)), help="How it is written down.",
)  # fmt: skip
@_CONFIG
def transcribe(speech: Path, format_name: FormatName, config_path: Path | None) -> None:
    """Print what is said in FILE.wav, with times, by the engine that [speech] names."""
    config = _load(config_path)
    _run(partial(run_transcribe, config.speech, speech, format_name), code_of_signal=_INTERRUPTED)


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to serve on.")
@click.option("--port", default=8998, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--mode", default="echo", show_default=True, type=click.Choice(["echo", "turns"]), help="How it answers.")
@click.option("--delay-ms", default=0, show_default=True, type=click.IntRange(0, 2_000), help="Held back so long.")
def loopback(host: str, port: int, mode: str, delay_ms: int) -> None:
    """Serve the embedded model: it speaks PersonaPlex's protocol and needs no GPU."""
    logs.configure(level="info", format="text", file=None)
    server = LoopbackServer(Echo if mode == "echo" else Turns, delay_seconds=delay_ms / 1000)

    async def serve() -> None:
        listeners, url = await listen_loopback(host, port)
        print(f"plexbridge loopback is ready at {url}", flush=True)
        await serve_loopback(server, listeners)

    _run(serve, code_of_signal=_STOPPED)


@cli.command()
@_CONFIG
def run(config_path: Path | None) -> None:
    """Run the service until Ctrl-C or SIGTERM."""
    config = _load(config_path)

    _run(partial(run_service, config), code_of_signal=_STOPPED)


@cli.command("check")
@_CONFIG
def check_command(config_path: Path | None) -> None:
    """Show the effective configuration, and test what it needs: libraries, models, voices, paths."""
    config = _load(config_path)

    async def probe(model: ModelConfig) -> float | PlexbridgeError:
        async with open_backend(model) as backend:
            return await probe_model(backend, persona=config.persona)

    async def report() -> int:
        checked = await check(config, probe=probe)
        for line in checked.lines():
            click.echo(line)
        return 0 if checked.is_ok else 1

    _run(report, code_of_signal=_INTERRUPTED)


def _load(path: Path | None) -> Config:
    config = load(path, os.environ)
    for text in config.private_texts():
        logs.redact(text, is_lasting=True)
    logs.configure(level=config.log.level, format=config.log.format, file=config.log.file)
    return config


def _run(work: Callable[[], Awaitable[int | None]], *, code_of_signal: Mapping[signal.Signals, int]) -> NoReturn:
    """Run `work` and exit with its code, or that of the signal that ended it; its own errors pass through."""
    sys.exit(trio.run(_until_signal, work, code_of_signal))


async def _until_signal(work: Callable[[], Awaitable[int | None]], code_of_signal: Mapping[signal.Signals, int]) -> int:
    code = 0
    failure: PlexbridgeError | None = None

    async def wait_signal() -> None:
        nonlocal code
        async for number in received:
            code = code_of_signal[signal.Signals(number)]
            nursery.cancel_scope.cancel(reason=f"signal {number}")

    for number in code_of_signal:
        signal.signal(number, signal.SIG_IGN)  # restored behind the receiver: a second signal changes nothing
    with trio.open_signal_receiver(*code_of_signal) as received:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_signal)
            try:
                code = await work() or 0
            except PlexbridgeError as exc:
                failure = exc  # raised below, where no nursery wraps it
            nursery.cancel_scope.cancel(reason="done")
    if failure is not None:
        raise failure
    return code


def main() -> None:
    """Run the command line; `plexbridge.__main__` calls it."""
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except click.Abort:
        sys.exit(130)
    except ConfigError as exc:
        for fault in exc.faults:
            print(f"plexbridge: {fault}", file=sys.stderr)
        sys.exit(2)
    except RequestError as exc:
        print(f"plexbridge: {exc.user_message}", file=sys.stderr)
        sys.exit(2)
    except PlexbridgeError as exc:
        print(f"plexbridge: {exc.user_message}", file=sys.stderr)
        sys.exit(1)
