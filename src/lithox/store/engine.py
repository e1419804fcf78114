"""What an engine adds to the shared core: reads of what is durable, and a queue of what to write.

The core (`visible.py`) holds everything that is visible but not yet durable. An engine therefore
answers every read from its durable data alone, and it may already contain parts whose completion
the core has not heard of: the core's own newer values always win over what an engine returns.

An engine writes the parts it was given in the order it was given them, several to one sync, and
reports through `Listener` on the node's thread. After it has reported a failure it forgets every
part queued before `confirm_withdrawal`, then probes until writing works again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from lithox.errors import BadArguments, TransactionError
from lithox.store.contract import AuditRecord, Cell, Item, OnDone, Page, Range, ResultRecord
from lithox.store.dump import DumpSource


class ResultKey(NamedTuple):
    """Under what a result is found again."""

    identity: str
    entity: str
    request_id: str


def key_of_result(record: ResultRecord) -> ResultKey:
    return ResultKey(record.identity, record.entity, record.request_id)


class Part:
    """What one version makes durable, and who waits for it; not changed once queued.

    A plain class, made once per commit: its positional arguments cost half of a dataclass's.
    """

    __slots__ = ("dropped_results", "on_done", "result", "value_bytes", "version", "writes")

    def __init__(
        self,
        version: int,
        writes: Mapping[Cell, bytes | None],
        result: ResultRecord | None,
        value_bytes: int,
        on_done: OnDone | None,
    ) -> None:
        self.version = version
        self.writes = writes
        self.result = result
        self.value_bytes = value_bytes
        self.on_done = on_done
        self.dropped_results: Sequence[ResultKey] = ()

    def result_keys(self) -> Sequence[ResultKey]:
        """Returns the keys of every result it records or drops."""
        if self.result is not None:
            return (*self.dropped_results, key_of_result(self.result))
        return self.dropped_results


class AuditPart(NamedTuple):
    """One audit record with its place in the ring; durable with whatever sync comes next."""

    sequence: int
    record: AuditRecord


class Listener(Protocol):
    """The core, as an engine sees it. Called on the node's thread only."""

    def notify_durable(self, version: int, audit_sequence: int) -> None:
        """Every part up to `version` and audit record up to `audit_sequence` is durable."""
        ...

    def notify_failed(self, error: TransactionError) -> None:
        """The oldest parts that are not durable could not be written; all such are lost."""
        ...

    def notify_resumed(self) -> None:
        """Writing works again after a failure."""
        ...


class Engine(Protocol):
    """Durable reads and the write queue of one database. Called on the node's thread only."""

    def find_item(self, entity: str, key: str) -> Item | None:
        """Returns the durable item, or None. Blocks on a page that is not in memory."""
        ...

    def load_items(self, entity: str, bytes_max: int) -> dict[str, Item] | None:
        """Returns a new dict of all items, or None when they have more than `bytes_max` bytes."""
        ...

    def scan_items(self, area: Range, limit: int, bytes_max: int) -> Page:
        """Returns the first items of `area`, by key, as `take_page` cuts them."""
        ...

    def list_entities(self, prefix: str, after: str, limit: int) -> list[str]:
        """Returns the first `limit` entities that have a key, start with `prefix`, > `after`."""
        ...

    def measure_keys(self, entity: str, start: str) -> tuple[int, int]:
        """Returns (number, bytes of keys and values) of the keys from `start` on."""
        ...

    def find_result(self, key: ResultKey) -> ResultRecord | None:
        """Returns the recorded answer, or None."""
        ...

    def count_results(self, account: str, among: Iterable[ResultKey]) -> tuple[int, set[ResultKey]]:
        """Returns the number of results of `account` and those of `among` which it counted."""
        ...

    def list_result_keys(self, start: ResultKey, limit: int) -> list[ResultKey]:
        """Returns the first `limit` keys of results from `start` on, ascending."""
        ...

    def list_expired_results(self, now_ns: int, limit: int) -> list[ResultRecord]:
        """Returns up to `limit` results with expires_ns <= now_ns, the oldest first."""
        ...

    def read_audit(self, below_sequence: int, limit: int) -> list[AuditRecord]:
        """Returns up to `limit` records with a sequence below the given one, newest first."""
        ...

    def enqueue(self, part: Part | AuditPart) -> None:
        """Queues `part`. Never blocks, never raises."""
        ...

    def confirm_withdrawal(self) -> None:
        """Tells that the core has withdrawn everything queued so far; probing may begin."""
        ...

    def open_dump(self) -> DumpSource:
        """Returns everything that is durable, to be read in another thread. Never blocks."""
        ...

    def statistics(self) -> dict[str, Any]:
        """Returns the engine's own counters."""
        ...

    def close(self) -> None:
        """Writes what is queued, reports it to the listener, releases everything. Blocks."""
        ...


def check_text(text: str) -> None:
    """Raises BadArguments if `text` has a lone surrogate, which no engine can store."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadArguments("a name is valid Unicode; found a lone surrogate") from None


def make_storable(record: AuditRecord) -> AuditRecord:
    """Returns `record` with any lone surrogate written as an escape.

    Audit keeps what a stranger sent, and one text that cannot be stored would stop the writer.
    """
    texts = [record.identity, record.act, record.entity, record.outcome, record.detail]
    if "".join(texts).isascii():
        return record
    identity, act, entity, outcome, detail = (
        text.encode("utf-8", "backslashreplace").decode() for text in texts
    )
    return AuditRecord(
        at_ns=record.at_ns,
        identity=identity,
        act=act,
        entity=entity,
        outcome=outcome,
        detail=detail,
    )


def text_bytes(text: str) -> int:
    """Returns the UTF-8 size of `text`; raises UnicodeEncodeError for a lone surrogate."""
    return len(text) if text.isascii() else len(text.encode())


def take_page(pairs: Iterable[tuple[str, Item]], limit: int, bytes_max: int) -> Page:
    """Returns the first of `pairs`: `limit`, or up to the one that passes `bytes_max`.

    At least two, if there are: then whoever wants at least one, and wants to know whether there
    are more, need not ask again. `more` may be True though the last was taken.
    """
    items: list[tuple[str, Item]] = []
    size = 0
    for key, item in pairs:
        items.append((key, item))
        size += text_bytes(key) + len(item.value)
        if len(items) >= limit or (size > bytes_max and len(items) > 1):
            return Page(items, more=True)
    return Page(items, more=False)


def prefix_end(prefix: str) -> str | None:
    """Returns the smallest text greater than all that start with `prefix`; None: there is none."""
    for index in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[index]) + 1
        if 0xD800 <= point <= 0xDFFF:
            point = 0xE000  # Surrogates are no characters: the next one follows them.
        if point <= 0x10FFFF:
            return prefix[:index] + chr(point)
    return None
