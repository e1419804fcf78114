"""Signing what is sent to call-backs, in the form of Standard Webhooks. Pure.

Source: standardwebhooks.com, specification 1.0: the signed content is `id.timestamp.body`, the
signature `v1,` and the base64 of its HMAC-SHA256; several, separated by spaces, while a secret is
being replaced.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from lithox.errors import BadArguments

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the public prefix of a secret's text
SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64


def parse_secret(text: str) -> bytes:
    """Returns the key in `whsec_` and base64; raises BadArguments, which does not repeat it."""
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(SECRET_PREFIX) or not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        raise BadArguments(
            f"a secret is {SECRET_PREFIX} and the base64 of {SECRET_BYTES_MIN} to "
            f"{SECRET_BYTES_MAX} random bytes"
        )
    return key


def webhook_headers(
    keys: Iterable[bytes], *, message_id: str, timestamp_s: int, body: bytes
) -> dict[str, str]:
    """Returns the headers that let a receiver know who sent `body`, when, and whether again.

    Args:
        keys: one, or two while a secret is being replaced.
        message_id: the same for every try; without a full stop.
        timestamp_s: seconds since 1970 of this try.
    """
    content = f"{message_id}.{timestamp_s}.".encode() + body
    signatures = (
        "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in keys
    )
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signatures),
    }
