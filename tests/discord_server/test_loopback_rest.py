"""REST and interactions of the loopback Discord, met by real discord.py."""

import json
from dataclasses import replace
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from tests.discord_server.answers import RestError
from tests.discord_server.components import check_components
from tests.discord_server.control import Control, run_discord_server
from tests.discord_server.control_client import ControlError
from tests.discord_server.guild import Json
from tests.discord_server.probe_bot import ProbeBot, discord
from tests.discord_server.probing import (
    wait_until,
)

pytestmark = pytest.mark.live


def test_messages_are_sent_edited_deleted_and_recorded(discord_server: Control, bot: ProbeBot) -> None:
    general = discord_server.ready.channels["general"]

    message = bot.do(bot.channel(general).send("one", allowed_mentions=discord.AllowedMentions.none()))
    bot.do(message.edit(content="two"))
    shown = discord_server.messages(general)[-1]
    bot.do(message.delete())

    assert (shown["content"], shown["allowed_mentions"]) == ("two", {"parse": []})
    assert discord_server.messages(general) == [m for m in discord_server.messages(general) if m["id"] != shown["id"]]
    requests = [entry.name.split()[0] for entry in discord_server.record(kind="rest") if "/messages" in entry.name]
    assert requests[-3:] == ["POST", "PATCH", "DELETE"]


def test_a_message_of_more_than_2000_characters_is_refused(discord_server: Control, bot: ProbeBot) -> None:
    with pytest.raises(discord.HTTPException, match="2000"):
        bot.do(bot.channel(discord_server.ready.channels["general"]).send("x" * 2001))


def test_discord_py_waits_out_a_rate_limit_and_repeats(discord_server: Control, bot: ProbeBot) -> None:
    general = discord_server.ready.channels["general"]
    path = f"/channels/{general}/messages"
    discord_server.add_rest_rule("POST", path, status=429, retry_after_seconds=0.4)

    after = discord_server.last_index
    bot.do(bot.channel(general).send("patience"))

    answers = discord_server.record(after=after, kind="rest", name=f"POST {path}")
    assert [answer.data["status"] for answer in answers] == [429, 200]
    assert answers[1].at_seconds - answers[0].at_seconds >= 0.4


def test_a_command_is_answered_with_a_callback_and_a_followup(discord_server: Control, bot: ProbeBot) -> None:
    bot.sync_commands()
    person, general = discord_server.add_person("Commander"), discord_server.ready.channels["general"]

    after = discord_server.last_index
    used = discord_server.use_command(person, general, "echo", text="ping")
    discord_server.wait("interaction", "followup", after=after, interaction_id=used)

    answer = discord_server.interaction(used)
    assert answer["callback"]["data"]["content"] == "ping"
    assert answer["original"]["flags"] & 64, "only they can see it"
    assert [message["content"] for message in answer["followups"]] == ["ping again"]


def test_an_option_is_completed(discord_server: Control, bot: ProbeBot) -> None:
    bot.sync_commands()
    person, general = discord_server.add_person("Typist"), discord_server.ready.channels["general"]

    after = discord_server.last_index
    used = discord_server.complete_command(person, general, "echo", "text", text="pin")
    answered = discord_server.wait("interaction", "callback", after=after, interaction_id=used)

    assert answered.data["payload"]["data"]["choices"] == [{"name": "PIN", "value": "pin"}]


def test_a_deferred_answer_may_take_longer_than_the_deadline_and_another_may_not() -> None:
    with run_discord_server("--interaction-seconds", "0.3") as control, ProbeBot(control.ready) as bot:
        bot.sync_commands()
        person, general = control.add_person("Hurried"), control.ready.channels["general"]

        deferred = control.use_command(person, general, "later", seconds=0.6, defer=True)
        late = control.use_command(person, general, "later", seconds=0.6, defer=False)
        control.wait("interaction", "edit", interaction_id=deferred)
        wait_until(lambda: any("10062" in event for event in bot.events))

        assert control.interaction(deferred)["original"]["content"] == "done"
        assert control.interaction(late)["callback"] is None
        assert [entry.name for entry in control.violations()] == ["interaction answered too late"]


def test_a_second_callback_is_refused_with_40060(discord_server: Control, bot: ProbeBot) -> None:
    bot.sync_commands()
    person, general = discord_server.add_person("Twice"), discord_server.ready.channels["general"]
    used = discord_server.use_command(person, general, "echo", text="once")
    discord_server.wait("interaction", "followup", interaction_id=used)
    url = f"{discord_server.ready.api_base}/interactions/{used}/{discord_server.interaction(used)['token']}/callback"
    request = Request(url, b'{"type": 5}', {"Content-Type": "application/json"}, method="POST")

    with pytest.raises(HTTPError) as refused, build_opener(ProxyHandler({})).open(request):
        pass

    with refused.value:
        assert json.load(refused.value)["code"] == 40060
    assert discord_server.violations()[-1].name == "interaction answered twice"


def test_a_button_a_menu_and_a_form_reach_the_bot(discord_server: Control, bot: ProbeBot) -> None:
    bot.sync_commands()
    person, general = discord_server.add_person("Clicker"), discord_server.ready.channels["general"]
    after = discord_server.last_index
    message = bot.send_panel(general)

    def answer_to(interaction_id: int) -> Any:
        callback = discord_server.wait("interaction", "callback", after=after, interaction_id=interaction_id)
        return callback.data["payload"]

    # One after the other: discord.py knows the form only when it has shown it.
    answers = [
        answer_to(discord_server.press_button(person, message, "panel-button")),
        answer_to(discord_server.choose(person, message, "panel-menu", "tea")),
        answer_to(discord_server.submit_modal(person, general, "panel-form", name="Ada")),
    ]

    assert answers[0]["type"] == 9, "the button shows the form"
    assert answers[1]["data"]["content"] == "tea"
    assert answers[2]["data"]["content"] == "Ada"


def test_a_button_changes_its_message_or_leaves_it_and_answers_who_pressed(
    discord_server: Control, bot: ProbeBot
) -> None:
    ada, bob = discord_server.add_person("Ada"), discord_server.add_person("Bob")
    general = discord_server.ready.channels["general"]
    message = bot.send_panel(general)

    def shown() -> str:
        return next(str(m["content"]) for m in discord_server.messages(general) if int(m["id"]) == message)

    nothing = discord_server.press_button(ada, message, "panel-nothing")
    discord_server.wait("interaction", "followup", interaction_id=nothing)
    before = shown()
    changed = discord_server.press_button(ada, message, "panel-count")
    discord_server.wait("interaction", "callback", interaction_id=changed)

    (answer,) = discord_server.interaction(nothing)["followups"]
    assert discord_server.interaction(nothing)["callback"]["type"] == 6
    assert discord_server.interaction(changed)["callback"]["type"] == 7
    assert (before, shown(), answer["content"]) == ("panel", "pressed", "only for you")
    with pytest.raises(ControlError, match="for somebody else's eyes"):
        discord_server.press_button(bob, int(answer["id"]), "panel-count")
    with pytest.raises(ControlError, match="no other-button"):
        discord_server.press_button(ada, message, "other-button")


@pytest.mark.parametrize(
    "buttons",
    [
        [{"type": 2, "style": 1, "label": "x" * 81, "custom_id": "a"}],
        [{"type": 2, "style": 1, "label": "a", "custom_id": ""}],
        [{"type": 2, "style": 1, "label": "a", "custom_id": "same"}] * 2,
        [{"type": 2, "style": 1, "label": "a", "custom_id": f"{number}"} for number in range(6)],
        [],
    ],
)
def test_components_that_discord_does_not_take_are_refused(buttons: list[Json]) -> None:
    with pytest.raises(RestError, match="Invalid Form Body"):
        check_components([{"type": 1, "components": buttons}])


def test_a_person_in_an_option_reaches_the_bot_as_a_member(discord_server: Control, bot: ProbeBot) -> None:
    bot.sync_commands()
    ada, bob = discord_server.add_person("Ada"), discord_server.add_person("Bob")

    used = discord_server.use_command(ada, discord_server.ready.channels["general"], "greet", whom=bob)
    answered = discord_server.wait("interaction", "callback", interaction_id=used)

    assert answered.data["payload"]["data"]["content"] == "Member Bob"


def test_a_wrong_token_is_refused_in_rest() -> None:
    with run_discord_server() as control, pytest.raises(discord.LoginFailure):
        ProbeBot(replace(control.ready, token="wrong")).check_login()
