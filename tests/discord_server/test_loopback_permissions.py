"""Permissions of the loopback Discord, met by real discord.py: what it computes, and what Discord then refuses."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.discord_server.control import Control, ControlError, run_discord_server
from tests.discord_server.permissions import ALL_BUT_ADMINISTRATOR, BITS, EVERYTHING, ORDINARY_MEMBER, bits
from tests.discord_server.probe_bot import ProbeBot, discord
from tests.discord_server.probe_voice import synthetic_packets
from tests.discord_server.probing import speech, wait_secure, wait_until

pytestmark = pytest.mark.live

UNANSWERED_SECONDS = 0.5
"""How long nothing happens where Discord does not answer."""


@pytest.fixture(autouse=True)
def _all_allowed_afterwards(discord_server: Control) -> Iterator[None]:
    yield
    discord_server.set_bot_permissions()


def allowed_to_bot(bot: ProbeBot, channel_id: int) -> discord.Permissions:
    """What discord.py thinks that the bot may do in a channel."""
    channel = bot.channel(channel_id)
    allowed: discord.Permissions = channel.permissions_for(channel.guild.me)
    return allowed


def wait_denied(bot: ProbeBot, channel_id: int, name: str, *, is_denied: bool = True) -> None:
    """Wait until the news has reached discord.py."""
    wait_until(lambda: getattr(allowed_to_bot(bot, channel_id), name) is not is_denied)


def test_discord_py_learns_of_a_permission_that_is_denied_everywhere_and_given_back(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    general = discord_server.ready.channels["general"]
    assert allowed_to_bot(bot, channel).value == ALL_BUT_ADMINISTRATOR

    discord_server.set_bot_permissions("speak", "manage_channels")
    wait_denied(bot, channel, "speak")
    after_denial = allowed_to_bot(bot, channel).value
    in_general = allowed_to_bot(bot, general)
    discord_server.set_bot_permissions()
    wait_denied(bot, channel, "speak", is_denied=False)

    assert after_denial == ALL_BUT_ADMINISTRATOR & ~bits("speak", "manage_channels")
    assert not in_general.manage_channels
    assert in_general.send_messages
    assert allowed_to_bot(bot, channel).value == ALL_BUT_ADMINISTRATOR


def test_discord_py_learns_of_a_permission_that_is_denied_in_one_channel_and_given_back(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    second = discord_server.voice_channel("Second")

    discord_server.set_bot_permissions("connect", channel_id=channel)
    wait_denied(bot, channel, "connect")
    elsewhere = allowed_to_bot(bot, second).value
    discord_server.set_bot_permissions(channel_id=channel)

    assert elsewhere == ALL_BUT_ADMINISTRATOR
    wait_denied(bot, channel, "connect", is_denied=False)


def test_a_permission_that_there_is_not_is_refused(discord_server: Control) -> None:
    with pytest.raises(ControlError, match="sing"):
        discord_server.set_bot_permissions("sing")


def refusal_of(bot: ProbeBot, work: Any) -> tuple[int, int]:
    """HTTP status and Discord's code of what is refused."""
    with pytest.raises(discord.Forbidden) as refused:
        bot.do(work)
    return refused.value.status, refused.value.code


def test_messages_need_the_permission_to_see_the_channel_and_to_send(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    message = bot.do(bot.channel(channel).send("before"))

    discord_server.set_bot_permissions("send_messages", channel_id=channel)
    without_send = [refusal_of(bot, bot.channel(channel).send("x")), refusal_of(bot, message.edit(content="x"))]
    bot.do(bot.channel(discord_server.ready.channels["general"]).send("elsewhere it works"))
    discord_server.set_bot_permissions("view_channel", channel_id=channel)
    without_view = [refusal_of(bot, bot.channel(channel).send("x")), refusal_of(bot, message.edit(content="x"))]
    discord_server.set_bot_permissions(channel_id=channel)
    bot.do(message.edit(content="after"))

    assert without_send == [(403, 50013)] * 2
    assert without_view == [(403, 50001)] * 2
    assert [shown["content"] for shown in discord_server.messages(channel)] == ["after"]


def test_a_message_in_a_channel_that_the_bot_does_not_see_does_not_reach_it(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    person = discord_server.add_person("Secretive")
    discord_server.set_bot_permissions("view_channel", channel_id=channel)

    discord_server.say(person, channel, "not for you")
    discord_server.say(person, discord_server.ready.channels["general"], "for you")

    wait_until(lambda: any(message.author.id == person for message in bot.messages))
    assert [message.content for message in bot.messages if message.author.id == person] == ["for you"]


@pytest.mark.parametrize("denied", ["connect", "view_channel"])
@pytest.mark.parametrize("is_everywhere", [False, True], ids=["in the channel", "everywhere"])
def test_a_bot_that_may_not_come_in_gets_no_answer_at_all(
    discord_server: Control, bot: ProbeBot, channel: int, denied: str, is_everywhere: bool
) -> None:
    discord_server.set_bot_permissions(denied, channel_id=None if is_everywhere else channel)
    wait_denied(bot, channel, denied)
    after, events = discord_server.last_index, len(bot.events)

    with pytest.raises(asyncio.TimeoutError):
        bot.join(channel, timeout=UNANSWERED_SECONDS, reconnect=False)

    refused = discord_server.wait("voice", "join refused", after=after, channel_id=channel)
    assert (refused.data["user_id"], refused.data["reason"]) == (
        discord_server.ready.bot_id,
        f"no permission: {denied}",
    )
    assert not [name for name in bot.events[events:] if name.startswith("VOICE_")]
    assert discord_server.record(after=after, kind="voice", name="state") == []


def test_a_full_channel_refuses_a_bot_without_a_word_unless_it_may_move_members(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    first, late = discord_server.add_person("First"), discord_server.add_person("Late")
    discord_server.set_user_limit(channel, 1)
    discord_server.join(first, channel)
    wait_until(lambda: bot.channel(channel).user_limit == 1)
    discord_server.set_bot_permissions("move_members")

    after = discord_server.last_index
    with pytest.raises(asyncio.TimeoutError):
        bot.join(channel, timeout=UNANSWERED_SECONDS, reconnect=False)
    with pytest.raises(ControlError, match="full"):
        discord_server.join(late, channel)
    refused = discord_server.wait("voice", "join refused", after=after, channel_id=channel)
    discord_server.set_bot_permissions()
    voice = bot.join(channel)

    assert refused.data["reason"] == "full"
    wait_secure(discord_server, voice, channel, first)


def test_a_bot_that_is_in_a_full_channel_may_change_its_flags(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    bot.join(channel)
    discord_server.set_bot_permissions("move_members")
    discord_server.set_user_limit(channel, 1)
    guild = bot.channel(channel).guild

    bot.do(guild.change_voice_state(channel=bot.channel(channel), self_mute=True))

    wait_until(lambda: guild.me.voice is not None and guild.me.voice.self_mute)


def test_a_bot_without_the_permission_to_speak_hears_but_is_not_heard_until_it_comes_again(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    person, bot_id = discord_server.add_person("Ear"), discord_server.ready.bot_id
    counter = "media.from a sender without the permission to speak"
    before = discord_server.counters().get(counter, 0)
    discord_server.join(person, channel)
    discord_server.set_bot_permissions("speak")
    voice = bot.join(channel)
    wait_secure(discord_server, voice, channel, person)

    bot.speak(voice, synthetic_packets(10, 1))
    discord_server.speak_packets(person, synthetic_packets(10, 2))
    wait_until(lambda: discord_server.counters().get(counter, 0) == before + 15)
    wait_until(lambda: speech(voice.heard[person]) == synthetic_packets(10, 2))
    is_suppressed = bot.channel(channel).guild.me.voice.suppress
    heard_without = discord_server.heard(person, bot_id)
    discord_server.set_bot_permissions()
    bot.leave_all()
    voice = bot.join(channel)
    wait_secure(discord_server, voice, channel, person)
    bot.speak(voice, synthetic_packets(10, 3))

    assert is_suppressed
    assert heard_without == []
    wait_until(lambda: len(discord_server.heard(person, bot_id, "dave")) == 10)
    assert not bot.channel(channel).guild.me.voice.suppress


class Seen:
    """What discord.py made of the permissions in one interaction."""

    def __init__(self, bot: ProbeBot) -> None:
        self.interactions: list[discord.Interaction] = []
        assert bot.client is not None

        async def on_interaction(interaction: discord.Interaction) -> None:
            self.interactions.append(interaction)

        bot.client.event(on_interaction)

    def use(self, control: Control, person: int, channel: int) -> discord.Interaction:
        """Let a person use a command."""
        count = len(self.interactions)
        control.use_command(person, channel, "echo", text="x")
        wait_until(lambda: len(self.interactions) > count)
        return self.interactions[count]


def test_an_interaction_carries_the_permissions_that_discord_py_computes(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    bot.sync_commands()
    seen, person = Seen(bot), discord_server.add_person("Member")
    discord_server.join(person, channel)

    ordinary = seen.use(discord_server, person, channel)
    discord_server.set_member_permissions(person, "view_channel", "connect", "manage_guild")
    discord_server.set_bot_permissions("send_messages", "speak", channel_id=channel)
    wait_denied(bot, channel, "speak")
    changed = seen.use(discord_server, person, channel)
    discord_server.set_member_permissions(person, "administrator")
    administrator = seen.use(discord_server, person, channel)

    assert ordinary.permissions.value == ORDINARY_MEMBER
    assert ordinary.app_permissions.value == ALL_BUT_ADMINISTRATOR
    assert changed.permissions.value == bits("view_channel", "connect", "manage_guild")
    assert isinstance(changed.user, discord.Member)
    wait_until(lambda: bot.channel(channel).permissions_for(changed.user).value == EVERYTHING)
    assert changed.app_permissions.value == allowed_to_bot(bot, channel).value
    assert not changed.app_permissions.value & BITS["speak"]
    assert administrator.permissions.value == EVERYTHING


def test_discord_py_computes_a_members_permissions_from_its_role(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    person = discord_server.add_person("Reader")
    discord_server.set_member_permissions(person, "view_channel", "read_message_history", "connect")
    guild = bot.channel(channel).guild

    member = bot.do(guild.query_members(user_ids=[person]))[0]
    owner = bot.do(guild.query_members(user_ids=[discord_server.ready.owner_id]))[0]

    assert member.guild_permissions.value == bits("view_channel", "read_message_history", "connect")
    assert bot.channel(channel).permissions_for(member).value == member.guild_permissions.value
    assert owner.guild_permissions == discord.Permissions.all()


def test_a_person_without_the_permission_to_connect_can_not_join(discord_server: Control, channel: int) -> None:
    person = discord_server.add_person("Outsider")
    discord_server.set_member_permissions(person, "view_channel")

    with pytest.raises(ControlError, match="connect"):
        discord_server.join(person, channel)


def test_a_bot_that_logs_in_later_knows_what_it_is_denied() -> None:
    with run_discord_server() as control:
        voice = control.voice_channel()
        control.set_bot_permissions("speak")
        control.set_bot_permissions("send_messages", channel_id=voice)

        with ProbeBot(control.ready) as bot:
            allowed = allowed_to_bot(bot, voice)

    assert not allowed.speak
    assert not allowed.send_messages
    assert allowed.connect
