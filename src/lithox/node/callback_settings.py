"""What an operator says of call-backs: where they may go, how they are signed, how long tried.

A call-back makes the node send a request on a stranger's word, so it goes nowhere by default. An
origin is compared whole (scheme, host and port); what the host resolves to is for the operator who
listed it to answer for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from lithox.errors import BadArguments, ConfigError, NotPermitted
from lithox.node.webhooks import parse_secret

URL_CHARACTERS_MAX: Final = 2_000
PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSettings:
    """The table `[callbacks]`.

    Attributes:
        allow: origins call-backs may go to, `https://example.org`; none by default.
        keys: what they are signed with: the newest first, then the one it replaces.
        tries_max: failures after which a call-back is dead.
        pause_first_ms: rest after the first failure; each is four times the one before.
        pause_last_ms: the longest rest.
        answer_ms_max: how long one may take to answer.
        waiting_max: call-backs that may wait on the node.
        waiting_account_max: how many of those may be of one account.
        dead_max: dead ones that are kept; the oldest are not waited for, new ones are dropped.
        dead_account_max: how many of those may be of one account.
        sending_max: how many are sent at the same time.
        sending_origin_max: how many of those to one origin, so that one that never answers keeps
            no other waiting.
    """

    allow: tuple[str, ...] = ()
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    tries_max: int = 8
    pause_first_ms: int = 1_000
    pause_last_ms: int = 3_600_000
    answer_ms_max: int = 10_000
    waiting_max: int = 100_000
    waiting_account_max: int = 10_000
    dead_max: int = 10_000
    dead_account_max: int = 1_000
    sending_max: int = 16
    sending_origin_max: int = 4

    def check_url(self, url: str) -> str:
        """Returns `url` if a call-back may go there.

        Raises:
            BadArguments: no absolute http(s) URL, or one with a name and password.
            NotPermitted: its origin is not listed.
        """
        origin = origin_of(url)
        if origin not in self.allow or not self.keys:
            raise NotPermitted(
                f"call-backs to {origin} are not allowed; an operator lists origins under "
                "[callbacks] allow, with a secret"
            )
        return url

    def pause_ms(self, failures: int) -> int:
        """Returns the rest after the `failures`-th failure, 1 or more."""
        return min(self.pause_first_ms << 2 * min(failures - 1, 20), self.pause_last_ms)


def origin_of(url: str) -> str:
    """Returns scheme, host and port of `url`, in one spelling; raises BadArguments."""
    found, port = None, None
    if url.isascii() and url.isprintable() and len(url) <= URL_CHARACTERS_MAX and " " not in url:
        try:
            found = urlsplit(url)
            port = found.port
        except ValueError:
            found = None
    if found is None or found.scheme not in PORTS or not found.hostname or "@" in found.netloc:
        raise BadArguments(
            "a call-back is an absolute http or https URL of at most "
            f"{URL_CHARACTERS_MAX} characters, without name or password; found {url[:80]!r}"
        )
    port = port or PORTS[found.scheme]
    host = f"[{found.hostname}]" if ":" in found.hostname else found.hostname
    return f"{found.scheme}://{host}:{port}"


_NUMBERS: Final = (
    "tries_max",
    "waiting_max",
    "waiting_account_max",
    "dead_max",
    "dead_account_max",
    "sending_max",
    "sending_origin_max",
)


def read_callbacks(data: Any, where: str) -> CallbackSettings:
    """Returns the settings in the table `[callbacks]` of a configuration; raises ConfigError."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: callbacks is a table")
    table: dict[str, Any] = data  # pyright: ignore[reportUnknownVariableType]
    changes: dict[str, Any] = {}
    for key, value in table.items():
        place = f"{where}: callbacks: {key}"
        if key == "allow":
            changes["allow"] = tuple(_origin(one, place) for one in _texts(value, place))
        elif key == "secret":
            try:
                changes["keys"] = tuple(parse_secret(one) for one in _texts(value, place))
            except BadArguments as error:
                raise ConfigError(f"{place}: {error.message}") from None
        elif key in _NUMBERS:
            if type(value) is not int or value < 1:
                raise ConfigError(f"{place}: needs a whole number above 0; found {value!r:.40}")
            changes[key] = value
        else:
            known = ", ".join(("allow", "secret", *_NUMBERS))
            raise ConfigError(f"{where}: callbacks: unknown key {key!r}; known are {known}")
    if changes.get("allow") and not changes.get("keys"):
        raise ConfigError(f"{where}: callbacks: a secret is needed where origins are allowed")
    return CallbackSettings(**changes)


def _texts(value: Any, place: str) -> list[str]:
    items: list[Any] = value if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownVariableType]
    if not all(isinstance(one, str) for one in items):
        raise ConfigError(f"{place}: needs a text or a list of texts")
    return items


def _origin(text: str, place: str) -> str:
    try:
        origin = origin_of(text)
    except BadArguments as error:
        raise ConfigError(f"{place}: {error.message}") from None
    if urlsplit(text).path not in ("", "/") or urlsplit(text).query:
        raise ConfigError(f"{place}: an origin has no path; found {text[:80]!r}")
    return origin
