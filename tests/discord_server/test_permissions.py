"""Permissions as numbers: discord.py is the second opinion on names, bits and what follows from overwrites."""

import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # discord.py imports audioop, which Python 3.13 drops
    import discord

from tests.discord_server.guild import VOICE_CHANNEL, Channel, Guild, User
from tests.discord_server.permissions import (
    ALL_BUT_ADMINISTRATOR,
    BITS,
    EVERYTHING,
    ORDINARY_MEMBER,
    Overwrite,
    bits,
)

EVERYONE, OWNER, ADA = 10, 1, User(2, "Ada")


def guild_with_ada() -> tuple[Guild, Channel]:
    guild = Guild(EVERYONE, "Guild", OWNER)
    guild.add_member(User(OWNER, "Owner"))
    guild.add_member(ADA)
    channel = guild.channels[5] = Channel(5, guild.id, "Voice", VOICE_CHANNEL)
    return guild, channel


def test_every_name_has_the_bit_that_discord_py_gives_it() -> None:
    assert {name: discord.Permissions.VALID_FLAGS[name] for name in BITS} == BITS
    assert discord.Permissions.all().value == EVERYTHING


def test_a_name_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="sing"):
        bits("connect", "sing")


def test_an_ordinary_member_talks_and_writes_but_manages_nothing_and_the_owner_does_everything() -> None:
    guild, channel = guild_with_ada()

    assert guild.permissions_of(ADA.id, channel) == guild.permissions_of(ADA.id) == ORDINARY_MEMBER
    assert guild.may(ADA.id, channel, "connect")
    assert not guild.may(ADA.id, channel, "move_members")
    assert guild.permissions_of(OWNER, channel) == EVERYTHING


@pytest.mark.parametrize("lost", ["send_messages", "view_channel", "connect", "speak"])
def test_what_is_worth_nothing_without_another_permission_goes_with_it_as_in_discord_py(lost: str) -> None:
    guild, channel = guild_with_ada()
    guild.give_own_role(ADA, ALL_BUT_ADMINISTRATOR & ~BITS[lost])

    left = guild.permissions_of(ADA.id, channel)

    expected = discord.Permissions(ALL_BUT_ADMINISTRATOR & ~BITS[lost])
    if lost == "send_messages":
        expected.update(send_tts_messages=False, mention_everyone=False, embed_links=False, attach_files=False)
    elif lost == "view_channel":
        expected.value &= ~discord.Permissions.all_channel().value
    elif lost == "connect":
        expected.value &= ~discord.Permissions.voice().value
        expected.update(manage_channels=False, manage_roles=False)
    assert left & ~BITS["set_voice_channel_status"] == expected.value & ~BITS["set_voice_channel_status"]


def test_overwrites_count_in_order_everyone_then_the_role_then_the_member() -> None:
    guild, channel = guild_with_ada()
    role, speak = guild.role_of[ADA.id].id, BITS["speak"]
    may_speak = [guild.may(ADA.id, channel, "speak")]

    for overwrite in (
        Overwrite(EVERYONE, is_role=True, deny=speak),
        Overwrite(role, is_role=True, allow=speak),
        Overwrite(ADA.id, is_role=False, deny=speak),
    ):
        # The newest first: the order in the list must not matter.
        channel.overwrites = {overwrite.id: overwrite} | channel.overwrites
        may_speak.append(guild.may(ADA.id, channel, "speak"))

    assert may_speak == [True, False, True, False]


def test_an_overwrite_of_somebody_else_changes_nothing() -> None:
    guild, channel = guild_with_ada()

    channel.overwrites = {
        77: Overwrite(77, is_role=True, deny=EVERYTHING),
        OWNER: Overwrite(OWNER, is_role=False, deny=EVERYTHING),
    }

    assert guild.permissions_of(ADA.id, channel) == ORDINARY_MEMBER
    assert guild.permissions_of(OWNER, channel) == EVERYTHING


def test_an_administrator_is_stopped_by_no_overwrite() -> None:
    guild, channel = guild_with_ada()
    guild.give_own_role(ADA, bits("administrator"))

    channel.overwrites = {ADA.id: Overwrite(ADA.id, is_role=False, deny=EVERYTHING)}

    assert guild.permissions_of(ADA.id, channel) == guild.permissions_of(ADA.id) == EVERYTHING
