"""Which servers' conversations are recorded, and the recordings that run.

An operator allows recording at all; then who manages a server turns it on there, and it holds until they turn it off.
Nobody is recorded without being told: when a recording starts, everybody in the room reads and hears it, and who enters
later reads it. Who asks not to be heard is not recorded, and what a running recording holds of them is deleted.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import NoReturn, Protocol

import trio

from plexbridge.audio.mark import recording_mark
from plexbridge.config import RecordingConfig
from plexbridge.errors import RequestError
from plexbridge.people.discord.asking import server_id, user_id_of
from plexbridge.people.discord.chat import Chat
from plexbridge.people.discord.voice import DiscordPeople
from plexbridge.recording.files import RecordingFiles
from plexbridge.recording.keeping import Keeping, sweep
from plexbridge.recording.recorder import Ending, Recorder, one_thread
from plexbridge.service import Failures

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
"""How often it is looked at how much the recordings take: one of ten people grows by 4 MB meanwhile."""

START_SENTENCE = (
    "This conversation is being recorded from now on: a file for each person, and one for me. "
    "If you don't want that, leave, or use /ignore-me on."
)
ENTRY_SENTENCE = "this conversation is being recorded. If you don't want that, leave, or use /ignore-me on."
NOT_ALLOWED = "Recording is not allowed here. Whoever runs me can allow it, with [recording] in my configuration."


class RecordedStore(Protocol):
    """Where it is kept which servers are recorded: `store.settings.SettingsStore`. All of it raises StoreError."""

    async def load_recorded(self) -> frozenset[str]:
        """Return all servers whose conversations are recorded."""

    async def set_recorded(self, server_id: str, *, is_recorded: bool) -> None:
        """Keep whether a server's conversations are recorded."""


StartRecorder = Callable[[str, Callable[[str], None]], Recorder]
"""Starts a recording of a place, of which it is handed the name and what tells its people a sentence."""


def recorder_on_disk(config: RecordingConfig, names: Callable[[], Mapping[int, str]]) -> StartRecorder:
    """Return what starts recordings in the configured folder; `names` are those that people are shown."""

    def name_of(person: str) -> str:
        return names().get(user_id_of(person), "somebody")

    def start(place: str, say: Callable[[str], None]) -> Recorder:
        files = RecordingFiles(config.folder, datetime.now(UTC), place)
        limit_seconds = config.max_minutes * 60.0
        return Recorder(files, limit_seconds=limit_seconds, name_of=name_of, say=say, in_thread=one_thread())

    return start


class RoomRecording:
    """Whether one conversation is recorded, who knows it, and the recorder while it is.

    `finish` ends `run`, which otherwise goes on.
    """

    def __init__(
        self,
        chat: Chat,
        place: str,
        start: StartRecorder,
        *,
        humans: frozenset[int],
        is_ignored: Callable[[int], bool],
        is_wanted: bool,
    ) -> None:
        self._chat = chat
        self._place = place
        self._start = start
        self._humans = humans
        self._is_ignored = is_ignored
        self._is_wanted = is_wanted
        self._is_finished = False
        self._changed = trio.Event()
        self._people: DiscordPeople | None = None
        self._told: frozenset[int] = frozenset()
        """Who has read that the present recording runs."""
        self.recorder: Recorder | None = None
        """The recording that runs."""

    def set_wanted(self, is_wanted: bool) -> None:
        """Record from now on, or no longer."""
        self._is_wanted = is_wanted
        if not is_wanted and self.recorder is not None:
            self.recorder.stop()
        self._changed.set()

    def set_humans(self, humans: frozenset[int]) -> None:
        """These are the people now, but for those who asked not to be heard."""
        self._humans = humans
        if self.recorder is not None and humans - self._told:
            mentions = " ".join(f"<@{user_id}>" for user_id in sorted(humans - self._told))
            self._chat.say(f"{mentions}, {ENTRY_SENTENCE}")
            self._told |= humans

    def look(self) -> None:
        """Somebody may have asked not to be heard: keep nothing of them."""
        if self.recorder is not None:
            for person in self.recorder.people:
                if self._is_ignored(user_id_of(person)):
                    self.recorder.forget(person)

    @contextmanager
    def attached(self, people: DiscordPeople) -> Iterator[None]:
        """Record these people for the length of the block, if that is wanted."""
        self._people = people
        if self.recorder is not None:
            people.taps.add(self.recorder)
        self._changed.set()
        try:
            yield
        finally:
            self._people = None
            if self.recorder is not None:
                people.taps.remove(self.recorder)

    def finish(self) -> None:
        """The conversation has ended."""
        self._is_finished = True
        if self.recorder is not None:
            self.recorder.stop()
        self._changed.set()

    async def run(self) -> None:
        """Record whenever that is wanted and people are there to be heard, until `finish`."""
        while not self._is_finished:
            if self._is_wanted and self._people is not None:
                await self._record(self._people)
            else:
                await self._changed.wait()
                self._changed = trio.Event()

    async def _record(self, people: DiscordPeople) -> None:
        self.recorder = recorder = self._start(self._place, self._chat.say)
        self._told = self._humans
        self._chat.say(START_SENTENCE)
        people.sound(recording_mark())
        people.taps.add(recorder)
        logger.info("%s is recorded", self._place)
        failures, ending = Failures("a recording"), Ending.FAILED
        try:
            with failures.collect():
                ending = await recorder.run()
        finally:
            self.recorder = None
            if self._people is not None:
                self._people.taps.remove(recorder)
        failures.principal()  # which logs a fault of ours
        logger.info("%s is not recorded any more: %s", self._place, ending.name)
        if ending is not Ending.STOPPED:
            self._is_wanted = False  # until somebody says so again
        if ending is not Ending.STOPPED or not self._is_finished:
            self._chat.say(ending.value)


class Recordings:
    """The recordings of all conversations; `is_ignored` says whether somebody has asked not to be heard."""

    def __init__(
        self,
        store: RecordedStore,
        config: RecordingConfig,
        start: StartRecorder,
        *,
        is_ignored: Callable[[int], bool],
    ) -> None:
        self._store = store
        self._config = config
        self._start = start
        self._is_ignored = is_ignored
        self._line = trio.Lock()
        self._recorded: frozenset[int] = frozenset()
        self._rooms: dict[int, RoomRecording] = {}
        self._threads = trio.CapacityLimiter(1)

    async def read(self) -> None:
        """Find out which servers are recorded; raises StoreError. Where it is not allowed, none is."""
        if self._config.enabled:
            self._recorded = frozenset(user_id_of(each) for each in await self._store.load_recorded())

    def open(self, guild_id: int, channel_id: int, chat: Chat, *, humans: frozenset[int]) -> RoomRecording:
        """Return the recording of a new conversation in a server, where there is no other; `close` it."""
        recording = self._rooms[guild_id] = RoomRecording(
            chat,
            f"discord-{guild_id}-{channel_id}",
            self._start,
            humans=humans,
            is_ignored=self._is_ignored,
            is_wanted=guild_id in self._recorded,
        )
        return recording

    def close(self, guild_id: int) -> None:
        """The conversation in a server has ended."""
        del self._rooms[guild_id]

    async def set_recorded(self, guild_id: int, *, is_recorded: bool) -> None:
        """Keep whether a server's conversations are recorded; raises StoreError, and RequestError if none may be.

        They are so when that is stored, and are not any more at once.
        """
        if is_recorded and not self._config.enabled:
            raise RequestError(NOT_ALLOWED)
        if not is_recorded:
            self._set(guild_id, is_recorded=False)
        async with self._line:
            await self._store.set_recorded(server_id(guild_id), is_recorded=is_recorded)
            # Again, since somebody may have changed their mind twice meanwhile.
            self._set(guild_id, is_recorded=is_recorded)

    def _set(self, guild_id: int, *, is_recorded: bool) -> None:
        self._recorded = self._recorded | {guild_id} if is_recorded else self._recorded - {guild_id}
        if guild_id in self._rooms:
            self._rooms[guild_id].set_wanted(is_recorded)

    async def keep_folder(self) -> NoReturn:
        """Have the folder hold no more than it may, for as long as there are recordings at all."""
        while True:
            await self.sweep_folder()
            await trio.sleep(SWEEP_SECONDS)

    async def sweep_folder(self) -> None:
        """Delete what is too old or too much, and end the recordings that run if they are that by themselves."""
        config = self._config
        keeping = Keeping(config.folder, config.keep_days, config.max_megabytes * 1_000_000)
        recorders = [room.recorder for room in self._rooms.values() if room.recorder is not None]
        work = partial(sweep, keeping, datetime.now(UTC), [recorder.path for recorder in recorders])
        try:
            swept = await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._threads)
        except OSError as error:
            logger.warning("the folder of recordings can't be looked into: %s", error.strerror)
            return
        if swept.deleted:
            logger.info("recordings deleted, as they were too old or too much: %s", swept.deleted)
        if swept.is_full:
            for recorder in recorders:
                recorder.stop(Ending.TOO_LARGE)
