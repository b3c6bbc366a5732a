"""libopus through our two classes: what goes in comes out, and nothing that goes in can harm what follows."""

import subprocess
import sys
from importlib.resources import files

import numpy as np
import psutil
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from plexbridge.audio.opus import (
    MODEL_UPLINK,
    PEOPLE_DOWNLINK,
    Application,
    Decoder,
    Encoder,
    EncoderSettings,
    library_version,
)
from plexbridge.audio.opus_packet import duration_samples
from plexbridge.audio.pcm import MODEL_RATE_HZ, PEOPLE_RATE_HZ, Samples, silence
from plexbridge.errors import LocalProtocolError, PacketError

FRAME_SAMPLES = MODEL_RATE_HZ // 50
LEGAL_MILLISECONDS = (2.5, 5, 10, 20, 40, 60, 80, 100, 120)
INVALID_PACKETS = (b"", b"\x03", b"\xfb\x00", b"\xff\xff", b"\xf9\x01", b"\xfa\xfc", b"\xf8" + bytes(1276))


def speech() -> Samples:
    """Return two seconds of the sentence that the loopback model says, at 24 kHz."""
    with (files("plexbridge.model") / "loopback_sentence.wav").open("rb") as file:
        samples: Samples = soundfile.read(file, dtype="float32", frames=2 * MODEL_RATE_HZ)[0]
    return samples


def tone(count_samples: int, *, hertz: float = 440, rate_hz: int = MODEL_RATE_HZ) -> Samples:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(count_samples) / rate_hz)).astype(np.float32)


def frames_of(samples: Samples, frame_samples: int = FRAME_SAMPLES) -> list[Samples]:
    return np.split(samples, samples.size // frame_samples)


def encode_all(frames: list[Samples], *, settings: EncoderSettings = MODEL_UPLINK) -> list[bytes]:
    with Encoder(rate_hz=MODEL_RATE_HZ, settings=settings) as encoder:
        return [encoder.encode(frame) for frame in frames]


def correlation(first: Samples, second: Samples) -> float:
    return float(np.corrcoef(first, second)[0, 1])


@pytest.mark.parametrize(("rate_hz", "settings"), [(24_000, MODEL_UPLINK), (48_000, PEOPLE_DOWNLINK)])
def test_speech_comes_back_shifted_by_the_lookahead_and_otherwise_the_same(
    rate_hz: int, settings: EncoderSettings
) -> None:
    original = np.repeat(speech(), rate_hz // MODEL_RATE_HZ)

    with Encoder(rate_hz=rate_hz, settings=settings) as encoder, Decoder(rate_hz=rate_hz) as decoder:
        lag = encoder.lookahead_samples
        packets = [encoder.encode(frame) for frame in frames_of(original, rate_hz // 50)]
        decoded = np.concatenate([decoder.decode(packet) for packet in packets])

    assert decoded.dtype == np.float32
    assert decoded.size == original.size
    assert lag == rate_hz * 0.0025
    assert correlation(original[:-lag], decoded[lag:]) > 0.97
    assert correlation(original[:-lag], decoded[lag:]) > correlation(original[: 1 - lag], decoded[lag - 1 :])


def test_the_lookahead_tells_the_speech_codec_from_the_low_delay_codec() -> None:
    voip = EncoderSettings(Application.VOIP, complexity=0, bitrate_bps=24_000)

    with Encoder(rate_hz=MODEL_RATE_HZ, settings=voip) as encoder:
        assert encoder.lookahead_samples == 156


def test_a_packet_decodes_at_any_rate_whatever_it_was_made_from() -> None:
    packets = encode_all(frames_of(tone(4_800)))

    with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
        decoded = np.concatenate([decoder.decode(packet) for packet in packets])

    expected = tone(9_600, rate_hz=PEOPLE_RATE_HZ)
    assert correlation(expected[4_800:-120], decoded[4_920:]) > 0.99


def test_a_higher_bitrate_makes_larger_packets() -> None:
    frames = frames_of(speech()[:24_000])

    small, large = (
        sum(map(len, encode_all(frames, settings=EncoderSettings(Application.AUDIO, 0, bitrate_bps))))
        for bitrate_bps in (32_000, 96_000)
    )

    assert small == pytest.approx(32_000 / 8, rel=0.1)
    assert large == pytest.approx(96_000 / 8, rel=0.1)


def test_complexity_reaches_the_encoder() -> None:
    frames = frames_of(speech()[:24_000])

    plain, elaborate = (
        encode_all(frames, settings=EncoderSettings(Application.RESTRICTED_LOWDELAY, complexity, 64_000))
        for complexity in (0, 10)
    )

    assert plain != elaborate


@pytest.mark.parametrize("milliseconds", LEGAL_MILLISECONDS)
def test_every_legal_duration_makes_a_packet_of_that_duration(milliseconds: float) -> None:
    samples = tone(int(24 * milliseconds))

    with Encoder(rate_hz=MODEL_RATE_HZ, settings=MODEL_UPLINK) as encoder, Decoder(rate_hz=24_000) as decoder:
        packet = encoder.encode(samples)
        decoded = decoder.decode(packet)

    assert duration_samples(packet) == 2 * samples.size
    assert decoded.size == samples.size


@pytest.mark.parametrize("count_samples", [0, 1, 479, 481, 720, 3_360, 24_000])
def test_a_duration_that_opus_does_not_have_is_refused_and_harms_nothing(count_samples: int) -> None:
    frames = frames_of(tone(4_800))

    with Encoder(rate_hz=MODEL_RATE_HZ, settings=MODEL_UPLINK) as encoder:
        with pytest.raises(LocalProtocolError):
            encoder.encode(silence(count_samples))
        packets = [encoder.encode(frame) for frame in frames]

    assert packets == encode_all(frames)


def test_the_largest_packets_fit() -> None:
    largest = EncoderSettings(Application.AUDIO, complexity=0, bitrate_bps=512_000)
    noise = np.random.default_rng(1).uniform(-1, 1, 2 * 5_760).astype(np.float32)

    with (
        Encoder(rate_hz=48_000, settings=largest, channels=2) as encoder,
        Decoder(rate_hz=48_000, channels=2) as decoder,
    ):
        packets = [encoder.encode(noise) for _ in range(3)]
        assert [decoder.decode(packet).size for packet in packets] == [noise.size] * 3

    assert max(map(len, packets)) > 7_600


def test_not_a_number_counts_as_silence_and_does_not_poison_what_follows() -> None:
    clean, poisoned = frames_of(tone(9_600)), frames_of(tone(9_600))
    clean[5][100:200] = 0
    poisoned[5][100:200] = np.nan

    assert encode_all(poisoned) == encode_all(clean)


def test_samples_beyond_full_scale_are_clipped() -> None:
    loud = tone(9_600) * 8
    loud[1_000], loud[2_000] = np.inf, -np.inf

    assert encode_all(frames_of(loud)) == encode_all(frames_of(np.clip(loud, -1, 1)))


def test_the_frame_that_was_given_is_left_as_it_was() -> None:
    frame = np.full(FRAME_SAMPLES, 2, np.float32)

    encode_all([frame])

    assert (frame == 2).all()


def test_two_channels_go_in_and_come_out_interleaved() -> None:
    left, right = tone(9_600, hertz=300), tone(9_600, hertz=1_000)
    both = np.stack((left, right), axis=1).ravel()

    with (
        Encoder(rate_hz=MODEL_RATE_HZ, settings=EncoderSettings(Application.AUDIO, 5, 128_000), channels=2) as encoder,
        Decoder(rate_hz=MODEL_RATE_HZ, channels=2) as decoder,
    ):
        lag = encoder.lookahead_samples
        packets = [encoder.encode(frame) for frame in frames_of(both, 2 * FRAME_SAMPLES)]
        decoded = np.concatenate([decoder.decode(packet) for packet in packets])
        concealed = decoder.conceal(FRAME_SAMPLES)
        with pytest.raises(LocalProtocolError):
            encoder.encode(silence(2 * FRAME_SAMPLES + 1))

    assert concealed.size == 2 * FRAME_SAMPLES
    assert correlation(left[4_800:-lag], decoded[0::2][4_800 + lag :]) > 0.99
    assert correlation(right[4_800:-lag], decoded[1::2][4_800 + lag :]) > 0.99


@pytest.mark.parametrize("invalid", INVALID_PACKETS)
def test_an_invalid_packet_is_refused_and_the_decoder_goes_on_as_if_it_had_not_come(invalid: bytes) -> None:
    packets = encode_all(frames_of(tone(9_600)))

    with Decoder(rate_hz=MODEL_RATE_HZ) as undisturbed, Decoder(rate_hz=MODEL_RATE_HZ) as disturbed:
        expected = [undisturbed.decode(packet) for packet in packets]
        actual = []
        for packet in packets:
            with pytest.raises(PacketError):
                disturbed.decode(invalid)
            actual.append(disturbed.decode(packet))

    assert np.array_equal(expected, actual)


@settings(max_examples=300)
@given(packets=st.lists(st.binary(max_size=120), max_size=8))
def test_any_bytes_decode_to_the_duration_they_announce_or_are_refused(packets: list[bytes]) -> None:
    with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
        for packet in packets:
            try:
                decoded = decoder.decode(packet)
            except PacketError:
                with pytest.raises(PacketError):
                    duration_samples(packet)
            else:
                assert decoded.size == duration_samples(packet)
                assert np.isfinite(decoded).all()


def test_decoded_audio_is_not_changed_by_what_is_decoded_next() -> None:
    packets = encode_all(frames_of(tone(4_800)))

    with Decoder(rate_hz=MODEL_RATE_HZ) as decoder:
        first = decoder.decode(packets[5])
        kept = first.copy()
        decoder.decode(packets[6])

    assert np.array_equal(first, kept)


def test_a_loss_is_concealed_with_something_like_what_was_heard_that_fades_to_its_background() -> None:
    with Decoder(rate_hz=MODEL_RATE_HZ) as decoder:
        for packet in encode_all(frames_of(tone(9_600))):
            heard = decoder.decode(packet)
        guesses = [decoder.conceal(FRAME_SAMPLES) for _ in range(50)]

    levels = [float(np.sqrt(np.mean(guess**2))) for guess in guesses]
    assert [guess.size for guess in guesses] == [FRAME_SAMPLES] * 50
    assert levels[0] > 0.5 * float(np.sqrt(np.mean(heard**2)))
    assert levels[0] > levels[1] > levels[2] > levels[3] > levels[4]
    assert levels[-1] < 0.1 * levels[0]


def test_a_decoder_that_has_heard_nothing_conceals_with_silence() -> None:
    with Decoder(rate_hz=PEOPLE_RATE_HZ) as decoder:
        assert not decoder.conceal(5_760).any()


@pytest.mark.parametrize("count_samples", [60, 480, 2_880])
def test_concealment_is_as_long_as_was_asked(count_samples: int) -> None:
    with Decoder(rate_hz=MODEL_RATE_HZ) as decoder:
        decoder.decode(encode_all([tone(480)])[0])

        assert decoder.conceal(count_samples).size == count_samples


@pytest.mark.parametrize("count_samples", [-60, 0, 1, 481, 2_940])
def test_concealment_of_a_length_that_opus_does_not_have_is_refused(count_samples: int) -> None:
    with Decoder(rate_hz=MODEL_RATE_HZ) as decoder, pytest.raises(LocalProtocolError):
        decoder.conceal(count_samples)


def test_a_closed_codec_can_be_closed_again_but_not_used() -> None:
    with Encoder(rate_hz=MODEL_RATE_HZ, settings=MODEL_UPLINK) as encoder, Decoder(rate_hz=24_000) as decoder:
        packet = encoder.encode(tone(480))
        encoder.close()
        decoder.close()
    encoder.close()
    decoder.close()

    with pytest.raises(LocalProtocolError):
        encoder.encode(tone(480))
    with pytest.raises(LocalProtocolError):
        decoder.decode(packet)
    with pytest.raises(LocalProtocolError):
        decoder.conceal(480)


def test_closing_gives_the_memory_of_libopus_back() -> None:
    def open_and_close(count: int) -> None:
        for _ in range(count):
            with Encoder(rate_hz=48_000, settings=MODEL_UPLINK), Decoder(rate_hz=48_000):
                pass
            with pytest.raises(LocalProtocolError):
                Encoder(rate_hz=48_000, settings=EncoderSettings(Application.VOIP, 11, 64_000))

    open_and_close(50)
    before = psutil.Process().memory_info().rss
    open_and_close(1_000)

    assert psutil.Process().memory_info().rss - before < 5_000_000


@pytest.mark.parametrize(
    ("rate_hz", "channels", "complexity", "bitrate_bps"),
    [(44_100, 1, 0, 64_000), (24_000, 3, 0, 64_000), (24_000, 1, 11, 64_000), (24_000, 1, 0, 0)],
)
def test_an_encoder_that_opus_does_not_have_is_refused(
    rate_hz: int, channels: int, complexity: int, bitrate_bps: int
) -> None:
    settings = EncoderSettings(Application.AUDIO, complexity, bitrate_bps)

    with pytest.raises(LocalProtocolError):
        Encoder(rate_hz=rate_hz, settings=settings, channels=channels)


@pytest.mark.parametrize(("rate_hz", "channels"), [(44_100, 1), (48_000, 0)])
def test_a_decoder_that_opus_does_not_have_is_refused(rate_hz: int, channels: int) -> None:
    with pytest.raises(LocalProtocolError):
        Decoder(rate_hz=rate_hz, channels=channels)


def test_the_library_names_its_version() -> None:
    assert library_version().startswith("libopus ")


WITHOUT_LIBRARIES = """
import ctypes.util, sys
absent = sys.argv[1].split()
find = ctypes.util.find_library
ctypes.util.find_library = lambda name: None if name.removeprefix("lib") in absent else find(name)
from plexbridge.audio.opus import MODEL_UPLINK, Decoder, Encoder, library_version
from plexbridge.errors import LibraryMissing
attempts = (
    library_version,
    lambda: Encoder(rate_hz=24_000, settings=MODEL_UPLINK),
    lambda: Decoder(rate_hz=24_000),
)
for attempt in attempts:
    try:
        attempt()
    except LibraryMissing as error:
        print(error)
"""


@pytest.mark.live
@pytest.mark.parametrize("absent", ["opus ogg opusfile", "opusfile", "ogg", "opus", "ogg opusfile"])
def test_missing_libraries_are_named_in_one_line_with_the_packages_that_bring_them(absent: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_LIBRARIES, absent],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    first, second, third = result.stdout.splitlines()
    assert first == second == third
    named = ", ".join(f"lib{name}" for name in ("opus", "ogg", "opusfile") if name in absent.split())
    assert f": {named}. " in first
    for package in ("libopus0 libogg0 libopusfile0", "opus libogg opusfile", "--force-reinstall pyogg"):
        assert package in first
    assert result.stderr == ""


SEARCH_PATH_REPORT = """
import os, sys
if sys.argv[1] == "absent":
    del os.environ["PATH"]
before = os.environ.get("PATH")
from plexbridge.audio.opus import library_version
print(os.environ.get("PATH") == before, library_version())
"""


@pytest.mark.live
@pytest.mark.parametrize("path", ["present", "absent"])
def test_loading_the_libraries_leaves_the_search_path_alone(path: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", SEARCH_PATH_REPORT, path], capture_output=True, text=True, check=True, timeout=60
    )

    assert result.stdout == f"True {library_version()}\n"
    assert result.stderr == ""
