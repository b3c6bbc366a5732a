"""The delay ledger: what counts as delay, what is withheld for it, and that a conversation stays prompt by it.

The simulations put the ledger, a model of given speed, a network and the real playout buffer in one loop; time is
counted, never waited for.
"""

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from plexbridge.audio.opus import Application, Decoder, Encoder, EncoderSettings
from plexbridge.audio.pcm import MODEL_FRAME_SAMPLES, MODEL_RATE_HZ, PEOPLE_RATE_HZ, UPLINK_FRAME_SAMPLES
from plexbridge.audio.playout import Playout, PlayoutStatistics
from plexbridge.session.ledger import UNKNOWN_FLOOR_SECONDS, Delay, Distribution, Ledger, Shed

HELLO = Path(__file__).parents[2] / "docs" / "hello.wav"
FRAME = UPLINK_FRAME_SAMPLES
MESSAGE = MODEL_FRAME_SAMPLES


def ledger_that_owes(frames: int, *, now_seconds: float = 0.0) -> Ledger:
    """Return a ledger whose model has answered at once before, and now owes `frames` besides a message not yet due."""
    ledger = Ledger()
    send(ledger, 4, now_seconds=now_seconds)
    ledger.received(MESSAGE, now_seconds=now_seconds)
    send(ledger, 4 + frames, now_seconds=now_seconds)
    return ledger


def send(ledger: Ledger, frames: int, *, now_seconds: float = 0.0) -> None:
    for _ in range(frames):
        ledger.sent(FRAME, waited_seconds=0.0, now_seconds=now_seconds)


def withholds(ledger: Ledger, *, now_seconds: float = 0.0) -> tuple[bool, bool]:
    """Return the answers for silence and for speech."""
    return (
        ledger.withholds(is_silent=True, now_seconds=now_seconds),
        ledger.withholds(is_silent=False, now_seconds=now_seconds),
    )


# What the model owes


def test_a_model_that_answers_every_80_ms_at_once_owes_nothing_at_any_moment() -> None:
    ledger = Ledger()
    owed = []

    for frame in range(1000):
        send(ledger, 1, now_seconds=0.02 * frame)
        owed.append(ledger.owed_seconds)
        if frame % 4 == 3:
            ledger.received(MESSAGE, now_seconds=0.02 * frame)
            owed.append(ledger.owed_seconds)

    assert set(owed) == {0.0}


@pytest.mark.parametrize("pipeline_frames", [0, 3, 8, 12])
def test_what_a_models_own_pipeline_holds_is_not_owed(pipeline_frames: int) -> None:
    ledger = Ledger()
    owed = []

    for frame in range(1000):
        send(ledger, 1, now_seconds=0.02 * frame)
        if frame % 4 == 3 and frame >= pipeline_frames:
            ledger.received(MESSAGE, now_seconds=0.02 * frame)
        owed.append(ledger.owed_seconds)

    assert set(owed) == {0.0}


def test_the_floor_is_the_least_of_the_first_ten_seconds() -> None:
    ledger = Ledger()

    send(ledger, 14, now_seconds=0.0)
    ledger.received(MESSAGE, now_seconds=0.0)
    at_first = ledger.owed_seconds
    ledger.received(MESSAGE, now_seconds=9.9)
    send(ledger, 4, now_seconds=9.9)
    ledger.received(MESSAGE // 2, now_seconds=9.9)
    in_time = ledger.owed_seconds
    ledger.received(MESSAGE // 2, now_seconds=10.1)
    send(ledger, 6, now_seconds=10.1)
    ledger.received(MESSAGE // 2, now_seconds=10.1)

    # Outstanding were 200, 120, 160, 120, 200 ms after each answer: the least in time is 120.
    assert at_first == 0.0
    assert in_time == pytest.approx(0.04)
    assert ledger.owed_seconds == pytest.approx(0.08)


def test_a_lower_amount_after_ten_seconds_does_not_move_the_floor() -> None:
    ledger = Ledger()
    send(ledger, 8, now_seconds=0.0)
    ledger.received(MESSAGE, now_seconds=0.0)

    ledger.received(MESSAGE, now_seconds=11.0)
    send(ledger, 5, now_seconds=11.0)
    ledger.received(0, now_seconds=11.0)

    assert ledger.owed_seconds == pytest.approx(0.02)  # 100 ms over a floor of 80


def test_answers_before_anything_was_sent_are_no_credit() -> None:
    ledger = Ledger()
    ledger.received(MESSAGE, now_seconds=0.0)

    send(ledger, 10)

    assert ledger.owed_seconds == pytest.approx(0.12)


# Withholding


@pytest.mark.parametrize(
    ("frames_owed", "silence_is_withheld", "speech_is_withheld"),
    [(0, False, False), (4, False, False), (5, True, False), (6, True, True), (50, True, True)],
)
def test_silence_is_withheld_above_80_ms_and_speech_above_100(
    frames_owed: int, silence_is_withheld: bool, speech_is_withheld: bool
) -> None:
    ledger = ledger_that_owes(frames_owed)

    assert withholds(ledger) == (silence_is_withheld, speech_is_withheld)
    assert ledger.shed_frames.get(Shed.SILENCE_WITHHELD, 0) == silence_is_withheld
    assert ledger.shed_frames.get(Shed.SPEECH_WITHHELD, 0) == speech_is_withheld


def test_sending_goes_on_as_soon_as_the_model_has_caught_up() -> None:
    ledger = ledger_that_owes(6)
    assert ledger.withholds(is_silent=False, now_seconds=0.0)

    ledger.received(MESSAGE, now_seconds=0.1)
    ledger.received(MESSAGE, now_seconds=0.2)

    assert ledger.owed_seconds == pytest.approx(0.04)
    assert withholds(ledger, now_seconds=0.2) == (False, False)


def test_before_its_first_answer_a_model_is_sent_what_the_deepest_pipeline_needs_and_no_more() -> None:
    ledger = Ledger()

    for frame in range(140):
        if not ledger.withholds(is_silent=False, now_seconds=0.02 * frame):
            send(ledger, 1, now_seconds=0.02 * frame)

    assert ledger.samples_sent / MODEL_RATE_HZ == pytest.approx(UNKNOWN_FLOOR_SECONDS + 0.08 + 0.1 + 0.02)
    assert ledger.is_model_slow(2.8)


def test_a_model_with_a_deep_pipeline_is_fed_until_it_answers() -> None:
    ledger = Ledger()

    sent_late = 0
    for frame in range(1000):
        now_seconds = 0.02 * frame
        if not ledger.withholds(is_silent=False, now_seconds=now_seconds):
            send(ledger, 1, now_seconds=now_seconds)
            sent_late += frame >= 500
        if ledger.samples_sent - ledger.samples_received >= 30 * FRAME:
            ledger.received(MESSAGE, now_seconds=now_seconds)

    assert sent_late == 500
    assert ledger.owed_seconds == 0.0


# Samples that never come


def test_a_model_that_hangs_is_probed_every_3_seconds_and_its_backlog_stays_on_the_books() -> None:
    ledger = ledger_that_owes(6)

    sent_at = []
    for frame in range(1, 500):
        now_seconds = 0.02 * frame
        if not ledger.withholds(is_silent=False, now_seconds=now_seconds):
            send(ledger, 1, now_seconds=now_seconds)
            sent_at.append(round(now_seconds, 2))
    owed_seconds = ledger.owed_seconds
    for message in range(6):
        ledger.received(MESSAGE, now_seconds=10 + 0.08 * message)

    assert sent_at == [3.02, 3.04, 3.06, 3.08, 6.1, 6.12, 6.14, 6.16, 9.18, 9.2, 9.22, 9.24]
    assert owed_seconds == pytest.approx(0.12 + 3 * 0.08)
    assert ledger.written_off_samples == 0
    assert ledger.owed_seconds == 0.0


def test_samples_that_a_model_has_lost_are_written_off_when_it_answers_a_probe_but_nothing_else() -> None:
    ledger = ledger_that_owes(6)

    now_seconds = 0.0
    while not ledger.written_off_samples:
        now_seconds += 0.02
        assert now_seconds < 7
        sent = ledger.samples_sent
        if not ledger.withholds(is_silent=False, now_seconds=now_seconds):
            send(ledger, 1, now_seconds=now_seconds)
        if ledger.samples_sent == sent + FRAME == 18 * FRAME:
            ledger.received(MESSAGE, now_seconds=now_seconds)

    assert ledger.written_off_samples == 10 * FRAME
    assert ledger.owed_seconds == 0.0
    assert withholds(ledger, now_seconds=now_seconds) == (False, False)


def test_samples_that_come_after_they_were_written_off_lower_the_floor_again() -> None:
    ledger = ledger_that_owes(6)
    withholds(ledger, now_seconds=4.0)
    send(ledger, 4, now_seconds=4.0)
    ledger.received(MESSAGE, now_seconds=4.0)
    withholds(ledger, now_seconds=8.0)
    assert ledger.owed_seconds == 0.0

    for now_seconds in (8.1, 8.2):
        ledger.received(MESSAGE, now_seconds=now_seconds)
    send(ledger, 10, now_seconds=8.3)

    # Of 200 ms written off 160 have come, so the floor is at 40; a message of 80 is not due.
    assert ledger.owed_seconds == pytest.approx(0.12)


def test_a_model_that_answers_more_than_the_probe_has_lost_nothing() -> None:
    ledger = ledger_that_owes(30)
    withholds(ledger, now_seconds=4.0)
    send(ledger, 4, now_seconds=4.0)

    for now_seconds in (4.1, 4.2, 4.3):
        ledger.received(MESSAGE, now_seconds=now_seconds)
    withholds(ledger, now_seconds=8.0)

    assert ledger.written_off_samples == 0
    assert ledger.owed_seconds == pytest.approx(0.6 + 0.08 + 0.08 - 0.24)


# Too slow


def withhold_at(ledger: Ledger, *times_seconds: float) -> None:
    for now_seconds in times_seconds:
        ledger.received(0, now_seconds=now_seconds)  # a sign of life, so that nothing is probed
        assert ledger.withholds(is_silent=False, now_seconds=now_seconds)


def test_ten_frames_withheld_within_ten_seconds_make_a_slow_model() -> None:
    ledger = ledger_that_owes(10)

    withhold_at(ledger, *range(9))
    assert not ledger.is_model_slow(8.0)

    withhold_at(ledger, 9.5)
    assert ledger.is_model_slow(9.5)


def test_ten_frames_withheld_in_a_longer_time_do_not() -> None:
    ledger = ledger_that_owes(10)

    withhold_at(ledger, *(1.2 * number for number in range(50)))

    assert not ledger.is_model_slow(1.2 * 49)


def test_a_slow_model_is_slow_until_nothing_was_withheld_for_ten_seconds() -> None:
    ledger = ledger_that_owes(10)
    withhold_at(ledger, *(0.1 * number for number in range(10)))

    withhold_at(ledger, 9.0, 18.0)

    assert ledger.is_model_slow(28.0)
    assert not ledger.is_model_slow(28.1)
    withhold_at(ledger, 28.1)
    assert not ledger.is_model_slow(28.1)


def test_one_late_message_is_the_networks_doing_and_lasting_debt_the_models() -> None:
    ledger = ledger_that_owes(4)

    ledger.received(MESSAGE, now_seconds=0.2)
    late_once = ledger.is_model_behind(0.2)
    for number in range(8):
        send(ledger, 4, now_seconds=0.3 + 0.08 * number)
        ledger.received(MESSAGE, now_seconds=0.3 + 0.08 * number)

    assert ledger.owed_seconds == pytest.approx(0.08)
    assert not late_once
    assert ledger.is_model_behind(1.0)


def test_a_gap_right_after_something_was_withheld_is_the_models_doing() -> None:
    ledger = ledger_that_owes(6)

    withhold_at(ledger, 1.0)

    assert ledger.is_model_behind(2.0)
    assert not ledger.is_model_behind(2.1)


# The way down, and the sum


def test_delay_is_the_wait_up_and_what_is_owed_and_the_wait_down() -> None:
    ledger = ledger_that_owes(2)
    ledger.sent(FRAME, waited_seconds=0.015, now_seconds=1.0)

    ledger.played(arrived_seconds=0.95, message_arrivals=(0.95,), is_audible=True, now_seconds=1.0)

    assert ledger.delay == Delay(up_seconds=0.015, owed_seconds=0.06, down_seconds=1.0 - 0.95)
    assert ledger.delay.total_seconds == pytest.approx(0.125)
    assert [ledger.up.count, ledger.owed.count, ledger.down.count, ledger.total.count] == [11, 1, 1, 1]
    assert ledger.total.percentile_seconds(50) == 0.125
    assert ledger.down_first_sample.percentile_seconds(50) == 0.05


def test_a_frame_without_the_model_has_not_waited() -> None:
    ledger = ledger_that_owes(0)

    ledger.played(arrived_seconds=None, message_arrivals=(), is_audible=False, now_seconds=1.0)

    assert ledger.delay.down_seconds == 0.0
    assert ledger.down.count == ledger.down_first_sample.count == 0
    assert ledger.total.count == 1


def test_the_first_sound_is_timed_from_the_first_frame_sent() -> None:
    ledger = Ledger()
    ledger.sent(FRAME, waited_seconds=0.0, now_seconds=5.0)

    for now_seconds, is_audible in ((5.2, False), (5.5, True), (6.0, True)):
        ledger.played(arrived_seconds=None, message_arrivals=(), is_audible=is_audible, now_seconds=now_seconds)

    assert ledger.first_sound_seconds == pytest.approx(0.5)


def test_all_that_was_shed_is_reported_in_frames_by_reason() -> None:
    ledger = Ledger()
    assert ledger.shed_frames == {}

    ledger.missed_uplink(3)
    ledger.missed_in_renewal(7)
    ledger.follow(
        partial(
            PlayoutStatistics,
            shed_silence_samples=960,
            shed_standing_samples=480,
            shed_burst_samples=9600,
            shed_late_samples=2880,
            shed_flushed_samples=1920,
        )
    )

    assert ledger.shed_frames == {
        Shed.UPLINK_LATE: 3,
        Shed.DOWNLINK_SILENCE: 1,
        Shed.DOWNLINK_STANDING: 0.5,
        Shed.DOWNLINK_BURST: 10,
        Shed.DOWNLINK_LATE: 3,
        Shed.DOWNLINK_FLUSHED: 2,
        Shed.RENEWAL: 7,
    }


# Percentiles


@settings(max_examples=50)
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=300), st.floats(0, 100))
def test_percentiles_are_those_of_numpy(milliseconds: list[int], percent: float) -> None:
    distribution = Distribution()
    for delay_ms in milliseconds:
        distribution.add(delay_ms / 1000)

    expected = np.percentile(milliseconds, percent, method="inverted_cdf")

    assert distribution.percentile_seconds(percent) == expected / 1000
    half, most = np.percentile(milliseconds, (50, 95), method="inverted_cdf") / 1000
    assert distribution.half_and_most_seconds == (half, most)


def test_a_percentile_of_nothing_is_none_and_extremes_are_kept_in_bounds() -> None:
    distribution = Distribution()
    assert distribution.percentile_seconds(50) is None
    assert distribution.half_and_most_seconds is None

    distribution.add(0.0126)
    assert distribution.percentile_seconds(0) == 0.013

    distribution.add(-5.0)
    assert distribution.percentile_seconds(50) == 0.0

    distribution.add(3600.0)
    assert distribution.percentile_seconds(99) == 10.0
    assert distribution.count == 3


# Whole conversations


@cache
def packets() -> tuple[bytes, ...]:
    """Return speech as PersonaPlex' server packs it, 80 ms each."""
    speech = np.asarray(soundfile.read(HELLO, dtype="float32")[0], np.float32)
    with Encoder(rate_hz=MODEL_RATE_HZ, settings=EncoderSettings(Application.VOIP, 0, 24_000)) as encoder:
        return tuple(
            encoder.encode(speech[start : start + MESSAGE]) for start in range(0, speech.size - MESSAGE + 1, MESSAGE)
        )


def no_jitter(number: int) -> float:
    return 0.0


@dataclass
class Model:
    """A server that steps through 80 ms in `step_seconds`, and may hang once; its replies cross a network in order."""

    step_seconds: float
    hang_seconds: tuple[float, float] = (0.0, 0.0)
    jitter: Callable[[int], float] = no_jitter
    lost: Collection[int] = ()
    replies: deque[tuple[float, int]] = field(default_factory=deque)
    _heard_samples: int = 0
    _number: int = 0
    _free_seconds: float = 0.0
    _last_seconds: float = 0.0

    def hear(self, samples: int, now_seconds: float) -> None:
        self._heard_samples += samples
        while self._heard_samples >= MESSAGE:
            self._heard_samples -= MESSAGE
            start_seconds = max(now_seconds, self._free_seconds)
            hang_start, hang_end = self.hang_seconds
            if hang_start <= start_seconds < hang_end:
                start_seconds = hang_end
            self._free_seconds = start_seconds + self.step_seconds
            if self._number not in self.lost:
                due_seconds = self._free_seconds + self.jitter(self._number)
                self._last_seconds = max(self._last_seconds + 1e-6, due_seconds)
                self.replies.append((self._last_seconds, self._number))
            self._number += 1


@dataclass
class Conversation:
    """What happened, tick by tick; `heard_after_seconds` is from the mouth to the ear, the model's 80 ms included."""

    ledger: Ledger
    owed_seconds: list[float] = field(default_factory=list)
    total_seconds: list[float] = field(default_factory=list)
    targets_seconds: list[float] = field(default_factory=list)
    heard_after_seconds: list[float] = field(default_factory=list)
    slow_changes: list[tuple[float, bool]] = field(default_factory=list)
    spoken_ticks: list[int] = field(default_factory=list)

    def withheld(self) -> float:
        shed = self.ledger.shed_frames
        return shed.get(Shed.SILENCE_WITHHELD, 0) + shed.get(Shed.SPEECH_WITHHELD, 0)


def is_pause(now_seconds: float) -> bool:
    """Whether the caller says nothing: a second after every three."""
    return now_seconds % 4 > 3


def simulate(model: Model, *, seconds: float) -> Conversation:
    """Hold a conversation: capture, model and playback in the order in which a session's tasks run at each tick."""
    ledger = Ledger()
    result = Conversation(ledger)
    numbers: dict[float, int] = {}
    is_slow = False
    with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
        playout = Playout(decoder, minimum_seconds=0.02, maximum_seconds=0.12)
        for tick in range(round(50 * seconds)):
            now_seconds = tick / 50
            while model.replies and model.replies[0][0] <= now_seconds:
                arrived_seconds, number = model.replies.popleft()
                numbers[arrived_seconds] = number
                samples = playout.push(packets()[number % len(packets())], arrived_seconds=arrived_seconds)
                ledger.received(samples // 2, now_seconds=arrived_seconds)
            if not ledger.withholds(is_silent=is_pause(now_seconds), now_seconds=now_seconds):
                ledger.sent(FRAME, waited_seconds=0.0, now_seconds=now_seconds)
                model.hear(FRAME, now_seconds)
                result.spoken_ticks.append(tick)
            if ledger.is_model_slow(now_seconds) != is_slow:
                is_slow = not is_slow
                result.slow_changes.append((now_seconds, is_slow))
            played = playout.pop(is_model_slow=ledger.is_model_behind(now_seconds))
            ledger.follow(playout.statistics)
            ledger.played(
                arrived_seconds=played.arrived_seconds,
                message_arrivals=played.message_arrivals,
                is_audible=True,
                now_seconds=now_seconds,
            )
            result.owed_seconds.append(ledger.owed_seconds)
            result.total_seconds.append(ledger.delay.total_seconds)
            result.targets_seconds.append(ledger.playout.target_samples / PEOPLE_RATE_HZ)
            for arrived_seconds in played.message_arrivals:
                spoken_seconds = result.spoken_ticks[4 * numbers.pop(arrived_seconds)] / 50
                result.heard_after_seconds.append(now_seconds - spoken_seconds)
    return result


@pytest.mark.no_cover  # the same lines again and again, which other tests cover
@pytest.mark.parametrize(
    ("speed", "withheld_share", "heard_after_seconds"),
    [(1.6, 0, 0.16), (1.0, 0, 0.18), (0.99, 0.01, 0.28), (0.95, 0.05, 0.3), (0.5, 0.5, 0.8)],
)
def test_ten_minutes_stay_prompt_at_any_speed_of_the_model(
    speed: float, withheld_share: float, heard_after_seconds: float
) -> None:
    result = simulate(Model(0.08 / speed), seconds=600)

    assert max(result.owed_seconds) < 0.121
    assert max(result.total_seconds) < 0.25
    assert max(result.heard_after_seconds) < heard_after_seconds
    assert result.withheld() / 30_000 == pytest.approx(withheld_share, abs=0.005)
    assert result.ledger.written_off_samples == 0
    # A slow model is announced once, one that nearly keeps up not at all.
    assert [is_slow for _, is_slow in result.slow_changes] == [True] * (speed < 0.98)
    assert max(result.targets_seconds[1500:]) <= 0.08
    assert result.targets_seconds[-1] == 0.02


def test_silence_is_withheld_before_speech() -> None:
    # Every fourth second is silent, so a model that is 1 % too slow never costs a word.
    result = simulate(Model(0.08 / 0.99), seconds=300)

    assert result.withheld() > 100
    assert Shed.SPEECH_WITHHELD not in result.ledger.shed_frames


@pytest.mark.parametrize("at_seconds", [2.0, 60.0])
@pytest.mark.parametrize(("speed", "heard_after_seconds"), [(1.6, 0.17), (1.0, 0.23), (0.95, 0.3)])
def test_after_a_hang_of_3_seconds_the_conversation_is_as_prompt_as_before(
    speed: float, heard_after_seconds: float, at_seconds: float
) -> None:
    result = simulate(Model(0.08 / speed, hang_seconds=(at_seconds, at_seconds + 3)), seconds=120)

    assert max(result.owed_seconds) < 0.121
    assert max(result.total_seconds) < 0.25
    assert max(result.heard_after_seconds[-500:]) < heard_after_seconds
    assert result.ledger.written_off_samples == 0
    assert [is_slow for _, is_slow in result.slow_changes] == ([True] if speed < 1 else [True, False])


def test_even_after_a_hang_of_9_seconds_all_that_was_sent_meanwhile_is_worked_off() -> None:
    result = simulate(Model(0.08, hang_seconds=(30.0, 39.0)), seconds=60)

    assert max(result.owed_seconds) < 0.12 + 3 * 0.08
    assert max(result.heard_after_seconds[-200:]) < 0.23
    assert result.ledger.written_off_samples == 0


@pytest.mark.parametrize(
    ("speed", "heard_after_seconds"),
    # A model that is exactly as fast as real time never works its start off, and nobody can tell it from a pipeline.
    [(1.6, 0.16), (1.0, UNKNOWN_FLOOR_SECONDS + 0.3)],
)
def test_a_model_whose_first_step_takes_seconds_catches_up_where_it_can(
    speed: float, heard_after_seconds: float
) -> None:
    result = simulate(Model(0.08 / speed, hang_seconds=(0.0, 5.0)), seconds=60)

    assert max(result.heard_after_seconds[-500:]) < heard_after_seconds


def test_network_jitter_deepens_the_playout_and_withholds_nothing() -> None:
    random = np.random.default_rng(7)
    late_seconds = np.where(random.uniform(size=4000) < 0.03, 0.09, 0.0)

    result = simulate(Model(0.05, jitter=lambda number: float(late_seconds[number])), seconds=240)

    assert result.withheld() == 0
    assert result.slow_changes == []
    assert max(result.targets_seconds) >= 0.08
    assert result.ledger.playout.underruns <= 15  # of 90 messages that were late
    assert max(result.heard_after_seconds) < 0.27


def test_the_conversation_goes_on_after_replies_were_lost_on_the_way() -> None:
    result = simulate(Model(0.05, lost={100, 101, 102, 300}), seconds=60)

    assert result.ledger.written_off_samples > 0
    assert result.spoken_ticks[-500:] == list(range(2500, 3000))
    assert max(result.heard_after_seconds[-200:]) < 0.25


@settings(max_examples=30)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("frames"), st.integers(1, 400)),
            st.tuples(st.just("answer"), st.integers(0, 20_000)),
            st.tuples(st.just("pause"), st.integers(1, 400)),
        ),
        max_size=30,
    )
)
def test_no_history_of_answers_withholds_for_ever(history: list[tuple[str, int]]) -> None:
    ledger = Ledger()
    tick = 0

    def talk(frames: int, *, is_answered: bool) -> int:
        nonlocal tick
        sent = 0
        for _ in range(frames):
            tick += 1
            if not ledger.withholds(is_silent=False, now_seconds=tick / 50):
                sent += 1
                ledger.sent(FRAME, waited_seconds=0.0, now_seconds=tick / 50)
                if is_answered and ledger.samples_sent % MESSAGE == 0:
                    ledger.received(MESSAGE, now_seconds=tick / 50)
            assert ledger.owed_seconds >= 0
        return sent

    for kind, amount in history:
        match kind:
            case "frames":
                talk(amount, is_answered=False)
            case "answer":
                ledger.received(amount, now_seconds=tick / 50)
            case _:
                tick += amount

    talk(1500, is_answered=True)
    assert talk(500, is_answered=True) == 500
