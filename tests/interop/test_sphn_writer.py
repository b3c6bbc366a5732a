"""sphn's interface and what its writer writes, per version: the ground the model's protocol stands on.

What was written is taken apart with this package's own pages. Measured difference to the written facts: sphn 0.2.1
takes 8 and 12 kHz too, not only 16.
"""

import base64
import json
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.interop.conversation import FRAME_SAMPLES, RATE_HZ, lag_and_likeness, speech
from tests.interop.environment import SphnVersion, run_script
from tests.interop.pages import BEGIN_OF_STREAM, Page, parse_pages

pytestmark = pytest.mark.live

VERSIONS: tuple[SphnVersion, ...] = ("0.1.12", "0.2.1")
WRITTEN_SECONDS = 4

Chunks = list[bytes]


@cache
def probe(version: SphnVersion) -> dict[str, Any]:
    """Ask everything that the tests below want to know, once per version."""
    request = {
        "pcm": base64.b64encode(speech(WRITTEN_SECONDS).tobytes()).decode(),
        "append_samples": FRAME_SAMPLES,
    }
    answer: dict[str, Any] = json.loads(run_script("tests.interop.sphn_probe", request, sphn=version))
    return answer


def written(version: SphnVersion, what: str = "written") -> Chunks:
    """Return what the writer gave: 0.1.12 one item per read, 0.2.1 one item per append."""
    return [base64.b64decode(chunk) for chunk in probe(version)[what]]


def written_pages(version: SphnVersion, what: str = "written") -> list[Page]:
    return list(parse_pages(b"".join(written(version, what))))


def written_packets(version: SphnVersion, what: str = "written") -> list[bytes]:
    return [packet for page in written_pages(version, what)[2:] for packet in page.packets()]


def test_sphn_0_1_appends_and_reads_in_separate_calls() -> None:
    answer = probe("0.1.12")

    assert {"append_pcm", "read_bytes"} <= set(answer["writer_methods"])
    assert {"append_bytes", "read_pcm"} <= set(answer["reader_methods"])
    assert answer["append_returns"] == "NoneType"


def test_sphn_0_2_returns_from_append_and_has_no_reads() -> None:
    answer = probe("0.2.1")

    assert answer["writer_methods"] == ["append_pcm"]
    assert answer["reader_methods"] == ["append_bytes"]
    assert answer["append_returns"] == "bytes"


def test_the_rates_that_each_version_takes() -> None:
    def taken(version: SphnVersion) -> set[str]:
        return {rate for rate, outcome in probe(version)["rates"].items() if outcome == "ok"}

    assert taken("0.1.12") == {"24000", "48000"}
    assert taken("0.2.1") == {"8000", "12000", "16000", "24000", "48000"}


def test_sphn_0_1_takes_whole_opus_frames_only_and_0_2_takes_any_number() -> None:
    exact = {"120", "240", "480", "960", "1920", "2880"}

    appends = probe("0.1.12")["appends"]

    assert appends == {count: "ok" if count in exact else "ValueError" for count in appends}
    assert set(probe("0.2.1")["appends"].values()) == {"ok"}


@pytest.mark.parametrize("version", VERSIONS)
def test_only_float32_in_one_dimension_is_taken(version: SphnVersion) -> None:
    assert probe(version)["inputs"] == {
        "float32": "ok",
        "float64": "TypeError",
        "int16": "TypeError",
        "two-dimensional": "TypeError",
    }


@pytest.mark.parametrize(
    ("version", "rate_hz", "vendor"), [("0.1.12", 24_000, b"sphn-pyo3"), ("0.2.1", 48_000, b"KyutaiMoshi")]
)
def test_the_headers_that_are_written(version: SphnVersion, rate_hz: int, vendor: bytes) -> None:
    head, tags = [page.packets()[0] for page in written_pages(version)[:2]]

    assert head == b"OpusHead" + bytes([1, 1]) + (3_840).to_bytes(2, "little") + rate_hz.to_bytes(4, "little") + bytes(
        3
    )
    assert tags == b"OpusTags" + len(vendor).to_bytes(4, "little") + vendor + bytes(4)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_packet_is_a_page_of_one_endless_stream(version: SphnVersion) -> None:
    pages = written_pages(version)

    assert [len(page.packets()) for page in pages] == [1] * len(pages)
    assert [page.sequence for page in pages] == list(range(len(pages)))
    assert [page.header_type for page in pages] == [BEGIN_OF_STREAM] + [0] * (len(pages) - 1)
    assert {page.serial for page in pages} == {42}


def test_sphn_0_1_gives_one_page_per_read_headers_first() -> None:
    pages = [list(parse_pages(chunk)) for chunk in written("0.1.12")]

    assert [len(group) for group in pages] == [1] * (2 + WRITTEN_SECONDS * RATE_HZ // FRAME_SAMPLES)


def test_sphn_0_2_gives_the_headers_with_the_first_bytes() -> None:
    pages = [list(parse_pages(chunk)) for chunk in written("0.2.1")]

    assert [len(group) for group in pages] == [4] + [2] * (WRITTEN_SECONDS * RATE_HZ // FRAME_SAMPLES - 1)


@pytest.mark.parametrize(("version", "step"), [("0.1.12", 1_920), ("0.2.1", 1_920)])
def test_the_granule_of_sphn_0_1_counts_24_khz_and_that_of_0_2_counts_48_khz(version: SphnVersion, step: int) -> None:
    granules = [page.granule for page in written_pages(version)[2:]]

    packet_seconds = 0.08 if version == "0.1.12" else 0.04
    unit_hz = step / packet_seconds
    assert granules == [step * (index + 1) for index in range(len(granules))]
    assert unit_hz == (24_000 if version == "0.1.12" else 48_000)


def test_speech_of_sphn_0_1_is_80_ms_packets_of_four_hybrid_frames() -> None:
    shapes = {(packet[0] >> 3, packet[0] & 4, packet[0] & 3, packet[1] & 0x3F) for packet in written_packets("0.1.12")}

    hybrid_super_wideband_20_ms, mono, code = 13, 0, 3
    assert shapes == {(hybrid_super_wideband_20_ms, mono, code, 4)}


def test_speech_of_sphn_0_2_is_40_ms_packets_of_two_hybrid_frames() -> None:
    shapes = {(packet[0] >> 3, packet[0] & 4, packet[0] & 3) for packet in written_packets("0.2.1")}

    hybrid_super_wideband_20_ms, mono = 13, 0
    assert shapes <= {(hybrid_super_wideband_20_ms, mono, 1), (hybrid_super_wideband_20_ms, mono, 2)}
    assert len(written_packets("0.2.1")) == WRITTEN_SECONDS * RATE_HZ // 960


@pytest.mark.parametrize(
    ("version", "packet_seconds", "least", "most"), [("0.1.12", 0.08, 230, 400), ("0.2.1", 0.04, 110, 220)]
)
def test_speech_takes_about_26_kilobits_a_second(
    version: SphnVersion, packet_seconds: float, least: int, most: int
) -> None:
    sizes = [len(packet) for packet in written_packets(version)]

    assert least < sum(sizes) / len(sizes) < most
    assert max(sizes) < most
    assert 24_000 < sum(sizes) * 8 / (len(sizes) * packet_seconds) < 30_000


def test_silence_of_sphn_0_1_is_sent_in_full_without_dtx() -> None:
    sizes = {len(packet) for packet in written_packets("0.1.12", "written_silence")}

    assert sizes <= {102, 103, 104}


@pytest.mark.parametrize("version", VERSIONS)
def test_from_writer_to_reader_there_is_only_the_lookahead_of_opus(version: SphnVersion) -> None:
    said = speech(WRITTEN_SECONDS)

    heard = np.frombuffer(base64.b64decode(probe(version)["own_writing_pcm"]), np.float32)

    assert len(heard) == len(said)
    assert lag_and_likeness(said, heard)[0] in (155, 156)
