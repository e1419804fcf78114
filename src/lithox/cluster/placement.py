"""Which volume does an entity live in? Pure: the same answer in every process, for ever.

An entity that no pattern of `spread` names lives in volume 0. One that a pattern names lives in the
volume that a hash of its first segments gives, as many as the pattern has: so `cart/*` keeps
`cart/7` and `cart/7/items` together, and `cart/*/*` does not.

Invariants: two patterns never name the same entity, so the order in which they were written does
not matter; the node's own entities are never spread.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Final

from lithox.errors import BadArguments, ConfigError
from lithox.model.ids import SYSTEM_ENTITY_PREFIX
from lithox.model.patterns import ONE, REST, check_pattern

VOLUMES_MAX: Final = 256
"""Volumes of one data directory, and so processes of one server."""
PATTERNS_MAX: Final = 100
KEPT_MAX: Final = 65_536
"""Entities whose volume is remembered: a look-up costs 0.05 us, a hash 1.5 us."""
HASH_BYTES: Final = 8


class Placement:
    """Where the entities of one data directory live. Immutable; safe from any thread.

    Attributes:
        volumes: how many there are, from 1 on.
        spread: the patterns whose entities are placed by their hash.
        volume_of: entity -> its volume's number, remembered for the last `KEPT_MAX`.
    """

    def __init__(self, volumes: int, spread: Sequence[str] = ()) -> None:
        """Checks what was said.

        Raises:
            ConfigError: too many volumes or patterns, or patterns that overlap.
        """
        if not 1 <= volumes <= VOLUMES_MAX:
            raise ConfigError(
                f"there are 1 to {VOLUMES_MAX} processes; found {volumes}", key="processes"
            )
        self.volumes: Final = volumes
        self.spread: Final = tuple(sorted(set(spread)))
        check_spread(self.spread)
        self._patterns = [tuple(one.split("/")) for one in self.spread]
        self.volume_of = functools.lru_cache(maxsize=KEPT_MAX)(self._find)

    def _find(self, entity: str) -> int:
        prefix = self.prefix_of(entity)
        if prefix is None or self.volumes == 1:
            return 0
        digest = hashlib.blake2b(prefix.encode(), digest_size=HASH_BYTES).digest()
        return int.from_bytes(digest, "big") % self.volumes

    def prefix_of(self, entity: str) -> str | None:
        """Returns the part of a spread entity's path that decides; None for one that is not."""
        if not self._patterns or entity.startswith(SYSTEM_ENTITY_PREFIX):
            return None
        segments = entity.split("/")
        for pattern in self._patterns:
            if len(segments) >= len(pattern) and _agree(pattern, segments):
                return "/".join(segments[: len(pattern)])
        return None


def check_spread(patterns: Sequence[str]) -> None:
    """Checks patterns of entities that are to be spread.

    Raises:
        ConfigError: too many, one that is none, that has `**` or no literal first segment, or two
            that can name the same entity.
    """
    if len(patterns) > PATTERNS_MAX:
        raise ConfigError(f"at most {PATTERNS_MAX} patterns are spread", key="volumes")
    split: list[list[str]] = []
    for pattern in patterns:
        try:
            check_pattern(pattern)
        except BadArguments as error:
            raise ConfigError(f"spread: {error.message}", key="volumes") from None
        segments = pattern.split("/")
        if REST in segments or segments[0] == ONE:
            raise ConfigError(
                f"spread: {pattern!r}: each segment is literal or '*' (one segment), the first "
                "literal; what is below is meant anyway",
                key="volumes",
            )
        for other in split:
            if _agree(segments, other):
                raise ConfigError(
                    f"spread: {'/'.join(other)!r} and {pattern!r} can name the same entity; keep "
                    "one of them",
                    key="volumes",
                )
        split.append(segments)


def _agree(one: Sequence[str], other: Sequence[str]) -> bool:
    """Returns whether both can name one entity, as far as the shorter goes."""
    return all(a == b or ONE in (a, b) for a, b in zip(one, other, strict=False))
