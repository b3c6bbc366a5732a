"""The messages of the web page: what is taken, what is refused and with which code, and what goes out."""

import json
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plexbridge.errors import PacketError
from plexbridge.model.conversation import State
from plexbridge.model.standing import Standing
from plexbridge.people.web.messages import (
    CLOSE_CODES,
    Audio,
    Bye,
    Code,
    Codec,
    Hello,
    Mode,
    Refused,
    Stats,
    Traffic,
    audio_message,
    bye_message,
    error_message,
    level_message,
    notice_message,
    parse_audio,
    parse_hello,
    parse_text,
    queue_message,
    ready_message,
    state_message,
    stats_message,
    text_message,
)
from plexbridge.session.ledger import Ledger
from tests.web.simulation import opus_packets, pcm_frames

HELLO: dict[str, Any] = {"type": "hello", "version": 1, "mode": "model", "codec": "opus"}
STATS: dict[str, Any] = {"type": "stats", "clock_ms": 1234.5, "played": 410, "depth_ms": 52.0}
PACKET = opus_packets(1)[0]
FRAME = pcm_frames(1)[0]

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def test_a_hello_says_what_the_page_wants() -> None:
    wishes = {"model": "a", "voice": "NATF2", "prompt": "Be kind.", "token": "secret"}

    assert parse_hello(json.dumps(HELLO)) == Hello(Mode.MODEL, Codec.OPUS)
    assert parse_hello(json.dumps({**HELLO, **wishes, "mode": "loopback", "codec": "pcm16"})) == Hello(
        Mode.LOOPBACK, Codec.PCM16, "a", "NATF2", "Be kind.", "secret"
    )


def test_a_blank_wish_is_none() -> None:
    blank = dict.fromkeys(("model", "voice", "prompt", "token"), " ")

    assert parse_hello(json.dumps({**HELLO, **blank})) == Hello(Mode.MODEL, Codec.OPUS)


def test_a_hello_shows_neither_its_prompt_nor_its_token() -> None:
    shown = repr(parse_hello(json.dumps({**HELLO, "prompt": "my prompt", "token": "my token"})))

    assert "my" not in shown


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x01\x00\x00\x00\x00" + PACKET,
        "",
        "hello",
        "[]",
        "null",
        "1",
        '"hello"',
        "{",
        "[" * 8_000,
        '{"a":' * 1_500,
        '{"type":"hello","version":' + "9" * 5_000 + "}",
        json.dumps({**HELLO, "more": 1}),
        json.dumps({**HELLO, "version": True}),
        json.dumps({**HELLO, "version": 1.0}),
        json.dumps({**HELLO, "version": 2}),
        json.dumps({**HELLO, "version": "1"}),
        json.dumps({**HELLO, "mode": "Model"}),
        json.dumps({**HELLO, "mode": ["model"]}),
        json.dumps({**HELLO, "codec": "mp3"}),
        json.dumps({**HELLO, "voice": None}),
        json.dumps({**HELLO, "voice": 7}),
        json.dumps({**HELLO, "voice": "v" * 129}),
        json.dumps({**HELLO, "token": "t" * 1_025}),
        json.dumps({**HELLO, "prompt": "\ud800"}),
        json.dumps({key: value for key, value in HELLO.items() if key != "codec"}),
        json.dumps({key: value for key, value in HELLO.items() if key != "version"}),
        '{"type":"hello","type":"hello","version":1,"mode":"model","codec":"opus"}',
        json.dumps(STATS),
        json.dumps({"type": "bye"}),
    ],
    ids=lambda message: repr(message)[:60],
)
def test_what_is_no_hello_is_refused_as_the_first_message(message: str | bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse_hello(message)

    assert refused.value.code is Code.BAD_HELLO
    assert refused.value.user_message.endswith(".")


def test_a_page_of_another_version_is_told_to_load_again() -> None:
    with pytest.raises(Refused) as refused:
        parse_hello(json.dumps({**HELLO, "version": 2}))

    assert "load it again" in refused.value.user_message


def test_a_text_of_more_than_8_kib_is_refused_as_too_large_whatever_it_is_made_of() -> None:
    fits = json.dumps({**HELLO, "prompt": ""}, ensure_ascii=False)
    room = 8 * 1024 - len(fits)
    assert parse_hello(fits.replace('""', '"' + "p" * room + '"')).prompt == "p" * room

    for prompt in ("p" * (room + 1), "ü" * (room // 2 + 1)):
        with pytest.raises(Refused) as refused:
            parse_hello(fits.replace('""', f'"{prompt}"'))
        assert refused.value.code is Code.TOO_LARGE


def test_a_report_and_a_goodbye_are_taken() -> None:
    assert parse_text(json.dumps(STATS)) == Stats(1234.5, 410, 52.0)
    assert parse_text(json.dumps({**STATS, "clock_ms": 0, "played": -1, "depth_ms": 0})) == Stats(0.0, -1, 0.0)
    assert parse_text(json.dumps({**STATS, "played": 0xFFFF_FFFF})).played == 0xFFFF_FFFF  # type: ignore[union-attr]
    assert parse_text('{"type":"bye"}') == Bye()


@pytest.mark.parametrize(
    "message",
    [
        json.dumps(HELLO),
        json.dumps({"type": "Stats"}),
        json.dumps({"type": 1}),
        json.dumps({"type": "bye", "why": "tired"}),
        json.dumps({**STATS, "clock_ms": -0.1}),
        json.dumps({**STATS, "clock_ms": 1e14}),
        json.dumps({**STATS, "clock_ms": "1"}),
        json.dumps({**STATS, "clock_ms": True}),
        json.dumps({**STATS, "clock_ms": None}),
        json.dumps({**STATS, "played": -2}),
        json.dumps({**STATS, "played": 2**32}),
        json.dumps({**STATS, "played": 4.0}),
        json.dumps({**STATS, "depth_ms": -1}),
        json.dumps({**STATS, "depth_ms": 1e7}),
        json.dumps({**STATS, "depth_ms": 10**400}),
        '{"type":"stats","clock_ms":NaN,"played":1,"depth_ms":1}',
        '{"type":"stats","clock_ms":Infinity,"played":1,"depth_ms":1}',
        '{"type":"stats","clock_ms":1e999,"played":1,"depth_ms":1}',
        '{"type":"stats","clock_ms":1,"played":-Infinity,"depth_ms":1}',
        "\x00",
        "",
    ],
    ids=lambda message: message[:60],
)
def test_what_is_neither_is_refused(message: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_text(message)

    assert refused.value.code is Code.BAD_MESSAGE


@given(ANYTHING)
def test_whatever_json_comes_it_is_taken_or_refused(value: object) -> None:
    text = json.dumps(value)
    for parse in (parse_hello, parse_text):
        with suppress(Refused):
            assert isinstance(parse(text), Hello | Stats | Bye)
            assert isinstance(value, dict)


@given(st.sampled_from((HELLO, STATS)), st.data())
def test_a_message_with_one_value_exchanged_is_taken_or_refused_and_never_means_something_else(
    message: dict[str, Any], data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(sorted(message)))
    value = data.draw(ANYTHING | st.integers(-3, 2**33) | st.sampled_from(("opus", "pcm16", "model", "loopback")))
    changed = json.dumps({**message, key: value})
    try:
        meaning = parse_hello(changed) if message is HELLO else parse_text(changed)
    except Refused:
        return
    if isinstance(meaning, Stats):
        assert meaning.clock_ms >= 0
        assert -1 <= meaning.played <= 0xFFFF_FFFF
        assert type(meaning.played) is int
        assert {**STATS, key: value} == {
            "type": "stats",
            "clock_ms": meaning.clock_ms,
            "played": meaning.played,
            "depth_ms": meaning.depth_ms,
        }
    elif isinstance(meaning, Hello):
        assert {**HELLO, key: value} == {**HELLO, "mode": meaning.mode.value, "codec": meaning.codec.value}


@given(st.text())
def test_whatever_text_comes_it_is_taken_or_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse_text(text)
    with pytest.raises(Refused):
        parse_hello(text)


@pytest.mark.parametrize(("codec", "payload"), [(Codec.OPUS, PACKET), (Codec.PCM16, FRAME)])
def test_a_frame_of_sound_goes_there_and_back(codec: Codec, payload: bytes) -> None:
    message = struct.pack(">BI", 1, 0xFFFF_FFFF) + payload

    assert parse_audio(message, codec) == Audio(0xFFFF_FFFF, payload)
    assert audio_message(Audio(0xFFFF_FFFF, payload)) == message


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", Code.BAD_MESSAGE),
        (b"\x01\x00\x00\x00\x00", Code.BAD_MESSAGE),
        (b"\x02\x00\x00\x00\x00" + FRAME, Code.BAD_MESSAGE),
        (b"\x00\x00\x00\x00\x00" + FRAME, Code.BAD_MESSAGE),
        (b"\x01\x00\x00\x00\x00" + FRAME[:-1], Code.BAD_MESSAGE),
        (b"\x01\x00\x00\x00\x00" + FRAME + b"\x00", Code.BAD_MESSAGE),
        (b"\x01\x00\x00\x00\x00" + bytes(8 * 1024), Code.TOO_LARGE),
    ],
    ids=repr,
)
def test_a_binary_message_that_can_be_no_frame_is_refused(message: bytes, code: Code) -> None:
    with pytest.raises(Refused) as refused:
        parse_audio(message, Codec.PCM16)

    assert refused.value.code is code


@pytest.mark.parametrize("payload", [b"\xff", b"\x00", b"\x03\xff", b"\x09" + bytes(9)], ids=repr)
def test_what_is_no_opus_of_20_ms_is_a_bad_packet_and_no_bad_page(payload: bytes) -> None:
    with pytest.raises(PacketError):
        parse_audio(b"\x01\x00\x00\x00\x00" + payload, Codec.OPUS)


@given(st.binary(max_size=64), st.sampled_from(Codec))
def test_whatever_bytes_come_they_are_taken_or_refused(message: bytes, codec: Codec) -> None:
    try:
        audio = parse_audio(message, codec)
    except (Refused, PacketError):
        return
    assert audio_message(audio) == message


def test_every_error_has_its_close_code() -> None:
    assert {code.value: CLOSE_CODES[code] for code in Code} == {
        "bad_hello": 4400,
        "bad_message": 4400,
        "unauthorized": 4401,
        "bad_request": 4404,
        "hello_timeout": 4408,
        "forgone": 4410,
        "too_fast": 4429,
        "too_large": 1009,
        "internal": 4500,
        "model_failed": 4502,
    }


def test_what_goes_out_is_what_the_documentation_shows() -> None:
    hello = Hello(Mode.MODEL, Codec.OPUS)
    ledger = Ledger()
    for part, seconds in ((ledger.up, 0.003), (ledger.owed, 0.0), (ledger.down, 0.041), (ledger.total, 0.044)):
        part.add(seconds)
    traffic = Traffic(received=412, decoded=400, lost=1, dropped=2, encoded=411, sent=410, withheld=3)
    stats = stats_message(Stats(1234.5, 400, 40.0), traffic, ledger=ledger, answer_seconds=(0.64, 0.91))

    assert [
        json.loads(message)
        for message in (
            ready_message(hello, session="a1b2c3", model="a", voice="NATF2"),
            state_message(State.WAITING),
            queue_message(Standing(2, 179.6)),
            level_message(heard_dbfs=-23.06, played_dbfs=-30.21),
            text_message(" pièce"),
            stats,
            notice_message("Read this."),
            error_message(Code.BAD_MESSAGE, "No."),
            bye_message("Goodbye."),
        )
    ] == [
        {
            "type": "ready",
            "version": 1,
            "session": "a1b2c3",
            "mode": "model",
            "codec": "opus",
            "model": "a",
            "voice": "NATF2",
        },
        {"type": "state", "state": "preparing"},
        {
            "type": "queue",
            "place": 2,
            "wait_seconds": 180,
            "message": "All models are taken. You are 2nd in the queue, about 3 minutes.",
        },
        {"type": "level", "heard_dbfs": -23.1, "played_dbfs": -30.2},
        {"type": "text", "text": " pièce"},
        {
            "type": "stats",
            "clock_ms": 1234.5,
            "received": 412,
            "lost": 1,
            "dropped": 2,
            "sent": 410,
            "withheld": 3,
            "delay_ms": {"up": 3, "owed": 0, "down": 41, "total": 44},
            "answer_ms": {"p50": 640, "p95": 910},
        },
        {"type": "notice", "message": "Read this."},
        {"type": "error", "code": "bad_message", "message": "No."},
        {"type": "bye", "message": "Goodbye."},
    ]


def test_what_is_not_known_is_null() -> None:
    nothing = json.loads(stats_message(Stats(0.0, -1, 0.0), Traffic(), ledger=None, answer_seconds=None))
    young = json.loads(stats_message(Stats(0.0, -1, 0.0), Traffic(), ledger=Ledger(), answer_seconds=None))

    assert (nothing["delay_ms"], nothing["answer_ms"], young["delay_ms"]) == (None, None, None)
    assert json.loads(queue_message(Standing(1, None)))["wait_seconds"] is None


def test_every_state_of_a_model_has_a_name() -> None:
    names = [json.loads(state_message(state))["state"] for state in (*State, None)]

    assert names == ["connecting", "preparing", "live", "behind", "lost", "lost"]
