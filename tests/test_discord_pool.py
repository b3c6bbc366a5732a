"""Three servers and two models, all of them real processes: who is served, who waits, and what becomes of them."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from plexbridge.session.outage import BACK_SENTENCE, LOST_SENTENCE
from tests.command import ROOT, start
from tests.discord_bridge import Bridge, members, run_bridge, wait_bot
from tests.discord_server.control import Control, run_discord_server
from tests.discord_server.probing import wait_until
from tests.discord_talker import Talker

pytestmark = pytest.mark.live

CONFIG = """
[[model]]
name = "first"
url = "{}"

[[model]]
name = "second"
url = "{}"
renew_seconds = 4
"""
PLACE = "All models are taken. You are 1st in the queue, about 10 minutes."


@dataclass(frozen=True)
class Model:
    """A loopback server that can be killed."""

    process: subprocess.Popen[str]
    url: str


@contextmanager
def run_model(folder: Path) -> Iterator[Model]:
    with start("loopback", "--port", "0", cwd=folder, settings={"PYTHONPATH": str(ROOT)}) as process:
        assert process.stdout is not None
        try:
            yield Model(process, process.stdout.readline().split()[-1])
        finally:
            process.kill()


@dataclass
class Room:
    """One person in the voice channel of one server."""

    control: Control
    person: int
    channel: int

    @property
    def talker(self) -> Talker:
        return Talker(self.control, self.person, self.channel)

    def enter(self) -> None:
        self.control.join(self.person, self.channel)

    def wait_served(self) -> None:
        """Be answered."""
        wait_bot(self.control, self.channel, is_there=True)
        assert self.control.wait_secure(self.person)
        assert self.talker.says()

    def leave(self) -> None:
        self.control.leave(self.person)
        wait_bot(self.control, self.channel, is_there=False)

    def wait_read(self, *sentences: str) -> None:
        """Wait until these, and no others, are to be read in the chat."""
        wait_until(lambda: self.talker.read() == list(sentences))

    def status(self) -> str:
        """Return what /status answers."""
        used = self.control.use_command(self.person, self.channel, "status")
        wait_until(lambda: self.control.interaction(used)["original"] is not None)
        return str(self.control.interaction(used)["original"]["content"])


def make_room(control: Control, name: str, guild_id: int | None = None) -> Room:
    channel = control.add_channel(f"{name}s", is_voice=True, guild_id=guild_id)
    return Room(control, control.add_person(name, guild_id=guild_id), channel)


def test_three_servers_share_two_models_in_turn_and_renew_their_links_and_move_when_one_dies(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first, second = (stack.enter_context(run_model(tmp_path)) for _ in range(2))
        control = stack.enter_context(run_discord_server())
        ada = make_room(control, "Ada")
        bob, eve = (make_room(control, name, control.add_guild(name)) for name in ("Bob", "Eve"))
        (tmp_path / "config.toml").write_text(CONFIG.format(first.url, second.url))
        bridge: Bridge = stack.enter_context(run_bridge(control, tmp_path))
        assert f"model first at {first.url}, model second at {second.url}" in bridge.ready_line

        for room in (ada, bob):
            room.enter()
        for room in (ada, bob):
            room.wait_served()
        eve.enter()
        eve.wait_read(PLACE)
        assert members(control, eve.channel) == [eve.person]
        assert PLACE in eve.status()

        ada.leave()
        eve.wait_served()
        eve.wait_read("Your turn has come.", f"<@{eve.person}> It is your turn: a speech model is free.")
        (called,) = [m for m in control.messages(eve.channel) if m["content"].startswith("<@")]
        assert called["allowed_mentions"] == {"parse": [], "users": [eve.person]}
        assert bob.talker.says(), "the others have not noticed"

        wait_until(lambda: "the link to model second is renewed" in bridge.log)
        eve.leave()
        wait_until(lambda: "the link to model first is renewed" in bridge.log)
        assert bob.talker.says(), "at the model that was free"
        assert "Model second: free" in bob.status()
        assert bob.talker.read() == []

        first.process.kill()
        wait_until(lambda: bob.talker.read() == [LOST_SENTENCE, BACK_SENTENCE])
        assert bob.talker.says(), "at the other model"
        assert "Model first: out of order" in bob.status()
        assert "Model second: taken" in bob.status()

        bob.leave()
        ended = bridge.stop()
        violations = control.violations(control.ready.bot_id)

    assert ended.code == 0
    assert violations == []
    assert "model first is left alone" in ended.stderr
    assert re.search("renewals: 1 without and [1-9][0-9]* with a pause, 0 second links failed", ended.stderr)
    assert "fault in plexbridge" not in ended.stderr
