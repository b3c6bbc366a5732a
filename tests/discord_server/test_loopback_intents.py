"""What the application may learn: privileged intents, and messages only for who asked for them."""

import pytest

from tests.discord_server.control import run_discord_server
from tests.discord_server.options import MEMBERS_INTENT, MESSAGE_CONTENT_INTENT, PRESENCES_INTENT
from tests.discord_server.probe_bot import ProbeBot, discord
from tests.discord_server.probing import wait_until
from tests.discord_server.raw_bot import GUILD_MESSAGES, GUILDS, RawBot

pytestmark = pytest.mark.live


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (0, set()),
        (MESSAGE_CONTENT_INTENT, {"gateway_message_content_limited"}),
        (MEMBERS_INTENT | PRESENCES_INTENT, {"gateway_guild_members_limited", "gateway_presence_limited"}),
    ],
    ids=["none", "message content", "members and presences"],
)
def test_the_flags_of_the_application_say_what_it_was_granted(allowed: int, expected: set[str]) -> None:
    with (
        run_discord_server("--allowed-privileged-intents", str(allowed)) as control,
        ProbeBot(control.ready, message_content=False) as bot,
    ):
        assert bot.client is not None
        info = bot.do(bot.client.application_info())
        of_ready = bot.client.application_flags

        assert {name for name, is_set in info.flags if is_set} == expected
        assert {name for name, is_set in of_ready if is_set} == expected


def test_a_privileged_intent_that_was_not_granted_closes_with_4014_and_the_others_do_not() -> None:
    with run_discord_server("--allowed-privileged-intents", str(MEMBERS_INTENT)) as control:
        for intents, code in ((MEMBERS_INTENT, None), (MESSAGE_CONTENT_INTENT, 4014), (PRESENCES_INTENT, 4014)):
            with RawBot(control.ready, intents=GUILDS | intents) as bot:
                assert bot.close_code == code
                assert (bot.payloads("READY") == []) is (code is not None)


def test_messages_go_only_to_a_gateway_that_asked_for_them() -> None:
    with (
        run_discord_server() as control,
        RawBot(control.ready, intents=GUILDS) as deaf,
        RawBot(control.ready, intents=GUILDS | GUILD_MESSAGES) as listening,
    ):
        person, general = control.add_person("Writer"), control.ready.channels["general"]

        control.say(person, general, "hello")
        control.add_channel("afterwards", is_voice=False)

        wait_until(lambda: all(bot.payloads("CHANNEL_CREATE") for bot in (deaf, listening)))
        assert deaf.payloads("MESSAGE_CREATE") == []
        assert [message["author"]["username"] for message in listening.payloads("MESSAGE_CREATE")] == ["Writer"]


def test_without_the_content_intent_only_mentions_and_the_bots_own_messages_have_content() -> None:
    with run_discord_server() as control, ProbeBot(control.ready, message_content=False) as bot:
        person, general = control.add_person("Writer"), control.ready.channels["general"]
        mention = f"<@{control.ready.bot_id}> look"
        with (
            RawBot(control.ready, intents=GUILDS | GUILD_MESSAGES) as blind,
            RawBot(control.ready, intents=GUILDS | GUILD_MESSAGES | MESSAGE_CONTENT_INTENT) as seeing,
        ):
            control.say(person, general, "secret")
            control.say(person, general, mention)
            bot.do(bot.channel(general).send("mine", embed=discord.Embed(title="Title")))

            wait_until(lambda: all(len(raw.payloads("MESSAGE_CREATE")) == 3 for raw in (blind, seeing)))
            for raw, expected in ((blind, ["", mention, "mine"]), (seeing, ["secret", mention, "mine"])):
                messages = raw.payloads("MESSAGE_CREATE")
                assert [message["content"] for message in messages] == expected
                assert messages[-1]["embeds"][0]["title"] == "Title"
