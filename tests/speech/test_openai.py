"""The engine for servers with OpenAI's interface, against one that behaves as documented, and worse."""

import ssl

import pytest
import trio

from plexbridge.errors import SpeechError
from plexbridge.speech.engine import Gap
from plexbridge.speech.line import ATTEMPTS
from plexbridge.speech.openai import open_openai
from tests.sentences import recording
from tests.speech.listening import transcribe
from tests.speech.scripted import Told
from tests.speech_server.openai import KEY, Fault, run_openai

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("short_pauses")]

LIMIT_SECONDS = 30.0
TLS = ssl.create_default_context()


async def transcribe_by(
    *faults: Fault, names: tuple[str, ...] = ("kettle",), answer_seconds: float = 20.0
) -> tuple[Told, int]:
    """Have sentences transcribed; return what was told, and how many requests it took."""
    sound, _ = recording(*names)
    with run_openai(*faults) as server, trio.fail_after(LIMIT_SECONDS):
        async with open_openai(server.url, key=KEY, model="whisper-1", language=None, tls=TLS) as engine:
            told = await transcribe(engine, sound, answer_seconds=answer_seconds)
        return told, len(server.uploads)


async def test_each_utterance_is_one_request_with_a_whole_wav() -> None:
    sound, said = recording("kettle", "train")

    with run_openai() as server, trio.fail_after(LIMIT_SECONDS):
        async with open_openai(server.url, key=KEY, model="large", language="en", tls=TLS) as engine:
            told = await transcribe(engine, sound)

    assert len(server.uploads) == 2
    for upload, final, truth in zip(server.uploads, told.finals, said, strict=True):
        assert (upload.rate_hz, upload.channels, upload.sample_bytes) == (16_000, 1, 2)
        assert upload.name.endswith(".wav")
        assert upload.fields == {"model": "large", "language": "en", "response_format": "json"}
        # With the sound before it, and the hangover after it.
        assert upload.seconds == pytest.approx(truth.end_seconds - truth.start_seconds + 0.9, abs=0.2)
        assert final.text == f"{upload.seconds:.2f} seconds"
        assert final.start_seconds == pytest.approx(truth.start_seconds, abs=0.2)


@pytest.mark.parametrize("fault", ["500", "429", "html", "no text", "number", "closes", "closes midway"])
async def test_what_passes_is_tried_again(fault: Fault) -> None:
    told, requests = await transcribe_by(fault, "ok")

    assert len(told.finals) == 1
    assert requests == 2


async def test_what_does_not_pass_is_a_gap_after_some_attempts() -> None:
    told, requests = await transcribe_by("500")

    assert [each.reason for each in told.missing] == [Gap.FAILED]
    assert requests == ATTEMPTS


@pytest.mark.parametrize("fault", ["404", "floods"])
async def test_what_will_not_pass_is_not_tried_again_and_the_next_utterance_is(fault: Fault) -> None:
    told, requests = await transcribe_by(fault, "ok", names=("kettle", "window"))

    assert [(each.utterance, each.reason) for each in told.missing] == [(1, Gap.FAILED)]
    assert [each.utterance for each in told.finals] == [2]
    assert requests == 2


async def test_a_server_that_never_answers_costs_the_utterance_its_text_and_no_more() -> None:
    told, _ = await transcribe_by("never", "slow", names=("kettle", "window"), answer_seconds=1.2)

    assert [(each.utterance, each.reason) for each in told.missing] == [(1, Gap.UNANSWERED)]
    assert [each.utterance for each in told.finals] == [2]


async def test_a_wrong_key_and_no_server_are_found_out_at_once_and_the_key_is_not_told() -> None:
    with run_openai() as server:
        async with open_openai(server.url, key=KEY, model="whisper-1", language=None, tls=TLS) as engine:
            assert await engine.prove() == "the server answers, model whisper-1"
        async with open_openai(server.url, key="sk-wrong", model="whisper-1", language=None, tls=TLS) as engine:
            with pytest.raises(SpeechError, match=r"does not accept the key \(HTTP 401\)") as caught:
                await engine.prove()
        async with open_openai(server.url + "x", key=KEY, model="whisper-1", language=None, tls=TLS) as engine:
            with pytest.raises(SpeechError, match="HTTP 404"):
                await engine.prove()
    assert not caught.value.is_passing
    assert "sk-" not in str(caught.value)

    async with open_openai(server.url, key=KEY, model="whisper-1", language=None, tls=TLS) as engine:
        with pytest.raises(SpeechError, match="ConnectError") as caught:
            await engine.prove()
    assert caught.value.is_passing
