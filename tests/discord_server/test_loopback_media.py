"""The media path of the loopback Discord, met by real discord.py: bit-exact audio, DAVE, members."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.discord_server.control import XCHACHA20, Control, ControlError, Manner, run_discord_server
from tests.discord_server.probe_bot import ProbeBot
from tests.discord_server.probe_voice import synthetic_packets
from tests.discord_server.probing import assert_no_violations, dave_failures, meet, speech, wait_secure, wait_until
from tests.discord_server.transport import OPUS_SILENCE

pytestmark = pytest.mark.live


def test_discord_py_logs_in_and_sees_the_guild_with_its_channels_and_members(
    discord_server: Control, bot: ProbeBot
) -> None:
    person = discord_server.add_person("Ada")

    assert bot.client is not None
    guild = bot.client.get_guild(discord_server.ready.guild_id)

    assert guild is not None
    assert bot.client.user is not None
    assert bot.client.user.id == discord_server.ready.bot_id
    assert {"general", "Voice", "Second"} <= {channel.name for channel in guild.channels}
    assert bot.do(guild.query_members(user_ids=[person]))[0].name == "Ada"


def test_a_voice_state_of_a_person_who_joins_and_leaves_reaches_the_bot(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    person = discord_server.add_person("Joiner")

    discord_server.join(person, channel)
    wait_until(lambda: person in bot.channel(channel).voice_states)
    discord_server.leave(person)

    wait_until(lambda: person not in bot.channel(channel).voice_states)


@pytest.mark.parametrize("mode", ["aead_aes256_gcm_rtpsize", XCHACHA20])
def test_without_dave_packets_arrive_bit_exact_in_both_directions(mode: str) -> None:
    with run_discord_server("--dave", "off") as control, ProbeBot(control.ready) as bot:
        channel_id = control.voice_channel()
        person = control.add_person("Plain")
        control.join(person, channel_id, mode=mode)
        voice = bot.join(channel_id)
        said, answered = synthetic_packets(30, 1), synthetic_packets(30, 2)

        control.speak_packets(person, said, manner=Manner(padding_bytes=7))
        bot.speak(voice, answered)

        wait_until(lambda: len(voice.heard[person]) == 35)
        assert voice.heard[person] == said + [OPUS_SILENCE] * 5
        heard = control.heard(person, control.ready.bot_id)
        assert [packet.opus for packet in heard] == answered + [OPUS_SILENCE] * 5
        assert {packet.protection for packet in heard} == {"clear", "silence"}
        assert_no_violations(control)


@pytest.mark.parametrize("mode", ["aead_aes256_gcm_rtpsize", XCHACHA20])
def test_with_dave_packets_arrive_bit_exact_in_both_directions(
    discord_server: Control, bot: ProbeBot, channel: int, mode: str
) -> None:
    person = discord_server.add_person("Secret")
    discord_server.join(person, channel, mode=mode)
    voice = bot.join(channel)
    wait_secure(discord_server, voice, channel, person)
    said, answered = synthetic_packets(50, 1), synthetic_packets(50, 2)

    discord_server.speak_packets(person, said, manner=Manner(padding_bytes=12))
    bot.speak(voice, answered)

    wait_until(lambda: len(voice.heard[person]) == 55)
    assert voice.heard[person] == said + [OPUS_SILENCE] * 5
    bot_id = discord_server.ready.bot_id
    assert [packet.opus for packet in discord_server.heard(person, bot_id, "dave")] == answered
    assert len(discord_server.heard(person, bot_id, "silence")) == 5
    assert discord_server.heard(person, bot_id, "clear") == []
    assert all(arrival.is_encrypted or arrival.is_silence for arrival in discord_server.received(bot_id))
    assert_no_violations(discord_server)


def test_a_bot_that_comes_first_gets_its_group_when_a_person_comes(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    voice = bot.join(channel)
    person = discord_server.add_person("Second")

    assert not voice.is_secure
    discord_server.join(person, channel)
    wait_secure(discord_server, voice, channel, person)

    assert int(discord_server.person(person)["privacy_code"]) == int(voice.voice_privacy_code or 0)


def test_four_people_who_talk_at_once_are_all_heard_completely(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    people = [discord_server.add_person(f"Talker {index}") for index in range(4)]
    for index, person in enumerate(people):
        discord_server.join(person, channel, mode=XCHACHA20 if index % 2 else "aead_aes256_gcm_rtpsize")
    voice = bot.join(channel)
    wait_secure(discord_server, voice, channel, *people)

    after = discord_server.last_index
    for index, person in enumerate(people):
        discord_server.speak_packets(person, synthetic_packets(50, index), wait=False)
    for person in people:
        discord_server.wait("person", "spoke", after=after, user_id=person)

    wait_until(lambda: all(len(voice.heard[person]) == 55 for person in people))
    for index, person in enumerate(people):
        assert speech(voice.heard[person]) == synthetic_packets(50, index)
        others = [other for other in people if other != person]
        assert all(len(discord_server.heard(other, person)) == 55 for other in others)


def test_people_who_come_and_go_cost_a_speaker_a_packet_for_a_key_at_most(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    voice, (speaker, other) = meet(discord_server, bot, channel, "Speaker", "Other")
    said = synthetic_packets(150, 1)

    after = discord_server.last_index
    discord_server.speak_packets(speaker, said, wait=False)
    for name in ("Third", "Fourth"):
        visitor = discord_server.add_person(name)
        discord_server.join(visitor, channel)
        discord_server.wait_secure(visitor)
        discord_server.leave(visitor)
    discord_server.leave(other)
    discord_server.wait("person", "spoke", after=after, user_id=speaker)

    # davey's sender takes a new key with the commit, which may reach the receiver a moment later.
    wait_until(lambda: len(voice.heard[speaker]) + dave_failures(voice, "NoValidCryptorFound") == 155)
    heard = speech(voice.heard[speaker])
    assert heard == [packet for packet in said if packet in heard]
    assert len(heard) >= 150 - 5
    assert_no_violations(discord_server)


def test_the_last_person_who_leaves_ends_the_group_and_the_next_one_begins_another(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    second = discord_server.add_person("Next")
    voice, (first,) = meet(discord_server, bot, channel, "First")

    discord_server.leave(first)
    wait_until(lambda: not voice.is_secure)
    discord_server.join(second, channel)
    wait_secure(discord_server, voice, channel, second)
    discord_server.speak_packets(second, synthetic_packets(20, 3))

    wait_until(lambda: len(voice.heard[second]) == 25)


def test_encryption_ends_and_begins_again_while_people_are_in_the_call(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    voice, (person,) = meet(discord_server, bot, channel, "Switcher")
    bot_id = discord_server.ready.bot_id

    after = discord_server.last_index
    discord_server.set_dave(channel, is_on=False)
    discord_server.wait("dave", "op 22", after=after, to_user_id=bot_id)
    discord_server.wait("dave", "op 22", after=after, to_user_id=person)
    wait_until(lambda: voice._connection.dave_protocol_version == 0)
    discord_server.speak_packets(person, synthetic_packets(10, 1))
    bot.speak(voice, synthetic_packets(10, 2))
    discord_server.set_dave(channel, is_on=True)
    wait_secure(discord_server, voice, channel, person)
    discord_server.speak_packets(person, synthetic_packets(10, 3))
    bot.speak(voice, synthetic_packets(10, 4))

    wait_until(lambda: len(voice.heard[person]) == 30)
    assert speech(voice.heard[person]) == synthetic_packets(10, 1) + synthetic_packets(10, 3)
    clear = discord_server.heard(person, bot_id, "clear")
    encrypted = discord_server.heard(person, bot_id, "dave")
    assert [packet.opus for packet in clear] == synthetic_packets(10, 2)
    assert [packet.opus for packet in encrypted] == synthetic_packets(10, 4)


def test_what_a_person_says_is_heard_as_sound_and_written_as_a_wav(
    discord_server: Control, bot: ProbeBot, channel: int, tmp_path: Path
) -> None:
    speaker, listener = discord_server.add_person("Whistler"), discord_server.add_person("Listener")
    discord_server.join(speaker, channel)
    discord_server.join(listener, channel)
    assert discord_server.wait_secure(speaker)
    assert discord_server.wait_secure(listener)

    discord_server.speak_tone(speaker, hz=600.0, seconds=1.0)
    wait_until(lambda: len(discord_server.heard(listener, speaker)) == 55)
    discord_server.write_heard_wav(listener, speaker, tmp_path / "heard.wav")

    sound, rate_hz = soundfile.read(tmp_path / "heard.wav")
    spectrum = np.abs(np.fft.rfft(sound[rate_hz // 4 : rate_hz // 4 + rate_hz // 2]))
    assert np.argmax(spectrum) * 2 == pytest.approx(600, abs=4)
    assert len(sound) / rate_hz == pytest.approx(1.1, abs=0.1)


def test_packets_of_a_person_are_20_ms_apart(discord_server: Control, bot: ProbeBot, channel: int) -> None:
    _, (person,) = meet(discord_server, bot, channel, "Steady")

    discord_server.speak_packets(person, synthetic_packets(100, 1))

    times = [arrival.at_seconds for arrival in discord_server.received(person)]
    gaps = np.diff(times)
    assert np.mean(gaps) == pytest.approx(0.020, abs=0.0005)


def test_audio_that_overtakes_the_speaking_event_is_there_before_it(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    person = discord_server.add_person("Hasty")
    discord_server.delay_speaking(channel, 0.3)
    discord_server.join(person, channel)
    voice = bot.join(channel)
    wait_secure(discord_server, voice, channel, person)

    discord_server.speak_packets(person, synthetic_packets(50, 1))

    wait_until(lambda: len(voice.heard[person]) == 55)
    assert voice.counters["held"] >= 10


def test_a_deafened_bot_gets_nothing_and_a_muted_person_is_not_forwarded(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    person, listener = discord_server.add_person("Muted"), discord_server.add_person("Ear")
    discord_server.join(person, channel)
    discord_server.join(listener, channel)
    voice = bot.join(channel, self_deaf=True)
    wait_secure(discord_server, voice, channel, person, listener)

    discord_server.speak_packets(person, synthetic_packets(10, 1))
    discord_server.set_flags(person, channel, self_mute=True)
    discord_server.speak_packets(person, synthetic_packets(10, 2))
    discord_server.set_flags(person, channel)
    discord_server.server_mute(person, mute=True)
    discord_server.speak_packets(person, synthetic_packets(10, 3))
    discord_server.server_mute(person, mute=False)
    discord_server.speak_packets(person, synthetic_packets(10, 4))

    wait_until(lambda: len(discord_server.heard(listener, person, "dave")) == 20)
    opus = [packet.opus for packet in discord_server.heard(listener, person, "dave")]
    assert opus == synthetic_packets(10, 1) + synthetic_packets(10, 4)
    assert voice.heard == {}


def test_a_client_without_dave_downgrades_the_call_and_its_leaving_upgrades_it(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    old = discord_server.add_person("Old client")
    voice, (person,) = meet(discord_server, bot, channel, "New client")

    discord_server.join(old, channel, dave_version=0)
    wait_until(lambda: voice._connection.dave_protocol_version == 0)
    discord_server.speak_packets(old, synthetic_packets(10, 1))
    wait_until(lambda: len(voice.heard[old]) == 15)
    discord_server.leave(old)

    wait_secure(discord_server, voice, channel, person)
    assert speech(voice.heard[old]) == synthetic_packets(10, 1)


def test_a_server_that_requires_dave_refuses_a_client_without_it() -> None:
    with run_discord_server("--dave", "required") as control:
        person = control.add_person("Old client")

        with pytest.raises(ControlError, match="4017"):
            control.join(person, control.voice_channel(), dave_version=0)


def test_the_bot_talks_in_two_guilds_at_once() -> None:
    with run_discord_server() as control:
        other_guild = control.add_guild("Other")
        places = [
            (control.add_person("Here"), control.voice_channel()),
            (
                control.add_person("There", guild_id=other_guild),
                control.add_channel("Elsewhere", is_voice=True, guild_id=other_guild),
            ),
        ]
        with ProbeBot(control.ready) as bot:
            voices = []
            for person, channel_id in places:
                control.join(person, channel_id)
                voices.append(bot.join(channel_id))

            for index, ((person, channel_id), voice) in enumerate(zip(places, voices, strict=True)):
                wait_secure(control, voice, channel_id, person)
                control.speak_packets(person, synthetic_packets(10, index))
                bot.speak(voice, synthetic_packets(10, 10 + index))

            wait_until(
                lambda: all(len(voice.heard[place[0]]) == 15 for voice, place in zip(voices, places, strict=True))
            )
            for index, ((person, _), voice) in enumerate(zip(places, voices, strict=True)):
                assert speech(voice.heard[person]) == synthetic_packets(10, index)
                answered = control.heard(person, control.ready.bot_id, "dave")
                assert [packet.opus for packet in answered] == synthetic_packets(10, 10 + index)


def test_a_channel_that_is_deleted_throws_everybody_out(discord_server: Control, bot: ProbeBot, channel: int) -> None:
    voice, (person,) = meet(discord_server, bot, channel, "Homeless")

    discord_server.delete_channel(channel)

    wait_until(lambda: bot.channel(channel) is None)
    wait_until(lambda: not voice.is_connected())
    wait_until(lambda: discord_server.person(person)["is_connected"] is False)
