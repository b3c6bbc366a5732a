"""Calls to a server that is built on other people's code (sphn, aiohttp), healthy and with each of its defects.

For every defect: what the person reads, what the log says, and that the next call works. `--faulty-sessions 1` gives
only the first session the defect, so the second call meets the same server process.
"""

import re
import signal
from pathlib import Path

import pytest
import soundfile

from tests.command import SPEECH, Called, call, clip_speech, model_at, start
from tests.interop.environment import SphnVersion, make_certificate, run_model_server
from tests.truth import clean_round_trip, compare, largest_step, read_wav, wav_seconds

pytestmark = pytest.mark.live

LOST = "The connection to the speech model was lost."
SILENT = "The speech model has stopped answering."
REFUSED = "The speech model refused the call. Its voice or persona may not exist on this server."
IN_VAIN = "The speech model gave no answer: it is busy with another call or still loading. Please try again later."
WRONG_ADDRESS = "The speech model's address or certificate is not right, so no connection was made."
UNREACHABLE = "The speech model can't be reached. Please try again later."


def short_call(folder: Path, url: str, **settings: str) -> Called:
    """Hold a call of 1.5 s."""
    folder.mkdir(exist_ok=True)
    speech = clip_speech(folder, 1.0)
    return call(folder, speech=speech, tail_seconds=0.5, settings=model_at(url, **settings))


def assert_next_call_works(folder: Path, url: str) -> None:
    """Call again, and hear an answer."""
    called = short_call(folder, url)
    assert called.ended.code == 0, called.ended.stderr
    assert "first sound of the answer  none" not in re.sub(" +", " ", called.ended.stdout)


@pytest.mark.parametrize("sphn", ["0.1.12", "0.2.1"])
def test_speech_comes_back_from_sphn_whole_and_at_one_constant_lag(sphn: SphnVersion, tmp_path: Path) -> None:
    dialect = "personaplex" if sphn == "0.1.12" else "moshi"
    with run_model_server("--dialect", dialect, "--byte-pieces", sphn=sphn) as server:
        called = call(tmp_path, settings=model_at(server.url, MODEL_DIALECT=dialect))
        state = server.state()

    assert called.ended.code == 0, called.ended.stderr
    match = compare(read_wav(SPEECH), called.heard)
    assert match.correlation >= 0.9
    assert max(match.window_lags_seconds) - min(match.window_lags_seconds) < 0.002
    assert match.largest_step <= 1.5 * largest_step(clean_round_trip(soundfile.read(SPEECH, dtype="float32")[0]))
    assert wav_seconds(called.answer) == pytest.approx(wav_seconds(SPEECH) + 2, abs=0.02)
    assert called.texts("text"), "the model's words came through"
    assert "<0x" not in "".join(called.texts("text"))
    assert not state.lock_held
    assert not state.audio_before_handshake


# For each defect: flags, exit code, the sentence for the person (none for calls that run to their end), and words that
# the log or the summary must hold.
DEFECTS = {
    "close before the handshake, 1000": (["--close-before-handshake", "1000"], 1, REFUSED, ["close 1000"]),
    "close before the handshake, 1006": (["--close-before-handshake", "1006"], 1, REFUSED, ["close 1006"]),
    "an error before the handshake": (["--error-kind", "before"], 1, REFUSED, ["it had reported"]),
    "an error in the session": (["--error-kind", "during"], 1, LOST, ["it had reported"]),
    "close 1000 in the session": (["--close-1000-after", "0.5"], 1, LOST, ["close 1000"]),
    "death in mid-sentence": (["--die-after", "0.5"], 1, LOST, ["close 1006"]),
    "a message of 2 MB": (["--big-message", "2"], 1, LOST, ["1009"]),
    "metadata first": (["--metadata-first"], 0, None, ["first sound"]),
    "a handshake with versions": (["--handshake-bytes", "8"], 0, None, ["first sound"]),
    "garbage kinds": (["--garbage-kinds"], 0, None, ["first sound"]),
    "damaged pages": (["--damage-pages", "4"], 0, None, ["packets lost"]),
    "lost pages": (["--lose-pages", "4"], 0, None, ["packets lost"]),
    "split pages": (["--split-pages"], 0, None, ["first sound"]),
    "joined pages": (["--join-pages", "3"], 0, None, ["first sound"]),
    "a zero-length packet": (["--zero-length-packet", "4"], 0, None, ["first sound"]),
    "no goodbye": (["--hang-on-close"], 0, None, ["first sound"]),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_costs_at_most_the_call_that_meets_it(defect: str, tmp_path: Path) -> None:
    flags, code, sentence, words = DEFECTS[defect]

    with run_model_server(*flags, "--faulty-sessions", "1") as server:
        called = short_call(tmp_path / "first", server.url)
        assert_next_call_works(tmp_path / "second", server.url)
        state = server.wait_state(lock_held=False)

    assert called.ended.code == code, called.ended.stderr
    if sentence is not None:
        assert called.ended.stderr.splitlines()[-1] == f"plexbridge: {sentence}"
        assert called.texts("error") == [sentence]
    for word in words:
        assert word in called.ended.stdout + called.ended.stderr
    assert "Traceback" not in called.ended.stderr
    assert not state.audio_before_handshake


def test_a_model_that_hangs_is_reported_and_its_slot_is_free_for_the_next(tmp_path: Path) -> None:
    with run_model_server("--hang-after", "0.5", "--faulty-sessions", "1") as server:
        called = call(tmp_path, speech=SPEECH, tail_seconds=10, settings=model_at(server.url))
        assert_next_call_works(tmp_path / "second", server.url)

    assert called.ended.code == 1
    assert called.ended.stderr.splitlines()[-1] == f"plexbridge: {SILENT}"


def test_a_voice_that_the_server_does_not_have_is_a_refusal(tmp_path: Path) -> None:
    with run_model_server() as server:
        called = short_call(tmp_path, server.url, PERSONA_VOICE="VARM4")

    assert called.ended.code == 1
    assert called.ended.stderr.splitlines()[-1] == f"plexbridge: {REFUSED}"


def test_a_slow_handshake_is_waited_for_and_shown(tmp_path: Path) -> None:
    with run_model_server("--prompt-seconds", "2") as server:
        called = short_call(tmp_path, server.url)
        state = server.state()

    assert called.ended.code == 0, called.ended.stderr
    handshake = re.search(r"handshake +([\d.]+) s", called.ended.stdout)
    assert handshake is not None
    assert float(handshake.group(1)) > 2
    assert state.messages_eaten == 0, "nothing is sent before the handshake"
    assert state.pings_received >= 1


def test_a_queue_without_a_word_ends_in_words_and_a_short_one_is_waited_for(tmp_path: Path) -> None:
    """The first caller holds the lock on what is, by its own folder of locks, another host."""
    other_host = tmp_path / "other"
    other_host.mkdir()
    with run_model_server() as server:
        first = start(
            "call", str(SPEECH), str(other_host / "answer.wav"), cwd=other_host,
            settings=model_at(server.url) | {"TMPDIR": str(other_host)},
        )  # fmt: skip
        server.wait_state(lock_held=True)
        hopeless = short_call(tmp_path / "hopeless", server.url, MODEL_HANDSHAKE_SECONDS="1")
        patient = short_call(tmp_path / "patient", server.url)
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=20)
        state = server.wait_state(lock_held=False)

    assert hopeless.ended.code == 1
    assert hopeless.ended.stderr.splitlines()[-1] == f"plexbridge: {IN_VAIN}"
    assert patient.ended.code == 0, patient.ended.stderr
    assert "Waiting for the speech model: it may be busy with another call, or still loading." in patient.texts("event")
    assert not state.audio_before_handshake


def test_a_model_slower_than_real_time_is_fed_less_and_the_person_is_told(tmp_path: Path) -> None:
    with run_model_server("--speed", "0.8", "--faulty-sessions", "1") as server:
        called = call(tmp_path, settings=model_at(server.url))

    assert called.ended.code == 0, called.ended.stderr
    assert "The speech model is too slow at the moment; some of what you say is skipped." in called.texts("event")
    assert "withheld" in called.ended.stdout
    delay = re.search(r"delay p50 / p99 +(\d+) / (\d+) ms", called.ended.stdout)
    assert delay is not None
    assert int(delay.group(2)) < 250


def test_tls_is_spoken_with_a_known_authority_and_refused_with_an_unknown_one(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with run_model_server(*certificate.flags) as server:
        unknown = short_call(tmp_path / "unknown", server.url)
        known = short_call(tmp_path / "known", server.url, MODEL_CA_FILE=str(certificate.authority))
        unverified = short_call(tmp_path / "unverified", server.url, MODEL_VERIFY="false")
        plain = short_call(tmp_path / "plain", server.url.replace("wss://", "ws://"))

    assert [called.ended.code for called in (unknown, known, unverified, plain)] == [1, 0, 0, 1]
    assert unknown.ended.stderr.splitlines()[-1] == f"plexbridge: {WRONG_ADDRESS}"
    assert "ca_file" in unknown.ended.stderr
    assert plain.ended.stderr.splitlines()[-1] == f"plexbridge: {UNREACHABLE}"
    assert "wss://" in plain.ended.stderr


def test_tls_to_a_server_without_it_is_named_at_once(tmp_path: Path) -> None:
    with run_model_server() as server:
        called = short_call(tmp_path, server.url.replace("ws://", "wss://"))

    assert called.ended.code == 1
    assert called.ended.stderr.splitlines()[-1] == f"plexbridge: {WRONG_ADDRESS}"
    assert "use ws://" in called.ended.stderr
    assert called.ended.seconds < 4, "most of it is the start of the interpreter"
