"""How the kernel shares the node: every number it decides by, in one frozen record.

Invariants: all numbers are integers, so that two kernels fed the same facts decide the same; quanta
grow with the level; every bound is at least 1. A `Policy` that breaks one cannot be made.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from lithox.errors import ConfigError

PRIORITIES: Final = 10
"""Priorities are 0 (lowest) to 9 (highest)."""
_OWN_RULES: Final = frozenset({"quanta_fuel", "children_reserve"})
"""Fields whose bound is not "at least 1"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What an operator may set about scheduling and admission.

    Attributes:
        quanta_fuel: charged fuel a process may use on each level before it moves one down; level 0
            is the FAST lane, the others are the LONG lane. The last level repeats.
        slice_fuel_min: a slice is never shorter than this, however little of the level is left.
        fuel_per_us: charge of a microsecond of processor time. Source: 100,000 fuel of Lua in
            22 us, proofs of the sandbox: 4,500; rounded down.
        processes_max: live processes of the node; more are refused.
        processes_per_account_max: live processes of one account.
        children_reserve: how many processes above both bounds children of live parents may take.
        starvation_ns: a ready process that has waited this long goes before everything else of
            its account, but for every second turn if a higher priority waits too, and is lifted to
            its lane's top level.
        accounts_idle_max: how many accounts without work a lane remembers what they have used.
        contexts_max: context numbers of one process, those that say `context.closed` included.
        contexts_per_account_max: the same, of all processes of one account.
        bindings_max: names one process has bound, in all its contexts.
        calls_out_max: calls of one process whose answer it has not taken yet.
        calls_in_max: calls one process has not answered yet.
        calls_in_per_account_max: the same, those of one account that is not the process's own: a
            quarter of all, so that it takes four to keep the others out. Such an account's calls
            also fill at most half of `mailbox_bytes_max`.
        chain_max: processes that wait for each other's answers in one chain.
        listens_max: queues one process listens to.
        queue_limit_default: messages of one queue kept for one listener that says no limit.
        queue_limit_max: the largest limit a listener may say.
        mailbox_bytes_max: calls and messages kept for one process, and what is set aside for
            its open, close and exit events; `events.EVENT_BYTES` for each besides its payload.
        mailbox_bytes_per_account_max: the same and answers, of all processes of one account.
        message_bytes_max: payload of one call, answer or message.
        name_bytes_max: UTF-8 bytes of a bound name or a queue's name.
        call_timeout_ns: when a call that says no deadline is answered by the kernel; also the
            longest a call stays with its owner after its caller has ended.
        call_timeout_max_ns: the longest a call between processes may say.
    """

    quanta_fuel: tuple[int, ...] = (4_000_000, 8_000_000, 16_000_000, 32_000_000)
    slice_fuel_min: int = 50_000
    fuel_per_us: int = 4_000
    processes_max: int = 12_000
    processes_per_account_max: int = 10_000
    children_reserve: int = 1_000
    starvation_ns: int = 100_000_000
    accounts_idle_max: int = 1_024
    contexts_max: int = 1_024
    contexts_per_account_max: int = 100_000
    bindings_max: int = 1_024
    calls_out_max: int = 256
    calls_in_max: int = 256
    calls_in_per_account_max: int = 64
    chain_max: int = 256
    listens_max: int = 256
    queue_limit_default: int = 64
    queue_limit_max: int = 1_024
    mailbox_bytes_max: int = 4 << 20
    mailbox_bytes_per_account_max: int = 64 << 20
    message_bytes_max: int = 1 << 20
    name_bytes_max: int = 255
    call_timeout_ns: int = 30_000_000_000
    call_timeout_max_ns: int = 3_600_000_000_000

    def __post_init__(self) -> None:
        """Checks the record; raises ConfigError that names the field."""
        if len(self.quanta_fuel) < 2 or sorted(self.quanta_fuel) != list(self.quanta_fuel):
            raise ConfigError(
                f"quanta_fuel is two or more numbers that do not shrink; found {self.quanta_fuel}"
            )
        for field in fields(self):
            name, found = field.name, getattr(self, field.name)
            if name not in _OWN_RULES and found < 1:
                raise ConfigError(f"{name} is at least 1; found {found}")
        if self.queue_limit_default > self.queue_limit_max:
            raise ConfigError(
                f"queue_limit_default is at most queue_limit_max ({self.queue_limit_max}); "
                f"found {self.queue_limit_default}"
            )
        if self.quanta_fuel[0] < 1 or self.children_reserve < 0:
            raise ConfigError(
                "quanta_fuel begins at 1 or more and children_reserve at 0 or more; "
                f"found {self.quanta_fuel[0]} and {self.children_reserve}"
            )


DEFAULT_POLICY: Final = Policy()
