"""A loopback Discord with a probe bot in it, one for each module of tests."""

import gc
import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.discord_server.control import Control, run_discord_server
from tests.discord_server.probe_bot import ProbeBot
from tests.discord_server.probing import wait_until

# discord.js is optional: its test exists where its packages are installed (`npm install` in that folder).
HAS_DISCORDJS = (Path(__file__).parent / "discordjs" / "node_modules").exists()
collect_ignore = [] if HAS_DISCORDJS else ["test_loopback_discordjs.py"]


@pytest.fixture(scope="module")
def discord_server() -> Iterator[Control]:
    with run_discord_server() as control:
        yield control


@pytest.fixture(scope="module")
def bot(discord_server: Control) -> Iterator[ProbeBot]:
    with ProbeBot(discord_server.ready) as probe:
        yield probe
    _collect_garbage()


def _collect_garbage() -> None:
    """Free what discord.py leaves behind of broken voice connections, whose sockets would complain in a later test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


_names = itertools.count(1)


@pytest.fixture
def channel(discord_server: Control, bot: ProbeBot) -> Iterator[int]:
    """A fresh voice channel that the bot knows, and leaves at the end."""
    channel_id = discord_server.add_channel(f"voice-{next(_names)}", is_voice=True)
    wait_until(lambda: bot.channel(channel_id) is not None)
    yield channel_id
    bot.leave_all()
    _collect_garbage()
