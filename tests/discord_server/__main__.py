"""Start the server by hand or from a test: `python -m tests.discord_server --port 8080`.

Prints one line of JSON as soon as clients can connect, and runs until SIGINT, SIGTERM or the end of its standard input
(with `--until-eof`, so that it never outlives the test that started it).
"""

import argparse
import asyncio
import json
import logging
import signal
import sys
from dataclasses import fields
from typing import Literal, get_args, get_origin, get_type_hints

from tests.discord_server.control_api import ControlApi
from tests.discord_server.options import Options
from tests.discord_server.server import LoopbackDiscord


def parse_arguments() -> tuple[Options, bool]:
    """Return the options, and whether the end of standard input ends the server."""
    parser = argparse.ArgumentParser(prog="python -m tests.discord_server", description="A loopback Discord.")
    parser.add_argument("--until-eof", action="store_true", help="stop when standard input ends")
    parser.add_argument("--verbose", action="store_true", help="log to standard error")
    hints = get_type_hints(Options)
    for option in fields(Options):
        default, flag = option.default, "--" + option.name.replace("_", "-")
        if get_origin(hints[option.name]) is Literal:
            parser.add_argument(flag, choices=get_args(hints[option.name]), default=default)
        elif isinstance(default, bool):
            parser.add_argument(flag, action="store_true")
        elif isinstance(default, tuple):
            parser.add_argument(flag, nargs="+", default=list(default))
        else:
            parser.add_argument(flag, type=type(default), default=default)
    given = vars(parser.parse_args())
    logging.basicConfig(level=logging.INFO if given.pop("verbose") else logging.ERROR)
    until_eof = bool(given.pop("until_eof"))
    return Options(**given | {"modes": tuple(given["modes"])}), until_eof


async def run(options: Options, *, until_eof: bool) -> None:
    """Serve until told to stop."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    server = LoopbackDiscord(options)
    server.extra_routes = ControlApi(server).routes()
    async with server:
        print(json.dumps(server.ready()), flush=True)
        if until_eof:
            reader = asyncio.StreamReader()
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
            ended = asyncio.create_task(reader.read())
            ended.add_done_callback(lambda _: stopped.set())
        await stopped.wait()


def main() -> None:
    """Run the command."""
    options, until_eof = parse_arguments()
    asyncio.run(run(options, until_eof=until_eof))


if __name__ == "__main__":
    main()
