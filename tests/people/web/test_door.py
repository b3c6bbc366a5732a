"""`open_door`: the port and the certificate, and a plain line for each reason why they can't be used."""

import ssl
from pathlib import Path

import pytest
import trio
import trustme
from cryptography.hazmat.primitives import serialization
from trio.testing import memory_stream_pair

from plexbridge.config import WebConfig
from plexbridge.errors import ConfigError
from plexbridge.people.web.door import Door, open_door
from plexbridge.people.web.http import REQUEST_SECONDS
from tests.people.web.browsing import HELLO, make_server


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def pair(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pair")
    issued = authority.issue_cert("localhost")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    for number, part in enumerate(issued.cert_chain_pems):
        part.write_to_path(certificate, append=number > 0)
    issued.private_key_pem.write_to_path(key)
    return certificate, key


def port_of(door: Door) -> int:
    return int(door.address.rpartition(":")[2].strip("/"))


async def fault_of(web: WebConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        async with open_door(web):
            pass
    (fault,) = caught.value.faults
    assert "\n" not in fault
    return fault


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("localhost", "localhost")])
async def test_a_free_port_is_one_port_and_stands_in_the_address(host: str, shown: str) -> None:
    async with open_door(WebConfig(host=host, port=0)) as door:
        assert len(door.listeners) == 1
        port = port_of(door)

    assert door.address == f"http://{shown}:{port}/"
    assert door.tls is None


async def test_a_port_is_free_again_behind_the_block() -> None:
    async with open_door(WebConfig(port=0)) as door:
        port = port_of(door)

    async with open_door(WebConfig(port=port)) as door:
        assert door.address == f"http://127.0.0.1:{port}/"


async def test_a_port_in_use_is_told() -> None:
    async with open_door(WebConfig(port=0)) as door:
        port = port_of(door)

        fault = await fault_of(WebConfig(port=port))

    assert fault == (
        f"web.port: found {port}, expected a free port, as this one is in use: "
        "stop the other program or set another port, 0 for any"
    )


async def test_an_address_of_another_machine_is_told() -> None:
    web = WebConfig.model_construct(host="192.0.2.1", port=0, certificate=None, key=None)

    assert await fault_of(web) == 'web.host: found "192.0.2.1", expected an address of this machine'


async def test_a_name_that_can_be_none_is_told() -> None:
    web = WebConfig.model_construct(host="a..b", port=0, certificate=None, key=None)

    assert (await fault_of(web)).startswith('web.host: found "a..b", expected an address or a name of this machine')


async def test_a_certificate_makes_it_https(pair: tuple[Path, Path], authority: trustme.CA) -> None:
    certificate, key = pair

    async with open_door(WebConfig(port=0, certificate=certificate, key=key)) as door:
        pass

    assert door.address.startswith("https://127.0.0.1:")
    assert door.tls is not None


def _encrypted(key: Path) -> bytes:
    """Return a key file with a password."""
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(b"sesame"),
    )


@pytest.mark.parametrize(
    ("certificate", "key", "fault"),
    [
        (None, b"", 'web.certificate: found "{certificate}", expected a file that can be read (No such file or'),
        (b"", None, 'web.key: found "{key}", expected a file that can be read (No such file or directory)'),
        (b"hello", b"own", 'web.certificate: found "{certificate}", expected a file with a certificate (PEM)'),
        (b"own", b"hello", 'web.key: found "{key}", expected a file with a private key (PEM) without a password'),
        (b"own", b"locked", 'web.key: found "{key}", expected a file with a private key (PEM) without a password'),
        (b"own", b"other", 'web.key: found "{key}", expected the private key of the certificate, and it belongs to'),
    ],
)
async def test_files_that_are_no_certificate_and_key_are_named(
    certificate: bytes | None,
    key: bytes | None,
    fault: str,
    pair: tuple[Path, Path],
    authority: trustme.CA,
    tmp_path: Path,
) -> None:
    own = {"certificate": pair[0].read_bytes(), "key": pair[1].read_bytes()}
    keys = {b"locked": _encrypted(pair[1]), b"other": authority.issue_cert("localhost").private_key_pem.bytes()}
    paths = {"certificate": tmp_path / "c.pem", "key": tmp_path / "k.pem"}
    for (name, path), content in zip(paths.items(), (certificate, key), strict=True):
        if content is not None:
            path.write_bytes(own[name] if content == b"own" else keys.get(content, content))

    found = await fault_of(WebConfig(port=0, certificate=paths["certificate"], key=paths["key"]))

    assert found.startswith(fault.format(**paths))


async def test_the_page_is_served_with_tls(pair: tuple[Path, Path], authority: trustme.CA) -> None:
    async with open_door(WebConfig(port=0, certificate=pair[0], key=pair[1])) as door:
        server = make_server(tls=door.tls)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    ours, theirs = memory_stream_pair()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve_stream, theirs)
        stream = trio.SSLStream(ours, context, server_hostname="localhost", https_compatible=True)
        await stream.send_all(HELLO)
        received = b""
        while not received.endswith(b"hello"):
            received += await stream.receive_some()
        await stream.aclose()

    assert received.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_client_without_tls_is_disconnected_and_one_that_does_not_shake_hands_too(
    pair: tuple[Path, Path], autojump_clock: object
) -> None:
    async with open_door(WebConfig(port=0, certificate=pair[0], key=pair[1])) as door:
        server = make_server(tls=door.tls)
    plain, plain_far = memory_stream_pair()
    silent, silent_far = memory_stream_pair()

    await plain.send_all(HELLO)
    await server.serve_stream(plain_far)
    assert trio.current_time() == 0
    await silent.send_all(b"\x16\x03")
    await server.serve_stream(silent_far)

    assert trio.current_time() == pytest.approx(REQUEST_SECONDS)
