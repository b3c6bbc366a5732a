"""How answers reach Discord: directly, deferred, or as the acknowledgement of a press; each within a bounded time.

Where Discord refuses one (too late, answered before, rate limit, outage), that is one line in the log: nobody is left
to tell. discord.py itself waits out a rate limit and repeats what a server's fault has kept from arriving.
"""

import asyncio
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import aiohttp

from plexbridge.people.discord.asking import Answer
from plexbridge.people.discord.attention import Button

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # discord.py imports audioop, which Python 3.13 drops
    import discord

logger = logging.getLogger(__name__)

REST_SECONDS = 60.0
"""For one request to Discord, with all of discord.py's repetitions."""

_STYLES = {Button.TAKE: discord.ButtonStyle.primary, Button.FREE: discord.ButtonStyle.secondary}
_BUTTONS = {button.value: button for button in Button}


def view_of(buttons: tuple[Button, ...]) -> discord.ui.View:
    """Return buttons as discord.py has them; what is pressed comes as an event, so it need not remember them."""
    view = discord.ui.View(timeout=None)
    for button in buttons:
        view.add_item(discord.ui.Button(label=button.label, custom_id=button.value, style=_STYLES[button]))
    view.stop()
    return view


async def defer(interaction: discord.Interaction, *, is_private: bool) -> bool:
    """Show that the answer comes later; return whether it can come at all."""
    with refusals("a slash command could not be deferred"):
        async with asyncio.timeout(REST_SECONDS):
            await interaction.response.defer(ephemeral=is_private)
        return True
    return False


async def say(interaction: discord.Interaction, answer: Answer) -> None:
    """Give the answer; one that was deferred is seen by those who saw the deferral."""
    nobody, view = discord.AllowedMentions.none(), view_of(answer.buttons)
    with refusals("a slash command could not be answered"):
        async with asyncio.timeout(REST_SECONDS):
            if interaction.response.is_done():
                await interaction.edit_original_response(content=answer.text, view=view, allowed_mentions=nobody)
            else:
                await interaction.response.send_message(
                    answer.text, view=view, ephemeral=answer.is_private, allowed_mentions=nobody
                )


def pressed(interaction: discord.Interaction) -> Button | None:
    """Return which button of ours it is; None for what an earlier version has put there."""
    data: Mapping[str, object] = {**(interaction.data or {})}
    return _BUTTONS.get(str(data.get("custom_id")))


async def acknowledge(interaction: discord.Interaction) -> bool:
    """Tell Discord that a press has arrived; its message stays as it is. Return whether Discord took that."""
    with refusals("the press of a button could not be answered"):
        async with asyncio.timeout(REST_SECONDS):
            await interaction.response.defer()
        return True
    return False


async def say_to_presser(interaction: discord.Interaction, answer: Answer) -> None:
    """Tell who has pressed a button something, and leave its message as it is."""
    nobody = discord.AllowedMentions.none()
    with refusals("the press of a button could not be answered"):
        async with asyncio.timeout(REST_SECONDS):
            if interaction.response.is_done():
                await interaction.followup.send(answer.text, ephemeral=True, allowed_mentions=nobody)
            else:
                await interaction.response.send_message(answer.text, ephemeral=True, allowed_mentions=nobody)


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Log that Discord does not take something, or can't be reached; no text of an answer of its stands in the log."""
    try:
        yield
    except discord.HTTPException as exc:
        logger.warning("%s: Discord answered %s, error %s", what, exc.status, exc.code)
    except (discord.DiscordException, aiohttp.ClientError, TimeoutError, OSError) as exc:
        logger.warning("%s: %s", what, type(exc).__name__)
    except RuntimeError:  # aiohttp's word for a client that has been closed meanwhile
        logger.warning("%s: the connection to Discord is closed", what)
