"""`plexbridge run` with its page as a process, for the live tests."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from tests.command import NO_SETTINGS, Ended
from tests.discord_bridge import Bridge, run_service

ANSWER_SECONDS = 5.0
_READY = re.compile(r"page at (https?://127\.0\.0\.1:(\d+)/)")


@dataclass(frozen=True)
class WebService:
    """A running `plexbridge run`."""

    bridge: Bridge
    page: str
    """The address of the page."""
    port: int

    @property
    def log(self) -> str:
        """What it has written to stderr so far."""
        return self.bridge.log

    def is_healthy(self) -> bool:
        """Whether it answers, over a new connection."""
        with urlopen(f"{self.page}healthz", timeout=ANSWER_SECONDS) as response:
            return bool(response.status == 200 and response.read() == b"ok")

    def stop(self) -> Ended:
        """Send SIGTERM and wait for the end."""
        return self.bridge.stop()


@contextmanager
def run_web_service(folder: Path, settings: Mapping[str, str] = NO_SETTINGS) -> Iterator[WebService]:
    """Run it, ready inside the block; what still runs at the end is stopped."""
    with run_service(folder, settings) as bridge:
        ready = _READY.search(bridge.ready_line)
        assert ready is not None, bridge.ready_line
        yield WebService(bridge, ready[1], int(ready[2]))
