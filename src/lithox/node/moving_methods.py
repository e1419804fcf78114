"""The part of `lithox.Node` about moving data: as the operator, unless a caller is given.

`Moves`, `EntityExports` and `EntityImports` say what each promises, and do it; this gives the
methods their public form, the same names and orders as in `lithox.Client`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from lithox.model.request import Caller
from lithox.node.moving import Moves
from lithox.node.moving_entities import EntityExports
from lithox.node.moving_imports import REFUSE, EntityImports
from lithox.security.identities import LOCAL_OPERATOR


class MovingMethods:
    """Methods of a node that has opened its store."""

    _moves: Moves
    _exports: EntityExports
    _imports: EntityImports

    def backup(self, *, caller: Caller | None = None) -> AsyncIterator[bytes]:
        """Returns the archive of the whole store, chunk by chunk, while the node goes on.

        It is one consistent moment and holds all that was acknowledged before the call. Leaving
        the iterator early ends it.

        Raises:
            NotPermitted: the caller is not an administrator.
            Overloaded: several backups, exports or imports are under way.
        """
        return self._moves.backup(caller or LOCAL_OPERATOR)

    def entity_export(self, pattern: str, *, caller: Caller | None = None) -> AsyncIterator[bytes]:
        """Returns the archive of one entity, or of all that match a pattern, chunk by chunk.

        One consistent moment of record, state, timers and big values. What matches a pattern and
        may not be read by the caller is left out.

        Args:
            pattern: an entity path, or a pattern such as `shop/cart/*` or `**`.

        Raises:
            BadArguments: neither of them.
            NotFound, NotPermitted: of a single entity.
            Overloaded: several backups, exports or imports are under way.
        """
        return self._exports.export(pattern, caller or LOCAL_OPERATOR)

    async def entity_import(
        self, chunks: AsyncIterable[bytes], *, mode: str = REFUSE, caller: Caller | None = None
    ) -> dict[str, Any]:
        """Imports the entities of an archive; see `EntityImports.take`.

        Args:
            chunks: the archive.
            mode: what to do with an entity that is there: "refuse", "replace" or "skip" it.
        """
        return await self._imports.take(chunks, mode, caller or LOCAL_OPERATOR)
