"""The stores of programs, libraries and runtimes: flat names to texts, every version numbered.

Reads see the newest visible version and never wait. A change is one commit: it is visible when the
call returns its number, and `on_done` tells when it is durable. Every change, a refused one too,
leaves an audit record. Who may do what is not decided here: whoever holds this object may set, and
native contexts are what hands it on (docs/decisions/0007-stores.md).

Invariants: versions of a name count 1, 2, 3 ... and are never reused, not even by a removal, which
is a version of its own; what a version named never changes while it is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from lithox.dispatch.records import (
    CODE_ENTITIES,
    CodeRecord,
    VersionRecord,
    decode_code,
)
from lithox.dispatch.transaction import range_of_prefix
from lithox.errors import BadArguments, LithoxError, NotFound, TransactionError
from lithox.modules.boot import find_boot, list_boot
from lithox.modules.code import (
    PROGRAM,
    RUNTIME,
    check_code_name,
    check_code_text,
    check_kind,
    check_note,
    check_version,
    digest_of_text,
)
from lithox.node.code_plans import (
    LIVE_PREFIX,
    VERSIONS_MAX,
    find_name,
    find_version,
    forget_versions,
    put_version,
    read_history,
    read_text,
)
from lithox.node.drafts import Draft, submit_change
from lithox.runtimes.registry import builtin_names
from lithox.store.contract import OnDone, Range, Store

LIST_ITEMS_MAX: Final = 1_000
BOOT_VERSION: Final = 0
BOOT_IDENTITY: Final = "package"
"""Who a text of the package says it is by."""

Info = dict[str, Any]
"""{"version", "digest", "by", "at_ms", "note", "size", "runtime", "removed"}."""
Rows = list[Info]


class RecordAct(Protocol):
    """Leaves one audit record; never blocks (`Dispatcher.record_act`)."""

    def __call__(
        self, *, identity: str, act: str, entity: str, outcome: str, detail: str = ""
    ) -> None: ...


class CodeStores:
    """The three stores of one node.

    Args:
        store: where they are kept.
        wall_ms: milliseconds since 1970, for the time of a version.
        record_act: takes an audit record of each change.
    """

    def __init__(self, store: Store, wall_ms: Callable[[], int], record_act: RecordAct) -> None:
        self._store = store
        self._wall_ms = wall_ms
        self._record_act = record_act

    # -- reading ----------------------------------------------------------------------------

    def get(self, kind: str, name: str, version: int | None = None) -> tuple[bytes, Info]:
        """Returns (text, info) of a version, the newest for None. Blocks: no.

        What the store does not have comes from the package's boot copy, as version 0.

        Raises:
            BadArguments: no such kind, or what is no name or version.
            NotFound: no such name; it was removed; or that version is not kept.
        """
        check_kind(kind)
        check_code_name(name, kind)
        snapshot = self._store.open_snapshot()
        try:
            draft = Draft(snapshot)
            if version is None:
                record, is_live = find_name(draft, kind, name)
                if record is None or not is_live:
                    return _get_boot(kind, name, _explain_absence(kind, name, record))
                number, found = record.version, record.newest
            else:
                number = check_version(version)
                if number == BOOT_VERSION:
                    return _get_boot(kind, name, f"the package has no {kind} {name!r}")
                found = _get_version(draft, kind, name, number)
            return read_text(draft, found.digest), _info_of(number, found)
        finally:
            snapshot.release()

    def list(
        self, kind: str, prefix: str = "", after: str = "", limit: int = 100
    ) -> tuple[Rows, bool]:
        """Returns ([{"name", **info}], whether others follow the last), by name. Blocks: no.

        Removed names are left out; names of the boot copy that the store does not have are in.

        Args:
            prefix, after: only names that begin with `prefix` and are greater than `after`.
            limit: 1 to 1,000.
        """
        check_kind(kind)
        if not isinstance(prefix, str) or not isinstance(after, str):
            raise BadArguments("prefix and after are texts")
        if type(limit) is not int or not 1 <= limit <= LIST_ITEMS_MAX:
            raise BadArguments(f"limit is 1 to {LIST_ITEMS_MAX}; found {limit!r:.80}")
        start = LIVE_PREFIX + after + "\x00" if after else ""
        snapshot = self._store.open_snapshot()
        try:
            area = range_of_prefix(CODE_ENTITIES[kind], LIVE_PREFIX + prefix)
            page = snapshot.scan(Range(area.entity, max(area.start, start), area.end), limit)
        finally:
            snapshot.release()
        rows: dict[str, Info] = {}
        for key, item in page.items:
            record = decode_code(item.value)
            name = key.removeprefix(LIVE_PREFIX)
            rows[name] = {"name": name, **_info_of(record.version, record.newest)}
        # A page that was cut is full: what the package has behind its end is cut off again, before
        # anybody could ask whether the store has that name, too.
        for name in list_boot(kind):
            if name.startswith(prefix) and name > after and name not in rows:
                rows[name] = {"name": name, **_get_boot(kind, name, "")[1]}
        ordered = [rows[name] for name in sorted(rows)]
        return ordered[:limit], page.more or len(ordered) > limit

    def history(
        self, kind: str, name: str, before: int | None = None, limit: int = VERSIONS_MAX
    ) -> Rows:
        """Returns the info of every kept version, newest first, removals included. Blocks: no.

        The boot copy comes last, as version 0.

        Args:
            before: only versions below this one.
            limit: 1 to 1,000.

        Raises:
            NotFound: nobody ever set it and the package does not have it.
        """
        check_kind(kind)
        check_code_name(name, kind)
        if type(limit) is not int or not 1 <= limit <= VERSIONS_MAX:
            raise BadArguments(f"limit is 1 to {VERSIONS_MAX}; found {limit!r:.80}")
        snapshot = self._store.open_snapshot()
        try:
            draft = Draft(snapshot)
            record, _ = find_name(draft, kind, name)
            rows: Rows = []
            if record is not None:
                stop = record.version + 1
                if before is not None:
                    stop = min(stop, check_version(before))
                numbers = range(max(record.first, stop - limit), stop)
                found = read_history(draft, kind, name, numbers)
                rows = [_info_of(number, version) for number, version in reversed(found)]
        finally:
            snapshot.release()
        boot = find_boot(kind, name)
        if boot is not None and len(rows) < limit and (before is None or before > BOOT_VERSION):
            rows.append(_info_of_boot(boot))
        if not rows and record is None:
            raise NotFound(f"no {kind} {name!r}")
        return rows

    # -- writing ----------------------------------------------------------------------------

    def set(  # noqa: PLR0913 - one change, described whole
        self,
        kind: str,
        name: str,
        text: bytes | str,
        *,
        by: str,
        note: str | None = None,
        on_done: OnDone,
        runtime: str | None = None,
    ) -> int:
        """Makes `text` the newest version of `name`; returns its number.

        Whether the text compiles is not asked: only the runtime that will run it could tell.

        Args:
            by: identity that is on record for it.
            runtime: which one a program asks for; None: as the version before; "": none.
            on_done: told None when durable, else why the version was withdrawn. Called once, after
                this has returned, and not at all when this raises.

        Raises:
            BadArguments, TooLarge: not a kind, name, text, note or runtime.
            Overloaded: a bound on names or bytes is reached.
            StoreUnavailable: writes are stopped.

        Blocks: no.
        """

        def plan(draft: Draft) -> int:
            check_settable(kind, name)
            data = check_code_text(text)
            record, _ = find_name(draft, kind, name)
            kept = record.newest.runtime if record is not None else ""
            version = self._version(by, note, check_runtime(kind, runtime, kept))
            return put_version(draft, kind, name, version, data)

        return self._change(f"{kind}.set", (kind, name, by), plan, on_done)

    def rollback(  # noqa: PLR0913 - see `set`
        self,
        kind: str,
        name: str,
        version: int,
        *,
        by: str,
        note: str | None = None,
        on_done: OnDone,
    ) -> int:
        """Makes the text of an old version the newest again; returns the new version's number.

        Args:
            version: which; 0 is the boot copy.
            note: "rollback to VERSION" for None.
            on_done: see `set`.

        Raises:
            NotFound: that version is not kept, or removed the name.
            BadArguments, Overloaded, StoreUnavailable: see `set`.
        """

        def plan(draft: Draft) -> int:
            number = check_version(version)
            said = f"rollback to {number}" if note is None else note
            if number == BOOT_VERSION:
                text, _ = _get_boot(kind, name, f"the package has no {kind} {name!r}")
                return put_version(draft, kind, name, self._version(by, said, ""), text)
            old = _get_version(draft, kind, name, number)
            text = read_text(draft, old.digest)
            fresh = self._version(by, said, old.runtime)
            return put_version(draft, kind, name, fresh, text)

        return self._change(f"{kind}.rollback", (kind, name, by), plan, on_done)

    def remove(  # noqa: PLR0913 - see `set`
        self,
        kind: str,
        name: str,
        *,
        by: str,
        note: str | None = None,
        on_done: OnDone,
        forgets_history: bool = False,
    ) -> int:
        """Removes `name`; returns the number of the version that says so.

        The history stays and can be rolled back to, unless `forgets_history`; a later `set` goes on
        counting either way. A name of the boot copy is then found there again.

        Raises:
            NotFound: no such name (with `forgets_history`: nobody ever set it).
            BadArguments, StoreUnavailable: see `set`.
        """

        def plan(draft: Draft) -> int:
            record, is_live = find_name(draft, kind, name)
            if record is None or not (is_live or forgets_history):
                raise NotFound(_explain_absence(kind, name, record))
            number = record.version
            if is_live:
                number = put_version(draft, kind, name, self._version(by, note, ""), None)
            if forgets_history:
                forget_versions(draft, kind, name)
            return number

        return self._change(f"{kind}.remove", (kind, name, by), plan, on_done)

    def _version(self, by: str, note: str | None, runtime: str) -> VersionRecord:
        return VersionRecord(by=by, at_ms=self._wall_ms(), note=check_note(note), runtime=runtime)

    def _change(
        self,
        act: str,
        asked: tuple[str, str, str],
        plan: Callable[[Draft], int],
        on_done: OnDone,
    ) -> int:
        """Plans and commits one change, again when another was faster; records how it ended."""
        kind, name, by = asked

        def record(error: Exception | None, detail: str) -> None:
            self._record_act(
                identity=by,
                act=f"{act}:{name}",
                entity="",
                outcome="ok" if error is None else getattr(error, "code", "internal"),
                detail=detail if error is None else str(error),
            )

        def follow_up(version: int, error: TransactionError | None) -> None:
            record(error, f"version {version}")
            on_done(error)

        try:
            check_kind(kind)
            check_code_name(name, kind)
            return submit_change(self._store, plan, follow_up)
        except LithoxError as error:
            record(error, "")
            raise


def check_settable(kind: str, name: str) -> None:
    """Raises BadArguments for a runtime that is built in, whose name the store could not serve."""
    if kind == RUNTIME and name in builtin_names():
        raise BadArguments(f"runtime {name!r} is built in; set yours under another name")


def check_runtime(kind: str, runtime: Any, kept: str) -> str:
    """Returns the runtime to store: what is said, `kept` for None; raises BadArguments."""
    if runtime is None:
        return kept
    if runtime == "":
        return ""
    if kind != PROGRAM:
        raise BadArguments(f"only a program names a runtime; found one for a {kind}")
    return check_code_name(runtime, "runtime")


def _info_of(number: int, version: VersionRecord) -> Info:
    return {
        "version": number,
        "digest": version.digest,
        "by": version.by,
        "at_ms": version.at_ms,
        "note": version.note,
        "size": version.size,
        "runtime": version.runtime or None,
        "removed": not version.digest,
    }


def _info_of_boot(text: bytes) -> Info:
    of_package = VersionRecord(digest=digest_of_text(text), size=len(text), by=BOOT_IDENTITY)
    return _info_of(BOOT_VERSION, of_package)


def _get_boot(kind: str, name: str, absence: str) -> tuple[bytes, Info]:
    text = find_boot(kind, name)
    if text is None:
        raise NotFound(absence)
    return text, _info_of_boot(text)


def _get_version(draft: Draft, kind: str, name: str, number: int) -> VersionRecord:
    """Returns a version that has a text; raises NotFound."""
    found = find_version(draft, kind, name, number)
    if found is None:
        record, _ = find_name(draft, kind, name)
        if record is None:
            raise NotFound(f"no {kind} {name!r}")
        raise NotFound(
            f"no version {number} of {kind} {name!r}: {record.first} to {record.version} are kept"
        )
    if not found.digest:
        raise NotFound(f"version {number} of {kind} {name!r} removed it and has no text")
    return found


def _explain_absence(kind: str, name: str, record: CodeRecord | None) -> str:
    if record is None:
        return f"no {kind} {name!r}"
    return (
        f"no {kind} {name!r}: version {record.version} removed it; "
        "an earlier one can be rolled back to"
    )
