"""A loopback of packets, until the conversation stands here."""

import json

from trio_websocket import ConnectionClosed, WebSocketConnection


async def converse(websocket: WebSocketConnection) -> None:
    """Say ready to a hello, and send back what is binary."""
    try:
        hello = json.loads(await websocket.get_message())
        ready = {"type": "ready", "version": 1, "session": "000000", "mode": "loopback", "codec": hello["codec"]}
        await websocket.send_message(json.dumps(ready | {"model": None, "voice": None}))
        while True:
            message = await websocket.get_message()
            if isinstance(message, bytes):
                await websocket.send_message(message)
    except ConnectionClosed:
        return
