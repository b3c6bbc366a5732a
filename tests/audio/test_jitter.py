"""The jitter buffer: what is played at each tick, and how long it waited.

Time is in milliseconds; ticks are at 0, 20, 40 ... A line such as `..01L3` shows what each tick brought: a packet by
the last digit of its number, `S` for a silence packet, `L` for a loss that is to be concealed (`l` for the last of a
row, after which nothing follows), `.` for nothing.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plexbridge.audio.jitter import (
    IDLE,
    LIMIT_FRAMES,
    LIMIT_SAMPLES,
    Idle,
    JitterBuffer,
    JitterStatistics,
    Lost,
    Packet,
)
from plexbridge.errors import PacketError

SILENCE = b"\xf8\xff\xfe"
PER_MS = 48
TICK_MS = 20
TOCS = {2.5: b"\xe0", 5: b"\xe8", 10: b"\xf0", 20: b"\xf8", 40: b"\x10", 60: b"\x18", 120: b"\xfb\x06"}


def opus(number: int, *, packet_ms: float = 20) -> bytes:
    """Return a valid packet of that length that bears a number."""
    body = number.to_bytes(6, "big")
    return TOCS[packet_ms] + body


def number_of(packet: bytes) -> int:
    return int.from_bytes(packet[-6:], "big")


@dataclass(frozen=True)
class Arrival:
    """One packet of speech and when it comes."""

    at_ms: float
    sequence: int
    timestamp: int
    data: bytes


def speech(
    count: int,
    *,
    start_ms: float = 5,
    first: int = 0,
    sequence: int | None = None,
    timestamp: int | None = None,
    packet_ms: float = 20,
    every_ms: float | None = None,
) -> list[Arrival]:
    """Return `count` packets that come evenly, the first numbered `first`; sequence and timestamp count from 100."""
    sequence = 100 + first if sequence is None else sequence
    timestamp = 5_000 + round(first * packet_ms * PER_MS) if timestamp is None else timestamp
    return [
        Arrival(
            start_ms + (packet_ms if every_ms is None else every_ms) * place,
            (sequence + place) % 2**16,
            (timestamp + round(place * packet_ms * PER_MS)) % 2**32,
            opus(first + place, packet_ms=packet_ms),
        )
        for place in range(count)
    ]


def hushed(arrivals: Sequence[Arrival], *, count: int = 5) -> list[Arrival]:
    """Return the arrivals with the last ones silence, as people's clients end a talk spurt."""
    kept = len(arrivals) - count
    return [*arrivals[:kept], *(replace(arrival, data=SILENCE) for arrival in arrivals[kept:])]


def without(arrivals: Iterable[Arrival], *numbers: int) -> list[Arrival]:
    return [arrival for place, arrival in enumerate(arrivals) if place not in numbers]


def late(arrivals: Iterable[Arrival], by_ms: dict[int, float]) -> list[Arrival]:
    """Return the arrivals with some later, by their places; others may overtake them, as on UDP."""
    return [replace(each, at_ms=each.at_ms + by_ms.get(place, 0)) for place, each in enumerate(arrivals)]


def shaken(arrivals: Iterable[Arrival], upto_ms: float, *, seed: int = 1) -> list[Arrival]:
    chance = random.Random(seed)
    return [replace(each, at_ms=each.at_ms + chance.uniform(0, upto_ms)) for each in arrivals]


Answer = Packet | Lost | Idle


@dataclass(frozen=True)
class Heard:
    """What each tick brought, and the counters after it."""

    ticks: Sequence[Sequence[Answer]]
    books: Sequence[JitterStatistics]

    @property
    def line(self) -> str:
        return "".join(_sign(answer) for answers in self.ticks for answer in answers)

    @property
    def end(self) -> JitterStatistics:
        return self.books[-1]

    @property
    def numbers(self) -> list[int]:
        return [number_of(packet.data) for packet, _ in self._packets() if packet.data != SILENCE]

    @property
    def waits_ms(self) -> list[float]:
        """How long each packet waited, in the order of playing."""
        return [tick * TICK_MS - packet.arrived_seconds * 1000 for packet, tick in self._packets()]

    @property
    def concealed(self) -> int:
        return sum(isinstance(answer, Lost) for answers in self.ticks for answer in answers)

    @property
    def concealed_ms(self) -> float:
        losses = [answer for answers in self.ticks for answer in answers if isinstance(answer, Lost)]
        return sum(loss.duration_samples for loss in losses) / PER_MS

    def _packets(self) -> list[tuple[Packet, int]]:
        return [
            (answer, tick)
            for tick, answers in enumerate(self.ticks)
            for answer in answers
            if isinstance(answer, Packet)
        ]


def _sign(answer: Answer) -> str:
    if isinstance(answer, Packet):
        return "S" if answer.data == SILENCE else str(number_of(answer.data) % 10)
    if isinstance(answer, Lost):
        return "l" if answer.is_last else "L"
    return "."


def listen(
    arrivals: Iterable[Arrival],
    *,
    ticks: int,
    buffer: JitterBuffer | None = None,
    skips: dict[int, int] | None = None,
) -> Heard:
    """Push every packet when its time has come, and take out 20 ms at every tick, as a decoder would.

    `skips` gives ticks that were missed before a tick: nothing is pushed or popped in them.
    """
    buffer = JitterBuffer() if buffer is None else buffer
    coming = sorted(arrivals, key=lambda arrival: arrival.at_ms)
    position, ready_samples, missed_until = 0, 0, 0
    heard: list[list[Answer]] = []
    books: list[JitterStatistics] = []
    for tick in range(ticks):
        if skips and tick in skips:
            buffer.tick(skips[tick])
            buffer.leave_out(skips[tick] * TICK_MS * PER_MS)
            missed_until = tick + skips[tick]
        answers: list[Answer] = []
        if tick >= missed_until:
            while position < len(coming) and coming[position].at_ms <= tick * TICK_MS:
                each = coming[position]
                buffer.push(each.sequence, each.timestamp, each.data, arrived_seconds=each.at_ms / 1000)
                position += 1
            while ready_samples < TICK_MS * PER_MS:
                answer = buffer.pop()
                answers.append(answer)
                if answer is IDLE:
                    ready_samples = TICK_MS * PER_MS
                else:
                    ready_samples += answer.duration_samples
            ready_samples -= TICK_MS * PER_MS
            buffer.tick()
        heard.append(answers)
        books.append(buffer.statistics())
    return Heard(heard, books)


# A network without faults


def test_nothing_is_said_before_anything_has_come() -> None:
    assert listen([], ticks=5).line == "....."


def test_speech_starts_when_two_packets_are_there_and_then_comes_in_order() -> None:
    heard = listen(hushed(speech(10)), ticks=16)

    assert heard.line == "..01234SSSSS...."
    assert heard.end == JitterStatistics(played=10, depth_frames=2)


@pytest.mark.parametrize("start_ms", [0.1, 5, 10, 19.9])
def test_every_packet_waits_20_to_40_ms_at_first(start_ms: float) -> None:
    heard = listen(speech(50, start_ms=start_ms), ticks=60)

    assert set(map(round, heard.waits_ms)) == {round(40 - start_ms)}


def test_a_single_packet_is_played_though_nothing_follows() -> None:
    assert listen(speech(1), ticks=6).line == "..0LLl"


@pytest.mark.parametrize("start_ms", [2, 10, 18])
def test_where_packets_are_never_late_the_next_spurts_start_with_one(start_ms: float) -> None:
    arrivals = [
        arrival
        for spurt in range(20)
        for arrival in hushed(speech(50, first=50 * spurt, start_ms=start_ms + 1_500 * spurt))
    ]

    heard = listen(arrivals, ticks=1_600)

    assert heard.end == JitterStatistics(played=1_000, depth_frames=1)
    assert set(map(round, heard.waits_ms[-50:])) == {20 - start_ms}


# Talk spurts, silence, pauses


def test_nothing_is_concealed_after_silence_packets() -> None:
    heard = listen(hushed(speech(8)) + hushed(speech(8, first=8, start_ms=505)), ticks=40)

    assert heard.line == "..012SSSSS" + "." * 17 + "890SSSSS....."
    assert (heard.end.lost, heard.end.late) == (0, 0)


@pytest.mark.parametrize("lost", [5, 6, 7, 8, 9])
def test_a_silence_packet_that_is_lost_is_no_loss(lost: int) -> None:
    heard = listen(without(hushed(speech(10)), lost), ticks=16)

    assert heard.concealed == (1 if lost == 5 else 0)  # before the first of them, nobody can know


def test_speech_that_breaks_off_is_concealed_for_60_ms_and_the_last_of_it_is_marked() -> None:
    assert listen(speech(5), ticks=12).line == "..01234LLl.."


@pytest.mark.parametrize("pause_ms", [20, 40, 60, 80, 100, 120, 200, 1_000, 3_600_000])
@pytest.mark.parametrize("is_clock_running", [True, False], ids=["clock runs on", "clock stands still"])
def test_a_pause_without_silence_packets_is_no_loss_and_leaves_no_delay(pause_ms: int, is_clock_running: bool) -> None:
    clock_ms = pause_ms if is_clock_running else 0
    pause = min(pause_ms, 2_000)
    after = speech(10, first=5, start_ms=105 + pause, timestamp=5_000 + (100 + clock_ms) * PER_MS)

    heard = listen(speech(5) + after, ticks=200)

    assert heard.numbers == list(range(15))
    assert (heard.end.lost, heard.end.shed, heard.end.late) == (0, 0, 0)
    assert heard.waits_ms[-1] <= 35


def test_a_pause_in_what_came_at_once_is_neither_concealed_nor_waited_for() -> None:
    heard = listen(speech(3) + speech(3, first=3, start_ms=5, timestamp=5_000 + 100 * PER_MS), ticks=12)

    assert heard.line == ".012345LLl.."
    assert heard.end.lost == 0


def test_numbers_that_a_sender_spends_on_nothing_are_no_loss() -> None:
    after = speech(10, first=10, start_ms=205, sequence=100 + 13)

    heard = listen(hushed(speech(10) + after), ticks=24)

    assert heard.line == "..012345678901234SSSSS.."
    assert heard.end.lost == 0


def test_a_pause_costs_no_delay_when_the_senders_clock_jumps_back() -> None:
    after = speech(10, first=5, start_ms=1_005, timestamp=77)

    heard = listen(speech(5) + after, ticks=80)

    assert heard.numbers == list(range(15))
    assert heard.waits_ms[-1] == 35


def test_delay_that_a_spurt_has_built_up_ends_with_it() -> None:
    lagging = late(hushed(speech(30)), dict.fromkeys(range(10, 30), 90))
    after = speech(10, first=30, start_ms=1_005)

    heard = listen(lagging + after, ticks=80)

    assert max(heard.waits_ms[:30]) >= 35
    assert heard.numbers[-10:] == list(range(30, 40))
    assert set(map(round, heard.waits_ms[-10:])) == {35}


# Loss


@pytest.mark.parametrize("lost", range(1, 9))
def test_one_lost_packet_is_one_concealed_frame_in_its_place(lost: int) -> None:
    heard = listen(without(speech(20), lost), ticks=22)

    expected = "01234567890123456789"
    assert heard.line == ".." + expected[:lost] + "L" + expected[lost + 1 :]
    assert (heard.end.lost, heard.end.late, heard.end.shed) == (1, 0, 0)


def test_a_lost_packet_adds_no_lasting_delay_even_at_the_least_depth() -> None:
    buffer = JitterBuffer()
    arrivals = without(speech(2_000, start_ms=10), *range(1_000, 2_000, 50))

    heard = listen(hushed(arrivals), ticks=2_010, buffer=buffer)

    assert heard.end.lost == heard.concealed == 20
    assert heard.end.late == 0
    assert heard.waits_ms[-1] <= 30


@pytest.mark.parametrize(("lost", "line"), [(2, "01LL456789"), (3, "01LLL56789")])
def test_lost_packets_in_a_row_are_concealed_one_for_one(lost: int, line: str) -> None:
    heard = listen(without(speech(10), *range(2, 2 + lost)), ticks=12)

    assert heard.line == ".." + line
    assert heard.end.lost == lost


def test_a_long_loss_ends_the_spurt_and_what_follows_starts_with_the_usual_depth() -> None:
    heard = listen(without(speech(30), *range(5, 20)), ticks=32)

    assert heard.line == "..01234LLl............0123456789"
    assert heard.waits_ms[-1] == 35


def test_a_random_tenth_lost_costs_as_many_frames_and_no_delay() -> None:
    chance = random.Random(5)
    kept = [arrival for place, arrival in enumerate(speech(3_000)) if not place or chance.random() > 0.1]

    heard = listen(kept, ticks=3_000)

    missing = 3_000 - len(kept)
    assert heard.end.shed == heard.end.late == 0
    assert heard.concealed == pytest.approx(missing, abs=10)
    assert median(heard.waits_ms) == 35
    assert heard.waits_ms[-1] == 35


# Reorder, duplicates, late packets


def test_packets_that_change_places_within_the_depth_are_put_right() -> None:
    heard = listen(late(speech(20), dict.fromkeys(range(1, 20, 3), 21)), ticks=22)

    assert heard.line == "..01234567890123456789"
    assert heard.end.late == 0


def test_the_first_two_packets_may_change_places() -> None:
    assert listen(late(speech(6), {0: 41}), ticks=9).line == "...012345"


def test_a_packet_that_comes_during_its_concealment_is_played_and_the_speech_goes_on_later() -> None:
    heard = listen(late(speech(8), {3: 50}), ticks=11)

    assert heard.line == "..012L34567"
    assert (heard.end.lost, heard.end.late) == (0, 0)
    assert heard.waits_ms[-1] == 55


def test_a_packet_that_comes_after_its_place_was_filled_is_dropped() -> None:
    heard = listen(late(speech(8), {3: 75}), ticks=10)

    assert heard.line == "..012L4567"
    assert (heard.end.lost, heard.end.late) == (1, 1)
    assert heard.waits_ms[-1] == 35


def test_a_straggler_of_the_last_spurt_does_not_start_another() -> None:
    heard = listen(late(hushed(speech(8)), {1: 400}), ticks=40)

    assert heard.line[10:].strip(".") == ""
    assert heard.end.late == 1


def test_a_duplicate_is_played_once() -> None:
    arrivals = speech(10)

    heard = listen(arrivals + late(arrivals, dict.fromkeys(range(10), 1.0)), ticks=12)

    assert heard.line == "..0123456789"
    assert heard.end.duplicate == 10


# Bursts, and what is deeper than need be


def test_a_burst_of_a_hundred_packets_is_shed_to_the_newest_120_ms() -> None:
    heard = listen(speech(100, every_ms=0), ticks=20)

    assert heard.numbers == [94, 95, 96, 97, 98, 99]
    assert heard.end.shed == 94
    assert max(heard.waits_ms) <= 120


def test_a_burst_in_mid_speech_is_not_played_late() -> None:
    stalled = [replace(each, at_ms=max(each.at_ms, 2_500)) if each.at_ms > 500 else each for each in speech(400)]

    heard = listen(stalled, ticks=400)

    assert max(heard.waits_ms) <= 120
    assert heard.numbers[-200:] == list(range(197, 397))
    assert heard.end.shed == pytest.approx(95, abs=5)


def test_delay_that_a_burst_has_left_is_given_back_within_seconds_of_speech_without_a_pause() -> None:
    held = [replace(each, at_ms=max(each.at_ms, 115)) for each in speech(400)]

    heard = listen(held, ticks=400)

    assert heard.waits_ms[10] > 80
    assert heard.waits_ms[150] <= 60
    assert heard.concealed == 0


@pytest.mark.no_cover  # the same lines again and again, which other tests cover
@pytest.mark.parametrize("ppm", [100, -100])
def test_a_clock_that_runs_wrong_for_an_hour_builds_up_no_delay(ppm: int) -> None:
    buffer, ticks, number, concealed = JitterBuffer(), 3_600 * 50, 0, 0
    every_ms = TICK_MS / (1 + ppm / 1e6)
    waits_ms: list[float] = []

    for tick in range(ticks):
        while number * every_ms <= tick * TICK_MS:
            arrived_seconds = number * every_ms / 1000
            buffer.push(number % 2**16, number * 960 % 2**32, opus(number), arrived_seconds=arrived_seconds)
            number += 1
        answer = buffer.pop()
        if isinstance(answer, Packet):
            waits_ms.append(tick * TICK_MS - answer.arrived_seconds * 1000)
        concealed += isinstance(answer, Lost)
        buffer.tick()

    slipped = round(ticks * 100 / 1e6)
    assert (buffer.statistics().shed if ppm > 0 else concealed) == pytest.approx(slipped, abs=3)
    assert (concealed if ppm > 0 else buffer.statistics().shed) == 0
    assert max(waits_ms) <= 60
    assert median(waits_ms[-3_000:]) <= median(waits_ms[:3_000]) + TICK_MS


# Jitter


@pytest.mark.parametrize(("jitter_ms", "depth_frames"), [(5, 2), (15, 2), (35, 3), (55, 4), (75, 5), (95, 6)])
def test_the_depth_grows_with_the_jitter(jitter_ms: float, depth_frames: int) -> None:
    heard = listen(shaken(speech(1_500), jitter_ms), ticks=1_500)

    assert heard.end.depth_frames == pytest.approx(depth_frames, abs=1)
    late_half = heard.books[-1].lost - heard.books[len(heard.books) // 2].lost
    assert late_half <= 15


def test_the_depth_never_exceeds_its_limit() -> None:
    heard = listen(shaken(speech(1_500), 400), ticks=1_520)

    assert heard.end.depth_frames == LIMIT_FRAMES
    assert max(heard.waits_ms) <= LIMIT_FRAMES * TICK_MS


def test_speech_without_a_pause_is_deepened_where_it_is_concealed_anyway() -> None:
    heard = listen(late(speech(1_000), dict.fromkeys(range(10, 1_000, 25), 75.0)), ticks=1_000)

    assert [book.late for book in heard.books[300::100]] == [heard.books[300].late] * 7
    assert 0 < heard.end.late <= 12
    assert median(heard.waits_ms[-500:]) == 75


@pytest.mark.parametrize("jitter_ms", [5, 15, 35, 55, 75, 95])
def test_jitter_that_is_over_is_forgotten_after_ten_seconds_of_speech(jitter_ms: float) -> None:
    after = [
        each
        for spurt in range(25)
        for each in hushed(speech(50, first=500 + 50 * spurt, start_ms=20_010 + 1_500 * spurt))
    ]

    heard = listen(shaken(speech(500, start_ms=10), jitter_ms) + after, ticks=3_000)

    assert heard.end.depth_frames == 1
    assert set(map(round, heard.waits_ms[-50:])) == {10}


def test_a_single_stall_does_not_deepen_the_next_spurts() -> None:
    stalled = [replace(each, at_ms=max(each.at_ms, 780)) if each.at_ms > 700 else each for each in speech(200)]

    heard = listen(stalled, ticks=220)

    assert heard.end.depth_frames == 2
    assert heard.concealed > 0


# Numbers that wrap, and senders that count anew


@given(
    sequence=st.integers(0, 2**16 - 1) | st.integers(2**16 - 60, 2**16 - 1),
    timestamp=st.integers(0, 2**32 - 1) | st.integers(2**32 - 60_000, 2**32 - 1),
    seed=st.integers(0, 20),
)
def test_where_the_numbers_start_makes_no_difference(sequence: int, timestamp: int, seed: int) -> None:
    def harassed(arrivals: list[Arrival]) -> list[Arrival]:
        chance = random.Random(seed)
        kept = [each for each in arrivals if chance.random() > 0.1]
        return shaken(kept, 60, seed=seed) + shaken(kept[::7], 60, seed=seed + 1)

    usual = listen(harassed(speech(60)), ticks=70)
    wrapped = listen(harassed(speech(60, sequence=sequence, timestamp=timestamp)), ticks=70)

    assert wrapped == usual


def test_a_sender_that_counts_anew_far_behind_is_heard_again_after_two_packets() -> None:
    after = speech(10, first=20, start_ms=405, sequence=20_000, timestamp=9)

    heard = listen(speech(20, sequence=30_000) + after, ticks=40)

    assert heard.numbers == [*range(20), *range(21, 30)]
    assert heard.end.late == 1


@pytest.mark.parametrize("sequence", [20_000, 29_000])
def test_a_sender_that_counts_anew_in_mid_speech_drops_what_waited(sequence: int) -> None:
    before = speech(6, every_ms=0, sequence=30_000)
    after = speech(6, first=20, start_ms=25, every_ms=0, sequence=sequence, timestamp=9)

    heard = listen(before + after, ticks=20)

    assert heard.numbers == [0, *range(21, 26)]


# Packets that last longer or shorter than a tick


@pytest.mark.parametrize("packet_ms", [2.5, 5, 10, 20, 40, 60, 120])
def test_packets_of_any_length_come_in_order_and_on_time(packet_ms: float) -> None:
    count = round(2_400 / packet_ms)

    heard = listen(speech(count, packet_ms=packet_ms), ticks=130)

    assert heard.numbers == list(range(count))
    assert (heard.end.lost, heard.end.shed, heard.end.late) == (0, 0, 0)
    assert max(heard.waits_ms) <= 40


@pytest.mark.parametrize("packet_ms", [10, 20, 40, 60])
def test_a_lost_packet_of_any_length_is_concealed_for_as_long(packet_ms: float) -> None:
    heard = listen(without(speech(20, packet_ms=packet_ms), 10), ticks=round(packet_ms))

    assert heard.concealed_ms == packet_ms
    assert heard.end.lost == 1
    assert heard.waits_ms[-1] <= 45


@pytest.mark.parametrize("packet_ms", [2.5, 5, 10, 20, 40, 60])
def test_a_burst_of_packets_of_any_length_is_shed_to_120_ms(packet_ms: float) -> None:
    heard = listen(speech(100, packet_ms=packet_ms, every_ms=0), ticks=20)

    kept = round(120 / packet_ms)
    assert heard.numbers == list(range(100 - kept, 100))
    assert heard.end.shed == 100 - kept


def test_of_packets_longer_than_the_limit_the_newest_stays() -> None:
    assert listen(speech(3, packet_ms=120, every_ms=0), ticks=10).numbers == [2]


# Limits


def test_memory_is_bounded_when_timestamps_stand_still_and_packets_last_next_to_nothing() -> None:
    buffer = JitterBuffer()

    for number in range(1_000):
        buffer.push(number, 5_000, opus(number, packet_ms=2.5), arrived_seconds=0)

    assert buffer.statistics().waiting == LIMIT_SAMPLES // 120 == 48
    assert buffer.statistics().shed == 1_000 - buffer.statistics().waiting


def test_a_flood_of_long_packets_with_short_timestamps_is_bounded() -> None:
    arrivals = [replace(each, data=opus(place, packet_ms=60)) for place, each in enumerate(speech(300))]

    heard = listen(arrivals, ticks=310)

    assert max(book.waiting for book in heard.books) <= LIMIT_SAMPLES // (60 * PER_MS)
    assert max(heard.waits_ms) <= 120


@pytest.mark.parametrize("packet", [b"", b"\xfb\x00", b"\xf9abc", b"\xff\xff\xff"])
def test_what_is_no_opus_is_refused_and_leaves_no_trace(packet: bytes) -> None:
    buffer = JitterBuffer()

    with pytest.raises(PacketError):
        buffer.push(1, 2, packet, arrived_seconds=0)

    assert buffer.statistics() == JitterStatistics()
    assert buffer.is_idle


@given(
    delays_ms=st.lists(st.floats(0, 300), min_size=1, max_size=120),
    lost=st.sets(st.integers(0, 119)),
    doubled=st.sets(st.integers(0, 119)),
    packet_ms=st.sampled_from([10, 20, 40, 60]),
)
def test_whatever_comes_is_played_in_order_once_and_never_late(
    delays_ms: list[float], lost: set[int], doubled: set[int], packet_ms: float
) -> None:
    arrivals = [
        replace(each, at_ms=each.at_ms + delay_ms)
        for each, delay_ms in zip(speech(len(delays_ms), packet_ms=packet_ms), delays_ms, strict=True)
    ]
    pushed = without(arrivals, *lost)
    pushed += [replace(each, at_ms=each.at_ms + 1) for place, each in enumerate(pushed) if place in doubled]

    heard = listen(pushed, ticks=round(len(arrivals) * packet_ms / 20) + 40)

    assert heard.numbers == sorted(set(heard.numbers))
    assert max(heard.waits_ms, default=0) <= LIMIT_FRAMES * TICK_MS
    end = heard.end
    assert end.played + end.late + end.duplicate + end.shed == len(pushed)
    assert end.waiting == 0
    assert len(heard.line) - heard.line.rfind("l") > 20


# Ticks that were missed


def test_skipped_ticks_are_left_out_of_the_speech_and_add_no_delay() -> None:
    heard = listen(speech(40), ticks=42, skips={10: 4})

    assert heard.numbers == [*range(8), *range(12, 40)]
    assert heard.end.shed == 4
    assert set(map(round, heard.waits_ms)) == {35}


def test_ticks_that_nothing_came_in_are_skipped_too() -> None:
    heard = listen(without(speech(40), *range(8, 14)), ticks=50, skips={10: 4})

    assert heard.numbers == [*range(8), *range(14, 40)]


@pytest.mark.parametrize(("count", "played"), [(1, []), (10, [4])])
def test_what_waited_through_many_skipped_ticks_is_not_played(count: int, played: list[int]) -> None:
    heard = listen(speech(count, every_ms=0), ticks=40, skips={2: 20})

    assert heard.numbers == played


@pytest.mark.parametrize("start_ms", [65, 105, 125, 205])
def test_skipped_ticks_cost_nothing_of_a_spurt_that_begins_in_them_or_later(start_ms: float) -> None:
    heard = listen(speech(10, start_ms=start_ms), ticks=30, skips={3: 4})

    assert heard.numbers == list(range(10))
    assert heard.end.shed == 0


def test_a_skip_of_seconds_leaves_the_newest_speech() -> None:
    heard = listen(speech(200), ticks=202, skips={20: 100})

    assert heard.numbers[18:] == pytest.approx(list(range(118, 200)), abs=6)
    assert max(heard.waits_ms) <= 120
