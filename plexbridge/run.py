"""`plexbridge run`: the service, with every front that the configuration turns on, until it is stopped."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from random import Random

import click
import trio

from plexbridge.config import Config, WebConfig, mask_url
from plexbridge.errors import PlexbridgeError
from plexbridge.model.pool import Pool, open_pool
from plexbridge.people.discord.library import check_library
from plexbridge.people.web.door import Door, open_door
from plexbridge.people.web.front import open_front
from plexbridge.service import Failures, open_backend, probe_model, session_settings
from plexbridge.talk import Talk, hold_talk


async def run_service(config: Config) -> None:
    """Serve until cancelled; print one line on stdout when everything is ready.

    Raises ConfigError, LibraryUnfit and DiscordError.
    """
    failures = Failures("the service")
    with failures.collect():
        async with AsyncExitStack() as stack:
            # First of all: what is wrong with the port is known before anything runs.
            door = await stack.enter_async_context(_open_door(config.web))
            backends = [await stack.enter_async_context(open_backend(model)) for model in config.model]
            probe = partial(probe_model, persona=config.persona)
            opened = open_pool(backends, slot_seconds=config.queue.slot_seconds, probe=probe)
            pool = await stack.enter_async_context(opened)
            models = ", ".join(f"model {backend.model.name} at {mask_url(backend.url)}" for backend in backends)
            fronts = [
                await stack.enter_async_context(_open_discord(config, pool)),
                await stack.enter_async_context(_open_web(config, pool, door)),
            ]
            print("; ".join(("plexbridge is ready", models, *filter(None, fronts))), flush=True)
            await trio.sleep_forever()
    failure = failures.principal()
    if failure is not None:
        raise failure


@asynccontextmanager
async def _open_discord(config: Config, pool: Pool) -> AsyncIterator[str | None]:
    if config.discord.token is None:
        click.echo("Discord: off. To turn it on, set PLEXBRIDGE_DISCORD_TOKEN to the token of your bot.", err=True)
        yield None
        return
    check_library()
    # Only now: imports that take their time, and discord.py's fails where another library has taken its name.
    from plexbridge.people.discord.front import open_front as open_discord_front
    from plexbridge.people.discord.personas import find_persona
    from plexbridge.store.settings import open_store

    async with open_store(config.store.url) as store:

        async def converse(talk: Talk, starter_id: int) -> PlexbridgeError | None:
            persona = await find_persona(starter_id, store, config.persona, say=talk.say)
            settings = session_settings(config.audio)
            return await hold_talk(talk, persona=persona, settings=settings, renewal=config.renewal, random=Random())

        async with open_discord_front(config, pool, store, converse) as front:
            yield front.description


@asynccontextmanager
async def _open_door(web: WebConfig) -> AsyncIterator[Door | None]:
    if not web.enabled:
        yield None
        return
    async with open_door(web) as door:
        yield door


@asynccontextmanager
async def _open_web(config: Config, pool: Pool, door: Door | None) -> AsyncIterator[str | None]:
    if door is None:
        yield None
        return
    async with open_front(config, pool, door) as front:
        yield front.description
