"""What a call shows: a line that a person can read at a glance, and a summary with every figure that was promised."""

import io
from functools import partial

import pytest
from rich.console import Console

from plexbridge.audio.playout import PlayoutStatistics
from plexbridge.screen import live_line, meter, print_summary
from plexbridge.session.ledger import Ledger


def summary(ledger: Ledger, *, width: int = 100) -> str:
    text = io.StringIO()
    print_summary(Console(file=text, width=width), ledger, handshake_seconds=1.234)
    return text.getvalue()


def rows(text: str) -> dict[str, str]:
    """Return the summary's rows by name: two columns, at least two spaces apart."""
    named = {}
    for line in text.splitlines():
        name, _, value = line.strip().partition("  ")
        named[name] = value.strip()
    return named


def ledger_of_a_call() -> Ledger:
    """Return the books of a short call: 100 frames up, 95 down, delays of 5, 0 and 40 ms."""
    ledger = Ledger()
    for frame in range(100):
        ledger.sent(480, waited_seconds=0.005, now_seconds=0.02 * frame)
        if frame >= 5:
            ledger.received(480, now_seconds=0.02 * frame)
            ledger.played(
                arrived_seconds=0.02 * frame,
                message_arrivals=(0.02 * frame,),
                is_audible=frame >= 25,
                now_seconds=0.02 * frame + 0.04,
            )
    return ledger


@pytest.mark.parametrize(
    ("dbfs", "bar"),
    [
        (0.0, "████████████"),
        (6.0, "████████████"),
        (-30.0, "██████······"),
        (-55.0, "█···········"),
        (-60.0, "············"),
        (-120.0, "············"),
    ],
)
def test_the_meter_spans_60_db(dbfs: float, bar: str) -> None:
    assert meter(dbfs) == bar


def test_the_live_line_shows_levels_depth_delay_and_the_time_left() -> None:
    ledger = ledger_of_a_call()
    ledger.follow(partial(PlayoutStatistics, depth_samples=48 * 62))

    line = live_line(ledger, input_dbfs=-30.0, output_dbfs=0.0, seconds_left=7.25)

    assert line == "in ██████······  out ████████████  playout  62 ms  delay  45 ms    7.2 s left"


def test_the_live_line_keeps_its_width_so_that_it_does_not_flicker() -> None:
    ledger = ledger_of_a_call()
    lines = []
    for depth_ms, seconds_left in ((0, 0.0), (5, 9.9), (60, 59.9), (300, 999.9)):
        ledger.follow(partial(PlayoutStatistics, depth_samples=48 * depth_ms))
        lines.append(live_line(ledger, input_dbfs=-90, output_dbfs=-1, seconds_left=seconds_left))

    assert len({len(line) for line in lines}) == 1
    assert len(lines[0]) < 80


def test_the_summary_of_a_call_without_a_fault() -> None:
    named = rows(summary(ledger_of_a_call()))

    assert named == {
        "handshake": "1.23 s",
        "frames sent": "100",
        "frames received": "95",
        "frames concealed": "0.0 (0 gaps)",
        "frames shed": "0",
        "first sound of the answer": "0.54 s after the first frame",
        "delay p50 / p99": "45 / 45 ms",
        "on the way up": "5 / 5 ms",
        "owed by the model": "0 / 0 ms",
        "on the way down": "40 / 40 ms",
    }


def test_the_summary_names_every_reason_for_which_frames_were_shed() -> None:
    ledger = ledger_of_a_call()
    ledger.missed_uplink(7)
    for _ in range(10):
        ledger.sent(480, waited_seconds=0.005, now_seconds=2.0)
    for is_silent in (True, True, True, False, False):
        assert ledger.withholds(is_silent=is_silent, now_seconds=2.0)
    ledger.follow(
        partial(
            PlayoutStatistics,
            shed_silence_samples=960,
            shed_standing_samples=2 * 960,
            shed_burst_samples=3 * 960 + 480,
            shed_late_samples=4 * 960,
        )
    )

    named = rows(summary(ledger))

    assert {name: value for name, value in named.items() if name.startswith("frames shed")} == {
        "frames shed: late on the way up": "7.0",
        "frames shed: silence withheld from a slow model": "3.0",
        "frames shed: speech withheld from a slow model": "2.0",
        "frames shed: silence cut to give back delay": "1.0",
        "frames shed: standing delay cut": "2.0",
        "frames shed: a burst after a stall cut": "3.5",
        "frames shed: late on the way down": "4.0",
    }


def test_the_summary_tells_of_gaps_damage_and_the_round_trip_where_there_were_any() -> None:
    ledger = ledger_of_a_call()
    ledger.follow(partial(PlayoutStatistics, underruns=3, concealed_samples=4800, lost_packets=2, damaged_packets=1))
    ledger.round_trip_seconds = 0.0123

    named = rows(summary(ledger))

    assert named["frames concealed"] == "5.0 (3 gaps)"
    assert named["packets lost, damaged"] == "2, 1"
    assert named["round trip to the model"] == "12.3 ms"


def test_the_summary_tells_the_common_delay_from_the_worst() -> None:
    ledger = Ledger()
    for number in range(100):
        ledger.sent(480, waited_seconds=0.1 if number >= 98 else 0.002, now_seconds=0.02 * number)

    assert rows(summary(ledger))["on the way up"] == "2 / 100 ms"


def test_the_summary_of_a_call_in_which_nothing_came() -> None:
    named = rows(summary(Ledger()))

    assert named["frames received"] == "0"
    assert named["first sound of the answer"] == "none"
    assert [named[name] for name in ("delay p50 / p99", "on the way up", "owed by the model", "on the way down")] == [
        "none"
    ] * 4


def test_the_summary_fits_a_terminal_of_80_columns_and_24_lines() -> None:
    ledger = ledger_of_a_call()
    ledger.missed_uplink(1000)
    ledger.round_trip_seconds = 1.0
    ledger.follow(
        partial(
            PlayoutStatistics,
            underruns=1000,
            concealed_samples=96000,
            lost_packets=2,
            damaged_packets=1,
            shed_silence_samples=960,
            shed_standing_samples=960,
            shed_burst_samples=960,
            shed_late_samples=960,
        )
    )

    narrow, wide = summary(ledger, width=80), summary(ledger, width=300)

    assert rows(narrow) == rows(wide)
    assert len(narrow.splitlines()) < 24
