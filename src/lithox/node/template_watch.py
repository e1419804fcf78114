"""Which templates does the store hold now? Asked again when several nodes may deploy into it.

A run does not read templates in its transaction, so nothing tells it that another node has deployed
since. Instead the node asks the database once in `CHECK_INTERVAL_S` whether what it has adopted is
still what is there, which is one look at one version; only if not, it reads them again. So a deploy
is served on every node within that time, and at once on the node that took it.

Invariants: what is served is what some commit has left; at most one question is under way.
"""

from __future__ import annotations

import logging
from typing import Final

from lithox.dispatch.catalog import Catalog
from lithox.dispatch.records import TEMPLATES_ENTITY, USER_KEYS_START, TemplateRecord
from lithox.errors import Conflict, LithoxError, TransactionError
from lithox.node.deploy import read_templates
from lithox.store.contract import Range, Store

CHECK_INTERVAL_S: Final = 1.0
"""How long another node's deploy may stay unknown; a check costs one small query."""
_ALL: Final = Range(TEMPLATES_ENTITY, USER_KEYS_START, None)
_log: Final = logging.getLogger("lithox.node")


class TemplateWatch:
    """Keeps a catalog as the store says. All methods are called on the node's thread."""

    def __init__(self, *, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog
        self._version = 0
        self._is_asking = False

    def adopt(self) -> None:
        """Serves what the store holds. Blocks while it is read; raises LithoxError."""
        snapshot = self._store.open_snapshot()
        try:
            found = read_templates(snapshot)
            version = snapshot.version
        finally:
            snapshot.release()
        if _by_match(found) != _by_match(self._catalog.templates):
            self._catalog.adopt(found)
        self._version = version

    def adopt_own(self, templates: list[TemplateRecord]) -> None:
        """Serves what a deploy of this node has committed, now that it is durable.

        Another node may have deployed on top of it already, so the next check reads anew.
        """
        self._catalog.adopt(templates)
        self._version = 0

    def check(self) -> None:
        """Asks whether what was adopted is still there; if not, reads it again soon after."""
        if self._is_asking:
            return
        self._is_asking = True
        if self._store.when_read_durable((), (_ALL,), self._end_check, up_to_version=self._version):
            self._end_check(None)

    def _end_check(self, error: TransactionError | None) -> None:
        self._is_asking = False
        # Any other error says that nobody knows: what is served stays until somebody does.
        if error is None and self._version:
            return
        if error is not None and not isinstance(error, Conflict):
            return
        try:
            self.adopt()
        except LithoxError as failure:
            _log.warning("what other nodes have deployed is read again soon: %s", failure)


def _by_match(templates: list[TemplateRecord]) -> dict[str, TemplateRecord]:
    return {one.match: one for one in templates}
