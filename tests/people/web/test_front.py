"""The web front as a whole, over connections in memory: its routes, its token, and how it stops."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import pytest
import trio
from pydantic import SecretStr
from trio.testing import memory_stream_pair
from trio_websocket import ConnectionClosed

from plexbridge.audio.hearing import HearingSettings
from plexbridge.config import Config, ModelConfig, PersonaConfig, WebConfig
from plexbridge.model.pool import Pool
from plexbridge.model.request import ModelAddress
from plexbridge.people.web.door import Door
from plexbridge.people.web.front import open_front
from plexbridge.service import Backend, probe_model
from tests.people.web.browsing import HOST, Client

TOKEN = "0123456789abcdef"
HELLO = {"type": "hello", "version": 1, "mode": "loopback", "codec": "pcm16"}
ADDRESS = "http://127.0.0.1:8080/"


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """Where clients in memory come in."""

    def __init__(self) -> None:
        self._to_accept, self._accepted = trio.open_memory_channel[trio.abc.Stream](9)

    def connect(self) -> trio.abc.Stream:
        """Return the client's end of a new connection."""
        ours, theirs = memory_stream_pair()
        self._to_accept.send_nowait(theirs)
        return ours

    async def accept(self) -> trio.abc.Stream:
        return await self._accepted.receive()

    async def aclose(self) -> None:
        self._accepted.close()
        await trio.lowlevel.checkpoint()


async def dial(address: ModelAddress) -> trio.abc.Stream:
    raise OSError("there is no model")


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[MemoryListener]:
    """Run the front, with models that nobody calls."""
    listener = MemoryListener()
    backends = [Backend(model, "ws://model.example/api/chat", dial) for model in config.model]
    pool = Pool(backends, slot_seconds=0, probe=partial(probe_model, persona=config.persona), random=Random(1))
    door = Door((listener,), None, ADDRESS)
    async with open_front(config, pool, HearingSettings(), door) as front:
        assert front.description == f"page at {ADDRESS}"
        yield listener


def client_of(listener: MemoryListener, nursery: trio.Nursery) -> Client:
    return Client(None, nursery, stream=listener.connect())


def get(path: str, *lines: str, host: str = HOST) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", f"Host: {host}", *lines, "", "")).encode()


async def test_the_page_its_files_and_its_health_are_there(nursery: trio.Nursery) -> None:
    async with running(Config()) as listener:
        client = client_of(listener, nursery)
        page = await client.ask(get("/"))
        health = await client.ask(get("/healthz"))
        missing = await client.ask(get("/page/nothing.js"))

    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (health.status, health.body) == (200, b"ok")
    assert missing.status == 404


async def test_the_options_are_the_models_and_the_voices_with_the_one_of_the_operator(nursery: trio.Nursery) -> None:
    config = Config(
        model=(ModelConfig(name="a", url="ws://a/api"), ModelConfig(name="b", url="ws://b/api")),
        persona=PersonaConfig(voice="mine.pt"),
    )
    async with running(config) as listener:
        answer = await client_of(listener, nursery).ask(get("/options"))

    options = json.loads(answer.body)
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("application/json", "no-store")
    assert (options["version"], options["models"], options["modes"]) == (1, ["a", "b"], ["loopback", "model"])
    assert (options["default_voice"], options["voices"][0], options["voices"][-1]) == ("mine.pt", "NATF0", "mine.pt")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((), 401),
        (("Authorization: Bearer",), 401),
        (("Authorization: Bearer 0123456789abcdee",), 401),
        ((f"Authorization: Basic {TOKEN}",), 401),
        ((f"Authorization: {TOKEN}",), 401),
        ((f"Authorization: Bearer {TOKEN}",), 200),
        ((f"authorization: bearer {TOKEN}",), 200),
    ],
)
async def test_with_a_token_the_options_are_for_who_has_it_and_the_page_for_all(
    lines: tuple[str, ...], status: int, nursery: trio.Nursery
) -> None:
    async with running(Config(web=WebConfig(token=SecretStr(TOKEN)))) as listener:
        client = client_of(listener, nursery)
        options = await client.ask(get("/options", *lines, host="voice.example"))
        page = await client.ask(get("/", host="voice.example"))

    assert (options.status, page.status) == (status, 200)
    assert (b"models" in options.body) is (status == 200)


@pytest.mark.parametrize(("token", "answer"), [(None, "error"), ("wrong", "error"), (TOKEN, "ready")])
async def test_a_conversation_begins_with_the_token_only(token: str | None, answer: str, nursery: trio.Nursery) -> None:
    async with running(Config(web=WebConfig(token=SecretStr(TOKEN)))) as listener:
        websocket = await client_of(listener, nursery).open_websocket(path="/ws/voice")
        await websocket.send_message(json.dumps(HELLO | ({} if token is None else {"token": token})))
        message: dict[str, Any] = json.loads(await websocket.get_message())

    assert message["type"] == answer


async def test_who_talks_is_told_when_the_front_stops_even_when_it_is_cancelled(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    async with trio.open_nursery() as service:
        websocket = await service.start(_hold, nursery)
        stopped = trio.current_time()
        service.cancel_scope.cancel()

    assert trio.current_time() - stopped < 1.1
    assert json.loads(await websocket.get_message())["type"] == "bye"
    with pytest.raises(ConnectionClosed) as closed:
        await websocket.get_message()
    assert closed.value.reason is not None
    assert closed.value.reason.code == 1001


async def _hold(nursery: trio.Nursery, *, task_status: trio.TaskStatus[object]) -> None:
    async with running(Config()) as listener:
        websocket = await client_of(listener, nursery).open_websocket(path="/ws/voice")
        await websocket.send_message(json.dumps(HELLO))
        assert json.loads(await websocket.get_message())["type"] == "ready"
        task_status.started(websocket)
        await trio.sleep_forever()
