"""The engine that the configuration names, ready to be used."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from plexbridge.config import SpeechConfig
from plexbridge.errors import RequestError, SpeechError
from plexbridge.session.link import tls_context
from plexbridge.speech.engine import SpeechEngine

PROOF_SECONDS = 60.0
"""For an engine to show that it works: a model may have to be loaded."""
NO_ENGINE = 'No speech engine is chosen. Set speech.engine, for example PLEXBRIDGE_SPEECH_ENGINE="pocketsphinx".'


@asynccontextmanager
async def open_engine(config: SpeechConfig) -> AsyncIterator[SpeechEngine]:
    """Run the chosen engine for the length of the block; nothing is started or connected before it is needed.

    Raises RequestError when none is chosen, ConfigError for a `ca_file` that can't be used.
    """
    # Each only when it is chosen: they bring libraries of their own.
    key = None if config.key is None else config.key.get_secret_value()
    match config.engine:
        case "none":
            raise RequestError(NO_ENGINE)
        case "pocketsphinx" | "sherpa-onnx":
            from plexbridge.speech.embedded import open_embedded

            paths = {"grammar": config.grammar, "sherpa": config.folder}
            setup = {name: str(path.absolute()) for name, path in paths.items() if path is not None}
            async with open_embedded(setup, workers=config.workers) as embedded:
                yield embedded
        case "openai":
            from plexbridge.speech.openai import open_openai

            tls = tls_context(ca_file=config.ca_file, is_verified=True)
            async with open_openai(
                config.url, key=key, model=config.model, language=config.language, tls=tls
            ) as openai:
                yield openai
        case "kyutai":
            from plexbridge.speech.kyutai import KyutaiEngine

            yield KyutaiEngine(config.url, key=key, tls=tls_context(ca_file=config.ca_file, is_verified=True))


async def prove(engine: SpeechEngine) -> str:
    """Find out whether an engine can work, within `PROOF_SECONDS`, and return what it is; raises SpeechError."""
    with trio.move_on_after(PROOF_SECONDS):
        return await engine.prove()
    raise SpeechError(f"it does not answer within {PROOF_SECONDS:.0f} s", is_passing=True)
