"""Which addresses lead to the same model."""

import pytest

from plexbridge.errors import LocalProtocolError
from plexbridge.model.identity import model_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ws://gpu/api", "ws://GPU:80/api"),
        ("wss://gpu/api", "wss://gpu:443/api"),
        ("ws://gpu:8998/api", "wss://gpu:8998/api"),
        ("ws://gpu./api", "ws://gpu/api"),
        ("ws://gpu/api?token=a", "ws://gpu/api?token=b"),
        ("ws://gpu/api/chat/", "ws://gpu//api/chat"),
        ("ws://gpu/", "ws://gpu"),
        ("ws://user:pass@gpu/api", "ws://gpu/api"),
        ("ws://localhost:8998/api", "ws://127.0.0.1:8998/api"),
        ("ws://localhost:8998/api", "ws://[::1]:8998/api"),
        ("ws://localhost:8998/api", "ws://[::ffff:127.0.0.1]:8998/api"),
        ("ws://localhost:8998/api", "ws://0.0.0.0:8998/api"),
        ("ws://[2001:db8::1]/api", "ws://[2001:DB8:0::1]/api"),
        ("ws://[::ffff:192.0.2.1]/api", "ws://192.0.2.1/api"),
    ],
)
def test_spellings_of_one_address_are_one_model(one: str, other: str) -> None:
    assert model_key(one) == model_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ws://gpu/api", "ws://gpu2/api"),
        ("ws://gpu/api", "wss://gpu/api"),
        ("ws://gpu:8998/api", "ws://gpu:8999/api"),
        ("ws://gpu/a/api/chat", "ws://gpu/b/api/chat"),
        ("ws://gpu/api", "ws://gpu/API"),
        ("ws://192.0.2.1/api", "ws://192.0.2.2/api"),
        ("ws://localhost:8998/api", "ws://192.0.2.1:8998/api"),
    ],
)
def test_different_addresses_are_different_models(one: str, other: str) -> None:
    assert model_key(one) != model_key(other)


@pytest.mark.parametrize("url", ["", "gpu:8998", "http://gpu/api", "ws:///api"])
def test_what_is_no_address_leads_to_no_model(url: str) -> None:
    with pytest.raises(LocalProtocolError):
        model_key(url)
