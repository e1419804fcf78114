"""Call-backs' settings and signatures: where they may go, and how a receiver knows them."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from lithox.errors import BadArguments, ConfigError, NotPermitted
from lithox.node.callback_settings import CallbackSettings, origin_of, read_callbacks
from lithox.node.webhooks import parse_secret, webhook_headers

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()


def test_signature_is_that_of_the_standard() -> None:
    """The example of the specification: its secret, id, time and body give its signature."""
    key = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = webhook_headers(
        [key],
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp_s=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_two_secrets_give_two_signatures() -> None:
    """While a secret is being replaced a receiver may know either."""
    keys = [bytes(24), bytes(range(24))]
    headers = webhook_headers(keys, message_id="a", timestamp_s=1, body=b"x")
    wanted = [
        "v1," + base64.b64encode(hmac.digest(key, b"a.1.x", hashlib.sha256)).decode()
        for key in keys
    ]
    assert headers["webhook-signature"].split(" ") == wanted


@pytest.mark.parametrize(
    "text", ["", "whsec_", SECRET[6:], "whsec_AAAA", "whsec_%%%", SECRET + "!"]
)
def test_secret_is_refused_without_repeating_it(text: str) -> None:
    """A wrong one is told by its form; nothing of it is in the message."""
    with pytest.raises(BadArguments) as caught:
        parse_secret(text)
    assert text.removeprefix("whsec_")[:8] not in caught.value.message or not text[6:]


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://example.org/hook?a=1", "https://example.org:443"),
        ("HTTPS://EXAMPLE.org:443", "https://example.org:443"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080"),
        ("http://[::1]/x", "http://[::1]:80"),
    ],
)
def test_origin_has_one_spelling(url: str, origin: str) -> None:
    """Case and default ports make no difference."""
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/hook",
        "ftp://example.org/",
        "https://",
        "https://user:secret@example.org/",
        "https://example.org@evil.example/",
        "https://example.org:99999/",
        "https://example.org/ x",
        "https://example.org/\n",
        "https://exämple.org/",
        "https://example.org/" + "x" * 2_000,
        "file:///etc/passwd",
    ],
)
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    """Names, passwords, other schemes and odd characters lead elsewhere than they look."""
    with pytest.raises(BadArguments):
        origin_of(url)


def test_only_listed_origins_may_be_called() -> None:
    """Whole origins: another host, port or scheme is another one; by default there is none."""
    settings = CallbackSettings(allow=("https://example.org:443",), keys=(bytes(24),))
    assert settings.check_url("https://example.org/any/path") == "https://example.org/any/path"
    for url in (
        "http://example.org/",
        "https://example.org:444/",
        "https://sub.example.org/",
        "https://example.org.evil.example/",
        "http://169.254.169.254/latest/meta-data",
    ):
        with pytest.raises(NotPermitted):
            settings.check_url(url)
    with pytest.raises(NotPermitted):
        CallbackSettings().check_url("https://example.org/")


def test_rests_grow_fourfold_to_a_bound() -> None:
    """Seven rests of eight tries last about two hours and a half."""
    settings = CallbackSettings()
    rests = [settings.pause_ms(failures) for failures in range(1, 8)]
    assert rests == [1_000, 4_000, 16_000, 64_000, 256_000, 1_024_000, 3_600_000]


def test_settings_are_read_from_a_table() -> None:
    """Origins in one spelling, secrets as keys, which are never shown."""
    found = read_callbacks(
        {"allow": ["https://Example.org/", "http://10.0.0.1:81"], "secret": SECRET, "tries_max": 2},
        "x.toml",
    )
    assert found.allow == ("https://example.org:443", "http://10.0.0.1:81")
    assert (found.keys, found.tries_max) == ((bytes(range(24)),), 2)
    assert "keys" not in repr(found)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "x.toml: callbacks is a table"),
        ({"allow": ["https://a.example/path"], "secret": SECRET}, "an origin has no path"),
        ({"allow": [1]}, "needs a text or a list of texts"),
        ({"allow": ["https://a.example"]}, "a secret is needed where origins are allowed"),
        ({"secret": "whsec_AAAA"}, "a secret is whsec_ and the base64 of"),
        ({"tries_max": 0}, "needs a whole number above 0; found 0"),
        ({"more": 1}, "unknown key 'more'; known are"),
    ],
)
def test_wrong_settings_are_refused_by_key(table: object, message: str) -> None:
    """Each says where and what."""
    with pytest.raises(ConfigError) as caught:
        read_callbacks(table, "x.toml")
    assert message in caught.value.message
