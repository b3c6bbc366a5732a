"""Cameras in the loopback Discord: what a bot that only listens gets of them."""

import struct
import time
from collections import Counter

import davey
import pytest

from tests.discord_server.camera import VideoCodec
from tests.discord_server.control import Control, ControlError
from tests.discord_server.probe_bot import ProbeBot
from tests.discord_server.probe_voice import synthetic_packets
from tests.discord_server.probing import meet, speech, wait_secure, wait_until

pytestmark = pytest.mark.live


@pytest.mark.parametrize(("codec", "payload_type"), [("h264", 101), ("vp8", 103), ("vp9", 105)])
def test_video_of_a_camera_reaches_the_bot_encrypted_by_dave_while_the_person_talks(
    discord_server: Control, bot: ProbeBot, channel: int, codec: VideoCodec, payload_type: int
) -> None:
    bot_id = discord_server.ready.bot_id
    voice, (person,) = meet(discord_server, bot, channel, "Star")
    said = synthetic_packets(100, 1)

    discord_server.set_camera(person, True, codec=codec)
    wait_until(lambda: len(voice.video) >= 2)
    before, started = len(voice.video), time.monotonic()
    discord_server.speak_packets(person, said)
    packets, seconds = list(voice.video), time.monotonic() - started

    event = voice.video_events[-1]
    wait_until(lambda: speech(voice.heard[person]) == said)
    assert {packet.payload_type for packet in packets} == {payload_type, payload_type + 1}
    assert (len(packets) - before) / seconds == pytest.approx(33, abs=5), "30 frames and 3 repetitions a second"
    assert int(event["user_id"]) == person
    assert {packet.ssrc for packet in packets} == {event["video_ssrc"], event["rtx_ssrc"]}
    assert event["audio_ssrc"] in voice.users
    frames = [packet for packet in packets if packet.payload_type == payload_type]
    again = [packet for packet in packets if packet.payload_type == payload_type + 1]
    assert all(packet.payload.endswith(b"\xfa\xfa") for packet in frames)
    repeated = struct.unpack_from(">H", again[0].payload)[0]
    assert [packet.payload for packet in frames if packet.sequence == repeated] == [again[0].payload[2:]]
    session = voice._connection.dave_session
    assert session is not None
    encrypted = frames[-1].payload[0 if codec == "h264" else 1 :]
    assert len(session.decrypt(person, davey.MediaType.video, encrypted)) > 600
    assert bot.channel(channel).voice_states[person].self_video
    assert discord_server.violations(person) == discord_server.violations(bot_id) == []


def test_a_camera_that_is_turned_off_sends_nothing_and_everybody_is_told(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    voice, (person,) = meet(discord_server, bot, channel, "Shy")
    discord_server.set_camera(person, True)
    wait_until(lambda: len(voice.video) >= 5)

    discord_server.set_camera(person, False)

    wait_until(lambda: voice.video_events[-1]["video_ssrc"] == 0)
    wait_until(lambda: not bot.channel(channel).voice_states[person].self_video)
    count = len(voice.video)
    discord_server.speak_packets(person, synthetic_packets(10, 1))
    wait_until(lambda: len(voice.heard[person]) == 15)
    assert len(voice.video) == count


def test_a_muted_persons_camera_goes_on_and_who_comes_later_is_told_of_it(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    person, other = discord_server.add_person("Silent film"), discord_server.add_person("Public")
    discord_server.join(person, channel, self_mute=True)
    discord_server.join(other, channel)
    assert discord_server.wait_secure(person)
    discord_server.set_camera(person, True)
    wait_until(lambda: discord_server.person(other)["counters"].get("not audio", 0) >= 5)

    voice = bot.join(channel)

    wait_until(lambda: bool(voice.video_events) and int(voice.video_events[0]["user_id"]) == person)
    wait_until(lambda: len(voice.video) >= 5)


def test_a_camera_stays_on_through_a_move_of_the_voice_server_and_ends_with_the_call(
    discord_server: Control, bot: ProbeBot, channel: int
) -> None:
    voice, (person,) = meet(discord_server, bot, channel, "Steady cam")
    discord_server.set_camera(person, True)
    wait_until(lambda: len(voice.video) >= 5)
    first_ssrc = voice.video[-1].ssrc

    discord_server.move_voice_server(channel)
    wait_until(lambda: voice.video[-1].ssrc not in (first_ssrc, first_ssrc + 1))
    discord_server.leave(person)
    discord_server.join(person, channel)
    wait_secure(discord_server, voice, channel, person)
    count = Counter(packet.ssrc for packet in voice.video)
    discord_server.speak_packets(person, synthetic_packets(10, 1))
    wait_until(lambda: speech(voice.heard[person]) == synthetic_packets(10, 1))

    assert Counter(packet.ssrc for packet in voice.video) == count
    assert not bot.channel(channel).voice_states[person].self_video


def test_a_camera_needs_a_call(discord_server: Control) -> None:
    person = discord_server.add_person("Nowhere")

    with pytest.raises(ControlError, match="not in voice"):
        discord_server.set_camera(person, True)
