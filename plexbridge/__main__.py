"""`python -m plexbridge`, and the entry point of the command `plexbridge`."""

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command line. Until it watches for signals itself, which is half a second of imports, one ends it."""
    signal.signal(signal.SIGINT, _leave)
    from plexbridge.cli import main as run_command_line

    run_command_line()


def _leave(number: int, frame: FrameType | None) -> None:
    # Not by an exception: it would come up inside an import, where libraries take it for a failure of their own.
    os._exit(130)


if __name__ == "__main__":
    main()
