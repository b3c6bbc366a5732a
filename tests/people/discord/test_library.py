"""The check that the package `discord` is the discord.py that plexbridge knows."""

import importlib.metadata
import sys
import types

import pytest

from plexbridge.errors import LibraryUnfit
from plexbridge.people.discord.library import VERSION, check_library


def test_the_pinned_version_passes() -> None:
    assert check_library() == f"discord.py {VERSION}"


def test_the_pin_and_the_check_name_the_same_version() -> None:
    requirements = importlib.metadata.requires("plexbridge") or []

    assert f"discord.py[voice]=={VERSION}" in requirements


@pytest.mark.parametrize(
    ("title", "version", "words"),
    [
        ("pycord", "2.8.1", "is pycord 2.8.1, not discord.py: uninstall pycord"),
        ("discord", "2.8.0", "version 2.8.0, and plexbridge needs exactly"),
    ],
)
def test_another_library_or_version_is_named_with_the_cure(
    title: str, version: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = types.ModuleType("discord")
    other.__dict__.update(__title__=title, __version__=version)
    monkeypatch.setitem(sys.modules, "discord", other)

    with pytest.raises(LibraryUnfit) as caught:
        check_library()

    assert words in caught.value.user_message
    assert "pip install" in caught.value.user_message


def test_a_library_that_voice_needs_and_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "davey", None)

    with pytest.raises(LibraryUnfit, match="davey can't be imported"):
        check_library()
