"""The port of the web front: its sockets and its certificate, opened before anything else has begun.

What keeps the port from being used is a fault of the configuration, so it is told like one: the key, what was found,
and what to do.
"""

import errno
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from plexbridge.config import WebConfig
from plexbridge.errors import ConfigError

SEND_BUFFER_BYTES = 32 * 1024
"""Of each connection, which inherits it; Linux takes it twice. What a client does not read waits there: about as much
sound as a page may be late by, instead of megabytes, which are minutes."""

HEALTH_SECONDS = 2.0
HEALTH_LIMIT_BYTES = 4096
_NEAREST = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where a front that listens at every address is asked on this machine."""


@dataclass(frozen=True, slots=True)
class Door:
    """A port that is listened at; nobody is let in yet."""

    listeners: Sequence[trio.abc.Listener[trio.abc.Stream]]
    tls: ssl.SSLContext | None
    address: str
    """Of the page, for people."""


@asynccontextmanager
async def open_door(web: WebConfig) -> AsyncIterator[Door]:
    """Listen at the configured address; the sockets are closed at the end of the block.

    Raises ConfigError, with one fault.
    """
    tls = None if web.certificate is None or web.key is None else _load_certificate(web.certificate, web.key)
    listeners = await _listen(web)
    port = listeners[0].socket.getsockname()[1]
    name = socket.gethostname() if web.host in _NEAREST else web.host  # no browser opens 0.0.0.0 elsewhere
    host = f"[{name}]" if ":" in name else name
    try:
        yield Door(tuple(listeners), tls, f"{'http' if tls is None else 'https'}://{host}:{port}/")
    finally:
        for listener in listeners:
            listener.socket.close()


async def is_healthy(web: WebConfig) -> bool:
    """Whether a running plexbridge answers at the configured port."""
    host = _NEAREST.get(web.host, web.host)
    with trio.move_on_after(HEALTH_SECONDS):
        try:
            stream: trio.abc.Stream = await trio.open_tcp_stream(host, web.port)
            if web.certificate is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is told nothing
                stream = trio.SSLStream(stream, context, https_compatible=True)
            async with stream:
                await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = b""
                while len(answer) < HEALTH_LIMIT_BYTES and (data := await stream.receive_some()):
                    answer += data
        except (OSError, trio.BrokenResourceError):
            return False
        return answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\nok")
    return False


async def _listen(web: WebConfig) -> list[trio.SocketListener]:
    try:
        listeners = await trio.open_tcp_listeners(web.port, host=web.host)
    except (socket.gaierror, UnicodeError) as exc:  # the latter for a name that there can't be
        fault = f'web.host: found "{web.host}", expected an address or a name of this machine'
        raise ConfigError((fault,)) from exc
    except OSError as exc:
        raise ConfigError((_port_fault(web, exc),)) from exc
    for listener in listeners:
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    if web.port:
        return listeners
    # A name may stand for several addresses, and each would get a free port of its own.
    for listener in listeners[1:]:
        listener.socket.close()
    return listeners[:1]


def _port_fault(web: WebConfig, error: OSError) -> str:
    if error.errno == errno.EADDRNOTAVAIL:
        return f'web.host: found "{web.host}", expected an address of this machine'
    found = f"web.port: found {web.port}, expected "
    if error.errno == errno.EADDRINUSE:
        return found + "a free port, as this one is in use: stop the other program or set another port, 0 for any"
    if error.errno in (errno.EACCES, errno.EPERM):
        return found + "a port that may be used without special rights, such as 8080"
    return found + f"a port that can be used at {web.host} ({error.strerror or type(error).__name__})"


def _load_certificate(certificate: Path, key: Path) -> ssl.SSLContext:
    for name, path in (("certificate", certificate), ("key", key)):
        try:
            path.open("rb").close()
        except OSError as exc:
            fault = f'web.{name}: found "{path}", expected a file that can be read ({exc.strerror})'
            raise ConfigError((fault,)) from exc
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password it would be asked for at the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as exc:
        raise ConfigError((_certificate_fault(certificate, key, exc),)) from exc
    return context


def _certificate_fault(certificate: Path, key: Path, error: Exception) -> str:
    if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
        return f'web.key: found "{key}", expected the private key of the certificate, and it belongs to another one'
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except ssl.SSLError:
        return f'web.certificate: found "{certificate}", expected a file with a certificate (PEM)'
    return f'web.key: found "{key}", expected a file with a private key (PEM) without a password'
