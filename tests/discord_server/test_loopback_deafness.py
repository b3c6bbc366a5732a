"""Ways in which a bot can become deaf under DAVE while its connection stands, and how it hears again."""

from functools import partial

import pytest

from tests.discord_server.control import Control, ControlError, Faults, Manner
from tests.discord_server.probe_bot import ProbeBot
from tests.discord_server.probe_voice import ReceivingClient, synthetic_packets
from tests.discord_server.probing import dave_failures, meet, speech, wait_secure, wait_until

pytestmark = pytest.mark.live

NO_SILENCE = Manner(silence_frames=0)


def rekey(bot: ProbeBot, voice: ReceivingClient) -> None:
    """Let discord.py say that a commit was invalid (op 31) and send a new key package (op 26)."""
    bot.do(voice._connection._recover_from_invalid_commit(0))


def has_heard(control: Control, person: int, speaker: int, packets: int) -> bool:
    return len(control.heard(person, speaker, "dave")) == packets


def test_dave_garbage_passes_the_transport_and_fails_in_dave(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    voice, (person, other) = meet(discord_server, bot, channel, "Garbled", "Witness")

    discord_server.set_faults(Faults(dave_garbage=1.0), receiver_id=discord_server.ready.bot_id)
    discord_server.speak_packets(person, synthetic_packets(20, 1), manner=Manner(padding_bytes=5))
    wait_until(lambda: dave_failures(voice, "NoValidCryptorFound") == 20)
    discord_server.set_faults(Faults(), receiver_id=discord_server.ready.bot_id)
    discord_server.speak_packets(person, synthetic_packets(10, 2))

    # Frames of silence are not encrypted, so that those of the first talk are whole.
    wait_until(lambda: len(voice.heard[person]) == 5 + 10 + 5)
    assert speech(voice.heard[person]) == synthetic_packets(10, 2)
    assert voice.counters["undecryptable by transport"] == 0
    assert len(discord_server.heard(other, person, "dave")) == 30


def test_dave_garbage_by_chance_hits_a_part(discord_server: Control, bot: ProbeBot, channel: int) -> None:
    voice, (person,) = meet(discord_server, bot, channel, "Half")

    discord_server.set_faults(Faults(dave_garbage=0.5, seed=7), sender_id=person)
    discord_server.speak_packets(person, synthetic_packets(60, 1), manner=NO_SILENCE)

    wait_until(lambda: len(voice.heard[person]) + dave_failures(voice, "NoValidCryptorFound") == 60)
    assert 10 < len(voice.heard[person]) < 50


def test_faults_until_a_new_key_package_end_with_it_and_the_others_never_notice(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    bot_id = discord_server.ready.bot_id
    voice, (person, other) = meet(discord_server, bot, channel, "Talker", "Other")

    after = discord_server.last_index
    discord_server.set_faults(Faults(dave_garbage=1.0), receiver_id=bot_id, until="rekeyed")
    discord_server.speak_packets(person, synthetic_packets(20, 1), manner=NO_SILENCE)
    wait_until(lambda: dave_failures(voice, "NoValidCryptorFound") == 20)
    rekey(bot, voice)
    ended = discord_server.wait("voice", "faults ended", after=after, user_id=bot_id)
    wait_secure(discord_server, voice, channel, person, other)
    discord_server.speak_packets(person, synthetic_packets(20, 2), manner=NO_SILENCE)

    assert ended.data["until"] == "rekeyed"
    wait_until(lambda: voice.heard[person] == synthetic_packets(20, 2))
    assert len(discord_server.heard(other, person, "dave")) == 40
    assert discord_server.violations(bot_id) == []


def test_faults_until_a_new_session_outlast_a_new_key_package(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    bot_id = discord_server.ready.bot_id
    voice, (person,) = meet(discord_server, bot, channel, "Persistent")

    discord_server.set_faults(Faults(lose_every=1), sender_id=person, until="rejoined")
    rekey(bot, voice)
    wait_secure(discord_server, voice, channel, person)
    discord_server.speak_packets(person, synthetic_packets(10, 1))
    bot.leave_all()
    deaf, after = dict(voice.heard), discord_server.last_index
    voice = bot.join(channel)
    ended = discord_server.wait("voice", "faults ended", user_id=bot_id, until="rejoined")
    wait_secure(discord_server, voice, channel, person)
    discord_server.speak_packets(person, synthetic_packets(10, 2))

    assert deaf == {}
    assert ended.index > after
    wait_until(lambda: speech(voice.heard[person]) == synthetic_packets(10, 2))


def test_faults_for_everybody_end_only_for_the_one_who_recovered(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    voice, (person, other) = meet(discord_server, bot, channel, "Source", "Still deaf")

    discord_server.set_faults(Faults(dave_garbage=1.0), sender_id=person, until="rekeyed")
    rekey(bot, voice)
    wait_secure(discord_server, voice, channel, person, other)
    discord_server.speak_packets(person, synthetic_packets(20, 1), manner=NO_SILENCE)

    wait_until(lambda: voice.heard[person] == synthetic_packets(20, 1))
    assert discord_server.heard(other, person, "dave") == []


@pytest.mark.parametrize("people", [1, 2])
def test_a_client_with_an_invalid_commit_gets_new_keys_and_the_others_keep_talking(
    discord_server: Control, bot: ProbeBot, channel: int, people: int
) -> None:
    voice, others = meet(discord_server, bot, channel, *(f"Member {index}" for index in range(people)))
    bot_id, speaker = discord_server.ready.bot_id, others[0]
    epoch = (discord_server.room(channel) or {})["dave_epoch"]

    after = discord_server.last_index
    discord_server.speak_packets(speaker, synthetic_packets(150, 1), manner=NO_SILENCE, wait=False)
    discord_server.send_voice(bot_id, 29, b"\x00\x63" + bytes(80))
    discord_server.wait("dave", "invalid commit", after=after, user_id=bot_id)
    discord_server.wait("person", "spoke", after=after, user_id=speaker)
    wait_secure(discord_server, voice, channel, *others)
    discord_server.speak_packets(speaker, synthetic_packets(20, 2), manner=NO_SILENCE)
    bot.speak(voice, synthetic_packets(10, 3))

    wait_until(lambda: voice.heard[speaker][-20:] == synthetic_packets(20, 2))
    for person in others:
        wait_until(partial(has_heard, discord_server, person, bot_id, 10))
    if people == 2:
        assert (discord_server.room(channel) or {})["dave_epoch"] > epoch, "the same group, with new keys"
        heard = [packet.opus for packet in discord_server.heard(others[1], speaker, "dave")]
        assert len(heard) >= 170 - 4, "at most a packet or two for each change of keys"
    assert [entry for entry in discord_server.violations() if entry.index > after] == []


def test_a_bot_that_is_removed_from_dave_goes_deaf_without_being_told(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    bot_id = discord_server.ready.bot_id
    voice, (person, other) = meet(discord_server, bot, channel, "Insider", "Second insider")

    after = discord_server.last_index
    discord_server.remove_from_dave(bot_id)
    wait_until(lambda: set((discord_server.room(channel) or {})["dave_members"]) == {person, other})
    wait_until(lambda: bool((discord_server.room(channel) or {})["dave_is_settled"]))
    told = [
        entry.name
        for entry in discord_server.record(after=after, kind="dave")
        if entry.data.get("to_user_id") == bot_id
    ]
    discord_server.speak_packets(person, synthetic_packets(20, 1), manner=NO_SILENCE)
    wait_until(lambda: dave_failures(voice, "NoValidCryptorFound") == 20)
    rekey(bot, voice)
    wait_secure(discord_server, voice, channel, person, other)
    discord_server.speak_packets(person, synthetic_packets(20, 2), manner=NO_SILENCE)

    assert told == []
    wait_until(lambda: voice.heard[person] == synthetic_packets(20, 2))
    assert len(discord_server.heard(other, person, "dave")) == 40


def test_one_who_stays_alone_when_the_bot_is_removed_talks_again_after_its_new_key_package(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    bot_id = discord_server.ready.bot_id
    voice, (person,) = meet(discord_server, bot, channel, "Alone")

    after = discord_server.last_index
    discord_server.remove_from_dave(bot_id)
    wait_until(lambda: not discord_server.person(person)["is_secure"])
    told = [
        entry for entry in discord_server.record(after=after, kind="dave") if entry.data.get("to_user_id") == bot_id
    ]
    rekey(bot, voice)
    wait_secure(discord_server, voice, channel, person)
    discord_server.speak_packets(person, synthetic_packets(20, 1), manner=NO_SILENCE)

    assert told == []
    wait_until(lambda: voice.heard[person] == synthetic_packets(20, 1))


def test_who_is_in_no_group_can_not_be_removed_from_it(discord_server: Control, bot: ProbeBot, channel: int) -> None:
    bot.join(channel)

    with pytest.raises(ControlError, match="not in the DAVE group"):
        discord_server.remove_from_dave(discord_server.ready.bot_id)


def test_somebody_who_says_that_it_talks_and_sends_nothing(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    voice, (person,) = meet(discord_server, bot, channel, "Announcer")

    discord_server.announce_speaking(person)
    wait_until(lambda: voice.speaking_events[-1:] == [(person, 1)])
    discord_server.announce_speaking(person, False)

    wait_until(lambda: voice.speaking_events[-1:] == [(person, 0)])
    assert voice.heard == {}
    assert discord_server.received(person) == []
