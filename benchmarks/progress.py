"""What the benchmarks are doing, on stderr while they do it."""

import sys
import time

EVERY_SECONDS = 15.0
"""Between two lines of one part where stderr is no terminal."""


class Progress:
    """One line that is renewed on a terminal; elsewhere a line now and then."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._part = ""
        self._said_at_seconds = 0.0

    def report(self, part: str, words: str) -> None:
        """Say how far `part` is."""
        line = f"{part}: {words}"
        if self._is_terminal:
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
            return
        now_seconds = time.monotonic()
        if part != self._part or now_seconds - self._said_at_seconds >= EVERY_SECONDS:
            self._part, self._said_at_seconds = part, now_seconds
            print(line, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Make room for the results."""
        if self._is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
