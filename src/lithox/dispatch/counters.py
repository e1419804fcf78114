"""What a dispatcher has counted since its start; read by metrics."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """What has happened since the start."""

    requests: int = 0
    succeeded: int = 0
    failed: int = 0
    refused: int = 0
    conflicts: int = 0
    internal_errors: int = 0
    by_code: dict[str, int] = field(default_factory=dict[str, int])
