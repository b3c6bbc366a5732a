"""What sphn's reader takes and what it dies of, per version: a table of streams.

The streams are built with this package's own pages and the system's libopus. Measured differences to the written
facts: after an invalid packet sphn 0.2.1 goes on, unlike 0.1.12; garbage between whole pages costs sphn 0.1.12 no
page, a broken capture pattern costs that one page.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.interop import libopus
from tests.interop.conversation import PACKET_SAMPLES, RATE_HZ, speech
from tests.interop.environment import SphnVersion, run_script
from tests.interop.pages import END_OF_STREAM, Page, audio_pages, header_pages, page_of

pytestmark = pytest.mark.live

VERSIONS: tuple[SphnVersion, ...] = ("0.1.12", "0.2.1")
SECONDS = 2
SENT_SAMPLES = SECONDS * RATE_HZ
PACKETS = SENT_SAMPLES // PACKET_SAMPLES
FAULT_AT = 22
"""The page, counted from 0, that the faulty streams spoil; two are headers, so 20 packets come before it."""

CUT_AT = 84
"""The packet, counted from 0, where the speech is loud and is cut off; see the level of the packet before."""

BEFORE_FAULT_SAMPLES = (FAULT_AT - 2) * PACKET_SAMPLES
LOUD = 0.05
"""An RMS, full scale being 1, that silence and background are far from."""

DISCORD_SILENCE = b"\xf8\xff\xfe"

Chunks = list[bytes]


@cache
def packets(packet_samples: int = PACKET_SAMPLES, application: int = libopus.VOIP) -> tuple[bytes, ...]:
    return tuple(libopus.encode(speech(SECONDS), packet_samples=packet_samples, application=application))


def discord_packets() -> list[bytes]:
    stereo_48k = np.repeat(speech(SECONDS), 4)
    return libopus.encode(
        stereo_48k, rate_hz=48_000, channels=2, packet_samples=960, application=libopus.RESTRICTED_LOWDELAY
    )


def chunks_of(pages: list[Page]) -> Chunks:
    return [page.encode() for page in pages]


def sound_pages(serial: int = 42) -> list[Page]:
    return [*header_pages(serial=serial), *audio_pages(packets(), serial=serial)]


def stream_of(packet_samples: int, application: int = libopus.VOIP) -> Chunks:
    return chunks_of([*header_pages(), *audio_pages(packets(packet_samples, application))])


def stream_with(change: Callable[[Page], Page]) -> Chunks:
    return chunks_of([change(page) for page in sound_pages()])


def stream_spoiled(*spoiled: bytes) -> Chunks:
    """Return a sound stream with the page at the fault replaced by these bytes."""
    chunks = chunks_of(sound_pages())
    return [*chunks[:FAULT_AT], *spoiled, *chunks[FAULT_AT + 1 :]]


def page_at_fault(change: Callable[[bytes], bytes] = lambda data: data) -> bytes:
    return change(sound_pages()[FAULT_AT].encode())


def flipped(position: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :]


def cut_every(data: bytes, size: int) -> Chunks:
    return [data[start : start + size] for start in range(0, len(data), size)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reader made of a stream; `error` is how the exceptions that it raised begin."""

    samples: int
    is_dead: bool = False
    error: str = ""


OK = Outcome(SENT_SAMPLES)
DEAD = Outcome(BEFORE_FAULT_SAMPLES, is_dead=True)
NEVER_ALIVE = Outcome(0, is_dead=True)
NO_PATTERN = Outcome(BEFORE_FAULT_SAMPLES, error="ValueError: unexpected ogg capture pattern")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: a stream, and what each version makes of it."""

    chunks: Callable[[], Chunks]
    in_0_1: Outcome = OK
    in_0_2: Outcome = OK


ONE_PACKET = PACKET_SAMPLES
READER_TABLE = {
    "2.5 ms packets": Row(lambda: stream_of(60, libopus.RESTRICTED_LOWDELAY)),
    "5 ms packets": Row(lambda: stream_of(120, libopus.RESTRICTED_LOWDELAY)),
    "10 ms packets": Row(lambda: stream_of(240)),
    "20 ms packets": Row(lambda: stream_of(480)),
    "40 ms packets": Row(lambda: stream_of(960)),
    "60 ms packets": Row(lambda: stream_of(1_440), Outcome(33 * 1_440), Outcome(33 * 1_440)),
    "80 ms packets": Row(lambda: stream_of(1_920)),
    "120 ms packets": Row(lambda: stream_of(2_880), Outcome(16 * 2_880), Outcome(16 * 2_880)),
    "stereo CELT at 48 kHz, mono head": Row(lambda: chunks_of([*header_pages(), *audio_pages(discord_packets())])),
    "stereo CELT at 48 kHz, stereo head": Row(
        lambda: chunks_of([*header_pages(channels=2), *audio_pages(discord_packets())])
    ),
    "several pages per message": Row(lambda: cut_every(b"".join(stream_of(480)), 4_000)),
    "pages split every 13 bytes": Row(lambda: cut_every(b"".join(stream_of(480)), 13)),
    "no pre-skip": Row(lambda: chunks_of([*header_pages(pre_skip_samples=0), *sound_pages()[2:]])),
    "pre-skip 65535": Row(lambda: chunks_of([*header_pages(pre_skip_samples=65_535), *sound_pages()[2:]])),
    "granule always 0": Row(lambda: stream_with(lambda page: replace(page, granule=0))),
    "sequence number always 0": Row(lambda: stream_with(lambda page: replace(page, sequence=0))),
    "end of stream on every page": Row(
        lambda: stream_with(lambda page: replace(page, header_type=page.header_type | END_OF_STREAM))
    ),
    "a lost page": Row(
        lambda: stream_spoiled(), Outcome(SENT_SAMPLES - ONE_PACKET), Outcome(SENT_SAMPLES - ONE_PACKET)
    ),
    "a duplicate page": Row(
        lambda: stream_spoiled(page_at_fault(), page_at_fault()),
        Outcome(SENT_SAMPLES + ONE_PACKET),
        Outcome(SENT_SAMPLES + ONE_PACKET),
    ),
    "Discord's silence packet": Row(
        lambda: chunks_of(
            [*header_pages(), *audio_pages([*packets()[:CUT_AT], *[DISCORD_SILENCE] * (PACKETS - CUT_AT)])]
        )
    ),
    "a new stream with another serial": Row(
        lambda: chunks_of([*sound_pages(), *sound_pages(serial=77)]),
        Outcome(2 * SENT_SAMPLES),
        Outcome(2 * SENT_SAMPLES),
    ),
    "no headers": Row(lambda: chunks_of(sound_pages()[2:]), NEVER_ALIVE),
    "joined in mid-stream": Row(
        lambda: chunks_of(sound_pages()[FAULT_AT:]), NEVER_ALIVE, Outcome(SENT_SAMPLES - BEFORE_FAULT_SAMPLES)
    ),
    "wrong checksum": Row(lambda: stream_spoiled(page_at_fault(flipped(22))), DEAD),
    "flipped payload byte": Row(lambda: stream_spoiled(page_at_fault(flipped(40))), DEAD),
    "broken capture pattern": Row(
        lambda: stream_spoiled(page_at_fault(flipped(0))), Outcome(SENT_SAMPLES - ONE_PACKET), NO_PATTERN
    ),
    "garbage between pages": Row(lambda: stream_spoiled(b"garbage" * 4, page_at_fault()), OK, NO_PATTERN),
    "garbage before the first page": Row(lambda: [b"garbage" * 4, *stream_of(480)], OK, replace(NO_PATTERN, samples=0)),
    "a truncated page": Row(lambda: stream_spoiled(page_at_fault(lambda data: data[:-20])), DEAD, NO_PATTERN),
    "headers repeated, same serial": Row(lambda: stream_spoiled(*chunks_of(header_pages()), page_at_fault()), DEAD),
    "a page of an unannounced serial": Row(
        lambda: stream_spoiled(replace(sound_pages()[FAULT_AT], serial=77).encode()), DEAD
    ),
    "an invalid packet": Row(
        lambda: stream_spoiled(page_of(b"\xff\xff\xff", sequence=FAULT_AT).encode()),
        replace(DEAD, error="ValueError: opus_decode_float: corrupted stream"),
        Outcome(SENT_SAMPLES - ONE_PACKET, error="ValueError: opus_decode_float: corrupted stream"),
    ),
    "a zero-length packet": Row(
        lambda: stream_spoiled(page_of(b"", sequence=FAULT_AT).encode()),
        Outcome(SENT_SAMPLES - ONE_PACKET + 10 * RATE_HZ),
        Outcome(SENT_SAMPLES - ONE_PACKET + 5 * RATE_HZ),
    ),
    "1-byte packets": Row(
        lambda: chunks_of(
            [*header_pages(), *audio_pages([*packets()[:CUT_AT], *[packets()[CUT_AT - 1][:1]] * (PACKETS - CUT_AT)])]
        )
    ),
}


@cache
def probe(version: SphnVersion) -> dict[str, Any]:
    """Feed every row of the table to a reader of its own, once per version."""
    streams = {name: [base64.b64encode(chunk).decode() for chunk in row.chunks()] for name, row in READER_TABLE.items()}
    answer: dict[str, dict[str, Any]] = json.loads(
        run_script("tests.interop.sphn_probe", {"streams": streams}, sphn=version)
    )
    return answer["streams"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", READER_TABLE)
def test_the_reader_takes_a_stream_as_the_table_says(name: str, version: SphnVersion) -> None:
    row = READER_TABLE[name]

    result = probe(version)[name]

    expected = row.in_0_1 if version == "0.1.12" else row.in_0_2
    assert (result["samples"], result["is_dead"]) == (expected.samples, expected.is_dead)
    if expected.error or not expected.is_dead:
        # Whether a reader whose thread has died says so at once is a matter of timing.
        assert bool(result["errors"]) == bool(expected.error)
    assert all(error.startswith(expected.error) for error in result["errors"])


@pytest.mark.parametrize("name", [name for name, row in READER_TABLE.items() if row.in_0_2 is NO_PATTERN])
def test_the_reader_of_sphn_0_2_stays_broken_once_it_lost_the_pattern(name: str) -> None:
    later_chunks = PACKETS + 2 - FAULT_AT - 1

    errors = probe("0.2.1")[name]["errors"]

    assert len(errors) >= later_chunks


@pytest.mark.parametrize("name", ["wrong checksum", "flipped payload byte"])
def test_the_reader_of_sphn_0_2_decodes_damage_unseen(name: str) -> None:
    sound = probe("0.2.1")["20 ms packets"]["rms"]

    levels = probe("0.2.1")[name]["rms"]

    assert (levels == sound) == (name == "wrong checksum")


@pytest.mark.parametrize("version", VERSIONS)
def test_packets_of_one_byte_conceal_with_a_falling_level(version: SphnVersion) -> None:
    levels = probe(version)["1-byte packets"]["rms"]

    concealed = levels[CUT_AT : CUT_AT + 5]

    assert levels[CUT_AT - 1] > LOUD
    assert concealed == sorted(concealed, reverse=True)
    assert 0 < concealed[-1] < concealed[0] / 2


@pytest.mark.parametrize("version", VERSIONS)
def test_discord_silence_cuts_to_nothing_at_once(version: SphnVersion) -> None:
    levels = probe(version)["Discord's silence packet"]["rms"]
    concealed = probe(version)["1-byte packets"]["rms"]

    assert levels[CUT_AT - 1] > LOUD
    assert levels[CUT_AT] < concealed[CUT_AT] / 2
    assert max(levels[CUT_AT + 1 :]) < LOUD / 1_000
