"""The bot's own voice that comes back: found and kept out, while people who speak are heard.

The room is `benchmarks.echo`'s: real codecs, a delay, reverberation and noise, in simulated time.
"""

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.echo import Room, Surroundings, converse, speech
from plexbridge.audio.echo import BANDS, FORGET_LOOKS, REACH_FRAMES, EchoGuard, Reference, band_powers
from plexbridge.audio.pcm import (
    MODEL_RATE_HZ,
    PEOPLE_FRAME_SAMPLES,
    PEOPLE_RATE_HZ,
    UPLINK_FRAME_SAMPLES,
    Samples,
    level_dbfs,
    silence,
)

ROOM = Surroundings(delay_seconds=0.25, reverberation_seconds=0.3)


def tone(hz: float, rate_hz: int, level: float = 0.3) -> Samples:
    """Return 20 ms."""
    return np.asarray(level * np.sin(np.arange(rate_hz // 50) * (2 * np.pi * hz / rate_hz)), np.float32)


def at_24_khz(frame: Samples) -> Samples:
    """Return a frame of 48 kHz at half the rate; what is above 12 kHz does not matter here."""
    return np.asarray((frame[::2] + frame[1::2]) / 2, np.float32)


def frames_of(samples: Samples) -> list[Samples]:
    return list(samples.reshape(-1, PEOPLE_FRAME_SAMPLES))


def bot_says(seconds: float) -> list[Samples]:
    """Return speech that is no part of what people say here: the same, backwards."""
    return frames_of(np.ascontiguousarray(speech(seconds)[::-1]))


class Call:
    """One person and the bot, on one beat."""

    def __init__(self, surroundings: Surroundings = ROOM) -> None:
        self.room = Room(surroundings)
        self.reference = Reference()
        self.guard = EchoGuard(self.reference)

    def hold(
        self, played: Sequence[Samples | None], said: Sequence[Samples] = (), *, has_loudspeakers: bool = True
    ) -> list[bool]:
        """Play and say, frame by frame; return for each whether it was held to be echo."""
        found = []
        for tick, frame in enumerate(played):
            come = self.room.pass_frame(frame if has_loudspeakers else None)
            if tick < len(said):
                come = come + said[tick]
            self.reference.tick()
            found.append(self.guard.is_echo(at_24_khz(come)))
            if frame is not None:
                self.reference.played(frame)
        return found


def test_the_bands_of_a_tone_are_the_same_at_both_rates_and_add_up_to_its_power() -> None:
    high, low = band_powers(tone(1_000, PEOPLE_RATE_HZ)), band_powers(tone(1_000, MODEL_RATE_HZ))

    assert high.shape == (BANDS,)
    assert high == pytest.approx(low, rel=1e-3, abs=1e-9)
    assert high.sum() == pytest.approx(0.3**2 / 2, rel=0.05)
    assert high.argmax() == 7, "1000 Hz is bin 20, with which the eighth band begins"
    assert band_powers(silence(UPLINK_FRAME_SAMPLES)).tolist() == [0.0] * BANDS


@pytest.mark.parametrize(
    ("surroundings", "lag_frames"),
    [
        (Surroundings(delay_seconds=0.15, gain_db=-20), 7),
        (Surroundings(delay_seconds=0.25, gain_db=-20, reverberation_seconds=0.3), 12),
        (Surroundings(delay_seconds=0.4, gain_db=-26, reverberation_seconds=0.5), 19),
        (Surroundings(delay_seconds=0.9, gain_db=-6, reverberation_seconds=0.3, noise_dbfs=-50), 44),
    ],
)
def test_the_path_is_found_with_its_lag_and_its_gain(surroundings: Surroundings, lag_frames: int) -> None:
    call = Call(surroundings)

    call.hold(bot_says(4))

    assert call.guard.path is not None
    # A frame is played after the one of the same tick was heard, which is one tick of the lag.
    assert call.guard.path.lag_frames == pytest.approx(lag_frames, abs=1)
    assert np.median(call.guard.path.gains_db) == pytest.approx(surroundings.gain_db, abs=5)


def test_a_faint_echo_is_kept_out_from_its_first_frame_on() -> None:
    found = Call().hold(bot_says(4))

    assert all(found[1:]), "before the first frame was played there is nothing to come back"


def test_a_loud_echo_is_kept_out_from_the_second_sentence_on() -> None:
    call = Call(Surroundings(delay_seconds=0.3, gain_db=-3, reverberation_seconds=0.3))
    first = call.hold(bot_says(4))
    call.hold([None] * 100)
    second = call.hold(bot_says(4))

    assert not all(first[20:60])
    assert all(second[1:])


def test_the_room_s_tail_after_the_bot_s_last_word_is_echo_too() -> None:
    call = Call(Surroundings(delay_seconds=0.4, reverberation_seconds=0.5))
    call.hold(bot_says(4))

    assert all(call.hold([None] * 40))


def test_nothing_is_echo_while_the_bot_is_silent_and_nothing_is_computed() -> None:
    call = Call()
    call.hold(bot_says(2))
    call.hold([None] * 120)

    assert not call.reference.is_active
    assert not any(call.hold([None] * 50, bot_says(1)))


@pytest.mark.parametrize("level_db", [0, -10])
def test_who_speaks_over_the_bot_is_heard(level_db: float) -> None:
    """At 0 dB they are as loud as the bot, and at the lower level twice as faint, which is 10 dB above the echo."""
    call = Call()
    call.hold(bot_says(3))
    said = [frame * np.float32(10 ** (level_db / 20)) for frame in frames_of(speech(6))]
    found = call.hold(bot_says(6), said)

    loud = [level_dbfs(frame) > -45 + level_db for frame in said]
    heard = [not is_echo for is_echo, is_loud in zip(found, loud, strict=True) if is_loud]
    assert sum(heard) / len(heard) >= (0.97 if level_db == 0 else 0.85)


def test_who_wears_headphones_is_heard_from_the_first_word_on_though_the_bot_speaks() -> None:
    call = Call()
    said = frames_of(speech(6))
    found = call.hold(bot_says(6), said, has_loudspeakers=False)

    assert call.guard.path is None
    first_loud = next(tick for tick, frame in enumerate(said) if level_dbfs(frame) > -25)
    assert first_loud < 10
    assert not any(found[first_loud:])


def test_who_speaks_so_softly_that_it_might_be_echo_is_heard_when_it_turns_out_not_to_be() -> None:
    call = Call()
    said = [frame * np.float32(0.1) for frame in frames_of(speech(6))]
    found = call.hold(bot_says(6), said, has_loudspeakers=False)

    assert call.guard.path is None
    assert all(found[5:50])
    assert not any(found[150:])


def test_a_path_is_forgotten_when_headphones_are_put_on() -> None:
    call = Call()
    call.hold(bot_says(3))
    assert call.guard.path is not None

    call.hold(bot_says(6), [frame * np.float32(0.05) for frame in frames_of(speech(6))], has_loudspeakers=False)

    assert FORGET_LOOKS * 5 < 6 * 50
    assert call.guard.path is None


def test_a_tone_that_the_bot_gives_back_is_no_echo() -> None:
    whistle = tone(440, PEOPLE_RATE_HZ)
    call = Call()

    found = call.hold([None] * 15 + [whistle] * 200, [whistle] * 215, has_loudspeakers=False)

    assert call.guard.path is None
    assert not any(found)


def test_what_lies_longer_ago_than_any_echo_is_forgotten() -> None:
    reference = Reference()
    reference.played(tone(440, PEOPLE_RATE_HZ))
    reference.tick()
    assert reference.is_active
    assert reference.loudest > 0.01

    reference.tick(3 * REACH_FRAMES)

    assert not reference.is_active
    assert reference.loudest == 0


def test_a_model_that_hears_itself_takes_turns_by_itself_unless_it_is_guarded() -> None:
    """The ten minutes of this are `python -m benchmarks.echo`."""
    guarded = converse(ROOM, seconds=54)
    unguarded = converse(ROOM, seconds=25, is_guarded=False)

    assert (guarded.sentences, guarded.turns, guarded.leaked_frames) == (5, 5, 0)
    assert unguarded.own_turns > 5


def test_what_does_not_vary_is_like_nothing_and_what_was_played_is_like_itself() -> None:
    reference = Reference()
    rows = np.array([band_powers(frame) for frame in bot_says(2)])
    for frame in bot_says(2):
        reference.played(frame)
        reference.tick()
    hum = np.repeat(band_powers(tone(440, MODEL_RATE_HZ))[None], 50, axis=0)

    alike = reference.correlations(rows[-60:-10])

    assert reference.correlations(hum) is None
    assert alike is not None
    assert alike.argmax() == pytest.approx(10, abs=1)
    assert alike.max() > 0.8
