"""`plexbridge run` with its page as a process, for the live tests."""

import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

from tests.command import NO_SETTINGS, Ended, start

END_SECONDS = 15.0
ANSWER_SECONDS = 5.0
_READY = re.compile(r"page at (https?://127\.0\.0\.1:(\d+)/)")


@dataclass
class WebService:
    """A running `plexbridge run`."""

    process: subprocess.Popen[str]
    page: str
    port: int
    _log: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        """What a browser writes into `Host`."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has written to stderr so far."""
        return "".join(self._log)

    def is_healthy(self) -> bool:
        """Whether it answers, over a new connection."""
        with urlopen(f"{self.page}healthz", timeout=ANSWER_SECONDS) as response:
            return bool(response.status == 200 and response.read() == b"ok")

    def stop(self) -> Ended:
        """Send SIGTERM and wait for the end."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(END_SECONDS)
        return Ended(code, self.page, self.log, time.monotonic() - started)


@contextmanager
def run_web_service(folder: Path, settings: Mapping[str, str] = NO_SETTINGS) -> Iterator[WebService]:
    """Run it, ready inside the block; a process that still runs at the end is stopped."""
    with start("run", cwd=folder, settings=settings) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        log: list[str] = []
        reader = threading.Thread(target=log.extend, args=(process.stderr,))
        reader.start()
        try:
            ready = _READY.search(process.stdout.readline())
            assert ready is not None, "".join(log)
            yield WebService(process, ready[1], int(ready[2]), log)
        finally:
            process.kill()
            reader.join()
