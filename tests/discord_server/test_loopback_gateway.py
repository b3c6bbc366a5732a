"""The gateway of the loopback Discord, met by real discord.py: resuming, heartbeats, intents."""

import socket
from urllib.parse import urlsplit

import pytest

from tests.discord_server.control import Control, run_discord_server
from tests.discord_server.probe_bot import ProbeBot, discord
from tests.discord_server.probe_voice import synthetic_packets
from tests.discord_server.probing import SETTLE_SECONDS, meet, wait_secure, wait_until

pytestmark = pytest.mark.live


@pytest.mark.parametrize("fault", ["op 7", "op 9 true", "cut"])
def test_the_gateway_is_resumed_and_voice_goes_on_undisturbed(
    discord_server: Control, bot: ProbeBot, channel: int, fault: str
) -> None:
    bot_id = discord_server.ready.bot_id
    voice, (person,) = meet(discord_server, bot, channel, "Undisturbed")

    after = discord_server.last_index
    if fault == "op 7":
        discord_server.reconnect_gateway()
    elif fault == "op 9 true":
        discord_server.invalidate_gateway(is_resumable=True)
    else:
        discord_server.close_gateway(1006)
    discord_server.speak_packets(person, synthetic_packets(30, 1))
    discord_server.wait("gateway", "resumed", after=after, seconds=15)
    discord_server.leave(person)

    wait_until(lambda: len(voice.heard[person]) == 35)
    wait_until(lambda: person not in bot.channel(channel).voice_states)
    assert discord_server.record(after=after, kind="voice", name="op 0") == []
    assert bot_id in bot.channel(channel).voice_states


def test_an_invalid_session_ends_the_bots_voice_and_starts_a_new_session() -> None:
    with run_discord_server() as control, ProbeBot(control.ready) as bot:
        channel_id, bot_id = control.voice_channel(), control.ready.bot_id
        bot.join(channel_id, timeout=2.0)

        after = control.last_index
        control.invalidate_gateway(is_resumable=False)

        control.wait("voice", "left", after=after, user_id=bot_id)
        control.wait("gateway", "ready", after=after, seconds=15)


def test_a_silent_gateway_client_is_closed_with_4009_and_a_beating_one_is_not() -> None:
    with run_discord_server("--heartbeat-seconds", "0.3", "--heartbeat-grace-seconds", "0.3") as control:
        with ProbeBot(control.ready):
            wait_until(lambda: control.counters().get("gateway.heartbeat", 0) >= 4)
            assert control.violations() == []

        after = control.last_index
        open_silent_gateway(control)

        assert control.wait("gateway", "closed", after=after).data["code"] == 4009
        assert control.violations()[-1].name == "no heartbeat on the gateway"


def open_silent_gateway(control: Control) -> None:
    """Connect to the gateway and say nothing until it closes."""
    address = urlsplit(control.ready.gateway)
    with socket.create_connection((address.hostname, address.port), timeout=SETTLE_SECONDS) as tcp:
        request = (
            f"GET {address.path}?v=10&encoding=json HTTP/1.1",
            f"Host: {address.netloc}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        )
        tcp.sendall("\r\n".join((*request, "", "")).encode())
        received = b""
        while (4009).to_bytes(2, "big") not in received:
            more = tcp.recv(4096)
            assert more, "closed without a close frame"
            received += more


def test_voice_heartbeats_keep_the_connection_and_acknowledge_what_was_sent() -> None:
    with (
        run_discord_server("--voice-heartbeat-seconds", "0.4", "--heartbeat-grace-seconds", "0.4") as control,
        ProbeBot(control.ready) as bot,
    ):
        person = control.add_person("Beat")
        control.join(person, control.voice_channel())
        voice = bot.join(control.voice_channel())
        wait_secure(control, voice, control.voice_channel(), person)

        wait_until(lambda: control.counters().get(f"voice.heartbeat.{control.ready.bot_id}", 0) >= 5)

        assert control.violations() == []
        assert voice.is_connected()


def test_content_of_messages_is_shown_only_with_the_intent(discord_server: Control, bot: ProbeBot) -> None:
    person, general = discord_server.add_person("Writer"), discord_server.ready.channels["general"]

    after = len(bot.messages)
    discord_server.say(person, general, "hello there")

    wait_until(lambda: len(bot.messages) > after)
    assert (bot.messages[after].author.id, bot.messages[after].content) == (person, "hello there")
    with run_discord_server() as control, ProbeBot(control.ready, message_content=False) as blind:
        author = control.add_person("Writer")
        control.say(author, control.ready.channels["general"], "hello there")
        control.say(author, control.ready.channels["general"], f"<@{control.ready.bot_id}> look")
        wait_until(lambda: len(blind.messages) == 2)
        assert [message.content for message in blind.messages] == ["", f"<@{control.ready.bot_id}> look"]


def test_an_intent_that_was_not_allowed_closes_the_gateway_with_4014() -> None:
    with run_discord_server("--allowed-privileged-intents", "0") as control:
        with pytest.raises(discord.PrivilegedIntentsRequired):
            ProbeBot(control.ready).check_login()

        assert control.wait("gateway", "closed").data["code"] == 4014


def test_events_during_an_outage_are_replayed_by_the_resume(discord_server: Control, bot: ProbeBot) -> None:
    after = discord_server.last_index
    discord_server.close_gateway(1006, outage_seconds=0.5)
    made = discord_server.add_channel("made meanwhile", is_voice=True)

    resumed = discord_server.wait("gateway", "resumed", after=after, seconds=15)

    assert resumed.data["replayed"] >= 1
    wait_until(lambda: bot.channel(made) is not None)
