"""Which addresses lead to the same model, so that nobody takes one server for two.

It is one model at the same host in any spelling (this machine's own loopback addresses are one host) and the same
port, whether with TLS or without, and with any query. The path counts. A stock server answers at one path only, so
there two paths are never two calls; but a proxy in front of several models tells them apart by nothing else. No name is
looked up: a machine that is addressed once by name and once by number counts as two, and so does this machine under its
public name.
"""

import ipaddress
import re
from urllib.parse import urlsplit

from plexbridge.errors import LocalProtocolError
from plexbridge.model.request import DEFAULT_PORTS


def model_key(url: str) -> str:
    """Return `host:port/path` in its one spelling, by which addresses of the same model are known to be the same."""
    parts = urlsplit(url)
    port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    if not parts.hostname or port is None:
        raise LocalProtocolError("this is no address of a model")
    path = re.sub(r"/+", "/", parts.path).rstrip("/")
    return f"{_host_key(parts.hostname)}:{port}{path}"


def _host_key(host: str) -> str:
    """Return the host in lower case without a final dot, and one name for all addresses that lead back to this host."""
    name = host.lower().removesuffix(".")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    # Connecting to "any address" (0.0.0.0, ::) reaches this machine too.
    return "localhost" if address.is_loopback or address.is_unspecified else str(address)
