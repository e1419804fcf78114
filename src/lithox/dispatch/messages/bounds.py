"""How many messages may wait, how often one is tried, how many are delivered at once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from lithox.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageBounds:
    """Bounds of a node's messages; the table `[messages]` of its configuration.

    Attributes:
        pair_max: messages that may wait from one sender to one receiver.
        account_max: messages that may wait on one account.
        account_bytes_max: bytes of them, so that no account can take all that the node has.
        node_max: messages that may wait on the node.
        node_bytes_max: bytes of them.
        message_bytes_max: bytes of one, its arguments and its names.
        hops_max: messages and requests that may lead from one to the next.
        tries_max: failures after which a message is dead.
        pause_first_ms: rest after the first failure; it doubles with each one.
        pause_last_ms: the longest rest.
        delivering_max: messages that are delivered at the same time.
        delivering_account_max: how many of those may be of one account.
        dead_max: dead letters that are kept; while there are as many, no message dies.
        dead_bytes_max: bytes of them; the same.
    """

    pair_max: int = 10_000
    account_max: int = 100_000
    account_bytes_max: int = 64 << 20
    node_max: int = 500_000
    node_bytes_max: int = 256 << 20
    message_bytes_max: int = 1 << 20
    hops_max: int = 64
    tries_max: int = 8
    pause_first_ms: int = 100
    pause_last_ms: int = 30_000
    delivering_max: int = 256
    delivering_account_max: int = 64
    dead_max: int = 100_000
    dead_bytes_max: int = 256 << 20

    def __post_init__(self) -> None:
        """Checks the record; raises ConfigError that names the field."""
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise ConfigError(f"{field.name} is a whole number above 0")

    def pause_ms(self, failures: int) -> int:
        """Returns the rest after the `failures`-th failure in a row, 1 or more."""
        doublings = min(failures - 1, 62)
        return min(self.pause_first_ms << doublings, self.pause_last_ms)


DEFAULT_BOUNDS: Final = MessageBounds()
