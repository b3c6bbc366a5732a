"""Voices: which names may be sent to a PersonaPlex server, and what a person reads about the others."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plexbridge.errors import RequestError
from plexbridge.model.voices import MAX_NAME_CHARS, VOICE_GROUPS, VOICES, check_voice, voice_file


def test_the_18_voices_of_personaplex_come_in_their_four_groups() -> None:
    assert dict(VOICE_GROUPS) == {
        "natural female": ("NATF0", "NATF1", "NATF2", "NATF3"),
        "natural male": ("NATM0", "NATM1", "NATM2", "NATM3"),
        "varied female": ("VARF0", "VARF1", "VARF2", "VARF3", "VARF4"),
        "varied male": ("VARM0", "VARM1", "VARM2", "VARM3", "VARM4"),
    }
    assert len(VOICES) == 18


@pytest.mark.parametrize("voice", VOICES)
def test_a_known_voice_is_found_in_any_case_and_with_its_suffix(voice: str) -> None:
    assert check_voice(voice) == voice
    assert check_voice(voice.lower()) == voice
    assert check_voice(f"{voice.capitalize()}.pt") == voice
    assert voice_file(voice.lower()) == f"{voice}.pt"


@pytest.mark.parametrize("name", ["myvoice.pt", "myvoice.wav", "My_Voice-2.wav", "natf0.wav", "a" * 61 + ".pt"])
def test_an_own_voice_file_keeps_its_spelling(name: str) -> None:
    assert check_voice(name) == name
    assert voice_file(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "NATF9",
        "myvoice",
        "myvoice.PT",
        "myvoice.exe",
        ".pt",
        "..",
        "../x.pt",
        "/etc/x.pt",
        "a/b.pt",
        "a\\b.pt",
        "a..pt",
        "a b.pt",
        "a.pt\n",
        "NATF0\n",
        "NATF0\0.pt",
        "stimme\u00e4.pt",
        "\u0661.pt",
        "NATF\u0660",
        "a" * 62 + ".pt",
    ],
)
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(RequestError):
        check_voice(name)
    with pytest.raises(RequestError):
        voice_file(name)


def test_a_near_miss_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(RequestError) as caught:
        check_voice("natf7")

    assert caught.value.user_message.startswith('There is no voice called "natf7". Did you mean NATF')


def test_a_far_miss_is_answered_with_all_groups() -> None:
    with pytest.raises(RequestError) as caught:
        check_voice("zzz")

    assert "NATF0 to NATF3 (natural female)" in caught.value.user_message
    assert "VARM0 to VARM4 (varied male)" in caught.value.user_message


@pytest.mark.parametrize("name", ["@everyone hello", "x\nERROR forged line", "`x`", "q" * 5000])
def test_what_was_typed_is_not_repeated_when_it_could_do_harm(name: str) -> None:
    with pytest.raises(RequestError) as caught:
        check_voice(name)

    assert name not in caught.value.user_message
    assert "There is no such voice." in caught.value.user_message
    assert len(caught.value.user_message) < 300


@given(st.one_of(st.text(), st.from_regex(r"[A-Za-z0-9_-]*\.(pt|wav)"), st.sampled_from(VOICES)))
def test_whatever_is_taken_is_one_plain_file_name_and_is_taken_again(name: str) -> None:
    try:
        voice = check_voice(name)
    except RequestError:
        return

    assert check_voice(voice) == voice
    assert re.fullmatch(r"[A-Za-z0-9_-]+\.(pt|wav)", voice_file(voice), re.ASCII)
    assert len(voice_file(voice)) <= MAX_NAME_CHARS
