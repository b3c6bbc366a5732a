"""The test server's own environments, and the server as a process that a test starts and stops.

sphn and aiohttp stay out of the project's environment on purpose. `interop_python` makes a virtual environment per
version of sphn below `.venv`, once; `run_model_server` is what every live test uses:

    with run_model_server("--prompt-seconds", "2") as server:
        ...  # server.url, server.state(), server.received()
"""

import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode, urlsplit

import filelock
import numpy as np
import trustme
from numpy.typing import NDArray

from tests.interop.observer import State

SphnVersion = Literal["0.1.12", "0.2.1"]

REPOSITORY = Path(__file__).resolve().parents[2]

REQUIREMENTS: dict[SphnVersion, tuple[str, ...]] = {
    # What NVIDIA's server pins.
    "0.1.12": ("sphn==0.1.12", "aiohttp>=3.10.5,<3.11", "numpy"),
    # What kyutai's server uses, with the aiohttp of the day.
    "0.2.1": ("sphn==0.2.1", "aiohttp>=3.11", "numpy"),
}

INSTALL_SECONDS = 300.0
READY_SECONDS = 30.0
EXIT_SECONDS = 2.0
"""The server promises to end within this time of a SIGTERM."""

EXIT_GRACE_SECONDS = 3.0
"""What a loaded machine may add to that before the test fails."""

LOG_TAIL_CHARACTERS = 4_000


def interop_python(version: SphnVersion) -> Path:
    """Return the interpreter of the environment with this sphn, which is made when it is missing or outdated.

    Raises `RuntimeError` with pip's own words when that fails, and `filelock.Timeout` when another process is at it
    for too long.
    """
    home = REPOSITORY / ".venv" / f"interop-{version}"
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    marker = home / "complete"
    wanted = "\n".join(REQUIREMENTS[version])
    home.parent.mkdir(exist_ok=True)
    with filelock.FileLock(f"{home}.lock", timeout=INSTALL_SECONDS):
        # The interpreter is a link to one outside, which an upgrade may have removed.
        if not (python.exists() and marker.is_file() and marker.read_text() == wanted):
            shutil.rmtree(home, ignore_errors=True)
            _run_installer([sys.executable, "-m", "venv", str(home)])
            _run_installer([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS[version]])
            marker.write_text(wanted)
    return python


def _run_installer(command: Sequence[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(result.stdout + result.stderr)[-LOG_TAIL_CHARACTERS:]}")


def run_script(module: str, request: object, *, sphn: SphnVersion, timeout_seconds: float = 60.0) -> str:
    """Run a module of this package in an interop environment with `request` as JSON on stdin; return its stdout."""
    result = subprocess.run(
        [interop_python(sphn), "-m", module],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=timeout_seconds,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(f"{module} failed:\n{result.stderr[-LOG_TAIL_CHARACTERS:]}")
    return result.stdout


@dataclass(frozen=True, slots=True)
class Certificate:
    """Paths of PEM files: the server's chain and key, and the authority that a client would have to trust."""

    cert: Path
    key: Path
    authority: Path

    @property
    def flags(self) -> tuple[str, ...]:
        """The server's command line for it."""
        return "--tls", "--cert", str(self.cert), "--key", str(self.key)

    def trust(self) -> ssl.SSLContext:
        """Return a client's context that trusts this authority."""
        return ssl.create_default_context(cafile=str(self.authority))


def make_certificate(directory: Path, *names: str) -> Certificate:
    """Write a certificate of a private authority for 127.0.0.1, or for other `names`."""
    authority = trustme.CA()
    issued = authority.issue_cert(*(names or ("127.0.0.1", "localhost")))
    paths = Certificate(directory / "cert.pem", directory / "key.pem", directory / "authority.pem")
    paths.cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(paths.key)
    authority.cert_pem.write_to_path(paths.authority)
    return paths


class ModelServer:
    """A running test server. The calls block for as long as a loop-back request takes."""

    def __init__(self, process: subprocess.Popen[str], url: str, side_url: str, log: Path) -> None:
        self.url = url
        """The whole URL without a query, as in the configuration."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.host, self.port = parts.hostname, parts.port
        self.has_ended = False
        """Whether the process was killed or stopped already."""
        self._process = process
        self._side = urlsplit(side_url).netloc
        self._log = log

    @property
    def process_id(self) -> int:
        """The server's process, for tests that send it signals."""
        return self._process.pid

    def state(self) -> State:
        """Return what the server has seen so far."""
        status, body = self._get("/state", READY_SECONDS)
        assert status == 200
        return State(**json.loads(body))

    def wait_state(self, *, timeout_seconds: float = 10.0, **wanted: int | bool | str) -> State:
        """Wait until numbers of the state have reached, and texts and booleans equal, what is wanted.

        Raises `TimeoutError` with the state as it is then.
        """
        query = urlencode({"timeout_seconds": timeout_seconds, **wanted})
        status, body = self._get(f"/state?{query}", timeout_seconds + READY_SECONDS)
        state = State(**json.loads(body))
        if status != 200:
            raise TimeoutError(f"waited for {wanted}, the server is at {state}")
        return state

    def received(self) -> NDArray[np.int16]:
        """Return what the decoder of the latest session gave: 24 kHz mono, at most 15 minutes."""
        status, body = self._get("/received.wav", READY_SECONDS)
        assert status == 200
        with wave.open(BytesIO(body)) as wav:
            assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (24_000, 1, 2)
            return np.frombuffer(wav.readframes(wav.getnframes()), "<i2")

    def log(self) -> str:
        """Return the end of what the server wrote to stderr: tracebacks of the connections that failed."""
        return self._log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]

    def kill(self) -> None:
        """End the process as a crash would, without a word to its clients."""
        self.has_ended = True
        self._process.kill()
        self._process.wait(EXIT_SECONDS + EXIT_GRACE_SECONDS)

    def stop(self) -> None:
        """Ask the process to end; raises `AssertionError` when it does not, or not cleanly."""
        if self.has_ended:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(EXIT_SECONDS + EXIT_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not end after SIGTERM:\n{self.log()}") from None
        self.has_ended = True
        assert code == 0, f"the server ended with {code}:\n{self.log()}"

    def _get(self, path: str, timeout_seconds: float) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._side, timeout=timeout_seconds)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@contextmanager
def run_model_server(*flags: str, sphn: SphnVersion = "0.1.12") -> Iterator[ModelServer]:
    """Run the test server with these flags (see `flags.py`); sphn 0.2.1 means the dialect moshi.

    Raises `RuntimeError` when it does not become ready, and `AssertionError` when it does not end cleanly.
    """
    dialect = () if sphn == "0.1.12" else ("--dialect", "moshi")
    command = [str(interop_python(sphn)), "-m", "tests.interop.server", *dialect, *flags]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        log = Path(home) / "stderr.log"
        # Whatever a killed server leaves behind goes with this directory.
        environment = os.environ | {"TMPDIR": home, "PYTHONUNBUFFERED": "1"}
        with (
            log.open("w") as stderr,
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=REPOSITORY, env=environment
            ) as process,
        ):
            server = _wait_ready(process, log)
            try:
                yield server
            finally:
                server.stop()


def _wait_ready(process: subprocess.Popen[str], log: Path) -> ModelServer:
    """Read the two lines that the server begins with; a timer makes the wait bounded."""
    assert process.stdout is not None
    timer = threading.Timer(READY_SECONDS, process.kill)
    timer.start()
    try:
        words = [process.stdout.readline().split() for _ in range(2)]
    finally:
        timer.cancel()
        timer.join()
    if [line[:1] for line in words] != [["SIDE"], ["READY"]]:
        process.kill()
        process.wait()
        raise RuntimeError(f"the server did not become ready:\n{log.read_text()[-LOG_TAIL_CHARACTERS:]}")
    return ModelServer(process, url=words[1][1], side_url=words[0][1], log=log)
