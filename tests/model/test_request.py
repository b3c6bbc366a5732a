"""The request that opens a conversation: what a server gets, what is refused before any connection, what is shown."""

import traceback
from urllib.parse import parse_qs, quote_plus, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plexbridge.errors import ConfigError, RequestError
from plexbridge.model.request import (
    AIOHTTP_LINE_BYTES,
    MAX_LINE_BYTES,
    MAX_URL_BYTES,
    Dialect,
    ModelRequest,
    build_request,
    clean_prompt,
    parse_address,
)

URL = "ws://gpu.example:8998/api/chat"


def ask(
    *, dialect: Dialect = "personaplex", url: str = URL, voice: str = "NATF0", prompt: str = "You are kind."
) -> ModelRequest:
    return build_request(dialect=dialect, url=url, voice=voice, prompt=prompt)


def sent_query(request: ModelRequest) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.resource).query, keep_blank_values=True, strict_parsing=True)


def line_bytes(request: ModelRequest) -> int:
    return len(f"GET {request.resource} HTTP/1.1".encode("ascii"))


def test_personaplex_gets_voice_file_and_persona_in_the_query() -> None:
    request = ask(voice="natf2", prompt="You like tea & cake, 50% each + more.")

    assert request.resource == (
        "/api/chat?voice_prompt=NATF2.pt&text_prompt=You+like+tea+%26+cake%2C+50%25+each+%2B+more."
    )


def test_the_embedded_loopback_gets_what_personaplex_gets() -> None:
    assert ask(dialect="loopback").resource == ask(dialect="personaplex").resource


def test_moshi_gets_the_url_as_the_operator_wrote_it() -> None:
    plain = ask(dialect="moshi", voice="nobody", prompt="ignored")
    with_query = ask(dialect="moshi", url=f"{URL}?text_seed=7&seed=3&max_steps=100")

    assert plain.resource == "/api/chat"
    assert with_query.resource == "/api/chat?text_seed=7&seed=3&max_steps=100"


def test_the_operators_own_query_items_are_kept_in_front() -> None:
    request = ask(url=f"{URL}?token=a%20b&flag&x=1")

    assert request.resource.startswith("/api/chat?token=a%20b&flag&x=1&voice_prompt=NATF0.pt&text_prompt=")


@pytest.mark.parametrize("dialect", ["personaplex", "loopback"])
@pytest.mark.parametrize("item", ["seed=1", "se%65d=-1", "seed", "a=1&seed=2", "voice_prompt=NATM0.pt", "text_prompt="])
def test_query_items_that_would_break_the_call_are_refused(dialect: Dialect, item: str) -> None:
    with pytest.raises(ConfigError):
        parse_address(f"{URL}?{item}", dialect=dialect)


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t", "\0", "\ud800"])
def test_an_empty_persona_is_sent_as_one_space_because_the_server_fails_on_nothing(prompt: str) -> None:
    assert sent_query(ask(prompt=prompt))["text_prompt"] == [" "]


@pytest.mark.parametrize(
    ("prompt", "cleaned"),
    [
        ("  two\r\nlines\tand   a tab ", "two lines and a tab"),
        ("nul\0 bell\a escape\x1b[31m del\x7f", "nul bell escape[31m del"),
        ("line\u2028separator\x85next", "line separator next"),
        ("lone \ud83d surrogate \udc00", "lone surrogate"),
        (
            "kept: \u00e4 \u65e5\u672c \U0001f469\u200d\U0001f680",
            "kept: \u00e4 \u65e5\u672c \U0001f469\u200d\U0001f680",
        ),
    ],
)
def test_a_persona_becomes_one_clean_line(prompt: str, cleaned: str) -> None:
    assert clean_prompt(prompt) == cleaned
    assert sent_query(ask(prompt=prompt))["text_prompt"] == [cleaned]


@given(st.text(alphabet=st.characters(), max_size=600))
def test_any_persona_arrives_as_the_cleaned_text_or_is_refused(prompt: str) -> None:
    try:
        request = ask(prompt=prompt)
    except RequestError:
        assert len(quote_plus(clean_prompt(prompt))) > MAX_LINE_BYTES // 2
        return

    query = sent_query(request)
    assert set(query) == {"voice_prompt", "text_prompt"}
    assert query["text_prompt"] == [clean_prompt(prompt) or " "]
    assert all("!" <= character <= "~" for character in request.resource)


@pytest.mark.no_cover  # the same lines again and again, which other tests cover
@given(st.text(alphabet=st.sampled_from("ab \u00e4\u65e5\U0001f600"), min_size=900, max_size=3000))
def test_a_persona_is_refused_only_over_the_limit_and_the_sentence_says_exactly_by_how_much(prompt: str) -> None:
    prompt = clean_prompt(prompt * 4) or "a"
    try:
        assert line_bytes(ask(prompt=prompt)) <= MAX_LINE_BYTES
    except RequestError as error:
        words = error.user_message.replace(",", "").split()
        excess = int(words[words.index("least") + 1])
        assert line_bytes(ask(prompt=prompt[:-excess])) <= MAX_LINE_BYTES
        if not prompt[: 1 - excess or None].endswith(" "):
            with pytest.raises(RequestError):
                ask(prompt=prompt[: 1 - excess or None])


@pytest.mark.parametrize(("character", "encoded_bytes"), [("a", 1), ("\u00e4", 6), ("\u65e5", 9), ("\U0001f600", 12)])
def test_the_limit_counts_bytes_after_percent_encoding(character: str, encoded_bytes: int) -> None:
    room = MAX_LINE_BYTES - line_bytes(ask(prompt="a")) + 1
    fitting = room // encoded_bytes

    assert line_bytes(ask(prompt=character * fitting)) <= MAX_LINE_BYTES < AIOHTTP_LINE_BYTES
    with pytest.raises(RequestError, match="at least 1 of its") as caught:
        ask(prompt=character * (fitting + 1))
    assert "too long" in caught.value.user_message


def test_the_longest_url_still_leaves_most_of_the_line_to_the_persona() -> None:
    url = f"{URL}?token={'t' * (MAX_URL_BYTES - len('/api/chat') - len('token='))}"

    assert line_bytes(ask(url=url, voice=f"{'v' * 60}.wav", prompt="p" * 5_000)) <= MAX_LINE_BYTES
    with pytest.raises(ConfigError, match="longer than"):
        ask(url=f"{url}t")


def test_an_unknown_voice_is_refused() -> None:
    with pytest.raises(RequestError, match="no such voice"):
        ask(voice="../NATF0")


@pytest.mark.parametrize(
    ("url", "is_tls", "host", "port", "host_header"),
    [
        ("ws://gpu.example:8998/api/chat", False, "gpu.example", 8998, "gpu.example:8998"),
        ("wss://GPU.example/api/chat", True, "gpu.example", 443, "gpu.example"),
        ("WS://10.0.0.2/api/chat", False, "10.0.0.2", 80, "10.0.0.2"),
        ("ws://h:443/x", False, "h", 443, "h:443"),
        ("wss://h:80/x", True, "h", 80, "h:80"),
        ("wss://h:443/x", True, "h", 443, "h"),
        ("ws://[::1]:8998/x", False, "::1", 8998, "[::1]:8998"),
        ("wss://[2001:DB8::2]/x", True, "2001:db8::2", 443, "[2001:db8::2]"),
    ],
)
def test_an_address_is_read_from_its_url(url: str, is_tls: bool, host: str, port: int, host_header: str) -> None:
    address = parse_address(url, dialect="personaplex")

    assert (address.is_tls, address.host, address.port, address.host_header) == (is_tls, host, port, host_header)
    assert str(address) == f"{'wss' if is_tls else 'ws'}://{host_header}"


def test_letters_outside_ascii_in_path_and_query_are_encoded_and_encoded_ones_left_alone() -> None:
    request = ask(dialect="moshi", url="ws://h/r\u00e4ume/a%20b?n=\u00e4&m=%C3%A4")

    assert request.resource == "/r%C3%A4ume/a%20b?n=%C3%A4&m=%C3%A4"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "unknown scheme"),
        ("gpu.example:8998/api/chat", "unknown scheme"),
        ("ftp://h/x", "unknown scheme"),
        ("http://h/x", "expected ws://"),
        ("https://h/x", "expected wss://"),
        ("ws:///x", "no usable host"),
        ("ws://:80/x", "no usable host"),
        ("ws://h\u00f6st/x", "no usable host"),
        ("ws://a%20b/x", "no usable host"),
        ("ws://[fe80::1%25eth0]/x", "no usable host|can't be read"),
        ("ws://[::1/x", "can't be read"),
        ("ws://h:port/x", "can't be read"),
        ("ws://h:0/x", "can't be read"),
        ("ws://h:65536/x", "can't be read"),
        ("ws://h:8998", "no path"),
        ("ws://h:8998?a=1", "no path"),
        ("ws://h/x#part", "# part"),
        ("ws://h/x#", "# part"),
        ("ws://user@h/x", "user name or password"),
        ("ws://user:secret@h/x", "user name or password"),
        ("ws://h/a b", "space"),
        ("ws://h/x\r\nHost: evil", "line break"),
        (" ws://h/x", "space"),
        ("ws://h/\0", "control character"),
        ("ws://h/\ud800", "control character"),
    ],
)
def test_a_url_that_cannot_be_used_is_a_fault_of_the_configuration(url: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        parse_address(url, dialect="personaplex")

    assert len(caught.value.faults) == 1


@given(st.text(max_size=60), st.sampled_from(["", "ws://", "wss://[", "ws://h:", "ws://h/", "ws://h/?"]))
def test_any_url_gives_an_address_or_a_fault(rest: str, start: str) -> None:
    try:
        address = parse_address(start + rest, dialect="personaplex")
    except ConfigError:
        return

    assert 0 < address.port < 65536
    assert (address.path + address.query).isascii()
    assert address.host_header.isascii()


def test_neither_persona_nor_token_is_shown_by_a_request_or_its_address() -> None:
    request = ask(url="ws://h:1/canarypath?token=canarytoken", prompt="canaryprompt")

    assert "canaryprompt" in request.resource
    assert "canarytoken" in request.resource
    shown = f"{request!r} {request} {request.address!r} {request.address} {[request]} {request!s:>20}"
    assert "canary" not in shown
    assert "ws://h:1" in shown


@pytest.mark.parametrize(
    "url",
    [
        "ws://canary:canary@h/x",
        "ws://h:canary/x",
        "ws://[canary]/x",
        "canary://h/x",
        "ws://h/x?token=canary&seed=canary",
        "ws://h/canary x",
        f"ws://h/{'canary' * 400}",
    ],
)
def test_neither_persona_nor_token_stands_in_an_error_or_its_traceback(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ask(url=url, prompt="canary")

    error = caught.value
    assert "canary" not in f"{error} {error!r} {error.user_message} {error.__context__!r}"
    assert "canary" not in "".join(traceback.TracebackException.from_exception(error).format_exception_only())


def test_a_persona_that_is_too_long_is_not_repeated() -> None:
    with pytest.raises(RequestError) as caught:
        ask(prompt="canary " * 4_000)

    assert "canary" not in f"{caught.value!r} {caught.value.__context__!r}"
