"""A room full of people, from end to end: everybody is heard, by their right name, through a bad network."""

import re
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from plexbridge.audio.pcm import FRAME_SECONDS, PEOPLE_RATE_HZ, Samples
from tests.command import model_at, start
from tests.discord_bridge import Bridge, run_bridge, speech_part, wait_bot, wait_talking
from tests.discord_server.control import Control, Faults, run_discord_server
from tests.discord_server.probing import wait_until
from tests.discord_server.speech import TONE_LEVEL, encode, tone
from tests.test_discord_commands_bridge import ask
from tests.truth import read_wav

pytestmark = pytest.mark.live

PITCHES_HZ = (300, 400, 500, 600, 700, 800, 900, 1_000)
LEVEL = 0.08
"""Of each: all together stay below what the mixer limits."""
NAMES = ("Ada", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal")
SECONDS = 4.0
LOST_EVERY = 40
WINDOW_SAMPLES = PEOPLE_RATE_HZ // 20
"""In 50 ms each of the pitches has whole waves."""


@pytest.fixture
def discord_server() -> Iterator[Control]:
    with run_discord_server() as control:
        yield control
        assert control.violations(control.ready.bot_id) == []


def counters(bridge: Bridge) -> dict[str, int]:
    """Return the counters that plexbridge has logged at the end of the conversation."""
    wait_until(lambda: "packets: " in bridge.log)
    line = next(line for line in reversed(bridge.log.splitlines()) if "packets: " in line)
    packets = line.partition("packets: ")[2].partition(";")[0]
    return {name: int(count) for name, count in re.findall(r"(\w+) (\d+)", packets)}


def strengths(sound: Samples) -> list[float]:
    """Return how strong each pitch is, 1 being as it was whistled; median of windows, since concealment shifts it."""
    windows = sound[: sound.size // WINDOW_SAMPLES * WINDOW_SAMPLES].reshape(-1, WINDOW_SAMPLES)
    seconds = np.arange(WINDOW_SAMPLES) / PEOPLE_RATE_HZ
    waves = [np.exp(2j * np.pi * hz * seconds) for hz in PITCHES_HZ]
    return [float(np.median(np.abs((windows * wave).mean(axis=1)))) * 2 / LEVEL for wave in waves]


def test_eight_people_at_once_are_heard_each_by_name_and_a_lost_packet_costs_one_frame(
    discord_server: Control, tmp_path: Path
) -> None:
    control, channel, bot = discord_server, discord_server.voice_channel(), discord_server.ready.bot_id
    with run_bridge(control, tmp_path) as bridge:
        people = [control.add_person(name) for name in NAMES]
        for person in people:
            # Only one of them listens: the other seven streams would go to all of them, and keep the machine busy.
            control.join(person, channel, self_deaf=person != people[0])
        wait_talking(control, bridge, channel, *people)
        control.set_faults(Faults(lose_every=LOST_EVERY, jitter_seconds=0.03), receiver_id=bot)
        for person, hz in zip(people[1:], PITCHES_HZ[1:], strict=True):
            whistle = encode(tone(hz, SECONDS) * np.float32(LEVEL / TONE_LEVEL))
            control.speak_packets(person, whistle, wait=False)
        control.speak_packets(people[0], encode(tone(PITCHES_HZ[0], SECONDS) * np.float32(LEVEL / TONE_LEVEL)))
        ended_seconds = time.monotonic()
        time.sleep(1.0)  # so that it would be seen if something came late
        status = ask(control, people[0], "status")["content"]
        control.write_heard_wav(people[0], bot, tmp_path / "heard.wav")
        answer = control.heard(people[0], bot, "dave")
        for person in people:
            control.leave(person)
        wait_bot(control, channel, is_there=False)
        counted = counters(bridge)
        log = bridge.stop().stderr

    heard = read_wav(tmp_path / "heard.wav")
    middle = heard[PEOPLE_RATE_HZ : 3 * PEOPLE_RATE_HZ]
    print(counted, [round(strength, 2) for strength in strengths(middle)], answer[-1].at_seconds - ended_seconds)
    assert min(strengths(middle)) > 0.7, "everybody's whistle is in what the model gave back"
    mentions = ", ".join(f"<@{person}>" for person in sorted(people))
    assert f"\nHeard: {mentions}\n" in status
    frames = 8 * round(SECONDS / FRAME_SECONDS)
    assert counted["lost"] == pytest.approx(frames / LOST_EVERY, rel=0.3)
    deepened = 8 * (counted["depth_frames"] - 1)
    assert 0 <= counted["concealed_frames"] - counted["lost"] <= deepened, (
        "one packet is one frame, and depth is another"
    )
    assert counted.get("late", 0) <= 0.01 * frames
    assert counted.get("shed", 0) <= 0.01 * frames
    assert answer[-1].at_seconds - ended_seconds < 0.8, "its pause of 0.2 s included, nothing comes late"
    assert np.median([later.at_seconds - earlier.at_seconds for earlier, later in pairwise(answer)]) < 0.025
    assert "Delay: quick" in status
    assert "Traceback" not in log


def test_the_time_to_an_answer_is_measured_and_shown(discord_server: Control, tmp_path: Path) -> None:
    control, channel, bot = discord_server, discord_server.voice_channel(), discord_server.ready.bot_id
    model = start("loopback", "--port", "0", "--mode", "turns", cwd=tmp_path)
    assert model.stdout is not None
    try:
        url = model.stdout.readline().split()[-1]
        with run_bridge(control, tmp_path, model_at(url)) as bridge:
            ada = control.add_person("Ada")
            control.join(ada, channel)
            wait_talking(control, bridge, channel, ada)
            before = ask(control, ada, "status")["content"]
            control.speak_wav(ada, speech_part(tmp_path, 0, 2))
            ended_seconds = time.monotonic()
            wait_until(lambda: bool(control.heard(ada, bot, "dave")))
            first_seconds = control.heard(ada, bot, "dave")[0].at_seconds
            wait_until(lambda: "Answers begin" in ask(control, ada, "status")["content"])
            status = ask(control, ada, "status")["content"]
            bridge.stop()
    finally:
        model.kill()
        model.communicate()

    assert "Answers begin" not in before
    shown = re.search(r"\nAnswers begin after ([0-9.]+) s \(95 of 100 within ([0-9.]+) s\)\n", status)
    assert shown is not None, status
    print(f"{first_seconds - ended_seconds:.2f} s after the file's end; shown: {shown[0]}")
    assert float(shown[1]) == pytest.approx(first_seconds - ended_seconds, abs=0.4)
