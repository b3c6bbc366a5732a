"""How keys and values are written in faults: on one line, as TOML would, and without what is private."""

import tomllib
from typing import Annotated

import pytest
from pydantic import BaseModel, Field, SecretStr

from plexbridge.config_faults import MAX_SHOWN_CHARS, Shown, key_path, nearest, quoted, shown


class Table(BaseModel):
    plain: str = Field(default="")
    masked: Annotated[str, Shown(lambda text: text[:1] + "***")] = Field(default="")
    optional: Annotated[str, Shown(lambda text: text[:1] + "***")] | None = None
    secret: SecretStr | None = None


PLAIN, MASKED, OPTIONAL, SECRET = (Table.model_fields[name] for name in ("plain", "masked", "optional", "secret"))


@pytest.mark.parametrize(
    ("location", "path"),
    [
        (("log", "level"), "log.level"),
        (("model", 0, "url"), "model[0].url"),
        (("model", 12), "model[12]"),
        (("log", "a b"), 'log."a b"'),
        (("log", "a\nb"), 'log."a\\nb"'),
    ],
)
def test_a_key_is_written_as_in_toml(location: tuple[str | int, ...], path: str) -> None:
    assert key_path(location) == path


def test_an_overlong_key_is_cut() -> None:
    assert key_path(("log", "x" * 1_000)) == "log." + "x" * MAX_SHOWN_CHARS + "…"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (5, "5"),
        (0.5, "0.5"),
        (2**64, "a huge number"),
        (None, "nothing"),
        ({"a": "b"}, "a table"),
        (["a"], "a list"),
        (("a", 'b"'), '["a", "b\\""]'),
        (("a", 5), "a list"),
        ("a", '"a"'),
    ],
)
def test_a_value_is_written_as_in_toml(value: object, text: str) -> None:
    assert shown(value, PLAIN) == text


def test_texts_where_sections_are_expected_are_not_shown_as_they_may_be_secrets() -> None:
    assert shown(("secret",)) == "a list"


def test_a_long_value_is_cut_only_where_that_is_asked_for() -> None:
    assert shown("x" * 9, limit_chars=3) == '"xxx…"'
    assert shown("x" * 3, limit_chars=3) == '"xxx"'
    assert shown("x" * 999) == f'"{"x" * 999}"'


def test_private_values_are_masked() -> None:
    assert shown("abc", MASKED) == '"a***"'
    assert shown("abc", OPTIONAL) == '"a***"'
    assert shown("abc", SECRET) == '"***"'
    assert shown(5, SECRET) == '"***"'
    assert shown(SecretStr("abc")) == '"***"'
    assert shown(None, SECRET) == "nothing"


@pytest.mark.parametrize("text", ["", 'a"b\\c', "line\nbreak\r\t", "\x00\x1b\x7f\x85\u2028\u202e", "äöü 語 🎧"])
def test_quoted_text_is_one_line_of_toml_with_the_same_meaning(text: str) -> None:
    line = quoted(text)

    assert tomllib.loads(f"x = {line}") == {"x": text}
    assert line.isprintable()


def test_the_nearest_word_is_found_whatever_its_case_and_length() -> None:
    known = ["voice", "prompt", "url"]

    assert nearest("PROMT", known) == "prompt"
    assert nearest("voise", known) == "voice"
    assert nearest("URL" + "x" * 1_000_000, known) == "url"
