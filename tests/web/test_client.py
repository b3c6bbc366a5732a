"""One connection of the web page, from the hello to the close, with real WebSockets in simulated time."""

from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

from tests.web.simulation import TOKEN, open_world, opus_packets, pcm_frames


async def test_in_loopback_mode_every_packet_comes_back_as_it_is(autojump_clock: MockClock) -> None:
    packets = opus_packets(100)
    async with open_world() as world, world.enter() as visitor:
        ready = await visitor.wait_for("ready")
        await visitor.say(packets[:50])
        visitor.be_muted(200)
        await trio.sleep(4.0)
        await visitor.say(packets[50:])
        await trio.sleep(0.1)

        assert ready.pop("session")
        assert ready == {
            "type": "ready",
            "version": 1,
            "mode": "loopback",
            "codec": "opus",
            "model": None,
            "voice": None,
        }
        assert [packet.payload for packet in visitor.packets] == packets
        assert [packet.sequence for packet in visitor.packets] == [*range(50), *range(250, 300)]
        delays = [packet.at_seconds - visitor.sent_at_seconds[packet.sequence] for packet in visitor.packets]
        assert max(delays) < 0.001


async def test_loopback_of_plain_samples_comes_back_too(autojump_clock: MockClock) -> None:
    frames = pcm_frames(50)
    async with open_world() as world, world.enter(codec="pcm16") as visitor:
        await visitor.say(frames)
        await trio.sleep(0.1)

        assert [packet.payload for packet in visitor.packets] == frames


async def test_the_client_of_the_documentation_hears_itself(autojump_clock: MockClock) -> None:
    page = (Path(__file__).parents[2] / "docs" / "ws-voice.md").read_text("utf-8")
    names: dict[str, Any] = {"__name__": "documentation"}
    exec(page.partition("```python\n")[2].partition("```")[0], names)
    frames, heard = pcm_frames(100), list[bytes]()

    async with open_world() as world:
        websocket = await world.nursery.start(world.connect)
        await names["talk"](websocket, frames, heard, token=TOKEN)

    assert heard == frames
