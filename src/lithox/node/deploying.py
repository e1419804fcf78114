"""In which order is a deploy done, and what of it beside the node's loop?

    waiting    deploys go one after the other; few may wait, since each holds its bundle
    reading    files and manifest                                            in a thread
    checking   what needs no compiler                                        on the loop
    compiling  `Engine.prepare` of one module after the other                in a thread,
               `Engine.load` of it, milliseconds                             on the loop
    committing the plan on the newest version, again when another node was faster

So the loop serves everybody while a module compiles for a minute. `check` stops before the commit:
nothing is stored, and everything a deploy would be refused for is found.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lithox.dispatch.catalog import DEPLOY_LIMITS, Catalog
from lithox.dispatch.module_cells import module_cells
from lithox.errors import Conflict, LithoxError, NotAvailable, NotPermitted, Overloaded
from lithox.model.request import Caller
from lithox.modules.bundle import Bundle, read_bundle
from lithox.modules.digest import digest_of
from lithox.modules.manifest import Manifest, TemplateSpec
from lithox.node.code_workers import CodeWorkers
from lithox.node.commits import submit_durably
from lithox.node.deploy import (
    Compiled,
    DeployReport,
    Prepared,
    check_handlers,
    check_matches,
    plan_deploy,
    read_templates,
)
from lithox.node.handler_names import check_given
from lithox.node.module_garbage import ModuleGarbage
from lithox.node.registry import Registry
from lithox.node.template_watch import TemplateWatch
from lithox.sandbox.contract import Engine, Program, Source
from lithox.store.contract import Cell, Snapshot, Store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

ATTEMPTS_MAX: Final = 5
WAITING_MAX: Final = 4
"""Deploys that are done or wait: each may hold a bundle of `BUNDLE_BYTES_MAX`."""
_RETRY_AFTER_MS: Final = 1_000
_log: Final = logging.getLogger("lithox.node")
Record = Callable[[Caller, str, Exception | None, str], None]
"""Leaves an audit record: (caller, act, error or None, detail)."""


class Deploys:
    """Deploys of one node. Every method is called on the node's thread."""

    def __init__(  # noqa: PLR0913 - one wiring; all by keyword
        self,
        *,
        store: Store,
        catalog: Catalog,
        templates: TemplateWatch,
        workers: CodeWorkers,
        node_entity: str,
        wall_ms: Callable[[], int],
        record: Record,
        registry: Registry,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._templates = templates
        self._workers = workers
        self._node_entity = node_entity
        self._wall_ms = wall_ms
        self._record = record
        self._registry = registry
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._garbage = ModuleGarbage(store=store, workers=workers, wall_ms=wall_ms)
        self._collecting: asyncio.Task[None] | None = None

    def check_deployer(self, caller: Caller) -> None:
        """Raises NotPermitted, with an audit record, unless `caller` may deploy."""
        if not caller.is_admin:
            error = NotPermitted(f"{caller.identity} may not deploy: it takes an administrator")
            self._record(caller, "deploy", error, "")
            raise error

    async def deploy(self, bundle: Bundle | Path, caller: Caller, *, check: bool) -> DeployReport:
        """Publishes a bundle, or the one in a folder, all or nothing. Waits until durable.

        Args:
            check: only says what a deploy would come to; nothing is stored.

        Raises:
            NotPermitted: the caller is not an administrator.
            Overloaded: as many deploys wait as may.
            ConfigError, CompileFailed, NotAvailable, NotFound: what is wrong with it, and where.
            Conflict: other nodes were faster each time.
        """
        self.check_deployer(caller)
        try:
            async with self._in_turn():
                compiled = await self._compile(bundle)
                if check:
                    return self._plan(compiled, caller).report
                prepared, done = self._commit(compiled, caller)
        except LithoxError as error:
            if not check:
                self._record(caller, "deploy", error, "")
            raise
        await done
        if self._collecting is None or self._collecting.done():
            self._collecting = asyncio.create_task(self._collect())
        return prepared.report

    async def _collect(self) -> None:
        """Removes modules nobody names, where they are too many; what fails is tried again."""
        try:
            removed = await self._garbage.collect()
        except LithoxError as error:
            _log.warning("modules nobody names are removed later: %s", error)
        else:
            if removed:
                _log.info("removed %d modules nobody names", removed)

    def stop(self) -> None:
        """Lets what goes on behind deploys end."""
        self._garbage.stop()
        if self._collecting is not None:
            self._collecting.cancel()

    @asynccontextmanager
    async def _in_turn(self) -> AsyncGenerator[None]:
        """Lets one deploy do its work at a time."""
        if self._waiting >= WAITING_MAX:
            raise Overloaded(
                f"{WAITING_MAX} deploys are being done; try again when one has ended",
                retry_after_ms=_RETRY_AFTER_MS,
            )
        self._waiting += 1
        try:
            async with self._turn:
                yield
        finally:
            self._waiting -= 1

    async def _compile(self, given: Bundle | Path) -> Compiled:
        """Returns a bundle whose modules have been loaded; raises what is wrong with it."""
        bundle, manifest, sources = await self._workers.run(partial(_read, given))
        snapshot = self._store.open_snapshot()
        try:
            replaced = {spec.match for spec in manifest.templates}
            kept = [one.match for one in read_templates(snapshot) if one.match not in replaced]
        finally:
            snapshot.release()
        check_matches(manifest, kept, self._node_entity)
        engines = {one.language: self._engine_of(one) for one in manifest.templates}
        names: dict[str, tuple[str, ...]] = {}
        cells: dict[str, dict[Cell, bytes]] = {}
        for spec in manifest.templates:
            source = sources[spec.source, spec.language]
            if source.digest not in names:
                program = await self._load(engines[spec.language], source)
                check_given(source, program.handler_names)
                names[source.digest] = program.handler_names
                cut = partial(module_cells, source, program.handler_names)
                cells[source.digest] = await self._workers.run(lambda cut=cut: dict(cut()))
            check_handlers(spec, names[source.digest])
        return Compiled(
            manifest=manifest, files=bundle.files, sources=sources, names=names, cells=cells
        )

    def _engine_of(self, spec: TemplateSpec) -> Engine:
        try:
            return self._catalog.engine(spec.language)
        except NotAvailable as error:
            raise NotAvailable(f"template {spec.match!r}: {error.message}") from None

    async def _load(self, engine: Engine, source: Source) -> Program:
        program = engine.find(source.digest)
        if program is None:
            await self._workers.run(partial(engine.prepare, source))
            program = engine.load(source, DEPLOY_LIMITS)
        return program

    def _commit(self, compiled: Compiled, caller: Caller) -> tuple[Prepared, asyncio.Future[None]]:
        for _ in range(ATTEMPTS_MAX):
            try:
                prepared = self._plan(compiled, caller)
                done = self._submit(prepared, caller)
            except Conflict:
                continue  # Another node was faster while this one read.
            if done is not None:
                return prepared, done
        raise Conflict("other deploys were faster each time; try again")

    def _plan(self, compiled: Compiled, caller: Caller) -> Prepared:
        snapshot: Snapshot = self._store.open_snapshot()
        try:
            return plan_deploy(
                compiled,
                snapshot=snapshot,
                node_entity=self._node_entity,
                deployer=caller.identity,
                now_ms=self._wall_ms(),
            )
        finally:
            snapshot.release()

    def _submit(self, prepared: Prepared, caller: Caller) -> asyncio.Future[None] | None:
        """Commits a deploy; it is served from when it is durable, waited for or not."""

        def follow_up(error: Exception | None) -> None:
            if error is None:
                # Exactly what was committed: a later deploy may be visible and yet be withdrawn.
                self._templates.adopt_own(prepared.templates)
            self._record(caller, "deploy", error, prepared.report.describe())
            if error is None:
                for key in prepared.registry_keys:
                    self._registry.on_change(key)

        return submit_durably(self._store, prepared.commit, follow_up)


def _read(given: Bundle | Path) -> tuple[Bundle, Manifest, dict[tuple[str, str], Source]]:
    """Returns the bundle, what its manifest says, and its modules. Runs in a thread."""
    bundle = given if isinstance(given, Bundle) else read_bundle(given)
    manifest = bundle.parse()
    sources: dict[tuple[str, str], Source] = {}
    for spec in manifest.templates:
        key = (spec.source, spec.language)
        if key not in sources:
            text = bundle.files[spec.source]
            digest = digest_of(spec.language, text)
            sources[key] = Source(
                language=spec.language, name=spec.source, text=text, digest=digest
            )
    return bundle, manifest, sources
