"""REST rules for messages, interactions and webhooks: rate limits, failures and slowness, met by real discord.py."""

import pytest

from tests.discord_server.control import Control
from tests.discord_server.probe_bot import ProbeBot, discord
from tests.discord_server.probing import wait_until

pytestmark = pytest.mark.live


def statuses(control: Control, after: int, part: str) -> list[int]:
    """What the requests with this in their path were answered."""
    return [entry.data["status"] for entry in control.record(after=after, kind="rest") if part in entry.name]


@pytest.mark.parametrize(
    ("path", "part"),
    [("/interactions/.*", "/callback"), ("/webhooks/.*", "/webhooks/"), (r"/channels/\d+/messages", "/messages")],
    ids=["callback", "followup", "message"],
)
def test_a_rate_limit_is_waited_out_and_the_answer_comes(
    discord_server: Control, bot: ProbeBot, path: str, part: str
) -> None:
    bot.sync_commands()
    person, general = discord_server.add_person("Patient"), discord_server.ready.channels["general"]
    discord_server.add_rest_rule("POST", path, times=2, status=429, retry_after_seconds=0.2)

    after = discord_server.last_index
    if part == "/messages":
        bot.do(bot.channel(general).send("patience"))
    else:
        used = discord_server.use_command(person, general, "echo", text="ping")
        discord_server.wait("interaction", "followup", after=after, interaction_id=used)
    wait_until(lambda: len(statuses(discord_server, after, part)) == 3)

    entries = [entry for entry in discord_server.record(after=after, kind="rest") if part in entry.name]
    assert [entry.data["status"] for entry in entries] == [429, 429, 200]
    assert entries[2].at_seconds - entries[0].at_seconds >= 0.4


def test_a_slow_callback_is_late_by_as_much_and_one_that_is_too_slow_is_refused(
    discord_server: Control, bot: ProbeBot
) -> None:
    bot.sync_commands()
    person, general = discord_server.add_person("Slow"), discord_server.ready.channels["general"]
    after, events = discord_server.last_index, len(bot.events)

    discord_server.add_rest_rule("POST", "/interactions/.*", delay_seconds=0.5)
    slow = discord_server.use_command(person, general, "echo", text="slow")
    callback = discord_server.wait("interaction", "callback", after=after, interaction_id=slow)
    discord_server.add_rest_rule("POST", "/interactions/.*", delay_seconds=3.1)
    late = discord_server.use_command(person, general, "echo", text="late")
    wait_until(lambda: any("10062" in event for event in bot.events[events:]))

    assert 0.5 <= callback.data["seconds"] < 1.5
    assert discord_server.interaction(late)["callback"] is None


def test_a_slow_followup_comes_late(discord_server: Control, bot: ProbeBot) -> None:
    bot.sync_commands()
    person, general = discord_server.add_person("Slow"), discord_server.ready.channels["general"]
    after = discord_server.last_index

    discord_server.add_rest_rule("POST", "/webhooks/.*", delay_seconds=0.5)
    used = discord_server.use_command(person, general, "echo", text="slow")
    callback = discord_server.wait("interaction", "callback", after=after, interaction_id=used)
    followup = discord_server.wait("interaction", "followup", after=after, interaction_id=used)

    assert followup.at_seconds - callback.at_seconds >= 0.5


def test_a_callback_that_fails_is_an_error_with_the_chosen_code(discord_server: Control, bot: ProbeBot) -> None:
    bot.sync_commands()
    person, general = discord_server.add_person("Refused"), discord_server.ready.channels["general"]
    events = len(bot.events)

    discord_server.add_rest_rule("POST", "/interactions/.*", status=403, code=50013)
    used = discord_server.use_command(person, general, "echo", text="x")
    wait_until(lambda: any("50013" in event for event in bot.events[events:]))

    assert discord_server.interaction(used)["callback"] is None


def test_a_message_that_fails_is_an_error_with_the_chosen_status(discord_server: Control, bot: ProbeBot) -> None:
    general = discord_server.ready.channels["general"]
    discord_server.add_rest_rule("POST", f"/channels/{general}/messages", status=403, code=50013)

    with pytest.raises(discord.Forbidden, match="50013"):
        bot.do(bot.channel(general).send("no"))
