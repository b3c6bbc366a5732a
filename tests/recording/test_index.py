"""Names, the index, and which recordings are kept."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from plexbridge.recording.index import (
    NAME_CHARS,
    Gap,
    Index,
    IndexedTrack,
    Kept,
    expired,
    folder_name,
    is_full,
    safe,
    start_of,
    track_file,
)

NOON = datetime(2026, 11, 21, 12, 0, 5, 123_456, UTC)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ada", "Ada"),
        ("Ada Lovelace", "Ada_Lovelace"),
        ("../../etc/passwd", "etc_passwd"),
        ("C:\\con", "C_con"),
        ("a\0b\nc\u202ed", "a_b_c_d"),
        (".hidden", "hidden"),
        ("Zoë 語 🎧", "Zoë_語"),
        ("ﬁne", "fine"),  # one letter in some fonts
        ("🎧🎧", "_"),
        ("", "_"),
        ("x" * 1_000_000, "x" * NAME_CHARS),
    ],
)
def test_a_name_becomes_one_that_every_file_system_has(name: str, expected: str) -> None:
    assert safe(name) == expected
    assert len(safe(name).encode()) <= 4 * NAME_CHARS


def test_people_of_one_name_have_files_of_their_own() -> None:
    assert track_file("discord:1", "Ada") == "Ada-discord_1.opus"
    assert track_file("discord:2", "Ada") != track_file("discord:1", "Ada")
    assert track_file("discord:1", "model") != "model.opus"


def test_a_folders_name_is_the_start_in_utc_and_can_be_read_again() -> None:
    started = NOON.astimezone(timezone(timedelta(hours=5)))

    name = folder_name(started, "discord 1/2")

    assert name == "2026-11-21T12-00-05Z-discord_1_2"
    assert start_of(name) == NOON.replace(microsecond=0)
    assert start_of(f"{name}-2") == start_of(name)
    two_ids = f"discord-{2**63}-{2**63}"
    assert folder_name(started, two_ids) == f"2026-11-21T12-00-05Z-{two_ids}"


@pytest.mark.parametrize(
    "name", ["", "music", "2026-11-21", "2026-11-21T12-00-05Z", "2026-13-21T12-00-05Z-a", "x2026-11-21T12-00-05Z-a"]
)
def test_a_folder_of_something_else_is_no_recording(name: str) -> None:
    assert start_of(name) is None


def test_the_index_is_json_that_says_all() -> None:
    track = IndexedTrack("Zoë-discord_1.opus", "discord:1", "Zoë", first_sound_seconds=1.5, sound_seconds=20.02)
    index = Index(
        NOON, "discord-1-10", 60.0, is_ended=False, tracks=(track,), gaps=(Gap(1.0, 2.0, 50),), dropped_frames=50
    )

    assert json.loads(index.text()) == {
        "version": 1,
        "started": "2026-11-21T12:00:05.123456+00:00",
        "place": "discord-1-10",
        "seconds": 60.0,
        "is_ended": False,
        "tracks": [
            {
                "file": "Zoë-discord_1.opus",
                "person": "discord:1",
                "name": "Zoë",
                "first_sound_seconds": 1.5,
                "sound_seconds": 20.02,
            }
        ],
        "gaps": [{"from_seconds": 1.0, "to_seconds": 2.0, "dropped_frames": 50}],
        "dropped_frames": 50,
    }


def kept(days_ago: float, size_bytes: int = 100, *, is_running: bool = False) -> Kept:
    return Kept(f"{days_ago} days ago", NOON - timedelta(days=days_ago), size_bytes, is_running)


def gone(*recordings: Kept, keep_days: int = 30, limit_bytes: int = 1_000) -> list[str]:
    return [each.name for each in expired(recordings, NOON, keep_days=keep_days, limit_bytes=limit_bytes)]


def test_what_is_too_old_goes() -> None:
    assert gone(kept(29.9), kept(31), kept(40), kept(1)) == ["40 days ago", "31 days ago"]


def test_of_what_is_too_much_the_oldest_goes_first_and_no_more_than_has_to() -> None:
    recordings = [kept(1, 400), kept(3, 400), kept(2, 400), kept(4, 400)]

    assert gone(*recordings) == ["4 days ago", "3 days ago"]
    assert gone(*recordings, limit_bytes=1_600) == []
    assert gone(*recordings, limit_bytes=1_599) == ["4 days ago"]


def test_what_is_running_stays_even_if_it_is_the_oldest() -> None:
    running = kept(40, 900, is_running=True)

    assert gone(running, kept(1, 400), kept(2, 50)) == ["2 days ago", "1 days ago"]
    assert not is_full([running, kept(1, 400)], limit_bytes=900)
    assert is_full([running, kept(1, 400)], limit_bytes=899)
