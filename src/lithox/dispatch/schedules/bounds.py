"""How many timers may be armed, how often one may repeat, how many are handed over at once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from lithox.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerBounds:
    """Bounds of a node's timers; the table `[timers]` of its configuration.

    Attributes:
        entity_max: timers one entity may have armed.
        account_max: timers that may be armed on one account.
        node_max: timers that may be armed on the node.
        interval_min_ms: the shortest interval of `every`.
        missed_max: calls that one timer makes up for at once (`missed = "all"`); older times
            are dropped.
        late_ms: how late a time may be and still count as kept (`missed = "none"`).
        batch_max: timers that become messages in one commit.
        held_max: rows of the index kept in memory; the rest is read when its time comes nearer.
    """

    entity_max: int = 10_000
    account_max: int = 100_000
    node_max: int = 1_000_000
    interval_min_ms: int = 100
    missed_max: int = 1_000
    late_ms: int = 10_000
    batch_max: int = 64
    held_max: int = 65_536

    def __post_init__(self) -> None:
        """Checks the record; raises ConfigError that names the field."""
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise ConfigError(f"{field.name} is a whole number above 0")


DEFAULT_TIMER_BOUNDS: Final = TimerBounds()
