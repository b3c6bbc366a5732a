"""The way of each person's frames into the mix: gains, attention, the noise gate, the bot's echo, speaking times."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from plexbridge.audio.hearing import PERSON_LIMIT, Hearing, HearingSettings, SpeakingTime
from plexbridge.audio.mixer import mix
from plexbridge.audio.pcm import (
    FRAME_SECONDS,
    PEOPLE_FRAME_SAMPLES,
    UPLINK_FRAME_SAMPLES,
    Samples,
    level_dbfs,
)
from plexbridge.audio.vad import HANGOVER_FRAMES, Networks
from tests.audio.test_vad import NETWORKS, frames, noises, speech

GATED = HearingSettings(networks=NETWORKS)
UNGATED = replace(GATED, has_noise_gate=False)
ADA, BOB = 1, 2
TONE = (0.25 * np.sin(np.arange(UPLINK_FRAME_SAMPLES) * 0.1)).astype(np.float32)
OTHER_TONE = (0.125 * np.sin(np.arange(UPLINK_FRAME_SAMPLES) * 0.17)).astype(np.float32)


@pytest.fixture
def gated() -> Iterator[Hearing]:
    hearing = Hearing(GATED)
    yield hearing
    hearing.close()


@pytest.fixture
def ungated() -> Iterator[Hearing]:
    hearing = Hearing(UNGATED)
    yield hearing
    hearing.close()


def heard_of(hearing: Hearing, sound: Sequence[Samples | None], *, start_seconds: float = 0.0) -> list[Samples | None]:
    """Let Ada send these frames, None being a tick without one; return what is mixed of them."""
    return [
        hearing.hear({} if frame is None else {ADA: frame}, start_seconds + tick * FRAME_SECONDS).get(ADA)
        for tick, frame in enumerate(sound)
    ]


def test_without_a_reason_to_change_it_a_frame_is_passed_on_as_it_is(ungated: Hearing) -> None:
    for tick in range(5):
        assert ungated.hear({ADA: TONE}, tick * FRAME_SECONDS)[ADA] is TONE


def test_gains_are_exact_and_each_person_s_own(ungated: Hearing) -> None:
    ungated.set_gain(ADA, 2.0)  # before she is there
    ungated.set_gain(BOB, 0.5)

    first, second = (ungated.hear({ADA: TONE, BOB: OTHER_TONE, 3: OTHER_TONE}, seconds) for seconds in (0, 0.02))

    for heard in (first, second):
        assert np.array_equal(heard[ADA], TONE * 2)
        assert np.array_equal(heard[BOB], OTHER_TONE / 2)
        assert heard[3] is OTHER_TONE
    assert np.array_equal(mix(first.values(), UPLINK_FRAME_SAMPLES), TONE * 2 + OTHER_TONE / 2 + OTHER_TONE)


def test_a_new_gain_is_glided_to_and_a_gain_of_nothing_is_silence(ungated: Hearing) -> None:
    ungated.hear({ADA: TONE}, 0.0)
    ungated.set_gain(ADA, 0.0)

    fading, gone = (ungated.hear({ADA: TONE}, seconds) for seconds in (0.02, 0.04))

    assert np.abs(fading[ADA][:120]).max() > 0.1
    assert not fading[ADA][120:].any()
    assert gone == {}


def test_who_is_not_attended_is_not_mixed_but_their_speaking_is_noticed(gated: Hearing) -> None:
    gated.set_attended(frozenset((BOB,)))

    assert heard_of(gated, frames(speech())[:100]) == [None] * 100
    assert gated.activity()[ADA].is_speaking
    assert gated.activity()[ADA].seconds > 1
    assert gated.last_spoke_seconds < 0, "nobody who is attended has said anything"
    gated.set_attended(None)
    assert heard_of(gated, frames(speech())[100:102])[1] is not None


def test_noise_is_kept_out_after_a_moment_and_can_be_let_in(gated: Hearing, ungated: Hearing) -> None:
    typing = frames(noises(4)["white noise"])

    kept, passed = heard_of(gated, typing), heard_of(ungated, typing)

    assert all(frame is not None for frame in kept[:15])
    assert kept[16:] == [None] * (len(typing) - 16)
    assert all(one is other for one, other in zip(passed, typing, strict=True))


def test_speech_passes_the_gate_unchanged_from_its_first_frame_to_its_last(gated: Hearing) -> None:
    said = frames(speech()[:48_000])

    assert all(one is other for one, other in zip(heard_of(gated, said), said, strict=True))


def test_speaking_times_count_speech_and_when_it_was_last(gated: Hearing) -> None:
    assert gated.activity() == {}

    heard_of(gated, [*[None] * 5, *frames(speech()[:48_000])], start_seconds=100)
    speaking = gated.activity()[ADA]
    heard_of(gated, [None] * (HANGOVER_FRAMES + 1), start_seconds=103)
    silent = gated.activity()[ADA]

    assert speaking.is_speaking
    assert 1.2 < speaking.seconds < 2.0
    assert 101.5 < speaking.last_spoke_seconds <= 102.1
    assert silent == replace(speaking, is_speaking=False)
    assert gated.last_spoke_seconds == silent.last_spoke_seconds


def test_noise_is_no_speaking(ungated: Hearing) -> None:
    heard_of(ungated, frames(noises(3)["typing"]))

    assert ungated.activity() == {ADA: SpeakingTime()}


def test_the_bot_s_own_voice_is_kept_out_and_no_speaking_of_the_person_s(ungated: Hearing) -> None:
    """The path is found as in `test_echo.py`; here it is that the person who sends it is not held to speak."""
    down = np.repeat(speech()[:72_000], 2).reshape(-1, PEOPLE_FRAME_SAMPLES)
    echo = [None] * 10 + [frame * np.float32(0.1) for frame in frames(speech()[:72_000])]

    heard = []
    for tick, played in enumerate(down):
        come = echo[tick]
        heard.append(ungated.hear({} if come is None else {ADA: come, BOB: frames(speech())[tick + 40]}, tick / 50))
        ungated.played(played)

    assert not any(ADA in each for each in heard)
    assert ungated.activity()[ADA].seconds == 0
    assert all(BOB in each for each in heard[30:]), "it is silenced for the person it comes from, and for nobody else"


def test_of_too_many_people_who_was_silent_for_longest_is_forgotten(gated: Hearing) -> None:
    loud = next(frame for frame in frames(speech()) if level_dbfs(frame) > -20)
    for tick in range(30):
        gated.hear({ADA: frames(speech())[tick]}, 100 + tick / 50)
    for user_id in range(10, 10 + 3 * PERSON_LIMIT):
        gated.hear({user_id: loud}, 1.0)

    assert len(gated.activity()) == PERSON_LIMIT
    assert ADA in gated.activity()


@pytest.mark.parametrize("settings", [GATED, UNGATED])
def test_what_was_lent_comes_back_at_the_end(settings: HearingSettings) -> None:
    networks = Networks(limit=1)
    networks.make()
    hearing = Hearing(replace(settings, networks=networks))
    heard_of(hearing, frames(speech())[:50])
    assert networks.borrow() is None

    hearing.close()
    hearing.close()

    assert networks.borrow() is not None
