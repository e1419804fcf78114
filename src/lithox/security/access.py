"""Who may do what to an entity: access lists, and the one decision `is_allowed`.

An access list is a tuple of grants. A grant names who (an identity, `entity:PATH`, a pattern
`entity:shop/**`, or `*` for everyone) and which rights. The owner of an entity and the node's
administrators hold all rights without being listed. What no grant gives is refused.

An entity acts under its own name only, never with the rights of its owner: who may call it could
otherwise spend those rights through it (a confused deputy). So an entity that is to be called by
another lists it, `entity:PATH`.

Trust: identities come from `identities` (outside) or from the dispatcher (entities); a guest can
name neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from lithox.errors import BadArguments
from lithox.model.ids import Identity
from lithox.model.patterns import check_pattern, is_match
from lithox.model.request import Caller

RIGHT_CALL: Final = "call"
RIGHT_READ: Final = "read"
RIGHT_WRITE: Final = "write"
RIGHT_ADMIN: Final = "admin"
RIGHTS: Final = frozenset((RIGHT_CALL, RIGHT_READ, RIGHT_WRITE, RIGHT_ADMIN))
"""call: run handlers; read, write: state through the administrative interface; admin: handlers,
access list, limits, deletion."""
GRANTS_MAX: Final = 256
_ENTITY: Final = "entity:"


@dataclass(frozen=True, slots=True)
class Grant:
    """Gives `rights` to whoever `who` names."""

    who: str
    rights: frozenset[str]


AccessList = tuple[Grant, ...]


@dataclass(slots=True, kw_only=True)
class Actor:
    """Who asks, as the decision needs it. Unfrozen for speed; nobody changes one.

    Attributes:
        identity: the caller's own name, or `entity:PATH`.
        owner: who owns what it makes: an entity's owner, or the caller itself.
        is_admin: a node administrator.
    """

    identity: str
    owner: str
    is_admin: bool = False


def actor_of(caller: Caller) -> Actor:
    """Returns a caller from outside as an actor."""
    return Actor(identity=caller.identity, owner=caller.identity, is_admin=caller.is_admin)


def is_allowed(*, actor: Actor, right: str, owner: str, access: AccessList) -> bool:
    """Returns whether `actor` holds `right` on an entity of `owner` with `access`."""
    if actor.is_admin:
        return True
    if actor.identity == owner:
        return True
    return any(right in grant.rights and _is_named(grant.who, actor.identity) for grant in access)


def _is_named(who: str, identity: str) -> bool:
    if who in ("*", identity):
        return True
    if who.startswith(_ENTITY) and identity.startswith(_ENTITY):
        return is_match(who.removeprefix(_ENTITY), identity.removeprefix(_ENTITY))
    return False


def parse_access(data: Any) -> AccessList:
    """Returns the access list that plain data stands for.

    Args:
        data: a list whose items are a name (gives `call`) or
            `{"who": name, "rights": [right...]}`.

    Raises:
        BadArguments: another shape, an unknown right, or more than 256 grants.
    """
    if not isinstance(data, list) or len(data) > GRANTS_MAX:  # pyright: ignore[reportUnknownArgumentType]
        raise BadArguments(f"an access list is a list of at most {GRANTS_MAX} grants")
    return tuple(_parse_grant(item) for item in data)  # pyright: ignore[reportUnknownVariableType]


def _parse_grant(item: Any) -> Grant:
    if isinstance(item, str):
        return Grant(_check_who(item), frozenset((RIGHT_CALL,)))
    if isinstance(item, dict) and set(item) == {"who", "rights"}:  # pyright: ignore[reportUnknownArgumentType]
        table: dict[str, Any] = item  # pyright: ignore[reportUnknownVariableType]
        who, rights = table["who"], table["rights"]
        if isinstance(who, str) and isinstance(rights, list) and rights:
            unknown = [right for right in rights if right not in RIGHTS]  # pyright: ignore[reportUnknownVariableType]
            if not unknown:
                return Grant(_check_who(who), frozenset(rights))  # pyright: ignore[reportUnknownArgumentType]
            raise BadArguments(f"rights are {', '.join(sorted(RIGHTS))}; found {unknown[0]!r}")
    raise BadArguments('a grant is a name or {"who": name, "rights": [...]}')


def _check_who(who: str) -> str:
    if who != "*" and who.startswith(_ENTITY):
        check_pattern(who.removeprefix(_ENTITY))
    elif not who:
        raise BadArguments("a grant names someone; found an empty name")
    return who


def format_access(access: AccessList) -> list[Any]:
    """Returns the plain data of `access`; the inverse of `parse_access`."""
    return [
        grant.who
        if grant.rights == {RIGHT_CALL}
        else {"who": grant.who, "rights": sorted(grant.rights)}
        for grant in access
    ]


OPERATOR: Final = Identity("operator")
"""Who acts on a node that has no identities configured and listens on loopback only."""
