"""Where each route of HTTP goes when a server has several processes: the one table of it.

    HERE     the process that took the connection; the node below it hands over what is elsewhere
    ENTITY   the process that owns the entity in the path
    PID      the process whose program or run has the PID in the path
    LEAD     the process that keeps what a server has once
    LIST     every process, and one list of what they say, if entities are spread; else the lead
    ALL      every process, and one answer made of theirs
    FIRST    every process in turn, until one knows what is named, if spread; else the lead
    JOINED   every process, and one archive made of theirs or taken apart for them, if spread
    WHOLE    the lead while nothing is spread; refused then, since no one process has all of it

A route that is missing here is a bug that a test finds; there is no default.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class Place(Enum):
    """Which process answers; see the module's header."""

    HERE = auto()
    ENTITY = auto()
    PID = auto()
    LEAD = auto()
    LIST = auto()
    ALL = auto()
    FIRST = auto()
    JOINED = auto()
    WHOLE = auto()


PLACES: Final[dict[str, Place]] = {
    "call": Place.HERE,
    "atomic": Place.HERE,
    "show_request": Place.HERE,
    "health": Place.HERE,
    "openapi": Place.HERE,
    "show_node": Place.HERE,
    "readiness": Place.HERE,
    "show_entity": Place.ENTITY,
    "delete_entity": Place.ENTITY,
    "list_state": Place.ENTITY,
    "get_state": Place.ENTITY,
    "put_state": Place.ENTITY,
    "delete_state": Place.ENTITY,
    "get_handlers": Place.ENTITY,
    "put_handlers": Place.ENTITY,
    "list_timers": Place.ENTITY,
    "cancel_timer": Place.ENTITY,
    "kill_process": Place.PID,
    "show_process": Place.PID,
    "read_output": Place.PID,
    "write_input": Place.PID,
    "start_process": Place.LEAD,
    "deploy": Place.LEAD,
    "list_code": Place.LEAD,
    "get_code": Place.LEAD,
    "set_code": Place.LEAD,
    "remove_code": Place.LEAD,
    "show_history": Place.LEAD,
    "rollback_code": Place.LEAD,
    "list_services": Place.LEAD,
    "show_service": Place.LEAD,
    "put_service": Place.LEAD,
    "remove_service": Place.LEAD,
    "start_service": Place.LEAD,
    "stop_service": Place.LEAD,
    "restart_service": Place.LEAD,
    "read_logs": Place.LEAD,
    "list_entities": Place.LIST,
    "list_messages": Place.LIST,
    "list_dead": Place.LIST,
    "list_dead_callbacks": Place.LIST,
    "list_processes": Place.ALL,
    "read_audit": Place.ALL,
    "metrics": Place.ALL,
    "retry_dead": Place.ALL,
    "purge_dead": Place.ALL,
    "purge_one": Place.FIRST,
    "retry_dead_callback": Place.FIRST,
    "purge_dead_callback": Place.FIRST,
    "backup": Place.WHOLE,
    "export_entities": Place.JOINED,
    "import_entities": Place.JOINED,
}
"""Route name -> place."""
