"""`plexbridge transcribe` as a process: what it prints, and its exit codes."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
import soxr
import webvtt

from tests.command import run, start
from tests.sentences import GRAMMAR, RATE_HZ, recording

pytestmark = pytest.mark.live

EXACT = {"PLEXBRIDGE_SPEECH_ENGINE": "pocketsphinx", "PLEXBRIDGE_SPEECH_GRAMMAR": str(GRAMMAR)}


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    sound, _ = recording("kettle", "music")
    path = tmp_path / "Ada & Bob.wav"
    soundfile.write(path, sound, RATE_HZ)
    return path


def test_json_lines_have_every_sentence_with_its_times(wav: Path, tmp_path: Path) -> None:
    _, said = recording("kettle", "music")

    ended = run("transcribe", str(wav), "--format", "jsonl", cwd=tmp_path, settings=EXACT)

    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [(line["kind"], line["name"], line["text"]) for line in lines] == [
        ("person", "Ada & Bob", each.text) for each in said
    ]
    for line, truth in zip(lines, said, strict=True):
        assert line["start"] == pytest.approx(truth.start_seconds, abs=0.2)
        assert line["end"] == pytest.approx(truth.end_seconds, abs=0.2)
    assert ended.code == 0
    assert "transcribing 100%" in ended.stderr


def test_a_file_with_two_channels_at_another_rate_becomes_webvtt(tmp_path: Path) -> None:
    stereo = tmp_path / "Bob & Ada.wav"
    sound = soxr.resample(recording("kettle")[0], RATE_HZ, 48_000)
    soundfile.write(stereo, np.stack((sound, sound), axis=1), 48_000, subtype="FLOAT")

    ended = run("transcribe", str(stereo), "--format", "vtt", cwd=tmp_path, settings=EXACT)

    (caption,) = webvtt.from_string(ended.stdout).captions
    assert caption.text == "the kettle is on the table"
    assert "<v Bob &amp; Ada>" in ended.stdout


def test_what_can_not_be_transcribed_has_an_exit_code_and_one_sentence(wav: Path, tmp_path: Path) -> None:
    no_engine = run("transcribe", str(wav), cwd=tmp_path)
    no_grammar = run(
        "transcribe", str(wav), cwd=tmp_path, settings=EXACT | {"PLEXBRIDGE_SPEECH_GRAMMAR": "missing.jsgf"}
    )

    assert (no_engine.code, no_engine.stdout) == (2, "")
    assert no_engine.stderr.startswith("plexbridge: No speech engine is chosen.")
    assert (no_grammar.code, no_grammar.stdout) == (1, "")
    assert "plexbridge: The speech engine can't be used: the grammar" in no_grammar.stderr
    assert "Traceback" not in no_engine.stderr + no_grammar.stderr


def test_ctrl_c_ends_it_and_its_worker(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    sound, _ = recording(*["kettle", "music"] * 300)
    soundfile.write(path, sound, RATE_HZ)
    process = start("transcribe", str(path), cwd=tmp_path, settings=EXACT)
    assert process.stdout is not None
    process.stdout.readline()
    workers = psutil.Process(process.pid).children()
    assert len(workers) == 1

    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=30)

    assert process.returncode == 130
    deadline = time.monotonic() + 10
    while any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)
