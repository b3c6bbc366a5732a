"""Requests and answers of REST: bodies, errors, and rules that make requests wait or fail.

Answers have exactly `application/json`: client libraries compare the header as a whole.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.discord_server.guild import Json, new_id

Publish = Callable[[str, Json, int, int], None]


class RestError(Exception):
    """An answer that is an error: HTTP status, Discord's error code and text."""

    def __init__(self, status: int, code: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


def unknown(what: str, code: int) -> RestError:
    """Return the 404 for something that does not exist."""
    return RestError(404, code, f"Unknown {what}")


@dataclass(slots=True)
class Rule:
    """What happens to requests whose method and path (without `/api/v10`) match, `times` times."""

    method: str
    path: str
    times: int = 1
    delay_seconds: float = 0.0
    status: int = 0
    """The answer's status instead of the real one; 0 lets the request through after the delay."""
    retry_after_seconds: float = 0.0
    is_global: bool = False
    code: int = 0

    def matches(self, method: str, path: str) -> bool:
        """Tell whether the rule is for this request and not used up."""
        return self.times > 0 and self.method in ("*", method) and re.fullmatch(self.path, path) is not None

    def refuse(self) -> web.Response:
        """Return the answer of a rule with a status."""
        if self.status != 429:
            return json_response({"message": "refused by a rule", "code": self.code}, self.status)
        body = {
            "message": "You are being rate limited.",
            "retry_after": self.retry_after_seconds,
            "global": self.is_global,
        }
        # Without Via, discord.py takes a 429 for a ban by Cloudflare.
        headers = {"Via": "1.1 loopback", "Retry-After": str(self.retry_after_seconds)}
        return json_response(body, 429, headers)


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return an answer with exactly `application/json`."""
    body = json.dumps(value).encode()
    return web.Response(status=status, headers=headers, body=body, content_type="application/json")


def no_content() -> web.Response:
    """Return the answer without a body."""
    return web.Response(status=204)


async def read_payload(request: web.Request) -> Json:
    """Return the JSON body, also of a multipart request (`payload_json`); {} without a body."""
    if request.content_type.startswith("multipart/"):
        form = await request.post()
        names = [name for name in form if name != "payload_json"]
        payload = json.loads(str(form.get("payload_json", "{}")))
        files = [{"id": str(new_id()), "filename": getattr(form[name], "filename", name)} for name in names]
        return dict(payload) | {"attachments": files}
    raw = await request.read()
    return dict(json.loads(raw)) if raw and raw.lstrip().startswith(b"{") else {}
