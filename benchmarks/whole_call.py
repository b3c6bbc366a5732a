"""The part `call`: what one `plexbridge call` costs as a process, seen from outside.

The command is the one that people use; the server is the sphn-based test server, whose own process does not count.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.material import write_looped_speech
from benchmarks.observation import START_AND_END_SECONDS
from benchmarks.progress import Progress
from plexbridge.audio.pcm import FRAME_SECONDS
from tests.command import ROOT, environment, model_at
from tests.interop.environment import run_model_server

CALL_SECONDS, SHORT_CALL_SECONDS = 60.0, 10.0
POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class WholeCall:
    """The figures of this part; start is when the model has taken the call, end is the last look before its end."""

    call_seconds: float
    cpu_share: float
    """Of one core, from start to end."""
    frame_cpu_microseconds: float
    """The same per 20 ms."""
    start_up_cpu_seconds: float
    """What the process had used before the start: the interpreter, the imports, the configuration."""
    start_rss_mib: float
    end_rss_mib: float
    peak_rss_mib: float
    threads: int


@dataclass(frozen=True, slots=True)
class _Look:
    at_seconds: float
    cpu_seconds: float
    rss_bytes: int
    threads: int


def measure_whole_call(*, is_short: bool, progress: Progress) -> WholeCall:
    """Hold one call; raises RuntimeError when it fails, with what it printed."""
    seconds = SHORT_CALL_SECONDS if is_short else CALL_SECONDS
    progress.report("call", "starting the server")
    with tempfile.TemporaryDirectory() as home, run_model_server() as server:
        folder = Path(home)
        write_looped_speech(folder / "speech.wav", seconds=seconds)
        command = [sys.executable, "-m", "plexbridge", "call", "speech.wav", "answer.wav", "--tail", "0"]
        log = folder / "log.txt"
        with (
            log.open("w") as output,
            psutil.Popen(
                command,
                cwd=folder,
                env=environment(model_at(server.url)) | {"PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                server.wait_state(sessions_started=1, timeout_seconds=START_AND_END_SECONDS)
                looks = _watch(process, seconds, progress)
            finally:
                if process.poll() is None:
                    process.kill()
        if process.returncode:
            raise RuntimeError(f"the call failed:\n{log.read_text()}")
    return _whole_call(seconds, looks)


def _watch(process: psutil.Popen, seconds: float, progress: Progress) -> list[_Look]:
    """Look at the process from time to time until it ends; at one that does not, until the time is up."""
    start_seconds = time.monotonic()
    looks: list[_Look] = []
    while process.poll() is None and time.monotonic() < start_seconds + seconds + START_AND_END_SECONDS:
        try:
            cpu, rss_bytes = process.cpu_times(), process.memory_info().rss
            if not rss_bytes:
                break  # its memory is gone already: it is about to have ended
            looks.append(_Look(time.monotonic(), cpu.user + cpu.system, rss_bytes, process.num_threads()))
        except psutil.Error:  # it ended between two lines, or is only waiting to be reaped
            break
        progress.report("call", f"{time.monotonic() - start_seconds:.0f} of {seconds:.0f} s")
        time.sleep(POLL_SECONDS)
    process.wait(START_AND_END_SECONDS)
    return looks


def _whole_call(seconds: float, looks: list[_Look]) -> WholeCall:
    first, last = looks[0], looks[-1]
    cpu_share = (last.cpu_seconds - first.cpu_seconds) / (last.at_seconds - first.at_seconds)
    return WholeCall(
        call_seconds=seconds,
        cpu_share=cpu_share,
        frame_cpu_microseconds=cpu_share * FRAME_SECONDS * 1e6,
        start_up_cpu_seconds=first.cpu_seconds,
        start_rss_mib=first.rss_bytes / 2**20,
        end_rss_mib=last.rss_bytes / 2**20,
        peak_rss_mib=max(look.rss_bytes for look in looks) / 2**20,
        threads=max(look.threads for look in looks),
    )
