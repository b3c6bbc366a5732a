"""The one HTTP request that opens a conversation: the model's URL, its query, and what may stand in it.

A PersonaPlex server takes voice and persona from the query of the WebSocket's URL. It upgrades first and checks
afterwards, and whatever it can't use ends the connection without a word. So everything that can be wrong is found
here, before any connection:

- `voice_prompt` and `text_prompt` are always there and never empty; either one missing ends the call.
- `seed` is never there: the server reads it from the wrong place and fails, whatever its value.
- The request line stays under the limit of the server's HTTP library, which counts bytes after percent-encoding.

Moshi's own servers take no persona; for them the URL goes out as the operator wrote it. The query holds the persona
and may hold an operator's access token, so neither path nor query appears in any `repr` or error text.
"""

import ipaddress
import itertools
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, quote, quote_plus, urlsplit

from plexbridge.errors import ConfigError, RequestError
from plexbridge.model.voices import voice_file

Dialect = Literal["personaplex", "moshi", "loopback"]
"""Whose server it is; the embedded loopback takes the query that PersonaPlex takes."""

AIOHTTP_LINE_BYTES = 8_190
"""aiohttp's limit for the request line, `GET ` and ` HTTP/1.1` included; above it PersonaPlex answers HTTP 400."""
MAX_LINE_BYTES = 8_000
"""What is sent at most: a proxy in front of the server may put a prefix before the path."""
MAX_URL_BYTES = 2_000
"""Limit of the operator's own URL, percent-encoded, so that three quarters of the line are left to the persona."""

EMPTY_PROMPT = " "
"""Stands for "no persona": PersonaPlex fails on an empty text and takes one space as a text without instructions."""

DEFAULT_PORTS = {"ws": 80, "wss": 443}
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")
# What a path or query may hold unencoded (RFC 3986, section 3.3 and 3.4), and `%`, which the operator encoded already.
_KEPT = "%/?:@!$&'()*+,;=~"
_OURS = frozenset({"voice_prompt", "text_prompt", "seed"})


@dataclass(frozen=True, slots=True)
class ModelAddress:
    """Where a model is: the parts of its URL. Only scheme, host and port are ever shown."""

    is_tls: bool
    host: str
    port: int
    path: str = field(repr=False)
    query: str = field(repr=False)

    @property
    def host_header(self) -> str:
        """The HTTP `Host`: IPv6 in brackets, the port only where it isn't the scheme's own (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self._scheme] else f"{host}:{self.port}"

    @property
    def _scheme(self) -> str:
        return "wss" if self.is_tls else "ws"

    def __str__(self) -> str:
        """Return what a log may name: `wss://gpu.example:8998`."""
        return f"{self._scheme}://{self.host_header}"


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One WebSocket upgrade to send: where to, and which resource (path and query, percent-encoded ASCII)."""

    address: ModelAddress
    resource: str = field(repr=False)

    def __str__(self) -> str:
        """Return the address only, as `ModelAddress` shows it."""
        return str(self.address)


def parse_address(url: str, *, dialect: Dialect) -> ModelAddress:
    """Return the parts of the operator's `url`; spaces and control characters are faults, other letters are encoded.

    Raises `ConfigError` with one sentence that does not repeat the URL, as a token may stand in it.
    """
    if any(character.isspace() or unicodedata.category(character) in ("Cc", "Cs") for character in url):
        raise _fault("holds a space, a line break or a control character")
    parts, port = _split(url)
    if parts is None:
        raise _fault("can't be read; expected something like ws://host:8998/api/chat")
    if parts.scheme in ("http", "https"):
        raise _fault(f"starts with {parts.scheme}://; expected {'wss' if parts.scheme == 'https' else 'ws'}://")
    if parts.scheme not in DEFAULT_PORTS:
        raise _fault("has an unknown scheme; expected ws:// or wss://")
    if "@" in parts.netloc:
        raise _fault("holds a user name or password, which plexbridge can't send")
    if "#" in url:
        raise _fault("has a # part, which is never sent to a server")
    host = parts.hostname or ""
    if not (_HOST_NAME.fullmatch(host) or _is_ipv6(host)):
        raise _fault("has no usable host; expected a name in ASCII letters, an IPv4 address, or [IPv6]")
    if not parts.path:
        raise _fault("has no path; expected for example /api/chat at its end")
    path, query = quote(parts.path, safe=_KEPT), quote(parts.query, safe=_KEPT)
    if len(path) + len(query) > MAX_URL_BYTES:
        raise _fault(f"is longer than {MAX_URL_BYTES} bytes")
    if dialect != "moshi":
        _refuse_our_items(query)
    return ModelAddress(parts.scheme == "wss", host, port or DEFAULT_PORTS[parts.scheme], path, query)


def build_request(*, dialect: Dialect, url: str, voice: str, prompt: str) -> ModelRequest:
    """Return the request that opens one conversation with `voice` and the persona `prompt`.

    Raises `ConfigError` for a URL that can't be used, `RequestError` for an unknown voice or a persona that is too
    long. The moshi dialect has neither, so there both are ignored.
    """
    address = parse_address(url, dialect=dialect)
    items = [address.query] if address.query else []
    if dialect == "moshi":
        return ModelRequest(address, "?".join([address.path, *items]))
    text = clean_prompt(prompt) or EMPTY_PROMPT
    items += [f"voice_prompt={voice_file(voice)}", f"text_prompt={quote_plus(text)}"]
    resource = f"{address.path}?{'&'.join(items)}"
    excess_bytes = len(f"GET {resource} HTTP/1.1") - MAX_LINE_BYTES
    if excess_bytes > 0:
        raise RequestError(
            f"The persona text is too long for the speech model. Please shorten it by at least "
            f"{_excess_chars(text, excess_bytes):,} of its {len(text):,} characters. (Characters other than plain "
            f"English letters, digits and spaces count three times or more.)"
        )
    return ModelRequest(address, resource)


def clean_prompt(prompt: str) -> str:
    """Return `prompt` as one line: white space collapsed, control characters and lone surrogates dropped.

    What is dropped has no meaning to the model; a surrogate has no UTF-8 form, and a NUL ends strings elsewhere.
    """
    kept = (
        character for character in prompt if character.isspace() or unicodedata.category(character) not in ("Cc", "Cs")
    )
    return " ".join("".join(kept).split())


def _fault(what: str) -> ConfigError:
    return ConfigError((f"the model's url {what}",))


def _split(url: str) -> tuple[SplitResult | None, int | None]:
    """Return the parts and the port of `url`, or nothing: the parser's own error text repeats parts of the URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None, None
    return (None, None) if port == 0 else (parts, port)


def _is_ipv6(host: str) -> bool:
    """Tell whether `host` is an IPv6 address; one with a zone is not, as a zone has no meaning to the server."""
    try:
        return ipaddress.IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _refuse_our_items(query: str) -> None:
    """Raise `ConfigError` if the operator's query already holds what plexbridge sets or must never send."""
    names = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
    for name in sorted(names & _OURS):
        reason = "the server fails on it" if name == "seed" else "plexbridge sets it for each call"
        raise _fault(f"holds {name} in its query; {reason}")


def _excess_chars(text: str, excess_bytes: int) -> int:
    """Return how many characters at the end of `text` must go to save `excess_bytes` encoded bytes."""
    # The URL's own limit leaves it room, so taking all of the text away is always more than enough.
    saved = itertools.accumulate(len(quote_plus(character)) for character in reversed(text))
    return next(count for count, saved_bytes in enumerate(saved, start=1) if saved_bytes >= excess_bytes)
