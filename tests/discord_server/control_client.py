"""How the typed client talks to a server: one verb at a time, and the server's record.

Everything here blocks, shortly where nothing is said of waiting; in trio use `trio.to_thread.run_sync`. A refusal by
the server raises `ControlError`. Times are seconds of the machine's monotonic clock, the same in every process.
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from tests.discord_server.guild import Json

CALL_SECONDS = 60.0
"""The longest a verb may take beyond what it was asked to wait for: a long speech."""


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


class ControlClient:
    """A server's control interface."""

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
