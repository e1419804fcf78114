"""Big values: what stands under a state key whose bytes are kept apart, in chunks.

In state such a value is a manifest: MessagePack extension `EXT_BIG` whose content is
`[blob id, size, chunks, SHA-256]`, always in the form of up to 255 bytes (`0xc7`). No guest and no
caller can write one: it is not plain data, and only the node's own code makes it together with
the chunks it speaks of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from lithox.errors import StoreCorrupt

EXT_BIG: Final = 2
"""MessagePack extension type of a manifest."""
CHUNK_BYTES: Final = 64 << 10
"""Bytes of every chunk but the last. A cell of SQLite of that size takes 16 pages; larger ones
would hold the node's thread longer for each read (64 KiB: about 40 us from a warm file)."""
BIG_VALUE_BYTES_MAX: Final = 16 << 20
"""Size of one big value, unless the node's configuration says another."""
_HEAD: Final = 0xC7
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class BigValue:
    """What is told of a big value in place of its bytes.

    Attributes:
        size: bytes.
        digest: SHA-256 of them, 64 lower-case hexadecimal digits.
    """

    size: int
    digest: str


class Manifest(NamedTuple):
    """Where the bytes of a big value are.

    Attributes:
        blob_id: begins the keys of its chunks.
        size: bytes in all.
        chunks: how many chunks there are.
        digest: SHA-256, 32 bytes.
    """

    blob_id: str
    size: int
    chunks: int
    digest: bytes

    @property
    def told(self) -> BigValue:
        """What may be told of it."""
        return BigValue(size=self.size, digest=self.digest.hex())


_encode: Final = msgspec.msgpack.Encoder().encode
_content: Final = msgspec.msgpack.Decoder(tuple[str, int, int, bytes])


def is_big(data: bytes) -> bool:
    """Returns whether a stored value is a manifest. Pure, and cheap enough for every write."""
    return len(data) > 3 and data[0] == _HEAD and data[2] == EXT_BIG


def encode_manifest(manifest: Manifest) -> bytes:
    """Returns what stands in state for a big value."""
    data = _encode(msgspec.msgpack.Ext(EXT_BIG, _encode(tuple(manifest))))
    assert is_big(data), "a manifest has 17 to 255 bytes"
    return data


def decode_manifest(data: bytes) -> Manifest:
    """Returns the manifest that was stored; raises StoreCorrupt for anything else."""
    try:
        manifest = Manifest(*_content.decode(memoryview(data)[3:]))
    except msgspec.MsgspecError as error:
        raise StoreCorrupt(
            f"a big value's record cannot be read ({error}); restore the data from a backup"
        ) from None
    if not is_big(data) or len(manifest.digest) != _DIGEST_BYTES:
        raise StoreCorrupt("a big value's record is of another kind; restore from a backup")
    return manifest
