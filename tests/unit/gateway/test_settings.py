"""Addresses to listen on, and what is loopback."""

from __future__ import annotations

import pytest

from lithox.errors import BadArguments
from lithox.gateway.settings import GatewaySettings, parse_listen, settings_from


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7070", ("127.0.0.1", 7070)),
        ("localhost:0", ("localhost", 0)),
        (":80", ("127.0.0.1", 80)),
        ("[::1]:7070", ("::1", 7070)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
    ],
)
def test_an_address_is_read(text, address):
    """Host and port, IPv6 in brackets."""
    assert parse_listen(text) == address


@pytest.mark.parametrize(
    "text", ["", "7070", "localhost", "a:b", "a:65536", "::1:7070", "a:-1", "a:٣"]
)
def test_what_is_no_address_is_refused(text):
    """The message shows the form and what was found."""
    with pytest.raises(BadArguments) as caught:
        parse_listen(text)
    assert caught.value.message == (
        f"an address to listen on is HOST:PORT, such as 127.0.0.1:7070; found {text!r}"
    )


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("example.org", False),
        ("192.0.2.1", False),
    ],
)
def test_loopback_is_what_no_other_machine_reaches(host, is_loopback):
    """A name is loopback only if it is localhost."""
    assert GatewaySettings(host=host).is_loopback is is_loopback


def test_configuration_becomes_settings():
    """Hosts are compared in lower case; the address is the command line's."""
    settings = settings_from(allowed_hosts=["Node.Example"], body_bytes_max=5, listen=":0")
    assert settings.hosts == {"node.example"}
    assert settings.body_bytes_max == 5
