"""Templates of the package's own: entities a node has without anybody deploying them.

They stand beside the deployed templates, cannot be replaced by a deploy, and their code is not in
the store: it comes with the package, so that an upgrade brings its own. Only the identity named
here and administrators may call them.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

from lithox.dispatch.catalog import Catalog
from lithox.dispatch.records import TemplateRecord
from lithox.modules.digest import digest_of
from lithox.sandbox.contract import Source

STORAGE_IDENTITY: Final = "service:storage"
"""Under which the storage service acts; outside callers' names cannot hold a colon."""
STORAGE_PREFIX: Final = "~storage/"
LANGUAGE: Final = "lua"
_STORAGE_LIMITS: Final = {
    "fuel": 1_000_000_000,
    "memory": 48 << 20,
    "output": 8 << 20,
    "state": 8 << 20,
    "calls": 100_000,
}
"""64 operations and half a MiB of their data in one run; the node's policy may be less."""


def read_entity_source(name: str) -> Source:
    """Returns the handlers of a built-in entity. Blocks for one small file."""
    folder = resources.files("lithox.modules") / "boot" / "entities"
    text = (folder / f"{name}.lua").read_bytes()
    return Source(
        language=LANGUAGE, name=f"{name}.lua", text=text, digest=digest_of(LANGUAGE, text)
    )


def add_builtins(catalog: Catalog) -> None:
    """Makes the built-in templates known to a catalog, before it adopts what is deployed."""
    source = read_entity_source("storage")
    catalog.add_builtin(
        TemplateRecord(
            match=f"{STORAGE_PREFIX}**",
            language=LANGUAGE,
            module=source.digest,
            owner=STORAGE_IDENTITY,
            limits=dict(_STORAGE_LIMITS),
            access=[STORAGE_IDENTITY],
        ),
        source,
    )
