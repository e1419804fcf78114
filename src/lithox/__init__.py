"""lithox runs code its operator did not write, next to state nobody may lose.

`Node` is a node embedded in this process, `Client` the same over a network. Both are loaded when
first used, so that importing the package (and `lithox --help`) stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lithox.errors import (
    BadArguments,
    Cancelled,
    CompileFailed,
    ConfigError,
    Conflict,
    DeadlinePassed,
    GuestError,
    GuestRaised,
    GuestTrapped,
    IdReused,
    InternalError,
    LimitExceeded,
    LimitTooHigh,
    LithoxError,
    NotAvailable,
    NotFound,
    NotPermitted,
    Overloaded,
    PreconditionFailed,
    RequestError,
    StoreCorrupt,
    StoreInUse,
    StoreUnavailable,
    TooLarge,
    TransactionError,
    Unauthenticated,
)
from lithox.model.big_values import BigValue
from lithox.model.limits import Limits
from lithox.model.program_result import ProgramResult
from lithox.model.request import Caller

if TYPE_CHECKING:
    from lithox.client import Client
    from lithox.node.config import NodeConfig
    from lithox.node.node import Node

__version__ = "0.1.0"

__all__ = [
    "BadArguments",
    "BigValue",
    "Caller",
    "Cancelled",
    "Client",
    "CompileFailed",
    "ConfigError",
    "Conflict",
    "DeadlinePassed",
    "GuestError",
    "GuestRaised",
    "GuestTrapped",
    "IdReused",
    "InternalError",
    "LimitExceeded",
    "LimitTooHigh",
    "Limits",
    "LithoxError",
    "Node",
    "NodeConfig",
    "NotAvailable",
    "NotFound",
    "NotPermitted",
    "Overloaded",
    "PreconditionFailed",
    "ProgramResult",
    "RequestError",
    "StoreCorrupt",
    "StoreInUse",
    "StoreUnavailable",
    "TooLarge",
    "TransactionError",
    "Unauthenticated",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Loads `Node`, `NodeConfig` and `Client` when they are first asked for (PEP 562)."""
    if name == "Node":
        from lithox.node.node import Node

        return Node
    if name == "NodeConfig":
        from lithox.node.config import NodeConfig

        return NodeConfig
    if name == "Client":
        from lithox.client import Client

        return Client
    raise AttributeError(f"module 'lithox' has no attribute {name!r}")
