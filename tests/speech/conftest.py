"""What tests of several engines share."""

import pytest


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a failed utterance tried again at once."""
    monkeypatch.setattr("plexbridge.speech.line.PAUSES_SECONDS", (0.05, 0.05))
