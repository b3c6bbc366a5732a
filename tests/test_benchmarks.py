"""The benchmarks run, and what they write makes sense; how fast anything is, is not judged here."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from benchmarks.delay import PartDelay, part_delays
from benchmarks.echo import ROOMS, converse
from benchmarks.faults_page import Outcome, Parting, Report, page
from benchmarks.hearing import judge as judge_hearing
from benchmarks.hearing import noises, spoken
from benchmarks.observation import Observation
from benchmarks.results import Results, judge, machine
from benchmarks.soak import Range, Soak, SoakedCall
from benchmarks.stage import Pipeline, Way
from benchmarks.stages import Comparison, Spread, Stages
from benchmarks.watched_call import PARTS, Sample, Summary
from plexbridge.audio.vad import Networks
from tests.command import ROOT

END_SECONDS = 240.0
TOO_SLOW = "The speech model is too slow at the moment; some of what you say is skipped."


class Run:
    """A short run that has ended."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "benchmarks", "--short", "--out", str(folder)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=END_SECONDS, check=False)
        assert ended.returncode == 0, ended.stderr
        self.stdout, self.stderr = ended.stdout, ended.stderr
        self.figures: dict[str, Any] = json.loads((folder / "figures.json").read_text())
        self.picture = folder / "picture.png"


@pytest.fixture(scope="module")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("benchmarks"))


@pytest.mark.live
def test_a_short_run_says_what_it_does_and_prints_every_table(short_run: Run) -> None:
    for part in ("stages", "call", "delay", "soak"):
        assert f"{part}: " in short_run.stderr
    for words in ("CPU us per 20 ms", "One whole plexbridge call", "The delay ledger", "at the same time", "Goals"):
        assert words in short_run.stdout


@pytest.mark.live
def test_the_figures_name_the_command_the_machine_and_its_load(short_run: Run) -> None:
    figures = short_run.figures

    assert figures["command"].startswith("python -m benchmarks --short --out ")
    assert figures["is_short"]
    assert figures["machine"]["cores"] > 0
    assert "libopus" in figures["machine"]["libopus"]
    assert {"sphn", "discord.py", "numpy"} <= set(figures["machine"]["packages"])
    assert set(figures["load_averages"]) == set(figures["seconds"]) == {"stages", "call", "delay", "soak"}
    assert figures["opus"] is None, "settings are compared in the long run only"


@pytest.mark.live
def test_every_stage_costs_something_and_the_codec_work_is_their_sum(short_run: Run) -> None:
    stages = short_run.figures["stages"]

    own = {
        (cost["way"], cost["stage"].split(" (")[0], "codec" if cost["is_codec"] else "other")
        for cost in stages["costs"]
        if cost["pipeline"] == Pipeline.PLEXBRIDGE
    }
    assert own == {
        ("up", "listen", "other"),
        ("up", "decode", "codec"),
        ("up", "encode", "codec"),
        ("up", "Ogg write", "codec"),
        ("up", "send", "other"),
        ("down", "receive", "other"),
        ("down", "Ogg read", "codec"),
        ("down", "decode", "codec"),
        ("down", "playout buffer", "codec"),
        ("down", "encode", "codec"),
        ("down", "sink", "other"),
    }
    for cost in stages["costs"]:
        assert 0 < cost["frame_microseconds"]["median"] < 20_000, cost
    for comparison in stages["comparisons"]:
        sums = {
            pipeline: sum(
                cost["frame_microseconds"]["median"]
                for cost in stages["costs"]
                if (cost["way"], cost["pipeline"], cost["is_codec"]) == (comparison["way"], pipeline, True)
            )
            for pipeline in Pipeline
        }
        assert comparison["plexbridge_microseconds"] == pytest.approx(sums[Pipeline.PLEXBRIDGE], rel=0.3)
        assert comparison["earlier_microseconds"] == pytest.approx(sums[Pipeline.EARLIER], rel=0.3)
        assert comparison["ratio"]["median"] == pytest.approx(
            comparison["plexbridge_microseconds"] / comparison["earlier_microseconds"], rel=0.3
        )


@pytest.mark.live
def test_a_whole_call_uses_a_share_of_a_core_and_some_memory(short_run: Run) -> None:
    call = short_run.figures["call"]

    assert 0 < call["cpu_share"] < 1
    assert call["frame_cpu_microseconds"] == pytest.approx(call["cpu_share"] * 20_000)
    assert 10 < call["start_rss_mib"] <= call["peak_rss_mib"] < 1_000
    assert 10 < call["end_rss_mib"] <= call["peak_rss_mib"]


@pytest.mark.live
def test_every_part_of_the_ledger_has_percentiles_and_a_histogram(short_run: Run) -> None:
    parts = {part["part"]: part for part in short_run.figures["delay"]["parts"]}

    assert tuple(parts) == PARTS
    for part in parts.values():
        assert part["count"] == sum(part["histogram"])
        assert 0 <= part["p50_ms"] <= part["p99_ms"] <= part["max_ms"] + 0.5
    assert parts["up"]["count"] > 250, "one for every 20 ms, 50 a second"
    assert 0 < parts["down_first_sample"]["count"] < parts["down"]["count"] / 3, "one for every 80 ms"


@pytest.mark.live
def test_both_long_calls_are_watched_and_only_the_slow_model_is_kept_from_speech(short_run: Run) -> None:
    fast, slow = short_run.figures["soak"]["calls"]

    assert (fast["speed"], slow["speed"]) == ("1.00", "0.95")
    for call in (fast, slow):
        assert call["frames_sent"] > 500
        assert call["messages_received"] > 120
        assert len(call["rss_mib"]) == len(call["windows"]) >= 10
        assert all(window["p50_ms"] <= window["p99_ms"] <= window["max_ms"] for window in call["windows"])
        assert call["tasks"]["least"] >= 4
    assert slow["withheld_seconds"] > 0
    assert slow["too_slow_notice_seconds"] is not None
    assert TOO_SLOW in [sentence for _, sentence in slow["notices"]]


@pytest.mark.live
def test_the_picture_has_something_drawn_in_each_of_its_six_panels(short_run: Run) -> None:
    pixels = matplotlib.image.imread(short_run.picture)[:, :, :3]

    is_coloured = pixels.max(axis=2) - pixels.min(axis=2) > 0.2  # axes, frames and words are black or grey
    assert min(is_coloured.shape) > 1_000
    for rows in np.array_split(is_coloured, 3):
        for panel in np.array_split(rows, 2, axis=1):
            assert panel.sum() > 1_000


def sample(second: int, *, rss_bytes: int = 60 * 2**20) -> Sample:
    """Return a sample of a quiet call."""
    delays_ms = {part: [10.0, 20.0] for part in PARTS}
    return Sample(float(second), delays_ms, rss_bytes, cpu_seconds=0.05 * second, descriptors=15, threads=2, tasks=12)


def summary(value_ms: float | None = 10.0) -> Summary:
    """Return a summary in which all percentiles are the same."""
    percentiles: dict[str, float | None] = dict.fromkeys(PARTS, value_ms)
    return Summary(percentiles, percentiles, 500, 125, 0, {}, first_sound_seconds=0.1)


def soaked_call(*, speed: str = "1.00", highest_total_ms: float = 100.0) -> SoakedCall:
    """Return a call that meets every goal."""
    return SoakedCall(
        speed=speed,
        delays=(PartDelay("total", 100, p50_ms=50, p99_ms=90, max_ms=highest_total_ms, histogram=(100,)),),
        windows=(),
        rss_mib=((1.0, 60.0),),
        rss_slope_kib_per_minute=0.0,
        tasks=Range(12, 12),
        threads=Range(2, 2),
        descriptors=Range(15, 15),
        cpu_share=0.05,
        frames_sent=30_000,
        messages_received=7_500,
        underruns=0,
        shed_frames={},
        withheld_seconds=0.0 if speed == "1.00" else 30.0,
        too_slow_notice_seconds=None if speed == "1.00" else 5.0,
        notices=(),
    )


def results(*calls: SoakedCall, ratio: float = 0.2) -> Results:
    """Return a run of ten minutes with these calls."""
    comparison = Comparison(Way.UP, 20.0, 100.0, Spread(ratio, ratio - 0.01, ratio + 0.01))
    run = Results("python -m benchmarks", "2026-01-01T00:00:00+00:00", is_short=False, machine=machine())
    run.stages = Stages(rounds=1, frames_per_round=1, costs=(), comparisons=(comparison,))
    run.soak = Soak(600.0, calls)
    return run


def test_memory_that_grows_by_ten_kibibytes_a_second_is_600_a_minute() -> None:
    samples = tuple(sample(second, rss_bytes=60 * 2**20 + second * 10 * 1024) for second in range(1, 101))

    observation = Observation(samples, summary(), ())

    assert observation.rss_slope_kib_per_minute == pytest.approx(600)


def test_what_is_touched_in_the_warm_up_is_no_growth() -> None:
    samples = tuple(sample(second, rss_bytes=(50 if second < 5 else 60) * 2**20) for second in range(1, 101))

    observation = Observation(samples, summary(), ())

    assert observation.rss_slope_kib_per_minute == pytest.approx(0, abs=1e-6)


def test_a_histogram_counts_every_delay_in_its_millisecond() -> None:
    parts = part_delays(Observation((sample(1), sample(2)), summary(), ()))

    assert [part.part for part in parts] == list(PARTS)
    assert parts[0].histogram[10] == parts[0].histogram[20] == 2
    assert parts[0].count == sum(parts[0].histogram) == 4
    assert (parts[0].p50_ms, parts[0].max_ms) == (10.0, 20.0)


def test_a_call_from_which_nothing_came_back_has_no_delays_to_show() -> None:
    with pytest.raises(RuntimeError, match="nothing to say of up"):
        part_delays(Observation((sample(1),), summary(None), ()))


def test_a_run_that_meets_every_goal_is_told_so() -> None:
    goals = judge(results(soaked_call(), soaked_call(speed="0.95")))

    assert len(goals) == 1 + 2 * 4
    assert all(goal.is_met for goal in goals)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (soaked_call(highest_total_ms=250.0), "the ledger's total"),
        (replace(soaked_call(), rss_slope_kib_per_minute=51.0), "growth of memory"),
        (replace(soaked_call(), tasks=Range(12, 13)), "tasks and so on"),
        (replace(soaked_call(), threads=Range(2, 3)), "tasks and so on"),
        (replace(soaked_call(), descriptors=Range(15, 16)), "tasks and so on"),
        (replace(soaked_call(), withheld_seconds=0.02), "withheld, and said so"),
        (replace(soaked_call(speed="0.95"), too_slow_notice_seconds=None), "withheld, and said so"),
        (replace(soaked_call(speed="0.95"), withheld_seconds=0.0), "withheld, and said so"),
    ],
)
def test_a_call_that_misses_a_goal_misses_only_that(call: SoakedCall, name: str) -> None:
    missed = [goal for goal in judge(results(call)) if not goal.is_met]

    assert [goal.name for goal in missed] == [f"model at {call.speed}: {name}"]


@pytest.mark.parametrize(("ratio", "is_met"), [(0.25, True), (0.26, False)])
def test_codec_work_may_be_a_quarter_of_the_earlier_bots(ratio: float, is_met: bool) -> None:
    goal = judge(results(ratio=ratio))[0]

    assert goal.is_met is is_met


@pytest.mark.live
def test_an_unknown_part_is_a_fault_of_usage() -> None:
    command = [sys.executable, "-m", "benchmarks", "--only", "everything"]

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=END_SECONDS, check=False)

    assert ended.returncode == 2
    assert "stages" in ended.stderr


@pytest.mark.live
def test_a_short_run_of_the_faults_writes_a_page_and_a_picture(tmp_path: Path) -> None:
    out = tmp_path / "faults.md"
    command = [sys.executable, "-m", "benchmarks.faults", "--short", "--seed", "7", "--out", str(out)]

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=END_SECONDS, check=False)

    assert "seed 7: " in ended.stderr
    rows = [line for line in out.read_text().splitlines() if line.endswith("| goes on |")]
    assert len(rows) == 3
    assert "I was taken out of the voice channel" in out.read_text()
    assert matplotlib.image.imread(tmp_path / "faults.png").shape[1] > 1_000


def outcome(*, answered_seconds: float | None = 0.2, hole_seconds: float | None = 0.1) -> Outcome:
    """Return what a fault was like that people hardly noticed."""
    return Outcome("the roof falls in", answered_seconds, hole_seconds, ("Oh.",), "goes on")


@pytest.mark.parametrize(
    ("felt", "is_late"),
    [
        (outcome(), False),
        (outcome(answered_seconds=5.0, hole_seconds=5.0), False),
        (outcome(answered_seconds=5.1), True),
        (outcome(hole_seconds=5.1), True),
        (outcome(answered_seconds=None), True),
        (outcome(hole_seconds=None), True),
    ],
)
def test_a_fault_may_be_felt_for_five_seconds(felt: Outcome, is_late: bool) -> None:
    assert felt.is_late is is_late


def test_the_page_of_the_faults_tells_all_of_each() -> None:
    partings = [Parting("the house is sold", 0.5, ())]

    text = page(Report("2026-01-01", 7, False, (0.1, 0.2), [outcome(answered_seconds=None)], partings), "house.png")

    assert "| the roof falls in | never | 0.10 s | “Oh.” | goes on |" in text
    assert "| the house is sold | 0.50 s | nothing |" in text
    assert "--seed 7" in text
    assert "all but 1." in text
    assert "(house.png)" in text


def test_the_judgement_of_the_speech_detector_tells_speech_from_noise() -> None:
    networks = Networks()
    networks.make()
    typing = noises(spoken().size)["typing"]

    precision, recall, false = judge_hearing(networks, typing)

    assert 0.8 < precision < 1
    assert 0.9 < recall < 1
    assert false == 0


def test_an_echo_of_a_few_seconds_is_counted_in_the_way_of_the_ten_minutes() -> None:
    heard = converse(ROOMS[-1], seconds=8)

    assert (heard.sentences, heard.turns, heard.own_turns) == (1, 1, 0)
    assert 0 < heard.frame_microseconds < 20_000
