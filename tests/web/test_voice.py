"""What a session hears of a web page, tick by tick: packets with a number in them go in, and are timed coming out."""

import json
from random import Random
from typing import cast

import numpy as np
import pytest
import trio
import trio_websocket
from trio.testing import MockClock

from plexbridge.audio.hearing import HearingSettings
from plexbridge.audio.pcm import silence
from plexbridge.model.conversation import State
from plexbridge.people.web.downlink import Downlink
from plexbridge.people.web.levels import Levels
from plexbridge.people.web.messages import Audio, Codec
from plexbridge.people.web.voice import INBOX_FRAMES, WebPeople
from tests.web.simulation import opus_packets

FRAME_SECONDS = 0.02
NUMBERS = 200
"""Frames are told apart by their loudness, in so many steps."""
STEP = 60


def numbered(sequence: int) -> bytes:
    """Return a plain frame of one value that stands for its number."""
    return np.full(960, (sequence % NUMBERS + 1) * STEP, "<i2").tobytes()


class RecordedDownlink(Downlink):
    """Sends nothing, and knows what it was to send."""

    def __init__(self) -> None:
        super().__init__(cast("trio_websocket.WebSocketConnection", None))
        self.played: list[int] = []
        self.told: list[dict[str, object]] = []

    def play(self, audio: Audio) -> None:
        """Write down the number of a frame."""
        self.played.append(audio.sequence)

    def tell(self, text: str | None) -> None:
        """Write down a message."""
        if text is not None:
            self.told.append(json.loads(text))


def make_people(codec: Codec = Codec.PCM16, downlink: Downlink | None = None) -> WebPeople:
    """Return people whose sounds all pass."""
    return WebPeople(downlink or RecordedDownlink(), Levels(), codec, HearingSettings(has_noise_gate=False))


class Page:
    """Frames that arrive when they do, and a session that listens every 20 ms."""

    def __init__(self, clock: MockClock) -> None:
        self.people = make_people()
        self._clock = clock
        self.tick = 0

    def listen(self, arrivals: dict[int, float], ticks: int) -> list[int | None]:
        """Go on for `ticks`; return how many ticks late each heard frame is, and None for silence.

        `arrivals` says when each frame arrives, in seconds; frame n is captured at tick n.
        """
        due = sorted((seconds, sequence) for sequence, seconds in arrivals.items())
        heard = []
        for _ in range(ticks):
            now_seconds = self.tick * FRAME_SECONDS
            while due and due[0][0] <= now_seconds:
                seconds, sequence = due.pop(0)
                self._go_to(seconds)
                self.people.hear(Audio(sequence, numbered(sequence)))
            self._go_to(now_seconds)
            frame = self.people.listen(now_seconds)
            number = round(float(frame.samples[240]) * 32_768 / STEP) - 1
            heard.append(None if frame.is_silent else (self.tick - number) % NUMBERS)
            self.tick += 1
        return heard

    def _go_to(self, seconds: float) -> None:
        self._clock.jump(max(0.0, seconds - trio.current_time()))


async def test_what_comes_in_time_is_heard_a_tick_or_two_later(mock_clock: MockClock) -> None:
    page = Page(mock_clock)
    heard = page.listen({sequence: sequence * 0.02 + 0.013 for sequence in range(500)}, 500)

    assert set(heard[:3]) == {None}
    assert set(heard[3:]) == {2}
    assert page.people.traffic().dropped == 0


async def test_a_burst_after_a_stall_is_shed_and_leaves_no_delay_behind(mock_clock: MockClock) -> None:
    page = Page(mock_clock)
    arrivals = {sequence: sequence * 0.02 + 0.013 for sequence in range(800)}
    arrivals.update(dict.fromkeys(range(200, 250), 5.0))  # held up for a second
    heard = page.listen(arrivals, 800)

    assert set(heard[100:200]) == {2}
    assert heard[210:250] == [None] * 40
    late = [frames for frames in heard[251:] if frames is not None]
    assert max(late) <= 7, "120 ms, and the tick"
    assert max(late[100:]) <= 3, "after two seconds there is one frame more than before"
    assert set(late[-100:]) == {2}
    traffic = page.people.traffic()
    assert traffic.dropped in range(44, 50)
    assert traffic.decoded == 800 - 2 - traffic.dropped


async def test_a_second_of_bursts_every_ten_seconds_adds_nothing_either(mock_clock: MockClock) -> None:
    page = Page(mock_clock)
    arrivals = {sequence: sequence * 0.02 + 0.013 for sequence in range(3_000)}
    for start in range(300, 3_000, 500):
        arrivals.update(dict.fromkeys(range(start, start + 50), (start + 50) * 0.02))
    heard = page.listen(arrivals, 3_000)

    assert set(heard[-60:]) == {2}


async def test_a_network_that_varies_costs_no_more_than_it_varies(mock_clock: MockClock) -> None:
    page = Page(mock_clock)
    random, latest = Random(1), 0.0
    arrivals = {}
    for sequence in range(1_000):
        latest = max(latest, sequence * 0.02 + 0.013 + random.choice((0.0, 0.0, 0.0, 0.01, 0.02, 0.03)))
        arrivals[sequence] = latest
    heard = page.listen(arrivals, 1_000)

    late = [frames for frames in heard[100:] if frames is not None]
    assert len(late) > 890
    assert max(late) <= 4


async def test_who_is_muted_is_silent_and_is_heard_again_in_time(mock_clock: MockClock) -> None:
    page = Page(mock_clock)
    arrivals = {sequence: sequence * 0.02 + 0.013 for sequence in (*range(100), *range(40_000, 40_100))}
    said = page.listen({sequence: arrivals[sequence] for sequence in range(100)}, 100)
    muted = page.listen({}, 39_900)
    again = page.listen({sequence: arrivals[sequence] for sequence in range(40_000, 40_100)}, 100)

    assert set(said[3:]) == {2}
    assert set(muted[6:]) == {None}, "but for the end of the last sound"
    assert set(again[5:]) == {2}
    assert again.count(None) < 6, "thirteen minutes of it are more than the jitter buffer counts"


async def test_what_came_while_nobody_listened_was_not_said_to_the_model(mock_clock: MockClock) -> None:
    page = Page(mock_clock)
    for sequence in range(300):
        page.people.hear(Audio(sequence, numbered(sequence)))
        mock_clock.jump(FRAME_SECONDS)
    page.tick = 300

    heard = page.listen({sequence: sequence * 0.02 + 0.013 for sequence in range(300, 700)}, 400)

    assert page.people.traffic().dropped >= 300 - 25 - 2
    assert max(frames for frames in heard if frames is not None) < 25
    assert set(heard[-10:]) <= {2, 3}
    assert INBOX_FRAMES == 100


async def test_missed_ticks_are_thrown_away_and_never_made_up(mock_clock: MockClock) -> None:
    page = Page(mock_clock)
    arrivals = {sequence: sequence * 0.02 + 0.013 for sequence in range(400)}
    page.listen({sequence: seconds for sequence, seconds in arrivals.items() if sequence < 99}, 100)
    page.people.skip(10)
    page.tick += 10
    heard = page.listen({sequence: seconds for sequence, seconds in arrivals.items() if sequence >= 99}, 100)

    assert set(heard[-50:]) <= {2, 3}


async def test_frames_count_on_from_session_to_session(mock_clock: MockClock) -> None:
    downlink = RecordedDownlink()
    people = make_people(Codec.OPUS, downlink)
    for tick in (0, 1, 5, 0, 1):
        people.play(silence(960), tick)
    people.close()

    assert downlink.played == [0, 1, 2, 3, 4]
    assert people.traffic().encoded == 5


async def test_a_page_is_told_each_change_of_the_model_once_and_that_it_listens_when_it_did_not(
    mock_clock: MockClock,
) -> None:
    downlink = RecordedDownlink()
    people = make_people(Codec.OPUS, downlink)
    people.listens = lambda: downlink.tell('{"state":"ready"}')
    for state in (State.CONNECTING, State.WAITING, State.LIVE, State.TOO_SLOW, State.LIVE, State.LIVE):
        people.tell(state)
    people.rest()
    people.rest()
    people.tell(State.LIVE)
    people.close()

    states = [text["state"] for text in downlink.told]
    assert states == ["connecting", "preparing", "ready", "live", "behind", "live", "lost", "ready", "live"]


@pytest.mark.parametrize("codec", Codec)
async def test_garbage_is_silence_and_breaks_nothing(codec: Codec, mock_clock: MockClock) -> None:
    people = make_people(codec)
    random = Random(1)
    good = opus_packets(100) if codec is Codec.OPUS else [numbered(150)] * 100
    for tick in range(200):
        is_good = tick >= 100
        garbage = random.randbytes(40 if codec is Codec.OPUS else 1_920)
        people.hear(Audio(tick, good[tick - 100] if is_good else garbage))
        mock_clock.jump(FRAME_SECONDS)
        frame = people.listen(trio.current_time())
        assert np.isfinite(frame.samples).all()
        assert np.abs(frame.samples).max() <= 1.0
    assert not frame.is_silent
    people.close()
