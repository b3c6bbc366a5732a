"""What tests with a probe bot have in common: waiting for what happens in other processes and threads."""

import time
from collections.abc import Callable

from tests.discord_server.control import Control
from tests.discord_server.probe_bot import ProbeBot
from tests.discord_server.probe_voice import ReceivingClient
from tests.discord_server.transport import OPUS_SILENCE

SETTLE_SECONDS = 10.0


def wait_until(holds: Callable[[], bool], seconds: float = SETTLE_SECONDS) -> None:
    """Wait for something in another process or thread that nobody can signal."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to be in time"
        time.sleep(0.01)


def wait_secure(control: Control, voice: ReceivingClient, channel_id: int, *people: int) -> None:
    """Wait until everybody is in the DAVE group and all transitions are done."""

    def is_done() -> bool:
        room = control.room(channel_id)
        return (
            voice.is_secure
            and room is not None
            and room["dave_is_settled"]
            and set(room["dave_members"]) == {control.ready.bot_id, *people}
        )

    wait_until(is_done)
    assert all(control.wait_secure(person) for person in people)


def meet(control: Control, bot: ProbeBot, channel_id: int, *names: str) -> tuple[ReceivingClient, list[int]]:
    """Let people enter a channel, and then the bot; return its connection, and them, when all can hear each other."""
    people = [control.add_person(name) for name in names]
    for person in people:
        control.join(person, channel_id)
    voice = bot.join(channel_id)
    wait_secure(control, voice, channel_id, *people)
    return voice, people


def assert_no_violations(control: Control) -> None:
    assert control.violations() == []


def dave_failures(voice: ReceivingClient, reason: str) -> int:
    return sum(count for name, count in voice.counters.items() if reason in name)


def speech(packets: list[bytes]) -> list[bytes]:
    return [packet for packet in packets if packet != OPUS_SILENCE]
