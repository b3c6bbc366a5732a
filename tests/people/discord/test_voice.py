"""DiscordPeople: a voice connection as a session sees it."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from plexbridge.audio.hearing import HearingSettings
from plexbridge.audio.opus import Decoder
from plexbridge.audio.pcm import PEOPLE_FRAME_SAMPLES, PEOPLE_RATE_HZ, Samples, level_dbfs, silence
from plexbridge.audio.playout import SILENT_DBFS
from plexbridge.model.conversation import State
from plexbridge.people.discord.deafness import PersonObserved
from plexbridge.people.discord.inbox import Connected, Left
from plexbridge.people.discord.spurts import OPUS_SILENCE
from plexbridge.people.discord.voice import DiscordPeople
from tests.audio.test_vad import NETWORKS
from tests.command import SPEECH
from tests.discord_server.options import AES256_GCM
from tests.discord_server.speech import encode, read_wav
from tests.people.discord.simulation import ADA, BOB, CHANNEL, KEY, FakeDiscord, FakeVoice, spoken_packets, tone_packets

SOUND = (0.3 * np.sin(np.arange(PEOPLE_FRAME_SAMPLES) / 10)).astype(np.float32)
TONE = tone_packets(20)
WHISTLING = HearingSettings(has_noise_gate=False, networks=NETWORKS)
"""Most people in these tests whistle, which is no speech."""


class Notebook:
    """Implements `voice.Words`."""

    def __init__(self) -> None:
        self.lines: list[str | State] = []

    def show(self, text: str) -> None:
        """Note words."""
        self.lines.append(text)

    def tell(self, state: State) -> None:
        """Note a state."""
        self.lines.append(state)

    def rest(self) -> None:
        """Nothing is half written here."""


@pytest.fixture
def voice(nursery: trio.Nursery) -> FakeVoice:
    return FakeVoice(FakeDiscord(nursery), CHANNEL)


@pytest.fixture
def words() -> Notebook:
    return Notebook()


@pytest.fixture
def people(voice: FakeVoice, words: Notebook, nursery: trio.Nursery) -> Iterator[DiscordPeople]:
    with DiscordPeople(voice, words, WHISTLING) as made:
        yield made


async def listen(people: DiscordPeople, voice: FakeVoice, packets: list[bytes], *, user_id: int = ADA) -> list[float]:
    """Let a packet arrive in each tick; return the levels that are heard, a few ticks longer."""
    levels = []
    for number in range(len(packets) + 10):
        if number < len(packets):
            voice.hear(user_id, packets[number])
        await trio.sleep(0.02)
        frame = people.listen(trio.current_time())
        assert frame is not None
        assert frame.samples.size == 480
        levels.append(level_dbfs(frame.samples))
        assert frame.is_silent == (levels[-1] < SILENT_DBFS)
    return levels


async def test_silence_is_heard_when_nobody_speaks(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    assert max(await listen(people, voice, [])) == -120


async def test_who_is_in_the_channel_is_heard_and_nobody_else(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    people.set_heard({ADA})

    assert max(await listen(people, voice, TONE)) > -20
    assert max(await listen(people, voice, TONE, user_id=BOB)) < -40
    assert people.heard().unheard == len(TONE)


async def test_what_was_said_long_before_the_first_tick_is_counted_and_not_heard(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    people.set_heard({ADA})
    for packet in TONE:
        voice.hear(ADA, packet)
    await trio.sleep(5)

    assert max(await listen(people, voice, [])) == -120
    assert people.summary().startswith(f"datagrams: stale {len(TONE)};")
    assert max(await listen(people, voice, TONE)) > -20
    assert people.summary().startswith(f"datagrams: datagrams {len(TONE)}, stale {len(TONE)};")


async def test_who_has_left_is_forgotten(people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock) -> None:
    people.set_heard({ADA})
    await listen(people, voice, TONE)
    voice.inbox.announce(Left(ADA))
    await listen(people, voice, [])

    assert ADA not in people.heard().users


async def play(people: DiscordPeople, *frames: Samples, first_tick: int = 0) -> None:
    for tick, samples in enumerate(frames, first_tick):
        people.play(samples, tick)
        await trio.sleep(0.02)


QUIET = silence(PEOPLE_FRAME_SAMPLES)


async def test_a_sentence_is_sent_with_its_closing_frames_and_the_light_is_on_meanwhile(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    await play(people, *[QUIET] * 5, *[SOUND] * 10, *[QUIET] * 40)

    packets = [packet for _, packet in voice.sent]
    assert len(packets) == 10 + 10 + 5
    assert packets[-5:] == [OPUS_SILENCE] * 5
    assert voice.passed_frames == 5 + 40 - 15, "the sender's clock goes on while nothing is sent"
    assert voice.lights == [True, False]
    assert (people.sent().sound, people.sent().silence, people.sent().unsendable) == (20, 5, 0)
    with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
        levels = [level_dbfs(decoder.decode(packet)) for packet in packets[:10]]
    assert levels[5] == pytest.approx(level_dbfs(SOUND), abs=1)


async def test_nothing_is_sent_before_the_connection_can_encrypt(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    voice.can_send = False
    await play(people, *[SOUND] * 10)
    assert voice.sent == []
    assert voice.lights == []
    assert people.sent().unsendable == 10
    assert voice.passed_frames == 10

    voice.can_send = True
    await play(people, *[SOUND] * 5, first_tick=10)

    assert len(voice.sent) == 5
    assert voice.lights == [True]


async def test_a_connection_that_can_not_send_any_more_ends_the_spurt(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    await play(people, *[SOUND] * 5)
    voice.can_send = False
    await play(people, *[SOUND] * 5, first_tick=5)

    assert voice.lights == [True, False]


async def test_missed_ticks_pass_on_the_senders_clock(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    people.play(SOUND, 0)
    people.play(SOUND, 7)

    assert voice.passed_frames == 6
    assert len(voice.sent) == 2


async def test_words_and_states_go_to_the_chat(
    people: DiscordPeople, words: Notebook, autojump_clock: MockClock
) -> None:
    people.show("Hello")
    people.tell(State.TOO_SLOW)

    assert words.lines == ["Hello", State.TOO_SLOW]


async def test_what_was_said_while_nobody_listened_is_not_said_to_the_next_conversation(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    people.set_heard((ADA,))
    assert max(await listen(people, voice, TONE)) > -20
    for packet in TONE:
        await trio.sleep(0.02)
        voice.hear(ADA, packet)
    await trio.sleep(1)

    assert max(await listen(people, voice, [])) <= -60


async def test_a_conversation_that_ends_in_mid_sentence_ends_the_talk_spurt(
    people: DiscordPeople, voice: FakeVoice
) -> None:
    people.play(SOUND, 0)
    people.rest()
    people.rest()

    assert [packet for _, packet in voice.sent[1:]] == [OPUS_SILENCE] * 5
    assert voice.lights == [True, False]


async def test_the_time_between_two_conversations_passes_on_the_senders_clock(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    for tick in range(5):
        people.play(SOUND, tick)
        await trio.sleep(0.02)
    people.rest()
    await trio.sleep(2)
    passed_frames = voice.passed_frames
    people.play(SOUND, 0)

    assert voice.passed_frames - passed_frames == pytest.approx(100, abs=2)


async def test_what_is_observed_counts_speech_and_how_much_of_it_was_good(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    people.set_heard((ADA, BOB))
    await listen(people, voice, [*TONE, OPUS_SILENCE])
    voice.is_secret = True
    await listen(people, voice, TONE[:5])
    observed = people.observed()

    assert observed.people[ADA] == PersonObserved(received=26, speech=25, good=20)
    assert observed.people[BOB] == PersonObserved()
    assert observed.speaking_events == 25, "the first came before anybody listened"
    assert (observed.refused, observed.unclaimed) == (0, 0)


async def test_only_who_may_be_heard_is_said_to_begin_to_speak(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    people.set_heard((ADA,))
    await listen(people, voice, TONE, user_id=BOB)

    assert people.observed().speaking_events == 0


# Several people


async def test_a_person_has_a_gain_which_is_kept_for_who_is_not_there_yet(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    people.set_gain(ADA, 0.1)
    people.set_heard({ADA, BOB})

    softly = max(await listen(people, voice, TONE))
    loudly = max(await listen(people, voice, TONE, user_id=BOB))

    assert loudly - softly == pytest.approx(20, abs=0.5)


async def test_who_is_not_attended_is_not_passed_on_and_is_not_deaf_to_either(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    people.set_heard({ADA, BOB})
    people.set_attended(frozenset({BOB}))

    assert max(await listen(people, voice, TONE)) == -120
    assert people.observed().people[ADA] == PersonObserved(received=20, speech=20, good=20)
    people.set_attended(None)
    assert max(await listen(people, voice, TONE)) > -20


async def test_speaking_times_are_on_trios_clock(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    people.set_heard({ADA, BOB})
    await trio.sleep(100)
    await listen(people, voice, spoken_packets(1.5))
    activity = people.activity()

    assert set(activity) == {ADA}
    assert activity[ADA].is_speaking
    assert 0.8 < activity[ADA].seconds < 1.6
    assert 101 < activity[ADA].last_spoke_seconds < 102


async def test_the_time_from_the_end_of_a_sentence_to_the_first_sound_is_measured(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    people.set_heard({ADA})
    levels = await listen(people, voice, spoken_packets(2.0))
    ended_ticks = len(levels) - max(tick for tick, level in enumerate(levels) if level > -40)
    await play(people, *[QUIET] * 15, *[SOUND] * 20)
    await listen(people, voice, [])

    assert people.response_times.count == 1
    assert people.response_times.percentile_seconds(50) == pytest.approx((ended_ticks + 15) * 0.02, abs=0.1)


async def test_without_the_gate_noise_is_passed_on(
    voice: FakeVoice, words: Notebook, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    whistle = tone_packets(60)
    with DiscordPeople(voice, words, replace(WHISTLING, has_noise_gate=True)) as gated:
        gated.set_heard({ADA})
        assert (await listen(gated, voice, whistle))[-20] == -120
    with DiscordPeople(voice, words, WHISTLING) as ungated:
        ungated.set_heard({ADA})
        voice.inbox.announce(Connected(AES256_GCM, KEY))
        assert (await listen(ungated, voice, whistle))[-20] > -20


async def test_the_bots_voice_that_comes_back_from_somebody_is_not_passed_on(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    people.set_heard({ADA})
    sentence = read_wav(SPEECH)[: 4 * PEOPLE_RATE_HZ]
    echo = encode(sentence * np.float32(0.1))
    levels = []
    for tick, played in enumerate(sentence.reshape(-1, PEOPLE_FRAME_SAMPLES)):
        if tick >= 10:
            voice.hear(ADA, echo[tick - 10])
        frame = people.listen(trio.current_time())
        levels.append(level_dbfs(frame.samples))
        assert frame.is_silent == (levels[-1] < SILENT_DBFS)
        people.play(played, tick)
        await trio.sleep(0.02)

    assert max(levels) < -45, "what the embedded model takes for speech"
    assert people.response_times.count == 0
    assert people.observed().people[ADA].good > 150


class Ear:
    """Implements `session.tap.Tap`."""

    def __init__(self) -> None:
        self.spoken: list[tuple[str, Samples, bool, float]] = []
        self.heard: list[Samples] = []

    def spoke(self, person: str, samples: Samples, *, is_speech: bool, now_seconds: float) -> None:
        """Keep it."""
        self.spoken.append((person, samples, is_speech, now_seconds))

    def played(self, samples: Samples, now_seconds: float) -> None:
        """Keep it."""
        self.heard.append(samples)


async def test_a_tap_hears_each_person_apart_as_they_are_whatever_the_model_is_given(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    ear = Ear()
    people.taps.add(ear)
    people.set_heard({ADA, BOB})
    people.set_gain(ADA, 0.1)
    people.set_attended(frozenset({ADA}))
    for packet in TONE:
        voice.hear(ADA, packet)
        await listen(people, voice, [packet], user_id=BOB)

    of_ada = [samples for person, samples, _, _ in ear.spoken if person == f"discord:{ADA}"]
    of_bob = [samples for person, samples, _, _ in ear.spoken if person == f"discord:{BOB}"]
    assert level_dbfs(np.concatenate(of_ada)) == pytest.approx(level_dbfs(np.concatenate(of_bob)), abs=0.1)
    assert len(of_ada) >= len(TONE)
    assert {samples.size for _, samples, _, _ in ear.spoken} == {480}


async def test_a_tap_hears_nothing_of_who_is_not_to_be_heard(
    people: DiscordPeople, voice: FakeVoice, autojump_clock: MockClock
) -> None:
    ear = Ear()
    people.taps.add(ear)
    people.set_heard({BOB})

    await listen(people, voice, TONE)

    assert ear.spoken == []


async def test_a_tap_is_told_what_is_speech(voice: FakeVoice, words: Notebook, autojump_clock: MockClock) -> None:
    ear = Ear()
    spoken = encode(read_wav(SPEECH))[:100]
    with DiscordPeople(voice, words, HearingSettings(has_noise_gate=True, networks=NETWORKS)) as people:
        people.taps.add(ear)
        people.set_heard({ADA, BOB})
        await listen(people, voice, spoken)
        await listen(people, voice, TONE, user_id=BOB)

    of_ada = [is_speech for person, _, is_speech, _ in ear.spoken if person == f"discord:{ADA}"]
    of_bob = [is_speech for person, _, is_speech, _ in ear.spoken if person == f"discord:{BOB}"]
    assert sum(of_ada) > 30
    assert not any(of_bob), "a whistle is none"


async def test_a_sound_is_played_with_what_is_played_and_a_tap_hears_both(
    people: DiscordPeople, autojump_clock: MockClock
) -> None:
    ear = Ear()
    people.taps.add(ear)
    people.sound([SOUND, SOUND])

    await play(people, QUIET, SOUND, SOUND)

    assert [level_dbfs(samples) for samples in ear.heard] == pytest.approx(
        [level_dbfs(SOUND), level_dbfs(2 * SOUND), level_dbfs(SOUND)], abs=0.1
    )
