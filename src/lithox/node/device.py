"""A rewritable block device: a fixed number of bytes, any of which can be read and written.

It is kept as blocks of 4 KiB in an entity of the node; a block of zeros is not kept at all, so a
new device is empty on the disk. A write of any place and length is one commit: whole or not at
all, whatever happens. Reads see the newest visible version.
"""

from __future__ import annotations

from typing import Any, Final

from lithox.dispatch.records import DEVICES_ENTITY
from lithox.errors import BadArguments, StoreCorrupt
from lithox.modules.code import check_code_name
from lithox.node.drafts import Draft, submit_change
from lithox.store.contract import OnDone, Range, Store

BLOCK_BYTES: Final = 4 << 10
SIZE_BYTES_DEFAULT: Final = 1 << 20
SIZE_BYTES_MAX: Final = 16 << 20
"""A device may be read and written as a whole, and one commit is made in memory."""
_ZEROS: Final = bytes(BLOCK_BYTES)


class Device:
    """One device.

    Args:
        store: where it is kept.
        name: which; devices of other names share nothing with it.
        size_bytes: 1 to 16 MiB. A device that is opened smaller hides what lies behind its end.
    """

    def __init__(
        self, store: Store, name: str = "init", size_bytes: int = SIZE_BYTES_DEFAULT
    ) -> None:
        if type(size_bytes) is not int or not 1 <= size_bytes <= SIZE_BYTES_MAX:
            raise BadArguments(f"a device has 1 to {SIZE_BYTES_MAX} bytes; found {size_bytes!r}")
        self._store = store
        self._name = check_code_name(name, "device")
        self._size_bytes = size_bytes

    def size(self) -> int:
        """Returns the number of bytes, the same for ever."""
        return self._size_bytes

    def read(self, offset: int, count: int) -> bytes:
        """Returns `count` bytes from `offset` on; what was never written is zeros.

        Raises:
            BadArguments: not numbers, or not all inside the device.

        Blocks: no.
        """
        self._check_span(offset, count)
        if not count:
            return b""
        first, last = offset // BLOCK_BYTES, (offset + count - 1) // BLOCK_BYTES
        area = Range(DEVICES_ENTITY, self._key(first), self._key(last + 1))
        snapshot = self._store.open_snapshot()
        try:
            page = snapshot.scan(area, last - first + 1)
        finally:
            snapshot.release()
        kept = {key: item.value for key, item in page.items}
        whole = b"".join(
            _check_block(kept.get(self._key(number), _ZEROS)) for number in range(first, last + 1)
        )
        start = offset - first * BLOCK_BYTES
        return whole[start : start + count]

    def write(self, offset: int, data: bytes, *, on_done: OnDone) -> None:
        """Replaces the bytes from `offset` on by `data`, all of them or none.

        Args:
            data: bytes, or text as UTF-8; none is a write as well.
            on_done: told None when durable, else why the write was withdrawn; not called when
                this raises.

        Raises:
            BadArguments: not bytes, or not all inside the device.
            StoreUnavailable: writes are stopped.

        Blocks: no.
        """
        content = _check_bytes(data)
        self._check_span(offset, len(content))

        def plan(draft: Draft) -> None:
            done = 0
            while done < len(content):
                number, start = divmod(offset + done, BLOCK_BYTES)
                part = content[done : done + BLOCK_BYTES - start]
                self._put_part(draft, number, start, part)
                done += len(part)

        submit_change(self._store, plan, lambda _, error: on_done(error))

    def _put_part(self, draft: Draft, number: int, start: int, part: bytes) -> None:
        key = self._key(number)
        block = part
        if len(part) < BLOCK_BYTES:
            old = _check_block(draft.find(DEVICES_ENTITY, key) or _ZEROS)
            block = old[:start] + part + old[start + len(part) :]
        draft.put(DEVICES_ENTITY, key, None if block == _ZEROS else block)

    def _key(self, number: int) -> str:
        return f"{self._name}/{number:08d}"

    def _check_span(self, offset: Any, count: Any) -> None:
        if type(offset) is not int or type(count) is not int:
            raise BadArguments(
                f"offset and count are whole numbers; found {offset!r:.40} and {count!r:.40}"
            )
        if offset < 0 or count < 0 or offset + count > self._size_bytes:
            raise BadArguments(
                f"the device has {self._size_bytes} bytes; asked for {count} from {offset}"
            )


def _check_bytes(data: Any) -> bytes:
    try:
        found = data.encode() if isinstance(data, str) else data
    except UnicodeEncodeError:
        found = None
    if not isinstance(found, bytes):
        raise BadArguments(f"a device takes bytes or text; found {type(data).__name__}")
    return found


def _check_block(block: bytes) -> bytes:
    if len(block) != BLOCK_BYTES:
        raise StoreCorrupt(
            f"a block of a device has {len(block)} bytes instead of {BLOCK_BYTES}; "
            "restore the data from a backup"
        )
    return block
