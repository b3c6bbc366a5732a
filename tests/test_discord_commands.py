"""Slash and prefix commands on real discord.py, against the loopback Discord."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib import request as http

import pytest
import trio

from plexbridge.config import ModelConfig, PersonaConfig
from plexbridge.errors import PlexbridgeError
from plexbridge.model.health import ModelStatus
from plexbridge.people.discord.asking import Answer, Command, Press, Request
from plexbridge.people.discord.attention import Button
from plexbridge.people.discord.commands import Commands
from plexbridge.people.discord.portal import open_portal
from plexbridge.people.discord.replies import view_of
from plexbridge.people.discord.slash import BUSY, CROSSING_LIMIT, GONE, OLD_BUTTON, PENDING_LIMIT, PERSONA_CHARS
from plexbridge.people.discord.status import RoomStatus
from plexbridge.store.settings import open_store
from tests.discord_server.control import Control, run_discord_server
from tests.discord_server.probe_bot import discord
from tests.discord_server.probing import wait_until
from tests.people.discord.choices import make_audiences, make_recordings
from tests.people.discord.command_bot import CommandBot

pytestmark = pytest.mark.live

EPHEMERAL, LOADING = 1 << 6, 1 << 7
MESSAGE, DEFERRED, DEFERRED_UPDATE, CHOICES = 4, 5, 6, 8
CALLBACK = "/interactions/.*/callback"
OPTIONS: dict[Command, dict[str, str | int]] = {
    Command.VOICE: {"name": "NATM1"},
    Command.PERSONA: {"text": "You are a walrus."},
    Command.ATTENTION: {"mode": "floor"},
    Command.VOLUME: {"percent": 50},
    Command.IGNORE_ME: {"switch": "on"},
    Command.RECORD: {"switch": "on"},
}


@pytest.fixture(scope="module")
def server() -> Iterator[Control]:
    with run_discord_server() as control:
        yield control


@pytest.fixture(scope="module")
def running_bot(server: Control) -> Iterator[CommandBot]:
    with CommandBot(server.ready) as running:
        assert running.is_synced.wait(10)
        yield running
    assert running.faults == []


@pytest.fixture
def bot(running_bot: CommandBot) -> CommandBot:
    """A bot that has just logged in, as it were; who wants another one needs a server of its own for it."""
    running_bot.reset()
    return running_bot


@pytest.fixture
def own_server() -> Iterator[Control]:
    with run_discord_server() as control:
        yield control


@pytest.fixture
def ada(server: Control) -> int:
    return server.add_person("Ada")


def general(control: Control) -> int:
    return control.ready.channels["general"]


def use(control: Control, person: int, command: Command) -> int:
    """Let a person use a command, with a fitting option; return the interaction's id."""
    options = OPTIONS.get(command, {}) | ({"person": person} if command is Command.VOLUME else {})
    return control.use_command(person, general(control), command.value, **options)


def wait_callback(control: Control, interaction_id: int) -> Any:
    """Wait for the bot's first answer; return what it sent."""
    return control.wait("interaction", "callback", interaction_id=interaction_id).data["payload"]


def wait_answer(control: Control, interaction_id: int) -> Any:
    """Wait until the answer can be read; return the message."""

    def shown() -> Any:
        message = control.interaction(interaction_id)["original"]
        return message if message is not None and not message["flags"] & LOADING else None

    wait_until(lambda: shown() is not None)
    return shown()


def refuse(control: Control, path: str, *, status: int, code: int = 0, method: str = "POST", **more: Any) -> None:
    """Have the next request be refused."""
    rule = {"times": 1, "delay_seconds": 0.0, "retry_after_seconds": 0.0, "is_global": False} | more
    control.call("rest_rule", method=method, path=path, status=status, code=code, **rule)


def requests(control: Control, after: int, interaction_id: int) -> list[int]:
    """Return the statuses of all requests that the bot has made about an interaction."""
    token = control.interaction(interaction_id)["token"]
    return [entry.data["status"] for entry in control.record(after=after, kind="rest") if token in entry.name]


def replies(control: Control, message_id: int) -> list[Any]:
    """Return the messages that answer a message."""
    found = control.messages(general(control))
    return [each for each in found if int((each.get("message_reference") or {}).get("message_id", 0)) == message_id]


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what is in the log from a warning on, of plexbridge."""
    return [
        record
        for record in caplog.records
        if record.name.startswith("plexbridge") and record.levelno >= logging.WARNING
    ]


# What Discord is told


def test_the_commands_are_registered_for_servers_only(server: Control, bot: CommandBot) -> None:
    ready = server.ready
    url = f"{ready.api_base}/applications/{ready.application_id}/commands"
    request = http.Request(url, headers={"Authorization": f"Bot {ready.token}"})
    with http.build_opener(http.ProxyHandler({})).open(request) as response:
        commands = {command["name"]: command for command in json.load(response)}

    assert set(commands) == {command.value for command in Command}
    assert all(command["contexts"] == [0] and command["integration_types"] == [0] for command in commands.values())
    (name,) = commands["voice"]["options"]
    assert (name["name"], name["autocomplete"], name["required"]) == ("name", True, True)
    (text,) = commands["persona"]["options"]
    assert (text["name"], text["max_length"]) == ("text", PERSONA_CHARS)
    assert [choice["value"] for choice in commands["attention"]["options"][0]["choices"]] == [
        "everyone",
        "floor",
        "one",
    ]
    percent, person = sorted(commands["volume"]["options"], key=lambda option: str(option["name"]))
    assert (percent["min_value"], percent["max_value"]) == (0, 200)
    assert person["type"] == 6
    for name in ("ignore-me", "record"):
        assert [choice["value"] for choice in commands[name]["options"][0]["choices"]] == ["on", "off"]
    assert all(not commands[name]["options"] for name in ("join", "leave", "status", "voices", "reset"))


@pytest.mark.parametrize("status", [403, 400])
def test_a_refused_registration_is_one_line_and_the_bot_works_on(
    own_server: Control, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(own_server, "/applications/.*/commands", status=status, method="PUT")
    with CommandBot(own_server.ready) as bot:
        assert bot.is_synced.wait(10)
        message = own_server.say(own_server.add_person("Ada"), general(own_server), "!status")
        wait_until(lambda: bool(replies(own_server, message)))

    (record,) = ours(caplog)
    assert record.getMessage() == f"the slash commands could not be registered: Discord answered {status}, error 0"
    assert record.exc_info is None
    assert bot.faults == []


def test_a_rate_limited_registration_delays_nothing_and_is_made_up_for(own_server: Control) -> None:
    refuse(own_server, "/applications/.*/commands", status=429, method="PUT", retry_after_seconds=4.0)
    started = time.monotonic()
    with CommandBot(own_server.ready) as bot:
        assert not bot.is_synced.is_set()
        assert time.monotonic() - started < 4.0
        message = own_server.say(own_server.add_person("Ada"), general(own_server), "!status")
        wait_until(lambda: bool(replies(own_server, message)))
        assert bot.is_synced.wait(10)
    assert bot.faults == []


# Slash commands


@pytest.mark.parametrize("command", Command)
def test_each_command_is_passed_on_and_answered_to_those_it_concerns(
    server: Control, bot: CommandBot, ada: int, command: Command
) -> None:
    used = use(server, ada, command)
    payload = wait_callback(server, used)

    text = f"<@{ada}> 50" if command is Command.VOLUME else next(iter(OPTIONS.get(command, {}).values()), "")
    assert payload["type"] == MESSAGE
    assert payload["data"]["content"] == f"{command.value} {text}".strip()
    assert bool(payload["data"].get("flags", 0) & EPHEMERAL) is (command not in (Command.JOIN, Command.LEAVE))
    assert payload["data"]["allowed_mentions"] == {"parse": []}
    (request,) = bot.requests
    assert (request.command, request.text) == (command, text)
    assert (request.guild_id, request.user_id) == (server.ready.guild_id, ada)
    assert request.voice_channel_id is None
    assert not any((request.may_move_members, request.may_manage_server, request.may_mute_members))


def test_where_the_person_is_goes_with_the_request(server: Control, bot: CommandBot, ada: int) -> None:
    channel = server.voice_channel()
    server.join(ada, channel)
    wait_until(lambda: any(member.id == ada for member in bot.channel(channel).members))

    wait_callback(server, use(server, ada, Command.JOIN))
    server.say(ada, general(server), "!join")
    wait_until(lambda: len(bot.answered) == 2)
    server.leave(ada)

    assert [request.voice_channel_id for request in bot.answered] == [channel, channel]


def test_what_the_person_may_do_where_the_bot_is_goes_with_the_request(
    server: Control, bot: CommandBot, ada: int
) -> None:
    bob = server.add_person("Bob")
    server.set_member_permissions(
        ada, "view_channel", "send_messages", "connect", "move_members", "manage_guild", "mute_members"
    )

    for channel in (None, server.voice_channel()):
        bot.enter(channel)
        for person in (ada, bob):
            wait_callback(server, use(server, person, Command.LEAVE))
            server.say(person, general(server), "!leave")
            wait_until(lambda: len(bot.answered) % 2 == 0)
    bot.enter(None)

    expected = [(ada, True), (ada, True), (bob, False), (bob, False)] * 2
    rights = ("may_move_members", "may_manage_server", "may_mute_members")
    for right in rights:
        assert [(request.user_id, getattr(request, right)) for request in bot.answered] == expected, right


def test_a_half_typed_voice_is_completed(server: Control, bot: CommandBot, ada: int) -> None:
    for typed, values in (("natm", ["NATM0", "NATM1", "NATM2", "NATM3"]), ("qqqq", []), ("", None)):
        used = server.complete_command(ada, general(server), "voice", "name", name=typed)
        payload = wait_callback(server, used)

        assert payload["type"] == CHOICES
        choices = payload["data"]["choices"]
        assert len(choices) <= 25
        assert values is None or [choice["value"] for choice in choices] == values
    assert choices[0] == {"name": "NATF0 — natural female", "value": "NATF0"}
    assert bot.requests == []


@pytest.mark.parametrize("command", [Command.STATUS, Command.JOIN])
def test_a_slow_answer_is_deferred_and_follows_without_interrupting_the_work(
    server: Control, bot: CommandBot, ada: int, command: Command
) -> None:
    bot.delay_seconds = 3.5

    used = use(server, ada, command)
    deferral = wait_callback(server, used)
    seconds = server.interaction(used)["callback_seconds"]
    answer = wait_answer(server, used)

    assert deferral["type"] == DEFERRED
    assert 1.4 <= seconds <= 2.5
    assert bool((deferral.get("data") or {}).get("flags", 0) & EPHEMERAL) is command.is_private
    assert answer["content"] == command.value
    assert answer["allowed_mentions"] == {"parse": []}
    assert len(bot.requests) == len(bot.answered) == 1
    assert server.interaction(used)["followups"] == []


def test_a_callback_that_discord_takes_slowly_is_still_in_time(
    server: Control, bot: CommandBot, ada: int, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(server, CALLBACK, status=0, delay_seconds=1.0)
    bot.delay_seconds = 1.7

    used = use(server, ada, Command.STATUS)

    assert wait_answer(server, used)["content"] == "status"
    assert ours(caplog) == []


@pytest.mark.parametrize("status", [429, 500])
def test_a_rate_limit_or_a_fault_of_discords_is_waited_out(
    server: Control, bot: CommandBot, ada: int, status: int
) -> None:
    after = server.last_index
    refuse(server, CALLBACK, status=status, retry_after_seconds=0.5)

    used = use(server, ada, Command.STATUS)

    assert wait_answer(server, used)["content"] == "status"
    assert requests(server, after, used) == [status, 200]


@pytest.mark.parametrize(("status", "code"), [(404, 10062), (400, 40060), (403, 50013)])
@pytest.mark.parametrize("delay_seconds", [0.0, 2.0])
def test_an_answer_that_discord_refuses_is_one_line_and_no_second_one_is_sent(
    server: Control,
    bot: CommandBot,
    ada: int,
    status: int,
    code: int,
    delay_seconds: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    after = server.last_index
    refuse(server, CALLBACK, status=status, code=code)
    bot.delay_seconds = delay_seconds

    used = use(server, ada, Command.VOICE)
    wait_until(lambda: len(bot.answered) == 1)
    wait_until(lambda: bool(ours(caplog)))
    # What comes after it has been answered: so nothing more was to come of the refused one.
    bot.delay_seconds = 0.0
    wait_callback(server, use(server, ada, Command.STATUS))

    (record,) = ours(caplog)
    word = "deferred" if delay_seconds else "answered"
    assert record.getMessage() == f"a slash command could not be {word}: Discord answered {status}, error {code}"
    assert record.exc_info is None
    assert requests(server, after, used) == [status]


def test_a_callback_that_comes_too_late_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with run_discord_server("--interaction-seconds", "0.5") as control, CommandBot(control.ready) as bot:
        assert bot.is_synced.wait(10)
        person = control.add_person("Hurried")
        bot.delay_seconds = 1.0

        used = use(control, person, Command.STATUS)
        wait_until(lambda: bool(ours(caplog)))

        assert control.interaction(used)["callback"] is None
    (record,) = ours(caplog)
    assert record.getMessage() == "a slash command could not be answered: Discord answered 404, error 10062"
    assert bot.faults == []


def test_a_deferred_answer_that_can_not_be_shown_is_one_line(
    server: Control, bot: CommandBot, ada: int, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(server, "/webhooks/.*", status=404, code=10015, method="PATCH")
    bot.delay_seconds = 2.0

    use(server, ada, Command.STATUS)
    wait_until(lambda: bool(ours(caplog)))

    (record,) = ours(caplog)
    assert record.getMessage() == "a slash command could not be answered: Discord answered 404, error 10015"


def test_a_completion_that_discord_refuses_is_one_line(
    server: Control, bot: CommandBot, ada: int, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(server, CALLBACK, status=404, code=10062)

    server.complete_command(ada, general(server), "voice", "name", name="nat")
    wait_until(lambda: bool(ours(caplog)))

    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == "a voice's completion could not be shown: Discord answered 404, error 10062"


def test_a_command_of_an_earlier_version_is_said_to_be_gone(
    server: Control, bot: CommandBot, ada: int, caplog: pytest.LogCaptureFixture
) -> None:
    ready = server.ready
    url = f"{ready.api_base}/applications/{ready.application_id}/guilds/{ready.guild_id}/commands"
    old = [
        {"name": "sing", "description": "Sing"},
        {"name": "voice", "description": "Sing", "options": [{"name": "song", "type": 3, "description": "A song"}]},
    ]
    headers = {"Authorization": f"Bot {ready.token}", "Content-Type": "application/json"}
    opener = http.build_opener(http.ProxyHandler({}))
    opener.open(http.Request(url, json.dumps(old).encode(), headers, method="PUT")).close()

    used = [
        server.use_command(ada, general(server), "sing"),
        server.use_command(ada, general(server), "voice", song="La"),
    ]
    payloads = [wait_callback(server, each) for each in used]
    completed = wait_callback(server, server.complete_command(ada, general(server), "voice", "song", song="L"))
    opener.open(http.Request(url, b"[]", headers, method="PUT")).close()

    assert [payload["data"]["content"] for payload in payloads] == [GONE, GONE]
    assert all(payload["data"]["flags"] & EPHEMERAL for payload in payloads)
    assert completed["type"] == CHOICES
    assert ours(caplog) == []


def test_components_that_nobody_knows_are_answered_and_forms_disturb_nothing(
    server: Control, bot: CommandBot, ada: int, caplog: pytest.LogCaptureFixture
) -> None:
    menu: discord.ui.Select[Any] = discord.ui.Select(custom_id="old-menu", options=[discord.SelectOption(label="tea")])
    message = bot.write(
        general(server), "of an earlier version", discord.ui.Button(custom_id="old-button", label="?"), menu
    )

    used = [server.press_button(ada, message, "old-button"), server.choose(ada, message, "old-menu", "tea")]
    payloads = [wait_callback(server, each) for each in used]
    server.submit_modal(ada, general(server), "old-form", name="Ada")

    assert [(payload["type"], payload["data"]["content"]) for payload in payloads] == [(MESSAGE, OLD_BUTTON)] * 2
    assert all(payload["data"]["flags"] & EPHEMERAL for payload in payloads)
    assert bot.presses == []
    assert wait_callback(server, use(server, ada, Command.STATUS))["data"]["content"] == "status"
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def put_floor(bot: CommandBot, control: Control) -> int:
    """Return a message with the floor's buttons."""
    return bot.write(general(control), "the floor", *view_of(tuple(Button)).children)


@pytest.mark.parametrize("delay_seconds", [0.0, 2.0])
@pytest.mark.parametrize("sentence", ["", "You have the floor."])
def test_a_press_is_acknowledged_in_time_and_answered_only_to_who_pressed(
    server: Control, bot: CommandBot, ada: int, delay_seconds: float, sentence: str
) -> None:
    message = put_floor(bot, server)
    before = server.messages(general(server))
    bot.delay_seconds, bot.press_answer = delay_seconds, Answer(sentence, is_private=True)

    used = server.press_button(ada, message, Button.TAKE.value)
    payload = wait_callback(server, used)
    if sentence and delay_seconds:
        server.wait("interaction", "followup", interaction_id=used)

    is_direct = bool(sentence) and not delay_seconds
    assert payload["type"] == (MESSAGE if is_direct else DEFERRED_UPDATE)
    assert server.interaction(used)["callback_seconds"] < 2.5
    answers = [payload["data"]] if is_direct else server.interaction(used)["followups"]
    assert [answer["content"] for answer in answers] == ([sentence] if sentence else [])
    assert all(answer["flags"] & EPHEMERAL for answer in answers)
    shown = [each for each in server.messages(general(server)) if not each["flags"] & EPHEMERAL]
    assert shown[-1] == [each for each in before if not each["flags"] & EPHEMERAL][-1], "the message is as it was"
    (press,) = bot.presses
    assert (press.button, press.message_id, press.user_id, press.guild_id) == (
        Button.TAKE,
        message,
        ada,
        server.ready.guild_id,
    )
    assert press.voice_channel_id is None


def test_a_press_that_discord_refuses_the_answer_to_is_one_line(
    server: Control, bot: CommandBot, ada: int, caplog: pytest.LogCaptureFixture
) -> None:
    message = put_floor(bot, server)
    refuse(server, CALLBACK, status=404, code=10062)

    server.press_button(ada, message, Button.FREE.value)
    wait_until(lambda: bool(ours(caplog)))

    (record,) = ours(caplog)
    assert record.getMessage() == "the press of a button could not be answered: Discord answered 404, error 10062"


def test_buttons_stand_under_an_answer_that_has_them(server: Control, bot: CommandBot, ada: int) -> None:
    bot.buttons = (Button.TAKE, Button.FREE)

    used = wait_callback(server, use(server, ada, Command.STATUS))
    message = server.say(ada, general(server), "!status")
    wait_until(lambda: bool(replies(server, message)))

    (reply,) = replies(server, message)
    for components in (used["data"]["components"], reply["components"]):
        (row,) = components
        assert [(each["type"], each["custom_id"]) for each in row["components"]] == [
            (2, Button.TAKE.value),
            (2, Button.FREE.value),
        ]


@pytest.mark.parametrize("delay_seconds", [0.0, 2.0])
def test_a_bug_has_the_generic_sentence_as_its_answer(
    server: Control, bot: CommandBot, ada: int, delay_seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    bot.fault, bot.delay_seconds = ZeroDivisionError("a detail"), delay_seconds

    used = use(server, ada, Command.PERSONA)
    answer = wait_answer(server, used)

    assert answer["content"] == PlexbridgeError.user_message
    assert answer["flags"] & EPHEMERAL
    (record,) = ours(caplog)
    assert record.exc_info is not None
    assert "walrus" not in caplog.text


def test_commands_leave_a_way_for_other_news_and_too_many_are_turned_away(
    server: Control, bot: CommandBot, ada: int
) -> None:
    bot.delay_seconds = 0.1
    hold = PENDING_LIMIT + 3

    used = [use(server, ada, Command.STATUS) for _ in range(hold)]
    answers = [wait_answer(server, each)["content"] for each in used]

    assert bot.most_crossings == CROSSING_LIMIT
    assert set(answers) <= {"status", BUSY.text}


# Prefix commands


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("!join", "join"),
        ("!leave", "leave"),
        ("!status", "status"),
        ("!voice natf0", "voice natf0"),
        ("!voices", "voices"),
        ("!voice-list", "voices"),
        ("!prompt You are a walrus.", "persona You are a walrus."),
        ("!reset", "reset"),
        ("!attention one", "attention one"),
        ("!volume <@17> 50", "volume <@17> 50"),
        ("!ignore-me off", "ignore-me off"),
    ],
)
def test_a_prefix_command_is_answered_with_a_reply_that_calls_nobody(
    server: Control, bot: CommandBot, ada: int, content: str, answer: str
) -> None:
    message = server.say(ada, general(server), content)
    wait_until(lambda: bool(replies(server, message)))

    (reply,) = replies(server, message)
    assert reply["content"] == answer
    assert reply["allowed_mentions"] == {"parse": [], "replied_user": False}
    (request,) = bot.requests
    assert (request.guild_id, request.user_id) == (server.ready.guild_id, ada)


def test_ordinary_messages_and_those_of_bots_are_no_commands(server: Control, bot: CommandBot, ada: int) -> None:
    other = server.add_person("Music", is_bot=True)

    server.say(other, general(server), "!join")
    server.say(ada, general(server), "!play a song")
    server.say(ada, general(server), "hello")
    bot.write(general(server), "!join")
    server.say(ada, general(server), "!status")
    wait_until(lambda: len(bot.answered) == 1)

    assert [request.command for request in bot.requests] == [Command.STATUS]


@pytest.mark.parametrize("has_content", [True, False])
def test_without_the_setting_or_the_intent_messages_are_left_alone(own_server: Control, has_content: bool) -> None:
    ada = own_server.add_person("Ada")
    with CommandBot(own_server.ready, has_prefix=not has_content, has_content=has_content) as bot:
        assert bot.is_synced.wait(10)
        own_server.say(ada, general(own_server), "!join")
        assert wait_callback(own_server, use(own_server, ada, Command.STATUS))["data"]["content"] == "status"

    assert [request.command for request in bot.requests] == [Command.STATUS]
    assert bot.faults == []


def test_an_application_that_was_not_granted_the_intent_says_so(server: Control, bot: CommandBot) -> None:
    with (
        run_discord_server("--allowed-privileged-intents", "0") as control,
        CommandBot(control.ready, has_prefix=False, has_content=False) as unaware,
    ):
        fault = unaware.intent_fault()

    assert fault is not None
    assert f"/applications/{control.ready.application_id}/bot" in fault
    assert bot.intent_fault() is None


def test_a_reply_that_discord_refuses_is_one_line(
    server: Control, bot: CommandBot, ada: int, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(server, f"/channels/{general(server)}/messages", status=403, code=50013)

    server.say(ada, general(server), "!status")
    wait_until(lambda: bool(ours(caplog)))

    (record,) = ours(caplog)
    assert record.getMessage() == "a prefix command could not be answered: Discord answered 403, error 50013"


def test_a_bug_behind_a_prefix_command_is_told_in_the_generic_sentence(
    server: Control, bot: CommandBot, ada: int, caplog: pytest.LogCaptureFixture
) -> None:
    bot.fault = ZeroDivisionError("a detail")

    message = server.say(ada, general(server), "!status")
    wait_until(lambda: bool(replies(server, message)))

    assert [reply["content"] for reply in replies(server, message)] == [PlexbridgeError.user_message]
    assert [record.levelname for record in ours(caplog)] == ["ERROR"]


# All the way


class NoConversations:
    """A bot that nobody has called."""

    async def join(self, guild_id: int, channel_id: int, user_id: int) -> None:
        """Take its time."""
        await trio.sleep(2)

    def leave(self, guild_id: int) -> None:
        """Do nothing."""

    def status(self, guild_id: int) -> RoomStatus | None:
        """Return that there is none."""
        return None

    def models(self) -> tuple[ModelStatus, ...]:
        """Return nothing of the models."""
        return ()


async def test_commands_cross_into_trio_and_settings_stay_in_the_store(own_server: Control, tmp_path: Path) -> None:
    ada, bob = own_server.add_person("Ada"), own_server.add_person("Bob")
    persona, models = PersonaConfig(), [ModelConfig(dialect="loopback")]

    def converse(bot: CommandBot) -> list[str]:
        assert bot.is_synced.wait(10)
        used = [
            own_server.use_command(ada, general(own_server), "voice", name="natm1"),
            own_server.use_command(bob, general(own_server), "voice", name="NATF9"),
            own_server.use_command(bob, general(own_server), "persona", text="You are a walrus."),
        ]
        answers = [wait_answer(own_server, each)["content"] for each in used]
        used = [own_server.use_command(person, general(own_server), "status") for person in (ada, bob)]
        return answers + [wait_answer(own_server, each)["content"].splitlines()[-1] for each in used]

    async with open_store(f"sqlite:///{tmp_path}/store.db") as store, open_portal() as portal:
        commands = Commands(
            NoConversations(), store, make_audiences(), make_recordings(), persona=persona, models=models
        )

        async def answering(request: Request | Press) -> Answer:
            return await portal.into_trio(commands.answer, request)

        bot = CommandBot(own_server.ready, answering=answering)
        await trio.to_thread.run_sync(bot.__enter__)
        try:
            answers = await trio.to_thread.run_sync(converse, bot)
        finally:
            await trio.to_thread.run_sync(bot.__exit__, None, None, None)

    assert answers == [
        "I speak with the voice NATM1 from the next conversation on that you start.",
        'There is no voice called "NATF9". Did you mean NATF1, NATF2 or NATF3?',
        "Your persona is stored, and holds from the next conversation on that you start.",
        "The voice in conversations that you start: NATM1",
        "The voice in conversations that you start: NATF0 (the usual one), with a persona of your own",
    ]
    assert bot.faults == []
