"""Changes of the stores of code as drafts: no clock, no audit, no commit of its own.

Keys of a store's entity (`CODE_ENTITIES`); NAME has no `/`, so no two of them meet:

    n/NAME            -> CodeRecord of a name that is there
    g/NAME            -> CodeRecord of a name that was removed and goes on counting
    v/NAME/000..012   -> VersionRecord; all from `first` to `version` of the name are there
    m/names           -> how many names there are, removed ones included

Keys of `TEXTS_ENTITY`, shared by the three stores:

    t/DIGEST          -> the text, once however many versions have it
    r/DIGEST          -> how many versions have it; a text goes with the last of them
    m/bytes           -> bytes of all texts together
"""

from __future__ import annotations

from typing import Final

import msgspec

from lithox.dispatch.records import (
    CODE_ENTITIES,
    TEXTS_ENTITY,
    CodeRecord,
    VersionRecord,
    decode_code,
    decode_version,
    encode_record,
)
from lithox.errors import NotFound, Overloaded, StoreCorrupt
from lithox.modules.code import digest_of_text
from lithox.node.drafts import Draft
from lithox.store.contract import Range

VERSIONS_MAX: Final = 1_000
"""Versions kept of one name; then the oldest go."""
NAMES_MAX: Final = 10_000
"""Names in one store, removed ones included, since those keep their number."""
CODE_BYTES_MAX: Final = 1 << 30
"""Bytes of all texts of the three stores together, each text counted once."""
LIVE_PREFIX: Final = "n/"
GONE_PREFIX: Final = "g/"
_NAMES_KEY: Final = "m/names"
_BYTES_KEY: Final = "m/bytes"


def version_key(name: str, version: int) -> str:
    """Returns the key of one version; text order is the order of numbers."""
    return f"v/{name}/{version:016d}"


def text_key(digest: str) -> str:
    """Returns the key of a text."""
    return f"t/{digest}"


def find_name(draft: Draft, kind: str, name: str) -> tuple[CodeRecord | None, bool]:
    """Returns (record or None, whether the name is there now: not removed)."""
    entity = CODE_ENTITIES[kind]
    data = draft.find(entity, LIVE_PREFIX + name)
    if data is not None:
        return decode_code(data), True
    data = draft.find(entity, GONE_PREFIX + name)
    return (None if data is None else decode_code(data)), False


def find_version(draft: Draft, kind: str, name: str, version: int) -> VersionRecord | None:
    """Returns one version, or None when it never was or is no longer kept."""
    data = draft.find(CODE_ENTITIES[kind], version_key(name, version))
    return None if data is None else decode_version(data)


def read_text(draft: Draft, digest: str) -> bytes:
    """Returns the text a version names; raises StoreCorrupt when it is not there."""
    text = draft.find(TEXTS_ENTITY, text_key(digest))
    if text is None:
        raise StoreCorrupt(f"the text {digest} of a stored version is missing; restore a backup")
    return text


def put_version(
    draft: Draft, kind: str, name: str, version: VersionRecord, text: bytes | None
) -> int:
    """Adds a version, the removal of the name when `text` is None; returns its number.

    Args:
        version: as it is to be stored; its digest and size are taken from `text`.

    Raises:
        Overloaded: the store has as many names, or bytes, as it may.
    """
    entity = CODE_ENTITIES[kind]
    record, is_live = find_name(draft, kind, name)
    if record is None:
        names = draft.find_count(entity, _NAMES_KEY)
        if names >= NAMES_MAX:
            raise Overloaded(f"the {kind} store has {names} names; it may have {NAMES_MAX}")
        draft.put_count(entity, _NAMES_KEY, names + 1)
        record = CodeRecord(version=0, first=1, newest=version)
    if text is not None:
        version = msgspec.structs.replace(version, digest=digest_of_text(text), size=len(text))
        _add_text(draft, version.digest, text)
    number = record.version + 1
    draft.put(entity, version_key(name, number), encode_record(version))
    first = _drop_versions(draft, kind, name, range(record.first, number - VERSIONS_MAX + 1))
    written = CodeRecord(version=number, first=first or record.first, newest=version)
    live, gone = (written, None) if text is not None else (None, written)
    if is_live or live is not None:
        draft.put(entity, LIVE_PREFIX + name, live and encode_record(live))
    if gone is not None or (record.version and not is_live):
        draft.put(entity, GONE_PREFIX + name, gone and encode_record(gone))
    return number


def forget_versions(draft: Draft, kind: str, name: str) -> int:
    """Drops every version of `name` but the newest; returns how many.

    Raises:
        NotFound: nobody ever set it.
    """
    record, is_live = find_name(draft, kind, name)
    if record is None:
        raise NotFound(f"no {kind} {name!r}")
    _drop_versions(draft, kind, name, range(record.first, record.version))
    kept = msgspec.structs.replace(record, first=record.version)
    prefix = LIVE_PREFIX if is_live else GONE_PREFIX
    draft.put(CODE_ENTITIES[kind], prefix + name, encode_record(kept))
    return record.version - record.first


def read_history(
    draft: Draft, kind: str, name: str, numbers: range
) -> list[tuple[int, VersionRecord]]:
    """Returns (number, version) of those of `numbers` that are kept, oldest first."""
    if not numbers:
        return []
    start, end = version_key(name, numbers.start), version_key(name, numbers.stop)
    found = draft.scan(Range(CODE_ENTITIES[kind], start, end), len(numbers))
    return [(int(key.rpartition("/")[2]), decode_version(data)) for key, data in found]


def _drop_versions(draft: Draft, kind: str, name: str, numbers: range) -> int | None:
    """Drops these versions; returns the first that is left, None when there was none to drop."""
    for number in numbers:
        version = find_version(draft, kind, name, number)
        draft.put(CODE_ENTITIES[kind], version_key(name, number), None)
        if version is not None and version.digest:
            _release_text(draft, version.digest)
    return numbers.stop if numbers else None


def _add_text(draft: Draft, digest: str, text: bytes) -> None:
    users = draft.find_count(TEXTS_ENTITY, f"r/{digest}")
    draft.put_count(TEXTS_ENTITY, f"r/{digest}", users + 1)
    if users:
        return
    total = draft.find_count(TEXTS_ENTITY, _BYTES_KEY) + len(text)
    if total > CODE_BYTES_MAX:
        raise Overloaded(
            f"the stores of code would have {total} bytes; they may have {CODE_BYTES_MAX}: "
            "remove what is not needed with its history (lithox store rm --history)"
        )
    draft.put_count(TEXTS_ENTITY, _BYTES_KEY, total)
    draft.put(TEXTS_ENTITY, text_key(digest), text)


def _release_text(draft: Draft, digest: str) -> None:
    users = draft.find_count(TEXTS_ENTITY, f"r/{digest}")
    draft.put_count(TEXTS_ENTITY, f"r/{digest}", max(0, users - 1))
    if users > 1:
        return
    size = len(draft.find(TEXTS_ENTITY, text_key(digest)) or b"")
    draft.put(TEXTS_ENTITY, text_key(digest), None)
    draft.put_count(
        TEXTS_ENTITY, _BYTES_KEY, max(0, draft.find_count(TEXTS_ENTITY, _BYTES_KEY) - size)
    )
