"""Discord from end to end: `plexbridge run` between the loopback Discord and a model, all of them real processes."""

import itertools
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from plexbridge.audio.pcm import MODEL_RATE_HZ, PEOPLE_RATE_HZ, from_int16
from tests.command import SPEECH, model_at, run, start
from tests.discord_bridge import (
    Bridge,
    discord_at,
    members,
    placed,
    run_bridge,
    speech_part,
    wait_bot,
    wait_talking,
)
from tests.discord_server.control import ALL_GARBAGE, XCHACHA20, Control, Faults, Manner, run_discord_server
from tests.interop.environment import run_model_server
from tests.truth import compare, find_lag, read_wav, resampled

pytestmark = pytest.mark.live


@pytest.fixture
def discord_server() -> Iterator[Control]:
    with run_discord_server() as control:
        yield control
        bot_id = control.ready.bot_id
        assert control.violations(bot_id) == []


@pytest.fixture
def bridge(discord_server: Control, tmp_path: Path) -> Iterator[Bridge]:
    """A bridge to the loopback model that comes with plexbridge."""
    with run_bridge(discord_server, tmp_path) as running:
        yield running
        ended = running.stop()
        assert ended.code == 0
        assert "fault in plexbridge" not in ended.stderr
        assert "Traceback" not in ended.stderr


def enter(control: Control, name: str, channel_id: int) -> int:
    """Let a new person enter a channel; return its id."""
    person = control.add_person(name)
    control.join(person, channel_id)
    return person


def gaps_seconds(control: Control) -> list[float]:
    """Return the times between the bot's packets within talk spurts."""
    times = [arrival.at_seconds for arrival in control.received(control.ready.bot_id)]
    return [gap for gap in (later - earlier for earlier, later in itertools.pairwise(times)) if gap < 0.2]


def test_two_people_who_speak_at_once_are_both_heard_by_the_model_and_both_hear_its_answer(
    discord_server: Control, tmp_path: Path
) -> None:
    channel = discord_server.voice_channel()
    first, second = speech_part(tmp_path, 0, 4), speech_part(tmp_path, 4.5, 8.5)
    with run_model_server() as model, run_bridge(discord_server, tmp_path, model_at(model.url)) as bridge:
        ada, bob = enter(discord_server, "Ada", channel), discord_server.add_person("Bob")
        discord_server.join(bob, channel, mode=XCHACHA20)
        wait_talking(discord_server, bridge, channel, ada, bob)
        after = discord_server.last_index
        discord_server.speak_wav(ada, first, wait=False)
        discord_server.speak_wav(bob, second, wait=False)
        for person in (ada, bob):
            discord_server.wait("person", "spoke", after=after, user_id=person)
        time.sleep(1.5)  # for the end of the answers
        bot = discord_server.ready.bot_id
        arrivals = discord_server.received(bot)
        gaps = gaps_seconds(discord_server)
        heard = {person: discord_server.heard(person, bot) for person in (ada, bob)}
        of_bob = discord_server.heard(ada, bob)
        for person in (ada, bob):
            discord_server.write_heard_wav(person, bot, tmp_path / f"{person}.wav")
        discord_server.leave(ada)
        discord_server.leave(bob)
        seconds = wait_bot(discord_server, channel, is_there=False)
        model.wait_state(lock_held=False)
        received = resampled(from_int16(model.received()), MODEL_RATE_HZ)
        ended = bridge.stop()

    sentences = [read_wav(path) for path in (first, second)]
    mix = sum(placed(each, find_lag(each, received)[0], received.size) for each in sentences)
    assert find_lag(np.asarray(mix, np.float32), received)[1] >= 0.9, "the model heard both"
    for person in (ada, bob):
        answer = read_wav(tmp_path / f"{person}.wav")
        match = compare(received, answer)
        assert match.correlation >= 0.9, "the answer is what the model heard"
        protections = Counter(packet.protection for packet in heard[person])
        assert protections["clear"] == 0
        assert protections["dave"] > 150
        opus = [packet.opus for packet in heard[person]]
        assert opus == [packet.opus for packet in heard[ada]][-len(opus) :], "both hear the same stream"
    assert len(of_bob) >= 200, "people go on hearing each other"
    assert all(arrival.is_encrypted or arrival.is_silence for arrival in arrivals)
    assert [after.sequence for after in arrivals] == [
        (arrivals[0].sequence + index) % 65536 for index in range(len(arrivals))
    ]
    assert np.mean(gaps) == pytest.approx(0.02, abs=0.001)
    assert seconds <= 1.0
    assert (ended.code, "Traceback" in ended.stderr) == (0, False)
    assert ended.seconds < 3
    with_words = discord_server.messages(channel)
    assert with_words, "the model's words stand in the channel's chat"
    assert all("@" not in message["content"].replace("@\u200b", "") for message in with_words)


def test_a_person_hears_the_loopback_model_answer_with_their_own_voice(
    discord_server: Control, bridge: Bridge, tmp_path: Path
) -> None:
    assert "model loopback" in bridge.ready_line
    assert "Discord as plexbridge-test in 1 server" in bridge.ready_line
    channel = discord_server.voice_channel()
    ada = enter(discord_server, "Ada", channel)
    wait_talking(discord_server, bridge, channel, ada)
    discord_server.speak_wav(ada, SPEECH)
    time.sleep(1)  # for the end of the answer
    bot = discord_server.ready.bot_id
    discord_server.write_heard_wav(ada, bot, tmp_path / "heard.wav")
    heard = discord_server.heard(ada, bot)
    speaking = [entry.data for entry in discord_server.record(kind="voice") if entry.data.get("user_id") == bot]
    discord_server.leave(ada)
    seconds = wait_bot(discord_server, channel, is_there=False)

    match = compare(read_wav(SPEECH), read_wav(tmp_path / "heard.wav"))
    assert match.correlation >= 0.9
    assert [packet.protection for packet in heard[-5:]] == ["silence"] * 5
    assert speaking, "the voice gateway has heard of the bot"
    assert seconds <= 1.0


def test_other_bots_and_the_bot_itself_are_no_people(discord_server: Control, bridge: Bridge) -> None:
    channel = discord_server.voice_channel()
    other = discord_server.add_person("Music", is_bot=True)
    discord_server.join(other, channel)
    time.sleep(1)  # long enough to come, if it did
    assert members(discord_server, channel) == [other]

    ada = enter(discord_server, "Ada", channel)
    wait_talking(discord_server, bridge, channel, ada, other)
    discord_server.speak_tone(other, seconds=1)
    time.sleep(0.5)  # long enough to answer, if it did
    assert discord_server.heard(ada, discord_server.ready.bot_id, "dave") == []
    discord_server.leave(ada)

    wait_bot(discord_server, channel, is_there=False)
    assert members(discord_server, channel) == [other]


def test_who_enters_another_channel_is_told_where_the_bot_is_and_the_first_is_not_disturbed(
    discord_server: Control, bridge: Bridge
) -> None:
    channel, second = discord_server.voice_channel(), discord_server.voice_channel("Second")
    ada = enter(discord_server, "Ada", channel)
    wait_talking(discord_server, bridge, channel, ada)
    after = discord_server.last_index
    enter(discord_server, "Bob", second)
    discord_server.wait("rest", f"POST /channels/{second}/messages", after=after)

    assert [message["content"] for message in discord_server.messages(second)] == [
        f"I am with others in <#{channel}>. You may join us there."
    ]
    assert discord_server.ready.bot_id in members(discord_server, channel)
    assert discord_server.ready.bot_id not in members(discord_server, second)


def test_a_model_that_can_not_be_reached_is_told_in_words(discord_server: Control, tmp_path: Path) -> None:
    channel = discord_server.voice_channel()
    with run_bridge(discord_server, tmp_path, model_at("ws://127.0.0.1:9/api/chat")) as bridge:
        enter(discord_server, "Ada", channel)
        discord_server.wait("rest", f"POST /channels/{channel}/messages")
        wait_bot(discord_server, channel, is_there=False)
        bridge.stop()

    assert [message["content"] for message in discord_server.messages(channel)] == [
        "The speech model can't be reached. Please try again later."
    ]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--die-after", "0.5"], "The connection to the speech model was lost."),
        (["--speed", "0.6"], "The speech model is too slow at the moment; some of what you say is skipped."),
        (
            ["--prompt-seconds", "4"],
            "Waiting for the speech model: it may be busy with another call, or still loading.",
        ),
        (["--close-before-handshake", "1000"], "The speech model refused the call. Its voice or persona may not exist"),
    ],
    ids=["lost", "too slow", "loading", "refused"],
)
def test_what_is_wrong_with_the_model_is_told_in_words(
    flags: list[str], sentence: str, discord_server: Control, tmp_path: Path
) -> None:
    channel = discord_server.voice_channel()
    with run_model_server(*flags) as model, run_bridge(discord_server, tmp_path, model_at(model.url)) as bridge:
        ada = enter(discord_server, "Ada", channel)
        wait_bot(discord_server, channel, is_there=True)
        discord_server.wait_secure(ada)
        discord_server.speak_wav(ada, SPEECH, wait=False)
        discord_server.wait("rest", f"POST /channels/{channel}/messages", seconds=15)
        deadline = time.monotonic() + 15
        while not (told := [m for m in discord_server.messages(channel) if m["content"].startswith(sentence)]):
            assert time.monotonic() < deadline, discord_server.messages(channel)
            time.sleep(0.05)  # between two looks at another process
        bridge.stop()

    assert len(told) == 1


# What is wrong with the way from the person to the bot, the correlation of what comes back in the best second, and the
# counter of plexbridge's own that says so.
NETWORKS = {
    "loss": (Faults(loss=0.05), "lost"),
    "reorder": (Faults(reorder=0.1), "received"),
    "duplicates": (Faults(duplicate=0.3), "duplicate"),
    "jitter": (Faults(jitter_seconds=0.06), "received"),
    "bursts": (Faults(burst_frames=5), "received"),
    "corrupt": (Faults(corrupt=0.05), "unauthentic"),
    "wrong keys": (Faults(wrong_key=0.05), "unauthentic"),
}


def counters(bridge: Bridge) -> dict[str, int]:
    """Return the counters that plexbridge has logged at the end of the latest conversation."""
    line = next(line for line in reversed(bridge.log.splitlines()) if "datagrams: " in line)
    return {name: int(count) for name, count in re.findall(r"(\w+) (\d+)(?=[,;]|$)", line.partition("datagrams: ")[2])}


def end_conversation(control: Control, bridge: Bridge, channel_id: int, *people: int) -> dict[str, int]:
    """Let everybody leave; return the conversation's counters."""
    for person in people:
        control.leave(person)
    wait_bot(control, channel_id, is_there=False)
    deadline = time.monotonic() + 5
    while "datagrams: " not in bridge.log:
        assert time.monotonic() < deadline
        time.sleep(0.01)  # between two looks at another process
    return counters(bridge)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_bad_network_costs_only_what_it_takes_away(
    network: str, discord_server: Control, bridge: Bridge, tmp_path: Path
) -> None:
    channel = discord_server.voice_channel()
    ada = enter(discord_server, "Ada", channel)
    wait_talking(discord_server, bridge, channel, ada)
    faults, counter = NETWORKS[network]
    discord_server.set_faults(faults, sender_id=ada)
    discord_server.speak_wav(ada, SPEECH)
    time.sleep(1)  # for the end of the answer
    bot = discord_server.ready.bot_id
    discord_server.write_heard_wav(ada, bot, tmp_path / "heard.wav")
    gaps = gaps_seconds(discord_server)

    counted = end_conversation(discord_server, bridge, channel, ada)

    match = compare(read_wav(SPEECH), read_wav(tmp_path / "heard.wav"))
    print(network, match, counted)
    # Second by second: on a loaded machine the lag may change once on the way.
    assert np.median(match.window_correlations) >= (0.9 if network in ("reorder", "duplicates") else 0.6)
    assert counted[counter] > 0
    if network in ("corrupt", "wrong keys"):
        assert counted[counter] == pytest.approx(counted["lost"], abs=3), "one bad packet costs that packet"
    assert np.median(gaps) == pytest.approx(0.02, abs=0.002), "what comes in does not disturb what goes out"


def test_a_hundred_frames_at_once_are_shed_to_the_newest_and_never_played_late(
    discord_server: Control, bridge: Bridge, tmp_path: Path
) -> None:
    channel = discord_server.voice_channel()
    ada = enter(discord_server, "Ada", channel)
    wait_talking(discord_server, bridge, channel, ada)
    discord_server.set_faults(Faults(burst_frames=100), sender_id=ada)
    discord_server.speak_wav(ada, SPEECH)
    time.sleep(1)  # for the end of the answer
    discord_server.write_heard_wav(ada, discord_server.ready.bot_id, tmp_path / "heard.wav")

    counted = end_conversation(discord_server, bridge, channel, ada)

    heard = read_wav(tmp_path / "heard.wav")
    audible_seconds = np.count_nonzero(np.abs(heard) > 0.01) / PEOPLE_RATE_HZ
    assert counted["received"] > 300
    assert counted["shed"] > 0.8 * counted["received"]
    assert audible_seconds < 0.25 * counted["received"] / 50, "the rest of each two seconds was not played afterwards"


def test_garbage_cameras_wrong_keys_and_clear_frames_disturb_nothing(
    discord_server: Control, bridge: Bridge, tmp_path: Path
) -> None:
    channel = discord_server.voice_channel()
    ada, eve = enter(discord_server, "Ada", channel), enter(discord_server, "Eve", channel)
    wait_talking(discord_server, bridge, channel, ada, eve)
    bot = discord_server.ready.bot_id
    discord_server.speak_wav(ada, SPEECH, manner=Manner(has_camera=True, padding_bytes=9), wait=False)
    vandalism = Manner(unencrypted_every=1)
    discord_server.speak_tone(eve, hz=3_000, seconds=3, manner=vandalism, wait=False)
    for _ in range(20):
        discord_server.send_garbage(bot, *ALL_GARBAGE, count=20)
        time.sleep(0.1)  # a volley every tenth of a second
    discord_server.speak_tone(eve, hz=3_000, seconds=2, manner=Manner(wrong_dave_key_every=1), wait=False)
    discord_server.wait("person", "spoke", user_id=ada, seconds=20)
    time.sleep(1)  # for the end of the answers
    discord_server.write_heard_wav(ada, bot, tmp_path / "heard.wav")

    counted = end_conversation(discord_server, bridge, channel, ada, eve)

    match = compare(read_wav(SPEECH), read_wav(tmp_path / "heard.wav"))
    assert np.median(match.window_correlations) >= 0.9, "none of it was heard"
    for counter in ("not_rtp", "rtcp", "not_audio", "unauthentic", "unclaimed", "unencrypted", "undecryptable"):
        assert counted[counter] > 0, counter


def test_audio_that_overtakes_the_speaking_event_is_heard_from_its_first_packet(
    discord_server: Control, bridge: Bridge, tmp_path: Path
) -> None:
    channel = discord_server.voice_channel()
    ada = enter(discord_server, "Ada", channel)
    wait_talking(discord_server, bridge, channel, ada)
    discord_server.delay_speaking(channel, 0.1)
    discord_server.speak_tone(ada, seconds=1.0)
    time.sleep(1)  # for the end of the answer
    bot = discord_server.ready.bot_id

    sound = read_heard(discord_server, ada, bot, tmp_path)
    audible_seconds = np.count_nonzero(np.abs(sound) > 0.05) / PEOPLE_RATE_HZ
    assert audible_seconds > 0.8


def read_heard(control: Control, person: int, sender: int, folder: Path) -> np.ndarray:
    """Return what a person heard of somebody."""
    control.write_heard_wav(person, sender, folder / "heard.wav")
    return read_wav(folder / "heard.wav")


@pytest.mark.parametrize("point", ["joining", "handshake", "mid-sentence", "twice", "vanished"])
def test_when_the_last_human_leaves_at_any_point_the_bot_goes_and_can_come_again(
    point: str, discord_server: Control, bridge: Bridge
) -> None:
    channel = discord_server.voice_channel()
    ada = discord_server.add_person("Ada")
    discord_server.join(ada, channel)
    if point in ("handshake", "twice"):
        wait_bot(discord_server, channel, is_there=True)
    elif point in ("mid-sentence", "vanished"):
        wait_talking(discord_server, bridge, channel, ada)
        discord_server.speak_wav(ada, SPEECH, wait=False)
        time.sleep(1)  # into the middle of the speech
    discord_server.leave(ada)
    if point == "twice":
        discord_server.join(ada, channel)
        discord_server.leave(ada)
    time.sleep(1.0)  # long enough to join, if it did
    assert members(discord_server, channel) == []

    discord_server.join(ada, channel)
    wait_talking(discord_server, bridge, channel, ada)
    discord_server.speak_tone(ada, seconds=1)
    time.sleep(0.7)  # for the end of the answer
    assert discord_server.heard(ada, discord_server.ready.bot_id, "dave")
    discord_server.leave(ada)
    assert wait_bot(discord_server, channel, is_there=False) <= 1.0


@pytest.mark.parametrize("point", ["idle", "joining", "mid-sentence"])
def test_the_service_stops_at_any_point_and_the_bot_says_goodbye(
    point: str, discord_server: Control, tmp_path: Path
) -> None:
    channel = discord_server.voice_channel()
    with run_bridge(discord_server, tmp_path) as bridge:
        if point != "idle":
            ada = enter(discord_server, "Ada", channel)
        if point == "mid-sentence":
            wait_talking(discord_server, bridge, channel, ada)
            discord_server.speak_wav(ada, SPEECH, wait=False)
            time.sleep(1)  # into the middle of the speech
        ended = bridge.stop()

    assert ended.code == 0
    assert ended.seconds < 3
    assert "Traceback" not in ended.stderr
    assert discord_server.ready.bot_id not in members(discord_server, channel)
    assert discord_server.state()["gateway_is_online"] is False


def test_a_refused_token_ends_the_service_with_one_sentence(discord_server: Control, tmp_path: Path) -> None:
    ended = run("run", cwd=tmp_path, settings=discord_at(discord_server, TOKEN="not-the-token"))

    assert ended.code == 1
    assert ended.stderr.splitlines()[-1] == (
        "plexbridge: Discord does not accept the bot's token. Set discord.token to the one of your application."
    )
    assert "not-the-token" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_discord_that_can_not_be_reached_ends_the_service_with_one_sentence(
    discord_server: Control, tmp_path: Path
) -> None:
    settings = discord_at(discord_server, API_BASE="http://127.0.0.1:9/api/v10")
    ended = run("run", cwd=tmp_path, settings=settings)

    assert ended.code == 1
    assert ended.stderr.splitlines()[-1] == "plexbridge: Discord can't be reached."


def test_no_secret_is_in_the_log_at_any_level(discord_server: Control, tmp_path: Path) -> None:
    prompt = "You are the canary that nobody may read about."
    settings = {"PLEXBRIDGE_LOG_LEVEL": "debug", "PLEXBRIDGE_PERSONA_PROMPT": prompt}
    channel = discord_server.voice_channel()
    with run_bridge(discord_server, tmp_path, settings) as bridge:
        ada = enter(discord_server, "Ada", channel)
        wait_talking(discord_server, bridge, channel, ada)
        discord_server.speak_tone(ada, seconds=0.5)
        ended = bridge.stop()

    for secret in (discord_server.ready.token, prompt, "canary"):
        assert secret not in ended.stderr
    assert "secret_key" not in ended.stderr


def test_without_a_token_the_service_says_how_to_turn_discord_on(tmp_path: Path) -> None:
    with start("run", cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        line = process.stderr.readline()
        process.terminate()
        process.wait(10)

    assert "PLEXBRIDGE_DISCORD_TOKEN" in line
