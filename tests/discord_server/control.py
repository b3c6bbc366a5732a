"""The typed client of a running loopback Discord, and the context manager that runs one in a process of its own.

Its parts are `control_client.py`, `control_people.py` and `control_faults.py`. Everything here blocks, shortly where
nothing is said of waiting; in trio use `trio.to_thread.run_sync`. A refusal by the server raises `ControlError`. Times
are seconds of the machine's monotonic clock, the same in every process.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.discord_server.control_client import ControlError, Ready, RecordEntry
from tests.discord_server.control_faults import ALL_GARBAGE, FaultControl, Garbage
from tests.discord_server.control_people import PeopleControl
from tests.discord_server.faults import Faults
from tests.discord_server.guild import Json
from tests.discord_server.options import AES256_GCM, XCHACHA20
from tests.discord_server.person import Manner

START_SECONDS = 20
STOP_SECONDS = 10
REPOSITORY = Path(__file__).resolve().parents[2]

__all__ = [
    "AES256_GCM",
    "ALL_GARBAGE",
    "XCHACHA20",
    "Control",
    "ControlError",
    "Faults",
    "Garbage",
    "Manner",
    "Ready",
    "RecordEntry",
]


class Control(PeopleControl, FaultControl):
    """Steers one server. Ids of people, users, channels and messages are integers."""

    # What exists

    def voice_channel(self, name: str = "Voice") -> int:
        """Return the id of a channel of the first guild."""
        return self.ready.channels[name]

    def state(self) -> Json:
        """Return rooms (user_ids, dave_version, dave_members, dave_is_settled, endpoint), voice states, gateway."""
        return self.call("state")

    def room(self, channel_id: int) -> Json | None:
        """Return the room of a voice channel, None when nobody ever was in it."""
        rooms = self.state()["rooms"]
        return next((room for room in rooms if room["channel_id"] == channel_id), None)

    def add_guild(self, name: str) -> int:
        """Make another guild, which the bot knows after its next login; return its id."""
        return int(self.call("add_guild", name=name)["guild_id"])

    def add_channel(self, name: str, *, is_voice: bool, guild_id: int | None = None) -> int:
        """Make a channel and tell the bot; return its id."""
        guild_id = guild_id or self.ready.guild_id
        return int(self.call("add_channel", name=name, is_voice=is_voice, guild_id=guild_id)["channel_id"])

    def delete_channel(self, channel_id: int) -> None:
        """Delete a channel with everybody in it."""
        self.call("delete_channel", channel_id=channel_id)

    def add_person(self, name: str, *, is_bot: bool = False, guild_id: int | None = None) -> int:
        """Make a member, a person or another bot; return its user id."""
        guild_id = guild_id or self.ready.guild_id
        return int(self.call("add_person", name=name, is_bot=is_bot, guild_id=guild_id)["person_id"])

    def say(self, person_id: int, channel_id: int, content: str) -> int:
        """Let a person write a message; return its id."""
        return int(self.call("say", person_id=person_id, channel_id=channel_id, content=content)["id"])

    def messages(self, channel_id: int) -> list[Json]:
        """Return a channel's message objects as they are now, oldest first."""
        found: list[Json] = self.call("messages", channel_id=channel_id)["messages"]
        return found

    def delete_message(self, message_id: int) -> None:
        """Delete a message, as a moderator can."""
        self.call("delete_message", message_id=message_id)

    # Who may do what

    def set_bot_permissions(self, *denied: str, channel_id: int | None = None) -> None:
        """Deny the bot these permissions (discord.py's names) and allow it all others.

        Without a channel in all guilds, by the bot's role; with one only there, by an overwrite for that role. Whoever
        is in a voice channel keeps its right to speak there until it comes again.
        """
        self.call("bot_permissions", denied=denied, channel_id=channel_id)

    def set_member_permissions(self, person_id: int, *allowed: str) -> None:
        """Give a person exactly these permissions, by a role of its own, instead of an ordinary member's."""
        self.call("member_permissions", person_id=person_id, allowed=allowed)

    def set_user_limit(self, channel_id: int, limit: int) -> None:
        """Let a voice channel hold `limit` users, or any number with 0; who is there stays."""
        self.call("user_limit", channel_id=channel_id, limit=limit)

    # Interactions

    def use_command(self, person_id: int, channel_id: int, path: str, **options: Any) -> int:
        """Let a person use a slash command ("voice set" names a subcommand); return the interaction's id."""
        arguments = {"person_id": person_id, "channel_id": channel_id, "path": path, "options": options}
        return int(self.call("command", **arguments, focused=None)["interaction_id"])

    def complete_command(self, person_id: int, channel_id: int, path: str, focused: str, **options: Any) -> int:
        """Let a person type in the option `focused` of a command; return the interaction's id."""
        arguments = {"person_id": person_id, "channel_id": channel_id, "path": path, "options": options}
        return int(self.call("command", **arguments, focused=focused)["interaction_id"])

    def press_button(self, person_id: int, message_id: int, custom_id: str) -> int:
        """Let a person press a button of a message; return the interaction's id."""
        return self._component(person_id, message_id, custom_id, 2, [])

    def choose(self, person_id: int, message_id: int, custom_id: str, *values: str) -> int:
        """Let a person choose in a menu of a message; return the interaction's id."""
        return self._component(person_id, message_id, custom_id, 3, list(values))

    def _component(self, person_id: int, message_id: int, custom_id: str, type_: int, values: list[str]) -> int:
        arguments = {"custom_id": custom_id, "component_type": type_, "values": values}
        return int(self.call("component", person_id=person_id, message_id=message_id, **arguments)["interaction_id"])

    def submit_modal(self, person_id: int, channel_id: int, custom_id: str, **fields: str) -> int:
        """Let a person send a form; return the interaction's id."""
        arguments = {
            "person_id": person_id,
            "channel_id": channel_id,
            "custom_id": custom_id,
            "fields": fields,
        }
        return int(self.call("modal", **arguments)["interaction_id"])

    def interaction(self, interaction_id: int) -> Json:
        """Return token, callback, callback_seconds, original (message) and followups of an interaction."""
        return self.call("interaction", interaction_id=interaction_id)


@contextmanager
def run_discord_server(*arguments: str) -> Iterator[Control]:
    """Run a server in a process of its own, with command-line `arguments`; it ends with the block.

    Raises `ControlError` when it does not start.
    """
    command = [sys.executable, "-m", "tests.discord_server", "--until-eof", *arguments]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise ControlError(f"the server did not start: exit code {process.wait(START_SECONDS)}")
            yield Control(Ready(**json.loads(line)), process.pid)
        finally:
            process.stdin.close()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
