"""The byte-fallback joiner: what a person reads is what the model said, however its characters were cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plexbridge.model.text import TextJoiner

REPLACEMENT = "\ufffd"


def as_byte_pieces(text: str) -> list[str]:
    return [f"<0x{byte:02X}>" for byte in text.encode()]


def join(*pieces: str) -> str:
    joiner = TextJoiner()
    return "".join(joiner.push(piece) for piece in pieces) + joiner.flush()


def test_an_emoji_that_arrives_byte_by_byte_comes_out_with_its_last_byte() -> None:
    joiner = TextJoiner()

    pushed = [joiner.push(piece) for piece in ("<0xF0>", "<0x9F>", "<0x98>", "<0x80>")]

    assert pushed == ["", "", "", "\U0001f600"]
    assert joiner.flush() == ""


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["<0xF0><0x9F>", "<0x98><0x80>"], "\U0001f600"),
        ([" well <0xC3><0xA4>!"], " well \u00e4!"),
        (["<0x0A>"], "\n"),
        (["<0xC3>", "", "<0xA4>"], "\u00e4"),
        (["<0xE2><0x82><0xAC><0xE2><0x82>", "<0xAC>"], "\u20ac\u20ac"),
    ],
)
def test_byte_pieces_in_one_message_or_several_mean_the_same(pieces: list[str], text: str) -> None:
    assert join(*pieces) == text


@pytest.mark.parametrize(
    "text", ["<0x", "<0xZZ>", "<0xf0>", "<0xF>", "<0xF00>", "<0XF0>", "a <0x b", "0xF0", "< 0xF0>", "<0x\u0660\u0661>"]
)
def test_text_that_only_looks_like_a_byte_piece_passes_unchanged(text: str) -> None:
    assert TextJoiner().push(text) == text


def test_a_marker_cut_by_a_message_boundary_is_ordinary_text() -> None:
    assert join("<0x", "41>") == "<0x41>"


def test_ordinary_text_ends_an_incomplete_character() -> None:
    joiner = TextJoiner()

    assert joiner.push("<0xF0><0x9F>") == ""
    assert joiner.push(" and") == f"{REPLACEMENT} and"
    assert joiner.push("<0xC3>") == ""
    assert joiner.push("<0xA4>") == "\u00e4"


@pytest.mark.parametrize("run", ["<0xFF>", "<0x80>", "<0xC0>", "<0xF0>", "<0xF0><0x9F><0x98>"])
def test_an_invalid_sequence_becomes_one_replacement_character(run: str) -> None:
    assert join(run) == REPLACEMENT


def test_a_character_follows_an_incomplete_one_unharmed() -> None:
    assert join("<0xF0><0x9F>", "<0xC3><0xA4>") == f"{REPLACEMENT}\u00e4"


def test_flush_reports_the_incomplete_rest_once() -> None:
    joiner = TextJoiner()
    joiner.push("<0xE2>")

    assert joiner.flush() == REPLACEMENT
    assert joiner.flush() == ""


@given(st.data(), st.text())
def test_any_text_comes_back_whatever_is_sent_as_bytes_and_however_it_is_split(data: st.DataObject, text: str) -> None:
    pieces: list[str] = []
    for character in text:
        # "<" goes as its byte, so that the text itself never spells a marker.
        as_bytes = character == "<" or data.draw(st.booleans(), label="as bytes")
        pieces.extend(as_byte_pieces(character) if as_bytes else [character])
    messages: list[str] = []
    for piece in pieces:
        is_same_message: bool = data.draw(st.booleans(), label="same message")
        if messages and is_same_message:
            messages[-1] += piece
        else:
            messages.append(piece)

    assert join(*messages) == text


@given(st.lists(st.binary(max_size=8)))
def test_any_bytes_read_as_the_standard_library_reads_them(runs: list[bytes]) -> None:
    messages = ["".join(f"<0x{byte:02X}>" for byte in run) for run in runs]

    assert join(*messages) == b"".join(runs).decode("utf-8", errors="replace")


@given(st.lists(st.text(alphabet="<0xF9AC8>a\u00e4", max_size=12)))
def test_the_joiner_takes_any_pieces(pieces: list[str]) -> None:
    joined = join(*pieces)

    assert len(joined) <= sum(map(len, pieces))
