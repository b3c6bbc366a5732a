"""Real processes on one file: killed at any moment, and several at once."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from plexbridge.store.settings import PersonSettings, count_people, open_store
from tests.command import ROOT

pytestmark = pytest.mark.live

ANNA = "discord:1"
END_SECONDS = 60.0


def start(url: str, *, person_id: str = ANNA, count: int = 1_000_000) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.writer", url, person_id, str(count)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill(process: subprocess.Popen[str]) -> list[int]:
    """Kill a writer with SIGKILL; return what it has said."""
    process.kill()
    said, _ = process.communicate(timeout=END_SECONDS)
    return [int(line) for line in said.splitlines() if line]


def stored(url: str) -> PersonSettings:
    async def load() -> PersonSettings:
        async with open_store(url) as store:
            return await store.load(ANNA)

    return trio.run(load)


@pytest.mark.parametrize("seed", range(8))
def test_what_was_confirmed_survives_a_kill_at_any_moment(seed: int, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    process = start(url)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    time.sleep(random.Random(seed).uniform(0, 0.2))  # whatever it is doing then

    confirmed = kill(process)

    voice = stored(url).voice
    assert voice is not None
    assert int(voice) - max(confirmed, default=1) in (0, 1)  # the last one may not have been said yet


def test_a_store_that_was_killed_while_it_was_made_can_be_opened(tmp_path: Path) -> None:
    at_work_seconds = 1.0  # the imports and the first change take less
    for number in range(12):
        url = f"sqlite:///{tmp_path}/{number}.db"
        process = start(url)
        time.sleep(at_work_seconds * (number + 1) / 12)  # whatever it is doing then
        confirmed = kill(process)

        voice = stored(url).voice
        assert int(voice or 0) >= max(confirmed, default=0)


def test_processes_that_start_at_once_on_a_new_file_lose_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    processes = [start(url, person_id=f"discord:{number}", count=30) for number in range(8)]

    outputs = [process.communicate(timeout=END_SECONDS)[0] for process in processes]

    assert [process.returncode for process in processes] == [0] * 8
    assert {output.splitlines()[-1] for output in outputs} == {"30"}
    assert trio.run(count_people, url) == 8
