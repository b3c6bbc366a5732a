"""The Discord front in this process, at a loopback Discord: for benchmarks that look inside."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from plexbridge.config import Config
from plexbridge.model.pool import open_pool
from plexbridge.people.discord.front import Front, open_front
from plexbridge.people.discord.room import Converse
from plexbridge.service import open_backend, probe_model
from plexbridge.store.settings import open_store
from tests.discord_server.control import Control


@asynccontextmanager
async def open_front_at(control: Control, converse: Converse) -> AsyncIterator[Front]:
    """Open a front for one conversation at a time, with settings that are forgotten afterwards."""
    ready = control.ready
    discord = {"token": ready.token, "api_base": ready.api_base, "gateway": ready.gateway, "ca_file": ready.ca_file}
    config = Config.model_validate({"discord": discord}, strict=False)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            open_store(f"sqlite:///{folder}/settings.db") as store,
            open_backend(config.model[0]) as backend,
            open_pool([backend], slot_seconds=0, probe=partial(probe_model, persona=config.persona)) as pool,
            open_front(config, pool, store, converse) as front,
        ):
            yield front
