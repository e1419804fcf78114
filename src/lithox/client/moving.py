"""Moving data out of and into a node somewhere else: the part of `lithox.Client` about it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any, Final
from urllib.parse import quote, urlencode

from lithox.client.wire import Wire
from lithox.errors import BadArguments
from lithox.model.archive import KIND_ENTITIES, KIND_STORE, MEDIA_TYPE, ArchiveReader

REFUSE: Final = "refuse"


class MovingMethods:
    """The methods of a client about moving data. Not made by itself: `lithox.Client` is one."""

    _wire: Wire

    def backup(self) -> AsyncGenerator[bytes]:
        """Returns the archive of the node's whole store, chunk by chunk, while the node goes on.

        The last chunk is given only after all of them were proven whole, counts and digests
        included; what came before is worth nothing when this raises.

        Raises:
            NotPermitted: you are no administrator there.
            PeerUnreachable: the connection ended before the archive did.
            BadArguments: what came is not a whole archive.
        """
        return self._proven("/v1/backup", KIND_STORE)

    def entity_export(self, pattern: str) -> AsyncGenerator[bytes]:
        """Returns the archive of one entity, or of all that match a pattern and you may read.

        Args:
            pattern: an entity path, or a pattern such as `shop/cart/*` or `**`.

        Raises:
            NotFound, NotPermitted: of a single entity.
            PeerUnreachable, BadArguments: see `backup`.
        """
        if not pattern or ":" in pattern:
            raise BadArguments(f"an entity path or a pattern; found {pattern[:80]!r}")
        return self._proven(f"/v1/export/{quote(pattern, safe='/*~@')}", KIND_ENTITIES)

    async def entity_import(
        self, chunks: AsyncIterable[bytes], *, mode: str = REFUSE
    ) -> dict[str, Any]:
        """Imports the entities of an archive; nothing of one that does not arrive whole.

        Args:
            chunks: the archive.
            mode: what to do with an entity that is there: "refuse", "replace" or "skip" it.

        Returns:
            {"imported": entities, "skipped": entities, "keys": of the imported, "in_pieces":
            [names of those that took several commits, the first 100]}.

        Raises:
            BadArguments: the archive is not whole, or an entity is there already.
            NotPermitted: you may not make or replace an entity; those before it stay imported.
        """
        path = f"/v1/import?{urlencode({'mode': mode})}"
        return await self._wire.send(path, chunks, MEDIA_TYPE)

    async def _proven(self, path: str, kind: str) -> AsyncGenerator[bytes]:
        reader = ArchiveReader(kind)
        held = b""
        async for chunk in self._wire.receive(path):
            reader.feed(chunk)
            if held:
                yield held
            held = chunk
        reader.finish()
        yield held
