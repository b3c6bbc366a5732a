"""One connection of the web page, from the hello to the close, with real WebSockets in simulated time."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio_websocket
from trio.testing import MockClock

from plexbridge import leg
from plexbridge.audio.opus import Decoder
from plexbridge.audio.pcm import level_dbfs
from plexbridge.config import PersonaConfig
from plexbridge.errors import ModelBusy, ModelRefused
from plexbridge.model import loopback
from plexbridge.people.web.messages import HEADER
from plexbridge.people.web.voice import WebPeople
from plexbridge.service import Backend, reserve_link
from tests.web.simulation import TOKEN, World, open_world, opus_packets, pcm_frames
from tests.web.visitor import Visitor

DELAY_SECONDS = 0.3
"""More than there and back may take through the model of the tests, its own 80 ms included."""


def loudness(packets: list[bytes]) -> list[float]:
    with Decoder(rate_hz=48_000) as decoder:
        return [level_dbfs(decoder.decode(packet)) for packet in packets]


async def close_code(world: World, *messages: str | bytes) -> tuple[int, object]:
    """Send these messages; return the close code and the error's."""
    visitor = Visitor(await world.nursery.start(world.connect))
    with suppress(trio_websocket.ConnectionClosed):
        for message in messages:
            await visitor.websocket.send_message(message)
    await visitor.read()
    (last,) = visitor.of("error") + visitor.of("bye")
    assert str(last["message"])[-1] in ".?)"
    assert last is visitor.texts[-1]
    return await visitor.wait_closed(), last.get("code")


def hello(**more: object) -> str:
    return json.dumps(
        {"type": "hello", "version": 1, "mode": "loopback", "codec": "pcm16", "token": TOKEN, **more}, allow_nan=False
    )


def frame(sequence: int) -> bytes:
    return HEADER.pack(1, sequence) + bytes(1_920)


# Hear yourself


async def test_in_loopback_mode_every_packet_comes_back_as_it_is(autojump_clock: MockClock) -> None:
    packets = opus_packets(100)
    async with open_world() as world, world.enter() as visitor:
        ready = await visitor.wait_for("ready")
        await visitor.say(packets[:50])
        visitor.be_muted(200)
        await trio.sleep(4.0)
        await visitor.say(packets[50:])
        await trio.sleep(0.5)

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
        stats = visitor.of("stats")[-1]
        assert (stats["received"], stats["sent"], stats["withheld"], stats["dropped"]) == (100, 100, 0, 0)
        assert stats["delay_ms"] is stats["answer_ms"] is None
        assert visitor.of("level")[-1]["heard_dbfs"] == visitor.of("level")[-1]["played_dbfs"]
        assert -13 < float(str(visitor.of("level")[-1]["heard_dbfs"])) < -11
        assert len(visitor.of("level")) in range(8, 11)


async def test_loopback_of_plain_samples_comes_back_too(autojump_clock: MockClock) -> None:
    frames = pcm_frames(50)
    async with open_world() as world, world.enter(codec="pcm16") as visitor:
        await visitor.say(frames)
        await trio.sleep(0.1)

        assert [packet.payload for packet in visitor.packets] == frames


async def test_a_packet_that_is_no_opus_does_not_come_back_and_ends_nothing(autojump_clock: MockClock) -> None:
    good = opus_packets(2)
    async with open_world() as world, world.enter() as visitor:
        for payload in (good[0], b"\xff", b"\x03\xff", good[1]):
            await visitor.say_one(payload)
        await trio.sleep(0.5)

        assert [packet.payload for packet in visitor.packets] == good
        assert visitor.of("stats")[-1]["dropped"] == 2


async def test_the_answer_to_a_report_has_the_clock_of_the_page(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.enter() as visitor:
        await trio.sleep(1.05)

        clocks = [stats["clock_ms"] for stats in visitor.of("stats")]
        assert clocks == pytest.approx([0, 200, 400, 600, 800, 1000])


async def test_the_client_of_the_documentation_hears_itself(autojump_clock: MockClock) -> None:
    page = (Path(__file__).parents[2] / "docs" / "ws-voice.md").read_text("utf-8")
    names: dict[str, Any] = {"__name__": "documentation"}
    exec(page.partition("```python\n")[2].partition("```")[0], names)
    frames, heard = pcm_frames(100), list[bytes]()

    async with open_world() as world:
        websocket = await world.nursery.start(world.connect)
        await names["talk"](websocket, frames, heard, token=TOKEN)

    assert heard == frames


# Talk with a model


async def talk(visitor: Visitor, packets: list[bytes]) -> None:
    """Wait for the model, say something, and hear it to its end."""
    await visitor.wait_for("ready")
    await visitor.say(packets)
    await trio.sleep(1.0)


@pytest.mark.parametrize("codec", ["opus", "pcm16"])
async def test_a_model_hears_a_visitor_and_is_heard_and_read(codec: str, autojump_clock: MockClock) -> None:
    packets = opus_packets(100) if codec == "opus" else pcm_frames(100)
    async with open_world() as world, world.enter("model", codec) as visitor:
        await talk(visitor, packets)

        states = [text["state"] for text in visitor.of("state")]
        assert states == ["connecting", "preparing", "live"]
        ready = visitor.of("ready")
        assert [(each["mode"], each["codec"], each["model"], each["voice"]) for each in ready] == [
            ("model", codec, "a", "NATF0")
        ]
        assert [packet.sequence for packet in visitor.packets] == list(range(len(visitor.packets)))
        assert len(visitor.packets) in range(149, 153)
        if codec == "opus":
            levels = loudness([packet.payload for packet in visitor.packets])
        else:
            assert {len(packet.payload) for packet in visitor.packets} == {1_920}
            levels = [0.0 if max(packet.payload[1::2]) > 0x10 else -120.0 for packet in visitor.packets]
        loud = [index for index, level in enumerate(levels) if level > -40]
        assert loud[0] < DELAY_SECONDS / 0.02
        assert len(loud) > 95
        assert "".join(str(text["text"]) for text in visitor.of("text")).startswith(" You said")
        stats = visitor.of("stats")[-1]
        assert (stats["received"], stats["lost"], stats["dropped"], stats["withheld"]) == (100, 0, 0, 0)
        delay = stats["delay_ms"]
        assert isinstance(delay, dict)
        assert 0 < delay["up"] < 60
        assert delay["total"] < 200


async def test_who_leaves_gives_the_model_back_at_once_however_they_leave(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        server = world.models["a"].server
        for number, leave in enumerate(("bye", "close", "loss", "cancel")):
            async with world.enter("model") as visitor:
                await visitor.wait_for("ready")
                assert server.is_busy
                if leave == "bye":
                    await visitor.send({"type": "bye"})
                    assert await visitor.wait_closed() == 1000
                    assert visitor.of("bye")[0]["message"]
                elif leave == "close":
                    await visitor.websocket.aclose()
                elif leave == "loss":
                    await world.valves[-1].aclose()
                else:
                    world.held[-1].cancel(reason="the service stops")
                    assert await visitor.wait_closed() == 1001
                    assert visitor.of("bye")[0]["message"]
                await trio.sleep(0.6)
                assert not server.is_busy
                assert not world.around.pool.placement.seats
                assert world.served == number + 1


async def test_a_second_visitor_waits_for_the_only_model_and_gets_it(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.enter("model") as first:
        await first.wait_for("ready")
        async with world.enter("model") as second, world.enter("model") as third:
            await third.wait_for("queue")
            assert second.of("queue")[0]["message"] == "All models are taken. You are 1st in the queue."
            assert [(text["place"], text["wait_seconds"]) for text in third.of("queue")] == [(2, None)]
            await first.send({"type": "bye"})
            await second.wait_for("ready")
            await third.wait_for("queue", 2)
            assert third.of("queue")[1]["place"] == 1
            assert not third.of("ready")


async def test_a_visitor_whose_time_is_up_is_warned_and_waits_again(autojump_clock: MockClock) -> None:
    async with open_world(slot_seconds=20.0) as world, world.enter("model") as first:
        await first.wait_for("ready")
        async with world.enter("model") as second:
            await second.wait_for("queue")
            assert second.of("queue")[0]["wait_seconds"] in range(18, 21)
            await first.wait_for("notice")
            warned_seconds = trio.current_time()
            await second.wait_for("ready")

            assert trio.current_time() - warned_seconds == pytest.approx(10.0, abs=0.5)
            assert [text["message"] for text in first.of("notice")] == [
                "Others are waiting for a speech model: your time is up in about 10 seconds.",
                "Your time is up, because others are waiting for a speech model.",
            ]
            await first.wait_for("queue")
            await second.send({"type": "bye"})
            await first.wait_for("ready", 2)
            sequences = [packet.sequence for packet in first.packets]
            assert sequences == list(range(len(sequences)))


async def test_a_visitor_may_go_on_when_those_who_wait_have_gone(autojump_clock: MockClock) -> None:
    async with open_world(slot_seconds=20.0) as world, world.enter("model") as first:
        await first.wait_for("ready")
        async with world.enter("model"):
            await first.wait_for("notice")
        await first.wait_for("notice", 2)

        assert first.of("notice")[1]["message"] == "You may go on: nobody is waiting any more."


async def test_a_model_that_is_lost_comes_back_and_the_frames_count_on(autojump_clock: MockClock) -> None:
    packets = opus_packets(200)
    async with open_world() as world, world.enter("model") as visitor:
        await visitor.wait_for("ready")
        await visitor.say(packets[:50])
        await world.models["a"].die()
        await visitor.say(packets[50:150])
        world.models["a"].is_gone = False
        await visitor.say(packets[150:])

        await visitor.wait_for("ready", 2)
        await trio.sleep(1.0)
        states = [str(text["state"]) for text in visitor.of("state")]
        assert states[:4] == ["connecting", "preparing", "live", "lost"]
        assert states[-3:] == ["connecting", "preparing", "live"]
        assert [str(text["message"]).split(".")[0] for text in visitor.of("notice")] == [
            "The connection to the speech model was lost",
            "The speech model is back",
        ]
        sequences = [packet.sequence for packet in visitor.packets]
        assert sequences == list(range(len(sequences)))
        assert len(sequences) > 95
        assert float(str(visitor.of("stats")[-1]["dropped"])) > 50, "what was said to nobody"


async def test_a_visitor_of_a_lost_model_moves_to_another_one(autojump_clock: MockClock) -> None:
    async with open_world(("a", "b")) as world, world.enter("model") as visitor:
        await visitor.wait_for("ready")
        await world.models["a"].die()
        await visitor.wait_for("ready", 2)

        assert [text["model"] for text in visitor.of("ready")] == ["a", "b"]


async def test_voice_and_prompt_of_the_hello_stand_in_for_the_configured_ones(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        async with world.enter("model", voice="natm1", prompt="Be a\n pirate.") as visitor:
            ready = await visitor.wait_for("ready")
        async with world.enter("model", voice=" ", prompt="") as visitor:
            usual = await visitor.wait_for("ready")

        assert (ready["voice"], usual["voice"]) == ("NATM1", "NATF0")
        first, second = world.models["a"].requests
        assert "voice_prompt=NATM1.pt&text_prompt=Be+a+pirate." in first
        assert "voice_prompt=NATF0.pt" in second
        assert "pirate" not in second


async def test_who_wants_one_model_only_waits_for_it_while_another_is_free(autojump_clock: MockClock) -> None:
    async with (
        open_world(("a", "b")) as world,
        world.enter("model", model="b") as first,
        world.enter("model", model="b") as second,
        world.enter("model") as third,
    ):
        assert (await first.wait_for("ready"))["model"] == "b"
        assert (await third.wait_for("ready"))["model"] == "a"
        assert (await second.wait_for("queue"))["message"] == "Model b is taken. You are 1st in the queue."
        await third.send({"type": "bye"})
        await trio.sleep(2.0)
        assert not second.of("ready")
        await first.send({"type": "bye"})
        assert (await second.wait_for("ready"))["model"] == "b"


# What ends a connection


@pytest.mark.parametrize(
    ("messages", "ending"),
    [
        (["hello"], (4400, "bad_hello")),
        ([frame(0)], (4400, "bad_hello")),
        ([hello(version=2)], (4400, "bad_hello")),
        ([hello(token="wrong")], (4401, "unauthorized")),
        ([hello(token="")], (4401, "unauthorized")),
        ([hello(token="ü\U0001f600")], (4401, "unauthorized")),
        ([hello(mode="model", voice="NATF9")], (4404, "bad_request")),
        ([hello(mode="model", voice="../x")], (4404, "bad_request")),
        ([hello(mode="model", prompt="&" * 3_000)], (4404, "bad_request")),
        ([hello(mode="model", model="z")], (4404, "bad_request")),
        ([hello(), hello()], (4400, "bad_message")),
        ([hello(), "{}"], (4400, "bad_message")),
        ([hello(), b"\x02"], (4400, "bad_message")),
        ([hello(), frame(7), frame(7)], (4400, "bad_message")),
        ([hello(), frame(7), frame(3)], (4400, "bad_message")),
        ([hello(), frame(0)[:-1]], (4400, "bad_message")),
        ([hello(), b"\x01" + bytes(9_000)], (1009, "too_large")),
        ([hello(), '"' + "x" * 9_000 + '"'], (1009, "too_large")),
        ([hello(prompt="p" * 9_000)], (1009, "too_large")),
        ([hello(), *map(frame, range(1_200))], (4429, "too_fast")),
        ([hello(), *(['{"type":"stats","clock_ms":1,"played":-1,"depth_ms":0}'] * 300)], (4429, "too_fast")),
        ([hello(), '{"type":"bye"}'], (1000, None)),
    ],
    ids=lambda value: repr(value)[:70],
)
async def test_what_a_page_must_not_send_ends_its_connection_with_a_code_and_a_sentence(
    messages: list[str | bytes], ending: tuple[int, str | None], autojump_clock: MockClock
) -> None:
    async with open_world() as world, world.enter() as bystander:
        packets = opus_packets(20)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bystander.say, packets)

            assert await close_code(world, *messages) == ending
        await trio.sleep(0.2)
        assert len(bystander.packets) == 20, "nobody else notices"
        assert not world.around.pool.placement.seats


async def test_a_page_that_does_not_say_hello_is_closed_after_5_seconds(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        start_seconds = trio.current_time()

        assert await close_code(world) == (4408, "hello_timeout")
        assert trio.current_time() - start_seconds == pytest.approx(5.0, abs=0.1)


async def test_a_model_that_can_not_be_had_ends_the_connection_with_the_reason(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        world.models["a"].is_gone = True
        async with world.enter("model") as visitor:
            assert await visitor.wait_closed() == 4502
            error = visitor.of("error")[0]
            assert (error["code"], error["message"]) == (
                "model_failed",
                "The speech model can't be reached. Please try again later.",
            )


async def test_a_voice_that_no_model_has_ends_the_connection_and_the_free_model_is_there_for_others(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loopback, "_is_usable", lambda query: query["voice_prompt"] != ["nosuch.pt"])
    async with open_world(["a", "b"]) as world, world.enter("model") as first:
        await first.wait_for("ready")
        async with world.enter("model", voice="nosuch.pt") as visitor:
            assert await visitor.wait_closed() == 4502
            assert visitor.of("error")[0]["message"] == ModelRefused.user_message
        async with world.enter("model") as other:
            assert (await other.wait_for("ready"))["model"] == "b"
        assert len(world.models["b"].requests) <= 3, "refused, tried and used"


async def test_a_persona_that_breaks_each_call_is_given_up_while_others_can_have_the_model(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reserve(backend: Backend, persona: PersonaConfig, *arguments: Any) -> Any:
        if persona.voice == "nosuch.pt":
            raise ModelBusy("it never gets ready")
        return reserve_link(backend, persona, *arguments)

    monkeypatch.setattr(leg, "reserve_link", reserve)
    async with open_world(["a", "b"]) as world, world.enter("model") as first:
        await first.wait_for("ready")
        async with world.enter("model", voice="nosuch.pt") as visitor:
            assert await visitor.wait_closed() == 4502
            assert visitor.of("error")[0]["message"] == ModelBusy.user_message
        async with world.enter("model") as other:
            assert (await other.wait_for("ready"))["model"] == "b"


async def test_a_fault_of_plexbridge_ends_one_connection_and_tells_nothing_of_itself(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("the insides of plexbridge")

    async with open_world() as world, world.enter() as bystander:
        await bystander.wait_for("ready")
        monkeypatch.setattr(WebPeople, "play", fail)
        async with world.enter("model") as visitor:
            assert await visitor.wait_closed() == 4500
            error = visitor.of("error")[0]
            assert error["code"] == "internal"
            assert "insides" not in str(error["message"])
        await bystander.say(opus_packets(5))
        await trio.sleep(0.1)
        assert len(bystander.packets) == 5
    assert "ZeroDivisionError" in caplog.text


async def test_a_page_from_which_nothing_comes_loses_its_place_at_a_model(autojump_clock: MockClock) -> None:
    async with open_world(place_seconds=3.0) as world:
        start_seconds = trio.current_time()

        assert await close_code(world, hello(mode="model")) == (4410, "forgone")
        assert trio.current_time() - start_seconds == pytest.approx(3.0, abs=0.1)
        async with world.enter("model") as visitor:
            await trio.sleep(8.0)
            assert visitor.close_code is None, "reports are a sign of life"


async def test_a_page_that_does_not_answer_pings_is_closed(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.enter("model") as visitor:
        await visitor.wait_for("ready")
        world.valves[0].shut()
        start_seconds = trio.current_time()
        await world.ended.wait()

        assert 9.0 < trio.current_time() - start_seconds < 21.0
        assert not world.models["a"].server.is_busy


# A page that is late, or floods


async def test_a_page_that_plays_nothing_is_sent_0_6_s_and_then_0_3_s_now_and_then(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.enter("model") as visitor:
        visitor.plays = False
        await visitor.wait_for("ready")
        await trio.sleep(2.0)
        assert len(visitor.packets) == 31
        await trio.sleep(5.0)
        assert len(visitor.packets) in range(31 + 16, 31 + 3 * 16)
        stats = visitor.of("stats")[-1]
        assert stats["sent"] == len(visitor.packets)
        assert float(str(stats["withheld"])) > 200

        visitor.plays = True
        await trio.sleep(3.0)
        before = len(visitor.packets)
        await trio.sleep(2.0)
        assert len(visitor.packets) - before in range(95, 106)
        sequences = [packet.sequence for packet in visitor.packets]
        assert sequences == sorted(set(sequences))
        assert sequences[-1] > 500, "what was left out counts"


async def test_a_page_that_is_late_with_its_own_voice_gets_less_of_it(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.enter() as visitor:
        visitor.plays = False
        await visitor.say(opus_packets(100))

        assert len(visitor.packets) == 31
        assert [packet.sequence for packet in visitor.packets] == list(range(31))


async def test_a_connection_that_takes_nothing_holds_nothing_up(autojump_clock: MockClock) -> None:
    packets = opus_packets(250)
    async with open_world(("a", "b")) as world, world.enter("model") as stalled, world.enter("model") as other:
        await stalled.wait_for("ready")
        await other.wait_for("ready")
        world.valves[0].shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stalled.say, packets)
            nursery.start_soon(other.say, packets)

        intervals = [
            later.at_seconds - earlier.at_seconds
            for earlier, later in zip(other.packets, other.packets[1:], strict=False)
        ]
        assert max(intervals) < 0.03
        before = len(stalled.packets)
        world.valves[0].open()
        await trio.sleep(0.01)
        assert len(stalled.packets) - before in range(1, 9), "120 ms, and what was under way"
        await trio.sleep(1.0)
        assert float(str(stalled.of("stats")[-1]["withheld"])) > 200


@pytest.mark.parametrize("mode", ["loopback", "model"])
async def test_a_stalled_connection_is_cancelled_in_half_a_second(mode: str, autojump_clock: MockClock) -> None:
    async with open_world() as world, world.enter(mode) as visitor:
        await visitor.wait_for("ready")
        world.valves[0].shut()
        await visitor.say(opus_packets(50))
        start_seconds = trio.current_time()
        world.held[0].cancel(reason="the service stops")
        await world.ended.wait()

        assert trio.current_time() - start_seconds < 1.0
        assert world.valves[0].is_closed
        assert not world.models["a"].server.is_busy


async def test_of_a_burst_of_sound_the_excess_is_dropped_and_counted(autojump_clock: MockClock) -> None:
    async with open_world() as world, world.enter(codec="pcm16") as visitor:
        for payload in pcm_frames(300):
            await visitor.say_one(payload)
        await trio.sleep(1.0)

        stats = visitor.of("stats")[-1]
        assert (stats["received"], stats["dropped"]) == (300, 200)
        await visitor.say(pcm_frames(50))
        await trio.sleep(0.5)
        assert visitor.of("stats")[-1]["dropped"] == 200, "what comes after it is taken"


# The log


@asynccontextmanager
async def recorded(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    logging.getLogger("plexbridge").setLevel(logging.DEBUG)
    with caplog.at_level(logging.DEBUG, logger="plexbridge"):
        yield


async def test_the_log_counts_once_a_second_what_passes_and_holds_no_secret(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        recorded(caplog),
        open_world() as world,
        world.enter("model", prompt="An unspeakable secret.") as visitor,
    ):
        await talk(visitor, opus_packets(150))

    lines = [record.getMessage() for record in caplog.records if record.name == "plexbridge.people.web.client"]
    counts = [line for line in lines if line.startswith("audio: ")]
    assert len(counts) in (3, 4)
    assert counts[1].startswith("audio: received 100, decoded ")
    assert lines[0] == "a page has come: model, opus"
    assert lines[-1].startswith("a page has gone: received 150, decoded 150, ")
    for secret in ("unspeakable", TOKEN, " You", "said"):
        assert not any(secret in record.getMessage() for record in caplog.records)
