"""One user's stream: duplicates and what can't be opened go no further, and the rest is heard."""

import pytest

from plexbridge.audio.pcm import level_dbfs
from plexbridge.people.discord.rtp import RtpPacket
from plexbridge.people.discord.stream import FrameRefused, Refusal, SpeakerStatistics, Stream
from tests.people.discord.sender import SILENCE
from tests.people.discord.talking import locked, tone_packets, unlock

USER = 77


def rtp(number: int, payload: bytes) -> RtpPacket:
    return RtpPacket(ssrc=5, sequence=number % 2**16, timestamp=number * 960 % 2**32, payload=payload)


def test_frames_are_opened_with_the_users_id_and_heard() -> None:
    stream = Stream(USER)

    for number, packet in enumerate(tone_packets(0.2)):
        stream.push(rtp(number, locked(packet, USER)), 0.5, unlock)
        spoken = stream.frame()

    assert spoken is not None
    assert level_dbfs(spoken.samples) > -20
    assert (spoken.arrived_seconds, spoken.is_speech) == (0.5, True)
    assert stream.statistics() == SpeakerStatistics(received=10, decoded=9, depth_frames=2)
    stream.close()


def test_a_duplicate_is_dropped_before_it_is_opened_again() -> None:
    opened: list[bytes] = []

    def open_once(user_id: int, frame: bytes) -> bytes:
        if frame in opened:
            raise FrameRefused(Refusal.UNDECRYPTABLE)
        opened.append(frame)
        return unlock(user_id, frame)

    stream = Stream(USER)
    for number, packet in enumerate(tone_packets(0.2)):
        for _ in range(3):
            stream.push(rtp(number, locked(packet, USER)), 0.0, open_once)
        stream.frame()

    assert stream.statistics() == SpeakerStatistics(received=30, duplicate=20, decoded=9, depth_frames=2)
    stream.close()


@pytest.mark.parametrize("reason", Refusal)
def test_a_frame_that_is_refused_is_counted_by_its_reason_and_concealed(reason: Refusal) -> None:
    def refuse_fifth(user_id: int, frame: bytes) -> bytes:
        if frame == locked(packets[5], USER):
            raise FrameRefused(reason)
        return unlock(user_id, frame)

    packets = tone_packets(0.2)
    stream = Stream(USER)
    for number, packet in enumerate(packets):
        stream.push(rtp(number, locked(packet, USER)), 0.0, refuse_fifth)
        stream.frame()

    counts = stream.statistics()
    assert {each: getattr(counts, each.name.lower()) for each in Refusal} == {
        each: int(each is reason) for each in Refusal
    }
    assert (counts.received, counts.decoded, counts.lost, counts.concealed_frames) == (10, 8, 1, 1)
    stream.close()


def test_while_there_is_no_session_nothing_is_heard() -> None:
    stream = Stream(USER)

    for number, packet in enumerate(tone_packets(0.2)):
        stream.push(rtp(number, locked(packet, USER)), 0.0, lambda user_id, frame: None)

        assert stream.frame() is None

    assert stream.statistics() == SpeakerStatistics(received=10, not_ready=10)
    assert stream.is_idle
    stream.close()


def test_silence_travels_in_clear_and_is_not_handed_to_the_session() -> None:
    def refuse(user_id: int, frame: bytes) -> bytes:
        raise AssertionError("silence needs no key")

    stream = Stream(USER)
    for number in range(5):
        stream.push(rtp(number, SILENCE), 0.0, refuse)
        stream.frame()

    assert stream.statistics() == SpeakerStatistics(received=5, silence=5, decoded=4, depth_frames=2)
    stream.close()


def test_what_is_opened_and_is_no_opus_is_corrupt() -> None:
    stream = Stream(USER)

    for number, payload in enumerate([b"", b"\xf9abc", b"\xfb\x00"]):
        stream.push(rtp(number, payload), 0.0, lambda user_id, frame: frame)

    assert stream.statistics() == SpeakerStatistics(received=3, corrupt=3, depth_frames=2)
    assert stream.frame() is None
    stream.close()


def test_the_sum_of_two_users_has_the_greater_depth() -> None:
    one = SpeakerStatistics(received=3, lost=1, concealed_frames=2, depth_frames=2)
    other = SpeakerStatistics(received=4, shed=7, depth_frames=5)

    assert (
        one + other == other + one == SpeakerStatistics(received=7, lost=1, shed=7, concealed_frames=2, depth_frames=5)
    )
