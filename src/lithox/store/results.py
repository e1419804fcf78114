"""Which requests were answered already, visible answers included, and how many an account has.

Pending records (not yet durable) win over the engine's. The count of an account is read from the
engine once, corrected by what is pending, then kept up to date here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from lithox.store.absence import AbsenceFilter
from lithox.store.contract import ResultRecord
from lithox.store.engine import Engine, ResultKey, check_text, key_of_result

RESULTS_KNOWN_MAX: Final = 16_384
"""Answers of the engine (absent ones included) remembered, so that a submit need not ask again."""
FILL_PAGE_MAX: Final = 128
"""Keys of results taken over by one question while the filter fills: about 0.1 ms."""
ACCOUNTS_COUNTED_MAX: Final = 16_384


class VisibleResults:
    """Recorded answers as the newest visible version has them."""

    __slots__ = ("_counts", "_engine", "_is_shared", "_known", "_pending", "absent")

    def __init__(self, engine: Engine, *, is_shared: bool = False) -> None:
        """Begins with what `engine` has; `is_shared`: other nodes record results there too."""
        self._engine = engine
        self._is_shared = is_shared
        self._pending: dict[ResultKey, tuple[int, ResultRecord | None]] = {}
        self._known: OrderedDict[ResultKey, ResultRecord | None] = OrderedDict()
        self._counts: dict[str, int] = {}
        self.absent = AbsenceFilter(
            engine.list_result_keys,
            first=ResultKey("", "", ""),
            page_max=FILL_PAGE_MAX,
            is_exact=not is_shared,
        )

    def find(self, key: ResultKey) -> ResultRecord | None:
        pending = self._pending.get(key)
        if pending is not None:
            return pending[1]
        if key in self._known:
            known = self._known[key]
            # An answer does not change while it is kept; another node may have given one since.
            if known is not None or not self._is_shared:
                return known
        if self.absent.is_absent(key):
            return None
        record = self._engine.find_result(key)
        self._remember(key, record)
        return record

    def _peek(self, key: ResultKey) -> ResultRecord | None:
        """Returns what is known of `key`, however old: the database checks it at the commit."""
        if key in self._pending or self._known.get(key) is not None or key not in self._known:
            return self.find(key)
        return None

    def count(self, account: str) -> int:
        count = self._counts.get(account)
        if count is None:
            count, durable_keys = self._engine.count_results(account, list(self._pending))
            count -= len(durable_keys)
            for _, record in self._pending.values():
                count += record is not None and record.account == account
            if len(self._counts) >= ACCOUNTS_COUNTED_MAX:
                self._counts.clear()
            self._counts[account] = count
        return count

    def prepare(self, record: ResultRecord) -> ResultRecord | None:
        """Does all of `put` that can fail: returns what `record` replaces, checks its texts.

        Raises:
            BadArguments: a text cannot be stored.
            StoreUnavailable, StoreCorrupt: the older record cannot be read.
        """
        for text in (record.identity, record.entity, record.request_id, record.account):
            check_text(text)
        return self._peek(key_of_result(record))

    @staticmethod
    def is_taken(replaced: ResultRecord | None, now_ns: int | None) -> bool:
        """Returns whether what a commit of `now_ns` would replace is an answer that counts."""
        return replaced is not None and now_ns is not None and replaced.expires_ns > now_ns

    def put(self, version: int, record: ResultRecord) -> None:
        """Makes `record`, just prepared, visible in place of an older one under the same id."""
        key = key_of_result(record)
        self._uncount(self._peek(key))
        if record.account in self._counts:
            self._counts[record.account] += 1
        self.absent.add(key)
        self._pending[key] = (version, record)
        self._known.pop(key, None)

    def list_expired(self, now_ns: int, limit: int) -> list[ResultRecord]:
        """Returns up to `limit` visible results with expires_ns <= now_ns."""
        expired = [
            record
            for _, record in self._pending.values()
            if record is not None and record.expires_ns <= now_ns
        ][:limit]
        # What is pending hides as many of the engine's rows at most.
        for record in self._engine.list_expired_results(now_ns, limit + len(self._pending)):
            if len(expired) >= limit:
                break
            if key_of_result(record) not in self._pending:
                expired.append(record)
        return expired

    def drop(self, version: int, record: ResultRecord) -> None:
        key = key_of_result(record)
        self._uncount(record)
        self._pending[key] = (version, None)
        self._known.pop(key, None)

    def settle(self, version: int, key: ResultKey) -> None:
        """Notes that `version`, which put or dropped `key`, is durable."""
        pending = self._pending.get(key)
        if pending is not None and pending[0] == version:
            del self._pending[key]
            self._remember(key, pending[1])

    def withdraw(self) -> None:
        """Forgets everything that is not durable."""
        self._pending.clear()
        self._counts.clear()

    def take_back(self, keys: Iterable[ResultKey]) -> None:
        """Forgets what is not durable of `keys`, all of it."""
        for key in keys:
            if self._pending.pop(key, None) is not None:
                self._counts.clear()

    def forget(self, keys: Iterable[ResultKey]) -> None:
        """Forgets what is cached of `keys`, which another node has written."""
        for key in keys:
            self._known.pop(key, None)

    def forget_counts(self) -> None:
        """Has every account counted anew when it is asked for next."""
        self._counts.clear()

    def _uncount(self, record: ResultRecord | None) -> None:
        if record is not None and record.account in self._counts:
            self._counts[record.account] -= 1

    def _remember(self, key: ResultKey, record: ResultRecord | None) -> None:
        known = self._known
        if len(known) >= RESULTS_KNOWN_MAX:
            known.popitem(last=False)
        known[key] = record
