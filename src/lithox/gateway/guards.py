"""Who may speak to the gateway at all, decided from headers alone, before a body is read.

Trusted: nobody. A web page the user happens to visit can make the browser send requests to
127.0.0.1; three checks stop it: the Host header must be a name of this node (DNS rebinding), a
foreign Origin is refused, and bodies must be `application/json`, which a page may not send across
origins without asking first.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from lithox.errors import BadArguments, NotPermitted, TooLarge, Unauthenticated
from lithox.gateway.settings import LOOPBACK_NAMES, GatewaySettings, is_loopback_host

JSON: Final = "application/json"
Facts = dict[bytes, bytes]
"""The headers the gateway reads, by lower-case name; each was sent once."""

_ONCE: Final = frozenset(
    {
        b"accept",
        b"host",
        b"authorization",
        b"content-type",
        b"content-length",
        b"content-encoding",
        b"idempotency-key",
        b"if-match",
        b"if-none-match",
        b"origin",
        b"prefer",
        b"transfer-encoding",
    }
)
_HOSTS_KNOWN_MAX: Final = 64
_CONTENT_LENGTH_DIGITS_MAX: Final = 18


def read_facts(headers: list[tuple[bytes, bytes]]) -> Facts:
    """Returns the headers we decide by; raises BadArguments when one of them is repeated."""
    found: Facts = {}
    for name, value in headers:
        if name in _ONCE:
            if name in found:
                raise BadArguments(f"header {name.decode()} was sent more than once")
            found[name] = value
    return found


class Guards:
    """The checks of one gateway. Blocks: no."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._is_any_address = settings.host in {"0.0.0.0", "::", ""}  # noqa: S104 - compared only
        self._names = LOOPBACK_NAMES | settings.hosts | {settings.host.lower()}
        self._hosts_known: set[bytes] = set()

    def check_sender(self, facts: Facts) -> None:
        """Checks Host and Origin.

        Raises:
            BadArguments: no Host header.
            NotPermitted: a foreign Host or Origin.
        """
        host = facts.get(b"host")
        if host is None:
            raise BadArguments("a request has one Host header; found none")
        if host not in self._hosts_known:
            self._check_host(host)
        origin = facts.get(b"origin")
        if origin is not None:
            self._check_origin(origin, host)

    def _check_host(self, raw: bytes) -> None:
        name = _name_of_host(raw.decode("latin-1").lower())
        is_ours = name in self._names or is_loopback_host(name)
        if not is_ours and self._is_any_address:
            # Listening on every address: any literal address is ours, since rebinding needs a name.
            is_ours = _is_address(name)
        if not is_ours:
            raise NotPermitted(
                f"the Host header names {name[:80]!r}, which is not this node; "
                "list it under allowed_hosts in the configuration"
            )
        if len(self._hosts_known) < _HOSTS_KNOWN_MAX:
            self._hosts_known.add(raw)

    def _check_origin(self, raw: bytes, host: bytes) -> None:
        origin = raw.decode("latin-1").lower()
        scheme, _, place = origin.partition("://")
        is_own = place == host.decode("latin-1").lower()
        is_known = is_own or _name_of_host(place) in self._settings.hosts
        if scheme in {"http", "https"} and is_known:
            return
        raise NotPermitted(
            f"pages of origin {origin[:80]!r} may not call this node; list their host under "
            "allowed_hosts in the configuration"
        )


def _name_of_host(host: str) -> str:
    """Returns the name or address of a Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def read_token(facts: Facts) -> str | None:
    """Returns the bearer token, or None when none was sent.

    Raises:
        Unauthenticated: another scheme, or an empty token.
    """
    raw = facts.get(b"authorization")
    if raw is None:
        return None
    scheme, _, token = raw.partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token:
        raise Unauthenticated("the Authorization header is 'Bearer TOKEN'; found another form")
    return token.decode("latin-1")


def media_type_of(facts: Facts) -> str:
    """Returns the media type of the body, without parameters, in lower case; "" when not said."""
    return facts.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()


def has_body(facts: Facts) -> bool:
    """Returns True when the request announces a body that is not empty."""
    return b"transfer-encoding" in facts or facts.get(b"content-length", b"0") != b"0"


def check_body(facts: Facts, body_bytes_max: int, *, media_type: str = JSON) -> None:
    """Checks what is announced of a body before any of it is read.

    Raises:
        BadArguments: not of `media_type` (JSON in UTF-8), or compressed.
        TooLarge: announced longer than `body_bytes_max`.
    """
    length = facts.get(b"content-length")
    if length is not None:
        if not length.isdigit() or len(length) > _CONTENT_LENGTH_DIGITS_MAX:
            raise BadArguments("the Content-Length header is a decimal number of bytes")
        if int(length) > body_bytes_max:
            raise too_large(body_bytes_max)
    if facts.get(b"content-type") != media_type.encode() and has_body(facts):
        _check_media_type(facts.get(b"content-type", b""), media_type)
    if b"content-encoding" in facts and facts[b"content-encoding"].lower() != b"identity":
        raise BadArguments("bodies are not compressed; remove the Content-Encoding header")


def too_large(body_bytes_max: int) -> TooLarge:
    """Returns the refusal of a body above its bound."""
    return TooLarge(f"a body has at most {body_bytes_max} bytes", allowed=body_bytes_max)


def _check_media_type(raw: bytes, wanted: str) -> None:
    media_type, _, parameters = raw.decode("latin-1").lower().partition(";")
    if media_type.strip() != wanted:
        raise BadArguments(
            f"bodies are {wanted}; found Content-Type {raw[:80].decode('latin-1')!r}"
        )
    name, _, value = parameters.strip().partition("=")
    if name == "charset" and value.strip('"') not in {"utf-8", "utf8"}:
        raise BadArguments(f"JSON is UTF-8; found charset {value[:40]!r}")
