"""The web front where others can reach it: HTTPS, the token, and clients that do not speak TLS. Ten seconds in all."""

import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.browser import port_of, run_web
from tests.command import run
from tests.discord_bridge import Bridge
from tests.interop.environment import make_certificate

pytestmark = pytest.mark.live

TOKEN = "a-token-of-the-tests"
ANSWER_SECONDS = 10.0
STOP_SECONDS = 3.0


@dataclass(frozen=True)
class Service:
    """A running `plexbridge run` on all addresses."""

    bridge: Bridge
    port: int
    trust: ssl.SSLContext

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Return the status and the body."""
        request = Request(f"https://localhost:{self.port}{path}", headers=headers)
        try:
            with urlopen(request, timeout=ANSWER_SECONDS, context=self.trust) as response:
                return response.status, response.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    paths = make_certificate(folder)
    with run_web(
        folder, WEB_HOST="0.0.0.0", WEB_TOKEN=TOKEN, WEB_CERTIFICATE=str(paths.cert), WEB_KEY=str(paths.key)
    ) as (bridge, address):
        assert address.startswith(f"https://{socket.gethostname()}:")
        yield Service(bridge, port_of(address), ssl.create_default_context(cafile=str(paths.authority)))


def test_the_page_is_for_everybody_and_what_it_can_do_for_who_has_the_token(service: Service) -> None:
    status, page = service.get("/")
    refused, _ = service.get("/options", Authorization="Bearer another-token-of-it")
    granted, options = service.get("/options", Authorization=f"Bearer {TOKEN}")

    assert (status, b"<title>plexbridge</title>" in page) == (200, True)
    assert refused == 401
    assert (granted, json.loads(options)["models"]) == (200, ["loopback"])
    assert TOKEN not in service.bridge.log


def test_clients_that_do_not_speak_tls_cost_themselves_alone_and_keep_nothing_from_stopping(service: Service) -> None:
    first_bytes = (b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(99), b"\xff" * 5_000)
    stalled = [socket.create_connection(("127.0.0.1", service.port)) for _ in first_bytes]
    for client, data in zip(stalled, first_bytes, strict=True):
        client.sendall(data)

    assert service.get("/healthz") == (200, b"ok")
    ended = service.bridge.stop()
    for client in stalled:
        client.close()

    assert ended.code == 0
    assert ended.seconds < STOP_SECONDS
    assert "ERROR" not in ended.stderr


def test_without_token_and_encryption_it_refuses_to_start_where_others_can_reach_it(tmp_path: Path) -> None:
    ended = run("run", cwd=tmp_path, settings={"PLEXBRIDGE_WEB_HOST": "0.0.0.0"})

    assert ended.code == 2
    assert [line.partition(": found")[0] for line in ended.stderr.splitlines()] == [
        "plexbridge: web.token",
        "plexbridge: web.tls_proxy",
    ]
