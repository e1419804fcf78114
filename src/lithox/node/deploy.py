"""What a deploy writes: a bundle, checked and compiled, as one commit.

Templates, the stores' code and services are one commit: everything is checked and templates are
compiled before anything is written, and no caller ever sees half a deploy. The order in which that
is done, and what of it happens beside the node's loop, is `deploying.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from lithox.dispatch.records import (
    MODULES_ENTITY,
    TEMPLATES_ENTITY,
    USER_KEYS_START,
    HandlerOverride,
    TemplateRecord,
    decode_module,
    decode_template,
    encode_record,
)
from lithox.errors import BadArguments, ConfigError, NotFound
from lithox.model.ids import SYSTEM_ENTITY_PREFIX
from lithox.modules.manifest import MANIFEST_NAME, Manifest, TemplateSpec, format_limits
from lithox.modules.ties import find_tie
from lithox.node.drafts import Draft
from lithox.node.module_garbage import plan_retirement
from lithox.node.publishing import plan_code, plan_services
from lithox.sandbox.contract import Source
from lithox.security.access import parse_access
from lithox.store.contract import Cell, Commit, Range, Snapshot

TEMPLATES_PAGE: Final = 100
NODE_TEMPLATES_MAX: Final = 1_000
"""Templates of one node in all: each first run of an entity looks through them."""
GIVEN_SHOWN_MAX: Final = 50
"""Handlers of a module that a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployReport:
    """What a deploy has published.

    Attributes:
        modules: source name -> digest.
        templates: the patterns, in the manifest's order.
        handlers: pattern -> names its module gives, sorted.
        code: kind ("program", "library", "runtime") -> name -> its newest version.
        services: names of services, in the manifest's order.
    """

    modules: dict[str, str]
    templates: list[str]
    handlers: dict[str, list[str]]
    code: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])
    services: list[str] = field(default_factory=list[str])

    def to_json(self) -> dict[str, Any]:
        return {
            "modules": self.modules,
            "templates": self.templates,
            "handlers": self.handlers,
            "code": self.code,
            "services": self.services,
        }

    def describe(self) -> str:
        """Returns what was published in one line, for the audit record."""
        code = [f"{kind} {name}" for kind, names in self.code.items() for name in names]
        return ", ".join([*self.templates, *code, *(f"service {one}" for one in self.services)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A deploy that is ready to be committed.

    Attributes:
        commit: what publishes it; it loses against any other deploy in between.
        report: what the deployer is told.
        templates: every template the node has once exactly this commit is durable.
        registry_keys: what it changes in the registry.
    """

    commit: Commit
    report: DeployReport
    templates: list[TemplateRecord]
    registry_keys: list[str]


def read_templates(snapshot: Snapshot) -> list[TemplateRecord]:
    """Returns every deployed template as of `snapshot`, ordered by pattern."""
    found: list[TemplateRecord] = []
    start = USER_KEYS_START
    while True:
        page = snapshot.scan(Range(TEMPLATES_ENTITY, start, None), TEMPLATES_PAGE)
        found.extend(decode_template(item.value) for _, item in page.items)
        if not page.more or not page.items:
            return found
        start = page.items[-1][0] + "\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A bundle whose modules are known to load.

    Attributes:
        manifest: what it says.
        files: name -> bytes.
        sources: source name and language -> module.
        names: digest -> handlers the module gives, sorted.
        cells: digest -> the cells in which the module is kept, cut beside the loop.
    """

    manifest: Manifest
    files: dict[str, bytes]
    sources: dict[tuple[str, str], Source]
    names: dict[str, tuple[str, ...]]
    cells: dict[str, dict[Cell, bytes]]

    def source_of(self, spec: TemplateSpec) -> Source:
        """Returns the module of a template."""
        return self.sources[spec.source, spec.language]


def plan_deploy(
    compiled: Compiled, *, snapshot: Snapshot, node_entity: str, deployer: str, now_ms: int
) -> Prepared:
    """Returns what publishes a bundle on top of what `snapshot` has.

    Raises:
        ConfigError: a tie between templates, an access list that is none, too many templates, a
            service that cannot start.
        NotFound: a handler that is listed and not given.
        Overloaded: a store or the registry would have more than it may.

    Blocks: while it reads the templates there are; nothing is compiled here.
    """
    manifest = compiled.manifest
    draft = Draft(snapshot)
    modules: dict[str, str] = {}
    handlers: dict[str, list[str]] = {}
    fresh: list[TemplateRecord] = []
    replaced = {spec.match for spec in manifest.templates}
    before = read_templates(snapshot)
    kept = [one for one in before if one.match not in replaced]
    check_matches(manifest, [one.match for one in kept], node_entity)
    draft.ranges.append(Range(TEMPLATES_ENTITY, USER_KEYS_START, None))
    code = plan_code(draft, manifest, compiled.files, deployer=deployer, now_ms=now_ms)
    registry_keys = plan_services(draft, manifest)
    for spec in manifest.templates:
        source = compiled.source_of(spec)
        names = compiled.names[source.digest]
        check_handlers(spec, names)
        _put_module(draft, source.digest, compiled.cells[source.digest])
        template = _record_of(spec, source.digest, deployer, now_ms)
        draft.put(TEMPLATES_ENTITY, spec.match, encode_record(template))
        fresh.append(template)
        modules[spec.source] = source.digest
        handlers[spec.match] = list(names)
    plan_retirement(
        draft, {one.module for one in before}, {one.module for one in (*kept, *fresh)}, now_ms
    )
    report = DeployReport(
        modules=modules,
        templates=[spec.match for spec in manifest.templates],
        handlers=handlers,
        code=code,
        services=[spec.name for spec in manifest.services],
    )
    return Prepared(
        commit=draft.to_commit(),
        report=report,
        templates=[*kept, *fresh],
        registry_keys=registry_keys,
    )


def _put_module(draft: Draft, digest: str, cells: dict[Cell, bytes]) -> None:
    """Writes a module, unless it is there already: 64 MiB need not travel twice."""
    if (MODULES_ENTITY, digest) in draft.writes:
        return
    known = draft.find(MODULES_ENTITY, digest)
    if known is None or decode_module(known).names is None:
        draft.writes.update(cells)


def check_matches(manifest: Manifest, kept: list[str], node_entity: str) -> None:
    """Refuses templates for the node's own entities, too many, and ties.

    Args:
        kept: patterns of the templates that stay beside those of the manifest.

    Raises:
        ConfigError: what is wrong.
    """
    fresh = [spec.match for spec in manifest.templates]
    for match in fresh:
        own = f"{match}/".startswith(SYSTEM_ENTITY_PREFIX) or match == node_entity
        if own or match.startswith(f"{node_entity}/"):
            raise ConfigError(f"{MANIFEST_NAME}: {match!r} names the node's own entities")
    if len(kept) + len(fresh) > NODE_TEMPLATES_MAX:
        raise ConfigError(
            f"{MANIFEST_NAME}: with these {len(fresh)} templates the node would have "
            f"{len(kept) + len(fresh)}; it may have {NODE_TEMPLATES_MAX}"
        )
    tie = find_tie(kept, fresh)
    if tie is not None:
        raise ConfigError(
            f"templates {tie[0]!r} and {tie[1]!r} are equally literal and can match "
            "the same entity; make one more literal"
        )


def check_handlers(spec: TemplateSpec, names: tuple[str, ...]) -> None:
    """Raises NotFound for the first handler a template lists and its module does not give."""
    given = ", ".join(names[:GIVEN_SHOWN_MAX]) or "none"
    if len(names) > GIVEN_SHOWN_MAX:
        given += f" and {len(names) - GIVEN_SHOWN_MAX} more"
    for name in spec.handlers:
        if name not in names:
            raise NotFound(
                f"{MANIFEST_NAME}: template {spec.match!r} lists handler {name!r}, which "
                f"{spec.source} does not give; it gives {given}"
            )


def _record_of(spec: TemplateSpec, digest: str, deployer: str, now_ms: int) -> TemplateRecord:
    try:
        if spec.access is not None:
            parse_access(spec.access)
    except BadArguments as error:
        raise ConfigError(f"{MANIFEST_NAME}: template {spec.match!r}: {error.message}") from None
    return TemplateRecord(
        match=spec.match,
        language=spec.language,
        module=digest,
        owner=deployer,
        limits=format_limits(spec.limits),
        handlers={
            name: HandlerOverride(priority=said.priority, limits=format_limits(said.limits))
            for name, said in spec.handlers.items()
        },
        access=spec.access,
        owned_by=spec.owner,
        pin=spec.pin,
        deployed_ms=now_ms,
        preload=None if spec.preload is None else list(spec.preload),
    )
