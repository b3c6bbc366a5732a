"""The command `plexbridge` as a process, for the live tests: what it printed, how it ended, and what it left."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import soundfile

from plexbridge.audio.pcm import Samples
from tests.truth import read_wav

ROOT = Path(__file__).parent.parent
SPEECH = ROOT / "docs" / "hello.wav"
END_SECONDS = 60.0


NO_SETTINGS: Mapping[str, str] = {}


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process, without settings of whoever runs the tests.

    The page is on a free port, as several processes run at once.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PLEXBRIDGE_")}
    return {**inherited, "PLEXBRIDGE_WEB_PORT": "0", **settings}


def start(
    *arguments: str, cwd: Path, settings: Mapping[str, str] = NO_SETTINGS, module: str = "plexbridge"
) -> subprocess.Popen[str]:
    """Start `plexbridge` with pipes for what it prints; `settings` are environment variables.

    Another `module` of this repository may stand in its place.
    """
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float


def run(*arguments: str, cwd: Path, settings: Mapping[str, str] = NO_SETTINGS) -> Ended:
    """Run `plexbridge` to its end."""
    started = time.monotonic()
    process = start(*arguments, cwd=cwd, settings=settings)
    stdout, stderr = process.communicate(timeout=END_SECONDS)
    return Ended(process.returncode, stdout, stderr, time.monotonic() - started)


@dataclass(frozen=True)
class Called:
    """A call that has ended, and its files."""

    ended: Ended
    answer: Path
    lines: list[dict[str, object]]

    def texts(self, kind: str) -> list[str]:
        """Return the texts of one kind in FILE.jsonl."""
        return [str(line["text"]) for line in self.lines if line["kind"] == kind]

    @property
    def heard(self) -> Samples:
        """What is in OUT.wav."""
        return read_wav(self.answer)


def model_at(url: str, **settings: str) -> dict[str, str]:
    """Return the settings that name a PersonaPlex server as the model; more as keywords, without their prefix."""
    named = {"MODEL_URL": url, "MODEL_DIALECT": "personaplex", **settings}
    return {f"PLEXBRIDGE_{name}": value for name, value in named.items()}


def clip_speech(folder: Path, seconds: float) -> Path:
    """Return a WAV file with the first `seconds` of the speech that plexbridge ships."""
    samples, rate_hz = soundfile.read(SPEECH)
    path = folder / "speech.wav"
    soundfile.write(path, samples[: int(seconds * rate_hz)], rate_hz)
    return path


def call(
    folder: Path, *, speech: Path = SPEECH, tail_seconds: float = 2.0, settings: Mapping[str, str] = NO_SETTINGS
) -> Called:
    """Hold a call with the model that the settings name, the embedded one by default."""
    answer, text = folder / "answer.wav", folder / "answer.jsonl"
    ended = run(
        "call",
        str(speech),
        str(answer),
        "--text",
        str(text),
        "--tail",
        str(tail_seconds),
        cwd=folder,
        settings=settings,
    )
    lines = [json.loads(line) for line in text.read_text().splitlines()] if text.exists() else []
    return Called(ended, answer, lines)
