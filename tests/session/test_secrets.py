"""A canary prompt and a canary token, and every log of every library at its most talkative."""

import logging

import pytest
import trio
from trio.testing import MockClock

from plexbridge.model.request import ModelRequest, build_request
from plexbridge.session.ledger import Ledger
from plexbridge.session.link import open_link
from plexbridge.session.session import run_session
from tests.session.simulation import SETTINGS, ScriptedPeople, SimulatedModel

PROMPT = "You are a canary-prompt-7391"
TOKEN = "canary-token-2846"


def _requests() -> list[ModelRequest]:
    url = f"ws://model/api/chat?auth={TOKEN}"
    return [
        build_request(dialect="personaplex", url=url, voice="NATF0", prompt=PROMPT),
        build_request(dialect="personaplex", url=url.replace("/api/chat", "/elsewhere"), voice="NATF0", prompt=PROMPT),
    ]


@pytest.mark.parametrize("request_index", [0, 1], ids=["a call", "a refused call"])
async def test_no_log_of_any_library_holds_the_prompt_or_the_token(
    request_index: int, nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    request = _requests()[request_index]
    people = ScriptedPeople(ticks=20)
    model = SimulatedModel(nursery)
    failures: list[str] = []

    with caplog.at_level(logging.NOTSET):
        try:
            async with open_link(request, model.dial, handshake_seconds=60, watch=people.tell) as link:
                await run_session(link, people, SETTINGS, ledger=Ledger(), serial=1)
        except Exception as exc:
            failures.append(repr(exc))

    written = " ".join([caplog.text, repr(request), str(request), *failures])
    assert "trio-websocket" in caplog.text, "the libraries were heard at all"
    assert len(failures) == request_index
    for canary in ("canary-prompt", "canary-token", "canary%2D", "7391", "2846"):
        assert canary not in written
