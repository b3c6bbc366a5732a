"""`plexbridge run` as a process between a loopback Discord and a model, for the live tests and the benchmarks."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from plexbridge.audio.pcm import Samples
from tests.command import NO_SETTINGS, ROOT, SPEECH, Ended, start
from tests.counted_bridge import PREFIX
from tests.discord_server.control import Control

READY_SECONDS = 30.0
STOP_SECONDS = 15.0
SETTLE_SECONDS = 10.0
WHISTLING = {"PLEXBRIDGE_HEARING_NOISE_GATE": "false"}
"""Most people in these tests whistle, which is no speech."""


def discord_at(control: Control, **settings: str) -> dict[str, str]:
    """Return the settings that name a loopback Discord; more as keywords, without their prefix."""
    ready = control.ready
    named = {"TOKEN": ready.token, "API_BASE": ready.api_base, "GATEWAY": ready.gateway, "CA_FILE": ready.ca_file}
    return {f"PLEXBRIDGE_DISCORD_{name}": value for name, value in (named | settings).items()}


@dataclass
class Bridge:
    """A running `plexbridge run`."""

    process: subprocess.Popen[str]
    ready_line: str
    _log: list[str] = field(default_factory=list)

    @property
    def log(self) -> str:
        """What it has written to stderr so far."""
        return "".join(self._log)

    def count(self) -> dict[str, int]:
        """Return how many tasks, threads and descriptors it has; only for one that is counted."""
        counted = self.log.count(PREFIX)
        self.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + SETTLE_SECONDS
        while self.log.count(PREFIX) == counted:
            assert time.monotonic() < deadline, "it does not count"
            time.sleep(0.01)  # between two looks at another process
        counts: dict[str, int] = json.loads(self.log.rpartition(PREFIX)[2].splitlines()[0])
        return counts

    def stop(self) -> Ended:
        """Send SIGTERM and wait for the end."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_SECONDS)
        return Ended(code, self.ready_line, self.log, time.monotonic() - started)


@contextmanager
def run_bridge(
    control: Control, folder: Path, settings: Mapping[str, str] = NO_SETTINGS, *, is_counted: bool = False
) -> Iterator[Bridge]:
    """Run `plexbridge run`, ready inside the block; a process that still runs at the end is stopped.

    `is_counted` makes it one that says how many tasks and so on it has.
    """
    everything = {**discord_at(control), **WHISTLING, **settings, "PYTHONPATH": str(ROOT)}
    with run_service(folder, everything, module="tests.counted_bridge" if is_counted else "plexbridge") as bridge:
        yield bridge


@contextmanager
def run_service(folder: Path, settings: Mapping[str, str], *, module: str = "plexbridge") -> Iterator[Bridge]:
    """Run `plexbridge run` with these settings alone, ready inside the block; what still runs at the end is stopped."""
    with start("run", cwd=folder, settings=settings, module=module) as process:
        assert process.stdout is not None
        bridge = Bridge(process, "")
        reader = threading.Thread(target=_collect, args=(process, bridge._log))
        reader.start()
        timer = threading.Timer(READY_SECONDS, process.kill)
        timer.start()
        bridge.ready_line = process.stdout.readline()
        timer.cancel()
        try:
            assert bridge.ready_line, bridge.log
            yield bridge
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
            reader.join()


def _collect(process: subprocess.Popen[str], lines: list[str]) -> None:
    assert process.stderr is not None
    lines.extend(iter(process.stderr.readline, ""))


def wait_bot(control: Control, channel_id: int, *, is_there: bool, seconds: float = SETTLE_SECONDS) -> float:
    """Wait until the bot is in a voice channel, or no longer; return how long that took."""
    started = time.monotonic()
    while (control.ready.bot_id in members(control, channel_id)) is not is_there:
        assert time.monotonic() < started + seconds, f"the bot is not where it should be after {seconds} s"
        time.sleep(0.01)  # between two looks at another process
    return time.monotonic() - started


def members(control: Control, channel_id: int) -> list[int]:
    """Return the ids of all users in a voice channel."""
    room = control.room(channel_id)
    return [] if room is None else [int(user) for user in room["user_ids"]]


def wait_talking(control: Control, bridge: Bridge, channel_id: int, *people: int) -> None:
    """Wait until the bot is in the channel, everybody's encryption stands, and the model listens."""
    wait_bot(control, channel_id, is_there=True)
    assert all(control.wait_secure(person) for person in people)
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        room = control.room(channel_id)
        has_group = room is not None and set(room["dave_members"]) >= {control.ready.bot_id, *people}
        if has_group and bridge.log.rfind("talking to model") > bridge.log.rfind("left channel"):
            return
        assert time.monotonic() < deadline, "the conversation did not come to be"
        time.sleep(0.01)  # between two looks at another process


def speech_part(folder: Path, start_seconds: float, end_seconds: float) -> Path:
    """Return a WAV file with a part of the speech that plexbridge ships."""
    samples, rate_hz = soundfile.read(SPEECH)
    path = folder / f"speech-{start_seconds}-{end_seconds}.wav"
    soundfile.write(path, samples[int(start_seconds * rate_hz) : int(end_seconds * rate_hz)], rate_hz)
    return path


def placed(sound: Samples, lag_samples: int, size: int) -> Samples:
    """Return `sound` as it lies in something of `size` samples that it begins `lag_samples` into."""
    bed = np.zeros(size, np.float32)
    first, last = max(0, lag_samples), min(size, lag_samples + sound.size)
    bed[first:last] = sound[first - lag_samples : last - lag_samples]
    return bed
