"""A caller of `/ws/voice` in a thread, who speaks to the loopback all the time and counts what comes back."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

FRAME_SECONDS = 0.02
FRAME = bytes(1920)
REPORT_FRAMES = 10
HELLO = json.dumps({"type": "hello", "version": 1, "mode": "loopback", "codec": "pcm16"})
PATIENCE_SECONDS = 10.0


class Caller:
    """What others may ask while the call lasts."""

    def __init__(self) -> None:
        self.received = 0
        """Frames that have come back."""
        self.worst_frames = 0
        """The most that were under way at a time, or missing between two that came; to be set back by who looks."""
        self.close_code: int | None = None
        """How the call ended."""
        self.last_message: dict[str, object] = {}
        self._last_sequence = -1

    def wait_frames(self, frames: int) -> None:
        """Wait until so many more have come back."""
        wanted = self.received + frames
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.received < wanted:
            assert self.close_code is None, f"the call has ended with {self.close_code}"
            assert time.monotonic() < deadline, "nothing comes back"
            time.sleep(FRAME_SECONDS)  # between two looks at another thread

    async def hold_call(self, port: int, is_over: trio.Event) -> None:
        """Speak until it is over, or the service ends the call."""
        # trio-websocket leaves the stream of a client open when the server has closed first.
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream, trio.open_nursery() as nursery:
            websocket = await wrap_client_stream(nursery, stream, f"127.0.0.1:{port}", "/ws/voice")
            await websocket.send_message(HELLO)
            nursery.start_soon(self._speak, websocket)
            nursery.start_soon(self._listen, websocket, nursery.cancel_scope)
            await is_over.wait()
            nursery.cancel_scope.cancel()

    async def _speak(self, websocket: WebSocketConnection) -> None:
        due_seconds = trio.current_time()
        sequence = 0
        try:
            while True:
                await websocket.send_message(b"\x01" + sequence.to_bytes(4) + FRAME)
                self.worst_frames = max(self.worst_frames, sequence - self._last_sequence)
                sequence += 1
                if sequence % REPORT_FRAMES == 0:
                    report = {"type": "stats", "clock_ms": 0.0, "played": self._last_sequence, "depth_ms": 0.0}
                    await websocket.send_message(json.dumps(report))
                due_seconds += FRAME_SECONDS
                await trio.sleep_until(due_seconds)
        except ConnectionClosed:
            return

    async def _listen(self, websocket: WebSocketConnection, call: trio.CancelScope) -> None:
        try:
            while True:
                message = await websocket.get_message()
                if isinstance(message, str):
                    self.last_message = json.loads(message)
                    continue
                sequence = int.from_bytes(message[1:5])
                self.worst_frames = max(self.worst_frames, sequence - self._last_sequence)
                self._last_sequence = sequence
                self.received += 1
        except ConnectionClosed as closed:
            self.close_code = 1006 if closed.reason is None else closed.reason.code
            call.cancel()


@contextmanager
def call_loopback(port: int) -> Iterator[Caller]:
    """Hold a call for the length of the block; it may also be ended by the service."""
    caller = Caller()
    started = threading.Event()
    end: list[trio.lowlevel.TrioToken | trio.Event] = []

    async def call() -> None:
        is_over = trio.Event()
        end.extend((trio.lowlevel.current_trio_token(), is_over))
        started.set()
        await caller.hold_call(port, is_over)

    thread = threading.Thread(target=trio.run, args=(call,))
    thread.start()
    started.wait()
    try:
        caller.wait_frames(5)
        yield caller
    finally:
        token, is_over = end
        assert isinstance(token, trio.lowlevel.TrioToken)
        assert isinstance(is_over, trio.Event)
        with suppress(trio.RunFinishedError):  # the service may have ended the call
            token.run_sync_soon(is_over.set)
        thread.join()
