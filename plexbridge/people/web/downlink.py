"""Everything that goes to one page, in one task: words first, then sound, then the goodbye.

Nobody who has something for the page ever waits for it. What waits is bounded: of sound the newest `QUEUED_FRAMES`, of
words the newest `QUEUED_TEXTS`; what gives way is counted. Before it comes to that, `Lateness` withholds sound from a
page that does not play it: the socket's buffers would take minutes of it.

The task is shielded from cancellation, since half a message would break the connection before the goodbye; `finish`
ends it, within a stated time.
"""

from collections import deque
from dataclasses import dataclass
from math import inf

import trio
import trio_websocket

from plexbridge.people.web.lateness import Lateness
from plexbridge.people.web.messages import Audio, audio_message

QUEUED_FRAMES = 6
"""120 ms."""
QUEUED_TEXTS = 256
"""Twenty seconds of a model's words: so long a connection may be held up until it is taken for dead."""
GOODBYE_SECONDS = 0.5
"""For the last words and the close; the service stops within two seconds, however many pages there are."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ends."""

    close_code: int
    message: str | None = None
    """The last message; None where nobody reads it."""


class Downlink:
    """The way to one page; whoever runs `run` has to call `finish`."""

    def __init__(self, websocket: trio_websocket.WebSocketConnection) -> None:
        self._websocket = websocket
        self._texts: deque[str] = deque(maxlen=QUEUED_TEXTS)
        self._frames: deque[Audio] = deque()
        self._changed = trio.Event()
        self._scope = trio.CancelScope(shield=True)
        self._ending: Ending | None = None
        self.lateness = Lateness(trio.current_time())
        self.sent_frames = 0
        self.withheld_frames = 0
        """Not sent, as the page was late or its connection slow."""
        self.lost_texts = 0

    def tell(self, text: str | None) -> None:
        """Send a text message, if there is one; the oldest gives way."""
        if text is None:
            return
        self.lost_texts += len(self._texts) == QUEUED_TEXTS
        self._texts.append(text)
        self._changed.set()

    def withholds(self) -> bool:
        """Say whether the frame at hand is not to be sent, and count it if so: it need not even be coded."""
        is_withheld = self.lateness.withholds(trio.current_time())
        self.withheld_frames += is_withheld
        return is_withheld

    def play(self, audio: Audio) -> None:
        """Send a frame that is not withheld; the oldest that waits gives way."""
        if len(self._frames) == QUEUED_FRAMES:
            self._frames.popleft()
            self.withheld_frames += 1
        self._frames.append(audio)
        self._changed.set()

    def finish(self, ending: Ending) -> None:
        """There is no more to come: what is said goes out, then the connection is closed; all that in little time."""
        self._ending = ending
        self._scope.deadline = trio.current_time() + GOODBYE_SECONDS
        self._changed.set()

    async def run(self) -> None:
        """Send what there is until `finish`, and close the connection."""
        with self._scope:
            try:
                while self._ending is None:
                    await self._changed.wait()
                    self._changed = trio.Event()
                    await self._send_waiting()
                self._frames.clear()  # nobody listens any more
                await self._send_waiting()
                if self._ending.message is not None:
                    await self._websocket.send_message(self._ending.message)
                await self._websocket.aclose(self._ending.close_code)
            except trio_websocket.ConnectionClosed:
                # The page has gone, or the connection. Who reads from it notices too, and ends it all.
                await self._wait_finish()
        with trio.CancelScope(shield=True, deadline=-inf):
            await self._websocket.aclose()  # closes the stream under it in any case

    async def _send_waiting(self) -> None:
        while self._texts or self._frames:
            if self._texts:
                await self._websocket.send_message(self._texts.popleft())
            else:
                audio = self._frames.popleft()
                self.lateness.sent(audio.sequence, now_seconds=trio.current_time())
                self.sent_frames += 1
                await self._websocket.send_message(audio_message(audio))

    async def _wait_finish(self) -> None:
        while self._ending is None:
            await self._changed.wait()
            self._changed = trio.Event()
