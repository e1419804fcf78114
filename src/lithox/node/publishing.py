"""What a deploy writes beside templates: code into the stores, definitions of services.

Plans over a draft, so that all of it is one commit with the templates. What is already there as
the manifest says is not written again: deploying twice makes no second version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lithox.dispatch.records import REGISTRY_ENTITY, VersionRecord
from lithox.dispatch.transaction import range_of_prefix
from lithox.errors import BadArguments, ConfigError, Overloaded
from lithox.model.values import decode_value
from lithox.modules.boot import find_boot
from lithox.modules.code import PROGRAM, digest_of_text
from lithox.modules.manifest import MANIFEST_NAME, CodeSpec, Manifest
from lithox.modules.services import find_cycle, find_unknown
from lithox.node.code_plans import find_name, put_version
from lithox.node.code_stores import check_settable
from lithox.node.drafts import Draft
from lithox.node.registry import KEYS_MAX, SERVICE_PREFIX, put_value

NOTE: Final = "deploy"


def plan_code(
    draft: Draft,
    manifest: Manifest,
    files: Mapping[str, bytes],
    *,
    deployer: str,
    now_ms: int,
) -> dict[str, dict[str, int]]:
    """Adds a version for each program, library and runtime that is not there as it is.

    Returns:
        {kind: {name: the number of its newest version}}, of the manifest's names.

    Raises:
        ConfigError: a runtime that is built in.
        Overloaded: a store of code would have more than it may.
    """
    versions: dict[str, dict[str, int]] = {}
    for spec in manifest.code:
        try:
            check_settable(spec.kind, spec.name)
        except BadArguments as error:
            raise ConfigError(f"{MANIFEST_NAME}: {error.message}", file=MANIFEST_NAME) from None
        text = files[spec.source]
        number = _find_same(draft, spec, text)
        if number is None:
            version = VersionRecord(
                by=deployer, at_ms=now_ms, note=NOTE, runtime=spec.runtime or ""
            )
            number = put_version(draft, spec.kind, spec.name, version, text)
        versions.setdefault(spec.kind, {})[spec.name] = number
    return versions


def _find_same(draft: Draft, spec: CodeSpec, text: bytes) -> int | None:
    """Returns the newest version if it is what `spec` says, else None."""
    record, _ = find_name(draft, spec.kind, spec.name)
    if record is None or record.newest.runtime != (spec.runtime or ""):
        return None
    # The version that removes a name has no digest, so it is never the same.
    return record.version if record.newest.digest == digest_of_text(text) else None


def plan_services(draft: Draft, manifest: Manifest) -> list[str]:
    """Puts each service of the manifest into the registry, where it differs.

    Returns:
        The registry keys that change.

    Raises:
        ConfigError: a service requires one that is neither here nor there, runs a program nobody
            has, or waits for itself through others.
        Overloaded: the registry would have more than it may.
    """
    if not manifest.services:
        return []
    known = _read_definitions(draft)
    fresh = {spec.name: spec.to_plain() for spec in manifest.services}
    merged = {**known, **fresh}
    unknown = find_unknown(manifest.services, merged)
    if unknown is not None:
        raise ConfigError(
            f"{MANIFEST_NAME}: service {unknown[0]!r} requires {unknown[1]!r}, which is no service",
            file=MANIFEST_NAME,
        )
    waits = {
        name: [*_names(said, "requires"), *_names(said, "after")] for name, said in merged.items()
    }
    ring = find_cycle(waits, fresh)
    if ring is not None:
        raise ConfigError(
            f"{MANIFEST_NAME}: services wait for each other: {' -> '.join(ring)}",
            file=MANIFEST_NAME,
        )
    for spec in manifest.services:
        record, is_live = find_name(draft, PROGRAM, spec.program)
        if not (record is not None and is_live) and find_boot(PROGRAM, spec.program) is None:
            raise ConfigError(
                f"{MANIFEST_NAME}: service {spec.name!r} runs program {spec.program!r}, "
                "which nobody has set and this manifest does not have",
                file=MANIFEST_NAME,
            )
    changed = [name for name, said in fresh.items() if known.get(name) != said]
    try:
        for name in changed:
            put_value(draft, SERVICE_PREFIX + name, fresh[name])
    except Overloaded as error:
        raise Overloaded(f"{MANIFEST_NAME}: {error.message}") from None
    return [SERVICE_PREFIX + name for name in changed]


def _read_definitions(draft: Draft) -> dict[str, Any]:
    """Returns every service in the registry; one that is no table waits for nothing."""
    found: dict[str, Any] = {}
    for key, data in draft.scan(range_of_prefix(REGISTRY_ENTITY, SERVICE_PREFIX), KEYS_MAX):
        try:
            found[key.removeprefix(SERVICE_PREFIX)] = decode_value(data)
        except BadArguments:
            found[key.removeprefix(SERVICE_PREFIX)] = None
    return found


def _names(said: Any, key: str) -> list[str]:
    """Returns the names a definition lists under `key`; whoever put it there may not be us."""
    names: Any = said.get(key) if isinstance(said, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(names, list):
        return []
    return [one for one in names if isinstance(one, str)]  # pyright: ignore[reportUnknownVariableType]
