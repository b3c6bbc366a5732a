"""What can be said of slash commands without a Discord: their descriptions, and what an operator has to grant."""

import pytest

from plexbridge.people.discord.asking import Command
from plexbridge.people.discord.slash import DESCRIPTIONS, intent_fault
from tests.discord_server.probe_bot import discord


def test_every_command_has_a_description_of_a_length_that_discord_takes() -> None:
    assert set(DESCRIPTIONS) == set(Command)
    assert all(1 <= len(text) <= 100 for text in DESCRIPTIONS.values())


def test_an_application_without_the_message_content_intent_is_told_where_to_get_it() -> None:
    fault = intent_fault(discord.ApplicationFlags(gateway_presence=True), application_id=123)

    assert fault is not None
    assert "https://discord.com/developers/applications/123/bot" in fault
    assert "\n" not in fault


@pytest.mark.parametrize("granted", ["gateway_message_content", "gateway_message_content_limited"])
def test_an_application_that_has_it_is_told_nothing(granted: str) -> None:
    assert intent_fault(discord.ApplicationFlags(**{granted: True}), application_id=123) is None
