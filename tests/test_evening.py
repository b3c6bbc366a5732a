"""The evening in the documentation can be played again, and its page says what happened."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.transcript import Line, chat_lines, render, requests
from plexbridge.session.outage import BACK_SENTENCE, LOST_SENTENCE
from tests.command import ROOT
from tests.discord_server.control import RecordEntry

END_SECONDS = 120.0
BOT, ADA, CHANNEL = 1001, 1002, 1003
NAMES = {BOT: "plexbridge", ADA: "Ada", CHANNEL: "Voice"}

EVENTS = (
    r"Ada +/join",
    r"plexbridge +\[only Ada sees this\] .*voice channel",
    r"Ada enters #Voice\.",
    r"plexbridge enters #Voice\.",
    r"The model listens, with the voice NATF0\.pt\.",
    r"Ada talks for [\d.]+ s\.",
    r"The answer reaches Ada [\d.]+ s after the first word\.",
    r"Ada +/voice name:NATF9",
    r"plexbridge +\[only Ada sees this\] .*NATF9",
    r"Ada +/voices",
    r"VARM0, VARM1",
    r"Ada +/voice name:NATM1",
    r"plexbridge +\[only Ada sees this\] .*NATM1",
    r"Ada +/status",
    r"@Ada started it",
    r"Bob enters #Voice\.",
    r"plexbridge +I listen to everyone\.",
    r"Bob talks for [\d.]+ s\.",
    r"The answer reaches Ada [\d.]+ s and Bob [\d.]+ s",
    r"The model's server is killed\.",
    re.escape(LOST_SENTENCE),
    r"Ada +/status",
    r"The model's server is there again\.",
    re.escape(BACK_SENTENCE),
    r"Ada talks for",
    r"Discord moves the call to another voice server\.",
    r"Bob leaves #Voice\.",
    r"Ada +/leave",
    r"plexbridge leaves #Voice\.",
    r"Ada +/join",
    r"plexbridge enters #Voice\.",
    r"The model listens, with the voice NATM1\.pt\.",
    r"Ada leaves #Voice\.",
    r"plexbridge leaves #Voice\.",
    r"plexbridge is killed with signal 9 and started again",
    r"Ada enters #Voice\.",
    r"The model listens, with the voice NATM1\.pt\.",
    r"The answer reaches Ada",
    r"Ada leaves #Voice\.",
    r"plexbridge leaves #Voice\.",
)
"""What has to stand in the page, in this order."""


@pytest.mark.live
def test_the_evening_is_played_and_everything_in_it_comes_in_its_order(tmp_path: Path) -> None:
    page, record = tmp_path / "evening.md", tmp_path / "record.jsonl"
    command = [sys.executable, "-m", "benchmarks.evening", "--out", str(page), "--record", str(record)]

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=END_SECONDS, check=False)

    assert ended.returncode == 0, ended.stderr
    text = page.read_text()
    rows = text.partition("```text\n")[2].partition("```")[0].splitlines()
    left = iter(rows)
    for event in EVENTS:
        assert any(re.search(event, row) for row in left), f"{event} is missing, or at another place:\n{text}"
    times = [float(row.split(" s ")[0]) for row in rows if not row.startswith(" " * 8)]
    assert times == sorted(times)
    assert times[0] == 0.0
    assert "breaches of Discord's rules by it: 0." in text
    assert len(rows) <= 90
    assert_written(rows, record)


def assert_written(rows: list[str], record: Path) -> None:
    """Every text that the record has of the bot stands in the page, the last one of those that were edited."""
    entries = [RecordEntry(**json.loads(line)) for line in record.read_text().splitlines()]
    texts: dict[int, str] = {}
    for entry in entries:
        if entry.kind == "message" or entry.data.get("is_ephemeral"):
            texts[entry.data["message_id"]] = entry.data["content"]
    shown = "".join("".join(row[8:] for row in rows).split())
    assert len(texts) >= 10
    for text in texts.values():
        assert "".join(re.sub(r"<[@#]\d+>|\*\*", "\n", text).split("\n")[0].split()) in shown


def entry(index: int, kind: str, name: str, **data: Any) -> RecordEntry:
    return RecordEntry(index, float(index), kind, name, data)


def test_a_message_that_is_edited_stands_once_with_its_last_words() -> None:
    said = {"message_id": 7, "user_id": BOT}
    entries = [
        entry(1, "message", "posted", content="I", **said),
        entry(2, "message", "edited", content="I am", **said),
        entry(4, "message", "edited", content="I am here.", **said),
    ]

    assert chat_lines(entries, NAMES, BOT, CHANNEL) == [Line(1.0, "I am here.", "plexbridge", until_seconds=4.0)]


def test_an_answer_for_one_person_says_so_even_when_it_was_deferred() -> None:
    answer = {"message_id": 8, "user_name": "Ada", "is_ephemeral": True}
    entries = [
        entry(1, "interaction", "created", user_name="Ada", content="/status"),
        entry(2, "interaction", "callback", content="", **answer),
        entry(4, "interaction", "edit", content=f"**Talking** in <#{CHANNEL}> with <@{ADA}>, re\\-joined", **answer),
    ]

    assert chat_lines(entries, NAMES, BOT, CHANNEL) == [
        Line(1.0, "/status", "Ada"),
        Line(4.0, "Talking in #Voice with @Ada, re-joined", "plexbridge", only_for="Ada"),
    ]


def test_a_public_answer_stands_once_though_the_record_has_it_twice() -> None:
    answer = {"message_id": 9, "content": "Leaving.", "user_name": "Ada"}
    entries = [
        entry(1, "message", "posted", **(answer | {"user_id": BOT})),
        entry(2, "interaction", "callback", is_ephemeral=False, user_id=ADA, **answer),
    ]

    assert chat_lines(entries, NAMES, BOT, CHANNEL) == [Line(1.0, "Leaving.", "plexbridge")]


def test_coming_and_going_stand_in_the_chat_once() -> None:
    entries = [
        entry(1, "person", "joins", user_name="Ada"),
        entry(2, "voice", "state", user_id=BOT, channel_id=CHANNEL),
        entry(3, "voice", "state", user_id=BOT, channel_id=CHANNEL),
        entry(4, "person", "leaves", user_name="Ada"),
        entry(5, "voice", "state", user_id=BOT, channel_id=None),
    ]

    shown = [line.text for line in chat_lines(entries, NAMES, BOT, CHANNEL)]

    assert shown == [
        "Ada enters #Voice.",
        "plexbridge enters #Voice.",
        "Ada leaves #Voice.",
        "plexbridge leaves #Voice.",
    ]


def test_times_count_from_the_start_and_long_texts_go_on_below_their_beginning() -> None:
    lines = [Line(12.0, "word " * 30, "plexbridge", only_for="Ada"), Line(10.0, "/voices", "Ada")]

    rows = render(lines, start_seconds=10.0)

    assert rows[0] == "  0.0 s  Ada         /voices"
    assert rows[1].startswith("  2.0 s  plexbridge  [only Ada sees this] word word")
    assert rows[2].startswith(" " * 21 + "word")
    assert max(map(len, rows)) <= 118


def test_requests_are_counted_without_their_ids_and_tokens() -> None:
    entries = [
        entry(1, "rest", "POST /interactions/1234567890123456789/abcdefghijklmnopqrstuvwxyz_-0/callback"),
        entry(2, "rest", "POST /interactions/1234567890123456780/abcdefghijklmnopqrstuvwxyz_-1/callback"),
        entry(3, "message", "posted"),
    ]

    assert requests(entries) == {"POST /interactions/<id>/<token>/callback": 2}
