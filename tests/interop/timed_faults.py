"""The faults of a session that come with time, counted from its handshake."""

import asyncio
import time
from types import TracebackType

from tests.interop.connection import Connection
from tests.interop.echo_model import ModelFailure
from tests.interop.flags import Flags

FREEZE_POLL_SECONDS = 0.05


class Shutdown:
    """Whether the process was asked to end; a frozen model looks at it, since nothing else runs then."""

    def __init__(self) -> None:
        self.is_asked = False


class TimedFaults:
    """The clock of one session; a context manager, so that no fault outlives the session."""

    def __init__(self, connection: Connection, flags: Flags, shutdown: Shutdown) -> None:
        self._connection = connection
        self._flags = flags
        self._shutdown = shutdown
        self._began_at = 0.0
        self._death: asyncio.TimerHandle | None = None

    def __enter__(self) -> "TimedFaults":
        self._began_at = time.monotonic()
        if self._flags.die_after:
            loop = asyncio.get_running_loop()
            self._death = loop.call_later(self._flags.die_after, self._connection.reset)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._death is not None:
            self._death.cancel()

    @property
    def is_hung(self) -> bool:
        """Whether nothing is to be processed any more."""
        return self._is_due(self._flags.hang_after)

    def before_step(self) -> None:
        """Have the faults of the model's step: block for ever, or raise `ModelFailure`."""
        while self._is_due(self._flags.freeze_after) and not self._shutdown.is_asked:
            time.sleep(FREEZE_POLL_SECONDS)
        if self._is_due(self._flags.close_1000_after):
            raise ModelFailure("the time of --close-1000-after is over")

    def _is_due(self, after_seconds: float) -> bool:
        return bool(after_seconds) and time.monotonic() - self._began_at >= after_seconds
