"""The benchmark of many sessions: its parts, and a run of it; how fast anything is, is not judged here."""

import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from benchmarks.load import PASSED_ON, TRANSCODED, Row, measure
from benchmarks.load_bridge import Load, Order
from benchmarks.load_passing import Passing, is_splittable, split
from benchmarks.material import Material, make_material
from plexbridge.audio.ogg import OggOpusReader
from plexbridge.audio.opus import Application, Decoder, Encoder, EncoderSettings
from plexbridge.audio.pcm import PEOPLE_FRAME_SAMPLES, PEOPLE_RATE_HZ
from tests.command import ROOT

END_SECONDS = 200.0
FRAME = b"\x68" + bytes(range(30))


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return make_material(tmp_path_factory.mktemp("material"))


def said(material: Material) -> list[bytes]:
    """Return the packets that a model's server makes of speech."""
    reader = OggOpusReader()
    return [packet.data for page in material.server_pages for packet in reader.feed(page)]


def test_a_models_packets_cut_to_20_ms_sound_as_they_did(material: Material) -> None:
    packets = said(material)
    pieces = [piece for packet in packets for piece in split(packet)]

    with Decoder(rate_hz=PEOPLE_RATE_HZ) as whole, Decoder(rate_hz=PEOPLE_RATE_HZ) as cut:
        expected = np.concatenate([whole.decode(packet) for packet in packets])
        sound = np.concatenate([cut.decode(piece) for piece in pieces])

    assert all(map(is_splittable, packets))
    assert len(pieces) == 4 * len(packets)
    assert np.array_equal(sound, expected)


@pytest.mark.parametrize(
    ("packet", "sizes"),
    [
        (b"\x68" + bytes(30), [30]),
        (b"\x69" + bytes(60), [30, 30]),
        (b"\x6a\x0a" + bytes(30), [10, 20]),
        (b"\x6a\xfc\x01" + bytes(300), [256, 44]),
        (b"\x6b\x03" + bytes(30), [10, 10, 10]),
        (b"\x6b\x83\x05\x06" + bytes(30), [5, 6, 19]),
    ],
)
def test_every_framing_is_cut_at_its_frames(packet: bytes, sizes: list[int]) -> None:
    assert [len(piece) - 1 for piece in split(packet)] == sizes
    assert {piece[0] for piece in split(packet)} == {0x68}


def test_what_cannot_be_cut_is_encoded(material: Material) -> None:
    speech_codec = EncoderSettings(Application.VOIP, complexity=0, bitrate_bps=12_000)
    with Encoder(rate_hz=8_000, settings=speech_codec) as encoder:
        long_frames = encoder.encode(np.zeros(8_000 * 80 // 1000, np.float32))
    samples = np.zeros(PEOPLE_FRAME_SAMPLES, np.float32)
    assert not is_splittable(long_frames)

    with Passing([long_frames, said(material)[0]]) as passing:
        encoded = [passing.encode(samples) for _ in range(4)]
        passed = [passing.encode(samples) for _ in range(4)]

    assert not set(encoded) & set(split(said(material)[0]))
    assert passed == split(said(material)[0])


def load(session_share: float, *, sessions: int = 40) -> Load:
    """Return what a run without a fault has found."""
    return Load(sessions, 10.0, session_share * sessions, 0.1, 0.2, (1.0, 2.0, 3.0), 0, 50.0, 47.0, 44, 180.0)


def test_the_round_in_the_middle_counts_and_those_that_do_not_count_are_left_out() -> None:
    row = Row(40, TRANSCODED, (load(0.03), load(0.02), load(0.024)), ("not counted",))

    assert row.median == load(0.024)
    assert "| **2.40%** | 2.00% to 3.00% |" in str(row)
    assert Row(40, PASSED_ON, (), ("not counted: why",)).median is None
    assert "not counted: why" in str(Row(40, PASSED_ON, (), ("not counted: why",)))


@pytest.mark.live
def test_a_run_in_which_nobody_can_be_heard_fails(material: Material) -> None:
    silence = (b"\xf8\xff\xfe",) * 10

    found = measure(Order(1, 1.0, silence, None), material.server_pages[:2])

    assert isinstance(found, str)
    assert "the audio does not flow" in found


@pytest.mark.live
def test_a_short_run_prints_a_row_for_either_path_and_draws_it(tmp_path: Path) -> None:
    picture = tmp_path / "load.png"
    command = [sys.executable, "-m", "benchmarks.load", "--short", "--sessions", "2", "--picture", str(picture)]

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=END_SECONDS, check=False)

    assert "| 2 | transcoded | **" in ended.stdout, ended.stderr
    assert "| 2 | passed on | **" in ended.stdout
    assert matplotlib.image.imread(picture).shape[1] > 500
