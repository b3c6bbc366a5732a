"""Servers with OpenAI's interface for transcription: one request for each utterance, when it is over.

Such servers are OpenAI's own, speaches, vLLM, LocalAI, whisper.cpp and others. An utterance goes there as a WAV file of
16 kHz in a form; the answer is JSON with the text. There are no partial texts.
"""

import io
import json
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from ssl import SSLContext

import httpx
import trio

from plexbridge.audio.pcm import to_int16
from plexbridge.errors import SpeechError
from plexbridge.speech.engine import Recognized, Show, Sound

RATE_HZ = 16_000
SAMPLE_BYTES = 2
CONNECT_SECONDS = 10.0
ANSWER_LIMIT_BYTES = 64 * 1024
"""Twenty times what the text of half a minute needs."""
RETRY_LIMIT_SECONDS = 10.0
"""A server that asks to be left alone for longer is asked again sooner; the utterance can't wait."""
PROOF_SECONDS = 1.0
_PASSING = frozenset((HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS))


class OpenAiEngine:
    """Transcribes by a server at `url`, the whole address; implements `engine.SpeechEngine`."""

    def __init__(self, client: httpx.AsyncClient, url: str, *, model: str, language: str | None) -> None:
        self._client = client
        self._url = url
        self._fields = {"model": model, "response_format": "json"} | ({"language": language} if language else {})

    async def recognize(self, sound: Sound, show: Show) -> Recognized:
        """Wait for the end of the utterance, and return what the server says; raises SpeechError."""
        reader, samples = sound.reader(RATE_HZ), bytearray()
        while (chunk := await reader.read()) is not None:
            samples += to_int16(chunk).astype("<i2").tobytes()  # a second at a time: all of it would hold the audio up
        return Recognized(await self._ask(samples))

    async def prove(self) -> str:
        """Have a second of silence transcribed; raises SpeechError."""
        await self._ask(bytes(round(PROOF_SECONDS * RATE_HZ) * SAMPLE_BYTES))
        return f"the server answers, model {self._fields['model']}"

    async def _ask(self, samples: bytes | bytearray) -> str:
        files = {"file": ("utterance.wav", _wav(samples), "audio/wav")}
        try:
            async with self._client.stream("POST", self._url, data=self._fields, files=files) as response:
                _check_status(response)
                return _text(await _body(response))
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as exc:
            raise SpeechError(f"the request failed: {type(exc).__name__}", is_passing=True) from exc


def _wav(samples: bytes | bytearray) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(SAMPLE_BYTES)
        sound.setframerate(RATE_HZ)
        sound.writeframes(samples)
    return file.getvalue()


def _check_status(response: httpx.Response) -> None:
    """Raise SpeechError unless the server has taken the request; its own words may hold a part of the key."""
    status = response.status_code
    if status == HTTPStatus.OK:
        return
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise SpeechError(f"the server does not accept the key (HTTP {status})")
    is_passing = status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    wanted = response.headers.get("retry-after", "")
    retry_seconds = min(float(wanted), RETRY_LIMIT_SECONDS) if wanted.isdecimal() and len(wanted) < 6 else 0.0
    raise SpeechError(f"the server answers with HTTP {status}", is_passing=is_passing, retry_seconds=retry_seconds)


async def _body(response: httpx.Response) -> bytes:
    body = bytearray()
    with trio.CancelScope() as scope:
        async for data in response.aiter_raw():
            body += data
            if len(body) > ANSWER_LIMIT_BYTES:
                scope.cancel(reason="the answer is too long")  # leaving the loop would leave httpx's generators open
    if scope.cancelled_caught:
        raise SpeechError(f"the server's answer has more than {ANSWER_LIMIT_BYTES // 1024} KiB")
    return bytes(body)


def _text(body: bytes) -> str:
    try:
        text = json.loads(body)["text"]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise SpeechError("the server's answer is no JSON with a text", is_passing=True) from exc
    if not isinstance(text, str):
        raise SpeechError("the server's text is none", is_passing=True)
    return text


@asynccontextmanager
async def open_openai(
    url: str, *, key: str | None, model: str, language: str | None, tls: SSLContext
) -> AsyncIterator[OpenAiEngine]:
    """Keep connections to the server for the length of the block; they are made as they are needed."""
    # Unpacked, a small answer could be of any size, so none is to be packed.
    headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {})
    timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)  # how long an answer may take is the line's to say
    async with httpx.AsyncClient(verify=tls, headers=headers, timeout=timeout) as client:
        yield OpenAiEngine(client, url, model=model, language=language)
