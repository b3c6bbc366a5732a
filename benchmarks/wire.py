"""A WebSocket server that does nothing, so that a real link over a real socket can be measured by itself.

It runs in a thread beside the client, whose share is what `time.thread_time` says of the client's own thread.
"""

import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request

from plexbridge.model.protocol import Audio, audio_message, handshake_message
from plexbridge.model.request import build_request
from plexbridge.session.link import Link, network_dial, open_link, tls_context

RECEIVE_BYTES = 64 * 1024
PATIENCE_SECONDS = 60.0
"""For the client to connect, and between two signs of it."""


def measure_send(pages: Sequence[bytes]) -> float:
    """Return the CPU seconds of sending `pages` over a link, one to a message."""

    async def send(link: Link) -> None:
        for page in pages:
            await link.send_audio(page)

    return _measure(send, said=())


def measure_receive(pages: Sequence[bytes]) -> float:
    """Return the CPU seconds of receiving `pages` from a link, one to a message."""

    async def receive(link: Link) -> None:
        for _ in pages:
            if not isinstance(await link.receive(), Audio):
                raise AssertionError("the server sends nothing but audio")

    return _measure(receive, said=pages)


def _measure(work: Callable[[Link], Awaitable[None]], *, said: Sequence[bytes]) -> float:
    async def run(url: str) -> float:
        request = build_request(dialect="personaplex", url=url, voice="NATF0", prompt="Benchmark.")
        dial = network_dial(tls_context(ca_file=None, is_verified=True))
        async with open_link(request, dial, handshake_seconds=PATIENCE_SECONDS, watch=lambda state: None) as link:
            start_seconds = time.thread_time()
            await work(link)
            return time.thread_time() - start_seconds
        raise AssertionError("the link swallowed an error")

    with _serve(said) as url:
        return trio.run(run, url)


@contextmanager
def _serve(said: Sequence[bytes]) -> Iterator[str]:
    """Yield the address of a server that says `said` to its one client, and hears whatever comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_SECONDS)
        thread = threading.Thread(target=_converse, args=(listener, said))
        thread.start()
        try:
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}/api/chat"
        finally:
            thread.join(PATIENCE_SECONDS)


def _converse(listener: socket.socket, said: Sequence[bytes]) -> None:
    websocket = WSConnection(ConnectionType.SERVER)
    client, _ = listener.accept()
    with client:
        client.settimeout(PATIENCE_SECONDS)
        while data := client.recv(RECEIVE_BYTES):
            websocket.receive_data(data)
            for event in websocket.events():
                if isinstance(event, Request):
                    client.sendall(websocket.send(AcceptConnection()))
                    messages = (handshake_message(), *map(audio_message, said))
                    client.sendall(b"".join(websocket.send(BytesMessage(message)) for message in messages))
                elif isinstance(event, CloseConnection):
                    client.sendall(websocket.send(event.response()))
                    return
