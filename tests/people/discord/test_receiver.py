"""The receiver: everybody's datagrams to one frame at every tick, and nobody's faults in anybody else's ears.

Datagrams are put together by the cipher libraries (`sender.py`); times are in milliseconds, ticks at 0, 20, 40 ...
"""

import random
import tracemalloc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median, quantiles

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plexbridge.audio.hearing import HearingSettings
from plexbridge.audio.pcm import UPLINK_FRAME_SAMPLES, Samples, level_dbfs
from plexbridge.errors import LocalProtocolError
from plexbridge.people.discord.receiver import (
    HELD_LIMIT_PACKETS,
    SPEAKER_LIMIT,
    Mixed,
    Receiver,
    ReceiverStatistics,
)
from plexbridge.people.discord.stream import FrameRefused, OpenFrame, Refusal, SpeakerStatistics
from tests.audio.test_vad import NETWORKS
from tests.people.discord.sender import AES, KEY, SILENCE, XCHACHA, audio, rtp_header, seal
from tests.people.discord.talking import locked, tone_packets, unlock

TICK_MS = 20
WHISTLING = HearingSettings(has_noise_gate=False)
"""Most people in these tests whistle, which is no speech."""
PITCHES_HZ = (210, 330, 450, 570, 690, 810, 930, 1_050)


@dataclass(frozen=True)
class Arrival:
    """A datagram, or none for one that was lost, and when it comes."""

    at_ms: float
    datagram: bytes


def talk(
    user_id: int,
    *,
    seconds: float = 1.0,
    start_ms: float = 5,
    hz: float = 300,
    level: float = 0.3,
    ssrc: int | None = None,
    sequence: int = 0,
    timestamp: int = 0,
    is_ended: bool = True,
    key: bytes = KEY,
) -> list[Arrival]:
    """Return the datagrams of a person who speaks evenly; the last five are silence when the speech is ended.

    A person's SSRC is a thousand more than the user id unless another is given.
    """
    packets = [locked(packet, user_id) for packet in tone_packets(seconds, hz=hz, level=level)]
    return [
        Arrival(
            start_ms + TICK_MS * place,
            audio(
                payload,
                sequence=sequence + place,
                timestamp=timestamp + 960 * place,
                ssrc=1_000 + user_id if ssrc is None else ssrc,
                key=key,
            ),
        )
        for place, payload in enumerate([*packets, *[SILENCE] * 5 * is_ended])
    ]


def joined_receiver(*user_ids: int, mode: str = AES) -> Receiver:
    """Return a receiver in a session in which these users are heard and their SSRCs are known."""
    receiver = Receiver(hearing=WHISTLING)
    receiver.connected(mode, KEY)
    receiver.set_heard(user_ids)
    for user_id in user_ids:
        receiver.speaking(1_000 + user_id, user_id)
    return receiver


def listen(receiver: Receiver, arrivals: Iterable[Arrival], *, ticks: int, first_tick: int = 0) -> list[Mixed]:
    """Push every datagram when its time has come, and take out a frame at every tick."""
    coming = sorted(arrivals, key=lambda arrival: arrival.at_ms)
    position = 0
    heard = []
    for tick in range(first_tick, first_tick + ticks):
        while position < len(coming) and coming[position].at_ms <= tick * TICK_MS:
            arrival = coming[position]
            receiver.push(arrival.datagram, arrived_seconds=arrival.at_ms / 1000, open_frame=unlock)
            position += 1
        heard.append(receiver.frame(tick * TICK_MS / 1000))
    assert position == len(coming), "there are ticks for all that comes"
    return heard


def sound(heard: Iterable[Mixed]) -> Samples:
    return np.concatenate([mixed.samples for mixed in heard])


def frames_with(user_id: int, heard: Iterable[Mixed]) -> int:
    return sum(user_id in mixed.speakers for mixed in heard)


def waits_ms(heard: Sequence[Mixed]) -> list[float]:
    """Return how long what is heard has waited, where somebody speaks."""
    return [tick * TICK_MS - mixed.arrived_seconds * 1000 for tick, mixed in enumerate(heard) if mixed.speakers]


def dropped(counts: ReceiverStatistics) -> int:
    return (
        counts.not_rtp
        + counts.rtcp
        + counts.not_audio
        + counts.no_session
        + counts.unauthentic
        + counts.malformed
        + counts.unheard
        + counts.unclaimed
    )


# One person


def test_silence_comes_at_every_tick_though_nobody_is_there() -> None:
    with Receiver() as receiver:
        mixed = receiver.frame(12.5)

    assert mixed.samples.tolist() == [0.0] * UPLINK_FRAME_SAMPLES
    assert (mixed.arrived_seconds, mixed.is_silent, mixed.speakers) == (12.5, True, frozenset())


@pytest.mark.parametrize("mode", [AES, XCHACHA])
def test_a_person_is_heard_through_both_encryptions_from_the_first_packet_to_the_last(mode: str) -> None:
    arrivals = [
        Arrival(
            5 + 20 * place,
            seal(
                rtp_header(sequence=place, timestamp=960 * place, ssrc=1_007, extension_words=2, is_padded=True),
                bytes(8) + locked(packet, 7) + b"\x00\x02",
                mode=mode,
                nonce=place,
            ),
        )
        for place, packet in enumerate(tone_packets(0.5))
    ]

    with joined_receiver(7, mode=mode) as receiver:
        heard = listen(receiver, arrivals, ticks=40)

        assert frames_with(7, heard) == 25 + 3  # it breaks off without silence packets, and is concealed
        assert level_dbfs(sound(heard[4:26])) == pytest.approx(-13.5, abs=1)
        assert receiver.statistics().users[7].decoded == 25


@pytest.mark.parametrize("start_ms", [0.1, 5, 10, 15, 19.9])
def test_what_is_said_without_jitter_waits_less_than_60_ms(start_ms: float) -> None:
    with joined_receiver(7) as receiver:
        heard = listen(receiver, talk(7, start_ms=start_ms, seconds=4), ticks=230)

    assert median(waits_ms(heard)) == pytest.approx(40 - start_ms)
    assert max(waits_ms(heard)) <= 40


def test_the_median_wait_over_all_phases_is_30_ms_at_first() -> None:
    waits: list[float] = []

    for start_ms in range(20):
        with joined_receiver(7) as receiver:
            waits += waits_ms(listen(receiver, talk(7, start_ms=start_ms + 0.5), ticks=70))

    assert median(waits) == pytest.approx(30, abs=1)
    assert quantiles(waits, n=100)[98] <= 40


def test_silence_frames_are_neither_speech_nor_refused() -> None:
    with joined_receiver(7) as receiver:
        heard = listen(receiver, talk(7, seconds=0.2), ticks=25)

        assert [bool(mixed.speakers) for mixed in heard] == [False] * 2 + [True] * 10 + [False] * 13
        assert [mixed.is_silent for mixed in heard[13:]] == [True] * 12
        assert receiver.statistics().users[7] == SpeakerStatistics(received=15, silence=5, decoded=15, depth_frames=2)


def test_a_whisper_is_a_speaker_and_yet_silent() -> None:
    with joined_receiver(7) as receiver:
        heard = listen(receiver, talk(7, level=0.001), ticks=60)

    assert heard[20].speakers == {7}
    assert heard[20].is_silent


# Several people


def test_two_people_are_the_sum_of_each_alone() -> None:
    one, other = talk(1, hz=310, seconds=2), talk(2, hz=520, start_ms=333, seconds=1)

    with joined_receiver(1, 2) as together, joined_receiver(1) as alone, joined_receiver(2) as also_alone:
        heard = listen(together, one + other, ticks=120)
        expected = sound(listen(alone, one, ticks=120)) + sound(listen(also_alone, other, ticks=120))

    assert np.array_equal(sound(heard), expected)
    assert {mixed.speakers for mixed in heard} == {frozenset(), frozenset({1}), frozenset({1, 2})}
    assert heard[60].arrived_seconds == pytest.approx(1.173)


def test_where_the_numbers_of_each_speaker_start_makes_no_difference() -> None:
    with joined_receiver(*range(8)) as same, joined_receiver(*range(8)) as different:
        usual = [arrival for user in range(8) for arrival in talk(user, hz=PITCHES_HZ[user], level=0.08)]
        wrapping = [
            arrival
            for user in range(8)
            for arrival in talk(
                user, hz=PITCHES_HZ[user], level=0.08, sequence=65_500 + 7 * user, timestamp=2**32 - 9_000 * user
            )
        ]

        heard = sound(listen(different, wrapping, ticks=70))

        assert np.array_equal(heard, sound(listen(same, usual, ticks=70)))
        assert different.statistics().total.concealed_frames == 0


# What of each is mixed


def test_each_person_has_a_gain_and_the_sum_is_exact() -> None:
    one, other = talk(1, hz=310, level=0.2), talk(2, hz=520, level=0.2)

    with joined_receiver(1, 2) as together, joined_receiver(1) as alone, joined_receiver(2) as also_alone:
        together.hearing.set_gain(1, 2.0)
        together.hearing.set_gain(2, 0.25)
        heard = sound(listen(together, one + other, ticks=60))
        voices = sound(listen(alone, one, ticks=60)), sound(listen(also_alone, other, ticks=60))

    assert np.abs(heard).max() < 0.8, "the limiter has nothing to do"
    assert np.array_equal(heard, 2 * voices[0] + voices[1] / 4)


def test_who_is_not_attended_is_decoded_and_counted_and_not_mixed() -> None:
    one, other = talk(1, hz=310), talk(2, hz=520)

    with joined_receiver(1, 2) as receiver, joined_receiver(1) as alone:
        receiver.hearing.set_attended(frozenset({1}))
        heard = listen(receiver, one + other, ticks=60)

        assert np.array_equal(sound(heard), sound(listen(alone, one, ticks=60)))
        assert frames_with(2, heard) == 0
        assert receiver.statistics().users[2] == alone.statistics().users[1]


def test_what_the_noise_gate_silences_counts_as_received_and_the_frame_as_silent() -> None:
    with Receiver(hearing=HearingSettings(networks=NETWORKS)) as receiver:
        receiver.connected(AES, KEY)
        receiver.set_heard({7})
        receiver.speaking(1_007, 7)
        heard = listen(receiver, talk(7, seconds=2), ticks=110)
        counts = receiver.statistics().users[7]

    assert [mixed.is_silent for mixed in heard[4:16]] == [False] * 12
    assert all(mixed.is_silent and not mixed.speakers for mixed in heard[20:])
    assert (counts.speech, counts.good, counts.decoded) == (100, 100, 105), "deafness is judged by these"


def test_bots_and_the_unknown_are_not_even_decoded() -> None:
    with joined_receiver(1) as receiver:
        receiver.speaking(1_050, 50)  # a bot that plays music: nobody has said that it may be heard
        heard = listen(receiver, talk(50) + talk(60, ssrc=9_999), ticks=120)

        assert not sound(heard).any()
        assert receiver.hearing.activity() == {}
        assert receiver.statistics().total.decoded == 0
        assert receiver.statistics().unheard + receiver.statistics().unclaimed == 110


def harassed(user_id: int, arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Return a person's datagrams as a bad network brings them: late, lost, doubled."""
    chance = random.Random(user_id)
    late = [replace(arrival, at_ms=arrival.at_ms + chance.uniform(0, 12 * user_id)) for arrival in arrivals]
    kept = [arrival for arrival in late if chance.random() > 0.02 * user_id]
    return kept + [replace(arrival, at_ms=arrival.at_ms + 9) for arrival in kept if chance.random() < 0.1]


def test_eight_people_each_with_their_own_jitter_are_heard_as_if_alone() -> None:
    network = {user: harassed(user, talk(user, hz=PITCHES_HZ[user], level=0.09, seconds=4)) for user in range(8)}

    with joined_receiver(*network) as together:
        heard = listen(together, [arrival for arrivals in network.values() for arrival in arrivals], ticks=230)
        counts = together.statistics()
    expected = np.zeros(230 * UPLINK_FRAME_SAMPLES, np.float32)
    for user, arrivals in network.items():
        with joined_receiver(user) as alone:
            expected += sound(listen(alone, arrivals, ticks=230))
            assert counts.users[user] == alone.statistics().users[user]

    assert np.array_equal(sound(heard), expected)
    assert counts.users[0].lost == 0
    assert counts.users[7].lost > 10


def nuisances() -> dict[str, list[Arrival]]:
    """Return what a person can do to others, by name; their user id is 9."""
    chance = random.Random(1)
    plain = talk(9, seconds=4)
    moments = [arrival.at_ms for arrival in plain]
    return {
        "wrong key": talk(9, seconds=4, key=bytes(32)),
        "noise instead of Opus": [
            Arrival(at_ms, audio(locked(b"\xff\xff" + chance.randbytes(60), 9), sequence=place, ssrc=1_009))
            for place, at_ms in enumerate(moments)
        ],
        "someone else's end-to-end key": [
            Arrival(at_ms, audio(locked(b"\xf8abc", 8), sequence=place, timestamp=960 * place, ssrc=1_009))
            for place, at_ms in enumerate(moments)
        ],
        "camera": [Arrival(at_ms, seal(rtp_header(second_byte=101, ssrc=1_009), b"video")) for at_ms in moments],
        "RTCP": [Arrival(at_ms, b"\x81\xc8" + chance.randbytes(60)) for at_ms in moments],
        "garbage": [Arrival(at_ms, chance.randbytes(chance.randrange(200))) for at_ms in moments],
        "a flood of unknown SSRCs": [
            Arrival(at_ms, audio(b"x", ssrc=chance.randrange(5_000, 9_000))) for at_ms in moments for _ in range(10)
        ],
    }


@pytest.mark.parametrize("nuisance", nuisances())
def test_what_one_person_sends_leaves_the_others_as_they_were(nuisance: str) -> None:
    others = [arrival for user in range(7) for arrival in talk(user, hz=PITCHES_HZ[user], level=0.09, seconds=4)]

    with joined_receiver(*range(7), 9) as spared, joined_receiver(*range(7), 9) as disturbed:
        expected = listen(spared, others, ticks=230)
        heard = listen(disturbed, others + nuisances()[nuisance], ticks=230)

        assert np.array_equal(sound(heard), sound(expected))
        assert [mixed.speakers for mixed in heard] == [mixed.speakers for mixed in expected]
        for user in range(7):
            assert disturbed.statistics().users[user] == spared.statistics().users[user]


def test_a_flood_of_one_speaker_is_shed_and_delays_nobody() -> None:
    flood = [Arrival(arrival.at_ms / 10, arrival.datagram) for arrival in talk(9, seconds=20, is_ended=False)]

    with joined_receiver(1, 9) as receiver:
        heard = listen(receiver, talk(1, seconds=2) + flood, ticks=110)

        counts = receiver.statistics().users
        assert counts[1] == SpeakerStatistics(received=105, silence=5, decoded=105, depth_frames=2)
        assert counts[9].shed > 800
        assert max(waits_ms(heard)) <= 120


def test_a_burst_of_a_hundred_packets_is_shed_to_the_newest_and_not_played_late() -> None:
    stalled = [replace(arrival, at_ms=max(arrival.at_ms, 2_005)) for arrival in talk(7, seconds=4)]

    with joined_receiver(7) as receiver:
        heard = listen(receiver, stalled, ticks=230)

        assert max(waits_ms(heard)) <= 120
        assert receiver.statistics().users[7].shed == pytest.approx(97, abs=4)
        assert frames_with(7, heard) == pytest.approx(100 + 6, abs=4)


# Who speaks


def test_audio_that_overtakes_its_announcement_is_held_and_then_heard() -> None:
    arrivals = talk(7)

    with joined_receiver() as receiver:
        receiver.set_heard({7})
        early = listen(receiver, arrivals[:4], ticks=5)
        receiver.speaking(1_007, 7)
        heard = listen(receiver, arrivals[4:], first_tick=5, ticks=60)

        assert frames_with(7, early) == 0
        assert frames_with(7, heard) == 50
        counts = receiver.statistics()
        assert (counts.held, counts.unclaimed) == (4, 0)
        assert counts.users[7].received == 55
        assert max(waits_ms([*early, *heard])) <= 100


def test_held_packets_are_opened_by_the_session_of_the_time_when_they_are_claimed() -> None:
    sessions: list[int] = []

    def open_later(user_id: int, frame: bytes) -> bytes:
        if not sessions:
            raise FrameRefused(Refusal.NOT_READY)
        return unlock(user_id, frame)

    with joined_receiver() as receiver:
        receiver.set_heard({7})
        for arrival in talk(7)[:4]:
            receiver.push(arrival.datagram, arrived_seconds=0, open_frame=open_later)
        sessions.append(1)
        receiver.speaking(1_007, 7)

        assert receiver.statistics().users[7] == SpeakerStatistics(received=4, depth_frames=2)


def test_no_more_than_fifty_packets_are_held_and_the_newest_of_them() -> None:
    with joined_receiver() as receiver:
        receiver.set_heard({7})
        for arrival in talk(7, seconds=1.9):
            receiver.push(arrival.datagram, arrived_seconds=0, open_frame=unlock)
        receiver.speaking(1_007, 7)

        counts = receiver.statistics()
        assert counts.held == 100
        assert counts.unclaimed == 100 - HELD_LIMIT_PACKETS
        assert counts.users[7].received == HELD_LIMIT_PACKETS
        assert [bool(receiver.frame(0).speakers) for _ in range(3)] == [True, False, False]  # silence follows


def keyless(user_id: int, frame: bytes) -> bytes:
    """Open nothing."""
    raise FrameRefused(Refusal.NOT_READY)


def test_nobody_waits_longer_than_a_second_to_be_named() -> None:
    with joined_receiver() as receiver:
        receiver.set_heard({7})
        early, late = talk(7)[:2]
        receiver.push(early.datagram, arrived_seconds=10.0, open_frame=keyless)
        receiver.push(late.datagram, arrived_seconds=10.5, open_frame=keyless)
        receiver.frame(11.0)
        assert receiver.statistics().unclaimed == 0
        receiver.frame(11.01)
        receiver.speaking(1_007, 7)

        assert receiver.statistics().unclaimed == 1
        assert receiver.statistics().users[7].received == 1


@pytest.mark.parametrize("is_named_first", [True, False])
def test_bots_and_strangers_are_never_heard_and_never_opened(is_named_first: bool) -> None:
    def refuse(user_id: int, frame: bytes) -> bytes:
        raise AssertionError("opened")

    with joined_receiver(1) as receiver:
        if is_named_first:
            receiver.speaking(1_007, 7)
        for arrival in talk(7)[:20]:
            receiver.push(arrival.datagram, arrived_seconds=0, open_frame=refuse)
        receiver.speaking(1_007, 7)

        assert receiver.frame(0).speakers == frozenset()
        assert receiver.statistics().unheard == 20
        assert receiver.statistics().users[7] == SpeakerStatistics()


def test_packets_of_bots_are_dropped_before_they_are_decrypted() -> None:
    with joined_receiver(1) as receiver:
        receiver.speaking(1_007, 7)
        receiver.push(talk(7, key=bytes(32))[0].datagram, arrived_seconds=0, open_frame=unlock)

        assert (receiver.statistics().unheard, receiver.statistics().unauthentic) == (1, 0)


def test_who_is_no_longer_heard_falls_silent_at_once_and_can_be_heard_again() -> None:
    arrivals = talk(7, seconds=3)

    with joined_receiver(7) as receiver:
        before = listen(receiver, arrivals[:50], ticks=51)
        receiver.set_heard(())
        muted = listen(receiver, arrivals[50:100], first_tick=51, ticks=50)
        receiver.set_heard({7})
        after = listen(receiver, arrivals[100:], first_tick=101, ticks=60)

        assert [frames_with(7, heard) for heard in (before, muted, after)] == [49, 0, 50]
        counts = receiver.statistics()
        assert counts.unheard == 50
        assert (counts.users[7].received, counts.total.received) == (55, 105)


def test_somebody_who_has_left_falls_silent_at_once_and_the_rest_is_heard_on() -> None:
    leaver, stayer = talk(7, hz=310), talk(8, hz=520)

    with joined_receiver(7, 8) as receiver, joined_receiver(8) as alone:
        listen(receiver, leaver[:20] + stayer[:20], ticks=21)
        listen(alone, stayer[:20], ticks=21)
        receiver.left(7)
        heard = listen(receiver, leaver[20:30] + stayer[20:], first_tick=21, ticks=40)

        assert np.array_equal(sound(heard), sound(listen(alone, stayer[20:], first_tick=21, ticks=40)))
        counts = receiver.statistics()
        assert set(counts.users) == {8}
        assert counts.total.received == 20 + 55
        assert counts.held == 10  # of an SSRC that is nobody's now


def test_leaving_twice_or_never_having_come_is_no_fault() -> None:
    with joined_receiver(7) as receiver:
        receiver.left(7)
        receiver.left(7)
        receiver.left(12)

        assert receiver.statistics().users == {}


def test_being_named_again_changes_nothing() -> None:
    arrivals = talk(7)

    with joined_receiver(7) as receiver, joined_receiver(7) as named_again:
        heard = []
        for arrival in arrivals:
            named_again.speaking(1_007, 7)
            tick = round((arrival.at_ms - 5) / 20) + 1
            heard += listen(named_again, [arrival], first_tick=tick, ticks=1)

        assert np.array_equal(sound(heard), sound(listen(receiver, arrivals, ticks=56)[1:]))


def test_a_new_ssrc_of_the_same_user_takes_the_place_of_the_old_one() -> None:
    with joined_receiver(7) as receiver:
        listen(receiver, talk(7)[:20], ticks=21)
        receiver.speaking(4_444, 7)
        heard = listen(receiver, talk(7, ssrc=4_444, start_ms=405), first_tick=21, ticks=70)

        assert frames_with(7, heard) == 50
        assert receiver.statistics().users[7].received == 55


def test_an_ssrc_that_passes_to_another_user_is_the_others_from_then_on() -> None:
    with joined_receiver(7, 8) as receiver:
        listen(receiver, talk(7)[:20], ticks=21)
        receiver.speaking(1_007, 8)
        heard = listen(receiver, talk(8, ssrc=1_007, start_ms=405), first_tick=21, ticks=70)

        assert (frames_with(7, heard), frames_with(8, heard)) == (0, 50)
        assert set(receiver.statistics().users) == {8}
        assert receiver.statistics().total.received == 20 + 55


# Sessions


def test_a_reconnect_forgets_ssrcs_what_waits_and_the_old_key() -> None:
    other_key = bytes(range(1, 33))

    with joined_receiver(7) as receiver:
        listen(receiver, talk(7)[:20] + talk(12)[:3], ticks=21)
        receiver.connected(XCHACHA, other_key)
        assert receiver.statistics().users == {}
        assert receiver.statistics().unclaimed == 3
        old = listen(receiver, talk(7)[20:30], first_tick=21, ticks=20)
        receiver.speaking(5_555, 7)
        datagram = seal(rtp_header(ssrc=5_555), locked(tone_packets(0.1)[0], 7), mode=XCHACHA, key=other_key)
        new = listen(receiver, [Arrival(0, datagram)], first_tick=41, ticks=5)

        assert (frames_with(7, old), frames_with(7, new)) == (0, 4)
        assert receiver.statistics().unauthentic == 10


def test_before_a_session_everything_is_counted_and_dropped() -> None:
    with Receiver() as receiver:
        receiver.set_heard({7})
        receiver.speaking(1_007, 7)
        listen(receiver, talk(7), ticks=70)

        assert receiver.statistics() == ReceiverStatistics(datagrams=55, no_session=55, users={7: SpeakerStatistics()})


@pytest.mark.parametrize(("mode", "key"), [("xsalsa20_poly1305", KEY), (AES, bytes(16))])
def test_a_session_that_cannot_be_is_our_own_fault_and_leaves_the_present_one(mode: str, key: bytes) -> None:
    with joined_receiver(7) as receiver:
        with pytest.raises(LocalProtocolError):
            receiver.connected(mode, key)

        assert frames_with(7, listen(receiver, talk(7), ticks=70)) == 50


def test_closing_ends_everything_and_may_be_repeated() -> None:
    receiver = joined_receiver(7)
    listen(receiver, talk(7)[:20], ticks=21)

    receiver.close()
    receiver.close()

    listen(receiver, talk(7)[:1], ticks=2)
    assert receiver.frame(1.0).speakers == frozenset()
    assert receiver.statistics() == ReceiverStatistics(
        datagrams=21, no_session=1, total=SpeakerStatistics(received=20, decoded=19, depth_frames=2)
    )


# Everything else that comes in


def test_each_kind_of_junk_has_its_counter_and_none_is_heard() -> None:
    junk = [
        bytes(8),
        b"\x00\x02\x00\x46" + bytes(70),
        b"noise",
        b"",
        *(bytes([0x80, kind]) + bytes(40) for kind in range(200, 205)),
        seal(rtp_header(second_byte=101, ssrc=1_007), b"video"),
        audio(b"x", ssrc=1_007, key=bytes(32)),
        audio(b"x" * 90, ssrc=1_007)[:-1],
        seal(rtp_header(ssrc=1_007, extension_words=9), b"short"),
    ]

    with joined_receiver(7) as receiver:
        heard = listen(receiver, [Arrival(0, datagram) for datagram in junk], ticks=10)

        assert not any(mixed.speakers for mixed in heard)
        assert receiver.statistics() == ReceiverStatistics(
            datagrams=13,
            not_rtp=4,
            rtcp=5,
            not_audio=1,
            unauthentic=2,
            malformed=1,
            users={7: SpeakerStatistics()},
        )


def test_what_is_still_encrypted_never_reaches_opus() -> None:
    frames = [
        audio(locked(packet, 8), sequence=place, timestamp=960 * place, ssrc=1_007)
        for place, packet in enumerate(tone_packets(1.0))
    ]

    with joined_receiver(7) as receiver:
        heard = listen(receiver, [Arrival(20.0 * place, frame) for place, frame in enumerate(frames)], ticks=60)

        assert all(mixed.is_silent and not mixed.speakers for mixed in heard)
        assert receiver.statistics().users[7] == SpeakerStatistics(received=50, undecryptable=50)


def test_clear_frames_in_an_encrypted_call_are_counted_and_dropped() -> None:
    with joined_receiver(7) as receiver:
        for number, packet in enumerate(tone_packets(1.0)):
            receiver.push(audio(packet, sequence=number, ssrc=1_007), arrived_seconds=0, open_frame=unlock)

        assert receiver.frame(0).is_silent
        assert receiver.statistics().users[7] == SpeakerStatistics(received=50, unencrypted=50)


# Limits


def test_a_room_too_full_turns_the_newest_away_until_somebody_is_silent() -> None:
    users = range(SPEAKER_LIMIT)
    talking = {user: talk(user, is_ended=False) for user in range(SPEAKER_LIMIT + 2)}

    with joined_receiver(*users) as receiver:
        receiver.set_heard(talking)
        listen(receiver, [talking[user][0] for user in users], ticks=3)
        receiver.speaking(1_000 + SPEAKER_LIMIT, SPEAKER_LIMIT)
        assert receiver.statistics().crowded == 1
        assert set(receiver.statistics().users) == set(users)
        listen(receiver, [talking[user][1] for user in users if user != 3], first_tick=3, ticks=4)
        receiver.speaking(1_001 + SPEAKER_LIMIT, SPEAKER_LIMIT + 1)

        assert receiver.statistics().crowded == 1
        assert set(receiver.statistics().users) == {*users, SPEAKER_LIMIT + 1} - {3}
        assert receiver.statistics().total.received == 2 * SPEAKER_LIMIT - 1


def test_memory_stays_bounded_whatever_is_sent() -> None:
    chance = random.Random(2)

    def flood(receiver: Receiver, packets: int) -> None:
        for number in range(packets):
            user = chance.randrange(400)
            receiver.speaking(1_000 + user, user)
            datagram = audio(bytes(900), sequence=chance.randrange(2**16), ssrc=1_000 + chance.randrange(800))
            receiver.push(datagram, arrived_seconds=0, open_frame=lambda user_id, frame: b"\xf8" + frame)
            if number % 200 == 0:
                receiver.frame(0)

    with joined_receiver() as receiver:
        receiver.set_heard(range(400))
        flood(receiver, 4_000)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        flood(receiver, 4_000)
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()

        assert len(receiver.statistics().users) <= SPEAKER_LIMIT
        assert grown < SPEAKER_LIMIT * 30_000


def test_two_thousand_people_who_came_and_went_leave_nothing_behind() -> None:
    words = talk(7, seconds=0.06)
    process = psutil.Process()

    def come_and_go(receiver: Receiver, times: int) -> None:
        for _ in range(times):
            receiver.speaking(1_007, 7)
            listen(receiver, words, ticks=9)
            receiver.left(7)

    with joined_receiver(7) as receiver:
        come_and_go(receiver, 300)
        before_bytes = process.memory_info().rss
        come_and_go(receiver, 2_000)
        grown_bytes = process.memory_info().rss - before_bytes

    assert grown_bytes < 10e6  # the decoders alone would be 40 MB


def test_skipped_ticks_are_left_out_and_add_no_delay() -> None:
    arrivals = talk(7, seconds=3)

    with joined_receiver(7) as receiver:
        before = listen(receiver, arrivals[:50], ticks=51)
        receiver.skip(4)
        after = listen(receiver, arrivals[50:], first_tick=55, ticks=120)

    assert max(waits_ms(before)) == pytest.approx(35)
    late = [
        (55 + place) * TICK_MS - mixed.arrived_seconds * 1000 for place, mixed in enumerate(after) if mixed.speakers
    ]
    assert max(late) == pytest.approx(35)
    assert frames_with(7, before) + frames_with(7, after) == 150 - 4


@dataclass(frozen=True)
class Event:
    """Something that happens to a receiver; the numbers and bytes mean what its kind makes of them."""

    kind: str
    one: int
    other: int
    data: bytes


EVENTS = st.builds(
    Event,
    st.sampled_from(["audio"] * 5 + ["junk", "speaking", "left", "heard", "connected", "frame", "frame", "skip"]),
    st.integers(0, 4),
    st.integers(0, 4) | st.integers(0, 2**16 - 1),
    st.binary(max_size=60),
)


def happen(receiver: Receiver, event: Event, now_seconds: float) -> None:
    match event.kind:
        case "audio":
            datagram = audio(event.data, sequence=event.other, timestamp=960 * event.other, ssrc=event.one)
            receiver.push(datagram, arrived_seconds=now_seconds, open_frame=lambda user_id, frame: frame[1:])
        case "junk":
            receiver.push(event.data, arrived_seconds=now_seconds, open_frame=unlock)
        case "speaking":
            receiver.speaking(event.one, event.other % 5)
        case "left":
            receiver.left(event.one)
        case "heard":
            receiver.set_heard(set(event.data))
        case "connected":
            receiver.connected(AES, KEY)
        case "frame":
            mixed = receiver.frame(now_seconds)
            assert mixed.samples.size == UPLINK_FRAME_SAMPLES
            assert np.abs(mixed.samples).max() <= 1
        case "skip":
            receiver.skip(event.other % 300)


@given(st.lists(EVENTS, max_size=80))
def test_whatever_happens_every_datagram_is_accounted_for(events: list[Event]) -> None:
    with joined_receiver(0, 1, 2, 3) as receiver:
        for number, event in enumerate(events):
            happen(receiver, event, number / 50)
        receiver.frame(1_000.0)  # nothing is held any longer

        counts = receiver.statistics()

    assert counts.datagrams == sum(event.kind in ("audio", "junk") for event in events)
    assert counts.datagrams == dropped(counts) + counts.total.received


def clear(user_id: int, frame: bytes) -> bytes:
    """Open what anybody sends, as in a call without end-to-end encryption."""
    return frame[1:]


def key_of(owner_id: int) -> OpenFrame:
    """Return what opens frames of one user only, and each of them once, as keys of DAVE do."""
    opened: set[bytes] = set()

    def open_frame(user_id: int, frame: bytes) -> bytes:
        if user_id != owner_id or frame in opened:
            raise FrameRefused(Refusal.UNDECRYPTABLE)
        opened.add(frame)
        return unlock(user_id, frame)

    return open_frame


def hear_unnamed(receiver: Receiver, arrivals: Sequence[Arrival], open_frame: OpenFrame) -> list[Mixed]:
    """Return the frames of a talk whose user Discord does not name."""
    heard = []
    for tick in range(len(arrivals) + 20):
        if tick < len(arrivals):
            receiver.push(arrivals[tick].datagram, arrived_seconds=tick / 50, open_frame=open_frame)
        heard.append(receiver.frame(tick / 50))
    return heard


def test_who_talks_since_before_the_bot_came_is_known_by_the_key() -> None:
    with joined_receiver() as receiver:
        receiver.set_heard({6, 7, 8})
        heard = hear_unnamed(receiver, talk(7)[:40], key_of(7))
        counts = receiver.statistics()

    assert counts.identified == 1
    assert counts.users[7].received == 40
    assert counts.users[7].undecryptable == 0, "the packet that told it is not opened twice"
    assert {user for mixed in heard for user in mixed.speakers} == {7}
    assert counts.unclaimed == 0


def test_a_bot_that_discord_has_not_named_is_known_by_its_key_and_not_heard() -> None:
    with Receiver(group=lambda: frozenset((7, 99))) as receiver:
        receiver.connected(AES, KEY)
        receiver.set_heard({8})
        heard = hear_unnamed(receiver, talk(7)[:40], key_of(7))
        counts = receiver.statistics()

    assert not any(mixed.speakers for mixed in heard)
    assert counts.unclaimed == 0, "nobody need think that a person is not heard"
    assert counts.unheard == 40


def test_without_keys_nobody_is_guessed_among_several() -> None:
    with joined_receiver() as receiver:
        receiver.set_heard({7, 8})
        hear_unnamed(receiver, talk(7)[:40], clear)

        assert receiver.statistics().identified == 0


def test_without_keys_the_only_one_it_can_be_is_taken() -> None:
    with joined_receiver(8) as receiver:
        receiver.set_heard({7, 8})
        hear_unnamed(receiver, talk(7)[:40], clear)

        assert receiver.statistics().users[7].received == 40


def test_without_keys_an_ssrc_is_most_likely_whose_it_was_on_the_connection_before() -> None:
    with joined_receiver(7, 8) as receiver:
        listen(receiver, talk(7)[:5], ticks=10)
        receiver.connected(AES, KEY)
        hear_unnamed(receiver, talk(7)[5:40], clear)

        assert receiver.statistics().users[7].received == 35


def test_silence_says_nothing_of_whose_it_is() -> None:
    with joined_receiver() as receiver:
        receiver.set_heard({7})
        hear_unnamed(receiver, talk(7)[-5:], clear)

        assert receiver.statistics().identified == 0


def test_somebody_who_is_said_to_have_left_and_talks_on_is_heard_again() -> None:
    with joined_receiver(7) as receiver:
        receiver.left(7)
        hear_unnamed(receiver, talk(7, seconds=3.0)[:140], key_of(7))

        assert receiver.statistics().users[7].received > 60
