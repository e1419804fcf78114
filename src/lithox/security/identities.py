"""Which token speaks for which caller.

A token is 256 bits of chance in text; only its SHA-256 digest is kept, which is enough because a
token is not a password: it cannot be guessed or found in a dictionary. Look-up is by digest, so
its time tells nothing of other tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lithox.errors import Unauthenticated
from lithox.model.ids import AccountName, Identity
from lithox.model.request import Caller
from lithox.security.access import OPERATOR

TOKEN_CHARACTERS_MAX: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownIdentity:
    """One caller the operator has configured. `token_sha256` is 64 hexadecimal digits."""

    name: Identity
    account: AccountName
    token_sha256: str
    is_admin: bool = False


def digest_of_token(token: str) -> str:
    """Returns the 64 hexadecimal digits that the configuration keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class Identities:
    """The callers a node knows."""

    def __init__(self, known: Iterable[KnownIdentity] = ()) -> None:
        self._caller_by_digest = {
            one.token_sha256.lower(): Caller(
                identity=one.name, account=one.account, is_admin=one.is_admin
            )
            for one in known
        }

    @property
    def is_empty(self) -> bool:
        """True when no identity is configured: then only loopback callers exist."""
        return not self._caller_by_digest

    def identify(self, token: str | None, *, is_loopback: bool) -> Caller:
        """Returns who holds `token`.

        Args:
            token: the bearer token, or None when none was sent.
            is_loopback: the node listens on loopback only; with no identities configured, its
                callers are the operator.

        Raises:
            Unauthenticated: no token where one is needed, or an unknown one.
        """
        if token is None:
            if is_loopback and self.is_empty:
                return LOCAL_OPERATOR
            raise Unauthenticated("this node wants a bearer token; none was sent")
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise Unauthenticated(f"a token has at most {TOKEN_CHARACTERS_MAX} characters")
        caller = self._caller_by_digest.get(digest_of_token(token))
        if caller is None:
            raise Unauthenticated("the bearer token is not known to this node")
        return caller


LOCAL_OPERATOR: Final = Caller(identity=OPERATOR, account=AccountName("operator"), is_admin=True)
"""The caller of an embedded node and of a loopback node without configured identities."""
