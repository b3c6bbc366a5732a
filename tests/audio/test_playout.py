"""The playout buffer: what comes in shaken comes out even, and what waits too long does not stay.

Packets are real ones, as PersonaPlex sends them; time is counted in milliseconds from the first packet.
"""

import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from plexbridge.audio.opus import Application, Decoder, Encoder, EncoderSettings
from plexbridge.audio.pcm import MODEL_RATE_HZ, PEOPLE_FRAME_SAMPLES, PEOPLE_RATE_HZ, Samples, level_dbfs, silence
from plexbridge.audio.playout import CAPACITY_SECONDS, Played, Playout, PlayoutStatistics

HELLO = Path(__file__).parents[2] / "docs" / "hello.wav"
SPHN = EncoderSettings(Application.VOIP, complexity=5, bitrate_bps=26_000)
"""What PersonaPlex' server encodes with, at less effort."""
SPHN_LAG_SAMPLES = 312
PACKET_MS = 80
PER_MS = PEOPLE_RATE_HZ // 1000
CLICK_RATIO = 1.5


@cache
def speech() -> Samples:
    return np.asarray(soundfile.read(HELLO, dtype="float32")[0], np.float32)


@cache
def babble() -> Samples:
    """Return speech without a pause: every 20 ms of the recording that is loud, joined."""
    frames = speech()[: speech().size // 480 * 480].reshape(-1, 480)
    return frames[[level_dbfs(frame) > -30 for frame in frames]].ravel()


def encode(samples: Samples, *, packet_ms: float = PACKET_MS) -> list[bytes]:
    size = round(packet_ms * MODEL_RATE_HZ / 1000)
    with Encoder(rate_hz=MODEL_RATE_HZ, settings=SPHN) as encoder:
        return [encoder.encode(samples[start : start + size]) for start in range(0, samples.size - size + 1, size)]


@cache
def speech_packets() -> tuple[bytes, ...]:
    return tuple(encode(speech()))


@cache
def babble_packets() -> tuple[bytes, ...]:
    return tuple(encode(babble()))


def decode(packets: Iterable[bytes]) -> Samples:
    with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
        return np.concatenate([decoder.decode(packet) for packet in packets])


def largest_step(samples: Samples) -> float:
    return float(np.abs(np.diff(samples)).max())


@contextmanager
def open_playout(*, minimum_seconds: float = 0.02, maximum_seconds: float = 0.12) -> Iterator[Playout]:
    with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
        yield Playout(decoder, minimum_seconds=minimum_seconds, maximum_seconds=maximum_seconds)


@dataclass(frozen=True)
class Arrival:
    """One packet and when it comes."""

    at_ms: float
    packet: bytes
    lost_packets: int = 0


@dataclass(frozen=True)
class Heard:
    """What came out at every tick, and the books afterwards."""

    frames: Sequence[Played]
    books: Sequence[PlayoutStatistics]

    @property
    def samples(self) -> Samples:
        return np.concatenate([frame.samples for frame in self.frames])

    @property
    def end(self) -> PlayoutStatistics:
        return self.books[-1]

    @property
    def waits_ms(self) -> list[int]:
        """How long each packet waited, in the order of playing; packets carry the time of their arrival."""
        return [
            round(20 * tick - 1000 * arrived_seconds)
            for tick, frame in enumerate(self.frames)
            for arrived_seconds in frame.message_arrivals
        ]


def listen(playout: Playout, arrivals: Iterable[Arrival], *, ticks: int, is_model_slow: bool = False) -> Heard:
    """Push every packet when its time has come, and pop a frame every 20 ms."""
    frames: list[Played] = []
    books: list[PlayoutStatistics] = []
    coming = sorted(arrivals, key=lambda arrival: arrival.at_ms)
    for tick in range(ticks):
        while coming and coming[0].at_ms <= 20 * tick:
            arrival = coming.pop(0)
            playout.push(arrival.packet, arrived_seconds=arrival.at_ms / 1000, lost_packets=arrival.lost_packets)
        frames.append(playout.pop(is_model_slow=is_model_slow))
        books.append(playout.statistics())
    return Heard(frames, books)


def evenly(packets: Iterable[bytes], *, start_ms: float = 0, every_ms: float = PACKET_MS) -> list[Arrival]:
    return [Arrival(start_ms + number * every_ms, packet) for number, packet in enumerate(packets)]


def late(arrivals: Iterable[Arrival], late_ms: dict[int, float]) -> list[Arrival]:
    """Return the arrivals with the numbered ones late; those behind them can't overtake them, as on a TCP stream."""
    delayed: list[Arrival] = []
    for number, arrival in enumerate(arrivals):
        at_ms = arrival.at_ms + late_ms.get(number, 0)
        delayed.append(Arrival(max(at_ms, delayed[-1].at_ms if delayed else 0), arrival.packet))
    return delayed


def shed_samples(books: PlayoutStatistics) -> int:
    cut = books.shed_silence_samples + books.shed_standing_samples + books.shed_burst_samples + books.shed_late_samples
    return cut + books.shed_flushed_samples


def early(arrivals: Iterable[Arrival], early_ms: float) -> list[Arrival]:
    """Return the arrivals that much earlier, none before the start: so much of the stream has come too soon."""
    return [Arrival(max(0, arrival.at_ms - early_ms), arrival.packet) for arrival in arrivals]


def unaccounted_samples(books: PlayoutStatistics, *, frames: int) -> int:
    came_in = books.pushed_samples + books.primed_samples + books.concealed_samples + books.silent_samples
    return came_in - frames * PEOPLE_FRAME_SAMPLES - shed_samples(books) - books.depth_samples


# The even stream


def test_bursts_of_80_ms_come_out_even_at_one_constant_lag() -> None:
    packets = speech_packets()
    clean = decode(packets)

    with open_playout() as playout:
        heard = listen(playout, evenly(packets), ticks=4 * len(packets))

    lag = 20 * PER_MS
    fade = 5 * PER_MS
    assert not heard.samples[:lag].any()
    np.testing.assert_array_equal(heard.samples[lag + fade :], clean[fade:-lag])
    assert heard.waits_ms == [20] * len(packets)
    assert (heard.end.underruns, heard.end.concealed_samples, shed_samples(heard.end)) == (0, 0, 0)


@pytest.mark.parametrize("packet_ms", [2.5, 20, 40, 120])
def test_other_packet_lengths_come_out_as_evenly(packet_ms: float) -> None:
    packets = encode(speech()[: 2 * MODEL_RATE_HZ], packet_ms=packet_ms)
    clean = decode(packets)

    with open_playout() as playout:
        heard = listen(playout, evenly(packets, every_ms=packet_ms), ticks=95)

    lag = 20 * PER_MS
    np.testing.assert_array_equal(heard.samples[lag + 240 :], clean[240 : heard.samples.size - lag])
    assert heard.end.underruns == 0


@pytest.mark.parametrize(
    ("late_ms", "underruns", "target_ms"),
    [
        ({}, 0, 20),
        ({10: 20}, 0, 20),  # as late as the target allows
        ({10: 21}, 1, 40),  # played one tick later
        ({10: 60}, 1, 40),
        ({10: 60, 30: 60}, 1, 40),  # the gap has made the stream late enough for the second
        ({10: 40, 30: 80}, 2, 60),
        ({10: 200}, 1, 40),  # one gap is one underrun, however long
        ({number: 20.0 * (number % 2) for number in range(80)}, 0, 20),
        ({number: 60.0 * (number % 3) for number in range(80)}, 2, 60),
    ],
)
def test_only_packets_later_than_any_before_them_are_missed(
    late_ms: dict[int, float], underruns: int, target_ms: int
) -> None:
    arrivals = late(evenly(babble_packets()[:60]), late_ms)

    with open_playout() as playout:
        heard = listen(playout, arrivals, ticks=4 * 60 - 4)

    assert heard.end.underruns == underruns
    assert heard.end.target_samples == target_ms * PER_MS


def test_the_target_grows_to_its_maximum_and_shrinks_by_a_frame_after_every_30_clean_seconds() -> None:
    packets = [speech_packets()[0]] * 2500
    worse_and_worse = {number: 25.0 * number for number in range(1, 8)}

    with open_playout() as playout:
        heard = listen(playout, late(evenly(packets), worse_and_worse), ticks=10_000)

    targets_ms = [books.target_samples // PER_MS for books in heard.books]
    changes = [tick for tick, (before, after) in enumerate(pairwise(targets_ms), start=1) if before != after]
    assert max(targets_ms) == 120
    assert [targets_ms[tick] for tick in changes] == [40, 60, 80, 100, 120, 100, 80, 60, 40, 20]
    assert np.diff(changes[5:]).tolist() == [1500] * 4
    assert targets_ms[-1] == 20
    assert heard.end.depth_samples <= (20 + PACKET_MS) * PER_MS


def test_the_clean_time_is_counted_from_the_last_underrun() -> None:
    packets = [speech_packets()[0]] * 700

    with open_playout() as playout:
        heard = listen(playout, late(evenly(packets), {250: 60}), ticks=2600)

    underrun = next(tick for tick, books in enumerate(heard.books) if books.underruns)
    assert heard.books[underrun].target_samples == 40 * PER_MS
    assert heard.books[underrun + 1498].target_samples == 40 * PER_MS
    assert heard.books[underrun + 1499].target_samples == 20 * PER_MS


@pytest.mark.parametrize(("minimum_seconds", "samples"), [(0.0, 0), (0.02, 960), (0.026, 1440), (0.1, 4800)])
def test_the_target_starts_at_the_minimum_to_the_nearest_10_ms(minimum_seconds: float, samples: int) -> None:
    with open_playout(minimum_seconds=minimum_seconds) as playout:
        assert playout.statistics().target_samples == samples


# Giving depth back


def test_depth_is_given_back_in_silence_and_speech_is_untouched() -> None:
    talk = babble()[: 24 * 1920]
    packets = encode(np.concatenate((talk, silence(12 * 1920), talk)))
    clean = decode(packets)

    with open_playout() as playout:
        heard = listen(playout, early(evenly(packets), 60), ticks=4 * len(packets) - 20)

    before, after = 20 * PER_MS, -40 * PER_MS  # where clean audio is in what was heard
    assert heard.end.shed_silence_samples == before - after
    assert shed_samples(heard.end) == before - after
    for start, end, lag in ((3840, 24 * 3840, before), (36 * 3840, 54 * 3840, after)):
        np.testing.assert_array_equal(heard.samples[start + lag : end + lag], clean[start:end])


# Words that begin right behind a frame's start must not be reached by the fade behind a cut either.
@pytest.mark.parametrize("offset_samples", [0, 106])
def test_in_short_pauses_depth_is_given_back_by_single_frames_and_no_word_is_cut(offset_samples: int) -> None:
    words = np.tile(babble()[: 60 * 1440], 2).reshape(-1, 2880)
    words[:, 1440:] = 0  # 60 ms of speech, 60 ms of pause: less than the surplus and its fade
    packets = encode(words.ravel()[offset_samples:])
    clean = decode(packets)

    with open_playout() as playout:
        heard = listen(playout, early(evenly(packets), 60), ticks=200)

    lags = [lag_ms * PER_MS for lag_ms in (20, 0, -20, -40)]
    found = [
        [np.array_equal(heard.samples[start + lag :][:2880], clean[start : start + 2880]) for lag in lags]
        for start in range(5760 + SPHN_LAG_SAMPLES - 2 * offset_samples, 30 * 5760, 5760)
    ]
    assert heard.end.shed_silence_samples == lags[0] - lags[-1]
    assert shed_samples(heard.end) == heard.end.shed_silence_samples
    assert [word.count(True) for word in found] == [1] * len(found)
    places = [word.index(True) for word in found]
    assert places == sorted(places)
    assert len(set(places)) > 2


@pytest.mark.parametrize(("extra_ms", "is_cut"), [(20, False), (40, False), (60, False), (80, True), (160, True)])
def test_speech_is_cut_only_for_a_standing_depth_above_60_ms(extra_ms: int, is_cut: bool) -> None:
    packets = encode(babble()[: 40 * 1920], packet_ms=20)

    with open_playout() as playout:
        heard = listen(playout, early(evenly(packets, every_ms=20), extra_ms), ticks=100)

    assert heard.end.shed_standing_samples == is_cut * extra_ms * PER_MS
    assert shed_samples(heard.end) == heard.end.shed_standing_samples
    assert heard.books[24].shed_standing_samples == 0
    assert heard.waits_ms[-1] == (20 if is_cut else 20 + extra_ms)
    assert largest_step(heard.samples) <= CLICK_RATIO * largest_step(decode(packets))


def test_a_hundred_packets_at_once_are_shed_to_the_newest_which_is_not_late() -> None:
    packets = (babble_packets() * 2)[:100]
    flood = [Arrival(19 + number / 100, packet) for number, packet in enumerate(packets, start=1)]

    with open_playout() as playout:
        heard = listen(playout, flood, ticks=6)

    assert [frame.message_arrivals for frame in heard.frames] == [(), (), (0.02,), (), (), ()]
    assert heard.end.shed_burst_samples == 99 * 3840
    np.testing.assert_array_equal(heard.samples[2 * 960 :], decode(packets)[-3840:])


def test_a_flood_while_playing_goes_at_the_next_tick() -> None:
    packets = babble_packets()
    flood = [Arrival(800, packet) for packet in packets[10:20]]
    then = evenly(packets[20:40], start_ms=880)

    with open_playout() as playout:
        heard = listen(playout, [*evenly(packets[:10]), *flood, *then], ticks=100)

    assert heard.books[40].depth_samples == (20 + PACKET_MS - 20) * PER_MS
    assert heard.end.shed_burst_samples == 9 * 3840
    assert heard.waits_ms[-15:] == [20] * 15
    assert largest_step(heard.samples) <= CLICK_RATIO * largest_step(decode(packets))


def test_memory_is_bounded_when_nothing_is_played() -> None:
    packets = babble_packets()

    with open_playout() as playout:
        tracemalloc.start()
        for number in range(2000):
            playout.push(packets[number % len(packets)], arrived_seconds=0.08 * number)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        books = playout.statistics()

    assert books.depth_samples <= CAPACITY_SECONDS * PEOPLE_RATE_HZ
    assert unaccounted_samples(books, frames=0) == 0
    assert peak_bytes < 1_000_000


def test_what_missed_ticks_should_have_played_is_thrown_away() -> None:
    packets = babble_packets()
    clean = decode(packets[:6])

    with open_playout() as playout:
        for number in range(3):
            playout.push(packets[number], arrived_seconds=0.0)
        first = playout.pop()
        playout.discard(5)
        second = playout.pop()
        books = playout.statistics()

    assert not first.samples.any()
    assert books.shed_late_samples == 5 * 960
    np.testing.assert_array_equal(second.samples[240:], clean[5 * 960 : 6 * 960][240:])
    assert largest_step(np.concatenate((first.samples, second.samples))) <= CLICK_RATIO * largest_step(clean)
    assert unaccounted_samples(books, frames=2) == 0


def test_a_discard_of_more_than_there_is_leaves_no_click() -> None:
    packets = babble_packets()
    limit = CLICK_RATIO * largest_step(decode(packets))

    for number in range(2, len(packets)):
        with open_playout() as playout:
            frames = listen(playout, evenly(packets[:number]), ticks=4 * number - 2).frames
            playout.discard(1_000_000)
            rest = [playout.pop() for _ in range(5)]
            books = playout.statistics()

        assert largest_step(np.concatenate([frame.samples for frame in (*frames, *rest)])) <= limit
        assert not rest[-1].samples.any()
        assert books.shed_late_samples == 2 * 960


def test_nothing_is_discarded_where_nothing_waits() -> None:
    with open_playout() as playout:
        playout.discard(50)

        assert shed_samples(playout.statistics()) == 0


def test_a_discard_is_not_followed_by_a_cut_for_depth_that_it_has_removed() -> None:
    packets = encode(silence(40 * 1920), packet_ms=20)
    arrivals = early(evenly(packets, every_ms=20), 100)

    with open_playout() as playout:
        listen(playout, arrivals, ticks=24)
        playout.discard(5)
        playout.push(packets[29], arrived_seconds=0.48)
        playout.pop()
        playout.pop()
        books = playout.statistics()

    assert books.shed_late_samples == 5 * 960
    assert shed_samples(books) == books.shed_late_samples
    assert books.underruns == 0


# Barge-in


def test_the_rest_of_an_answer_that_is_over_is_muted_with_a_fade_and_the_depth_stays() -> None:
    packets = encode(np.concatenate((babble()[:1920], silence(3 * 1920))))
    clean = decode(packets)

    with open_playout() as playout:
        for packet in packets[:3]:
            playout.push(packet, arrived_seconds=0.0)
        heard = [playout.pop().samples for _ in range(3)]
        assert not playout.has_fallen_silent, "that could be a pause"
        playout.push(packets[3], arrived_seconds=0.06)
        assert playout.has_fallen_silent
        depth_samples = playout.statistics().depth_samples
        playout.flush()
        books = playout.statistics()
        heard += [playout.pop().samples for _ in range(6)]

    played = np.concatenate(heard)
    assert level_dbfs(played[2 * 960 : 3 * 960]) > -40, "it was speaking"
    assert not played[3 * 960 + 240 : 4 * 960].any()
    assert level_dbfs(played[3 * 960 + 240 :]) < -50
    assert largest_step(played) <= CLICK_RATIO * largest_step(clean)
    assert books.depth_samples == depth_samples
    assert 20 * PER_MS < books.shed_flushed_samples <= 60 * PER_MS
    assert unaccounted_samples(books, frames=3) == 0


def test_an_answer_that_goes_on_has_not_fallen_silent() -> None:
    with open_playout() as playout:
        for packet in babble_packets()[:3]:
            playout.push(packet, arrived_seconds=0.0)

        assert not playout.has_fallen_silent


def test_silence_with_nothing_before_it_is_no_end_of_an_answer() -> None:
    with open_playout() as playout:
        assert not playout.has_fallen_silent
        for packet in encode(silence(4 * 1920)):
            playout.push(packet, arrived_seconds=0.0)

        assert not playout.has_fallen_silent
        playout.flush()
        assert playout.statistics().shed_flushed_samples == 0


def test_speech_right_behind_what_was_muted_fades_in() -> None:
    packets = babble_packets()
    limit = CLICK_RATIO * largest_step(decode(packets))

    with open_playout() as playout:
        frames = []
        for number, packet in enumerate(packets):
            playout.push(packet, arrived_seconds=0.08 * number)
            if number % 3 == 1:
                playout.flush()
            frames += [playout.pop().samples for _ in range(4)]
        books = playout.statistics()

    assert largest_step(np.concatenate(frames)) <= limit
    assert unaccounted_samples(books, frames=len(frames)) == 0
    assert books.shed_flushed_samples > 10 * 3840


# Gaps


def test_a_gap_is_concealed_then_faded_then_silent() -> None:
    packets = babble_packets()[:20]

    with open_playout() as playout:
        heard = listen(playout, evenly(packets), ticks=4 * 20 + 8)

    gap = heard.samples.reshape(-1, 960)[4 * 20 + 1 :]
    levels = [float(np.abs(frame).max()) for frame in gap]
    assert levels[0] > 0.05
    assert levels[1] > 0.01
    assert 0 < float(np.abs(gap[2][-48:]).max()) < 0.1 * levels[0]
    assert gap[2][-1] == 0
    assert not gap[3:].any()
    assert heard.end.underruns == 1
    assert heard.end.concealed_samples == 3 * 960
    assert heard.end.silent_samples == 4 * 960


def test_no_gap_clicks_wherever_it_begins_and_however_long_it_is() -> None:
    packets = babble_packets()
    limit = CLICK_RATIO * largest_step(decode(packets))

    for gap_ms in (20, 40, 60, 80, 100, 300):
        for first in range(1, 12):
            arrivals = late(evenly(packets), dict.fromkeys(range(first, len(packets), 12), float(gap_ms) + 20))
            with open_playout() as playout:
                heard = listen(playout, arrivals, ticks=4 * len(packets) + 20)

            assert largest_step(heard.samples) <= limit


@pytest.mark.parametrize("minimum_seconds", [0.0, 0.02, 0.025, 0.05])
def test_a_shaken_stream_never_clicks(minimum_seconds: float) -> None:
    packets = speech_packets()
    limit = CLICK_RATIO * largest_step(decode(packets))

    for seed in range(6):
        jitter_ms = np.random.default_rng(seed).exponential(10 + 15 * seed, len(packets))
        arrivals = late(evenly(packets), dict(enumerate(jitter_ms)))
        with open_playout(minimum_seconds=minimum_seconds) as playout:
            heard = listen(playout, arrivals, ticks=4 * len(packets) + 50)

        assert largest_step(heard.samples) <= limit
        assert unaccounted_samples(heard.end, frames=len(heard.frames)) == 0


def test_out_of_silence_a_packet_waits_for_the_target_and_fades_in() -> None:
    packets = babble_packets()[:6]
    arrivals = [*evenly(packets[:3]), *evenly(packets[3:], start_ms=1000)]

    with open_playout() as playout:
        heard = listen(playout, arrivals, ticks=62)

    again = heard.samples.reshape(-1, 960)[50:]
    assert heard.books[49].target_samples == 40 * PER_MS
    assert not again[:2].any()
    assert again[2][0] == 0
    assert 0 < float(np.abs(again[2][:24]).max()) < 0.25 * float(np.abs(again[2]).max())
    assert heard.waits_ms[3:] == [40] * 3
    assert heard.end.primed_samples == (20 + 40) * PER_MS


# A slow model


def test_a_slow_model_never_raises_the_target_and_leaves_little_waiting() -> None:
    packets = (speech_packets() * 3)[:300]
    arrivals = evenly(packets, every_ms=PACKET_MS / 0.95)

    with open_playout() as playout:
        heard = listen(playout, arrivals, ticks=1260, is_model_slow=True)

    assert {books.target_samples for books in heard.books} == {20 * PER_MS}
    assert max(books.depth_samples for books in heard.books) <= (20 + PACKET_MS - 20) * PER_MS
    assert max(heard.waits_ms) <= 20
    assert 50 <= heard.end.underruns <= 70
    assert shed_samples(heard.end) == 0


def test_the_same_stream_raises_the_target_when_the_model_is_not_known_to_be_slow() -> None:
    arrivals = evenly(speech_packets(), every_ms=PACKET_MS / 0.95)

    with open_playout() as playout:
        heard = listen(playout, arrivals, ticks=400)

    assert heard.end.target_samples == 120 * PER_MS


def test_a_long_spell_of_slowness_does_not_keep_the_target_up() -> None:
    packets = [speech_packets()[0]] * 600

    with open_playout() as playout:
        listen(playout, evenly(packets[:5]), ticks=30)
        before = playout.statistics().target_samples
        heard = listen(playout, evenly(packets, every_ms=PACKET_MS / 0.5), ticks=1500, is_model_slow=True)

    assert before == 40 * PER_MS
    assert heard.end.target_samples == 20 * PER_MS


# Loss and damage


@pytest.mark.parametrize("minimum_seconds", [0.02, 0.04, 0.06, 0.08, 0.12])
@pytest.mark.parametrize("lost", [1, 2, 3])
def test_lost_packets_are_concealed_and_add_no_delay(minimum_seconds: float, lost: int) -> None:
    packets = babble_packets()
    arrivals = evenly(packets)
    arrivals[20 : 21 + lost] = [Arrival(arrivals[20 + lost].at_ms, packets[20 + lost], lost_packets=lost)]

    with open_playout(minimum_seconds=minimum_seconds) as playout:
        heard = listen(playout, arrivals, ticks=4 * 40)

    came_back = 20  # of the packets that came at all, the number of the first behind the gap
    assert heard.end.lost_packets == lost
    assert heard.waits_ms[:came_back] == [minimum_seconds * 1000] * came_back
    # Only when the gap was given up, and silence was played, does the stream wait for the raised target.
    is_given_up = lost * PACKET_MS - minimum_seconds * 1000 >= 60
    grown_ms = min(120, minimum_seconds * 1000 + 20)
    assert heard.waits_ms[came_back] == (grown_ms if is_given_up else minimum_seconds * 1000)
    assert largest_step(heard.samples) <= CLICK_RATIO * largest_step(decode(packets))
    assert unaccounted_samples(heard.end, frames=len(heard.frames)) == 0


@pytest.mark.parametrize("damage", [b"", b"\xff\xff", b"\x03"])
def test_a_damaged_packet_is_concealed_in_its_place(damage: bytes) -> None:
    packets = babble_packets()
    arrivals = evenly([*packets[:20], damage, *packets[21:]])

    with open_playout() as playout:
        heard = listen(playout, arrivals, ticks=4 * 40)

    assert heard.end.damaged_packets == 1
    assert heard.end.concealed_samples == PACKET_MS * PER_MS
    assert heard.end.underruns == 0
    assert set(heard.waits_ms) == {20}
    assert largest_step(heard.samples) <= CLICK_RATIO * largest_step(decode(packets))


def test_an_endless_run_of_damaged_packets_ends_in_silence() -> None:
    packets = babble_packets()

    with open_playout() as playout:
        heard = listen(playout, evenly([*packets[:5], *[b""] * 20]), ticks=100)

    # Three packets in a row, and the gap behind them.
    assert heard.end.concealed_samples == (3 * PACKET_MS + 60) * PER_MS
    assert heard.end.damaged_packets == 20
    assert not heard.samples[-50 * 960 :].any()


def test_losses_that_do_not_follow_each_other_are_all_concealed() -> None:
    packets = [b"" if number % 2 else packet for number, packet in enumerate(babble_packets()[:40])]

    with open_playout() as playout:
        heard = listen(playout, evenly(packets), ticks=4 * 40)

    assert heard.end.concealed_samples == 20 * PACKET_MS * PER_MS
    assert set(heard.waits_ms) == {20}


def test_a_gap_is_bridged_once_and_counts_for_no_later_loss() -> None:
    packets = babble_packets()
    arrivals = late(evenly(packets), {5: 60})
    arrivals[20:22] = [Arrival(arrivals[21].at_ms, packets[21], lost_packets=1)]

    with open_playout(minimum_seconds=0.04) as playout:
        heard = listen(playout, arrivals, ticks=4 * 40)

    # The late packet left a gap of 20 ms, and so much more depth; the lost one is concealed for all of its 80 ms.
    assert heard.end.concealed_samples == (20 + PACKET_MS) * PER_MS
    assert set(heard.waits_ms[6:]) == {60}


def test_what_a_gap_has_bridged_counts_for_one_of_two_losses_in_it() -> None:
    packets = babble_packets()
    arrivals = evenly(packets)
    # Two lost and one damaged: 240 ms are missing, of which 40 are bridged before anything comes.
    arrivals[20:24] = [
        Arrival(arrivals[22].at_ms, b"", lost_packets=1),
        Arrival(arrivals[22].at_ms, packets[23], lost_packets=1),
    ]

    with open_playout(minimum_seconds=0.12) as playout:
        heard = listen(playout, arrivals, ticks=4 * 40)

    assert heard.end.concealed_samples == 3 * PACKET_MS * PER_MS
    assert set(heard.waits_ms[:20] + heard.waits_ms[21:]) == {120}


def test_damage_before_any_audio_is_only_counted() -> None:
    with open_playout() as playout:
        returned = [playout.push(b"", arrived_seconds=0.0, lost_packets=4) for _ in range(5)]
        frame = playout.pop()
        books = playout.statistics()

    assert returned == [0] * 5
    assert (books.damaged_packets, books.lost_packets, books.concealed_samples) == (5, 20, 0)
    assert not frame.samples.any()
    assert frame.arrived_seconds is None


def test_push_says_how_much_of_the_model_a_packet_stands_for() -> None:
    packet, *_ = speech_packets()
    short, *_ = encode(speech()[:480], packet_ms=20)

    with open_playout() as playout:
        returned = [
            playout.push(packet, arrived_seconds=0.0),
            playout.push(packet, arrived_seconds=0.0, lost_packets=2),
            playout.push(b"", arrived_seconds=0.0),
            playout.push(b"", arrived_seconds=0.0, lost_packets=1),
            playout.push(short, arrived_seconds=0.0, lost_packets=50),
            playout.push(short, arrived_seconds=0.0),
        ]

    assert returned == [3840, 3 * 3840, 3840, 2 * 3840, 50 * 3840 + 960, 960]


def test_random_bytes_that_happen_to_be_opus_are_not_louder_than_full_scale() -> None:
    random = np.random.default_rng(0)
    loudest = 0.0

    with open_playout() as playout:
        for number in range(300):
            playout.push(random.bytes(100), arrived_seconds=0.02 * number)
            loudest = max(loudest, float(np.abs(playout.pop().samples).max()))

    assert loudest == 1.0


# Books and times


def test_each_packet_is_reported_once_in_the_order_of_arrival() -> None:
    packets = babble_packets()
    arrivals = late(evenly(packets), dict(enumerate(np.random.default_rng(5).uniform(0, 60, len(packets)))))

    with open_playout() as playout:
        heard = listen(playout, arrivals, ticks=4 * len(packets) + 10)

    assert shed_samples(heard.end) == 0
    reported = [arrived for frame in heard.frames for arrived in frame.message_arrivals]
    assert reported == [arrival.at_ms / 1000 for arrival in arrivals]


def test_a_frame_carries_the_arrival_of_the_first_sample_of_the_model_in_it() -> None:
    packets = babble_packets()[:3]
    arrivals = [Arrival(0, packets[0]), Arrival(85, packets[1]), Arrival(170, packets[2])]

    with open_playout() as playout:
        heard = listen(playout, arrivals, ticks=18)

    # 20 ms of priming; four frames each; then the gap. Concealment and silence have not arrived from anywhere.
    assert [frame.arrived_seconds for frame in heard.frames] == [
        None,
        *[0.0] * 4,
        *[0.085] * 4,
        *[0.17] * 4,
        *[None] * 5,
    ]


def test_a_frame_of_several_packets_carries_the_arrival_of_the_first() -> None:
    packets = encode(babble()[:960], packet_ms=10)

    with open_playout(minimum_seconds=0) as playout:
        for number, packet in enumerate(packets):
            playout.push(packet, arrived_seconds=float(number))
        frames = [playout.pop(), playout.pop()]

    assert [(frame.arrived_seconds, frame.message_arrivals) for frame in frames] == [
        (0.0, (0.0, 1.0)),
        (2.0, (2.0, 3.0)),
    ]


def test_all_starts_in_a_seam_are_reported() -> None:
    packets = encode(babble()[:2400], packet_ms=2.5)

    with open_playout(minimum_seconds=0) as playout:
        for number, packet in enumerate(packets[:24]):
            playout.push(packet, arrived_seconds=float(number))
        playout.discard(1)
        reported = playout.pop().message_arrivals

    assert reported == tuple(range(8, 16))


def test_a_cut_shorter_than_the_fade_does_not_click() -> None:
    hum = 0.3 * np.sin(2 * np.pi * 100 * np.arange(3 * MODEL_RATE_HZ) / MODEL_RATE_HZ)
    packets = encode(hum.astype(np.float32), packet_ms=2.5)
    overfull = round(CAPACITY_SECONDS * 400) + 1

    with open_playout(minimum_seconds=0) as playout:
        for number, packet in enumerate(packets[:overfull]):
            playout.push(packet, arrived_seconds=float(number))
        books = playout.statistics()
        heard = np.concatenate([playout.pop().samples for _ in range(3)])

    assert books.shed_burst_samples == 120
    assert largest_step(heard) < 0.02


@cache
def assorted_packets() -> tuple[bytes, ...]:
    return tuple(
        packet for packet_ms in (20, 40, 80, 120) for packet in encode(babble()[: 3 * 2880], packet_ms=packet_ms)[:3]
    )


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 11), st.sampled_from((0, 0, 0, 1, 3, 50))),
        st.tuples(st.just("garbage"), st.binary(max_size=40), st.sampled_from((0, 1, 5))),
        st.tuples(st.just("pop"), st.integers(1, 30), st.booleans()),
        st.tuples(st.just("discard"), st.integers(0, 8), st.none()),
        st.tuples(st.just("flood"), st.integers(0, 11), st.integers(1, 40)),
        st.tuples(st.just("flush"), st.none(), st.none()),
        st.tuples(st.just("late"), st.integers(0, 11), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(STEPS)
def test_whatever_happens_every_frame_is_whole_and_the_books_balance(steps: list[tuple[str, object, object]]) -> None:
    capacity_samples = CAPACITY_SECONDS * PEOPLE_RATE_HZ
    frames: list[Played] = []
    pushed: list[float] = []

    with open_playout() as playout:
        for kind, what, how in steps:
            now_seconds = float(len(pushed))
            match kind, what, how:
                case "push", int(index), int(lost):
                    pushed.append(now_seconds)
                    playout.push(assorted_packets()[index], arrived_seconds=now_seconds, lost_packets=lost)
                case "garbage", bytes(packet), int(lost):
                    pushed.append(now_seconds)
                    playout.push(packet, arrived_seconds=now_seconds, lost_packets=lost)
                case "pop", int(count), bool(is_slow):
                    frames += [playout.pop(is_model_slow=is_slow) for _ in range(count)]
                case "discard", int(count), None:
                    playout.discard(count)
                case "flush", None, None:
                    playout.flush()
                case "late", int(index), None:
                    playout.push(assorted_packets()[index], arrived_seconds=now_seconds, is_flushed=True)
                case "flood", int(index), int(count):
                    for _ in range(count):
                        pushed.append(float(len(pushed)))
                        playout.push(assorted_packets()[index], arrived_seconds=pushed[-1])
            books = playout.statistics()
            assert 0 <= books.depth_samples <= capacity_samples
            assert unaccounted_samples(books, frames=len(frames)) == 0

    for frame in frames:
        assert frame.samples.shape == (PEOPLE_FRAME_SAMPLES,)
        assert frame.samples.dtype == np.float32
        assert np.isfinite(frame.samples).all()
        assert np.abs(frame.samples).max() <= 1
    reported = [arrived for frame in frames for arrived in frame.message_arrivals]
    assert all(earlier < later for earlier, later in pairwise(reported))
    assert set(reported) <= set(pushed)
    since = [frame.arrived_seconds for frame in frames if frame.arrived_seconds is not None]
    assert since == sorted(since)
    assert 20 * PER_MS <= books.target_samples <= 120 * PER_MS if steps else not frames
