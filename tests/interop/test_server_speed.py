"""Who is quicker, the client or the model: the client is the clock, and no backlog is ever dropped.

The rows are checked as relations, not to the percent: how much a step costs besides the model depends on the machine.
"""

from contextlib import ExitStack
from statistics import median

import numpy as np
import pytest
import trio

from tests.interop import libopus
from tests.interop.conversation import (
    FRAME_SAMPLES,
    RATE_HZ,
    Conversation,
    lag_and_likeness,
    open_session,
    packets_of,
    speech,
    spoken_messages,
    talk,
)
from tests.interop.environment import run_model_server
from tests.interop.pages import parse_pages

pytestmark = pytest.mark.live

LIMIT_SECONDS = 60
TALK_SECONDS = 10
TALK_FRAMES = TALK_SECONDS * RATE_HZ // FRAME_SAMPLES
TAIL_SECONDS = 2.5
"""Long enough for the slowest server of the table to answer what it owes."""

OPUS_LOOKAHEAD_SAMPLES = 156
SAMPLES_PER_MS = RATE_HZ // 1_000

EVEN = "1.00, step 20 ms"
SLOW_MODEL = "1.00, model at 0.95"
SPEEDS = {
    "0.99, step 20 ms": (0.99, ("--step-seconds", "0.02")),
    EVEN: (1.00, ("--step-seconds", "0.02")),
    "1.01, step 20 ms": (1.01, ("--step-seconds", "0.02")),
    "1.05, step 70 ms": (1.05, ("--step-seconds", "0.07")),
    "1.25, step 70 ms": (1.25, ("--step-seconds", "0.07")),
    "1.00, step 79 ms": (1.00, ("--step-seconds", "0.079")),
    SLOW_MODEL: (1.00, ("--speed", "0.95")),
}
"""How fast the client sends, and the model's step."""


@pytest.fixture(scope="module")
def conversations() -> dict[str, Conversation]:
    """Hold one conversation of ten seconds per row of the speed table, all at once."""
    messages = spoken_messages(TALK_SECONDS)
    held: dict[str, Conversation] = {}

    async def hold(name: str, speed: float, url: str) -> None:
        async with open_session(url) as wire:
            held[name] = await talk(wire, messages, speed=speed, tail_seconds=TAIL_SECONDS)

    async def hold_all(urls: dict[str, str]) -> None:
        with trio.fail_after(LIMIT_SECONDS):
            async with trio.open_nursery() as nursery:
                for name, (speed, _) in SPEEDS.items():
                    nursery.start_soon(hold, name, speed, urls[name])

    with ExitStack() as stack:
        servers = {name: stack.enter_context(run_model_server(*flags)) for name, (_, flags) in SPEEDS.items()}
        trio.run(hold_all, {name: server.url for name, server in servers.items()})
    return held


def output_speed(conversation: Conversation) -> float:
    """Return how much audio the server gave per second between its first and last message."""
    times = [frame.at_seconds for frame in conversation.audio]
    return (len(times) - 1) * FRAME_SAMPLES / RATE_HZ / (times[-1] - times[0])


def owed_ms(conversation: Conversation) -> float:
    return conversation.owed_samples / SAMPLES_PER_MS


def test_ten_seconds_in_give_ten_seconds_out_in_messages_of_80_ms(conversations: dict[str, Conversation]) -> None:
    audio = conversations[EVEN].audio

    pages = [list(parse_pages(frame.payload[1:])) for frame in audio]
    gaps_seconds = np.diff([frame.at_seconds for frame in audio])
    assert len(audio) == TALK_FRAMES
    assert [len(group) for group in pages] == [1] * TALK_FRAMES
    assert all(130 <= len(frame.payload) <= 400 for frame in audio)
    assert len(libopus.decode(packets_of(audio))) == TALK_SECONDS * RATE_HZ
    assert median(gaps_seconds) == pytest.approx(0.08, abs=0.004)


def test_the_first_audio_comes_with_the_first_whole_frame_and_its_step(conversations: dict[str, Conversation]) -> None:
    conversation = conversations[EVEN]

    seconds = conversation.audio[0].at_seconds - conversation.sent_at_seconds[0]

    three_packets_and_a_step = 3 * 0.02 + 0.02
    assert three_packets_and_a_step <= seconds < three_packets_and_a_step + 0.15


@pytest.mark.parametrize("name", SPEEDS)
def test_no_backlog_is_ever_dropped(conversations: dict[str, Conversation], name: str) -> None:
    assert len(conversations[name].audio) == TALK_FRAMES


@pytest.mark.parametrize("name", ["0.99, step 20 ms", EVEN, "1.01, step 20 ms"])
def test_a_quick_model_keeps_up_with_the_client_and_owes_a_constant(
    conversations: dict[str, Conversation], name: str
) -> None:
    conversation = conversations[name]

    assert output_speed(conversation) == pytest.approx(SPEEDS[name][0], abs=0.015)
    assert owed_ms(conversation) <= 240


@pytest.mark.parametrize(
    ("name", "least_ms"), [("1.25, step 70 ms", 1_000), ("1.00, step 79 ms", 200), (SLOW_MODEL, 350)]
)
def test_a_client_quicker_than_the_model_is_owed_ever_more(
    conversations: dict[str, Conversation], name: str, least_ms: float
) -> None:
    conversation = conversations[name]

    assert output_speed(conversation) < SPEEDS[name][0] - 0.01
    assert owed_ms(conversation) > least_ms


def test_owing_grows_with_the_speed_of_the_client(conversations: dict[str, Conversation]) -> None:
    """At 1.05 and 70 ms the facts saw 160 ms owed; how much is owed there depends on the cost of a step."""
    assert owed_ms(conversations["1.25, step 70 ms"]) > owed_ms(conversations["1.05, step 70 ms"]) + 500


def test_a_model_at_0_95_of_real_time_is_that(conversations: dict[str, Conversation]) -> None:
    assert output_speed(conversations[SLOW_MODEL]) == pytest.approx(0.95, abs=0.01)


def test_the_echo_is_what_was_said_two_codecs_later(conversations: dict[str, Conversation]) -> None:
    heard = libopus.decode(packets_of(conversations[EVEN].audio))

    lag_samples, likeness = lag_and_likeness(speech(TALK_SECONDS), heard)
    assert lag_samples == pytest.approx(2 * OPUS_LOOKAHEAD_SAMPLES, abs=4)
    assert likeness > 0.9
