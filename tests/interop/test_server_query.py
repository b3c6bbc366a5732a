"""The query, row by row: the upgrade is always accepted, and what is wrong with it drops the connection afterwards.

Unlike the real server, which listens on all interfaces, this one listens where its `--host` says. Measured difference
to the written facts: the limit of 8190 bytes is that of the request target (path and query), not
of the whole request line.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from tests.interop.conversation import HANDSHAKE, PERSONA
from tests.interop.environment import ModelServer, make_certificate, run_model_server
from tests.interop.wire import DROPPED, Frame, open_wire

pytestmark = pytest.mark.live

LIMIT_SECONDS = 20
VOICE_STEPS, SILENCE_STEPS = 4, 6
SYSTEM_TAGS = 2
TARGET_LIMIT_BYTES = 8_190


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    """One healthy server; a connection that fails in its query leaves nothing behind."""
    voices = "NATF0.pt,NATM0.pt,NATF0.wav"
    with run_model_server("--voices", voices, "--broken-voices", "BAD.pt,BAD2.pt,BAD.wav") as running:
        yield running


@dataclass(frozen=True, slots=True)
class Answer:
    """How far a connection came."""

    status: int
    frames: list[Frame]
    close_code: int


async def refused(server: ModelServer, query: Mapping[str, str] | str) -> Answer:
    """Connect with a query that should fail; listen to the end."""
    with trio.fail_after(LIMIT_SECONDS):
        async with open_wire(server.url, query) as wire:
            frames: list[Frame] = []
            return Answer(wire.status, frames, await wire.receive_to_end(frames))


async def first_message(server: ModelServer, query: Mapping[str, str] | str, **headers: str) -> bytes:
    """Connect with a query that should work; return the first message."""
    with trio.fail_after(LIMIT_SECONDS):
        async with open_wire(server.url, query, headers=headers) as wire:
            assert wire.status == 101
            return (await wire.receive()).payload


DROPPED_WITHOUT_A_WORD = Answer(101, [], DROPPED)


@pytest.mark.parametrize(
    ("query", "failure"),
    [
        ({"text_prompt": "You are kind."}, "KeyError"),
        ({}, "KeyError"),
        ({"voice_prompt": "NATF0.pt"}, "KeyError"),
        (PERSONA | {"voice_prompt": "NATX9.pt"}, "FileNotFoundError"),
        (PERSONA | {"seed": "42"}, "KeyError"),
        (PERSONA | {"seed": "-1"}, "KeyError"),
    ],
    ids=["no voice", "nothing", "no text", "unknown voice", "seed", "seed of -1"],
)
async def test_a_wrong_query_drops_the_upgraded_connection_at_once(
    server: ModelServer, query: dict[str, str], failure: str
) -> None:
    sessions_before = server.state().sessions_started

    answer = await refused(server, query)

    assert answer == DROPPED_WITHOUT_A_WORD
    assert server.state().failures[-1] == failure
    assert server.state().sessions_started == sessions_before


async def test_an_empty_voice_is_the_directory_which_can_not_be_read_as_sound(server: ModelServer) -> None:
    sessions_before = server.state().sessions_started

    answer = await refused(server, PERSONA | {"voice_prompt": ""})

    assert answer == DROPPED_WITHOUT_A_WORD
    assert server.state().sessions_started == sessions_before


async def test_an_empty_text_prompt_fails_at_the_text_phase(server: ModelServer) -> None:
    server.wait_state(lock_held=False)

    answer = await refused(server, PERSONA | {"text_prompt": ""})

    state = server.wait_state(lock_held=False)
    assert answer == DROPPED_WITHOUT_A_WORD
    assert state.failures[-1] == "TypeError"
    assert state.prompt_steps == VOICE_STEPS + SILENCE_STEPS


async def test_one_space_is_a_text_prompt(server: ModelServer) -> None:
    message = await first_message(server, PERSONA | {"text_prompt": " "})

    assert message == HANDSHAKE
    assert server.state().text_prompt.split() == ["<system>", "<system>"]


async def test_a_voice_outside_the_directory_is_taken(server: ModelServer, tmp_path: Path) -> None:
    outside = tmp_path / "OUTSIDE.pt"
    outside.write_bytes(b"PK-voice:OUTSIDE.pt")

    absolute = await first_message(server, PERSONA | {"voice_prompt": str(outside)})
    voice_of_absolute = server.state().voice
    upwards = await first_message(server, PERSONA | {"voice_prompt": "../voices/NATM0.pt"})

    assert (absolute, upwards) == (HANDSHAKE, HANDSHAKE)
    assert voice_of_absolute == "OUTSIDE.pt"
    assert server.state().voice == "NATM0.pt"


async def test_any_audio_file_is_a_voice(server: ModelServer) -> None:
    message = await first_message(server, PERSONA | {"voice_prompt": "NATF0.wav"})

    assert message == HANDSHAKE
    assert server.state().voice == "NATF0.wav"


@pytest.mark.parametrize("name", ["BAD.pt", "BAD.wav"])
async def test_a_broken_voice_is_refused_once_and_then_runs_with_the_voice_before(
    server: ModelServer, name: str
) -> None:
    await first_message(server, PERSONA | {"voice_prompt": "NATM0.pt"})

    first = await refused(server, PERSONA | {"voice_prompt": name})
    again = await first_message(server, PERSONA | {"voice_prompt": name})

    assert first == DROPPED_WITHOUT_A_WORD
    assert again == HANDSHAKE
    assert server.state().voice == "NATM0.pt"


async def test_what_the_web_client_sends_besides_is_ignored(server: ModelServer) -> None:
    extra = ("text_seed", "audio_seed", "text_temperature", "audio_temperature", "text_topk", "audio_topk")

    message = await first_message(server, PERSONA | dict.fromkeys(extra, "no number"))

    assert message == HANDSHAKE


@pytest.mark.parametrize(("target_bytes", "status"), [(TARGET_LIMIT_BYTES, 101), (TARGET_LIMIT_BYTES + 1, 400)])
async def test_the_request_target_has_a_limit_in_encoded_bytes(
    server: ModelServer, target_bytes: int, status: int
) -> None:
    encoded = "voice_prompt=NATX9.pt&text_prompt="
    room = target_bytes - len("/api/chat?" + encoded)
    encoded += "%C3%A9" * (room // 6) + "a" * (room % 6)

    async with open_wire(server.url, encoded) as wire:
        answer = wire.status

    assert answer == status


async def test_other_paths_and_plain_requests_are_refused_in_http(server: ModelServer) -> None:
    async with open_wire(f"{server.url}/", PERSONA) as wire:
        with_slash = wire.status
    async with open_wire(server.url, PERSONA, headers={"Upgrade": "", "Connection": ""}) as wire:
        plain = wire.status

    assert (with_slash, plain) == (404, 400)


@pytest.mark.parametrize(
    ("prompt", "as_used"),
    [
        ("You are kind.", "<system> You are kind. <system>"),
        ("<system> You are kind. <system>", "<system> You are kind. <system>"),
        ("<system> You are kind.", "<system> <system> You are kind. <system>"),
    ],
)
async def test_the_text_is_wrapped_when_it_is_not(server: ModelServer, prompt: str, as_used: str) -> None:
    await first_message(server, PERSONA | {"text_prompt": prompt})

    assert server.state().text_prompt == as_used


async def test_every_token_of_the_text_costs_a_step_and_ten_milliseconds(server: ModelServer) -> None:
    words = 200
    began = trio.current_time()

    message = await first_message(server, PERSONA | {"text_prompt": "go " * words})

    steps = server.state().prompt_steps
    assert message == HANDSHAKE
    assert steps == VOICE_STEPS + SILENCE_STEPS + words + SYSTEM_TAGS + SILENCE_STEPS
    assert steps * 0.01 < trio.current_time() - began < steps * 0.02


async def test_a_prompt_of_1200_words_works(server: ModelServer) -> None:
    """The steps are made quick with a queue of messages for them to eat: 1200 silent ones take 13 seconds."""
    words = 1_200

    with trio.fail_after(LIMIT_SECONDS):
        async with open_wire(server.url, PERSONA | {"text_prompt": "go " * words}) as wire:
            for _ in range(words):
                await wire.send(b"\x06")
            message = (await wire.receive()).payload

    assert message == HANDSHAKE
    assert server.state().prompt_steps > words


async def test_nobody_is_asked_who_they_are_or_where_from(server: ModelServer) -> None:
    message = await first_message(server, PERSONA, Origin="https://elsewhere.example", Authorization="")

    assert message == HANDSHAKE


async def test_with_a_certificate_it_speaks_tls(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    trust = certificate.trust()

    with run_model_server(*certificate.flags) as server, trio.fail_after(LIMIT_SECONDS):
        async with open_wire(server.url, PERSONA, trust=trust) as wire:
            message = (await wire.receive()).payload
            is_held = server.state().lock_held

    assert server.url.startswith("wss://")
    assert message == HANDSHAKE
    assert is_held


async def test_a_certificate_of_nobody_known_breaks_the_handshake(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)

    with run_model_server(*certificate.flags) as server, trio.fail_after(LIMIT_SECONDS):
        with pytest.raises(trio.BrokenResourceError):
            async with open_wire(server.url, PERSONA):
                pass
        connections = server.state().connections

    assert connections == 0
