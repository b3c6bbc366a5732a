"""Spurts: what is sent for every frame, sound or silence."""

from plexbridge.people.discord.spurts import CLOSING_FRAMES, PAUSE_FRAMES, Sending, Spurts


def send(spurts: Spurts, *, silent: int = 0, sound: int = 0) -> list[Sending]:
    return [spurts.push(is_silent=True) for _ in range(silent)] + [spurts.push(is_silent=False) for _ in range(sound)]


def test_nothing_is_sent_before_the_first_sound() -> None:
    spurts = Spurts()

    assert send(spurts, silent=100) == [Sending.NOTHING] * 100
    assert not spurts.is_speaking


def test_a_spurt_ends_after_200_ms_of_silence_with_five_silence_frames_and_then_nothing() -> None:
    spurts = Spurts()

    assert send(spurts, sound=3) == [Sending.SOUND] * 3
    assert send(spurts, silent=PAUSE_FRAMES) == [Sending.SOUND] * 10
    assert spurts.is_speaking
    assert send(spurts, silent=CLOSING_FRAMES) == [Sending.SILENCE] * 5
    assert not spurts.is_speaking
    assert send(spurts, silent=50) == [Sending.NOTHING] * 50


def test_a_short_pause_belongs_to_the_spurt() -> None:
    spurts = Spurts()
    send(spurts, sound=1)

    assert send(spurts, silent=PAUSE_FRAMES, sound=1) == [Sending.SOUND] * (PAUSE_FRAMES + 1)
    assert send(spurts, silent=PAUSE_FRAMES) == [Sending.SOUND] * PAUSE_FRAMES


def test_sound_during_the_closing_frames_goes_on_at_once() -> None:
    spurts = Spurts()
    send(spurts, sound=1)
    send(spurts, silent=PAUSE_FRAMES + 2)

    assert send(spurts, sound=1) == [Sending.SOUND]
    assert spurts.is_speaking
    assert send(spurts, silent=PAUSE_FRAMES + 1)[-1] is Sending.SILENCE


def test_a_spurt_that_is_broken_off_has_no_closing_frames() -> None:
    spurts = Spurts()
    send(spurts, sound=1)

    spurts.break_off()

    assert not spurts.is_speaking
    assert send(spurts, silent=1) == [Sending.NOTHING]
