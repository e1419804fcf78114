"""The durable records dispatch keeps in the store, and the cells they live in.

An entity's own record (template, owner, overrides) is a system key of the entity, so that it
commits and conflicts like any other state. Templates and modules are state of two system entities
that no request can reach.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from lithox.errors import StoreCorrupt
from lithox.model.ids import SYSTEM_KEY_PREFIX

ENTITY_KEY: Final = SYSTEM_KEY_PREFIX + "entity"
USER_KEYS_START: Final = "\x01"
"""First key a guest can own: every system key begins with NUL."""
TEMPLATES_ENTITY: Final = "~lithox/templates"
MODULES_ENTITY: Final = "~lithox/modules"
MODULE_CHUNKS_PREFIX: Final = "~lithox/m/"
"""With a digest behind it: the system entity that holds a large module's chunks. One of its own, so
that writing and reading 64 MiB moves nothing out of the cache of entities."""
CODE_ENTITIES: Final = {
    "program": "~lithox/programs",
    "library": "~lithox/libraries",
    "runtime": "~lithox/runtimes",
}
"""Where each store of code keeps its names and versions (`node/code_plans.py` has the keys)."""
TEXTS_ENTITY: Final = "~lithox/texts"
"""The texts of all three stores, each kept once under its digest."""
REGISTRY_ENTITY: Final = "~lithox/registry"
DEVICES_ENTITY: Final = "~lithox/devices"


class HandlerOverride(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an entity or a template says of one handler; None means "not said here"."""

    priority: int | None = None
    limits: dict[str, int] = {}
    module: str | None = None
    """Digest of other code for this handler, or None for the template's."""


class EntityRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entity as stored under `ENTITY_KEY`."""

    owner: str
    template: str = ""
    """The `match` of its template at creation; resolved anew at each run's start."""
    created_ms: int = 0
    access: list[Any] | None = None
    limits: dict[str, int] = {}
    handlers: dict[str, HandlerOverride] = {}
    pin: str | None = None
    """Module digest that replaces the template's newest one."""
    has_big: bool = False
    """Whether a key of it may hold a big value; never unset while the entity lives."""


def modules_of(record: EntityRecord) -> set[str]:
    """Returns the digests of the modules an entity names itself."""
    named = {record.pin, *(one.module for one in record.handlers.values())}
    return {digest for digest in named if digest is not None}


class TemplateRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One deployed template as stored under its `match`."""

    match: str
    language: str
    module: str
    owner: str
    limits: dict[str, int] = {}
    handlers: dict[str, HandlerOverride] = {}
    access: list[Any] | None = None
    owned_by: str = "deployer"
    pin: bool = False
    deployed_ms: int = 0
    preload: list[str] | None = None
    """Keys, and prefixes that end with `*`, of which the state is sent along with a call."""


class ModuleRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One module as stored under its digest."""

    language: str
    name: str
    text: bytes = b""
    """The whole of it; empty when it is kept apart, in chunks (`dispatch/module_cells.py`)."""
    size: int = 0
    """Bytes of a module that is kept in chunks; 0: it is all in `text`."""
    names: list[str] | None = None
    """Handlers it gives, so that nobody must load it to list them; None: nobody has noted it."""


class VersionRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version of a program, library or runtime."""

    digest: str = ""
    """SHA-256 of the text; "" for the version that removed the name."""
    size: int = 0
    by: str = ""
    at_ms: int = 0
    note: str = ""
    runtime: str = ""
    """The runtime a program asks for when whoever runs it names none; "" for none."""


class CodeRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One name in a store of code."""

    version: int
    """The newest number ever given to the name."""
    first: int
    """The oldest version that is kept; all from there on are."""
    newest: VersionRecord


_encoder: Final = msgspec.msgpack.Encoder(order="deterministic")
_entity_decoder: Final = msgspec.msgpack.Decoder(EntityRecord)
_template_decoder: Final = msgspec.msgpack.Decoder(TemplateRecord)
_module_decoder: Final = msgspec.msgpack.Decoder(ModuleRecord)
_version_decoder: Final = msgspec.msgpack.Decoder(VersionRecord)
_code_decoder: Final = msgspec.msgpack.Decoder(CodeRecord)

encode_record = _encoder.encode


def decode_entity(data: bytes) -> EntityRecord:
    """Returns the entity record that was stored; raises StoreCorrupt for anything else."""
    return _decode(_entity_decoder, data, "entity")


def decode_template(data: bytes) -> TemplateRecord:
    """Returns the template that was stored; raises StoreCorrupt for anything else."""
    return _decode(_template_decoder, data, "template")


def decode_module(data: bytes) -> ModuleRecord:
    """Returns the module that was stored; raises StoreCorrupt for anything else."""
    return _decode(_module_decoder, data, "module")


def decode_version(data: bytes) -> VersionRecord:
    """Returns the version that was stored; raises StoreCorrupt for anything else."""
    return _decode(_version_decoder, data, "version")


def decode_code(data: bytes) -> CodeRecord:
    """Returns the name's record that was stored; raises StoreCorrupt for anything else."""
    return _decode(_code_decoder, data, "code")


_Record = TypeVar("_Record")


def _decode(decoder: msgspec.msgpack.Decoder[_Record], data: bytes, what: str) -> _Record:
    try:
        return decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(
            f"a stored {what} record cannot be read ({error}); restore the data from a backup"
        ) from None
