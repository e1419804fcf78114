"""Names of things and the checks that admit them.

Source of the patterns: the HTTP contract (docs/reference/http.md). Checks raise `BadArguments`
with what was found; they never repair.
"""

from __future__ import annotations

import re
from typing import Final, NewType

from lithox.errors import BadArguments

EntityPath = NewType("EntityPath", str)
HandlerName = NewType("HandlerName", str)
RequestId = NewType("RequestId", str)
StateKey = NewType("StateKey", str)
Pid = NewType("Pid", int)
Digest = NewType("Digest", str)
"""SHA-256 of a module's language and source, 64 lower-case hexadecimal digits."""
Identity = NewType("Identity", str)
"""Who acts: a named caller (`operator`, `alice`) or an entity, written `entity:PATH`."""
AccountName = NewType("AccountName", str)

ENTITY_SEGMENTS_MAX: Final = 16
STATE_KEY_BYTES_MAX: Final = 512
SYSTEM_ENTITY_PREFIX: Final = "~lithox/"
"""Entities that hold the node's own durable records (modules, templates); never callable."""
SYSTEM_KEY_PREFIX: Final = "\x00"
"""State keys of the system inside an entity (handlers, access, owner); no guest can name them."""

_SEGMENT: Final = r"[A-Za-z0-9_.~@-]{1,64}"
_STEP: Final = rf"(?!\.{{1,2}}(?:/|\Z)){_SEGMENT}"
_ENTITY: Final = re.compile(rf"{_STEP}(?:/{_STEP})*\Z")
_HANDLER: Final = re.compile(r"[a-z_][a-z0-9_]{0,63}\Z")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._~-]{1,128}\Z")
_IDENTITY: Final = re.compile(r"[A-Za-z0-9_.~@-]{1,64}\Z")


def check_entity_path(text: str) -> EntityPath:
    """Returns `text` as an entity path: 1-16 segments joined by `/`, none `.` or `..`.

    Raises:
        BadArguments: it is not one.
    """
    if _ENTITY.match(text) is None or text.count("/") >= ENTITY_SEGMENTS_MAX:
        raise BadArguments(
            "an entity path is 1-16 segments of [A-Za-z0-9_.~@-]{1,64} joined by '/', "
            f"none of them '.' or '..'; found {text[:80]!r}"
        )
    return EntityPath(text)


def is_system_entity(entity: str) -> bool:
    """Returns whether `entity` holds the node's own records, so that nobody may call it."""
    return entity.startswith(SYSTEM_ENTITY_PREFIX)


def check_handler_name(text: str) -> HandlerName:
    """Returns `text` as a handler name, `[a-z_][a-z0-9_]{0,63}`; raises BadArguments if not."""
    if _HANDLER.match(text) is None:
        raise BadArguments(f"a handler name is [a-z_][a-z0-9_]{{0,63}}; found {text[:80]!r}")
    return HandlerName(text)


def check_request_id(text: str) -> RequestId:
    """Returns `text` as a request id; raises BadArguments if it is not 1-128 of the id alphabet."""
    if _REQUEST_ID.match(text) is None:
        raise BadArguments(f"a request id is 1-128 of [A-Za-z0-9._~-]; found {text[:80]!r}")
    return RequestId(text)


def check_identity(text: str) -> Identity:
    """Returns `text` as the name of a caller; raises BadArguments if it is not one segment."""
    if _IDENTITY.match(text) is None:
        raise BadArguments(f"an identity is 1-64 of [A-Za-z0-9_.~@-]; found {text[:80]!r}")
    return Identity(text)


def check_state_key(text: str) -> StateKey:
    """Returns `text` as a state key a caller may use: 1-512 UTF-8 bytes, no leading NUL.

    Raises:
        BadArguments: empty, too long, not encodable, or one of the system's own keys.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= STATE_KEY_BYTES_MAX or text.startswith(SYSTEM_KEY_PREFIX):
        raise BadArguments(
            f"a state key is 1-{STATE_KEY_BYTES_MAX} bytes of UTF-8 that do not begin with NUL; "
            f"found {text[:80]!r}"
        )
    return StateKey(text)


def identity_of_entity(entity: EntityPath) -> Identity:
    """Returns the identity under which an entity's handlers act."""
    return Identity(f"entity:{entity}")
