"""What the test server saw, and the plain-HTTP side door where a test asks for it.

The side door runs in a thread of its own with a port of its own: it answers while the model blocks the server's event
loop, and when the server proper speaks TLS. `GET /state` returns a `State` as JSON; `GET /state?name=value&...` waits
until every named number has reached its value (texts and booleans: equals it) or `timeout_seconds` (default 10) are
over, then answers with 408. `GET /received.wav` returns what the decoder got in the latest session.
"""

import io
import json
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

RATE_HZ = 24_000
RECORDING_LIMIT_BYTES = 15 * 60 * RATE_HZ * 2
"""15 minutes of 16-bit mono; audio after that is counted, not kept."""

LIST_LIMIT = 50
"""Only so many of the latest close codes and failures are kept."""


@dataclass(slots=True)
class State:
    """Counters since the start of the process, unless said otherwise; "latest" means the session begun last."""

    connections: int = 0
    """WebSocket upgrades accepted."""
    waiting: int = 0
    """Connections that now wait for the lock."""
    lock_held: bool = False
    sessions_started: int = 0
    """Connections that got the lock."""
    handshakes: int = 0
    sessions_ended: int = 0
    """Connections that gave the lock back."""
    connections_ended: int = 0
    prompt_steps: int = 0
    """Model steps of the latest session's prompts, so far."""
    voice: str = ""
    """The voice that the latest session really runs with."""
    text_prompt: str = ""
    """The text prompt that the latest session really runs with, as the tokenizer got it."""
    messages_eaten: int = 0
    """Messages taken and lost in the prompts."""
    audio_before_handshake: bool = False
    ignored_messages: int = 0
    """Messages of the session that were no audio: empty ones, other kinds, text frames."""
    pings_received: int = 0
    samples_in: int = 0
    """Samples at 24 kHz that the latest session's decoder gave."""
    samples_out: int = 0
    """Samples at 24 kHz that the latest session's model answered with."""
    samples_unrecorded: int = 0
    tokens_suppressed: int = 0
    """Text tokens 0 and 3 of the latest session, which are never sent."""
    pieces_sent: int = 0
    close_codes: list[int] = field(default_factory=list)
    """How connections ended, as the server saw it; 1006 is an end without a close frame."""
    failures: list[str] = field(default_factory=list)
    """Names of the exceptions that ended connections."""


class Observer:
    """The state and the recording, shared by the event loop (which writes) and the side door (which reads)."""

    def __init__(self) -> None:
        self._state = State()
        self._recording = bytearray()
        self._changed = threading.Condition()

    @contextmanager
    def update(self) -> Iterator[State]:
        """Give the state to change; whoever waits for it is woken afterwards."""
        with self._changed:
            yield self._state
            self._changed.notify_all()

    def note_end(self, close_code: int | None, failure: BaseException | None) -> None:
        """Record how a connection ended."""
        with self.update() as state:
            state.connections_ended += 1
            state.close_codes = [*state.close_codes, close_code or 1006][-LIST_LIMIT:]
            if failure is not None:
                state.failures = [*state.failures, type(failure).__name__][-LIST_LIMIT:]

    def start_recording(self) -> None:
        """Forget the session before."""
        with self.update() as state:
            self._recording.clear()
            state.samples_in = state.samples_out = state.prompt_steps = state.samples_unrecorded = 0
            state.tokens_suppressed = state.pieces_sent = 0

    def hear(self, pcm16: bytes) -> None:
        """Record 16-bit samples that the decoder gave."""
        with self.update() as state:
            state.samples_in += len(pcm16) // 2
            room = max(0, RECORDING_LIMIT_BYTES - len(self._recording))
            self._recording += pcm16[:room]
            state.samples_unrecorded += max(0, len(pcm16) - room) // 2

    def snapshot(self) -> dict[str, object]:
        """Return the state as plain values."""
        with self._changed:
            return asdict(self._state)

    def wait(self, wanted: dict[str, str], timeout_seconds: float) -> dict[str, object] | None:
        """Wait until the state is as `wanted`; return it, or None when the time is over."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while not all(_reached(getattr(self._state, name), value) for name, value in wanted.items()):
                if not self._changed.wait(deadline - time.monotonic()):
                    return None
            return asdict(self._state)

    def received_wav(self) -> bytes:
        """Return the recording as a WAV file."""
        with self._changed:
            pcm16 = bytes(self._recording)
        target = io.BytesIO()
        with wave.open(target, "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(2)
            wav.setframerate(RATE_HZ)
            wav.writeframes(pcm16)
        return target.getvalue()


def _reached(actual: object, wanted: str) -> bool:
    if isinstance(actual, int) and not isinstance(actual, bool):
        return actual >= int(wanted)
    return str(actual) == wanted


class SideDoor(ThreadingHTTPServer):
    """The HTTP server of the observer; its requests end with the process."""

    daemon_threads = True

    def __init__(self, observer: Observer) -> None:
        super().__init__(("127.0.0.1", 0), _SideDoorRequest)
        self.observer = observer

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _SideDoorRequest(BaseHTTPRequestHandler):
    server: SideDoor

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        observer = self.server.observer
        if parts.path == "/received.wav":
            self._answer(200, "audio/wav", observer.received_wav())
        elif parts.path == "/state":
            wanted = dict(parse_qsl(parts.query))
            timeout_seconds = float(wanted.pop("timeout_seconds", "10"))
            state = observer.wait(wanted, timeout_seconds)
            body = json.dumps(observer.snapshot() if state is None else state).encode()
            self._answer(408 if state is None else 200, "application/json", body)
        else:
            self._answer(404, "text/plain", b"")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep requests off stderr, which is for the server's own failures."""
