"""`POST /v1/audio/transcriptions`, as OpenAI's documentation has it.

A form with `file` and `model`; `language` and `response_format` if wanted. The answer is `{"text": ...}`, here with the
length of the sound. Errors are `{"error": {"message": ...}}`.
"""

import asyncio
import io
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import BodyPartReader, web

from tests.speech_server.running import running

Fault = Literal[
    "ok", "500", "429", "404", "html", "no text", "number", "closes", "closes midway", "never", "floods", "slow"
]
KEY = "sk-sesame"


@dataclass
class Upload:
    """One request."""

    fields: dict[str, str]
    rate_hz: int
    channels: int
    sample_bytes: int
    seconds: float
    name: str


@dataclass
class OpenAiServer:
    """A running server; each request has the next fault, the last one again and again."""

    faults: list[Fault] = field(default_factory=lambda: ["ok"])
    url: str = ""
    uploads: list[Upload] = field(default_factory=list)
    unauthorized: int = 0

    async def transcribe(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            self.unauthorized += 1
            return _error(401, f"Incorrect API key provided: {request.headers.get('Authorization')}")
        upload = await _read(request)
        if upload is None:
            return _error(400, "file and model are required")
        self.uploads.append(upload)
        fault = self.faults.pop(0) if len(self.faults) > 1 else self.faults[0]
        text = f"{upload.seconds:.2f} seconds"
        match fault:
            case "500" | "404":
                return _error(int(fault), "The server had an error while processing your request")
            case "429":
                return _error(429, "Rate limit reached", headers={"Retry-After": "1"})
            case "html":
                return web.Response(text="<html>It works!</html>", content_type="text/html")
            case "no text":
                return web.json_response({"segments": []})
            case "number":
                return web.json_response({"text": 7})
            case "never":
                await asyncio.sleep(3600)
            case "slow":
                await asyncio.sleep(1.0)
            case "closes":
                assert request.transport is not None
                request.transport.abort()
            case "closes midway":
                return await _break_off(request)
            case "floods":
                return await _flood(request)
        return web.json_response({"text": text, "usage": {"type": "duration", "seconds": round(upload.seconds)}})


async def _read(request: web.Request) -> Upload | None:
    fields, sound, name = dict[str, str](), None, ""
    reader = await request.multipart()
    while (part := await reader.next()) is not None:
        assert isinstance(part, BodyPartReader)
        if part.name == "file":
            sound, name = await part.read(), part.filename or ""
        else:
            fields[str(part.name)] = await part.text()
    if sound is None or "model" not in fields:
        return None
    with wave.open(io.BytesIO(sound)) as wav:
        seconds = wav.getnframes() / wav.getframerate()
        return Upload(fields, wav.getframerate(), wav.getnchannels(), wav.getsampwidth(), seconds, name)


async def _break_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"text": "hal')
    assert request.transport is not None
    request.transport.abort()
    return response


async def _flood(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"text": "')
    while True:
        await response.write(b"x" * 65_536)


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    return web.json_response(body, status=status, headers=headers)


@contextmanager
def run_openai(*faults: Fault) -> Iterator[OpenAiServer]:
    """Run a server whose requests have these faults, one after the other."""
    server = OpenAiServer(list(faults) or ["ok"])
    application = web.Application(client_max_size=16 << 20)
    application.router.add_post("/v1/audio/transcriptions", server.transcribe)
    with running(application) as port:
        server.url = f"http://127.0.0.1:{port}/v1/audio/transcriptions"
        yield server
