"""The registry: very simple durable storage for what manages the system (services, init's notes).

Flat keys to plain values, no versions and no owners: whoever holds a context with its names has
all of it. A put is one commit; it is visible when the call returns and `on_done` tells when it is
durable. After that `on_change` is called with the key, so that init hears of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from lithox.dispatch.records import REGISTRY_ENTITY
from lithox.dispatch.transaction import range_of_prefix
from lithox.errors import BadArguments, NotFound, Overloaded, TooLarge, TransactionError
from lithox.model.ids import SYSTEM_KEY_PREFIX, check_state_key
from lithox.model.values import decode_value, encode_value
from lithox.node.drafts import Draft, submit_change
from lithox.store.contract import OnDone, Range, Store

KEYS_MAX: Final = 10_000
KEY_CHARACTERS_MAX: Final = 128
VALUE_BYTES_MAX: Final = 64 << 10
"""One value, encoded."""
LIST_ITEMS_MAX: Final = 1_000
LIST_BYTES_MAX: Final = 1 << 20
"""Keys and values in one answer; one item is in it however large."""
SERVICE_PREFIX: Final = "service/"
"""Keys under which the definitions of services are kept."""
_COUNT_KEY: Final = SYSTEM_KEY_PREFIX + "count"


def _ignore(key: str) -> None:
    del key


class Registry:
    """The registry of one node.

    Attributes:
        on_change: called with the key of each change once it is durable, on the node's thread.
    """

    def __init__(self, store: Store, on_change: Callable[[str], None] = _ignore) -> None:
        self._store = store
        self.on_change = on_change

    def find(self, key: str) -> Any:
        """Returns the newest visible value under `key`, or None. Blocks: no."""
        check_key(key)
        snapshot = self._store.open_snapshot()
        try:
            item = snapshot.find(REGISTRY_ENTITY, key)
        finally:
            snapshot.release()
        return None if item is None else decode_value(item.value)

    def get(self, key: str) -> Any:
        """Returns the newest visible value under `key`; raises NotFound. Blocks: no."""
        value = self.find(key)
        if value is None:
            raise NotFound(f"the registry has no key {key!r}")
        return value

    def list(
        self, prefix: str = "", after: str = "", limit: int = 100
    ) -> tuple[list[tuple[str, Any]], bool]:
        """Returns ([(key, value)] by key, whether others follow the last). Blocks: no.

        Args:
            prefix, after: only keys that begin with `prefix` and are greater than `after`.
            limit: 1 to 1,000; an answer also ends at `LIST_BYTES_MAX` bytes.
        """
        if not isinstance(prefix, str) or not isinstance(after, str):
            raise BadArguments("prefix and after are texts")
        if type(limit) is not int or not 1 <= limit <= LIST_ITEMS_MAX:
            raise BadArguments(f"limit is 1 to {LIST_ITEMS_MAX}; found {limit!r:.80}")
        area = range_of_prefix(REGISTRY_ENTITY, prefix)
        start = max(area.start, after + "\x00") if after else area.start
        snapshot = self._store.open_snapshot()
        try:
            page = snapshot.scan(Range(area.entity, start, area.end), limit, LIST_BYTES_MAX)
        finally:
            snapshot.release()
        return [(key, decode_value(item.value)) for key, item in page.items], page.more

    def put(self, key: str, value: Any, *, on_done: OnDone) -> None:
        """Writes `value` under `key`.

        Args:
            value: plain data but None: what is not there has no value.
            on_done: told None when durable, else why the write was withdrawn; not called when
                this raises.

        Raises:
            BadArguments, TooLarge: not a key or a value, or one that is too large.
            Overloaded: the registry has as many keys as it may.
            StoreUnavailable: writes are stopped.

        Blocks: no.
        """
        self._change(key, lambda draft: put_value(draft, key, value), on_done)

    def delete(self, key: str, *, on_done: OnDone) -> None:
        """Deletes `key`; raises NotFound when it is not there. Blocks: no."""
        self._change(key, lambda draft: delete_value(draft, key), on_done)

    def _change(self, key: str, plan: Callable[[Draft], None], on_done: OnDone) -> None:
        def follow_up(_: None, error: TransactionError | None) -> None:
            on_done(error)
            if error is None:
                self.on_change(key)

        submit_change(self._store, plan, follow_up)


def check_key(key: Any) -> str:
    """Returns `key`; raises BadArguments unless it is 1-128 characters, the first not NUL."""
    if not isinstance(key, str) or len(key) > KEY_CHARACTERS_MAX:
        raise BadArguments(
            f"a key of the registry is 1-{KEY_CHARACTERS_MAX} characters; found {key!r:.80}"
        )
    return check_state_key(key)


def put_value(draft: Draft, key: str, value: Any) -> None:
    """Plans a put; see `Registry.put` for what it raises."""
    check_key(key)
    if value is None:
        raise BadArguments("the registry keeps no nil; use delete")
    data = encode_value(value)
    if len(data) > VALUE_BYTES_MAX:
        raise TooLarge(
            f"a value of the registry has at most {VALUE_BYTES_MAX} bytes; found {len(data)}",
            allowed=VALUE_BYTES_MAX,
            used=len(data),
        )
    if draft.find(REGISTRY_ENTITY, key) is None:
        keys = draft.find_count(REGISTRY_ENTITY, _COUNT_KEY)
        if keys >= KEYS_MAX:
            raise Overloaded(f"the registry has {keys} keys; it may have {KEYS_MAX}")
        draft.put_count(REGISTRY_ENTITY, _COUNT_KEY, keys + 1)
    draft.put(REGISTRY_ENTITY, key, data)


def delete_value(draft: Draft, key: str) -> None:
    """Plans a deletion; raises NotFound when the key is not there."""
    check_key(key)
    if draft.find(REGISTRY_ENTITY, key) is None:
        raise NotFound(f"the registry has no key {key!r}")
    draft.put_count(
        REGISTRY_ENTITY, _COUNT_KEY, max(0, draft.find_count(REGISTRY_ENTITY, _COUNT_KEY) - 1)
    )
    draft.put(REGISTRY_ENTITY, key, None)
