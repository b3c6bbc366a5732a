"""The record of the loopback Discord as a transcript: who did what, and what the bot answered."""

from typing import Any

import pytest

from tests.discord_server.control import Control, RecordEntry
from tests.discord_server.probe_bot import ProbeBot
from tests.discord_server.probe_voice import synthetic_packets
from tests.discord_server.probing import wait_until

pytestmark = pytest.mark.live


def about(entries: list[RecordEntry], kind: str, *keys: str) -> list[tuple[Any, ...]]:
    """Name and chosen data of the entries of a kind, in order."""
    return [(e.name, *(e.data.get(key) for key in keys)) for e in entries if e.kind == kind]


def test_a_command_and_everything_that_follows_is_in_the_record_with_its_words(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    bot.sync_commands()
    person = discord_server.add_person("Ada")

    after = discord_server.last_index
    used = discord_server.use_command(person, channel, "echo", text="ping")
    discord_server.wait("interaction", "followup", after=after, interaction_id=used)
    deferred = discord_server.use_command(person, channel, "later", seconds=0.05, defer=True)
    discord_server.wait("interaction", "edit", after=after, interaction_id=deferred)
    entries = discord_server.record(after=after)

    keys = ("interaction_id", "user_id", "user_name", "channel_id", "content", "is_ephemeral")
    assert about(entries, "interaction", *keys) == [
        ("created", used, person, "Ada", channel, "/echo text:ping", None),
        ("callback", used, person, "Ada", channel, "ping", True),
        ("followup", used, person, "Ada", channel, "ping again", False),
        ("created", deferred, person, "Ada", channel, "/later seconds:0.05 defer:True", None),
        ("callback", deferred, person, "Ada", channel, "", False),
        ("edit", deferred, person, "Ada", channel, "done", False),
    ]
    bot_id = discord_server.ready.bot_id
    shown = [
        ("posted", bot_id, channel, "ping again"),
        ("edited", bot_id, channel, "done"),
    ]
    assert about(entries, "message", "user_id", "channel_id", "content") == shown
    times = [entry.at_seconds for entry in entries]
    assert times == sorted(times)
    assert times[-1] - times[0] >= 0.05


def test_buttons_menus_and_forms_are_in_the_record_with_what_was_chosen(discord_server: Control, bot: ProbeBot) -> None:
    person, general = discord_server.add_person("Clicker"), discord_server.ready.channels["general"]
    message = bot.send_panel(general)

    after = discord_server.last_index
    # One after the other: discord.py knows the form only when it has shown it.
    used = discord_server.press_button(person, message, "panel-button")
    discord_server.wait("interaction", "callback", after=after, interaction_id=used)
    used = discord_server.choose(person, message, "panel-menu", "tea")
    discord_server.wait("interaction", "callback", after=after, interaction_id=used)
    used = discord_server.submit_modal(person, general, "panel-form", name="Grace")
    discord_server.wait("interaction", "callback", after=after, interaction_id=used)

    created = [e for e in discord_server.record(after=after, kind="interaction") if e.name == "created"]
    assert about(created, "interaction", "content", "message_id") == [
        ("created", "panel-button", message),
        ("created", "panel-menu tea", message),
        ("created", "panel-form name:Grace", None),
    ]


def test_messages_of_people_and_of_the_bot_are_in_the_record_with_every_change(
    discord_server: Control, bot: ProbeBot
) -> None:
    person, general = discord_server.add_person("Bob"), discord_server.ready.channels["general"]

    after = discord_server.last_index
    asked = discord_server.say(person, general, "hello?")
    message = bot.do(bot.channel(general).send("hello"))
    bot.do(message.edit(content="hello Bob"))
    bot.do(message.delete())
    discord_server.delete_message(asked)

    entries = discord_server.record(after=after)
    bot_id = discord_server.ready.bot_id
    assert about(entries, "message", "user_id", "user_name", "message_id", "content") == [
        ("posted", person, "Bob", asked, "hello?"),
        ("posted", bot_id, "plexbridge-test", message.id, "hello"),
        ("edited", bot_id, "plexbridge-test", message.id, "hello Bob"),
        ("deleted", bot_id, "plexbridge-test", message.id, "hello Bob"),
        ("deleted", person, "Bob", asked, "hello?"),
    ]


def test_what_people_do_in_voice_is_in_the_record(discord_server: Control, channel: int) -> None:
    person = discord_server.add_person("Carol")

    after = discord_server.last_index
    discord_server.join(person, channel, self_mute=True)
    discord_server.set_flags(person, channel)
    discord_server.set_camera(person, True)
    discord_server.announce_speaking(person)
    discord_server.set_camera(person, False)
    discord_server.leave(person)

    keys = ("user_id", "user_name", "channel_id", "self_mute")
    assert about(discord_server.record(after=after), "person", *keys) == [
        ("joins", person, "Carol", channel, True),
        ("connected", person, "Carol", channel, None),
        ("changes flags", person, "Carol", channel, False),
        ("turns the camera on", person, "Carol", None, None),
        ("announces speaking", person, "Carol", None, None),
        ("turns the camera off", person, "Carol", None, None),
        ("leaves", person, "Carol", None, None),
    ]


def test_a_talk_is_in_the_record_from_its_beginning_to_its_end_but_not_its_sound(
    discord_server: Control, channel: int
) -> None:
    person, other = discord_server.add_person("Dora"), discord_server.add_person("Ear")
    for member in (person, other):
        discord_server.join(member, channel)
    assert discord_server.wait_secure(person)

    after = discord_server.last_index
    discord_server.speak_packets(person, synthetic_packets(10, 1))
    discord_server.speak_tone(person, hz=300, seconds=0.1, wait=False)
    wait_until(lambda: len(discord_server.record(after=after, name="spoke")) == 2)

    talks = discord_server.record(after=after, kind="person")
    assert about(talks, "person", "user_name", "source", "frames") == [
        ("speaks", "Dora", {"packets": 10}, None),
        ("spoke", "Dora", {"packets": 10}, 15),
        ("speaks", "Dora", {"tone": {"hz": 300, "seconds": 0.1}}, None),
        ("spoke", "Dora", {"tone": {"hz": 300, "seconds": 0.1}}, 10),
    ]
    assert talks[1].at_seconds - talks[0].at_seconds == pytest.approx(0.3, abs=0.15)
    assert [entry.data["seconds"] for entry in talks] == pytest.approx([0.2, 0.2, 0.1, 0.1])
