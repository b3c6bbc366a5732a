"""Pocketsphinx in its worker processes: what it understands, and what becomes of workers that die or hang."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import trio

from plexbridge.errors import SpeechError
from plexbridge.speech.embedded import EmbeddedEngine, open_embedded
from plexbridge.speech.engine import Begun, Final, Gap, Partial
from plexbridge.speech.line import SpeechLine
from tests.command import ROOT
from tests.sentences import GRAMMAR, TEXTS, recording
from tests.speech.listening import check_said, feed, transcribe
from tests.speech.scripted import Told

pytestmark = pytest.mark.live

SETUP = {"grammar": str(GRAMMAR)}
LIMIT_SECONDS = 30.0


async def wait_gone(*pids: int) -> None:
    """Wait until no such processes run; a killed one whose parent has not looked yet counts as gone."""
    with trio.fail_after(LIMIT_SECONDS):
        while any(is_running(pid) for pid in pids):  # noqa: ASYNC110  # no event tells of it: it is not our child
            await trio.sleep(0.02)


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_every_sentence_is_understood_with_its_times_and_words() -> None:
    sound, said = recording(*TEXTS)

    async with open_embedded(SETUP, workers=1) as engine:
        told = await transcribe(engine, sound)

    check_said(told.finals, said)
    for final, truth in zip(told.finals, said, strict=True):
        assert " ".join(word.text for word in final.words) == truth.text
        starts = [word.start_seconds for word in final.words]
        assert starts == sorted(starts)
        assert final.words[0].start_seconds == pytest.approx(truth.start_seconds, abs=0.2)
        assert final.words[-1].end_seconds == pytest.approx(truth.end_seconds, abs=0.2)
    first = [each.text for each in told.partials if each.utterance == 1]
    assert first
    assert all(truth in said[0].text for truth in first[:1])


@pytest.mark.parametrize("workers", [1, 2])
async def test_two_people_at_the_same_time_have_their_own_sentences(workers: int) -> None:
    ada, ada_said = recording("kettle", "train", "music")
    bob, bob_said = recording("window", "seven", "morning", first_seconds=1.2)

    async with open_embedded(SETUP, workers=workers) as engine:
        told = await transcribe(engine, ada, bob)
        assert len(engine.worker_pids) == workers

    check_said([each for each in told.finals if each.speaker == 0], ada_said)
    check_said([each for each in told.finals if each.speaker == 1], bob_said)


async def test_a_worker_that_dies_in_an_utterance_is_replaced_and_the_utterance_has_its_text() -> None:
    sound, said = recording("kettle", "window")
    killed: list[int] = []

    async with open_embedded(SETUP, workers=1) as engine:

        class Killing(Told):
            def __call__(self, event: Begun | Partial | Final | object) -> None:
                super().__call__(event)  # type: ignore[arg-type]
                if isinstance(event, Partial) and not killed:
                    killed.extend(engine.worker_pids)
                    os.kill(killed[0], signal.SIGKILL)

        told = Killing()
        line = SpeechLine(0, engine, told, answer_seconds=20)
        with trio.fail_after(LIMIT_SECONDS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(line.run)
                nursery.start_soon(feed, line, sound)
        assert killed
        assert engine.worker_pids.isdisjoint(killed)

    told.check_one_outcome_each()
    check_said(told.finals, said)


async def test_a_worker_that_hangs_is_killed_and_the_next_utterance_has_its_text() -> None:
    sound, said = recording("kettle", "window", "morning")

    async with open_embedded(SETUP, workers=1) as engine:
        await engine.prove()
        (hung,) = engine.worker_pids
        os.kill(hung, signal.SIGSTOP)
        with trio.fail_after(LIMIT_SECONDS):
            # The first utterance has its own length, 2.4 s, and this; that is also long enough for a new worker.
            told = await transcribe(engine, sound, answer_seconds=3.0)
        await wait_gone(hung)

    assert [(each.utterance, each.reason) for each in told.missing] == [(1, Gap.UNANSWERED)]
    check_said(told.finals, said[1:])


async def test_a_worker_that_says_what_it_should_not_is_not_believed() -> None:
    sound, _ = recording("kettle")
    nonsense = "import sys; sys.stdin.buffer.read(5); print('hello there', flush=True); sys.stdin.buffer.read()"
    engine = EmbeddedEngine(SETUP, workers=1, command=(sys.executable, "-c", nonsense))

    with trio.fail_after(LIMIT_SECONDS):
        told = await transcribe(engine, sound)
        await engine.aclose()

    assert [each.reason for each in told.missing] == [Gap.FAILED]
    assert not engine.worker_pids


async def test_workers_that_die_at_once_are_started_with_growing_pauses() -> None:
    engine = EmbeddedEngine(SETUP, workers=1, command=(sys.executable, "-c", ""))
    seconds: list[float] = []

    for _ in range(5):
        started_seconds = trio.current_time()
        with pytest.raises(SpeechError, match="has ended"):
            await engine.prove()
        seconds.append(trio.current_time() - started_seconds)

    # Half of 0.25, 0.5, 1 and 2 s at least.
    assert [each > pause / 2 for each, pause in zip(seconds[1:], (0.25, 0.5, 1.0, 2.0), strict=True)] == [True] * 4


async def test_closing_the_engine_ends_its_workers() -> None:
    async with open_embedded(SETUP, workers=1) as engine:
        assert await engine.prove() == f"pocketsphinx 5.1.1, with the grammar {GRAMMAR}"
        pids = engine.worker_pids
        assert len(pids) == 1

    assert not any(is_running(pid) for pid in pids)


def test_a_worker_ends_when_plexbridge_is_killed() -> None:
    script = (
        "import trio\n"
        "from plexbridge.speech.embedded import open_embedded\n"
        "async def main():\n"
        f"    async with open_embedded({SETUP!r}, workers=1) as engine:\n"
        "        await engine.prove()\n"
        "        print(*engine.worker_pids, flush=True)\n"
        "        await trio.sleep_forever()\n"
        "trio.run(main)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT) as plexbridge:
        assert plexbridge.stdout is not None
        pid = int(plexbridge.stdout.readline())
        assert is_running(pid)
        plexbridge.kill()

    trio.run(wait_gone, pid)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "can't be read"),
        ("", "the grammar can't be used"),
        ("#JSGF V1.0;\ngrammar g;\npublic <s> = the xyzzyplugh ;\n", "the grammar can't be used"),
        ("this is no grammar", "the grammar can't be used"),
    ],
    ids=["missing", "empty", "a word that is not in the dictionary", "no grammar"],
)
async def test_a_grammar_that_can_not_be_used_is_said_to_be_so(text: str | None, reason: str, tmp_path: Path) -> None:
    grammar = tmp_path / "own.jsgf"
    if text is not None:
        grammar.write_text(text)

    async with open_embedded({"grammar": str(grammar)}, workers=1) as engine:
        with pytest.raises(SpeechError, match=reason) as caught:
            await engine.prove()

    assert not caught.value.is_passing


async def test_sherpa_without_a_model_says_what_is_missing(tmp_path: Path) -> None:
    async with open_embedded({"sherpa": str(tmp_path)}, workers=1) as engine:
        with pytest.raises(SpeechError, match=r"plexbridge\[sherpa\]|there is no tokens.txt"):
            await engine.prove()
