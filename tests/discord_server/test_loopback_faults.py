"""Faults of the loopback Discord's voice, met by real discord.py: loss, garbage, close codes, moves."""

from pathlib import Path

import pytest

from tests.discord_server.control import Control, Faults, Manner, run_discord_server
from tests.discord_server.probe_bot import ProbeBot
from tests.discord_server.probe_voice import synthetic_packets
from tests.discord_server.probing import dave_failures, meet, wait_secure, wait_until

pytestmark = pytest.mark.live


@pytest.mark.parametrize(
    ("faults", "count"),
    [
        (Faults(lose_every=5), 40),
        (Faults(loss=0.3, seed=3), None),
        (Faults(duplicate=1.0), 50),
        (Faults(reorder=0.3), 50),
        (Faults(jitter_seconds=0.05), 50),
        (Faults(burst_frames=25), 50),
        (Faults(corrupt=0.2), None),
        (Faults(wrong_key=0.2), None),
    ],
    ids=["lose every fifth", "loss", "duplicates", "reorder", "jitter", "bursts", "corrupt", "wrong key"],
)
def test_a_fault_of_the_network_costs_the_packets_it_hits_and_no_other(
    discord_server: Control, bot: ProbeBot, channel: int, faults: Faults, count: int | None
) -> None:
    voice, (person,) = meet(discord_server, bot, channel, "Faulty")
    said, end = synthetic_packets(50, 1), synthetic_packets(1, 2)[0]
    discord_server.set_faults(faults, sender_id=person)

    discord_server.speak_packets(person, said, manner=Manner(silence_frames=0))
    discord_server.set_faults(Faults(), sender_id=person)
    discord_server.speak_packets(person, [end], manner=Manner(silence_frames=0))

    wait_until(lambda: end in voice.heard[person] and len(voice.heard[person]) >= (count or 10) + 1)
    heard = [packet for packet in voice.heard[person] if packet != end]
    assert len(heard) == len(set(heard))
    assert set(heard) <= set(said)
    assert 10 < len(heard) < 50 if count is None else len(heard) == count
    if faults.duplicate:
        wait_until(lambda: voice.counters["duplicate"] == 50)
    if faults.corrupt or faults.wrong_key:
        assert voice.counters["undecryptable by transport"] == 50 - len(heard)


def test_garbage_video_and_bad_frames_reach_the_client_and_audio_goes_on(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    voice, (person,) = meet(discord_server, bot, channel, "Camera")
    manner = Manner(has_camera=True, unencrypted_every=10, wrong_dave_key_every=7, silence_frames=0)

    discord_server.send_garbage(discord_server.ready.bot_id, count=3)
    discord_server.speak_packets(person, synthetic_packets(50, 1), manner=manner)

    wait_until(lambda: dave_failures(voice, "UnencryptedWhenPassthroughDisabled") == 5)
    wait_until(lambda: dave_failures(voice, "NoValidCryptorFound") == 7)
    wait_until(lambda: len(voice.heard[person]) == 50 - 5 - 7)
    # Of the garbage, the unknown SSRC looks like audio and is held, and the fake RTP like an encrypted packet.
    assert voice.counters["not audio"] == 50 + 3 * 6
    assert voice.counters["held"] >= 3
    assert voice.counters["undecryptable by transport"] == 3


@pytest.mark.parametrize("code", [4000, 4006, 4009, 1006])
def test_discord_py_comes_back_after_a_voice_close_that_it_can_survive(
    discord_server: Control, bot: ProbeBot, channel: int, code: int
) -> None:
    bot_id = discord_server.ready.bot_id
    voice, (person,) = meet(discord_server, bot, channel, "Patient")

    after = discord_server.last_index
    discord_server.close_voice(bot_id, code)
    discord_server.wait("voice", "joined", after=after, user_id=bot_id)
    wait_secure(discord_server, voice, channel, person)
    discord_server.speak_packets(person, synthetic_packets(10, 1))
    bot.speak(voice, synthetic_packets(10, 2))

    assert discord_server.wait("voice", "closed", after=after, user_id=bot_id).data["code"] == code
    wait_until(lambda: len(voice.heard[person]) == 15)
    wait_until(lambda: len(discord_server.heard(person, bot_id, "dave")) == 10)


@pytest.mark.parametrize("code", [4014, 4021, 4022])
def test_discord_py_leaves_after_a_voice_close_that_says_so(
    discord_server: Control, bot: ProbeBot, channel: int, code: int
) -> None:
    bot_id = discord_server.ready.bot_id
    voice = bot.join(channel, timeout=2.0)

    after = discord_server.last_index
    discord_server.close_voice(bot_id, code)

    left = discord_server.wait("gateway", "op 4", after=after)
    assert left.data["data"]["channel_id"] is None
    wait_until(lambda: not voice.is_connected())


def test_a_moderator_can_throw_the_bot_out_of_voice(discord_server: Control, bot: ProbeBot, channel: int) -> None:
    voice = bot.join(channel)

    after = discord_server.last_index
    discord_server.disconnect_user(discord_server.ready.bot_id)

    closed = discord_server.wait("voice", "closed", after=after, user_id=discord_server.ready.bot_id)
    assert closed.data["code"] in (1000, 4014)
    wait_until(lambda: not voice.is_connected())


@pytest.mark.parametrize("code", [4015, 1006])
def test_a_client_that_resumes_gets_the_messages_that_it_missed(discord_server: Control, code: int) -> None:
    channel_id = discord_server.add_channel("resumed", is_voice=True)
    first, second, third = (discord_server.add_person(name) for name in ("Resumer", "Stayer", "Leaver"))
    for person in (first, second, third):
        discord_server.join(person, channel_id)
    for person in (first, second, third):
        assert discord_server.wait_secure(person)

    after = discord_server.last_index
    discord_server.close_voice(first, code, outage_seconds=0.5)
    discord_server.leave(third)
    resumed = discord_server.wait("voice", "resumed", after=after, user_id=first)
    wait_until(lambda: discord_server.person(first)["dave_user_ids"] == sorted([first, second]))
    discord_server.speak_packets(second, synthetic_packets(10, 1))

    assert resumed.data["replayed"] >= 2, "op 13, and DAVE's proposal and commit"
    assert discord_server.wait("voice", "op 7", after=after, user_id=first).data["data"]["seq_ack"] >= 0
    wait_until(lambda: len(discord_server.heard(first, second, "dave")) == 10)


def test_a_move_to_another_voice_server_brings_everybody_along(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    bot_id = discord_server.ready.bot_id
    voice, (person,) = meet(discord_server, bot, channel, "Mover")

    after = discord_server.last_index
    endpoint = discord_server.move_voice_server(channel)
    discord_server.wait("voice", "joined", after=after, user_id=bot_id)
    wait_secure(discord_server, voice, channel, person)
    discord_server.speak_packets(person, synthetic_packets(10, 1))

    wait_until(lambda: len(voice.heard[person]) == 15)
    assert voice.endpoint == endpoint


def test_a_bot_that_a_moderator_moves_talks_in_the_other_channel(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    person, bot_id = discord_server.add_person("Elsewhere"), discord_server.ready.bot_id
    elsewhere = discord_server.voice_channel("Second")
    discord_server.join(person, elsewhere)
    voice = bot.join(channel)

    discord_server.move_user(bot_id, elsewhere)
    wait_secure(discord_server, voice, elsewhere, person)
    bot.speak(voice, synthetic_packets(10, 1))

    wait_until(lambda: len(discord_server.heard(person, bot_id, "dave")) == 10)
    discord_server.leave(person)


def test_a_burst_arrives_at_once(discord_server: Control) -> None:
    channel_id = discord_server.add_channel("bursts", is_voice=True)
    speaker, listener = discord_server.add_person("Burster"), discord_server.add_person("Listener")
    discord_server.join(speaker, channel_id)
    discord_server.join(listener, channel_id)
    discord_server.set_faults(Faults(burst_frames=25), receiver_id=listener)

    discord_server.speak_packets(speaker, synthetic_packets(50, 1), manner=Manner(silence_frames=0))

    wait_until(lambda: len(discord_server.heard(listener, speaker)) == 50)
    times = [packet.at_seconds for packet in discord_server.heard(listener, speaker)]
    assert times[24] - times[0] < 0.1
    assert times[25] - times[24] > 0.3


def test_a_person_who_leaves_in_mid_sentence_is_not_heard_any_more(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    voice, (person, other) = meet(discord_server, bot, channel, "Quitter", "Stayer")

    after = discord_server.last_index
    discord_server.speak_packets(person, synthetic_packets(200, 1), wait=False)
    wait_until(lambda: len(voice.heard[person]) >= 10)
    discord_server.leave(person)
    discord_server.wait("person", "spoke", after=after, user_id=person)

    wait_secure(discord_server, voice, channel, other)
    heard = voice.heard[person]
    assert heard == synthetic_packets(200, 1)[: len(heard)]
    assert len(heard) < 100


def test_many_joins_and_leaves_leave_nothing_open_in_the_server(discord_server: Control) -> None:
    channel_id = discord_server.add_channel("churn", is_voice=True)
    people = [discord_server.add_person(f"Churner {index}") for index in range(3)]
    descriptors = Path(f"/proc/{discord_server.process_id}/fd")

    def churn() -> None:
        for person in people:
            discord_server.join(person, channel_id)
        for person in people:
            discord_server.leave(person)

    churn()
    before = len(list(descriptors.iterdir()))
    for _ in range(10):
        churn()

    wait_until(lambda: len(list(descriptors.iterdir())) <= before)


def test_a_person_who_vanishes_is_out_of_the_channel_after_the_resume_time() -> None:
    with run_discord_server("--resume-seconds", "0.5") as control, ProbeBot(control.ready) as bot:
        person, channel_id = control.add_person("Ghost"), control.voice_channel()
        control.join(person, channel_id)
        voice = bot.join(channel_id)
        wait_secure(control, voice, channel_id, person)

        control.leave(person, abort=True)

        wait_until(lambda: person not in bot.channel(channel_id).voice_states)
        wait_until(lambda: not voice.is_secure)


def test_a_replayed_datagram_is_a_violation_and_is_not_forwarded() -> None:
    with run_discord_server() as control:
        channel_id = control.voice_channel()
        speaker, listener = control.add_person("Replayer"), control.add_person("Listener")
        control.join(speaker, channel_id)
        control.join(listener, channel_id)

        control.speak_packets(speaker, synthetic_packets(20, 1), manner=Manner(replay_every=5, silence_frames=0))

        wait_until(lambda: len(control.heard(listener, speaker)) == 20)
        assert [entry.name for entry in control.violations(speaker)] == ["nonce did not grow"] * 4
        assert "duplicate" not in control.person(listener)["counters"]


def test_a_client_that_never_sends_op_5_is_not_forwarded_under_its_own_name(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    person = discord_server.add_person("Nameless")
    discord_server.delay_speaking(channel, None)
    discord_server.join(person, channel)
    voice = bot.join(channel)
    wait_secure(discord_server, voice, channel, person)

    discord_server.speak_packets(person, synthetic_packets(10, 1))

    wait_until(lambda: voice.counters["held"] == 15)
    assert voice.heard == {}
