"""Which pending parts fall with one that another node's commit has made impossible?

A part falls when it rests on a version that is stale. With it falls every part that touches
anything it wrote: later ones have read what never happened, and earlier ones would leave a value
behind that nobody has kept. That is more than must fall, and little: parts of other entities stay.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from lithox.store.beliefs import Token
from lithox.store.engine import ResultKey

if TYPE_CHECKING:
    from lithox.store.shared_engine import SharedPart

Touched = Token | ResultKey


def split_pending(
    pending: Iterable[SharedPart],
    stale: Mapping[Token, int],
    stale_results: Collection[ResultKey],
) -> tuple[list[SharedPart], list[SharedPart]]:
    """Returns (parts that fall, parts that stay), each in order.

    Args:
        pending: all that are not durable.
        stale: token -> the version it has, of what is not as a part expects it.
        stale_results: results that are not as a part expects them.
    """
    parts = list(pending)
    touching: dict[Touched, list[int]] = {}
    falling: list[int] = []
    for place, part in enumerate(parts):
        for touched in {*part.checks, *_written(part)}:
            touching.setdefault(touched, []).append(place)
        rests_on_stale = any(
            stale.get(token, seen) != seen for token, seen in part.checks.items()
        ) or any(key in stale_results for key in part.result_keys())
        if rests_on_stale:
            falling.append(place)
    fallen = set(falling)
    while falling:
        for touched in _written(parts[falling.pop()]):
            for place in touching.pop(touched, ()):
                if place not in fallen:
                    fallen.add(place)
                    falling.append(place)
    lost = [part for place, part in enumerate(parts) if place in fallen]
    kept = [part for place, part in enumerate(parts) if place not in fallen]
    return lost, kept


def _written(part: SharedPart) -> Iterator[Touched]:
    for cell in part.writes:
        yield cell[0] if cell[0] in part.checks else cell
    yield from part.result_keys()
