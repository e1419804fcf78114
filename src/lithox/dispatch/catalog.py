"""WHICH CODE runs for an entity: templates deployed, overrides of the entity, programs loaded.

Invariants: what is resolved depends only on the entity's record and on the deployment (the set of
templates, replaced as a whole by `adopt`), so a resolution is cached by both. A run keeps the
resolution it started with, whatever is deployed meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from lithox.dispatch.module_cells import ModuleReading, find_module
from lithox.dispatch.records import EntityRecord, ModuleRecord, TemplateRecord, decode_entity
from lithox.errors import NotAvailable, NotFound
from lithox.kernel.limits import check_not_above, smallest
from lithox.model.ids import HandlerName
from lithox.model.limits import HANDLER_DEFAULT_LIMITS, LIMIT_FIELDS, PRIORITY_DEFAULT, Limits
from lithox.model.patterns import is_match, rank
from lithox.modules.manifest import parse_limits
from lithox.sandbox.contract import Engine, Program, Source
from lithox.security.access import AccessList, Actor, parse_access
from lithox.store.contract import Item, Snapshot

RESOLUTIONS_MAX: Final = 200_000
"""About 100 MB when full; the oldest are dropped first."""
HANDLERS_KEPT_MAX: Final = 256
"""Handlers one resolution remembers; names are the callers' choice, so they must be bounded."""
DEPLOY_LIMITS: Final = Limits(
    fuel=50_000_000,
    memory_bytes=16 << 20,
    wall_ns=5_000_000_000,
    output_bytes=1 << 20,
    calls=1_000,
    state_bytes=1,
)
"""What a module may use while it loads (about 25 ms of processor time). Engines of text add to it
for each byte of the module (`sandbox.allowance`): reading that is no doing of its code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedHandler:
    """A handler as one run will have it: limits are the minimum of node, entity and handler."""

    module: str
    language: str
    priority: int
    limits: Limits


@dataclass(slots=True, kw_only=True)
class Resolution:
    """What an entity is now. `record` None: it does not exist yet, its template would make it."""

    entity: str
    item: Item | None
    record: EntityRecord | None
    template: TemplateRecord | None
    owner: str
    access: AccessList
    limits: Limits
    handlers: dict[str, ResolvedHandler] = field(default_factory=dict[str, ResolvedHandler])
    """Filled as handlers are asked for."""
    callers: dict[tuple[str, bool], bool] = field(default_factory=dict[tuple[str, bool], bool])
    """(identity, is an administrator) -> may call; filled as they ask, while there is a record."""

    def owner_for(self, actor: Actor) -> str:
        """Returns the owner; of an entity that does not exist yet, the one it would get.

        A template with `owner = "caller"` gives its entities to whoever first writes them, so until
        then a run on one must act for that caller, never for the deployer.
        """
        if self.record is None and self.template is not None:
            return actor.owner if self.template.owned_by == "caller" else self.template.owner
        return self.owner


@dataclass(slots=True, kw_only=True)
class Catalog:
    """Templates, resolutions and programs of one node.

    Attributes:
        engines: language -> engine.
        node_limits: the node's policy, above everything.
        open_snapshot: opens a view of the store, for fetching modules.
    """

    engines: dict[str, Engine]
    node_limits: Limits
    open_snapshot: Callable[[], Snapshot]
    default_limits: Limits = HANDLER_DEFAULT_LIMITS
    _templates: list[TemplateRecord] = field(default_factory=list[TemplateRecord])
    _builtins: list[TemplateRecord] = field(default_factory=list[TemplateRecord])
    _sources: dict[str, Source] = field(default_factory=dict[str, Source])
    """By digest: code of built-in templates, which is not in the store."""
    _resolutions: OrderedDict[str, Resolution] = field(default_factory=OrderedDict[str, Resolution])
    _plain: dict[str, Resolution] = field(default_factory=dict[str, "Resolution"])
    """By template: what an entity without overrides has; most entities share these parts."""

    def adopt(self, templates: Iterable[TemplateRecord]) -> None:
        """Replaces the deployment; every entity is resolved anew from now on."""
        self._templates = sorted(templates, key=lambda one: rank(one.match), reverse=True)
        self._resolutions.clear()
        self._plain.clear()

    def add_builtin(self, template: TemplateRecord, source: Source) -> None:
        """Adds a template of the package's own; it goes before every deployed one."""
        self._builtins.append(template)
        self._sources[source.digest] = source

    @property
    def templates(self) -> list[TemplateRecord]:
        """All deployed templates, the most literal first."""
        return list(self._templates)

    def find_template(self, entity: str) -> TemplateRecord | None:
        """Returns the built-in or else the most literal template that matches, or None."""
        for template in self._builtins:
            if is_match(template.match, entity):
                return template
        for template in self._templates:
            if is_match(template.match, entity):
                return template
        return None

    def find_resolution(self, entity: str) -> Resolution | None:
        """Returns what the entity was when it was last resolved; perhaps stale, checked later."""
        return self._resolutions.get(entity)

    @staticmethod
    def limits_of(handler: ResolvedHandler, asked: Limits | None) -> Limits:
        """Returns the limits of one request.

        Raises:
            LimitTooHigh: the request asks for more than the handler may use.
        """
        if asked is None:
            return handler.limits
        check_not_above(asked, handler.limits)
        return smallest(handler.limits, asked)

    def resolve(self, entity: str, item: Item | None) -> Resolution:
        """Returns what `entity` is, given the item under its `ENTITY_KEY`.

        Raises:
            NotFound: it does not exist and no template would make it.
        """
        known = self._resolutions.get(entity)
        if known is not None and known.item == item:
            return known
        resolution = self._resolve_anew(entity, item)
        self._resolutions[entity] = resolution
        if len(self._resolutions) > RESOLUTIONS_MAX:
            self._resolutions.popitem(last=False)
        return resolution

    def _resolve_anew(self, entity: str, item: Item | None) -> Resolution:
        record = decode_entity(item.value) if item is not None else None
        template = self.find_template(entity)
        if record is None and template is None:
            raise NotFound(f"no entity {entity!r}, and no deployed template matches it")
        if template is not None and (record is None or _is_plain(record)):
            model = self._plain.get(template.match)
            if model is None:
                model = self._plain[template.match] = _combine(entity, None, None, template)
            return Resolution(
                entity=entity,
                item=item,
                record=record,
                template=template,
                owner=template.owner if record is None else record.owner,
                access=model.access,
                limits=model.limits,
                handlers=model.handlers,
            )
        return _combine(entity, item, record, template)

    def handler(self, resolution: Resolution, name: HandlerName) -> ResolvedHandler:
        """Returns how `name` of the resolved entity runs.

        Raises:
            NotFound: the entity has no such handler.
            NotAvailable: its language has no engine on this node.
        """
        known = resolution.handlers.get(name)
        if known is not None:
            return known
        resolved = self._resolve_handler(resolution, name)
        if len(resolution.handlers) >= HANDLERS_KEPT_MAX:
            resolution.handlers.clear()
        resolution.handlers[name] = resolved
        return resolved

    def _resolve_handler(self, resolution: Resolution, name: HandlerName) -> ResolvedHandler:
        record, template = resolution.record, resolution.template
        of_template = template.handlers.get(name) if template else None
        of_entity = record.handlers.get(name) if record else None
        digest = template.module if template else ""
        if record is not None and record.pin is not None:
            digest = record.pin
        if of_entity is not None and of_entity.module is not None:
            digest = of_entity.module
        if name.startswith("_") or not digest:
            raise NotFound(f"entity {resolution.entity!r} has no handler {name!r}")
        limits = [resolution.limits]
        priority = PRIORITY_DEFAULT
        for said in (of_template, of_entity):
            if said is not None:
                limits.append(parse_limits(said.limits, f"handler {name}"))
                priority = said.priority if said.priority is not None else priority
        language = self._language_of(digest, template)
        return ResolvedHandler(
            module=digest,
            language=language,
            priority=priority,
            limits=self._with_defaults(smallest(*limits)),
        )

    def _with_defaults(self, said: Limits) -> Limits:
        """Returns what was said, defaults where nobody said anything, under the node's policy."""
        missing = {
            name: getattr(self.default_limits, name)
            for name in LIMIT_FIELDS
            if getattr(said, name) is None
        }
        return smallest(replace(said, **missing), self.node_limits)

    def _language_of(self, digest: str, template: TemplateRecord | None) -> str:
        if template is not None and template.module == digest:
            return template.language
        return self.language_of(digest)

    def language_of(self, digest: str) -> str:
        """Returns the language of a module; raises NotFound when none is kept."""
        builtin = self._sources.get(digest)
        return self._module_of(digest).language if builtin is None else builtin.language

    def check_module(self, digest: str) -> None:
        """Raises NotFound unless such a module is kept. Blocks for one cell."""
        if digest not in self._sources:
            self._module_of(digest)

    def find_names(self, language: str, digest: str) -> tuple[str, ...]:
        """Returns the handlers a module gives, as far as that is known without loading it.

        Nodes before this version noted no names: of what they deployed, small modules are loaded.

        Raises:
            NotFound, NotAvailable: no such module or engine.
            CompileFailed: as `program`.
        """
        engine = self.engine(language)
        program = engine.find(digest)
        if program is not None:
            return program.handler_names
        if digest not in self._sources:
            names = self._module_of(digest).names
            if names is not None:
                return tuple(names)
        return engine.load(self.read_source(digest), DEPLOY_LIMITS).handler_names

    def _module_of(self, digest: str) -> ModuleRecord:
        """Returns the record of a module; a large one's code is not in it."""
        snapshot = self.open_snapshot()
        try:
            found = find_module(snapshot, digest)
        finally:
            snapshot.release()
        if found is None:
            raise NotFound(f"no module with digest {digest}")
        return found

    def find_builtin(self, digest: str) -> Source | None:
        """Returns the code of a built-in template, which is not in the store, or None."""
        return self._sources.get(digest)

    def read_source(self, digest: str) -> Source:
        """Returns the published module, whatever its size; raises NotFound when none is kept.

        Blocks: while it is read, 40 ms for the largest; `ColdCode` reads without.
        """
        return self.find_builtin(digest) or ModuleReading(self.open_snapshot, digest).read()

    def engine(self, language: str) -> Engine:
        """Returns the engine of `language`; raises NotAvailable when this node has none."""
        found = self.engines.get(language)
        if found is None:
            raise NotAvailable(
                f"this node runs {', '.join(sorted(self.engines))}; no engine for {language!r} yet"
            )
        return found

    def find_program(self, handler: ResolvedHandler) -> Program | None:
        """Returns the program of a handler if it is loaded; raises NotAvailable. Never blocks."""
        return self.engine(handler.language).find(handler.module)

    def program(self, handler: ResolvedHandler) -> Program:
        """Returns the loaded program of a handler, compiled now if it is not in the cache.

        Raises:
            NotFound, NotAvailable: no such module or engine.
            CompileFailed: the module does not load (it did when it was deployed).

        Blocks: while a module that is not in the cache loads, within the deploy limits.
        """
        engine = self.engine(handler.language)
        kept = engine.find(handler.module)
        if kept is not None:
            return kept
        return engine.load(self.read_source(handler.module), DEPLOY_LIMITS)


def _is_plain(record: EntityRecord) -> bool:
    """Returns whether an entity overrides nothing of its template."""
    return not (record.handlers or record.limits or record.access is not None or record.pin)


def _combine(
    entity: str, item: Item | None, record: EntityRecord | None, template: TemplateRecord | None
) -> Resolution:
    """Returns the resolution of an entity's own record over its template's."""
    access = record.access if record is not None else None
    if access is None and template is not None:
        access = template.access
    limits = [
        parse_limits(said.limits, "limits") for said in (template, record) if said is not None
    ]
    return Resolution(
        entity=entity,
        item=item,
        record=record,
        template=template,
        owner=record.owner if record is not None else (template.owner if template else ""),
        access=parse_access(access) if access is not None else (),
        limits=smallest(*limits),
    )
