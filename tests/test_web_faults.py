"""What clients of the web front may do wrong, to a real process: it costs them alone. About half a minute in all."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.request import urlopen

import pytest

from tests.browser import port_of, run_web
from tests.discord_bridge import Bridge
from tests.web_caller import Caller, call_loopback
from tests.web_inputs import INPUTS, Peer, audio, report

pytestmark = pytest.mark.live

GAP_LIMIT_FRAMES = 50
"""A second; where another server ended, or waited for one client, nothing came at all."""
ANSWER_SECONDS = 10.0
STOP_SECONDS = 3.0
"""For the whole process: the goal is two, and a machine that tests is busy."""


@dataclass(frozen=True)
class Service:
    """A running `plexbridge run`."""

    bridge: Bridge
    address: str

    @property
    def port(self) -> int:
        return port_of(self.address)

    def is_healthy(self) -> bool:
        """Whether it answers, over a new connection."""
        with urlopen(f"{self.address}healthz", timeout=ANSWER_SECONDS) as response:
            return bool(response.read() == b"ok")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with run_web(tmp_path_factory.mktemp("web"), WEB_CLIENTS="8") as (bridge, address):
        yield Service(bridge, address)


@pytest.fixture(scope="module")
def caller(service: Service) -> Iterator[Caller]:
    with call_loopback(service.port) as calling:
        yield calling


@pytest.mark.parametrize("name", INPUTS)
def test_a_client_costs_itself_alone(name: str, service: Service, caller: Caller) -> None:
    caller.worst_frames = 0

    INPUTS[name](service.port)

    assert service.is_healthy()
    caller.wait_frames(10)
    assert caller.worst_frames <= GAP_LIMIT_FRAMES
    assert "ERROR" not in service.bridge.log


def test_a_client_that_reads_nothing_does_not_keep_the_service_from_stopping_within_two_seconds(
    service: Service, caller: Caller
) -> None:
    stalled = Peer(service.port, receive_buffer_bytes=2_048)
    with stalled.socket:
        stalled.open_websocket()
        for start in range(0, 100, 25):
            stalled.send(b"".join(map(audio, range(start, start + 25))) + report(start + 24))
        caller.wait_frames(25)

        ended = service.bridge.stop()

    assert ended.code == 0
    assert ended.seconds < STOP_SECONDS
    gone = re.search(r"a page has gone: received 100, .*\bsent (\d+), withheld (\d+)", ended.stderr)
    assert gone is not None, ended.stderr
    assert int(gone[2]) > 20, f"it was sent {gone[1]}, so it has not kept anybody waiting"
    assert (caller.close_code, caller.last_message["type"]) == (1001, "bye")
    assert "ERROR" not in ended.stderr
