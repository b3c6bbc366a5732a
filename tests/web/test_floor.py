"""What stands out from the noise of a room."""

from random import Random

from plexbridge.people.web.floor import NoiseFloor

RANDOM = Random(1)


def room(frames: int, dbfs: float = -48.0) -> list[float]:
    """Return how loud each frame of a room is."""
    return [dbfs + RANDOM.uniform(-1.5, 1.5) for _ in range(frames)]


def judge(floor: NoiseFloor, levels: list[float]) -> list[bool]:
    return [floor.stands_out(dbfs) for dbfs in levels]


def test_a_room_does_not_stand_out_however_loud_and_a_voice_in_it_does_at_once() -> None:
    for dbfs in (-100.0, -70.0, -48.0, -30.0):
        floor = NoiseFloor()
        heard = judge(floor, room(200, dbfs))
        assert all(heard[:24]), "nothing is known of the room"
        assert not any(heard[50:])
        assert floor.stands_out(dbfs + 8.0)


def test_the_faint_end_of_a_word_and_a_pause_within_it_belong_to_it() -> None:
    floor = NoiseFloor()
    judge(floor, room(200))

    assert judge(floor, [-30.0, *room(20)]) == [True] * 15 + [False] * 6


def test_a_long_sentence_stands_out_to_its_end() -> None:
    floor = NoiseFloor()
    judge(floor, room(200))

    assert all(judge(floor, ([-25.0] * 20 + room(8)) * 60))


def test_a_room_that_grows_louder_is_the_room_after_three_seconds() -> None:
    floor = NoiseFloor()
    judge(floor, room(200, -70.0))
    heard = judge(floor, room(400, -40.0))

    assert all(heard[:125])
    assert not any(heard[200:])
