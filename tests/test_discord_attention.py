"""Three people, real discord.py and a model that gives back what it hears: whom it listens to, how loud, and whom not.

Each person whistles a tone of their own, all at the same time; which tones come back shows whom the model has heard.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from plexbridge.audio.opus import Decoder
from plexbridge.audio.pcm import PEOPLE_RATE_HZ
from plexbridge.people.discord.attention import Button
from plexbridge.people.discord.audience import ENDED_SENTENCE
from tests.discord_bridge import Bridge, run_bridge, wait_bot, wait_talking
from tests.discord_server.control import Control, run_discord_server
from tests.discord_server.probing import wait_until
from tests.test_discord_settings import wait_commands

pytestmark = pytest.mark.live

ADA_HZ, BOB_HZ, CAL_HZ = 440.0, 700.0, 1_000.0
NO_OPTIONS: Mapping[str, str | int] = MappingProxyType({})
EPHEMERAL = 1 << 6
MESSAGE, DEFERRED_UPDATE = 4, 6
ANSWER_SECONDS = 3.0
"""Discord's limit for the answer to a press."""


class Company:
    """Three people in one voice channel."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.channel = control.voice_channel()
        self.ada, self.bob, self.cal = (control.add_person(name) for name in ("Ada", "Bob", "Cal"))
        self.tones = {self.ada: ADA_HZ, self.bob: BOB_HZ, self.cal: CAL_HZ}
        control.set_member_permissions(
            self.ada, "view_channel", "send_messages", "connect", "speak", "use_voice_activation", "manage_guild"
        )

    def enter(self, bridge: Bridge, *people: int) -> None:
        """Let people enter one after the other, and wait until they can talk."""
        present: list[int] = []
        for person in people:
            present.append(person)
            self.control.join(person, self.channel)
            wait_talking(self.control, bridge, self.channel, *present)

    def heard(self, *people: int) -> set[int]:
        """Let people whistle at the same time; return whom the model has heard, as the first one hears it."""
        bot, listener = self.control.ready.bot_id, people[0]
        self.control.forget_heard(listener)
        for person in people[1:]:
            self.control.speak_tone(person, hz=self.tones[person], seconds=0.6, wait=False)
        self.control.speak_tone(listener, hz=self.tones[listener], seconds=0.6)
        time.sleep(0.4)  # for the last of the answer, or for there to be none
        with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
            packets = [decoder.decode(packet.opus) for packet in self.control.heard(listener, bot)]
        if not packets:
            return set()
        sound = np.concatenate(packets)
        spectrum = np.abs(np.fft.rfft(sound))
        strengths = {
            person: float(spectrum[round(hz * sound.size / PEOPLE_RATE_HZ) - 5 :][:11].max())
            for person, hz in self.tones.items()
        }
        return {person for person, strength in strengths.items() if strength > 0.1 * max(strengths.values())}

    def ask(self, person: int, path: str, options: Mapping[str, str | int] = NO_OPTIONS) -> str:
        """Let a person use a command; return what they read."""
        used = self.control.use_command(person, self.channel, path, **options)
        wait_until(lambda: self.control.interaction(used)["original"] is not None)
        return str(self.control.interaction(used)["original"]["content"])

    def press(self, person: int, message_id: int, button: Button) -> Mapping[str, Any]:
        """Press a button; return the answer, which is there in time."""
        used = self.control.press_button(person, message_id, button.value)
        payload = self.control.wait("interaction", "callback", interaction_id=used).data["payload"]
        assert self.control.interaction(used)["callback_seconds"] < ANSWER_SECONDS
        return dict(payload)

    def boards(self) -> dict[int, str]:
        """Return the messages with buttons that everybody sees, with their texts."""
        messages = self.control.messages(self.channel)
        return {
            int(each["id"]): str(each["content"])
            for each in messages
            if each["components"] and not each["flags"] & EPHEMERAL
        }

    def wait_board(self, text: str) -> int:
        """Wait until there is one message with buttons, and it says this; return its id."""
        wait_until(lambda: list(self.boards().values()) == [text])
        return next(iter(self.boards()))

    def said(self) -> list[str]:
        """Return what everybody can read about whom the model listens to, now."""
        contents = (str(each["content"]) for each in self.control.messages(self.channel))
        return [content for content in contents if content.startswith("I listen")]


@pytest.fixture(scope="module")
def company() -> Iterator[Company]:
    with run_discord_server("--resume-seconds", "0.5") as control:  # so that a bot that was killed is soon gone
        yield Company(control)
        assert control.violations(control.ready.bot_id) == []


def floor_of(person: int) -> str:
    return f"I listen to who has the floor: <@{person}>."


def test_the_floor_volumes_and_who_is_not_heard_survive_a_restart_with_its_old_buttons(
    company: Company, tmp_path: Path
) -> None:
    control, channel = company.control, company.channel
    ada, bob, cal = company.ada, company.bob, company.cal
    after = control.last_index
    with run_bridge(control, tmp_path, {"PLEXBRIDGE_DISCORD_ATTENTION": "floor"}) as bridge:
        wait_commands(control, after)
        company.enter(bridge, ada, bob, cal)
        board = company.wait_board(floor_of(ada))
        assert company.heard(ada, bob, cal) == {ada}

        assert company.press(bob, board, Button.TAKE)["type"] == DEFERRED_UPDATE
        assert company.wait_board(floor_of(bob)) == board
        assert company.heard(ada, bob, cal) == {bob}

        assert "Only people who may manage this server" in company.ask(bob, "attention", {"mode": "everyone"})
        assert "I listen to everyone" in company.ask(ada, "attention", {"mode": "everyone"})
        wait_until(lambda: company.said()[-1] == "I listen to everyone.")
        assert company.boards() == {}
        assert company.heard(ada, bob, cal) == {ada, bob, cal}

        assert "at 0 %" in company.ask(ada, "volume", {"person": bob, "percent": 0})
        assert "may mute members" in company.ask(cal, "volume", {"person": ada, "percent": 0})
        assert company.heard(ada, bob, cal) == {ada, cal}

        assert "I don't hear you any more" in company.ask(cal, "ignore-me", {"switch": "on"})
        assert company.heard(ada, bob, cal) == {ada}
        status = company.ask(bob, "status").splitlines()
        assert {f"Asked not to be heard: <@{cal}>", "I listen to everyone.", f"Volume: <@{bob}> 0 %"} <= set(status)
        company.ask(ada, "attention", {"mode": "floor"})
        old_board = company.wait_board('I listen to who has the floor. It is free: press "Take the floor", and talk.')
        bridge.process.kill()
        bridge.process.wait()
    for person in (ada, bob, cal):
        control.leave(person)
    wait_until(lambda: control.ready.bot_id not in (control.room(channel) or {"user_ids": []})["user_ids"], 30.0)
    after = control.last_index
    with run_bridge(control, tmp_path) as bridge:
        wait_commands(control, after)
        late = company.press(bob, old_board, Button.TAKE)
        assert (late["type"], late["data"]["content"]) == (
            MESSAGE,
            "This conversation has ended. With /join I come again.",
        )
        assert late["data"]["flags"] & EPHEMERAL

        control.join(cal, channel)
        company.enter(bridge, ada, bob)
        wait_until(lambda: len(company.boards()) == 2)
        answer = company.press(bob, old_board, Button.TAKE)
        assert (answer["type"], answer["data"]["content"]) == (MESSAGE, "You have the floor.")
        assert "You have asked not to be heard" in company.press(cal, old_board, Button.TAKE)["data"]["content"]
        assert company.heard(ada, bob, cal) == set(), "Bob has the floor, and no volume"
        assert "at 100 %" in company.ask(bob, "volume", {"person": bob, "percent": 100})
        assert company.heard(ada, bob, cal) == {bob}

        used = control.use_command(ada, channel, "status")
        wait_until(lambda: control.interaction(used)["original"] is not None)
        status_id = int(control.interaction(used)["original"]["id"])
        assert company.press(ada, status_id, Button.TAKE)["data"]["content"] == "You have the floor."
        assert company.heard(ada, bob, cal) == {ada}
        for person in (ada, bob, cal):
            control.leave(person)
        wait_bot(control, channel, is_there=False)
        wait_until(lambda: list(company.boards()) == [old_board])
        contents = [message["content"] for message in control.messages(channel)]
        assert contents.count(ENDED_SENTENCE) == 1
        ended = bridge.stop()
    assert (ended.code, "fault in plexbridge" in ended.stderr) == (0, False)


def test_the_one_who_started_is_heard_and_then_the_next(company: Company, tmp_path: Path) -> None:
    control, channel = company.control, company.channel
    ada, bob, cal = company.ada, company.bob, company.cal
    with run_bridge(control, tmp_path, {"PLEXBRIDGE_DISCORD_ATTENTION": "one"}) as bridge:
        company.enter(bridge, bob, cal, ada)
        wait_until(lambda: company.said()[-1] == f"I listen to one person: <@{bob}>, who started this conversation.")
        assert company.heard(ada, bob, cal) == {bob}

        control.leave(bob)
        wait_until(lambda: company.said()[-1] == f"I listen to one person: <@{cal}>.")
        assert company.heard(ada, cal) == {cal}
        for person in (ada, cal):
            control.leave(person)
        wait_bot(control, channel, is_there=False)
