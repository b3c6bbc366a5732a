"""`Access`: the names that the front answers to, the pages that may talk to it, and the token."""

import pytest

from plexbridge.people.web.access import Access, Host, Origin, is_loopback, parse_host, parse_origin

TOKEN = "a token, or so"
LISTED = "https://voice.example:8443"


def access(*, token: str | None = None, origins: tuple[str, ...] = (), is_encrypted: bool = False) -> Access:
    return Access(token=token, origins=origins, is_encrypted=is_encrypted)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("localhost", Host("localhost", None)),
        ("LocalHost:8080", Host("localhost", 8080)),
        ("127.0.0.1:80", Host("127.0.0.1", 80)),
        ("[::1]:8080", Host("[::1]", 8080)),
        ("[::1]", Host("[::1]", None)),
    ],
)
def test_a_host_is_a_name_and_perhaps_a_port(text: str, host: Host) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text", ["", "a b", "a:", "a:b", ":80", "a:123456", "::1", "[::1", "a/b", "a@b", "a,b", "ä", "a\n", "x" * 254]
)
def test_what_is_no_host_is_none(text: str) -> None:
    assert parse_host(text) is None


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://localhost", Origin("http", "localhost", 80)),
        ("HTTPS://Voice.Example", Origin("https", "voice.example", 443)),
        ("https://voice.example:8443", Origin("https", "voice.example", 8443)),
        ("http://[::1]:8080", Origin("http", "[::1]", 8080)),
    ],
)
def test_an_origin_has_a_port_always(text: str, origin: Origin) -> None:
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "text", ["", "null", "*", "localhost", "ftp://a", "http://", "http://a/", "http://a b", "file://"]
)
def test_what_is_no_origin_is_none(text: str) -> None:
    assert parse_origin(text) is None


@pytest.mark.parametrize(
    ("name", "is_this_machine"),
    [
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_loopback_is_what_means_this_machine_and_nothing_else(name: str, is_this_machine: bool) -> None:
    assert is_loopback(name) is is_this_machine


@pytest.mark.parametrize(
    ("given", "is_it"),
    [(TOKEN, True), (TOKEN + "x", False), (TOKEN[:-1], False), ("", False), (None, False), ("\ud800", False)],
)
def test_a_token_has_to_be_the_one_if_there_is_one(given: str | None, is_it: bool) -> None:
    assert access(token=TOKEN).is_token(given) is is_it
    assert access().is_token(given)


HOSTS = [
    # Host, and whether it is answered to without a token, with a list, and with a token.
    (None, True, True, True),
    ("localhost:8080", True, True, True),
    ("127.0.0.1:8080", True, True, True),
    ("[::1]:8080", True, True, True),
    ("127.0.0.1:9999", True, True, True),
    ("voice.example", False, True, True),
    ("voice.example:8443", False, True, True),
    ("attacker.example:8080", False, False, True),
    ("192.168.1.5:8080", False, False, True),
    ("0.0.0.0:8080", False, False, True),
    ("localhost.attacker.example", False, False, True),
    ("127.0.0.1@attacker.example", False, False, True),
    ("", False, False, True),
]


@pytest.mark.parametrize(("host", "alone", "with_list", "with_token"), HOSTS)
def test_without_a_token_only_names_of_this_machine_and_of_the_list_are_answered_to(
    host: str | None, alone: bool, with_list: bool, with_token: bool
) -> None:
    assert access().allows_host(host) is alone
    assert access(origins=(LISTED,)).allows_host(host) is with_list
    assert access(token=TOKEN).allows_host(host) is with_token


@pytest.mark.parametrize(
    ("origin", "host", "plain", "encrypted"),
    [
        (None, "127.0.0.1:8080", True, True),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True, False),
        ("https://127.0.0.1:8080", "127.0.0.1:8080", True, True),
        ("https://voice.example", "voice.example", True, True),
        ("https://voice.example", "voice.example:443", True, True),
        ("https://VOICE.example", "voice.EXAMPLE", True, True),
        ("http://voice.example", "voice.example:80", True, False),
        ("https://voice.example", "voice.example:8080", False, False),
        ("http://127.0.0.1:8081", "127.0.0.1:8080", False, False),
        ("http://localhost:8080", "127.0.0.1:8080", False, False),
        ("https://attacker.example", "voice.example", False, False),
        ("https://voice.example.attacker.example", "voice.example", False, False),
        ("null", "voice.example", False, False),
        ("https://voice.example", None, False, False),
        ("https://voice.example", "not a host", False, False),
        (LISTED, "127.0.0.1:8080", True, True),
        (LISTED, None, True, True),
        ("http://voice.example:8443", "127.0.0.1:8080", False, False),
    ],
)
def test_a_page_may_talk_to_who_has_served_it_or_if_it_is_listed(
    origin: str | None, host: str | None, plain: bool, encrypted: bool
) -> None:
    assert access(origins=(LISTED,)).allows_origin(origin, host=host) is plain
    assert access(origins=(LISTED,), is_encrypted=True).allows_origin(origin, host=host) is encrypted
