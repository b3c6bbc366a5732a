"""`plexbridge run`: the service, with every front that the configuration turns on, until it is stopped."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click
import trio

from plexbridge.config import Config
from plexbridge.errors import PlexbridgeError
from plexbridge.people.discord.library import check_library
from plexbridge.service import Backend, Failures, hold_conversation, open_backend, session_settings
from plexbridge.session.ledger import Ledger
from plexbridge.session.link import Link
from plexbridge.session.people import People


async def run_service(config: Config) -> None:
    """Serve until cancelled; print one line on stdout when everything is ready.

    Raises ConfigError, LibraryUnfit and DiscordError.
    """
    failures = Failures("the service")
    with failures.collect():
        async with open_backend(config.model[0]) as backend, _open_discord(config, backend) as description:
            where = f"plexbridge is ready; model {backend.model.name} at {backend.url}"
            print(where if description is None else f"{where}; {description}", flush=True)
            await trio.sleep_forever()
    failure = failures.principal()
    if failure is not None:
        raise failure


@asynccontextmanager
async def _open_discord(config: Config, backend: Backend) -> AsyncIterator[str | None]:
    if config.discord.token is None:
        click.echo("Discord: off. To turn it on, set PLEXBRIDGE_DISCORD_TOKEN to the token of your bot.", err=True)
        yield None
        return
    check_library()
    # Only now: its import fails where another library has taken discord.py's name, and takes half a second.
    from plexbridge.people.discord.front import open_front

    async def converse(people: People) -> PlexbridgeError | None:
        return await hold_conversation(
            backend,
            people,
            persona=config.persona,
            settings=session_settings(config.audio),
            ledger=Ledger(),
            on_open=_ignore,
        )

    async with open_front(config.discord, converse, sessions=backend.model.sessions) as front:
        yield front.description


def _ignore(link: Link) -> None:
    """Nobody wants to know how long the handshake took."""
