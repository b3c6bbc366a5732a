"""The noise gate: trust first, speech always, noise not for long."""

import numpy as np
import pytest

from plexbridge.audio.gate import DISTRUST_FRAMES, FADE_SAMPLES, SPURT_FRAMES, TRUST_FRAMES, NoiseGate, faded
from plexbridge.audio.pcm import Samples

ONES = np.ones(480, np.float32)


def passed(gate: NoiseGate, speaking: str) -> str:
    """Let a gate see frames: `s` of somebody who is speaking, `n` of noise, `.` none; return which pass as `+`."""
    result = ""
    for each in speaking:
        if each == ".":
            gate.pause()
            result += "."
        else:
            result += "+" if gate.passes(is_speaking=each == "s") else "-"
    return result


def test_noise_passes_until_it_is_known_to_be_no_speech() -> None:
    assert passed(NoiseGate(), "n" * 40) == "+" * TRUST_FRAMES + "-" * (40 - TRUST_FRAMES)


def test_a_sentence_passes_from_its_first_frame_to_the_end_of_the_hangover() -> None:
    assert passed(NoiseGate(), "nnnssssssnnn") == "+++++++++---"


def test_who_has_only_made_noise_is_trusted_for_a_shorter_time_and_who_spoke_for_the_full_one() -> None:
    gate, pause = NoiseGate(), "." * SPURT_FRAMES
    passed(gate, "n" * 40 + pause)

    assert passed(gate, "n" * 40) == "+" * DISTRUST_FRAMES + "-" * (40 - DISTRUST_FRAMES)
    passed(gate, pause)
    assert passed(gate, "nnnsss") == "++++++"
    passed(gate, "nn" + pause)
    assert passed(gate, "n" * 40) == "+" * TRUST_FRAMES + "-" * (40 - TRUST_FRAMES)


def test_a_short_pause_is_no_new_beginning() -> None:
    gate = NoiseGate()
    passed(gate, "n" * 40)

    assert passed(gate, "." * (SPURT_FRAMES - 1) + "nnn") == "." * (SPURT_FRAMES - 1) + "---"
    assert not gate.is_idle
    passed(gate, "." * SPURT_FRAMES)
    assert gate.is_idle


def test_speech_opens_the_gate_in_the_midst_of_noise() -> None:
    assert passed(NoiseGate(), "n" * 20 + "sssn")[-4:] == "+++-"


@pytest.mark.parametrize("gain", [1.0, 0.0, 0.3, 2.0])
def test_a_gain_that_stays_is_exact(gain: float) -> None:
    assert np.array_equal(faded(ONES, gain, gain), ONES * np.float32(gain))


def test_an_unchanged_frame_is_not_even_copied() -> None:
    assert faded(ONES, 1, 1) is ONES


@pytest.mark.parametrize(("before", "now"), [(0.0, 1.0), (1.0, 0.0), (0.5, 2.0)])
def test_a_gain_that_changes_is_reached_evenly_within_5_ms(before: float, now: float) -> None:
    result: Samples = faded(ONES, before, now)

    assert FADE_SAMPLES == 120
    assert result[0] == pytest.approx(before)
    assert np.diff(result[: FADE_SAMPLES + 1]) == pytest.approx((now - before) / FADE_SAMPLES, abs=1e-5)
    assert np.array_equal(result[FADE_SAMPLES:], ONES[FADE_SAMPLES:] * np.float32(now))
    assert ONES.tolist() == [1.0] * 480
