"""The command line as people use it: real processes, real signals, real time."""

import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.command import SPEECH, call, clip_speech, model_at, run, start
from tests.truth import compare, read_wav, wav_seconds

pytestmark = pytest.mark.live


def ready_line(process: subprocess.Popen[str]) -> str:
    """Return the one line with which a server says that it is ready."""
    assert process.stdout is not None
    return process.stdout.readline()


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str, str]:
    """Send a signal; return the exit code and what the process printed after its ready line."""
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=10)
    return process.returncode, stdout, stderr


def test_speech_comes_back_from_the_embedded_loopback_whole_and_at_one_constant_lag(tmp_path: Path) -> None:
    called = call(tmp_path)

    match = compare(read_wav(SPEECH), called.heard)
    assert called.ended.code == 0, called.ended.stderr
    assert match.correlation >= 0.9
    assert match.lag_seconds < 0.25
    assert max(match.window_lags_seconds) - min(match.window_lags_seconds) < 0.002
    assert wav_seconds(called.answer) == pytest.approx(wav_seconds(SPEECH) + 2, abs=0.02)
    for words in ("handshake", "frames sent", "frames received", "frames concealed", "shed", "first sound", "p99"):
        assert words in called.ended.stdout
    assert "left" in called.ended.stderr, "a call shows its progress"
    assert called.texts("event")[-1] == "The speech model is listening."
    assert "".join(called.texts("text")).split(".")[0] == " You said something"


def test_the_loopback_server_is_reached_by_its_address_and_answers_in_turns(tmp_path: Path) -> None:
    server = start("loopback", "--port", "0", "--mode", "turns", cwd=tmp_path)
    line = ready_line(server)
    url = re.search(r"ws://127\.0\.0\.1:\d+/api/chat", line)
    assert url is not None, line

    called = call(
        tmp_path,
        speech=clip_speech(tmp_path, 1.2),
        tail_seconds=3,
        settings=model_at(url.group()),
    )
    code, _, _ = stop(server)

    assert called.ended.code == 0, called.ended.stderr
    assert "".join(called.texts("text")).startswith(" I heard you.")
    assert code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_service_says_that_it_is_ready_and_stops_cleanly(number: int, tmp_path: Path) -> None:
    service = start("run", cwd=tmp_path)
    line = ready_line(service)

    code, stdout, stderr = stop(service, number)

    assert "ready" in line
    assert re.search(r"ws://127\.0\.0\.1:\d+/", line)
    assert re.search(r"; page at http://127\.0\.0\.1:\d+/$", line)
    assert code == 0
    assert stdout == ""
    assert "Discord: off" in stderr


def test_the_service_without_a_page_listens_nowhere_for_it(tmp_path: Path) -> None:
    service = start("run", cwd=tmp_path, settings={"PLEXBRIDGE_WEB_ENABLED": "false"})
    line = ready_line(service)
    stop(service)

    assert "ready" in line
    assert "page" not in line


def test_a_page_that_can_not_be_served_is_one_line_and_exit_code_2_before_anything_has_begun(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = run("run", cwd=tmp_path, settings={"PLEXBRIDGE_WEB_PORT": str(port)})

    assert ended.code == 2
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        f"plexbridge: web.port: found {port}, expected a free port, as this one is in use: "
        "stop the other program or set another port, 0 for any"
    ]


def test_ctrl_c_ends_a_call_with_valid_files(tmp_path: Path) -> None:
    answer, text = tmp_path / "answer.wav", tmp_path / "answer.jsonl"
    process = start("call", str(SPEECH), str(answer), "--text", str(text), cwd=tmp_path)
    assert process.stderr is not None
    while "left" not in process.stderr.readline():  # the first line of progress: five seconds into the call
        pass

    code, stdout, _ = stop(process, signal.SIGINT)

    assert code == 130
    assert "frames sent" in stdout
    assert 4 < wav_seconds(answer) < 9
    assert compare(read_wav(SPEECH), read_wav(answer)).correlation > 0.6, "half of the speech"
    assert text.read_text().count('"kind"') >= 3


def test_two_processes_never_talk_to_one_single_session_model_at_once(tmp_path: Path) -> None:
    server = start("loopback", "--port", "0", cwd=tmp_path)
    url = re.search(r"ws://\S+", ready_line(server))
    assert url is not None
    settings = model_at(url.group())
    (tmp_path / "first").mkdir()
    first = start("call", str(SPEECH), str(tmp_path / "first" / "answer.wav"), cwd=tmp_path, settings=settings)
    assert first.stderr is not None
    while "talking to model" not in first.stderr.readline():
        pass

    second = call(tmp_path, settings=settings)
    report = run("check", cwd=tmp_path, settings=settings)
    stop(first, signal.SIGINT)
    third = call(tmp_path, speech=clip_speech(tmp_path, 0.5), tail_seconds=0.2, settings=settings)
    stop(server)

    assert second.ended.code == 1
    assert second.ended.stderr.splitlines()[-1] == (
        "plexbridge: The speech model is busy with another call. Please try again later."
    )
    assert second.ended.seconds < 5
    assert "in use" in report.stdout
    assert report.code == 0
    assert third.ended.code == 0, third.ended.stderr


def test_a_wrong_configuration_is_reported_whole_with_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[[model]]\nname = "gpu"\ndialect = "personaplex"\nurl = "http://gpu:8998"\n[persona]\nvoise = "NATF0"\n'
        "[audio]\nbitrate = 3\n"
    )

    for command in (["run"], ["check"], ["call", str(SPEECH), "answer.wav"]):
        ended = run(*command, cwd=tmp_path)

        assert ended.code == 2
        assert ended.stdout == ""
        for words in ("model[0].url", "persona.voise", "persona.voice", "audio.bitrate"):
            assert words in ended.stderr
        assert len(ended.stderr.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["call"], "Usage"),
        (["call", "missing.wav", "answer.wav"], "missing.wav"),
        (["call", __file__, "answer.wav"], "can't be read as a WAV file"),
        (["call", str(SPEECH), "no/such/folder/answer.wav"], "can't be written"),
        (["call", str(SPEECH), str(SPEECH)], "different files"),
        (["call", str(SPEECH), "answer.wav", "--model", "gpu"], "loopback"),
        (["call", str(SPEECH), "answer.wav", "--tail", "-1"], "--tail"),
        (["call", str(SPEECH), "answer.wav", "--config", "elsewhere.toml"], "elsewhere.toml"),
        (["loopback", "--host", "192.0.2.1", "--port", "0"], "192.0.2.1"),
        (["dance"], "No such command"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    ended = run(*arguments, cwd=tmp_path)

    assert ended.code == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_an_unreachable_model_is_one_sentence_and_exit_code_1(tmp_path: Path) -> None:
    called = call(tmp_path, settings=model_at("ws://127.0.0.1:9/api/chat"))

    assert called.ended.code == 1
    assert (
        called.ended.stderr.splitlines()[-1] == "plexbridge: The speech model can't be reached. Please try again later."
    )
    assert called.texts("error") == ["The speech model can't be reached. Please try again later."]
    assert called.ended.stdout == ""


def test_check_reports_a_broken_model_with_its_cure_and_exit_code_1(tmp_path: Path) -> None:
    ended = run(
        "check",
        cwd=tmp_path,
        settings=model_at("ws://127.0.0.1:9/api/chat", PERSONA_PROMPT="a canary prompt"),
    )

    assert ended.code == 1
    assert "FAIL" in ended.stdout
    assert "canary" not in ended.stdout + ended.stderr
