"""One speaker: packets of any length in, exactly what a decoder makes of them out, 20 ms at a time."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from plexbridge.audio.opus import Application, Decoder, Encoder, EncoderSettings
from plexbridge.audio.pcm import MODEL_RATE_HZ, PEOPLE_RATE_HZ, Samples, level_dbfs
from plexbridge.audio.speaker import Speaker, Spoken
from plexbridge.errors import LocalProtocolError, PacketError

SILENCE = b"\xf8\xff\xfe"
VOICE = EncoderSettings(Application.VOIP, complexity=5, bitrate_bps=64_000)
MUSIC = EncoderSettings(Application.RESTRICTED_LOWDELAY, complexity=0, bitrate_bps=64_000)


def tone(seconds: float, *, hz: float = 300, level: float = 0.3) -> Samples:
    phase = np.arange(round(seconds * PEOPLE_RATE_HZ)) * (2 * np.pi * hz / PEOPLE_RATE_HZ)
    return np.asarray(level * np.sin(phase), np.float32)


def encode(
    samples: Samples, *, packet_ms: float = 20, settings: EncoderSettings = VOICE, channels: int = 1
) -> list[bytes]:
    size = round(packet_ms * PEOPLE_RATE_HZ / 1000) * channels
    with Encoder(rate_hz=PEOPLE_RATE_HZ, settings=settings, channels=channels) as encoder:
        return [encoder.encode(samples[start : start + size]) for start in range(0, samples.size - size + 1, size)]


def decode(packets: Iterable[bytes]) -> Samples:
    with Decoder(rate_hz=MODEL_RATE_HZ) as decoder:
        return np.concatenate([decoder.decode(packet) for packet in packets])


@contextmanager
def open_speaker(decoder: Decoder | None = None) -> Iterator[Speaker]:
    speaker = Speaker(Decoder(rate_hz=MODEL_RATE_HZ) if decoder is None else decoder)
    try:
        yield speaker
    finally:
        speaker.close()


def push(speaker: Speaker, packets: Sequence[bytes | None], *, number: int = 0, packet_ms: float = 20) -> None:
    """Push packets, all at once; None is one that was lost."""
    for place, packet in enumerate(packets, number):
        if packet is not None:
            speaker.push(place, round(place * packet_ms * 48), packet, arrived_seconds=place / 100)


def speak(
    speaker: Speaker, packets: Sequence[bytes | None], *, ticks: int, packet_ms: float = 20, missed: range = range(0)
) -> list[Spoken | None]:
    """Push each packet before the tick that it falls in, and take out a frame at each, but for those missed."""
    heard: list[Spoken | None] = []
    pushed = 0
    for tick in range(ticks):
        if tick in missed:
            heard.append(None)
            continue
        if tick == missed.stop:
            speaker.skip(len(missed))
        while pushed < len(packets) and pushed * packet_ms <= 20 * tick:
            push(speaker, [packets[pushed]], number=pushed, packet_ms=packet_ms)
            pushed += 1
        heard.append(speaker.frame())
    return heard


def joined(heard: Iterable[Spoken | None]) -> Samples:
    """Return what was heard as one piece, from the first frame to the last."""
    return np.concatenate([spoken.samples for spoken in heard if spoken is not None])


def test_nobody_speaks_before_anything_has_come() -> None:
    with open_speaker() as speaker:
        assert [speaker.frame() for _ in range(5)] == [None] * 5
        assert speaker.is_idle


@pytest.mark.parametrize("settings", [VOICE, MUSIC], ids=["speech codec", "transform codec"])
@pytest.mark.parametrize("packet_ms", [10, 20, 40, 60])
def test_what_is_heard_is_what_a_decoder_makes_of_the_packets(packet_ms: float, settings: EncoderSettings) -> None:
    packets = encode(tone(1.2), packet_ms=packet_ms, settings=settings)

    with open_speaker() as speaker:
        heard = speak(speaker, packets, packet_ms=packet_ms, ticks=62)

        spoken = decode(packets)
        assert np.array_equal(joined(heard)[: spoken.size], spoken)
        assert all(one is None or one.samples.size == 480 for one in heard)
        assert speaker.statistics().decoded_packets == len(packets)


def test_stereo_is_mixed_to_mono() -> None:
    left, right = tone(0.4, hz=300), tone(0.4, hz=1_100)
    both = np.stack((left, right), axis=1).ravel()
    packets = encode(both, settings=MUSIC, channels=2)

    with open_speaker() as speaker:
        heard = joined(speak(speaker, packets, ticks=20))

    spectrum = np.abs(np.fft.rfft(heard[480:4_800] * np.hanning(4_320)))
    loudest = sorted(np.argsort(spectrum)[-6:] * MODEL_RATE_HZ / 4_320)
    assert loudest[0] == pytest.approx(300, abs=12)
    assert loudest[-1] == pytest.approx(1_100, abs=12)


def test_each_frame_tells_when_its_packet_came() -> None:
    with open_speaker() as speaker:
        heard = speak(speaker, encode(tone(0.24), packet_ms=60), packet_ms=60, ticks=13)

    assert [spoken and spoken.arrived_seconds for spoken in heard[1:]] == [0.0] * 3 + [0.01] * 3 + [0.02] * 3 + [
        0.03
    ] * 3


def test_silence_packets_are_heard_as_silence_and_are_no_speech() -> None:
    packets = [*encode(tone(0.1)), *[SILENCE] * 5]

    with open_speaker() as speaker:
        heard = speak(speaker, packets, ticks=15)

    assert [spoken is not None and spoken.is_speech for spoken in heard] == [False] + [True] * 5 + [False] * 9
    assert [spoken is None for spoken in heard] == [True] + [False] * 10 + [True] * 4
    assert level_dbfs(joined(heard[7:])) < -90


def test_a_packet_shorter_than_a_frame_is_filled_up_with_silence() -> None:
    with open_speaker() as speaker:
        push(speaker, [*encode(tone(0.01), packet_ms=10), SILENCE], packet_ms=10)
        heard = [speaker.frame() for _ in range(4)]

    assert [spoken is not None for spoken in heard] == [True, True, False, False]
    assert heard[1] is not None
    assert heard[1].samples.size == 480
    assert not heard[1].samples[240:].any()


def test_a_lost_packet_is_concealed_by_the_decoder_in_its_place() -> None:
    packets = encode(tone(0.4))
    with Decoder(rate_hz=MODEL_RATE_HZ) as decoder:
        expected = [
            decoder.conceal(480) if place == 8 else decoder.decode(packet) for place, packet in enumerate(packets)
        ]

    with open_speaker() as speaker:
        heard = speak(speaker, [*packets[:8], None, *packets[9:]], ticks=21)

        assert np.array_equal(joined(heard), np.concatenate(expected))
        assert speaker.statistics().concealed_samples == 480
        assert heard[9] is not None
        assert (heard[9].arrived_seconds, heard[9].is_speech) == (None, True)


def test_speech_that_breaks_off_fades_out_and_fades_in_when_it_is_back() -> None:
    packets = encode(tone(1.0, level=0.6))
    plain = decode(packets)

    with open_speaker() as speaker:
        heard = speak(speaker, [*packets[:10], *[None] * 20, *packets[30:]], ticks=52)

    sound = np.concatenate([np.zeros(480, np.float32) if spoken is None else spoken.samples for spoken in heard])
    assert abs(sound[14 * 480 - 1]) < 0.001
    assert not sound[14 * 480 : 31 * 480 + 1].any()
    assert np.abs(np.diff(sound)).max() < 2 * np.abs(np.diff(plain)).max()
    assert level_dbfs(sound[36 * 480 :]) == pytest.approx(level_dbfs(plain[36 * 480 :]), abs=1)


@pytest.mark.parametrize("packet", [b"", b"\xf9abc", b"\xfb\x00", b"\xff\xff\xff"])
def test_what_is_no_opus_costs_its_own_place_and_nothing_more(packet: bytes) -> None:
    packets: list[bytes | None] = [*encode(tone(0.4))]

    with open_speaker() as lossy, open_speaker() as corrupt:
        missing = joined(speak(lossy, [*packets[:8], None, *packets[9:]], ticks=22))
        damaged = joined(speak(corrupt, [*packets[:8], packet, *packets[9:]], ticks=22))

        assert np.array_equal(damaged, missing)
        assert corrupt.statistics().corrupt_packets == 1


class Fastidious(Decoder):
    """A libopus that finds fault with a packet whose framing is right."""

    def __init__(self, unwanted: bytes) -> None:
        super().__init__(rate_hz=MODEL_RATE_HZ)
        self._unwanted = unwanted

    def decode(self, packet: bytes) -> Samples:
        if packet == self._unwanted:
            raise PacketError("corrupted stream")
        return super().decode(packet)


def test_a_packet_that_only_the_decoder_refuses_is_concealed() -> None:
    packets = encode(tone(0.6), packet_ms=60)

    with open_speaker() as lossy, open_speaker(Fastidious(packets[4])) as fastidious:
        missing = joined(speak(lossy, [*packets[:4], None, *packets[5:]], packet_ms=60, ticks=31))
        damaged = joined(speak(fastidious, packets, packet_ms=60, ticks=31))

        assert damaged.size == missing.size
        assert level_dbfs(damaged - missing) < level_dbfs(missing) - 10
        assert fastidious.statistics().corrupt_packets == 1
        assert fastidious.statistics().decoded_packets == 9


def test_random_bytes_never_raise_and_always_yield_whole_frames() -> None:
    chance = np.random.default_rng(4)

    with open_speaker() as speaker:
        for number in range(2_000):
            packet = chance.bytes(int(chance.integers(1, 80)))
            speaker.push(number % 2**16, number * 960 % 2**32, packet, arrived_seconds=0)
            spoken = speaker.frame()

            assert spoken is None or (spoken.samples.size == 480 and np.isfinite(spoken.samples).all())
        counts = speaker.statistics()

    assert counts.corrupt_packets > 100
    assert counts.decoded_packets > 100


def waits_ms(heard: Iterable[Spoken | None], *, packet_ms: float) -> list[int]:
    """Return how long ago the packet came that each frame is of."""
    return [
        round(tick * 20 - spoken.arrived_seconds * 100 * packet_ms)
        for tick, spoken in enumerate(heard)
        if spoken is not None and spoken.arrived_seconds is not None
    ]


@pytest.mark.parametrize(
    ("packet_ms", "skipped", "growth_ms"),
    [(20, 1, 0), (20, 3, 0), (60, 1, 0), (60, 2, 0), (60, 3, 20), (60, 4, 40), (60, 5, 0), (60, 6, 20)],
)
def test_skipped_ticks_are_left_out_of_the_sound_by_frames_and_then_by_packets(
    packet_ms: int, skipped: int, growth_ms: int
) -> None:
    packets = encode(tone(2.4), packet_ms=packet_ms)

    with open_speaker() as speaker:
        heard = speak(speaker, packets, packet_ms=packet_ms, ticks=120, missed=range(20, 20 + skipped))

    waits = waits_ms(heard, packet_ms=packet_ms)
    assert max(waits[-20:]) == max(waits[:19]) + growth_ms


@pytest.mark.parametrize("packet_ms", [20, 60])
def test_a_second_of_skipped_ticks_adds_no_delay(packet_ms: int) -> None:
    packets = encode(tone(2.4), packet_ms=packet_ms)

    with open_speaker() as speaker:
        heard = speak(speaker, packets, packet_ms=packet_ms, ticks=120, missed=range(20, 70))

    waits = waits_ms(heard, packet_ms=packet_ms)
    assert max(waits[-20:]) <= max(waits[:19]) + packet_ms - 20
    assert len(waits) == pytest.approx(119 - 50, abs=packet_ms // 20)


def test_what_waited_through_a_second_of_skipped_ticks_is_not_heard() -> None:
    with open_speaker() as speaker:
        push(speaker, encode(tone(0.02)))
        speaker.frame()
        speaker.skip(50)

        assert [speaker.frame() for _ in range(5)] == [None] * 5


def test_a_closed_speaker_has_freed_its_decoder() -> None:
    decoder = Decoder(rate_hz=MODEL_RATE_HZ)
    speaker = Speaker(decoder)

    speaker.close()
    speaker.close()

    with pytest.raises(LocalProtocolError, match="closed"):
        decoder.decode(SILENCE)
