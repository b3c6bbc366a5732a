"""What clients of the web front may do wrong, to a real process: it costs them alone. About half a minute in all."""

from collections.abc import Iterator

import pytest

from tests.web_caller import Caller, call_loopback
from tests.web_inputs import INPUTS, Peer, audio
from tests.web_service import WebService, run_web_service

pytestmark = pytest.mark.live

GAP_LIMIT_FRAMES = 50
"""A second; where another server ended, or waited for one client, nothing came at all."""
STOP_SECONDS = 3.0
"""For the whole process: the goal is two, and a machine that tests is busy."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebService]:
    with run_web_service(tmp_path_factory.mktemp("web"), {"PLEXBRIDGE_WEB_CLIENTS": "8"}) as running:
        yield running


@pytest.fixture(scope="module")
def caller(service: WebService) -> Iterator[Caller]:
    with call_loopback(service.port) as calling:
        yield calling


@pytest.mark.parametrize("name", INPUTS)
def test_a_client_costs_itself_alone(name: str, service: WebService, caller: Caller) -> None:
    caller.worst_frames = 0

    INPUTS[name](service.port)

    assert service.is_healthy()
    caller.wait_frames(10)
    assert caller.worst_frames <= GAP_LIMIT_FRAMES
    assert "ERROR" not in service.log


def test_a_client_that_reads_nothing_does_not_keep_the_service_from_stopping_within_two_seconds(
    service: WebService, caller: Caller
) -> None:
    stalled = Peer(service.port, receive_buffer_bytes=2_048)
    with stalled.socket:
        stalled.open_websocket()
        stalled.send(b"".join(map(audio, range(100))))
        caller.wait_frames(25)

        ended = service.stop()

    assert ended.code == 0
    assert ended.seconds < STOP_SECONDS
    assert (caller.close_code, caller.last_message["type"]) == (1001, "bye")
    assert "ERROR" not in ended.stderr
