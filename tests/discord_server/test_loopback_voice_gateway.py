"""How voice sessions end, are refused, resumed, moved and encrypted anew, met by clients without a library."""

import pytest

from tests.discord_server.control import Control, run_discord_server
from tests.discord_server.dave import EXTERNAL_SENDER, PREPARE_EPOCH
from tests.discord_server.probe_bot import ProbeBot
from tests.discord_server.probe_voice import synthetic_packets
from tests.discord_server.probing import speech, wait_secure, wait_until
from tests.discord_server.raw_bot import RawBot
from tests.discord_server.voice_session import Grant

pytestmark = pytest.mark.live

CLOSE_CODES = [
    *(1000, 1001, 1006),
    *(4001, 4002, 4003, 4004, 4005, 4006, 4009, 4011, 4012, 4014, 4015, 4016, 4017, 4020, 4021, 4022),
]


@pytest.mark.parametrize("code", CLOSE_CODES)
def test_a_session_is_closed_with_the_code_that_was_asked_for(discord_server: Control, code: int) -> None:
    channel, bot_id = discord_server.voice_channel(), discord_server.ready.bot_id
    with RawBot(discord_server.ready) as bot:
        voice = bot.identify(bot.grant(channel))
        wait_until(lambda: 2 in voice.ops)

        after = discord_server.last_index
        discord_server.close_voice(bot_id, code)

        wait_until(lambda: voice.close_code == code)
        closed = discord_server.wait("voice", "closed", after=after, user_id=bot_id)
        assert (closed.data["code"], closed.data["by_server"]) == (code, code)
        bot.request_voice(None)
        discord_server.wait("voice", "state", after=after, user_id=bot_id)


@pytest.mark.parametrize("code", [4001, 4002, 4003, 4005, 4011, 4012, 4015, 4016, 4020, 1006])
def test_after_a_code_that_allows_it_a_session_is_resumed_in_time(discord_server: Control, code: int) -> None:
    channel_id = discord_server.add_channel(f"resume {code}", is_voice=True)
    first, second = discord_server.add_person("Resumer"), discord_server.add_person("Stayer")
    discord_server.join(first, channel_id)
    discord_server.join(second, channel_id)

    after = discord_server.last_index
    discord_server.close_voice(first, code, outage_seconds=0.1)
    discord_server.wait("voice", "resumed", after=after, user_id=first)
    discord_server.speak_packets(second, synthetic_packets(10, 1))

    wait_until(lambda: len(discord_server.heard(first, second, "dave")) == 10)
    assert discord_server.record(after=after, kind="voice", name="op 0") == []
    discord_server.leave(first)
    discord_server.leave(second)


@pytest.mark.parametrize("code", [1000, 4004, 4006, 4009, 4014, 4017, 4021, 4022])
def test_after_a_code_that_forbids_it_a_session_is_not_resumed(discord_server: Control, code: int) -> None:
    channel_id = discord_server.add_channel(f"no resume {code}", is_voice=True)
    person = discord_server.add_person("Ended")
    discord_server.join(person, channel_id)

    after = discord_server.last_index
    discord_server.close_voice(person, code)

    discord_server.wait("voice", "left", after=after, user_id=person)
    wait_until(lambda: not discord_server.person(person)["is_connected"])
    assert discord_server.person(person)["close_code"] == code
    discord_server.leave(person)


def test_a_resume_that_comes_too_late_is_refused_with_4006_and_the_user_has_left() -> None:
    with run_discord_server("--resume-seconds", "0.2") as control:
        person, channel_id = control.add_person("Slow"), control.voice_channel()
        control.join(person, channel_id)

        after = control.last_index
        control.close_voice(person, 4015, outage_seconds=0.6)

        control.wait("voice", "expired", after=after, user_id=person)
        wait_until(lambda: control.person(person)["close_code"] == 4006)
        assert control.state()["states"] == []


def close_code(bot: RawBot, grant: Grant) -> int | None:
    """Identify, which is refused; return with what."""
    voice = bot.identify(grant)
    wait_until(lambda: voice.close_code is not None)
    assert 2 not in voice.ops
    return voice.close_code


def test_identifies_are_refused_as_often_as_was_asked_and_then_let_in(discord_server: Control) -> None:
    channel, bot_id = discord_server.voice_channel(), discord_server.ready.bot_id
    with RawBot(discord_server.ready) as bot:
        grant = bot.grant(channel)
        discord_server.refuse_voice(bot_id, 4006, 2)
        discord_server.refuse_voice(bot_id, 1006)
        codes = [close_code(bot, grant) for _ in range(3)]

        voice = bot.identify(grant)

        assert codes == [4006, 4006, 1006]
        wait_until(lambda: voice.ops == [8, 2])
        bot.request_voice(None)


def test_a_refusal_is_for_one_user_and_can_be_taken_back(discord_server: Control) -> None:
    channel, bot_id = discord_server.voice_channel(), discord_server.ready.bot_id
    person = discord_server.add_person("Unrefused")
    with RawBot(discord_server.ready) as bot:
        discord_server.refuse_voice(bot_id, 4011, 5)

        discord_server.join(person, channel)
        refused = bot.identify(bot.grant(channel))
        wait_until(lambda: refused.close_code == 4011)
        discord_server.refuse_voice(bot_id, 4011, 0)
        voice = bot.identify(bot.newest_grant())

        wait_until(lambda: 2 in voice.ops)
        discord_server.leave(person)
        bot.request_voice(None)


def test_a_stalled_identify_gets_hello_and_heartbeats_but_never_ready(discord_server: Control) -> None:
    channel, bot_id = discord_server.voice_channel(), discord_server.ready.bot_id
    with RawBot(discord_server.ready) as bot:
        grant = bot.grant(channel)
        discord_server.stall_voice(bot_id)
        after = discord_server.last_index
        stalled = bot.identify(grant)
        discord_server.wait("voice", "stalled on purpose", after=after, user_id=bot_id)

        bot.do(stalled.send(3, {"t": 77, "seq_ack": -1}))
        wait_until(lambda: (6, {"t": 77}) in stalled.messages)
        next_one = bot.identify(grant)
        wait_until(lambda: 2 in next_one.ops)

        assert stalled.ops == [8, 6]
        assert stalled.close_code is None
        bot.request_voice(None)


def test_discord_py_meets_refusals_and_a_stall_and_comes_in_at_last(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    person, bot_id = discord_server.add_person("Waiting"), discord_server.ready.bot_id
    discord_server.join(person, channel)
    discord_server.stall_voice(bot_id)
    with pytest.raises(TimeoutError):
        bot.join(channel, timeout=0.5, reconnect=False)
    bot.leave_all()

    discord_server.refuse_voice(bot_id, 4006, 1)
    voice = bot.join(channel, timeout=10.0, reconnect=True)

    wait_secure(discord_server, voice, channel, person)


def test_an_invalid_gateway_session_closes_the_old_voice_with_4014_and_the_next_one_is_clean() -> None:
    with run_discord_server() as control:
        person, channel, bot_id = control.add_person("Witness"), control.voice_channel(), control.ready.bot_id
        control.join(person, channel)
        with RawBot(control.ready) as old_bot:
            old = old_bot.identify(old_bot.grant(channel))
            wait_until(lambda: 2 in old.ops)
            old_grant = old_bot.newest_grant()

            after = control.last_index
            control.invalidate_gateway(is_resumable=False)
            wait_until(lambda: old.close_code == 4014)
            with RawBot(control.ready) as new_bot:
                grant = new_bot.grant(channel)
                late = old_bot.identify(old_grant)
                wait_until(lambda: late.close_code == 4006)
                voice = new_bot.connect(grant)
                wait_until(lambda: voice.is_secure)
                control.speak_packets(person, synthetic_packets(10, 1))

                wait_until(lambda: len(voice._hearing.packets.get(person, ())) == 15)
                states = [state for state in control.state()["states"] if int(state["user_id"]) == bot_id]
                assert [state["session_id"] for state in states] == [grant.session_id]
                assert grant.session_id != old_grant.session_id
                assert control.wait("voice", "closed", after=after, user_id=bot_id).data["code"] == 4014


def test_discord_py_that_joins_again_after_an_invalid_session_hears_and_is_heard() -> None:
    with run_discord_server() as control, ProbeBot(control.ready) as bot:
        person, channel, bot_id = control.add_person("Patient"), control.voice_channel(), control.ready.bot_id
        control.join(person, channel)
        old = bot.join(channel, timeout=1.0, reconnect=False)

        after = control.last_index
        control.invalidate_gateway(is_resumable=False)
        closed = control.wait("voice", "closed", after=after, user_id=bot_id)
        control.wait("gateway", "ready", after=after, seconds=20)
        # Nothing refers to it any more, but it would take the new voice server for its own.
        bot.do(old.disconnect(force=True))
        voice = bot.join(channel)
        wait_secure(control, voice, channel, person)
        control.speak_packets(person, synthetic_packets(10, 1))
        bot.speak(voice, synthetic_packets(10, 2))

        assert closed.data["by_server"] == 4014
        wait_until(lambda: speech(voice.heard[person]) == synthetic_packets(10, 1))
        wait_until(lambda: len(control.heard(person, bot_id, "dave")) == 10)


def test_a_moved_bot_is_told_its_new_channel_and_a_new_voice_server(discord_server: Control) -> None:
    first, second = discord_server.voice_channel(), discord_server.voice_channel("Second")
    with RawBot(discord_server.ready) as bot:
        old_grant = bot.grant(first)
        old = bot.identify(old_grant)
        wait_until(lambda: 2 in old.ops)
        count = len(bot.events)

        discord_server.move_user(discord_server.ready.bot_id, second)

        wait_until(lambda: len(bot.payloads("VOICE_SERVER_UPDATE")) == 2)
        assert [name for name, _ in bot.events[count:]] == ["VOICE_STATE_UPDATE", "VOICE_SERVER_UPDATE"]
        grant = bot.newest_grant()
        assert (grant.channel_id, grant.session_id) == (second, old_grant.session_id)
        assert grant.token != old_grant.token
        wait_until(lambda: old.close_code == 4014)
        voice = bot.identify(grant)
        wait_until(lambda: 2 in voice.ops)
        bot.request_voice(None)


def test_a_room_that_began_without_dave_gets_a_group_when_it_is_turned_on(discord_server: Control) -> None:
    channel = discord_server.add_channel("late dave", is_voice=True)
    person, bot_id = discord_server.add_person("Early"), discord_server.ready.bot_id
    discord_server.set_dave(channel, is_on=False)
    with RawBot(discord_server.ready) as bot:
        discord_server.join(person, channel)
        voice = bot.connect(bot.grant(channel))
        assert (voice.dave_version, voice.session) == (0, None)
        discord_server.speak_packets(person, synthetic_packets(10, 1))
        wait_until(lambda: len(voice._hearing.packets.get(person, ())) == 15)

        after = discord_server.last_index
        discord_server.set_dave(channel, is_on=True)
        wait_until(lambda: voice.dave_version == 1 and voice.is_secure)
        wait_until(lambda: set((discord_server.room(channel) or {})["dave_members"]) == {person, bot_id})
        wait_until(lambda: bool((discord_server.room(channel) or {})["dave_is_settled"]))
        discord_server.speak_packets(person, synthetic_packets(10, 2))

        wait_until(lambda: len(voice._hearing.packets[person]) == 30)
        protections = [packet.protection for packet in voice._hearing.packets[person]]
        assert (protections.count("clear"), protections.count("dave")) == (10, 10)
        to_bot = [e.name for e in discord_server.record(after=after, kind="dave") if e.data.get("to_user_id") == bot_id]
        assert to_bot[:2] == [f"op {PREPARE_EPOCH}", f"op {EXTERNAL_SENDER}"]
        assert discord_server.violations(bot_id) == []
        bot.request_voice(None)
        discord_server.leave(person)


def test_a_channel_without_dave_stays_so_on_a_new_voice_server(discord_server: Control) -> None:
    channel, person = discord_server.add_channel("moved", is_voice=True), discord_server.add_person("Mover")
    discord_server.set_dave(channel, is_on=False)
    discord_server.join(person, channel)

    after = discord_server.last_index
    discord_server.move_voice_server(channel)
    discord_server.wait("voice", "joined", after=after, user_id=person)

    assert (discord_server.room(channel) or {})["dave_version"] == 0
    discord_server.leave(person)
