"""A transcript as a file; WebVTT is read back by a reader that others wrote."""

import io
import json
import re
from html import unescape

import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from plexbridge.speech.formats import FORMATS
from plexbridge.speech.transcript import Kind, Line

HELLO = Line(Kind.PERSON, "Ada", "the kettle is on", 61.24, 3_723.9)
GAP = Line(Kind.GAP, "Bob", "not transcribed: the speech engine failed", 5.0, 6.5)
NASTY = Line(Kind.MODEL, "<b>&\nEve-->", "00:01.000 --> 00:02.000\n\nNOTE <i>&amp; \x1b[31m\u2028x", 0.0, 0.0)

VTT = FORMATS["vtt"]


def test_text_has_the_time_the_name_and_what_was_said() -> None:
    assert FORMATS["text"].header == ""
    assert FORMATS["text"].write(HELLO) == "[00:01:01.2] Ada: the kettle is on\n"
    assert FORMATS["text"].write(GAP) == "[00:00:05.0] Bob: (not transcribed: the speech engine failed)\n"


def test_json_lines_have_everything() -> None:
    entry = json.loads(FORMATS["jsonl"].write(HELLO))

    assert entry == {"start": 61.24, "end": 3723.9, "kind": "person", "name": "Ada", "text": "the kettle is on"}
    assert json.loads(FORMATS["jsonl"].write(NASTY))["text"] == NASTY.text


def test_webvtt_has_a_cue_with_a_voice_for_each_line() -> None:
    assert VTT.header + VTT.write(HELLO) + VTT.write(GAP) == (
        "WEBVTT\n\n"
        "00:01:01.240 --> 01:02:03.900\n<v Ada>the kettle is on\n\n"
        "00:00:05.000 --> 00:00:06.500\n<v Bob><i>(not transcribed: the speech engine failed)</i>\n\n"
    )


@pytest.mark.parametrize("name", FORMATS)
def test_a_line_stays_one_line_whatever_it_says(name: str) -> None:
    fmt = FORMATS[name]  # type: ignore[index]

    written = fmt.write(NASTY)

    assert len(written.rstrip("\n").splitlines()) == (2 if name == "vtt" else 1)
    if name != "jsonl":
        assert "\x1b" not in written


def test_nobody_s_name_or_words_can_make_a_cue_or_a_tag() -> None:
    cue = VTT.write(NASTY).splitlines()[1]

    assert re.findall("<[^>]*>", cue) == ["<v &lt;b&gt;&amp; Eve--&gt;>"]
    assert cue.count("-->") == 0
    assert unescape(cue.partition(">")[2]) == "00:01.000 --> 00:02.000 NOTE <i>&amp; [31m x"


def test_a_cue_lasts_even_if_the_line_does_not() -> None:
    assert VTT.write(NASTY).startswith("00:00:00.000 --> 00:00:00.001\n")
    assert VTT.write(Line(Kind.PERSON, "", "", -0.5, -0.2)) == "00:00:00.000 --> 00:00:00.001\n<v ?>?\n\n"


@given(
    st.lists(
        st.builds(
            Line,
            kind=st.sampled_from(Kind),
            name=st.text(max_size=20),
            text=st.text(max_size=80),
            start_seconds=st.floats(0, 400_000),
            end_seconds=st.floats(0, 400_000),
        ),
        max_size=5,
    )
)
def test_another_reader_finds_the_cues_with_their_times_and_text(lines: list[Line]) -> None:
    written = VTT.header + "".join(VTT.write(line) for line in lines)

    captions = webvtt.from_buffer(io.StringIO(written)).captions

    assert len(captions) == len(lines)
    for caption, line in zip(captions, lines, strict=True):
        assert caption.start_in_seconds == pytest.approx(int(line.start_seconds), abs=1)
        printable = "".join(char if char.isprintable() else " " for char in line.text)
        wanted = " ".join(printable.split()) or "?"
        assert unescape(caption.text) == (f"({wanted})" if line.kind is Kind.GAP else wanted)
