"""The typed client of a running loopback Discord, and the context manager that runs one in a process of its own.

Everything here blocks, shortly where nothing is said of waiting; in trio use `trio.to_thread.run_sync`. A refusal by
the server raises `ControlError`. Times are seconds of the machine's monotonic clock, the same in every process.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from tests.discord_server.faults import Faults
from tests.discord_server.hearing import Heard, Protection
from tests.discord_server.options import AES256_GCM, XCHACHA20
from tests.discord_server.person import Manner, Sent
from tests.discord_server.voice_session import Arrival
from tests.discord_server.world import Json

START_SECONDS = 20
STOP_SECONDS = 10
CALL_SECONDS = 60.0
"""The longest a verb may take beyond what it was asked to wait for: a long speech."""
REPOSITORY = Path(__file__).resolve().parents[2]

Garbage = Literal["discovery", "keepalive", "rtcp", "noise", "short", "fake rtp", "video", "unknown ssrc"]
ALL_GARBAGE: tuple[Garbage, ...] = get_args(Garbage)

__all__ = ["AES256_GCM", "ALL_GARBAGE", "XCHACHA20", "Control", "ControlError", "Faults", "Manner", "Ready"]


class ControlError(Exception):
    """The server refused a verb; the text says why."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Where the server is and what it starts with; ids are integers."""

    api_base: str
    gateway: str
    control: str
    ca_file: str
    token: str
    bot_id: int
    application_id: int
    owner_id: int
    guild_id: int
    channels: dict[str, int]


@dataclass(frozen=True, slots=True)
class RecordEntry:
    """One entry of the server's record."""

    index: int
    at_seconds: float
    kind: str
    name: str
    data: Json


class Control:
    """Steers one server. Ids of people, users, channels and messages are integers."""

    def __init__(self, ready: Ready, process_id: int) -> None:
        self.ready = ready
        self.process_id = process_id
        self._opener = build_opener(ProxyHandler({}))

    def call(self, verb: str, seconds: float = CALL_SECONDS, /, **arguments: Any) -> Json:
        """Do a verb of `control_api.py`; the methods below are the typed way."""
        body = json.dumps(arguments).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self.ready.control}/{verb}", body, headers, method="POST")
        try:
            with self._opener.open(request, timeout=seconds) as response:
                answer: Json = json.load(response)
        except HTTPError as exc:
            with exc:
                raise ControlError(exc.read().decode()) from None
        return answer

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

    # People in voice

    def join(
        self,
        person_id: int,
        channel_id: int,
        *,
        mode: str = AES256_GCM,
        dave_version: int = 1,
        self_mute: bool = False,
        self_deaf: bool = False,
    ) -> None:
        """Let a person join or move to a voice channel; returns when its voice connection stands."""
        flags = {"self_mute": self_mute, "self_deaf": self_deaf, "is_update": False}
        self.call("join", person_id=person_id, channel_id=channel_id, mode=mode, dave_version=dave_version, **flags)

    def set_flags(self, person_id: int, channel_id: int, *, self_mute: bool = False, self_deaf: bool = False) -> None:
        """Let a person who is in `channel_id` mute or deafen itself, or end it."""
        flags = {"self_mute": self_mute, "self_deaf": self_deaf, "is_update": True}
        self.call("join", person_id=person_id, channel_id=channel_id, mode=AES256_GCM, dave_version=1, **flags)

    def leave(self, person_id: int, *, abort: bool = False) -> None:
        """Let a person leave; `abort` cuts its connection instead, and the server notices later."""
        self.call("leave", person_id=person_id, abort=abort)

    def speak_wav(self, person_id: int, path: Path, *, manner: Manner = Manner(), wait: bool = True) -> int:  # noqa: B008  # it is frozen
        """Let a person say a sound file in real time; return the number of frames."""
        return self._speak(person_id, {"wav": str(path)}, manner, wait=wait)

    def speak_tone(
        self,
        person_id: int,
        *,
        hz: float = 440.0,
        seconds: float = 1.0,
        manner: Manner = Manner(),  # noqa: B008  # it is frozen
        wait: bool = True,
    ) -> int:
        """Let a person whistle in real time; return the number of frames."""
        return self._speak(person_id, {"tone": {"hz": hz, "seconds": seconds}}, manner, wait=wait)

    def speak_packets(
        self,
        person_id: int,
        packets: list[bytes],
        *,
        manner: Manner = Manner(),  # noqa: B008  # it is frozen
        wait: bool = True,
    ) -> int:
        """Let a person send these Opus packets of 20 ms in real time; return their number."""
        encoded = [base64.b64encode(packet).decode() for packet in packets]
        return self._speak(person_id, {"packets": encoded}, manner, wait=wait)

    def _speak(self, person_id: int, source: Json, manner: Manner, *, wait: bool) -> int:
        arguments = {"person_id": person_id, "source": source, "manner": asdict(manner), "wait": wait}
        return int(self.call("speak", 700.0, **arguments)["frames"])

    def hush(self, person_id: int) -> None:
        """Let a person break off in mid-sentence; leaving does so as well."""
        self.call("hush", person_id=person_id)

    def wait_secure(self, person_id: int, seconds: float = 10.0) -> bool:
        """Wait until a person's DAVE session (if the call has DAVE) can encrypt; return whether it can."""
        return bool(self.call("wait_secure", person_id=person_id, seconds=seconds)["is_secure"])

    def person(self, person_id: int) -> Json:
        """Return is_connected, is_secure, dave_user_ids, privacy_code, close_code, counters, unsent_frames."""
        return self.call("person", person_id=person_id)

    def sent(self, person_id: int) -> list[Sent]:
        """Return the packets that a person sent, silence included, before any encryption."""
        packets = self.call("sent", person_id=person_id)["packets"]
        return [Sent(**packet | {"opus": base64.b64decode(packet["opus"])}) for packet in packets]

    def heard(self, person_id: int, sender_id: int, *protections: Protection) -> list[Heard]:
        """Return what a person heard of a user, in order of arrival; with `protections`, only packets of that kind."""
        packets = self.call("heard", person_id=person_id, sender_id=sender_id)["packets"]
        heard = [Heard(**packet | {"opus": base64.b64decode(packet["opus"])}) for packet in packets]
        return [packet for packet in heard if not protections or packet.protection in protections]

    def write_heard_wav(self, person_id: int, sender_id: int, path: Path) -> int:
        """Write what a person heard of a user as a 48 kHz WAV with its pauses; return the number of samples."""
        return int(self.call("heard_wav", person_id=person_id, sender_id=sender_id, path=str(path))["samples"])

    def forget_heard(self, person_id: int) -> None:
        """Start anew with what a person heard and sent."""
        self.call("forget_heard", person_id=person_id)

    def received(self, user_id: int) -> list[Arrival]:
        """Return the RTP packets that the server received from a user in its present voice session."""
        return [Arrival(**packet) for packet in self.call("received", user_id=user_id)["packets"]]

    # Faults of voice

    def set_faults(self, faults: Faults, *, sender_id: int | None = None, receiver_id: int | None = None) -> None:
        """Set the faults from a sender to a receiver; None means everybody. `Faults()` ends them."""
        self.call("faults", sender_id=sender_id, receiver_id=receiver_id, faults=asdict(faults))

    def send_garbage(self, user_id: int, *kinds: Garbage, count: int = 1) -> None:
        """Send `count` datagrams of each kind that are no audio to a client (all kinds when none is named)."""
        self.call("garbage", user_id=user_id, kinds=kinds or ALL_GARBAGE, count=count)

    def delay_speaking(self, channel_id: int, seconds: float | None) -> None:
        """Pass op 5 on later, so that audio overtakes it; None: never."""
        self.call("speaking_delay", channel_id=channel_id, seconds=seconds)

    def close_voice(self, user_id: int, code: int, *, outage_seconds: float = 0.0) -> None:
        """Close a user's voice WebSocket with `code`, 1006 cuts the TCP connection.

        New connections to that voice server wait until the outage is over.
        """
        self.call("close_voice", user_id=user_id, code=code, outage_seconds=outage_seconds)

    def send_voice(self, user_id: int, op: int, payload: Json | bytes) -> None:
        """Send a voice gateway message to a user, numbered like any other."""
        shown = base64.b64encode(payload).decode() if isinstance(payload, bytes) else payload
        self.call("raw_voice", user_id=user_id, op=op, payload=shown)

    def move_voice_server(self, channel_id: int) -> str:
        """Bring everybody in a channel to a new voice server; return its endpoint."""
        return str(self.call("move_voice_server", channel_id=channel_id)["endpoint"])

    def disconnect_user(self, user_id: int) -> None:
        """Throw a user out of voice, as a moderator can."""
        self.call("disconnect_user", user_id=user_id)

    def move_user(self, user_id: int, channel_id: int) -> None:
        """Move a user to another voice channel, as a moderator can."""
        self.call("move_user", user_id=user_id, channel_id=channel_id)

    def server_mute(self, user_id: int, *, mute: bool, deaf: bool = False, guild_id: int | None = None) -> None:
        """Mute or deafen a user, as a moderator can."""
        guild_id = guild_id or self.ready.guild_id
        self.call("server_mute", user_id=user_id, mute=mute, deaf=deaf, guild_id=guild_id)

    def set_dave(self, channel_id: int, *, is_on: bool) -> None:
        """Turn end-to-end encryption of a channel on or off while people are in it."""
        self.call("set_dave", channel_id=channel_id, is_on=is_on)

    # Gateway and REST

    def reconnect_gateway(self) -> None:
        """Send op 7."""
        self.call("gateway_reconnect")

    def invalidate_gateway(self, *, is_resumable: bool) -> None:
        """Send op 9."""
        self.call("gateway_invalidate", is_resumable=is_resumable)

    def close_gateway(self, code: int, *, outage_seconds: float = 0.0) -> None:
        """Close the gateway with `code`, 1006 cuts TCP; new connections wait until the outage is over."""
        self.call("gateway_close", code=code, outage_seconds=outage_seconds)

    def add_rest_rule(
        self,
        method: str,
        path: str,
        *,
        times: int = 1,
        delay_seconds: float = 0.0,
        status: int = 0,
        retry_after_seconds: float = 0.0,
        is_global: bool = False,
    ) -> None:
        """Make the next `times` requests whose whole path (a pattern, without /api/v10) matches wait or fail."""
        more = {"retry_after_seconds": retry_after_seconds, "is_global": is_global}
        self.call(
            "rest_rule",
            method=method,
            path=path,
            times=times,
            delay_seconds=delay_seconds,
            status=status,
            **more,
        )

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

    # The record

    def record(self, *, after: int = -1, kind: str | None = None, name: str | None = None) -> list[RecordEntry]:
        """Return the entries after an index; see `record.py` for the kinds."""
        return self._entries(after, kind, name, 0.0)

    def wait(self, kind: str, name: str, *, after: int = -1, seconds: float = 10.0, **data: Any) -> RecordEntry:
        """Wait for an entry whose data has the items of `data`; raises `TimeoutError`."""
        cursor = after
        while True:
            entries = self._entries(cursor, kind, name, seconds)
            if not entries:
                raise TimeoutError(f"no {kind} entry {name!r} with {data} in {seconds} s")
            for entry in entries:
                if data.items() <= entry.data.items():
                    return entry
            cursor = entries[-1].index

    def _entries(self, after: int, kind: str | None, name: str | None, seconds: float) -> list[RecordEntry]:
        answer = self.call("record", seconds + CALL_SECONDS, after=after, kind=kind, name=name, seconds=seconds)
        return [RecordEntry(**entry) for entry in answer["entries"]]

    @property
    def last_index(self) -> int:
        """The index of the newest entry: `after` for waiting on what is to come."""
        return int(self.call("record", after=1 << 60, kind=None, name=None, seconds=0)["last_index"])

    def violations(self, user_id: int | None = None) -> list[RecordEntry]:
        """Return the breaches of Discord's rules, by one user or all."""
        found = self.record(kind="violation")
        return [entry for entry in found if user_id is None or entry.data.get("user_id") == user_id]

    def counters(self) -> dict[str, int]:
        """Return everything that is counted."""
        counted: dict[str, int] = self.call("counters")["counters"]
        return counted


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
