"""The engine for Kyutai's server, against one that behaves as its source says, and worse."""

import ssl

import pytest
import trio

from plexbridge.errors import SpeechError
from plexbridge.speech.engine import Gap
from plexbridge.speech.kyutai import KyutaiEngine
from plexbridge.speech.line import ATTEMPTS
from tests.sentences import recording
from tests.speech.listening import TOLERANCE_SECONDS, transcribe
from tests.speech.scripted import Told
from tests.speech_server.kyutai import KEY, STEP_SAMPLES, Fault, run_kyutai

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("short_pauses")]

LIMIT_SECONDS = 30.0
TLS = ssl.create_default_context()


async def transcribe_by(
    *faults: Fault, names: tuple[str, ...] = ("kettle",), answer_seconds: float = 20.0
) -> tuple[Told, int]:
    """Have sentences transcribed; return what was told, and how many connections it took."""
    sound, _ = recording(*names)
    with run_kyutai(*faults) as server, trio.fail_after(LIMIT_SECONDS):
        told = await transcribe(KyutaiEngine(server.url, key=KEY, tls=TLS), sound, answer_seconds=answer_seconds)
        return told, len(server.channels)


async def test_each_utterance_has_its_words_with_their_times() -> None:
    sound, said = recording("kettle", "train")

    with run_kyutai() as server, trio.fail_after(LIMIT_SECONDS):
        told = await transcribe(KyutaiEngine(server.url, key=KEY, tls=TLS), sound)

    assert len(server.channels) == 2
    for channel, final, truth in zip(server.channels, told.finals, said, strict=True):
        assert channel.samples % STEP_SAMPLES == 0
        assert final.text.split() == [f"noise{number}" for number in range(1, channel.words + 1)]
        assert final.text == " ".join(word.text for word in final.words)
        # The server sees where sound is loud, and the end of the last word as well.
        assert final.words[0].start_seconds == pytest.approx(truth.start_seconds, abs=TOLERANCE_SECONDS)
        assert final.words[-1].end_seconds == pytest.approx(truth.end_seconds, abs=TOLERANCE_SECONDS)
    assert told.partials
    assert server.free_channels == 4


async def test_a_channel_is_taken_only_while_somebody_speaks() -> None:
    sound, _ = recording("kettle", "window")

    with run_kyutai(channels=1) as server, trio.fail_after(LIMIT_SECONDS):
        engine = KyutaiEngine(server.url, key=KEY, tls=TLS)
        await engine.prove()
        told = await transcribe(engine, sound)
        with trio.fail_after(5):
            while not server.free_channels:  # noqa: ASYNC110  # it is in another thread
                await trio.sleep(0.01)

    assert len(told.finals) == 2
    assert len(server.channels) == 3


@pytest.mark.parametrize("fault", ["closes", "closes midway", "error"])
async def test_a_lost_connection_is_made_again_and_the_utterance_sent_again(fault: Fault) -> None:
    told, connections = await transcribe_by(fault, "ok")

    assert [each.text.split()[0] for each in told.finals] == ["noise1"]
    assert connections == 2


@pytest.mark.parametrize("fault", ["garbage", "text", "floods", "flood of steps"])
async def test_a_server_that_is_out_of_order_costs_the_utterance_its_text_and_no_more(fault: Fault) -> None:
    told, connections = await transcribe_by(fault, "ok", names=("kettle", "window"))

    assert [(each.utterance, each.reason) for each in told.missing] == [(1, Gap.FAILED)]
    assert [each.utterance for each in told.finals] == [2]
    assert connections == 2


@pytest.mark.parametrize("fault", ["never ready", "never marks"])
async def test_a_server_that_hangs_costs_the_utterance_its_text_and_no_more(fault: Fault) -> None:
    told, _ = await transcribe_by(fault, "ok", names=("kettle", "window"), answer_seconds=0.5)

    assert [(each.utterance, each.reason) for each in told.missing] == [(1, Gap.UNANSWERED)]
    assert [each.utterance for each in told.finals] == [2]


async def test_a_server_without_a_free_channel_is_asked_again_and_then_there_is_a_gap() -> None:
    sound, _ = recording("kettle")

    with run_kyutai(channels=0) as server, trio.fail_after(LIMIT_SECONDS):
        engine = KyutaiEngine(server.url, key=KEY, tls=TLS)
        told = await transcribe(engine, sound)
        assert server.refused == ATTEMPTS
        with pytest.raises(SpeechError, match="no free channel"):
            await engine.prove()

    assert [each.reason for each in told.missing] == [Gap.FAILED]


async def test_a_wrong_key_and_no_server_are_found_out_at_once() -> None:
    with run_kyutai() as server:
        with pytest.raises(SpeechError, match=r"does not accept the key \(HTTP 401\)") as caught:
            await KyutaiEngine(server.url, key="wrong", tls=TLS).prove()
        assert not caught.value.is_passing
        assert await KyutaiEngine(server.url, key=KEY, tls=TLS).prove() == "the server has a free channel"

    with pytest.raises(SpeechError, match="no connection") as caught:
        await KyutaiEngine(server.url, key=KEY, tls=TLS).prove()
    assert caught.value.is_passing
