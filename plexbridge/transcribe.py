"""`plexbridge transcribe`: what is said in a WAV file, as fast as the engine can, with progress."""

import os
import sys
from pathlib import Path

import trio
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from plexbridge.audio.pcm import FRAME_SECONDS, level_dbfs
from plexbridge.audio.vad import QUIET_DBFS, Networks, VoiceDetector
from plexbridge.config import SpeechConfig
from plexbridge.errors import SpeechError, TranscriptionFailed
from plexbridge.people.wav import WavVoice, open_speech
from plexbridge.speech.engine import SpeechEngine, SpeechEvent
from plexbridge.speech.engines import open_engine, prove
from plexbridge.speech.formats import FORMATS, FormatName
from plexbridge.speech.line import SpeechLine
from plexbridge.speech.transcript import Line, Transcript

TURN_FRAMES = 50
"""A second of the file is cut into utterances before others have their turn, which takes 10 ms."""
REPORT_SHARE = 0.1
"""Between two lines of progress where the output is no terminal."""
SPEAKER = 0
"""A file has one."""


async def run_transcribe(config: SpeechConfig, path: Path, format_name: FormatName) -> None:
    """Print what is said in a file, as it becomes known.

    Raises RequestError for a file that can't be read or when no engine is chosen, ConfigError for a `ca_file` that
    can't be used, TranscriptionFailed when the engine can't be used or something is missing.
    """
    with open_speech(path) as sound:
        voice = WavVoice(sound, tail_seconds=0)
        async with open_engine(config) as engine:
            await _prove(engine)
            with _progress() as progress:
                pages = _Pages(format_name, path.stem, progress)
                line = SpeechLine(SPEAKER, engine, pages.tell, answer_seconds=config.answer_seconds)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(line.run)
                    await _feed(voice, line, pages)
                pages.finish()
    if pages.is_broken:
        raise TranscriptionFailed("The transcript can't be written any further.")
    statistics = line.statistics()
    if missing := statistics.begun - statistics.final:
        raise TranscriptionFailed(f"{missing} of {statistics.begun} utterances could not be transcribed.")


async def _prove(engine: SpeechEngine) -> None:
    try:
        await prove(engine)
    except SpeechError as error:
        raise TranscriptionFailed(f"The speech engine can't be used: {error}.") from error


async def _feed(voice: WavVoice, line: SpeechLine, pages: "_Pages") -> None:
    """Give the whole file to the line, and close it; as fast as it is transcribed, and no faster."""
    networks = Networks(limit=1)
    networks.make()
    detector = VoiceDetector(networks)
    total_frames, frames = voice.frames_left, 0
    while (samples := voice.next_frame()) is not None:
        if level_dbfs(samples) < QUIET_DBFS:
            detector.pause()
        else:
            detector.push(samples)
        line.hear(samples, has_voice=detector.is_voice, now_seconds=frames * FRAME_SECONDS)
        frames += 1
        if frames % TURN_FRAMES == 0:
            pages.progress(frames / total_frames)
            await trio.lowlevel.checkpoint()
        await line.wait_room()
        if pages.is_broken:
            break  # nobody reads on, as with `| head`
    line.close()


class _Pages:
    """What is printed: the transcript on standard output, its progress on standard error."""

    def __init__(self, format_name: FormatName, name: str, progress: Progress) -> None:
        self._format = FORMATS[format_name]
        self._name = name
        self._transcript = Transcript("")
        self._progress = progress
        self._task = progress.add_task("transcribing", total=1.0)
        self._reported = 0.0
        self.is_broken = False
        """Whether standard output can't be written to."""
        print(self._format.header, end="", flush=True)

    def tell(self, event: SpeechEvent) -> None:
        """Take what was heard."""
        self._print(self._transcript.heard(event, self._name))

    def progress(self, share: float) -> None:
        """So much of the file was heard."""
        self._progress.update(self._task, completed=share)
        console = self._progress.console
        if not console.is_terminal and (share - self._reported >= REPORT_SHARE or share == 1 > self._reported):
            self._reported = share
            console.print(f"transcribing {share:.0%}", highlight=False)

    def finish(self) -> None:
        """All is transcribed."""
        self.progress(1.0)

    def _print(self, lines: list[Line]) -> None:
        try:
            for line in lines:
                print(self._format.write(line), end="", flush=True)
        except OSError:
            self.is_broken = True
            # What could not be written is tried again when Python ends, and would fail there once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
