"""Recordings from end to end: real discord.py, end-to-end encryption, real files, and a process that is killed."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plexbridge.audio.pcm import PEOPLE_RATE_HZ, Samples, level_dbfs
from plexbridge.people.discord.recordings import ENTRY_SENTENCE, START_SENTENCE
from plexbridge.recording.recorder import Ending
from tests.command import run
from tests.discord_bridge import Bridge, discord_at, run_bridge, speech_part, wait_bot, wait_talking
from tests.discord_server.control import Control, run_discord_server
from tests.discord_server.probing import wait_until
from tests.recording.listening import read
from tests.test_discord_settings import wait_commands
from tests.truth import find_lag, read_wav

pytestmark = pytest.mark.live

RECORDING = {"PLEXBRIDGE_RECORDING_ENABLED": "true"}
"""In the folder `recordings` of the process's own."""
LATE_SECONDS = 0.1
"""From a person's mouth to the recorder: the jitter buffer, and a tick."""


class Studio:
    """Ada, who may manage the server, and Bob in a voice channel."""

    def __init__(self, control: Control, folder: Path) -> None:
        self.control = control
        self.folder = folder
        self.channel = control.voice_channel()
        self.ada, self.bob = control.add_person("Ada L."), control.add_person("Bob")
        control.set_member_permissions(
            self.ada, "view_channel", "send_messages", "connect", "speak", "use_voice_activation", "manage_guild"
        )

    def ask(self, person: int, path: str, **options: str) -> str:
        """Let a person use a command; return what they read."""
        used = self.control.use_command(person, self.channel, path, **options)
        wait_until(lambda: self.control.interaction(used)["original"] is not None)
        return str(self.control.interaction(used)["original"]["content"])

    def wait_said(self, text: str, count: int = 1) -> None:
        """Wait until the chat has had a text so often."""
        wait_until(lambda: self.said().count(text) == count)

    def said(self) -> list[str]:
        """Return all messages in the channel."""
        return [str(message["content"]) for message in self.control.messages(self.channel)]

    def enter(self, bridge: Bridge) -> None:
        """Let both enter, and wait until they can talk."""
        self.control.join(self.ada, self.channel)
        wait_talking(self.control, bridge, self.channel, self.ada)
        self.control.join(self.bob, self.channel)
        wait_talking(self.control, bridge, self.channel, self.ada, self.bob)

    def recording(self) -> dict[str, Path]:
        """Return the files of the latest recording, by the first word of their names."""
        latest = max((self.folder / "recordings").iterdir())
        return {path.name.partition("-")[0].partition(".")[0]: path for path in latest.iterdir()}

    def index(self) -> Any:
        """Return what the latest recording says of itself."""
        return json.loads(self.recording()["recording"].read_text("utf-8"))


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with run_discord_server("--resume-seconds", "0.5") as control:
        yield Studio(control, tmp_path)
        assert control.violations(control.ready.bot_id) == []


WINDOW_SAMPLES = PEOPLE_RATE_HZ // 2


def found(said: Samples, heard: Samples) -> tuple[float, float]:
    """Return where in what is heard something begins, in seconds, and how well it matches: by its best half second.

    In the others a busy machine may have cost a frame.
    """
    matches = []
    for start in range(0, said.size - WINDOW_SAMPLES + 1, WINDOW_SAMPLES // 2):
        lag, correlation = find_lag(said[start : start + WINDOW_SAMPLES], heard)
        matches.append((correlation, (lag - start) / PEOPLE_RATE_HZ))
    correlation, place_seconds = max(matches)
    return place_seconds, correlation


def test_a_process_that_is_killed_leaves_everybodys_words_up_to_the_last_second_where_they_were_said(
    studio: Studio, tmp_path: Path
) -> None:
    control, ada, bob = studio.control, studio.ada, studio.bob
    words = {ada: speech_part(tmp_path, 0.3, 2.3), bob: speech_part(tmp_path, 4.0, 6.0)}
    after = control.last_index
    with run_bridge(control, tmp_path, RECORDING) as bridge:
        wait_commands(control, after)
        studio.enter(bridge)
        assert "may manage this server" in studio.ask(bob, "record", switch="on")
        assert studio.ask(ada, "record", switch="on").startswith(
            "Conversations in this server are recorded from now on"
        )
        studio.wait_said(START_SENTENCE)
        for person in (ada, bob):
            control.forget_heard(person)
        control.speak_wav(ada, words[ada], wait=False)
        time.sleep(0.35)  # Bob begins while Ada is speaking
        control.speak_wav(bob, words[bob], wait=False)
        control.speak_tone(ada, hz=400.0, seconds=20.0, wait=False)  # when she has said her words
        control.speak_tone(bob, hz=700.0, seconds=20.0, wait=False)
        time.sleep(4.5)
        bridge.process.send_signal(signal.SIGKILL)
        killed_seconds = time.monotonic()
        bridge.process.wait()
        began = {person: control.sent(person)[0].at_seconds for person in words}
        for person in words:
            control.hush(person)
            control.leave(person)

    files = studio.recording()
    sounds = {person: read(files[name].read_bytes()) for person, name in ((ada, "Ada_L"), (bob, "Bob"))}
    places = {}
    for person, other in ((ada, bob), (bob, ada)):
        places[person], correlation = found(read_wav(words[person]), sounds[person])
        assert correlation > 0.8
        assert found(read_wav(words[person]), sounds[other])[1] < 0.6, "it is in nobody else's file"
        # Up to the last second: from the first word to the end of the file it is as long as until the kill.
        recorded_seconds = sounds[person].size / PEOPLE_RATE_HZ - places[person]
        assert recorded_seconds > killed_seconds - began[person] - LATE_SECONDS - 1.0
        assert level_dbfs(sounds[person][-PEOPLE_RATE_HZ // 2 :]) > -20, "the whistle"
    assert places[bob] - places[ada] == pytest.approx(began[bob] - began[ada], abs=0.04)
    model = read(files["model"].read_bytes())
    assert level_dbfs(model) > -50
    index = studio.index()
    assert index["is_ended"] is False
    assert {track["name"] for track in index["tracks"]} == {"model", "Ada L.", "Bob"}


def test_it_is_told_to_who_enters_ends_when_it_is_turned_off_and_forgets_who_asks_for_it(
    studio: Studio, tmp_path: Path
) -> None:
    control, ada, bob = studio.control, studio.ada, studio.bob
    after = control.last_index
    with run_bridge(control, tmp_path, RECORDING) as bridge:
        wait_commands(control, after)
        control.join(ada, studio.channel)
        wait_talking(control, bridge, studio.channel, ada)
        studio.ask(ada, "record", switch="on")
        studio.wait_said(START_SENTENCE)
        control.join(bob, studio.channel)
        wait_talking(control, bridge, studio.channel, ada, bob)
        studio.wait_said(f"<@{bob}>, {ENTRY_SENTENCE}")
        assert "**This conversation is being recorded.**" in studio.ask(bob, "status")
        for person in (ada, bob):
            control.speak_tone(person, seconds=0.5)
        wait_until(lambda: set(studio.recording()) == {"Ada_L", "Bob", "model", "recording"})

        assert studio.ask(bob, "ignore-me", switch="on").endswith(
            "What the recording that runs here holds of you is deleted."
        )
        wait_until(lambda: set(studio.recording()) == {"Ada_L", "model", "recording"})
        control.speak_tone(bob, seconds=0.5)
        control.speak_tone(ada, seconds=0.5)
        studio.ask(ada, "record", switch="off")
        studio.wait_said(Ending.STOPPED.value)

        assert set(studio.recording()) == {"Ada_L", "model", "recording"}
        index = studio.index()
        assert (index["is_ended"], "Bob" in json.dumps(index)) == (True, False)
        sizes = {read(studio.recording()[name].read_bytes()).size for name in ("Ada_L", "model")}
        assert sizes == {round(index["seconds"] * PEOPLE_RATE_HZ)}
        assert "is being recorded" not in studio.ask(ada, "status")
        for person in (ada, bob):
            control.leave(person)
        wait_bot(control, studio.channel, is_there=False)
        ended = bridge.stop()
    assert (ended.code, "fault in plexbridge" in ended.stderr) == (0, False)
    assert len(list((tmp_path / "recordings").iterdir())) == 1


def test_a_folder_that_can_not_be_written_to_is_told_at_the_start(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    settings = {**discord_at(studio.control), **RECORDING, "PLEXBRIDGE_RECORDING_FOLDER": str(tmp_path / "file" / "x")}

    ended = run("run", cwd=tmp_path, settings=settings)

    assert ended.code == 2
    assert "recording.folder: found" in ended.stderr
    assert "expected a folder to write to" in ended.stderr
    assert (tmp_path / "file").read_text() == "no folder"
