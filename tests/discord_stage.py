"""A place for things to go wrong in: one loopback Discord, one bridge, and a conversation whenever a test wants one."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.command import NO_SETTINGS
from tests.discord_bridge import Bridge, members, run_bridge, wait_bot, wait_talking
from tests.discord_faults import Scene
from tests.discord_server.control import Control, run_discord_server
from tests.discord_server.probing import wait_until
from tests.discord_talker import Talker

LEFTOVER_SECONDS = 10.0
SPARE = {"threads": 3, "descriptors": 2}
"""The portal's pool has up to four workers, which come when they are first needed; and connections to Discord's REST
interface are kept open for half a minute."""


class Stage:
    """Ada is there to talk, Bob to come and go; where they are is the test's affair."""

    def __init__(self, control: Control, bridge: Bridge) -> None:
        self.control = control
        self.bridge = bridge
        self.bot = control.ready.bot_id
        self.ada = control.add_person("Ada")
        self.bob = control.add_person("Bob")
        self.channel = control.voice_channel()
        self._channels = 0
        self._looked_index = -1

    @property
    def scene(self) -> Scene:
        """The faults' view of it."""
        return Scene(self.control, self.channel, self.ada, self.bob)

    @property
    def talker(self) -> Talker:
        """Ada."""
        return Talker(self.control, self.ada, self.channel)

    @property
    def conversations(self) -> int:
        """How many conversations with a model have begun."""
        return self.bridge.log.count("talking to model")

    @property
    def partings(self) -> int:
        """How many times a channel was left, everything freed."""
        return self.bridge.log.count("left channel")

    def converse(self) -> None:
        """Have Ada in a conversation, with nobody else: the one that there is, or a new one."""
        log = self.bridge.log
        has_ended = log.rfind("left channel") > log.rfind("talking to model")
        if has_ended or set(members(self.control, self.channel)) != {self.ada, self.bot}:
            self.empty()
            self.control.join(self.ada, self.new_channel())
            wait_talking(self.control, self.bridge, self.channel, self.ada)

    def empty(self) -> None:
        """Have nobody in voice, and wait until the bot has noticed."""
        for person in (self.ada, self.bob):
            self.control.leave(person)
        wait_until(lambda: self.bridge.log.count("joining channel") == self.partings)
        wait_until(lambda: not any(room["user_ids"] for room in self.control.state()["rooms"]))

    def new_channel(self) -> int:
        """Make an empty channel the one of this stage; return its id."""
        self._channels += 1
        self.channel = self.control.add_channel(f"Voice {self._channels}", is_voice=True)
        return self.channel

    def assert_lawful(self) -> None:
        """Have broken no rule of Discord's since the last time: nobody, the people either."""
        breaches = self.control.record(kind="violation", after=self._looked_index)
        self._looked_index = self.control.last_index
        assert not breaches, breaches

    def wait_parted(self, partings: int, seconds: float = 10.0) -> float:
        """Wait until a channel was left more often than before; return how long that took."""
        started = time.monotonic()
        wait_until(lambda: self.partings > partings, seconds)
        wait_bot(self.control, self.channel, is_there=False)
        return time.monotonic() - started

    def assert_nothing_left(self, before: Mapping[str, int]) -> None:
        """Have as many tasks, threads and descriptors as before, at once or soon."""
        deadline = time.monotonic() + LEFTOVER_SECONDS
        while is_more(now := self.bridge.count(), before):
            sockets = psutil.Process(self.bridge.process.pid).net_connections("all")
            assert time.monotonic() < deadline, f"{now}, and before {dict(before)}: {sockets}"
            time.sleep(0.5)  # between two looks at another process


def is_more(now: Mapping[str, int], before: Mapping[str, int]) -> bool:
    """Say whether something is there that was not there before."""
    return any(now[name] > count + SPARE.get(name, 0) for name, count in before.items())


@contextmanager
def run_stage(folder: Path, settings: Mapping[str, str] = NO_SETTINGS) -> Iterator[Stage]:
    """Open a stage; at its end nothing must be left, of the conversations or of anything else."""
    with run_discord_server() as control, run_bridge(control, folder, settings, is_counted=True) as bridge:
        stage = Stage(control, bridge)
        stage.converse()
        assert stage.talker.says()
        stage.empty()
        before = bridge.count()
        yield stage
        stage.empty()
        stage.assert_nothing_left(before)
        ended = bridge.stop()
        assert ended.code == 0
        assert "fault in plexbridge" not in ended.stderr
        assert "never retrieved" not in ended.stderr
