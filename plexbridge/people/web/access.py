"""Who may use the web front: which names it answers to, which pages may talk to it, and who has the token.

A browser lets any page open a WebSocket to any address and only says, in `Origin`, which page it was. And a page of the
attacker's own name can let that name mean 127.0.0.1 (DNS rebinding), after which the browser takes both for one site:
only `Host` still tells. So without a token the front on this machine answers to names of this machine only.
Both headers are the browser's word about a page. A program can write there what it likes, and is stopped by the token
alone; so one that says nothing is no page, and passes.
"""

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

_HOST = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_.-]{1,253})(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"(https?)://(.+)")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Host:
    """A name or an address, IPv6 in brackets, and the port if one is written."""

    name: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a page comes from, its port always known."""

    scheme: str
    name: str
    port: int


def parse_host(text: str) -> Host | None:
    """Return what a `Host` header says; None if it is none."""
    match = _HOST.fullmatch(text.lower())
    return None if match is None else Host(match[1], int(match[2]) if match[2] else None)


def parse_origin(text: str) -> Origin | None:
    """Return what an `Origin` header says, such as `https://voice.example`; None if it names no page's place."""
    match = _ORIGIN.fullmatch(text.lower())
    host = None if match is None else parse_host(match[2])
    if match is None or host is None:
        return None
    return Origin(match[1], host.name, host.port or _DEFAULT_PORTS[match[1]])


def is_loopback(name: str) -> bool:
    """Whether a host's name or address, in brackets or not, can mean this machine only."""
    try:
        return ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return name.lower() == "localhost"


class Access:
    """The rules, for one front.

    `token` is what people have to know, if anything; `origins` are pages of other places that may talk to the front;
    `is_encrypted` says that people reach it by HTTPS only.
    """

    def __init__(self, *, token: str | None, origins: Iterable[str], is_encrypted: bool) -> None:
        self._token = token
        self._origins = frozenset(origin for text in origins if (origin := parse_origin(text)) is not None)
        self._is_encrypted = is_encrypted

    @property
    def needs_token(self) -> bool:
        """Whether people have to know one."""
        return self._token is not None

    def is_token(self, given: str | None) -> bool:
        """Whether `given` opens the front; takes the same time wherever it differs from the token."""
        if self._token is None:
            return True
        return hmac.compare_digest(self._token.encode(), (given or "").encode(errors="surrogatepass"))

    def allows_host(self, text: str | None) -> bool:
        """Whether the front answers to the name in a request's `Host`."""
        if text is None or self._token is not None:
            return True
        host = parse_host(text)
        return host is not None and (is_loopback(host.name) or host.name in {origin.name for origin in self._origins})

    def allows_origin(self, text: str | None, *, host: str | None) -> bool:
        """Whether a page of the place in `Origin` may talk to the front that was asked as `host`.

        One that the front has served itself may, as may those of the list.
        """
        if text is None:
            return True
        origin = parse_origin(text)
        if origin is None:
            return False
        if origin in self._origins:
            return True
        asked = None if host is None else parse_host(host)
        if asked is None or (self._is_encrypted and origin.scheme != "https"):
            return False
        return (origin.name, origin.port) == (asked.name, asked.port or _DEFAULT_PORTS[origin.scheme])
