"""Recordings on Discord: when they run, who is told, and what is in them; most in simulated time."""

import itertools
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from plexbridge.audio.hearing import HearingSettings
from plexbridge.audio.mark import recording_mark
from plexbridge.audio.opus import Decoder
from plexbridge.audio.pcm import FRAME_SECONDS, PEOPLE_RATE_HZ, silence
from plexbridge.config import RecordingConfig
from plexbridge.errors import RecordingError
from plexbridge.people.discord.asking import person_id, server_id
from plexbridge.people.discord.audiences import Audiences
from plexbridge.people.discord.chat import Chat
from plexbridge.people.discord.endings import Cause
from plexbridge.people.discord.endings import Ending as LineEnding
from plexbridge.people.discord.recordings import (
    ENTRY_SENTENCE,
    START_SENTENCE,
    Recordings,
    recorder_on_disk,
)
from plexbridge.people.discord.status import describe
from plexbridge.people.discord.voice import DiscordPeople
from plexbridge.recording.files import Forget, RecordingFiles, Sound
from plexbridge.recording.index import track_file
from plexbridge.recording.recorder import Ending, Recorder
from plexbridge.session.outage import BACK_SENTENCE
from tests.audio.test_vad import NETWORKS
from tests.command import SPEECH
from tests.discord_server.speech import encode, read_wav
from tests.people.discord.choices import MemoryChoices, make_audiences, make_recordings
from tests.people.discord.memory_portal import MemoryPortal
from tests.people.discord.simulation import ADA, BOB, CHANNEL, EVE, GUILD, FakeDiscord, FakeVoice, tone_packets
from tests.people.discord.test_rooms import World, open_world
from tests.people.discord.test_voice import Notebook
from tests.recording.disk import FakeDisk
from tests.recording.listening import read
from tests.truth import find_lag

TONE = tone_packets(50)
"""A second of somebody."""
ADAS, BOBS = person_id(ADA), person_id(BOB)


class Studio:
    """A server, its choices, and the recordings that were made."""

    def __init__(self, *, is_recorded: bool = True, limit_seconds: float = 3_600.0) -> None:
        self.store = MemoryChoices(recorded={server_id(GUILD)} if is_recorded else set())
        self.audiences: Audiences = make_audiences(self.store)
        self.disks: list[FakeDisk] = []
        self.places: list[str] = []
        self.recordings: Recordings = make_recordings(self.store, audiences=self.audiences, start=self._start)
        self._limit_seconds = limit_seconds

    def _start(self, place: str, say: Callable[[str], None]) -> Recorder:
        self.places.append(place)
        self.disks.append(FakeDisk())
        return self.disks[-1].recorder(limit_seconds=self._limit_seconds, say=say)

    @property
    def disk(self) -> FakeDisk:
        """Of the one recording."""
        (disk,) = self.disks
        return disk

    def sounds(self, person: str | None) -> list[Sound]:
        """Return what the recording has of somebody, or of the model."""
        return [event for event in self.disk.events if isinstance(event, Sound) and event.person == person]

    def seconds(self, person: str | None) -> float:
        """Return how long that is."""
        return len(self.sounds(person)) * FRAME_SECONDS


async def test_nothing_is_recorded_where_nobody_has_asked_for_it(autojump_clock: MockClock) -> None:
    studio = Studio(is_recorded=False)
    await studio.recordings.read()
    async with open_world(recordings=studio.recordings) as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        await world.discord.speak(ADA, TONE)

        assert "recorded" not in described(world)
    assert studio.disks == []
    assert world.said == []


def described(world: World) -> str:
    status = world.rooms.status(GUILD)
    assert status is not None
    return describe(status, "")


async def test_everybody_is_recorded_apart_and_told_before_anything_is(autojump_clock: MockClock) -> None:
    studio = Studio()
    await studio.recordings.read()
    async with open_world(recordings=studio.recordings) as world:
        world.discord.enter(ADA, CHANNEL)
        world.discord.enter(BOB, CHANNEL)
        await world.wait_live()
        voice = world.voice
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            for person in (ADA, BOB):
                nursery.start_soon(world.discord.speak, person, TONE)
        await trio.sleep(1)
        assert "**This conversation is being recorded.**" in described(world)
        for person in (ADA, BOB):
            world.discord.go(person)
        await trio.sleep(2)
        world.assert_empty()

    assert world.said.count(START_SENTENCE) == 1
    assert Ending.STOPPED.value not in world.said, "nobody is there who could read it"
    assert studio.places == [f"discord-{GUILD}-{CHANNEL}"]
    assert studio.disk.closed_frame is not None
    assert [studio.seconds(person) for person in (ADAS, BOBS)] == pytest.approx([1.1, 1.1], abs=0.12)
    assert studio.seconds(None) > 0.48 + 1
    starts = [studio.sounds(person)[0].place_frames for person in (ADAS, BOBS)]
    assert starts[0] == starts[1]
    assert studio.sounds(None)[24].place_frames > starts[0], "the model has the mark, and then the answer"
    with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
        heard = np.concatenate([decoder.decode(packet) for _, packet in voice.sent[:24]])
    marked = np.concatenate(recording_mark())
    assert np.corrcoef(heard[120:], marked[: heard.size - 120])[0, 1] > 0.9


async def test_it_can_be_turned_on_and_off_in_a_conversation_and_each_is_told(autojump_clock: MockClock) -> None:
    studio = Studio(is_recorded=False)
    await studio.recordings.read()
    async with open_world(recordings=studio.recordings) as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        await world.discord.speak(ADA, TONE)
        await studio.recordings.set_recorded(GUILD, is_recorded=True)
        await world.discord.speak(ADA, TONE)
        await studio.recordings.set_recorded(GUILD, is_recorded=False)
        await world.discord.speak(ADA, TONE)
        await studio.recordings.set_recorded(GUILD, is_recorded=False)
        await trio.sleep(1)
        assert "recorded" not in described(world)
        assert world.said == [START_SENTENCE, Ending.STOPPED.value]
        await studio.recordings.set_recorded(GUILD, is_recorded=True)
        await trio.sleep(1)
        assert world.said[2:] == [START_SENTENCE]

    assert len(studio.disks) == 2
    first = sum(isinstance(event, Sound) and event.person == ADAS for event in studio.disks[0].events)
    assert first == pytest.approx(50, abs=5)


async def test_who_enters_later_reads_it_once(autojump_clock: MockClock) -> None:
    studio = Studio()
    await studio.recordings.read()
    async with open_world(recordings=studio.recordings) as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        await trio.sleep(1)
        world.discord.enter(BOB, CHANNEL)
        await trio.sleep(1)
        world.discord.go(BOB)
        await trio.sleep(1)
        world.discord.enter(BOB, CHANNEL)
        world.discord.enter(EVE, CHANNEL)
        await trio.sleep(1)

        told = [sentence for sentence in world.said if ENTRY_SENTENCE in sentence]
        assert told == [f"<@{BOB}>, {ENTRY_SENTENCE}", f"<@{EVE}>, {ENTRY_SENTENCE}"]
    assert len(studio.disks) == 1


async def test_who_asks_not_to_be_heard_has_nothing_in_the_recording_any_more(autojump_clock: MockClock) -> None:
    studio = Studio()
    await studio.recordings.read()
    async with open_world(recordings=studio.recordings, audiences=studio.audiences) as world:
        world.discord.enter(ADA, CHANNEL)
        world.discord.enter(BOB, CHANNEL)
        await world.wait_live()
        await world.discord.speak(ADA, TONE)
        await world.discord.speak(BOB, TONE)
        await studio.audiences.set_ignored(ADA, is_ignored=True)
        await trio.sleep(1)
        assert Forget(ADAS) in studio.disk.events
        before = len(studio.sounds(ADAS))
        await world.discord.speak(ADA, TONE)
        assert len(studio.sounds(ADAS)) == before
        await studio.audiences.set_ignored(ADA, is_ignored=False)
        await trio.sleep(1)
        assert world.said[-1] != f"<@{ADA}>, {ENTRY_SENTENCE}", "she knows"
        await world.discord.speak(ADA, TONE)
        world.discord.go(ADA)
        await trio.sleep(1)
        await studio.audiences.set_ignored(ADA, is_ignored=True)
        await trio.sleep(1)

        assert studio.disk.events.count(Forget(ADAS)) == 2, "though she has left"
    assert Forget(BOBS) not in studio.disk.events


async def test_who_was_alone_and_asks_not_to_be_heard_is_deleted_too(autojump_clock: MockClock) -> None:
    studio = Studio()
    await studio.recordings.read()
    async with open_world(recordings=studio.recordings, audiences=studio.audiences) as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        await world.discord.speak(ADA, TONE)
        await studio.audiences.set_ignored(ADA, is_ignored=True)
        await trio.sleep(1)
        world.assert_empty()

    last = max(number for number, event in enumerate(studio.disk.events) if isinstance(event, Forget | Sound))
    assert Forget(ADAS) in studio.disk.events
    of_ada = [n for n, event in enumerate(studio.disk.events) if isinstance(event, Sound) and event.person == ADAS]
    assert max(of_ada) < studio.disk.events.index(Forget(ADAS)) <= last


async def test_it_goes_on_over_a_lost_voice_connection_and_a_lost_model_with_silence_in_between(
    autojump_clock: MockClock,
) -> None:
    studio = Studio()
    await studio.recordings.read()
    async with open_world(recordings=studio.recordings) as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        await trio.sleep(1)
        await world.discord.speak(ADA, TONE)
        world.voice.end(LineEnding(Cause.BROKEN))
        await trio.sleep(5)
        await world.discord.speak(ADA, TONE)
        await trio.aclose_forcefully(world.model.streams[-1])
        while BACK_SENTENCE not in world.said:  # noqa: ASYNC110  # what people read is no event
            await trio.sleep(0.1)
        await trio.sleep(1)
        await world.discord.speak(ADA, TONE)
        await trio.sleep(1)

        assert world.said.count(START_SENTENCE) == 1
    places = [sound.place_frames for sound in studio.sounds(ADAS)]
    gaps = [round(later - earlier) for earlier, later in itertools.pairwise(places) if later - earlier > 2]
    assert len(places) == pytest.approx(150, abs=25)
    assert gaps[0] == pytest.approx(250, abs=15)
    assert 50 < sum(gaps[1:]) < 100, "the outage, and what she did not say"
    assert sorted(places) == places


@pytest.mark.parametrize("ending", [Ending.TOO_LONG, Ending.FAILED])
async def test_a_recording_that_ends_by_itself_says_so_and_the_conversation_goes_on(
    ending: Ending, autojump_clock: MockClock
) -> None:
    studio = Studio(limit_seconds=4.0)
    await studio.recordings.read()
    async with open_world(recordings=studio.recordings) as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        await trio.sleep(2)
        if ending is Ending.FAILED:
            studio.disk.fault = RecordingError("no space")
        await trio.sleep(3)
        received = world.ledger.messages_received
        await trio.sleep(2)

        assert world.ledger.messages_received > received
        assert world.said == [START_SENTENCE, ending.value]
        assert len(studio.disks) == 1
        await studio.recordings.set_recorded(GUILD, is_recorded=True)
        await trio.sleep(1)
        assert len(studio.disks) == 2, "somebody has said so again"


async def test_a_fault_of_ours_in_a_recording_ends_no_conversation(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    studio = Studio()
    await studio.recordings.read()
    async with open_world(recordings=studio.recordings) as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        studio.disk.fault = ValueError("oh")
        await trio.sleep(2)

        assert world.said == [START_SENTENCE, Ending.FAILED.value]
        assert GUILD in world.rooms.rooms
    assert "a recording failed through a fault in plexbridge" in caplog.text


async def test_it_is_not_recorded_where_it_is_not_allowed_any_more() -> None:
    store = MemoryChoices(recorded={server_id(GUILD)})
    recordings = make_recordings(store, config=RecordingConfig(enabled=False))
    await recordings.read()

    await recordings.set_recorded(GUILD, is_recorded=False)

    assert store.recorded == set()


async def test_the_last_word_counts_for_memory_and_store_alike(autojump_clock: MockClock) -> None:
    studio = Studio(is_recorded=False)
    studio.store.delay_seconds = 0.5
    async with open_world(recordings=studio.recordings) as world:
        world.discord.enter(ADA, CHANNEL)
        await world.wait_live()
        async with trio.open_nursery() as nursery:
            for is_recorded in (True, False):
                nursery.start_soon(lambda on: studio.recordings.set_recorded(GUILD, is_recorded=on), is_recorded)
                await trio.sleep(0.01)
        await trio.sleep(2)

        assert "recorded" not in described(world)
    assert studio.store.recorded == set()


async def test_two_who_talk_at_once_are_in_their_own_files_as_they_spoke_to_the_frame(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    words = {person: read_wav(SPEECH)[first : first + 96_000] for person, first in ((ADA, 10_000), (BOB, 200_000))}
    packets = {person: encode(said) for person, said in words.items()}
    first_ticks = {ADA: 30, BOB: 47}  # Bob begins 0.34 s after Ada
    voice = FakeVoice(FakeDiscord(nursery), CHANNEL)
    files = RecordingFiles(tmp_path, datetime(2026, 11, 21, tzinfo=UTC), "here")

    async def run_at_once(function: Callable[[], None]) -> None:
        function()

    with DiscordPeople(voice, Notebook(), HearingSettings(networks=NETWORKS)) as people:
        people.set_heard(words)
        recorder = Recorder(files, limit_seconds=60, name_of=str, say=print, in_thread=run_at_once)
        people.taps.add(recorder)
        nursery.start_soon(recorder.run)
        start_seconds = trio.current_time()
        for tick in range(160):
            for person, first_tick in first_ticks.items():
                if 0 <= tick - first_tick < len(packets[person]):
                    voice.hear(person, packets[person][tick - first_tick])
            await trio.sleep_until(start_seconds + tick * FRAME_SECONDS)
            people.listen(start_seconds + tick * FRAME_SECONDS)
            people.play(silence(960), tick)
        recorder.stop()
        await trio.sleep(1)

    sounds = {
        person: read((files.path / track_file(person_id(person), person_id(person))).read_bytes()) for person in words
    }
    places, matches = zip(*(find_lag(words[person], sounds[person]) for person in (ADA, BOB)), strict=True)
    assert min(matches) > 0.9
    assert find_lag(words[BOB], sounds[ADA])[1] < 0.5
    assert places[1] - places[0] == pytest.approx(17 * 960, abs=10)
    assert places[0] - 30 * 960 == pytest.approx(0.03 * PEOPLE_RATE_HZ, abs=0.03 * PEOPLE_RATE_HZ)


# On a real disk, with real threads


async def test_a_recorder_writes_where_the_configuration_says_under_the_names_that_people_are_shown(
    tmp_path: Path,
) -> None:
    start = recorder_on_disk(RecordingConfig(enabled=True, folder=tmp_path), lambda: {ADA: "Ada L."})
    said: list[str] = []
    recorder = start("discord-1-10", said.append)
    for person in (ADAS, BOBS):
        recorder.spoke(person, np.ones(480, np.float32), is_speech=True, now_seconds=trio.current_time())
    recorder.stop()

    assert await recorder.run() is Ending.STOPPED

    (folder,) = os.listdir(tmp_path)
    files = {"model.opus", f"Ada_L-discord_{ADA}.opus", f"somebody-discord_{BOB}.opus", "recording.json"}
    assert set(os.listdir(tmp_path / folder)) == files
    assert said == []


async def test_the_folder_is_swept_and_a_recording_that_is_too_much_ends(
    tmp_path: Path, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = RecordingConfig(enabled=True, folder=tmp_path, max_megabytes=1)
    recordings = make_recordings(config=config, start=recorder_on_disk(config, dict))
    old = tmp_path / "2020-01-01T00-00-00Z-discord-1-10"
    old.mkdir()
    (old / "model.opus").write_bytes(bytes(1_000))
    os.utime(old / "model.opus", (0, 0))

    await recordings.sweep_folder()
    assert os.listdir(tmp_path) == []
    assert "recordings deleted, as they were too old or too much: 1" in caplog.text

    other = tmp_path / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}-of-another-process"
    other.mkdir()
    (other / "model.opus").write_bytes(bytes(1_000_001))
    chat = Chat(MemoryPortal(nursery), FakeDiscord(nursery), CHANNEL)
    room = recordings.open(GUILD, CHANNEL, chat, humans=frozenset())
    room.recorder = FakeDisk().recorder()
    await recordings.sweep_folder()

    assert await room.recorder.run() is Ending.TOO_LARGE


async def test_a_folder_that_is_gone_is_logged_and_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recordings = make_recordings(config=RecordingConfig(enabled=True, folder=tmp_path / "gone"))

    await recordings.sweep_folder()

    assert "the folder of recordings can't be looked into: No such file" in caplog.text
