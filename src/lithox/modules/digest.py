"""Code is addressed by what it is: the digest of its language and text."""

from __future__ import annotations

import hashlib

from lithox.model.ids import Digest


def digest_of(language: str, text: bytes) -> Digest:
    """Returns 64 hexadecimal digits: SHA-256 over language, NUL and text."""
    return Digest(hashlib.sha256(language.encode() + b"\0" + text).hexdigest())
