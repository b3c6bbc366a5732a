"""What `plexbridge check` says of the speech engine, which it tries."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from plexbridge.check import check
from plexbridge.config import Config, ModelConfig, SpeechConfig
from plexbridge.errors import PlexbridgeError
from tests.sentences import GRAMMAR
from tests.speech_server.kyutai import run_kyutai
from tests.speech_server.openai import KEY, run_openai

pytestmark = pytest.mark.live


async def answering(model: ModelConfig) -> float | PlexbridgeError:
    return 1.0


async def line_for(speech: SpeechConfig) -> str:
    report = await check(Config(speech=speech), probe=answering)
    (line,) = (str(finding) for finding in report.findings if finding.name == "speech.engine")
    return line


async def test_an_engine_that_works_has_a_line_that_says_what_it_is() -> None:
    line = await line_for(SpeechConfig(engine="pocketsphinx", grammar=GRAMMAR))
    assert line.startswith("ok    speech.engine: pocketsphinx: pocketsphinx 5.")
    assert line.endswith(f", with the grammar {GRAMMAR}")

    with run_openai() as server:
        line = await line_for(SpeechConfig(engine="openai", url=server.url + "?a=staple", key=SecretStr(KEY)))
    assert line == f"ok    speech.engine: openai at {server.url}?a=***: the server answers, model whisper-1"


async def test_an_engine_that_does_not_work_has_a_line_with_the_reason_and_the_cure(tmp_path: Path) -> None:
    line = await line_for(SpeechConfig(engine="pocketsphinx", grammar=tmp_path / "none.jsgf"))
    assert line.startswith(f"FAIL  speech.engine: pocketsphinx: the grammar {tmp_path}/none.jsgf can't be read — ")
    assert line.endswith("or correct speech.grammar")

    with run_kyutai(channels=0) as server:
        line = await line_for(SpeechConfig(engine="kyutai", url=server.url, key=SecretStr("sesame")))
    assert line.startswith(f"FAIL  speech.engine: kyutai at {server.url}: the server has no free channel — start")
